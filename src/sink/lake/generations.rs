//! Generations: everything that shaped a row, kept beside the table before the first row that it shaped.
//!
//! A row's `mapping_version` names one. Years later it says under which mappings, registry and organisation the row came
//! to be, and the row can be derived again. What lies there is never overwritten: the name is a hash of the content.

use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::{Lake, LakeError};

/// The folder in the lake.
const FOLDER: &str = "generations";

impl Lake {
    /// Keeps `document` as generation `name`, unless it is there already.
    pub async fn keep_generation(&self, name: &str, document: Vec<u8>) -> Result<(), LakeError> {
        let path = Path::from_iter([FOLDER, name]);
        let store = self.store();
        let failed = |error| LakeError::new(format!("keep generation `{name}`"), error);
        match store.head(&path).await {
            Ok(_) => return Ok(()),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(failed(error)),
        }
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match store.put_opts(&path, PutPayload::from(document), options).await {
            // Another instance with the same mappings was faster.
            Ok(_) | Err(StoreError::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}
