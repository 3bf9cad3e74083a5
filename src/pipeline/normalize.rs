//! From a record to its rows: cut, recognise, map, attribute.
//!
//! Every record leaves at least one row. The same record, mappings and registry give the same rows, byte for byte:
//! nothing here does I/O or reads a clock.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bumpalo::Bump;
use sha2::{Digest, Sha256};

use crate::activity::taxonomy::{
    ActorType, Basis, Category, CredentialType, Outcome, OwnerBasis, PolicyState, Status, Verb,
};
use crate::activity::{Activity, BELIEVABLE_TIMES, Column, Hop, Value};
use crate::envelope;
use crate::event::RawEvent;
use crate::identity::Registry;
use crate::mapping::apply::Prepared;
use crate::mapping::event_uid::{hash_bytes, hash_event};
use crate::mapping::library::Library;
use crate::mapping::plan::Plan;
use crate::mapping::secrets::redact;
use crate::organisation::OwnedKind;
use crate::record::RawRecord;
use crate::rejection::{Reason, Rejection, Stage};

/// The name of the source of an event that no mapping recognised.
pub const UNRECOGNISED: &str = "unrecognised";

/// Hex digits of the generation's name: enough that no two of an archive's generations meet, short enough to read.
const NUM_GENERATION_DIGITS: usize = 12;

/// The name in a row's context of the attempt at a dead letter that it came from.
const ATTEMPT: &str = "redrive.attempt";

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// How far ahead of its receipt an event may claim to be before it is flagged: clocks drift, days do not.
const AHEAD_MICROS_MAX: i64 = MICROS_PER_DAY;

/// The most bytes that the rows of one record hold of their raw events and contexts.
///
/// As much as a record may have, so only what stands on many rows comes to it: an item whose events share fields stands
/// whole on the row of each. A record of 300 KB could fill gigabytes so.
const ROWS_RAW_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Turns records into rows. Shared by all threads.
#[derive(Debug)]
pub struct Normalizer {
    library: Arc<Library>,
    registry: Arc<Registry>,
    generation: String,
}

/// What is known of a record's source before it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    pub source: SourceChoice,
    /// Values for columns that events do not fill by themselves.
    pub set: Vec<(Column, String)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SourceChoice {
    /// Recognise each event by its content.
    #[default]
    Auto,
    /// A mapping's name or alias. Events that it does not recognise are `unmapped` all the same.
    Named(String),
}

/// Memory that one thread uses again for every record.
#[derive(Debug, Default)]
pub struct Scratch {
    record: Bump,
    /// What is made for one event, so that a record of many costs no more than its largest.
    pub(super) event: Bump,
}

/// Most memory that a scratch keeps between records; one huge record should not hold its memory for good.
const SCRATCH_NUM_BYTES_KEPT: usize = 16 * 1024 * 1024;

impl Scratch {
    pub(super) fn reset(&mut self) {
        for arena in [&mut self.record, &mut self.event] {
            if arena.allocated_bytes() > SCRATCH_NUM_BYTES_KEPT {
                *arena = Bump::new();
            }
            arena.reset();
        }
    }
}

impl Normalizer {
    pub fn new(library: Arc<Library>, registry: Arc<Registry>) -> Normalizer {
        let mut hasher = Sha256::new();
        for part in [library.content_hash(), &registry.content_hash()] {
            hasher.update(part.as_bytes());
            hasher.update(b"\n");
        }
        let generation: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let generation = generation[..NUM_GENERATION_DIGITS].to_string();
        Normalizer { library, registry, generation }
    }

    /// The name of the mappings, registry and organisation together, as `mapping_version` carries it.
    pub fn generation(&self) -> &str {
        &self.generation
    }

    /// Everything that the generation is made of, to be kept beside the rows that it shapes: the same bytes for the same
    /// generation.
    pub fn generation_document(&self) -> Vec<u8> {
        let organisation = self.registry.organisation();
        let own: BTreeMap<&str, BTreeSet<&str>> =
            OwnedKind::ALL.into_iter().map(|kind| (kind.as_str(), organisation.ids(kind).collect())).collect();
        let document = serde_json::json!({
            "generation": self.generation,
            "mappings": self.library.files(),
            "registry": self.registry.entries(),
            "organisation": own,
        });
        document.to_string().into_bytes()
    }

