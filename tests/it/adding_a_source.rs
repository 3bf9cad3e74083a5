//! `docs/adding-a-source.md` is true: its files are the shipped ones, and its commands print what it shows.

use std::fs;
use std::path::Path;
use std::process::Command;

const SOURCE: &str = "mappings/pagerduty_audit";

/// One fenced block of the page, with the comment that stands above it.
struct Block<'p> {
    comment: Option<&'p str>,
    language: &'p str,
    text: String,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let (mut comment, mut open) = (None, None);
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some(Block { comment: comment.take(), language, text: String::new() }),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) if !line.is_empty() => {
                comment = line.strip_prefix("<!-- ").and_then(|line| line.strip_suffix(" -->"));
            }
            (None, None) => {}
        }
    }
    blocks
}

#[test]
fn the_walk_through_is_what_the_commands_do() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/adding-a-source.md")).expect("the page");
    let shipped = |name: &str| fs::read_to_string(root.join(name)).expect("a shipped file");
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    // What the page calls the mapping, one part after the other.
    let mut mapping = String::new();
    for block in blocks(&page) {
        match (block.comment, block.language) {
            (Some(comment), _) if comment.starts_with("file: ") => {
                let name = comment.trim_start_matches("file: ");
                if name.starts_with(SOURCE) {
                    assert_eq!(block.text, shipped(name), "{name}");
                }
                fs::create_dir_all(path(name).parent().expect("a folder")).expect("a folder");
                fs::write(path(name), &block.text).expect("a file");
            }
            (Some(comment), _) if comment.starts_with("part of: ") => {
                let name = comment.trim_start_matches("part of: ");
                let text = fs::read_to_string(path(name)).expect("the scaffold");
                assert!(text.contains(&block.text), "{name} lacks\n{}", block.text);
            }
            (comment, "console") => {
                if comment == Some("with all cases") {
                    assert_eq!(mapping.trim(), shipped(&format!("{SOURCE}/mapping.yaml")).replace("\n\n", "\n").trim());
                    copy(&root.join(SOURCE), &path(SOURCE));
                }
                check_commands(folder.path(), &block.text);
            }
            (_, "yaml") => mapping.push_str(&block.text.replace("\n\n", "\n")),
            (comment, language) => panic!("nobody checks this block: {comment:?} {language}"),
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry").path();
        let target = to.join(entry.file_name().expect("a name"));
        if entry.is_dir() {
            copy(&entry, &target);
        } else {
            fs::copy(&entry, &target).expect("copied");
        }
    }
}

/// Runs the block's commands and compares what they print; a line `…` stands for any lines.
fn check_commands(folder: &Path, block: &str) {
    for command in block.split("$ ").filter(|command| !command.trim().is_empty()) {
        let (line, wanted) = command.split_once('\n').expect("a command and what it prints");
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("actorline"), "{line}");
        let output = Command::new(env!("CARGO_BIN_EXE_actorline"))
            .args(words)
            .current_dir(folder)
            .output()
            .expect("the binary runs");
        let printed = String::from_utf8(output.stdout).expect("output is UTF-8");
        assert!(output.status.success(), "{line}: {}{printed}", String::from_utf8_lossy(&output.stderr));
        let mut rest = printed.as_str();
        for (index, part) in wanted.split("…\n").enumerate() {
            let at = rest.find(part).unwrap_or_else(|| panic!("{line} prints\n{printed}\nwhich lacks\n{part}"));
            assert!(index > 0 || at == 0, "{line} prints\n{printed}");
            rest = &rest[at + part.len()..];
        }
        assert!(wanted.ends_with("…\n") || rest.is_empty(), "{line} also prints\n{rest}");
    }
}
