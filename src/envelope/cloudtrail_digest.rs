//! CloudTrail's digest files, which lie beside the logs and sign them. They hold no events.
//!
//! <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html>

use super::Contents;
use super::document::Object;
use crate::event::Context;
use crate::rejection::Rejection;

/// Any event could have a list of files; nothing but a digest has all of these.
const TELLING_KEYS: [&str; 4] = ["digestStartTime", "digestEndTime", "digestS3Object", "previousDigestSignature"];

pub(super) fn unwrap<'a>(object: &Object<'a>) -> Result<Option<Contents<'a>>, Rejection> {
    let is_digest = object.get("logFiles").is_some() && TELLING_KEYS.iter().all(|key| object.get(key).is_some());
    Ok(is_digest.then(|| Contents { parts: Vec::new(), context: Context::new() }))
}
