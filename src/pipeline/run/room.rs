//! Room for rows that were mapped and not taken yet: mapping waits when there is none.
//!
//! What a record becomes can be thousands of times its size, so the bytes that were read say little about the memory
//! that their rows take. Never makes everybody wait: the chunk whose turn it is may always add what the loop lacks.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Shared by the mapping workers, who fill it, and the loop, which empties it in the order of the chunks.
#[derive(Debug)]
pub(super) struct Room {
    num_bytes_max: usize,
    rows: Mutex<Rows>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Rows {
    /// Bytes that wait, by the number of their chunk.
    by_chunk: BTreeMap<u64, usize>,
    num_bytes: usize,
    /// The chunk that the loop takes from.
    turn: u64,
    is_closed: bool,
}

impl Room {
    pub fn new(num_bytes_max: usize) -> Room {
        Room { num_bytes_max, rows: Mutex::default(), changed: Condvar::new() }
    }

    /// Waits until `chunk` may be mapped further. False means that nobody wants its rows any more.
    pub fn wait(&self, chunk: u64) -> bool {
        let mut rows = self.lock();
        while !rows.is_closed && !rows.has_room(chunk, self.num_bytes_max) {
            rows = self.changed.wait(rows).unwrap_or_else(PoisonError::into_inner);
        }
        !rows.is_closed
    }

    pub fn add(&self, chunk: u64, num_bytes: usize) {
        let mut rows = self.lock();
        *rows.by_chunk.entry(chunk).or_default() += num_bytes;
        rows.num_bytes += num_bytes;
    }

    pub fn take(&self, chunk: u64, num_bytes: usize) {
        let mut rows = self.lock();
        rows.num_bytes = rows.num_bytes.saturating_sub(num_bytes);
        if let Some(waiting) = rows.by_chunk.get_mut(&chunk) {
            *waiting = waiting.saturating_sub(num_bytes);
        }
        drop(rows);
        self.changed.notify_all();
    }

    /// Everything of the chunks before `turn` was taken.
    pub fn begin_turn(&self, turn: u64) {
        let mut rows = self.lock();
        rows.turn = turn;
        rows.by_chunk = rows.by_chunk.split_off(&turn);
        drop(rows);
        self.changed.notify_all();
    }

    /// Lets everybody go.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    #[cfg(test)]
    pub fn num_bytes(&self) -> usize {
        self.lock().num_bytes
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn has_room(&self, chunk: u64, num_bytes_max: usize) -> bool {
        let is_awaited = chunk == self.turn && self.by_chunk.get(&chunk).is_none_or(|num_bytes| *num_bytes == 0);
        self.num_bytes < num_bytes_max || is_awaited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_room(room: &Room, chunk: u64) -> bool {
        room.lock().has_room(chunk, room.num_bytes_max)
    }

    #[test]
    fn a_chunk_waits_while_too_much_does_and_the_one_whose_turn_it_is_does_not() {
        let room = Room::new(10);
        room.add(1, 12);
        assert!(!has_room(&room, 1) && !has_room(&room, 2));
        assert!(has_room(&room, 0), "the loop can take nothing before this one");
        room.add(0, 1);
        assert!(!has_room(&room, 0), "now it can");
        room.take(0, 1);
        assert!(has_room(&room, 0));
        room.begin_turn(1);
        room.take(1, 12);
        assert!(has_room(&room, 2));
    }

    #[test]
    fn nobody_waits_in_a_closed_room() {
        let room = Room::new(1);
        room.add(0, 5);
        room.close();
        assert!(!room.wait(0));
    }
}
