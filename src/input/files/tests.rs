//! Files, directories and compressed files as records.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = TempDir::new().expect("a folder can be made");
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("is in the folder")).expect("a folder can be made");
        fs::write(path, bytes).expect("a file can be written");
    }
    folder
}

/// Every record as `topic/partition/offset value`, every error as its message.
fn read(path: impl AsRef<Path>) -> Vec<String> {
    Files::new(&[path.as_ref().to_path_buf()])
        .map(|record| match record {
            Ok(record) => {
                let value = record.value.expect("files have values");
                format!("{} {}", record.position, String::from_utf8_lossy(&value))
            }
            Err(error) => error.to_string(),
        })
        .collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("a vector takes everything");
    encoder.finish().expect("a vector takes everything")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("a vector takes everything")
}

#[test]
fn a_file_is_named_by_its_name() {
    let folder = folder(&[("x/a.ndjson", b"{}\n{\"a\":1}\n")]);
    assert_eq!(read(folder.path().join("x/a.ndjson")), ["a.ndjson/0/0 {}", "a.ndjson/0/3 {\"a\":1}"]);
}

#[test]
fn a_directory_is_everything_in_it_in_order_of_path() {
    let folder =
        folder(&[("b.json", b"{}"), ("a/z.json", b"{}"), ("a/b/c.json", b"{}"), ("a.json", b"{}"), ("c", b"")]);
    let found = read(folder.path());
    assert_eq!(found, ["a/b/c.json/0/0 {}", "a/z.json/0/0 {}", "a.json/0/0 {}", "b.json/0/0 {}"]);
}

#[test]
fn compressed_files_are_unpacked_whatever_their_name() {
    let members = [gzip(b"{\"a\":1}\n"), gzip(b"{\"a\":2}\n")].concat();
    let frames = [zstd(b"{\"a\":1}\n"), zstd(b"{\"a\":2}\n")].concat();
    let folder = folder(&[("a", &members), ("b.json", &frames)]);
    let found = read(folder.path());
    assert_eq!(found, ["a/0/0 {\"a\":1}", "a/0/8 {\"a\":2}", "b.json/0/0 {\"a\":1}", "b.json/0/8 {\"a\":2}"]);
}

#[test]
fn a_missing_file_is_an_error_in_its_place_and_the_next_follows() {
    let folder = folder(&[("a.json", b"{}")]);
    let missing = folder.path().join("missing");
    let found: Vec<_> = Files::new(&[missing.clone(), folder.path().join("a.json")]).collect();
    assert!(matches!(&found[0], Err(FileError::Open { path, .. }) if *path == missing));
    assert!(matches!(&found[1], Ok(record) if record.value.as_deref() == Some(b"{}")));
    assert_eq!(found.len(), 2);
}

#[cfg(unix)]
#[test]
fn links_to_files_are_followed_and_links_to_directories_are_not() {
    let folder = folder(&[("a/b.json", b"{}")]);
    std::os::unix::fs::symlink("b.json", folder.path().join("a/c.json")).expect("a link can be made");
    std::os::unix::fs::symlink("..", folder.path().join("a/d")).expect("a link can be made");
    assert_eq!(read(folder.path()), ["a/b.json/0/0 {}", "a/c.json/0/0 {}"]);
}

/// The only record of a file with `bytes`, which must be those bytes themselves.
fn is_handed_on_packed(bytes: &[u8]) -> bool {
    let folder = folder(&[("a", bytes)]);
    let found: Vec<_> = Files::new(&[folder.path().join("a")]).collect();
    found.len() == 1 && matches!(&found[0], Ok(record) if record.value.as_deref() == Some(bytes))
}

#[test]
fn a_file_damaged_before_its_first_document_ends_is_handed_on_as_it_is() {
    let text = format!("{{\"Records\":[{{\"a\":\"{}\"}}]}}", "0123456789abcdef".repeat(100));
    for packed in [gzip(text.as_bytes()), zstd(text.as_bytes())] {
        assert!(is_handed_on_packed(&packed[..packed.len() - 9]));
        assert!(is_handed_on_packed(&packed[..12]));
    }
    assert!(!is_handed_on_packed(&gzip(text.as_bytes())));
}

#[test]
fn a_small_file_with_a_wrong_checksum_is_handed_on_as_it_is() {
    let mut packed = gzip(b"{\"a\":1}\n{\"a\":2}\n");
    let checksum = packed.len() - 8;
    packed[checksum] ^= 1;
    assert!(is_handed_on_packed(&packed));
}

#[test]
fn a_bomb_and_what_is_compressed_twice_are_handed_on_as_they_are() {
    assert!(is_handed_on_packed(&gzip(&gzip(b"{}"))));
    let bomb = gzip(format!("{{\"a\":\"{}\"}}", "a".repeat(4 << 20)).as_bytes());
    assert!(is_handed_on_packed(&bomb));
}

#[test]
fn a_file_damaged_later_gives_what_came_before_and_an_error() {
    let mut text = String::new();
    for n in 0..30_000_u64 {
        // Digits that do not compress well, so that the damage lies behind what is read ahead.
        let digits: String = (1..10).map(|m| (n * 1_000_003 * m * m % 9_999_991).to_string()).collect();
        text.push_str(&format!("{{\"n\":\"{digits}\"}}\n"));
    }
    let packed = gzip(text.as_bytes());
    let folder = folder(&[("a", &packed[..packed.len() / 2]), ("b", b"{}")]);
    let found = read(folder.path());
    assert!(found.len() > 10_000, "{}", found.len());
    let expected = format!("failed to read `{}` after byte ", folder.path().join("a").display());
    assert!(found[found.len() - 2].starts_with(&expected), "{}", found[found.len() - 2]);
    assert_eq!(found[found.len() - 1], "b/0/0 {}");
}

#[test]
fn progress_counts_stored_bytes_and_knows_the_total_of_files() {
    let packed = gzip(b"{}\n");
    let folder = folder(&[("a.gz", &packed), ("b", b"{}")]);
    let mut files = Files::new(&[folder.path().to_path_buf()]);
    let progress = files.progress();
    assert_eq!((progress.num_bytes_read(), progress.num_bytes_total()), (0, Some(packed.len() as u64 + 2)));
    assert_eq!(files.by_ref().count(), 2);
    assert_eq!(progress.num_bytes_read(), packed.len() as u64 + 2);
    assert_eq!(Files::new(&[]).progress().num_bytes_total(), None);
}
