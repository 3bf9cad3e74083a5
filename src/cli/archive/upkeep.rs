//! What `compact`, `retain` and `vacuum` have in common: a lake that is there, the key that they seal with, and the second
//! place for the digests of their seals.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::runtime::Runtime;

use super::super::Failure;
use super::super::lake::{LakeArguments, parse_option};
use super::anchor::{AnchorArgument, parse_place};
use crate::seal::SealKey;
use crate::sink::lake::anchor::AnchorPlace;
use crate::sink::lake::{Lake, LakeError, SealSettings};

#[derive(Debug, Args)]
pub struct UpkeepArguments {
    #[command(flatten)]
    lake: LakeArguments,
    /// The private key that the lake's seals are signed with, in PEM; without it the new ones have no signature
    #[arg(long, value_name = "FILE")]
    seal_key: Option<PathBuf>,
    /// Where the digests of the new seals are written as well: kafka://BROKERS/TOPIC, or the URL of a folder
    #[arg(long, value_name = "PLACE", value_parser = parse_place)]
    anchor: Option<AnchorArgument>,
    /// An option of the place of anchors: librdkafka's for a topic, object_store's for a URL; may be repeated
    #[arg(long = "anchor-option", value_name = "KEY=VALUE", value_parser = parse_option)]
    anchor_options: Vec<(String, String)>,
}

/// A lake that is there, and what to work on it with.
pub(super) struct Upkeep {
    pub lake: Lake,
    pub anchor: Option<Arc<AnchorPlace>>,
    pub runtime: Runtime,
}

impl UpkeepArguments {
    pub(super) fn open(&self) -> Result<Upkeep, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.context("failed to start the runtime").map_err(Failure::Outside)?;
        // The client of a topic starts tasks.
        let inside = runtime.enter();
        let options: BTreeMap<String, String> = self.anchor_options.iter().cloned().collect();
        let anchor = self.anchor.as_ref().map(|place| place.open(&options)).transpose()?.flatten().map(Arc::new);
        let key = self.seal_key.as_ref().map(read_key).transpose()?.map(Arc::new);
        let seal = SealSettings { key, anchor: anchor.clone(), ..SealSettings::default() };
        let location = self.lake.location();
        let lake = runtime.block_on(async {
            // Opening for writing would make a lake where there is none.
            let existing = Lake::open_existing(&location).await?;
            existing.refuse_unsigned(&seal).await?;
            Lake::open_with(&location, seal).await
        });
        drop(inside);
        Ok(Upkeep { lake: lake.map_err(lake_failure)?, anchor, runtime })
    }
}

fn read_key(path: &PathBuf) -> Result<SealKey, Failure> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read the seal key `{}`", path.display()))
        .map_err(Failure::BadConfiguration)?;
    SealKey::from_pem(&text)
        .with_context(|| format!("`{}` is no seal key", path.display()))
        .map_err(Failure::BadConfiguration)
}

pub(super) fn lake_failure(error: LakeError) -> Failure {
    match error {
        LakeError::Refused(_) | LakeError::Absent(_) => Failure::BadConfiguration(error.into()),
        _ => Failure::Outside(error.into()),
    }
}

/// A length of time in weeks, days or hours.
pub(super) fn parse_age(text: &str) -> Result<Duration, String> {
    let wanted = "expected a number with w, d or h, such as 365d";
    let (number, hours) = match text.char_indices().next_back() {
        Some((end, 'w')) => (&text[..end], 7 * 24),
        Some((end, 'd')) => (&text[..end], 24),
        Some((end, 'h')) => (&text[..end], 1),
        _ => return Err(wanted.to_string()),
    };
    let number: u32 = number.parse().map_err(|_| wanted.to_string())?;
    Ok(Duration::from_secs(u64::from(number) * hours * 3600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_a_unit() {
        assert_eq!(parse_age("2w"), Ok(Duration::from_secs(14 * 86_400)));
        assert_eq!(parse_age("365d"), Ok(Duration::from_secs(365 * 86_400)));
        assert_eq!(parse_age("36h"), Ok(Duration::from_secs(36 * 3600)));
        for text in ["", "7", "d", "-1d", "1y", "7 d", "99999999999d"] {
            parse_age(text).expect_err(text);
        }
    }
}