    pub fn library(&self) -> &Library {
        &self.library
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Calls `emit` once for every row that the record leaves, in order of `input_index`; for a record that is
    /// rejected once, with the reason.
    pub fn normalize(
        &self,
        record: &RawRecord,
        route: &Route,
        scratch: &mut Scratch,
        emit: &mut dyn FnMut(&Activity<'_>, Option<&Rejection>),
    ) {
        self.normalize_again(record, route, None, scratch, emit);
    }

    /// As [`Normalizer::normalize`], for a record that was rejected before: its rows say at which attempt they came to be.
    pub fn normalize_again(
        &self,
        record: &RawRecord,
        route: &Route,
        attempt: Option<u64>,
        scratch: &mut Scratch,
        emit: &mut dyn FnMut(&Activity<'_>, Option<&Rejection>),
    ) {
        scratch.reset();
        let arena = &scratch.record;
        match envelope::cut(record, arena) {
            Ok(mut events) => {
                self.complete_context(&mut events, record, route);
                for event in &mut events {
                    event.context.extend(attempt.map(|attempt| (ATTEMPT.to_string(), attempt.to_string())));
                }
                self.events(record, route, &events, arena, &mut scratch.event, emit);
            }
            Err(rejection) => {
                let row = self.rejected(record, &rejection, arena);
                emit(&row, Some(&rejection));
            }
        }
    }

    /// Adds to what the envelope said what the record's headers and the topic's configuration say, as mappings see it.
    ///
    /// `input_context` keeps it beside the row, so it loses its secrets here, before any mapping sees it: a replay from the row
    /// sees the same. Of a name that stands twice, as headers may, the first counts: many engines refuse a map otherwise.
    pub fn complete_context(&self, events: &mut [RawEvent<'_>], record: &RawRecord, route: &Route) {
        let wanted_headers = self.library.headers();
        for event in events {
            for header in record.headers.iter().filter(|header| wanted_headers.contains(&header.name)) {
                let value = header.value.as_deref().and_then(|value| std::str::from_utf8(value).ok());
                event.context.extend(value.map(|value| (format!("header.{}", header.name), value.to_string())));
            }
            event
                .context
                .extend(route.set.iter().map(|(column, value)| (format!("set.{}", column.name()), value.clone())));
            if event.context.len() > 1 {
                let mut names: HashSet<String> = HashSet::new();
                event.context.retain(|(name, _)| names.insert(name.clone()));
            }
            for (_, value) in &mut event.context {
                if let Cow::Owned(redacted) = redact(value) {
                    *value = redacted;
                }
            }
        }
    }

    fn events<'a>(
        &'a self,
        record: &'a RawRecord,
        route: &Route,
        events: &'a [RawEvent<'a>],
        arena: &'a Bump,
        event_arena: &mut Bump,
        emit: &mut dyn FnMut(&Activity<'_>, Option<&Rejection>),
    ) {
        if events.is_empty() {
            let value = record.value.as_deref().unwrap_or_default();
            let mut row = self.bare(Status::Empty, &hash_bytes(value), arena);
            self.receive(&mut row, record, Raw::of_bytes(value, arena), (0, 0), &[], arena);
            emit(&row, None);
            return;
        }
        // How many rows there will be stands on each of them, so events are prepared before any is emitted. A record of one
        // event is prepared once; of many, again when its turn comes, so that only one is held at a time.
        if let [event] = events {
            let prepared = self.prepare(event, route, event_arena);
            let num_all = num_rows(&prepared);
            match excess(num_all, events.len(), num_all.saturating_mul(raw_bytes(event))) {
                Some(rejection) => emit(&self.rejected(record, &rejection, arena), Some(&rejection)),
                None => self.event(record, event, &prepared, (0, num_all), event_arena, emit),
            }
            return;
        }
        let (mut num_all, mut num_raw_bytes) = (0, 0_usize);
        for event in events {
            event_arena.reset();
            let num_rows = num_rows(&self.prepare(event, route, event_arena));
            num_all += num_rows;
            num_raw_bytes = num_raw_bytes.saturating_add(num_rows.saturating_mul(raw_bytes(event)));
        }
        if let Some(rejection) = excess(num_all, events.len(), num_raw_bytes) {
            emit(&self.rejected(record, &rejection, arena), Some(&rejection));
            return;
        }
        let mut index = 0;
        for event in events {
            event_arena.reset();
            let prepared = self.prepare(event, route, event_arena);
            self.event(record, event, &prepared, (index, num_all), event_arena, emit);
            index += num_rows(&prepared);
        }
    }

    /// The rows of one event, of which the first is the `first`-th of `num_all`.
    fn event<'a>(
        &'a self,
        record: &'a RawRecord,
        event: &'a RawEvent<'a>,
        prepared: &Result<(&'a Plan, Prepared<'a>), &'a str>,
        (first, num_all): (usize, usize),
        arena: &'a Bump,
        emit: &mut dyn FnMut(&Activity<'_>, Option<&Rejection>),
    ) {
        for item in 0..num_rows(prepared) {
            let mut row = match prepared {
                Ok((plan, prepared)) => plan.activity(prepared, item, self.registry.organisation(), arena, None),
                Err(issue) => self.unmapped(event, issue, arena),
            };
            self.finish(&mut row, record, event, (first + item, num_all), item, arena);
            emit(&row, None);
        }
    }

    /// The plan that an event belongs to, with the event as that plan sees it; or why there is none.
    pub fn prepare<'a>(
        &'a self,
        event: &'a RawEvent<'a>,
        route: &Route,
        arena: &'a Bump,
    ) -> Result<(&'a Plan, Prepared<'a>), &'a str> {
        let organisation = self.registry.organisation();
        match &route.source {
            SourceChoice::Auto => {
                let mut plans = self.library.recognise(event.raw, &event.context, organisation, arena);
                let plan = plans.next().ok_or("unrecognised::no mapping recognises this event")?;
                if let Some(other) = plans.next() {
                    let issue =
                        format!("ambiguous::both `{}` and `{}` recognise this event", plan.source, other.source);
                    return Err(arena.alloc_str(&issue));
                }
                Ok((plan, plan.prepare(event, organisation, arena)))
            }
            SourceChoice::Named(name) => {
                let plan = self.library.find(name).ok_or("unrecognised::no mapping has the name of this source")?;
                let prepared = plan.prepare(event, organisation, arena);
                if !plan.recognises(&prepared, organisation, arena) {
                    let issue = format!("unrecognised::not an event of {}", plan.source);
                    return Err(arena.alloc_str(&issue));
                }
                Ok((plan, prepared))
            }
        }
    }

    /// Everything about a row that its mapping does not know.
    pub fn finish<'a>(
        &'a self,
        row: &mut Activity<'a>,
        record: &'a RawRecord,
        event: &'a RawEvent<'a>,
        place: (usize, usize),
        item: usize,
        arena: &'a Bump,
    ) {
        let mut context: bumpalo::collections::Vec<'a, (&'a str, &'a str)> = bumpalo::collections::Vec::new_in(arena);
        context.extend(event.context.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        if item > 0 {
            context.push(("item", arena.alloc_str(&item.to_string())));
        }
        self.receive(row, record, Raw { text: event.raw, encoding: "utf8" }, place, context.into_bump_slice(), arena);
        flag_time_ahead(row, record, arena);
        if row.text(Column::Status) != Some(Status::Unmapped.as_str()) {
            self.registry.attribute(row);
            name_actor_in_chain(row, arena);
        }
    }

    /// Position, receipt, raw bytes and generation.
    fn receive<'a>(
        &'a self,
        row: &mut Activity<'a>,
        record: &'a RawRecord,
        raw: Raw<'a>,
        (index, count): (usize, usize),
        context: &'a [(&'a str, &'a str)],
        arena: &'a Bump,
    ) {
        let integer = |number: usize| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
        let broker_time = record.timestamp.filter(|time| BELIEVABLE_TIMES.contains(time));
        let received = broker_time.or_else(|| row.get(Column::EventTime).as_time()).unwrap_or(0);
        // A file's event may claim any year; the partition column stays within what calendars can name.
        let received = if BELIEVABLE_TIMES.contains(&received) { received } else { 0 };
        row.set(Column::ReceivedTime, Value::Time(received));
        let days = i32::try_from(received.div_euclid(MICROS_PER_DAY)).unwrap_or_default();
        row.set(Column::ReceivedDate, Value::Date(days));
        row.set(Column::MappingVersion, Value::Text(&self.generation));
        row.set(Column::InputTopic, Value::Text(&record.position.topic));
        row.set(Column::InputPartition, Value::Int(i64::from(record.position.partition)));
        row.set(Column::InputOffset, Value::Int(record.position.offset));
        row.set(Column::InputIndex, integer(index));
        row.set(Column::InputCount, integer(count));
        row.set(Column::InputTopicId, record.topic_id.as_deref().into());
        if !context.is_empty() {
            row.set(Column::InputContext, Value::TextMap(arena.alloc_slice_copy(context)));
        }
        row.set(Column::Raw, Value::Text(raw.text));
        row.set(Column::RawEncoding, Value::Text(raw.encoding));
    }

