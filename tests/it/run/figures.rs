//! What operators see of a run: metrics, health, and readiness with its reason.

use std::time::Duration;

use super::instance::{Scene, event, eventually};
use super::outcome::Outcome;
use crate::kafka::broker;

const PATIENCE: Duration = Duration::from_secs(40);

#[test]
fn the_figures_say_what_was_read_where_both_sinks_stand_and_what_was_set_aside() {
    let scene = Scene::new(broker(), 1);
    let producer = scene.input.producer(None);
    scene.input.send(&producer, 0, (0..30).map(event));
    scene.input.send(&producer, 0, [r#"{"acme_id":"x","op":"read"}"#, "{\"acme_id\":", r#"{"other":1}"#]);
    let instance = scene.start("one", None);
    Outcome::assert_complete(&scene, PATIENCE);

    let topic = &scene.input.name;
    let wanted = [
        r#"actorline_events_total{actor_type="service_account",basis="declared",result="unknown",source="acme"} 30"#
            .to_string(),
        r#"actorline_events_total{actor_type="unknown",basis="none",result="unknown",source="acme"} 1"#.to_string(),
        r#"actorline_rows_total{source="unrecognised",status="unmapped"} 1"#.to_string(),
        r#"actorline_dead_letters_total{reason="syntax",stage="envelope"} 1"#.to_string(),
        "actorline_records_read_total 33".to_string(),
        format!(r#"actorline_position_offset{{partition="0",sink="lake",topic="{topic}"}} 33"#),
        format!(r#"actorline_position_offset{{partition="0",sink="siem",topic="{topic}"}} 33"#),
        format!(r#"actorline_lag_records{{partition="0",sink="lake",topic="{topic}"}} 0"#),
        format!(r#"actorline_lag_records{{partition="0",sink="siem",topic="{topic}"}} 0"#),
        "actorline_paused 0".to_string(),
        r#"actorline_unattributed_ratio{source="acme"} 0.03"#.to_string(),
        r#"actorline_unknown_operations_total{source="acme"} 31"#.to_string(),
        r#"actorline_control_weaknesses{source="acme"} 1"#.to_string(),
    ];
    eventually("every figure is told", PATIENCE, || {
        let (_, metrics) = instance.get("/metrics");
        wanted.iter().all(|line| metrics.contains(line.as_str()))
    });
    let (_, metrics) = instance.get("/metrics");
    for (name, sink) in [("commit_duration_seconds_count", "lake"), ("commit_duration_seconds_count", "siem")] {
        let none = format!("actorline_{name}{{sink=\"{sink}\"}} 0");
        assert!(
            !metrics.contains(&none) && metrics.contains(&format!("actorline_{name}{{sink=\"{sink}\"}}")),
            "{metrics}"
        );
    }
    assert!(metrics.contains("process_resident_memory_bytes"), "{metrics}");
    assert_eq!(instance.get("/health").0, 200);
    assert_eq!(instance.get("/ready").0, 200);
    assert_eq!(instance.get("/other").0, 404);
    assert!(instance.terminate().success());
}
