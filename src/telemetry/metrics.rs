//! The metrics: each declared once, with its help.
//!
//! Label values come from closed sets, from the names of mappings, and from topics and partitions that are assigned;
//! all are bounded. Nothing of an event's content ever becomes a label. Counting per event happens in a
//! [`Tally`], which is added here once a batch.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use prometheus::{Gauge, GaugeVec};

use super::tally::{COVERED, REASONS, Tally};
use crate::activity::taxonomy::{ActorType, Status};
use crate::checkpoint::{NextOffset, TopicPartition};
use crate::rejection::Stage;

/// Most partitions that have series of their own.
///
/// An instance is assigned some hundreds at most; each has two series a sink. Beyond this the metrics would outweigh the
/// work, so the rest has none and is counted in `actorline_partitions_without_series`.
pub const NUM_PARTITIONS_MAX: usize = 2_000;

/// Upper bounds of commit durations in seconds: a Kafka transaction takes milliseconds, a lake commit on a slow object
/// store tens of seconds.
const COMMIT_SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];

/// Where results go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sink {
    Lake,
    Siem,
}

impl Sink {
    pub const ALL: [Sink; 2] = [Sink::Lake, Sink::Siem];

    pub const fn as_str(self) -> &'static str {
        match self {
            Sink::Lake => "lake",
            Sink::Siem => "siem",
        }
    }
}

/// Every metric of this process. Shared as `Arc<Metrics>`; each value is of its own, so that tests do not meet.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    events: IntCounterVec,
    rows: IntCounterVec,
    unattributed: GaugeVec,
    covered: IntCounterVec,
    unknown_operations: IntCounterVec,
    control_weaknesses: IntGaugeVec,
    dead_letters: IntCounterVec,
    records_read: IntCounter,
    bytes_read: IntCounter,
    commits: HistogramVec,
    commit_failures: IntCounterVec,
    positions: IntGaugeVec,
    lags: IntGaugeVec,
    partitions_without_series: IntGauge,
    sealed: IntGauge,
    anchored: IntGaugeVec,
    buffered_bytes: IntGaugeVec,
    resident_bytes: Gauge,
    paused: IntGauge,
    generation: IntGaugeVec,
    state: Mutex<MetricsState>,
}