    pub(super) fn unmapped<'a>(&'a self, event: &RawEvent<'a>, issue: &'a str, arena: &'a Bump) -> Activity<'a> {
        let mut row = self.bare(Status::Unmapped, &hash_event(event.raw), arena);
        row.set(Column::Issues, Value::TextList(arena.alloc_slice_copy(&[issue])));
        row
    }

    fn rejected<'a>(&'a self, record: &'a RawRecord, rejection: &Rejection, arena: &'a Bump) -> Activity<'a> {
        let value = record.value.as_deref().unwrap_or_default();
        let mut row = self.bare(Status::Rejected, &hash_bytes(value), arena);
        let issue = format!("{}:{}:{}", rejection.reason.as_str(), rejection.stage.as_str(), rejection.detail);
        row.set(Column::Issues, Value::TextList(arena.alloc_slice_copy(&[&*arena.alloc_str(&issue)])));
        self.receive(&mut row, record, Raw::of_bytes(value, arena), (0, 1), &[], arena);
        row
    }

    /// A row of which nothing is known but that it was read.
    fn bare<'a>(&'a self, status: Status, hash: &str, arena: &'a Bump) -> Activity<'a> {
        let mut row = Activity::default();
        row.set_actor_type(ActorType::Unknown, Basis::None, None);
        for (column, word) in [
            (Column::Status, status.as_str()),
            (Column::Source, UNRECOGNISED),
            (Column::OwnerBasis, OwnerBasis::None.as_str()),
            (Column::PolicyState, PolicyState::Unregistered.as_str()),
            (Column::CredentialType, CredentialType::Unknown.as_str()),
            (Column::Action, "unknown"),
            (Column::ActionVerb, Verb::Other.as_str()),
            (Column::ActionCategory, Category::Other.as_str()),
            (Column::Result, Outcome::Unknown.as_str()),
        ] {
            row.set(column, Value::Text(word));
        }
        row.set(Column::EventUid, Value::Text(arena.alloc_str(&format!("{UNRECOGNISED}::{hash}"))));
        row
    }
}

