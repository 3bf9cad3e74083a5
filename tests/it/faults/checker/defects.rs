//! The checker checked: evidence that is right, and what it says once something is made wrong in it.

use std::collections::BTreeMap;

use super::{Commit, Evidence, File, Moment, Output, Row, Step, check};

const GENERATION: &str = "g-1";

/// Two partitions with a plain event, an array, a record without events and one that cannot be read. Offset 2 of each is
/// a transaction's marker.
fn clean() -> Evidence {
    let values =
        [(0, r#"{"id":"a"}"#), (1, r#"[{"id":"b"},{"id":"c"}]"#), (3, "[]"), (4, "broken"), (5, r#"{"id":"d"}"#)];
    let mut evidence = Evidence { topic: "audit".to_string(), topic_id: "t-1".to_string(), ..Evidence::default() };
    for partition in [0, 1] {
        for (offset, value) in values {
            evidence.input.insert((partition, offset), value.as_bytes().to_vec());
        }
        evidence.ends.insert(partition, 6);
        evidence.group.insert(partition, 6);
        for (from, to, undelivered) in [(0, 4, vec![(2, 3)]), (4, 6, Vec::new())] {
            let path = format!("{partition}-{from}.parquet");
            let step = Step { partition, topic_id: "t-1".to_string(), from, to, gap: None, undelivered };
            let (sha256_told, sha256_found) = ("00".to_string(), Some("00".to_string()));
            let file = File { path, origins: Vec::new(), sha256_told, sha256_found };
            evidence.commits.push(Commit {
                version: evidence.commits.len() as u64 + 1,
                steps: vec![step],
                positions: BTreeMap::from([(partition, to)]),
                files: vec![file],
                removed: Vec::new(),
                is_own: true,
            });
        }
        let row = |offset: i64, index: i64, count: i64, status: &str, raw: &str| Row {
            file: format!("{partition}-{}.parquet", if offset < 4 { 0 } else { 4 }),
            topic_id: "t-1".to_string(),
            position: (partition, offset, index),
            count,
            status: status.to_string(),
            generation: GENERATION.to_string(),
            raw: raw.to_string(),
            event_uid: format!("uid-{partition}-{offset}-{index}"),
            actor_id: "u-1".to_string(),
        };
        evidence.rows.extend([
            row(0, 0, 1, "mapped", r#"{"id":"a"}"#),
            row(1, 0, 2, "mapped", r#"{"id":"b"}"#),
            row(1, 1, 2, "unmapped", r#"{"id":"c"}"#),
            row(3, 0, 0, "empty", "[]"),
            row(4, 0, 1, "rejected", "broken"),
            row(5, 0, 1, "mapped", r#"{"id":"d"}"#),
        ]);
    }
    for row in &evidence.rows {
        let outputs = if row.status == "rejected" { &mut evidence.dead_letters } else { &mut evidence.siem };
        if row.status == "empty" {
            continue;
        }
        let value = serde_json::json!({ "event_uid": row.event_uid, "status": row.status, "actor_id": row.actor_id, "mapping_version": GENERATION });
        let is_letter = row.status == "rejected";
        outputs.push(Output {
            at: (0, outputs.len() as i64),
            topic: "audit".to_string(),
            position: row.position,
            generation: GENERATION.to_string(),
            reason: if is_letter { "syntax" } else { "" }.to_string(),
            value: if is_letter { row.raw.clone().into_bytes() } else { value.to_string().into_bytes() },
        });
    }
    evidence
}

#[test]
fn what_is_right_gives_no_finding() {
    assert_eq!(check(&clean(), Moment::AtRest), [""; 0]);
    assert_eq!(check(&clean(), Moment::SoFar), [""; 0]);
}

#[test]
fn a_sink_that_is_behind_holds_what_its_position_promises() {
    let mut evidence = clean();
    // The group stands at 4 in partition 1, and the lake has nothing of its second half.
    evidence.group.insert(1, 4);
    evidence.siem.retain(|output| output.position.0 == 0 || output.position.1 < 4);
    evidence.dead_letters.retain(|output| output.position.0 == 0);
    evidence.commits.pop();
    evidence.rows.retain(|row| row.file != "1-4.parquet");
    assert_eq!(check(&evidence, Moment::SoFar), [""; 0]);
    assert!(check(&evidence, Moment::AtRest).iter().any(|finding| finding.starts_with("not at the end")));
}

#[test]
fn a_gap_that_a_commit_names_is_no_loss() {
    let mut evidence = clean();
    evidence.input.retain(|(partition, offset), _| *partition == 0 || *offset > 1);
    evidence.rows.retain(|row| row.position.0 == 0 || row.position.1 > 1);
    evidence.siem.retain(|output| output.position.0 == 0 || output.position.1 > 1);
    assert!(check(&evidence, Moment::AtRest).iter().any(|finding| finding.starts_with("a hole that no commit names")));
    evidence.commits[2].steps[0].gap = Some((0, 2));
    assert_eq!(check(&evidence, Moment::AtRest), [""; 0]);
}

/// Both files of the first partition become one.
fn compacted() -> Evidence {
    let mut evidence = clean();
    let file = File { path: "0.parquet".to_string(), origins: vec![1, 2], ..evidence.commits[0].files[0].clone() };
    for row in evidence.rows.iter_mut().filter(|row| row.position.0 == 0) {
        row.file.clone_from(&file.path);
    }
    evidence.commits.push(Commit {
        version: 5,
        steps: Vec::new(),
        positions: BTreeMap::new(),
        files: vec![file],
        removed: vec!["0-0.parquet".to_string(), "0-4.parquet".to_string()],
        is_own: false,
    });
    evidence
}

#[test]
fn rows_that_moved_to_another_file_are_where_they_belong() {
    assert_eq!(check(&compacted(), Moment::AtRest), [""; 0]);
    let mut evidence = compacted();
    // What was replaced may be gone.
    evidence.commits[0].files[0].sha256_found = None;
    assert_eq!(check(&evidence, Moment::AtRest), [""; 0]);
    evidence.commits[4].files[0].origins = vec![2];
    assert!(check(&evidence, Moment::AtRest)[0].starts_with("a row outside of its commit's ranges"));
}

#[test]
fn every_seeded_defect_is_found() {
    type Defect = (&'static str, &'static str, fn(&mut Evidence));
    let defects: [Defect; 30] = [
        ("a row of the lake is missing", "lost", |e| drop(e.rows.remove(0))),
        ("the last row of the lake is missing", "lost", |e| drop(e.rows.pop())),
        ("the second event of a record is missing", "lost", |e| drop(e.rows.remove(2))),
        ("the row of a record without events is missing", "lost", |e| drop(e.rows.remove(3))),
        ("a record of the siem topic is missing", "lost", |e| drop(e.siem.remove(1))),
        ("a dead letter is missing", "lost", |e| drop(e.dead_letters.remove(0))),
        ("a whole file of the lake is missing from its rows", "lost", |e| e.rows.retain(|r| r.file != "1-4.parquet")),
        ("a row stands twice in the lake", "doubled", |e| e.rows.push(e.rows[0].clone())),
        ("a record stands twice on the siem topic", "doubled", |e| {
            let at = (0, e.siem.len() as i64);
            e.siem.push(Output { at, ..e.siem[0].clone() });
        }),
        ("a dead letter stands twice", "doubled", |e| {
            let at = (0, e.dead_letters.len() as i64);
            e.dead_letters.push(Output { at, ..e.dead_letters[0].clone() });
        }),
        ("an offset that was never delivered is in the lake", "made up", |e| e.rows[0].position.1 = 2),
        ("an index that the record does not have is on the siem topic", "made up", |e| e.siem[2].position.2 = 7),
        ("a dead letter stands for a record that can be read", "made up", |e| e.dead_letters[0].position.1 = 5),
        ("a rejected record went to the siem topic", "made up", |e| e.siem.push(e.dead_letters[0].clone())),
        ("a record without events went to the siem topic", "made up", |e| e.siem[0].position = (0, 3, 0)),
        ("the siem topic holds what the group's position does not cover", "made up", |e| {
            e.group.insert(1, 5);
        }),
        ("two records of the siem topic changed places", "out of order", |e| {
            let positions = (e.siem[0].position, e.siem[1].position);
            (e.siem[1].position, e.siem[0].position) = positions;
        }),
        ("rows of two partitions are exchanged", "altered bytes", |e| {
            (e.rows[0].position, e.rows[5].position) = (e.rows[5].position, e.rows[0].position);
        }),
        ("raw bytes are altered", "altered bytes", |e| e.rows[0].raw.push(' ')),
        ("a dead letter is altered", "altered bytes", |e| e.dead_letters[0].value.push(b' ')),
        ("a dead letter gives another reason", "another reason", |e| e.dead_letters[0].reason = "depth".to_string()),
        ("a rejected row calls itself mapped", "another status", |e| e.rows[4].status = "mapped".to_string()),
        ("a row counts wrongly", "another count", |e| e.rows[1].count = 3),
        ("the sinks say different things of an event", "the sinks differ", |e| e.rows[0].actor_id = "u-2".to_string()),
        ("the sinks used different generations", "another generation", |e| e.rows[0].generation = "g-2".to_string()),
        ("a row is of the topic that was there before", "another topic", |e| e.rows[0].topic_id = "t-0".to_string()),
        ("commits overlap", "commits do not abut", |e| e.commits[1].steps[0].from = 3),
        ("a commit's position is not where its range ends", "a position that is not", |e| {
            e.commits[1].positions.insert(0, 5);
        }),
        ("a delivered record is called undelivered", "called undelivered", |e| {
            e.commits[0].steps[0].undelivered = vec![(1, 3)];
        }),
        ("a file of the lake is altered", "an altered file", |e| {
            e.commits[0].files[0].sha256_found = Some("ff".into());
        }),
    ];
    for (what, kind, seed) in defects {
        let mut evidence = clean();
        seed(&mut evidence);
        let findings = check(&evidence, Moment::AtRest);
        assert!(findings.iter().any(|finding| finding.starts_with(kind)), "{what}: not `{kind}` but {findings:?}");
    }
}

#[test]
fn what_no_row_shows_is_found_too() {
    let mut evidence = clean();
    evidence.commits[3].files[0].sha256_found = None;
    assert!(check(&evidence, Moment::SoFar)[0].starts_with("a file that is not there"));

    let mut evidence = clean();
    evidence.rows[0].file = "0-4.parquet".to_string();
    assert!(check(&evidence, Moment::SoFar)[0].starts_with("a row outside of its commit's ranges"));

    let mut evidence = clean();
    evidence.commits[0].steps[0].undelivered.clear();
    assert!(check(&evidence, Moment::SoFar)[0].starts_with("a hole that no commit names"));
}
