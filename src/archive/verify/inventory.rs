//! What lies in a lake, by listing it: seals, commits, what readers take for shortcuts, and data files.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use crate::seal;
use crate::sink::lake::TABLE;

/// The lake's objects, sorted by what they are for.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub seals: BTreeSet<u64>,
    pub unknown_seals: Vec<String>,
    /// When each commit was written, by the store's clock.
    pub commits: BTreeMap<u64, jiff::Timestamp>,
    pub checkpoints: BTreeMap<u64, String>,
    pub unknown_in_log: Vec<String>,
    pub has_last_checkpoint: bool,
    /// Relative to the table.
    pub data_files: BTreeSet<String>,
}

impl Inventory {
    /// Lists the lake. Seals come first, so that nothing that is written meanwhile has a seal without its commit.
    pub async fn list(store: &dyn ObjectStore) -> Result<Inventory, object_store::Error> {
        let mut inventory = Inventory::default();
        for object in list(store, Path::from(seal::FOLDER)).await? {
            let name = object.location.filename().unwrap_or_default();
            match seal::version_of(name) {
                Some(version) if object.location.parts().count() == 2 => {
                    inventory.seals.insert(version);
                }
                _ => inventory.unknown_seals.push(object.location.to_string()),
            }
        }
        for object in list(store, Path::from(TABLE)).await? {
            inventory.take(&object);
        }
        Ok(inventory)
    }

    fn take(&mut self, object: &ObjectMeta) {
        let path: Vec<String> = object.location.parts().skip(1).map(|part| part.as_ref().to_string()).collect();
        let Some((folder, names)) = path.split_first() else { return };
        if folder != "_delta_log" {
            // Decoded, as commits name them.
            self.data_files.insert(path.join("/"));
            return;
        }
        let [name] = names else { return self.unknown_in_log.push(object.location.to_string()) };
        if let Some(version) = seal::version_of(name) {
            let written = jiff::Timestamp::from_second(object.last_modified.timestamp()).unwrap_or_default();
            self.commits.insert(version, written);
        } else if let Some(version) = name.strip_suffix(".checkpoint.parquet").and_then(version_of_digits) {
            self.checkpoints.insert(version, name.clone());
        } else if name == "_last_checkpoint" {
            self.has_last_checkpoint = true;
        } else if !is_unread(name) {
            self.unknown_in_log.push(object.location.to_string());
        }
    }
}

/// What an interrupted write leaves behind. No reader of tables looks at such names.
fn is_unread(name: &str) -> bool {
    name.starts_with("_commit_") && name.ends_with(".json.tmp")
}

fn version_of_digits(digits: &str) -> Option<u64> {
    (digits.len() == 20).then(|| digits.parse().ok())?
}

async fn list(store: &dyn ObjectStore, folder: Path) -> Result<Vec<ObjectMeta>, object_store::Error> {
    store.list(Some(&folder)).try_collect().await
}
