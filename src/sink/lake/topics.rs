//! Topics: which ids a topic's name has stood for, kept beside the table before the first row of each.
//!
//! Positions are kept under a topic's id, which says nothing to whoever asks for the name. A topic that was deleted and
//! made anew has another id and begins at 0 again, and the broker has forgotten the group's positions with the old one:
//! only what stands here tells it from a topic that was never read.

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, PutMode, PutOptions, PutPayload};
use serde_json::json;

use super::{Lake, LakeError};

/// The folder in the lake; in it a folder for each name, and in that a file for each id.
const FOLDER: &str = "topics";
const SUFFIX: &str = ".json";

impl Lake {
    /// The ids under which the lake knows `topic`.
    pub async fn topic_ids(&self, topic: &str) -> Result<Vec<String>, LakeError> {
        let folder = Path::from_iter([FOLDER, topic]);
        let listed = self.store().list(Some(&folder)).try_collect::<Vec<_>>().await;
        let listed = listed.map_err(|error| LakeError::new(format!("list the ids of topic `{topic}`"), error))?;
        let ids = listed.iter().filter_map(|found| Some(found.location.filename()?.strip_suffix(SUFFIX)?.to_string()));
        Ok(ids.collect())
    }

    /// Keeps that `topic` has the id `topic_id`.
    pub async fn keep_topic_id(&self, topic: &str, topic_id: &str) -> Result<(), LakeError> {
        let path = Path::from_iter([FOLDER, topic, &format!("{topic_id}{SUFFIX}")]);
        let document = json!({ "topic": topic, "topicId": topic_id }).to_string();
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store().put_opts(&path, PutPayload::from(document), options).await {
            // Another instance that has another partition of the topic was faster.
            Ok(_) | Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(()),
            Err(error) => Err(LakeError::new(format!("keep the id of topic `{topic}`"), error)),
        }
    }
}
