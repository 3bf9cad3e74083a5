//! The files of a mapping folder: from disk, or those compiled into the binary.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use include_dir::{Dir, DirEntry, include_dir};

/// The mappings that come with the binary.
static SHIPPED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/mappings");

/// Largest file that is read. Mappings and tables are texts that people write.
const NUM_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Most files of one folder, and deepest nesting: a hundred sources with a hundred cases each.
const NUM_FILES_MAX: usize = 20_000;
const DEPTH_MAX: usize = 4;

/// Why a mapping folder could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MappingFolderError {
    #[error("failed to read `{path}`")]
    Io { path: PathBuf, source: io::Error },
    #[error("found {num_bytes} bytes in `{path}`, wanted at most {NUM_BYTES_MAX}")]
    TooLarge { path: PathBuf, num_bytes: u64 },
    #[error("found more than {NUM_FILES_MAX} files in `{path}`; name the folder that holds one folder for each source")]
    TooMany { path: PathBuf },
}

/// The shipped files, by path inside the folder.
pub fn shipped() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![&SHIPPED];
    while let Some(folder) = folders.pop() {
        for entry in folder.entries() {
            match entry {
                DirEntry::Dir(inner) => folders.push(inner),
                DirEntry::File(file) => {
                    if let Some(text) = file.contents_utf8() {
                        files.insert(file.path().to_string_lossy().replace('\\', "/"), text.to_string());
                    }
                }
            }
        }
    }
    files
}

/// The files below `folder`, by path inside it.
///
/// # Errors
/// If something cannot be read, or the folder holds far more than mappings.
pub fn read(folder: &Path) -> Result<BTreeMap<String, String>, MappingFolderError> {
    let mut files = BTreeMap::new();
    let mut folders = vec![(folder.to_path_buf(), 0)];
    while let Some((inner, depth)) = folders.pop() {
        let failed = |source| MappingFolderError::Io { path: inner.clone(), source };
        for entry in std::fs::read_dir(&inner).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let kind = entry.file_type().map_err(failed)?;
            // Links are not followed: a mapping folder is what it holds.
            if kind.is_dir() && depth < DEPTH_MAX {
                folders.push((path, depth + 1));
            } else if kind.is_file() && is_mapping_file(&path) {
                let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                files.insert(name, read_file(&path)?);
                if files.len() > NUM_FILES_MAX {
                    return Err(MappingFolderError::TooMany { path: folder.to_path_buf() });
                }
            }
        }
    }
    Ok(files)
}

fn is_mapping_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "csv", "json"].iter().any(|known| extension == *known))
}

fn read_file(path: &Path) -> Result<String, MappingFolderError> {
    let failed = |source| MappingFolderError::Io { path: path.to_path_buf(), source };
    let num_bytes = std::fs::metadata(path).map_err(failed)?.len();
    if num_bytes > NUM_BYTES_MAX {
        return Err(MappingFolderError::TooLarge { path: path.to_path_buf(), num_bytes });
    }
    std::fs::read_to_string(path).map_err(failed)
}
