//! A row derived again from what it keeps: its raw event and its context, by the mappings and the registry of today.
//!
//! A mapping sees nothing else of an event, so the same mappings and registry give the same row. Where the row came from
//! and when it was received stays as it is. Like `normalize` without I/O and without a clock.

use bumpalo::Bump;

use super::normalize::{Normalizer, Route, Scratch, SourceChoice, UNRECOGNISED, num_rows};
use crate::activity::{Activity, Column, Value};
use crate::event::{Context, RawEvent};
use crate::mapping::apply::Prepared;
use crate::mapping::plan::Plan;
use crate::record::{Position, RawRecord};

/// What a row keeps of where it came from.
#[derive(Clone, Debug)]
pub struct Kept<'a> {
    pub raw: &'a str,
    /// What the mapping saw beside `raw`, without the item.
    pub context: Context,
    /// Which of the event's activities it is.
    pub item: usize,
    /// How many the event had; None where that cannot be seen from here.
    pub num_items: Option<usize>,
    pub source: &'a str,
    pub position: Position,
    pub topic_id: Option<&'a str>,
    pub index: usize,
    pub count: usize,
    pub received_time: i64,
    pub received_date: i32,
    pub event_time: Option<i64>,
}

/// Whether a row could be derived again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rederived {
    Row,
    /// The event gives another number of activities by now. The SIEM has those of before, under positions that rows added
    /// or taken away would shift: they stay as they are.
    SplitsOtherwise,
}

impl Normalizer {
    /// Calls `emit` with the row as it would come today. `route` is what the configuration says of its topic; without one the
    /// row's own source counts, as long as its mapping recognises the event.
    pub fn rederive(
        &self,
        kept: Kept<'_>,
        route: Option<&Route>,
        scratch: &mut Scratch,
        emit: &mut dyn FnMut(&Activity<'_>),
    ) -> Rederived {
        scratch.reset();
        let arena = &scratch.event;
        let event = RawEvent { raw: kept.raw, context: kept.context };
        let prepared = self.prepare_again(&event, kept.source, route, arena);
        let num_items = num_rows(&prepared);
        if kept.item >= num_items || kept.num_items.is_some_and(|before| before != num_items) {
            return Rederived::SplitsOtherwise;
        }
        let mut row = match &prepared {
            Ok((plan, prepared)) => plan.activity(prepared, kept.item, self.registry().organisation(), arena, None),
            Err(issue) => self.unmapped(&event, issue, arena),
        };
        let record = RawRecord {
            position: kept.position,
            topic_id: kept.topic_id.map(Into::into),
            // Where the broker gave none, the event's own time stands in its place.
            timestamp: Some(kept.received_time).filter(|time| *time != 0 && Some(*time) != kept.event_time),
            key: None,
            headers: Vec::new(),
            value: None,
        };
        self.finish(&mut row, &record, &event, (kept.index, kept.count), kept.item, arena);
        row.set(Column::ReceivedTime, Value::Time(kept.received_time));
        row.set(Column::ReceivedDate, Value::Date(kept.received_date));
        emit(&row);
        Rederived::Row
    }

    fn prepare_again<'a>(
        &'a self,
        event: &'a RawEvent<'a>,
        source: &str,
        route: Option<&Route>,
        arena: &'a Bump,
    ) -> Result<(&'a Plan, Prepared<'a>), &'a str> {
        if let Some(route) = route {
            return self.prepare(event, route, arena);
        }
        if source != UNRECOGNISED {
            let own = Route { source: SourceChoice::Named(source.to_string()), ..Route::default() };
            let prepared = self.prepare(event, &own, arena);
            if prepared.is_ok() {
                return prepared;
            }
        }
        self.prepare(event, &Route::default(), arena)
    }
}
