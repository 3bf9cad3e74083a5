//! Commits: exactly one of several rivals wins, and whoever does not is told where the table stands.

use std::collections::BTreeMap;

use actorline::checkpoint::{Advance, NextOffset};
use actorline::sink::lake::{Commit, Lake, LakeError};
use futures::future::join_all;

use super::rows::{GROUP, advance, ask, at, batch, commit_range, folder, is_committed, partition};

#[tokio::test]
async fn rows_and_position_arrive_together() {
    let (_folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    assert_eq!(lake.positions(GROUP).await.expect("positions").get(&partition(0)), None);

    let commit = commit_range(&lake, 0, 5, 8).await.expect("a commit");
    assert_eq!(commit, Commit::Committed { version: 1 });

    let again = Lake::open(&location).await.expect("a lake");
    assert_eq!(again.positions(GROUP).await.expect("positions").get(&partition(0)), Some(NextOffset(8)));
    assert_eq!(ask(&again, "SELECT count(*), min(input_offset), max(input_offset) FROM activities").await, "3,5,7");
}

#[tokio::test]
async fn a_batch_that_does_not_begin_at_the_tables_position_is_fenced() {
    let (_folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    commit_range(&lake, 0, 0, 10).await.expect("a commit");
    for (from, to) in [(0, 5), (5, 20), (11, 20)] {
        assert_eq!(
            commit_range(&lake, 0, from, to).await.expect("an answer"),
            Commit::Fenced { partition: partition(0), expected: NextOffset(from), found: Some(NextOffset(10)) },
            "{from}..{to}"
        );
    }
    assert_eq!(ask(&lake, "SELECT count(*) FROM activities").await, "10");
}

#[tokio::test]
async fn one_fenced_partition_voids_the_whole_batch() {
    let (_folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    commit_range(&lake, 0, 0, 10).await.expect("a commit");
    let mut advances = advance(0, 0, 5);
    advances.extend(advance(1, 0, 5));
    let files = lake.write_files(&[batch(&[at(0)])]).await.expect("files");
    let commit = lake.commit(GROUP, files, &advances).await.expect("an answer");
    assert!(matches!(commit, Commit::Fenced { .. }), "{commit:?}");
    assert_eq!(lake.positions(GROUP).await.expect("positions").get(&partition(1)), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rivals_for_one_partition_lose_and_double_nothing() {
    let (_folder, location) = folder();
    // Each rival has its own view of the table, as instances have.
    let rivals = join_all((0..8).map(|_| Lake::open(&location))).await;
    let rivals: Vec<Lake> = rivals.into_iter().map(|lake| lake.expect("a lake")).collect();
    for _ in 0..5 {
        let attempts = rivals.iter().cloned().zip(1..).map(|(lake, num_rows)| {
            tokio::spawn(async move {
                let from = lake.positions(GROUP).await.expect("positions").get(&partition(0)).map_or(0, |next| next.0);
                // The ends differ, so that a rival's success cannot be taken for one's own.
                commit_range(&lake, 0, from, from + num_rows).await.expect("an answer")
            })
        });
        for attempt in join_all(attempts).await {
            attempt.expect("no panic");
        }
    }
    let position = rivals[0].positions(GROUP).await.expect("positions").get(&partition(0)).expect("a position").0;
    let answer =
        ask(&rivals[0], "SELECT count(*), count(DISTINCT input_offset), max(input_offset) + 1 FROM activities");
    assert_eq!(answer.await, format!("{position},{position},{position}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_eight_first_commits_of_a_partition_one_wins() {
    let (_folder, location) = folder();
    let attempts = (1..=8).map(|to| {
        let location = location.clone();
        tokio::spawn(async move {
            let lake = Lake::open(&location).await.expect("a lake");
            commit_range(&lake, 0, 0, to).await.expect("an answer")
        })
    });
    let outcomes: Vec<Commit> =
        join_all(attempts).await.into_iter().map(|outcome| outcome.expect("no panic")).collect();
    assert_eq!(outcomes.iter().filter(|commit| is_committed(commit)).count(), 1, "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_with_different_partitions_all_get_through() {
    let (_folder, location) = folder();
    let writers = (0..8).map(|number| {
        let location = location.clone();
        tokio::spawn(async move {
            let lake = Lake::open(&location).await.expect("a lake");
            for round in 0..5 {
                let commit = commit_range(&lake, number, round * 10, round * 10 + 10).await.expect("an answer");
                assert!(is_committed(&commit), "{commit:?}");
            }
        })
    });
    for writer in join_all(writers).await {
        writer.expect("no panic");
    }
    let lake = Lake::open(&location).await.expect("a lake");
    assert_eq!(ask(&lake, "SELECT count(*) FROM activities").await, "400");
}

#[tokio::test]
async fn a_batch_that_is_there_already_counts_as_committed_and_adds_nothing() {
    let (_folder, location) = folder();
    let (lake, other) = (Lake::open(&location).await.expect("a lake"), Lake::open(&location).await.expect("a lake"));
    commit_range(&lake, 0, 0, 3).await.expect("a commit");
    let commit = commit_range(&other, 0, 0, 3).await.expect("an answer");
    assert!(is_committed(&commit), "{commit:?}");
    assert_eq!(ask(&other, "SELECT count(*) FROM activities").await, "3");
}

#[tokio::test]
async fn groups_have_their_own_positions() {
    let (_folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    commit_range(&lake, 0, 0, 3).await.expect("a commit");
    assert!(lake.positions("another").await.expect("positions").is_empty());
    assert!(lake.positions("audi").await.expect("positions").is_empty());
}

#[tokio::test]
async fn a_recreated_topic_begins_again() {
    let (_folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    commit_range(&lake, 0, 0, 3).await.expect("a commit");
    let mut recreated = partition(0);
    recreated.topic_id = Some("topic-id-2".into());
    assert_eq!(lake.positions(GROUP).await.expect("positions").get(&recreated), None);
}

#[tokio::test]
async fn files_without_positions_are_appended() {
    let (_folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    for _ in 0..2 {
        let files = lake.write_files(&[batch(&[at(0)])]).await.expect("files");
        assert!(is_committed(&lake.commit(GROUP, files, &BTreeMap::new()).await.expect("a commit")));
    }
    assert_eq!(ask(&lake, "SELECT count(*) FROM activities").await, "2");
}

#[tokio::test]
async fn an_advance_that_cannot_be_is_refused() {
    let (_folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    let impossible =
        [(5, 5, vec![]), (6, 5, vec![]), (0, 10, vec![(5, 4)]), (0, 10, vec![(5, 7), (6, 8)]), (0, 10, vec![(8, 11)])];
    for (from, to, undelivered) in impossible {
        let advance = Advance { from: NextOffset(from), to: NextOffset(to), gap: None, undelivered };
        let advances = BTreeMap::from([(partition(0), advance)]);
        let refused = lake.commit(GROUP, Vec::new(), &advances).await;
        assert!(matches!(refused, Err(LakeError::Refused(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn a_commit_names_its_ranges_and_what_was_never_delivered() {
    let (folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    let advance = Advance { from: NextOffset(0), to: NextOffset(10), gap: None, undelivered: vec![(3, 5), (9, 10)] };
    let files = lake.write_files(&[batch(&[at(0)])]).await.expect("files");
    lake.commit(GROUP, files, &BTreeMap::from([(partition(2), advance)])).await.expect("a commit");

    let entry = std::fs::read_to_string(folder.path().join("activities/_delta_log/00000000000000000001.json"));
    let actions: Vec<serde_json::Value> =
        entry.expect("a commit").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let about = &actions[0]["commitInfo"]["actorline"];
    assert_eq!(about["group"], GROUP);
    assert_eq!(
        about["partitions"],
        serde_json::json!([{
            "topic": "audit.okta", "topicId": "topic-id-1", "partition": 2,
            "from": 0, "to": 10, "undelivered": [[3, 5], [9, 10]],
        }])
    );
    let txn: Vec<&serde_json::Value> = actions.iter().filter_map(|action| action.get("txn")).collect();
    assert_eq!(txn, [&serde_json::json!({ "appId": "audit/topic-id-1/2", "version": 10 })]);
}
