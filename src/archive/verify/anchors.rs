//! Anchors against the seals: what a second place knows must be what the chain says.

use object_store::{ObjectStore, ObjectStoreExt};

use super::chain::Chain;
use super::report::{Check, Report};
use super::{Options, Signatures};
use crate::seal::{self, Anchor, Digest};

/// What the anchors say, read before the seals.
pub(super) struct Anchors {
    /// By version; where places disagree, all of it.
    known: Vec<(u64, Digest)>,
    were_asked_for: bool,
    has_signatures: bool,
}

impl Anchors {
    pub async fn read(store: &dyn ObjectStore, options: &Options, report: &mut Report) -> Anchors {
        let mut known = options.known.clone();
        let were_asked_for = !options.anchors.is_empty() || !options.known.is_empty();
        if !options.anchors.is_empty() {
            match table_id(store).await {
                Ok(table) => {
                    for place in &options.anchors {
                        match place.read(&table).await {
                            Ok(anchors) if anchors.is_empty() => report.unchecked(
                                Check::Anchor,
                                None,
                                None,
                                format!("the place of anchors holds none of the table `{table}`"),
                            ),
                            Ok(anchors) => {
                                known.extend(anchors.into_iter().map(|Anchor { version, seal, .. }| (version, seal)));
                            }
                            Err(error) => report.unchecked(Check::Anchor, None, None, chained(&error)),
                        }
                    }
                }
                Err(why) => report.unchecked(Check::Anchor, None, None, why),
            }
        }
        known.sort_unstable();
        known.dedup();
        let has_signatures = matches!(options.signatures, Signatures::By { .. });
        Anchors { known, were_asked_for, has_signatures }
    }

    /// Compares; true if an anchor names the newest seal.
    pub fn check(&self, chain: &Chain, report: &mut Report) -> bool {
        if !self.were_asked_for {
            let who = if self.has_signatures { "who holds the signing key" } else { "who can write to the lake" };
            report.note(
                Check::Anchor,
                None,
                format!(
                    "not checked against an anchor: {who} can have written the whole chain anew, and the newest seals \
                     can have been cut off together with their commits; name one with --anchor"
                ),
            );
            return false;
        }
        let newest = chain.newest();
        for (version, digest) in &self.known {
            match chain.digest_of(*version) {
                Some(found) if found == *digest => {}
                Some(found) => report.finding(
                    Check::Anchor,
                    Some(*version),
                    Some(&seal::name_of(*version)),
                    format!("the anchor has `{digest}`, the seal is `{found}`: the chain was written anew"),
                ),
                None => report.finding(
                    Check::Anchor,
                    Some(*version),
                    Some(&seal::name_of(*version)),
                    format!(
                        "the anchor has `{digest}`, and there is no such seal: the end was cut off, or it was removed"
                    ),
                ),
            }
        }
        let Some((anchored, _)) = self.known.last() else { return false };
        if let Some((newest, _)) = newest
            && newest >= *anchored
        {
            let after = newest - anchored;
            let detail = match after {
                0 => "the newest seal is anchored".to_string(),
                _ => format!("anchored up to version {anchored}; the {after} after it are not covered"),
            };
            report.note(Check::Anchor, Some(*anchored), detail);
        }
        newest.is_some_and(|newest| self.known.contains(&newest))
    }
}

/// The table's id, as the first seal has it.
async fn table_id(store: &dyn ObjectStore) -> Result<String, String> {
    let path = object_store::path::Path::from_iter([seal::FOLDER, &seal::name_of(0)]);
    let unread = |error: object_store::Error| format!("the first seal cannot be read, so no anchor is found: {error}");
    let bytes = store.get(&path).await.map_err(unread)?.bytes().await.map_err(unread)?;
    let seal =
        seal::decode(&bytes).map_err(|why| format!("the first seal is no seal, so no anchor is found: {why}"))?;
    Ok(seal.statement.table)
}

/// An error with its causes.
pub(super) fn chained(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