/// The bytes that a row keeps as evidence.
struct Raw<'a> {
    text: &'a str,
    encoding: &'static str,
}

impl<'a> Raw<'a> {
    fn of_bytes(bytes: &'a [u8], arena: &'a Bump) -> Raw<'a> {
        match simdutf8::basic::from_utf8(bytes) {
            Ok(text) => Raw { text, encoding: "utf8" },
            Err(_) => Raw { text: arena.alloc_str(&BASE64.encode(bytes)), encoding: "base64" },
        }
    }
}

/// Why a record whose events share fields would leave more than its rows may hold. One without such events never does.
fn excess(num_rows: usize, num_events: usize, num_raw_bytes: usize) -> Option<Rejection> {
    (num_rows > num_events && num_raw_bytes > ROWS_RAW_BYTES_MAX).then(|| {
        let detail = format!("{num_rows} events that share fields, of {num_raw_bytes} bytes together");
        Rejection::new(Stage::Envelope, Reason::Shape, detail)
    })
}

pub(super) fn num_rows(prepared: &Result<(&Plan, Prepared<'_>), &str>) -> usize {
    prepared.as_ref().map_or(1, |(_, prepared)| prepared.num_activities())
}

/// The chain ends with the actor, whose type is settled only now.
fn name_actor_in_chain<'a>(row: &mut Activity<'a>, arena: &'a Bump) {
    let (Value::Hops(hops), Some(actor)) = (row.get(Column::DelegationChain), row.text(Column::ActorId)) else {
        return;
    };
    let is_actor = |hop: &Hop<'_>| hop.id == Some(actor) && hop.actor_type.is_none();
    if hops.iter().any(is_actor) {
        let actor_type = row.text(Column::ActorType);
        let named = hops.iter().map(|hop| if is_actor(hop) { Hop { actor_type, ..*hop } } else { *hop });
        let named: Vec<Hop<'a>> = named.collect();
        row.set(Column::DelegationChain, Value::Hops(arena.alloc_slice_copy(&named)));
    }
}

/// What each row of `event` holds of it.
fn raw_bytes(event: &RawEvent<'_>) -> usize {
    event.raw.len() + event.context.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
}

/// An event from the future says more about a clock than about the event.
fn flag_time_ahead<'a>(row: &mut Activity<'a>, record: &RawRecord, arena: &'a Bump) {
    let (Some(event_time), Some(broker_time)) = (row.get(Column::EventTime).as_time(), record.timestamp) else {
        return;
    };
    if !BELIEVABLE_TIMES.contains(&broker_time) || !BELIEVABLE_TIMES.contains(&event_time) {
        return;
    }
    if event_time.saturating_sub(broker_time) > AHEAD_MICROS_MAX {
        let mut issues: Vec<&'a str> = match row.get(Column::Issues) {
            Value::TextList(issues) => issues.to_vec(),
            _ => Vec::new(),
        };
        issues.push("time_suspect:event_time:more than a day ahead of its receipt");
        row.set(Column::Issues, Value::TextList(arena.alloc_slice_copy(&issues)));
        row.set(Column::Status, Value::Text(Status::Partial.as_str()));
    }
}
