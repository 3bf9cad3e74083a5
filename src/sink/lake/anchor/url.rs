//! Anchors as objects: `<url>/<table id>/<version>-<digest>.json`.
//!
//! The name says it all, so that a listing reads every anchor there is. Each is a new object, which a bucket with object
//! lock keeps from everybody.

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, PutMode};

use super::super::error::LakeError;
use super::super::location::LakeLocation;
use super::AnchorError;
use crate::seal::Anchor;

#[derive(Debug)]
pub struct Folder {
    store: Arc<dyn ObjectStore>,
    url: String,
}

impl Folder {
    pub(super) fn new(location: &LakeLocation) -> Result<Folder, LakeError> {
        let place = location.resolve()?;
        Ok(Folder { store: Arc::new(PrefixStore::new(place.store, place.prefix)), url: place.url.to_string() })
    }

    pub(super) async fn publish(&self, anchor: &Anchor) -> Result<(), AnchorError> {
        let failed =
            |source: super::Cause| AnchorError { doing: "write an anchor to", place: self.url.clone(), source };
        let path = Path::from_iter([anchor.table.as_str(), &name_of(anchor)]);
        let mut body = serde_json::to_vec(anchor).map_err(|error| failed(error.into()))?;
        body.push(b'\n');
        match self.store.put_opts(&path, body.into(), PutMode::Create.into()).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(failed(error.into())),
        }
    }

    pub(super) async fn read(&self, table: &str) -> Result<Vec<Anchor>, AnchorError> {
        let failed = |source| AnchorError { doing: "list the anchors at", place: self.url.clone(), source };
        let objects: Vec<_> = self
            .store
            .list(Some(&Path::from(table)))
            .try_collect()
            .await
            .map_err(|error: object_store::Error| failed(error.into()))?;
        Ok(objects.iter().filter_map(|object| parse(table, object.location.filename()?)).collect())
    }
}

fn name_of(anchor: &Anchor) -> String {
    format!("{:020}-{}.json", anchor.version, anchor.seal)
}

fn parse(table: &str, name: &str) -> Option<Anchor> {
    let (version, seal) = name.strip_suffix(".json")?.split_once('-')?;
    Some(Anchor::new(table, version.parse().ok()?, seal.parse().ok()?))
}