#[derive(Debug, Default)]
struct MetricsState {
    /// Everything counted since the start: shares are made of it, and it bounds the sources.
    totals: Tally,
    partitions: HashSet<(Arc<str>, i32)>,
    refused: HashSet<(Arc<str>, i32)>,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    pub fn new() -> Metrics {
        let registry = Registry::new();
        let by = Registration { registry: &registry };
        let metrics = Metrics {
            events: by.counters(
                "actorline_events_total",
                "Events derived, by source, kind of actor, what justified the kind, and result.",
                &["source", "actor_type", "basis", "result"],
            ),
            rows: by.counters(
                "actorline_rows_total",
                "Rows derived, by source and how far the event got (mapped, partial, unmapped, rejected, empty).",
                &["source", "status"],
            ),
            unattributed: by.add(GaugeVec::new(
                Opts::new(
                    "actorline_unattributed_ratio",
                    "Share of a source's events whose kind of actor is unknown, since the start of the process.",
                ),
                &["source"],
            )),
            covered: by.counters(
                "actorline_events_with_total",
                "Events in which a column that evidence rests on has a value, by source and column.",
                &["source", "column"],
            ),
            unknown_operations: by.counters(
                "actorline_unknown_operations_total",
                "Events whose operation no mapping knows the verb of, by source.",
                &["source"],
            ),
            control_weaknesses: by.gauges(
                "actorline_control_weaknesses",
                "How many things a source's platform cannot tell, as its mapping says.",
                &["source"],
            ),
            dead_letters: by.counters(
                "actorline_dead_letters_total",
                "Records from which no event could be cut, by the step that gave up and the reason.",
                &["stage", "reason"],
            ),
            records_read: by.counter("actorline_records_read_total", "Records read from the input."),
            bytes_read: by.counter("actorline_bytes_read_total", "Bytes of the values of the records read."),
            commits: by.add(HistogramVec::new(
                HistogramOpts::new(
                    "actorline_commit_duration_seconds",
                    "How long batches took to commit, by sink; its count is the number of batches committed.",
                )
                .buckets(COMMIT_SECONDS.to_vec()),
                &["sink"],
            )),
            commit_failures: by.counters(
                "actorline_commit_failures_total",
                "Commits that failed or whose outcome was unclear, by sink. Each is tried again from the sink's position.",
                &["sink"],
            ),
            positions: by.gauges(
                "actorline_position_offset",
                "The next offset that a sink will take, by topic and partition.",
                &["sink", "topic", "partition"],
            ),
            lags: by.gauges(
                "actorline_lag_records",
                "Records that the broker has and a sink does not, by topic and partition.",
                &["sink", "topic", "partition"],
            ),
            partitions_without_series: by.gauge(
                "actorline_partitions_without_series",
                "Assigned partitions whose position and lag are not shown, because there are too many.",
            ),
            sealed: by.gauge(
                "actorline_sealed_version",
                "The newest version of the lake's table whose seal this instance has written or seen, 0 before the first.",
            ),
            anchored: by.gauges(
                "actorline_anchored_version",
                "The newest version whose seal this instance has anchored, 0 before the first; absent without an anchor.",
                &[],
            ),
            buffered_bytes: by.gauges(
                "actorline_buffered_bytes",
                "Memory held by rows that wait for a sink's next commit.",
                &["sink"],
            ),
            resident_bytes: by.add(Gauge::with_opts(Opts::new(
                "process_resident_memory_bytes",
                "Memory that the process takes (on Linux; 0 elsewhere).",
            ))),
            paused: by.gauge("actorline_paused", "1 while reading pauses because a sink has fallen behind, else 0."),
            generation: by.gauges(
                "actorline_generation_info",
                "1 for the generation of mappings and registry in use.",
                &["mapping_version"],
            ),
            registry: registry.clone(),
            state: Mutex::default(),
        };
        let build = by.gauges("actorline_build_info", "1 for the version that runs.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        // A series that exists from the start at 0 lets an alert see its first increase.
        for sink in Sink::ALL {
            metrics.commit_failures.with_label_values(&[sink.as_str()]);
        }
        metrics
    }

    /// Adds what a batch counted.
    pub fn count(&self, batch: &Tally) {
        self.records_read.inc_by(batch.num_records);
        self.bytes_read.inc_by(batch.num_bytes);
        for (stage, counts) in Stage::ALL.iter().zip(&batch.dead_letters) {
            for (reason, count) in REASONS.iter().zip(counts).filter(|(_, count)| **count > 0) {
                self.dead_letters.with_label_values(&[stage.as_str(), reason.as_str()]).inc_by(*count);
            }
        }
        let mut state = self.lock();
        state.totals.add(batch);
        for counted in &batch.sources {
            let total = state.totals.source(&counted.name);
            let source = &*total.name;
            for (status, count) in Status::ALL.iter().zip(counted.statuses).filter(|(_, count)| *count > 0) {
                self.rows.with_label_values(&[source, status.as_str()]).inc_by(count);
            }
            for (actor_type, basis, result, count) in counted.cells() {
                let labels = [source, actor_type.as_str(), basis.as_str(), result.as_str()];
                self.events.with_label_values(&labels).inc_by(count);
            }
            for (column, count) in COVERED.iter().zip(counted.covered).filter(|(_, count)| *count > 0) {
                self.covered.with_label_values(&[source, column.name()]).inc_by(count);
            }
            if counted.num_unknown_operations > 0 {
                self.unknown_operations.with_label_values(&[source]).inc_by(counted.num_unknown_operations);
            }
            let (mut num_unknown, mut num_events) = (0, 0);
            for (actor_type, _, _, count) in total.cells() {
                num_events += count;
                num_unknown += if actor_type == ActorType::Unknown { count } else { 0 };
            }
            if num_events > 0 {
                self.unattributed.with_label_values(&[source]).set(num_unknown as f64 / num_events as f64);
            }
        }
    }

    /// A batch is in `sink`, and its commit took `duration`.
    pub fn committed(&self, sink: Sink, duration: Duration) {
        self.commits.with_label_values(&[sink.as_str()]).observe(duration.as_secs_f64());
    }

    /// A commit failed, or nobody knows whether it did.
    pub fn commit_failed(&self, sink: Sink) {
        self.commit_failures.with_label_values(&[sink.as_str()]).inc();
    }

    /// `sink` will take `next` of `partition` next.
    pub fn set_position(&self, sink: Sink, partition: &TopicPartition, next: NextOffset) {
        self.set_for_partition(&self.positions, sink, partition, next.0);
    }

    /// `sink` is `num_records` behind the end of `partition`.
    pub fn set_lag(&self, sink: Sink, partition: &TopicPartition, num_records: i64) {
        self.set_for_partition(&self.lags, sink, partition, num_records);
    }

    /// How far the evidence of the lake has come.
    pub fn set_proven(&self, sealed: Option<u64>, anchored: Option<u64>) {
        let gauge = |version| i64::try_from(version).unwrap_or(i64::MAX);
        self.sealed.set(gauge(sealed.unwrap_or(0)));
        if let Some(version) = anchored {
            self.anchored.with_label_values::<&str>(&[]).set(gauge(version));
        }
    }

    /// `partition` went to another instance: its series end here.
    pub fn forget(&self, partition: &TopicPartition) {
        let number = partition.partition.to_string();
        let mut state = self.lock();
        let key = (Arc::clone(&partition.topic), partition.partition);
        state.partitions.remove(&key);
        state.refused.remove(&key);
        self.partitions_without_series.set(count_of(&state.refused));
        for sink in Sink::ALL {
            let labels = [sink.as_str(), &*partition.topic, &*number];
            // That there was no such series is as good.
            let _ = self.positions.remove_label_values(&labels);
            let _ = self.lags.remove_label_values(&labels);
        }
    }

    pub fn set_buffered_bytes(&self, sink: Sink, num_bytes: usize) {
        self.buffered_bytes.with_label_values(&[sink.as_str()]).set(i64::try_from(num_bytes).unwrap_or(i64::MAX));
    }

    pub fn set_paused(&self, paused: bool) {
        self.paused.set(i64::from(paused));
    }

    /// Mappings and registry of `mapping_version` are in use from now on.
    pub fn set_generation(&self, mapping_version: &str) {
        self.generation.reset();
        self.generation.with_label_values(&[mapping_version]).set(1);
    }

    /// The mapping of `source` names so many things that the platform cannot tell.
    pub fn set_control_weaknesses(&self, source: &str, num_gaps: usize) {
        self.control_weaknesses.with_label_values(&[source]).set(i64::try_from(num_gaps).unwrap_or(i64::MAX));
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// Only if two metrics of one name differ in kind, which a test rules out.
    pub fn encode(&self) -> Result<Vec<u8>, prometheus::Error> {
        self.resident_bytes.set(resident_bytes().unwrap_or(0) as f64);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    fn set_for_partition(&self, gauges: &IntGaugeVec, sink: Sink, partition: &TopicPartition, value: i64) {
        let mut state = self.lock();
        let key = (Arc::clone(&partition.topic), partition.partition);
        if !state.partitions.contains(&key) {
            if state.partitions.len() >= NUM_PARTITIONS_MAX {
                if state.refused.len() < NUM_PARTITIONS_MAX {
                    state.refused.insert(key);
                }
                self.partitions_without_series.set(count_of(&state.refused));
                return;
            }
            state.refused.remove(&key);
            self.partitions_without_series.set(count_of(&state.refused));
            state.partitions.insert(key);
        }
        let number = partition.partition.to_string();
        gauges.with_label_values(&[sink.as_str(), &*partition.topic, &*number]).set(value);
    }

    fn lock(&self) -> MutexGuard<'_, MetricsState> {
        // Counts that are short by what a dead thread did not add are better than none.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Declares metrics. Names and labels are constants of this file, so a refusal is a mistake that any test shows.
struct Registration<'a> {
    registry: &'a Registry,
}

impl Registration<'_> {
    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn add<M: Collector + Clone + 'static>(&self, metric: Result<M, prometheus::Error>) -> M {
        let metric = metric.expect("names and labels of metrics are constants");
        self.registry.register(Box::new(metric.clone())).expect("each metric is declared once");
        metric
    }
}

fn count_of<T>(set: &HashSet<T>) -> i64 {
    i64::try_from(set.len()).unwrap_or(i64::MAX)
}

/// What the kernel says this process takes. A system without `/proc` does not say.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::taxonomy::{Basis, Outcome};
    use crate::activity::{Activity, Column, Value};
    use crate::rejection::Reason;
    use crate::telemetry::tally::{NUM_SOURCES_MAX, OTHER_SOURCES};

