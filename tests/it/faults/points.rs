//! The failpoints of the program, and for each what brings an instance there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use regex::Regex;

/// What brings an instance to a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Records come.
    Records,
    /// It starts.
    Start,
    /// It starts where there is no lake yet.
    NewLake,
    /// It is asked to stop.
    Stop,
    /// Another instance joins or leaves.
    Rebalance,
    /// The SIEM topic refuses records, so that a transaction is aborted.
    Abort,
    /// Another producer takes the transactional id over, so that the outcome of a transaction is unclear.
    TakenOver,
    /// Others commit so much that the next commit is due for a checkpoint.
    Checkpoint,
    /// Another writer commits between the look at the table's position and the commit.
    LostRace,
    /// Another instance has taken the partitions over while this one held a batch for the lake.
    Void,
    /// Records come that need an upload in parts.
    Large,
    /// Nothing comes for a while.
    Idle,
    /// An instance was killed between its commit and the seal, and nobody has sealed it since.
    Unsealed,
    /// Files are compacted, and what nobody needs is deleted: `upkeep.rs` runs the commands.
    Upkeep,
    /// Dead letters are redriven: `redrive/points.rs` runs the command.
    Redrive,
}

/// In the order in which a record goes through them.
pub const POINTS: &[(&str, Way)] = &[
    ("lake.table_written", Way::NewLake),
    ("lake.generation_kept", Way::Start),
    ("siem.connecting", Way::Start),
    ("siem.connected", Way::Start),
    ("group.positions_read", Way::Start),
    ("group.lake_read", Way::Start),
    ("lake.topic_kept", Way::NewLake),
    ("group.decided", Way::Start),
    ("group.assigned", Way::Start),
    ("read.polled", Way::Records),
    ("mapping.mapped", Way::Records),
    ("read.taken", Way::Records),
    ("siem.begun", Way::Records),
    ("siem.half_sent", Way::Records),
    ("siem.all_sent", Way::Records),
    ("siem.positions_sent", Way::Records),
    ("siem.committed", Way::Records),
    ("siem.settled", Way::Records),
    ("siem.aborting", Way::Abort),
    ("siem.aborted", Way::Abort),
    ("run.rewound", Way::Abort),
    ("read.sought", Way::Abort),
    ("siem.replacing", Way::TakenOver),
    ("siem.replaced", Way::TakenOver),
    ("siem.asked", Way::TakenOver),
    ("lake.file_encoded", Way::Records),
    ("lake.part_sent", Way::Large),
    ("lake.files_written", Way::Records),
    ("lake.positions_checked", Way::Records),
    ("lake.entry_written", Way::Records),
    ("lake.version_taken", Way::LostRace),
    ("seal.begun", Way::Records),
    ("seal.written", Way::Records),
    ("seal.anchored", Way::Records),
    ("lake.commit_done", Way::Records),
    ("lake.settled", Way::Records),
    ("lake.fenced", Way::Void),
    ("seal.heartbeat_written", Way::Idle),
    ("seal.made_up_for", Way::Unsealed),
    ("lake.checkpoint_due", Way::Checkpoint),
    ("lake.checkpoint_written", Way::Checkpoint),
    ("group.revoking", Way::Rebalance),
    ("group.revoked", Way::Rebalance),
    ("run.stopping", Way::Stop),
    ("run.drained", Way::Stop),
    ("redrive.kept", Way::Redrive),
    ("redrive.sent", Way::Redrive),
    ("redrive.brought", Way::Redrive),
    ("redrive.forgotten", Way::Redrive),
    ("rewrite.begun", Way::Upkeep),
    ("rewrite.committed", Way::Upkeep),
    ("rewrite.sealed", Way::Upkeep),
    ("vacuum.deleted", Way::Upkeep),
];

#[test]
fn every_failpoint_of_the_program_is_tried() {
    let call = Regex::new(r#"failpoint::hit\("([a-z._]+)"\)"#).expect("a valid pattern");
    let mut in_program = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(path).expect("sources are UTF-8");
                in_program.extend(call.captures_iter(&text).map(|found| found[1].to_string()));
            }
        }
    }
    let tried: BTreeSet<String> = POINTS.iter().map(|(point, _)| (*point).to_string()).collect();
    assert_eq!(in_program, tried);
}
