//! Generations: everything that shaped a row, kept beside the table before the first row that it shaped.
//!
//! A row's `mapping_version` names one. Years later it says under which mappings, registry and organisation the row came
//! to be, and the row can be derived again. What lies there is never overwritten: the name is a hash of the content.

use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::{Lake, LakeError};
use crate::seal::{Digest, SealedGeneration};

/// The folder in the lake.
const FOLDER: &str = "generations";

impl Lake {
    /// Keeps `document` as generation `name`, unless it is there already.
    pub async fn keep_generation(&self, name: &str, document: Vec<u8>) -> Result<(), LakeError> {
        let path = Path::from_iter([FOLDER, name]);
        let store = self.store();
        let failed = |error| LakeError::new(format!("keep generation `{name}`"), error);
        // The next seal covers it: whoever changes it later changes what rows were derived with.
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let sha256 = match store.put_opts(&path, PutPayload::from(document.clone()), options).await {
            Ok(_) => Digest::of(&document),
            // Another instance with the same mappings was faster, or an earlier one.
            Err(StoreError::AlreadyExists { .. }) => {
                let found = store.get(&path).await.map_err(failed)?;
                Digest::of(&found.bytes().await.map_err(failed)?)
            }
            Err(error) => return Err(failed(error)),
        };
        self.kept().push(SealedGeneration { name: name.to_string(), sha256 });
        Ok(())
    }
}