    fn text_of(metrics: &Metrics) -> String {
        String::from_utf8(metrics.encode().expect("metrics agree")).expect("the format is UTF-8")
    }

    fn count_one(metrics: &Metrics, source: &str, actor_type: ActorType) {
        let mut activity = Activity::default();
        activity.set(Column::Source, Value::Text(source));
        activity.set(Column::Status, Value::Text(Status::Mapped.as_str()));
        activity.set(Column::Result, Value::Text(Outcome::Success.as_str()));
        activity.set(Column::CredentialId, Value::Text("k-1"));
        activity.set(Column::ActionVerb, Value::Text("other"));
        activity.set_actor_type(actor_type, Basis::Declared, None);
        let mut tally = Tally::new();
        tally.activity(&activity);
        metrics.count(&tally);
    }

    fn partition(number: i32) -> TopicPartition {
        TopicPartition { topic: "audit.okta".into(), topic_id: None, partition: number }
    }

    #[test]
    fn a_fresh_process_shows_its_build_and_its_memory() {
        let text = text_of(&Metrics::new());
        assert!(text.contains(&format!("actorline_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))));
        assert!(text.contains("actorline_commit_failures_total{sink=\"lake\"} 0"));
        if cfg!(target_os = "linux") {
            assert!(!text.contains("process_resident_memory_bytes 0\n"));
        }
    }

    #[test]
    fn batches_add_up_and_the_unattributed_share_follows() {
        let metrics = Metrics::new();
        for actor_type in [ActorType::Human, ActorType::Human, ActorType::Human, ActorType::Unknown] {
            count_one(&metrics, "okta_system", actor_type);
        }
        let text = text_of(&metrics);
        let humans =
            r#"actorline_events_total{actor_type="human",basis="declared",result="success",source="okta_system"} 3"#;
        assert!(text.contains(humans), "{text}");
        assert!(text.contains(r#"actorline_rows_total{source="okta_system",status="mapped"} 4"#));
        assert!(text.contains(r#"actorline_unattributed_ratio{source="okta_system"} 0.25"#));
        assert!(text.contains(r#"actorline_events_with_total{column="credential_id",source="okta_system"} 4"#));
        assert!(text.contains(r#"actorline_unknown_operations_total{source="okta_system"} 4"#));
        assert!(!text.contains("actor_owner"), "{text}");
    }

    #[test]
    fn dead_letters_and_bytes_are_counted() {
        let metrics = Metrics::new();
        let mut tally = Tally::new();
        tally.record(700);
        tally.dead_letter(Stage::Envelope, Reason::Syntax);
        metrics.count(&tally);
        let text = text_of(&metrics);
        assert!(text.contains(r#"actorline_dead_letters_total{reason="syntax",stage="envelope"} 1"#));
        assert!(text.contains("actorline_bytes_read_total 700"));
    }

    #[test]
    fn sources_are_bounded_across_batches() {
        let metrics = Metrics::new();
        for number in 0..NUM_SOURCES_MAX + 9 {
            count_one(&metrics, &format!("s-{number}"), ActorType::Human);
        }
        let text = text_of(&metrics);
        assert_eq!(text.matches("\nactorline_rows_total{").count(), NUM_SOURCES_MAX + 1);
        assert!(text.contains(&format!(r#"actorline_rows_total{{source="{OTHER_SOURCES}",status="mapped"}} 9"#)));
    }

    #[test]
    fn a_partition_that_went_away_leaves_no_series() {
        let metrics = Metrics::new();
        metrics.set_position(Sink::Lake, &partition(3), NextOffset(42));
        metrics.set_lag(Sink::Siem, &partition(3), 7);
        let text = text_of(&metrics);
        assert!(text.contains(r#"actorline_position_offset{partition="3",sink="lake",topic="audit.okta"} 42"#));
        assert!(text.contains(r#"actorline_lag_records{partition="3",sink="siem",topic="audit.okta"} 7"#));
        metrics.forget(&partition(3));
        assert!(!text_of(&metrics).contains("audit.okta"));
    }

    #[test]
    fn partitions_beyond_the_limit_are_counted_and_not_shown() {
        let metrics = Metrics::new();
        let num_partitions = i32::try_from(NUM_PARTITIONS_MAX).expect("a small number") + 5;
        for number in 0..num_partitions {
            metrics.set_lag(Sink::Lake, &partition(number), 1);
        }
        let text = text_of(&metrics);
        assert_eq!(text.matches("\nactorline_lag_records{").count(), NUM_PARTITIONS_MAX);
        assert!(text.contains("actorline_partitions_without_series 5"));

        metrics.forget(&partition(0));
        metrics.forget(&partition(num_partitions - 1));
        metrics.set_lag(Sink::Lake, &partition(num_partitions - 2), 77);
        let text = text_of(&metrics);
        assert!(
            text.contains(&format!("partition=\"{}\",sink=\"lake\",topic=\"audit.okta\"}} 77", num_partitions - 2))
        );
        assert!(text.contains("actorline_partitions_without_series 3"));
    }

    #[test]
    fn commits_are_timed_by_sink() {
        let metrics = Metrics::new();
        metrics.committed(Sink::Siem, Duration::from_millis(20));
        let text = text_of(&metrics);
        assert!(text.contains(r#"actorline_commit_duration_seconds_bucket{sink="siem",le="0.025"} 1"#));
        assert!(text.contains(r#"actorline_commit_duration_seconds_count{sink="siem"} 1"#));
    }

    #[test]
    fn only_the_generation_in_use_is_shown() {
        let metrics = Metrics::new();
        metrics.set_generation("aaa");
        metrics.set_generation("bbb");
        let text = text_of(&metrics);
        assert!(!text.contains("aaa"));
        assert!(text.contains(r#"actorline_generation_info{mapping_version="bbb"} 1"#));
    }

    #[test]
    fn every_metric_is_documented_and_every_alert_and_panel_asks_for_one_that_exists() {
        let metrics = Metrics::new();
        count_one(&metrics, "okta_system", ActorType::Human);
        let mut tally = Tally::new();
        tally.dead_letter(Stage::Decode, Reason::Codec);
        metrics.count(&tally);
        metrics.committed(Sink::Lake, Duration::ZERO);
        metrics.set_position(Sink::Lake, &partition(0), NextOffset(0));
        metrics.set_lag(Sink::Lake, &partition(0), 0);
        metrics.set_buffered_bytes(Sink::Lake, 0);
        metrics.set_generation("aaa");
        metrics.set_control_weaknesses("okta_system", 5);
        metrics.set_proven(Some(1), Some(1));
        let text = text_of(&metrics);
        let names: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
        let page = include_str!("../../docs/operations.md");
        for name in &names {
            assert!(page.contains(&format!("`{name}`")), "docs/operations.md lacks `{name}`");
        }
        let named = regex::Regex::new(r"\bactorline_[a-z_]+").expect("a valid pattern");
        for shown in [page, include_str!("../../deploy/alerts.yaml"), include_str!("../../deploy/grafana.json")] {
            for name in named.find_iter(shown) {
                // A histogram's buckets are asked for under a name of their own.
                let name = name.as_str().trim_end_matches("_bucket");
                assert!(names.contains(&name), "there is no metric `{name}`");
            }
        }
    }
}
