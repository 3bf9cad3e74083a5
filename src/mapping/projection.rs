//! The projection: all paths that a plan reads, taken out of an event in one pass over its bytes.
//!
//! The paths form a trie. A visitor walks the event and the trie together: what no path leads to is skipped
//! (and checked to be JSON) without being built, what a path ends at is kept as a slice of the event.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use bumpalo::Bump;
use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::json::Json;
use super::path::Step;

/// Above so many keys in one object, duplicates are looked for in a set instead of one by one.
const NUM_KEYS_COMPARED_MAX: usize = 64;

/// Most duplicate keys that are named. One is enough to distrust the row; a flood must not fill memory.
pub const NUM_DUPLICATES_MAX: usize = 8;

/// The wanted paths, compiled. Slot `i` of a scan holds what path `i` leads to.
#[derive(Clone, Debug, Default)]
pub struct Projection {
    root: Branch,
    paths: Vec<Vec<Step>>,
}

/// What lies below one step of the wanted paths.
#[derive(Clone, Debug, Default)]
struct Branch {
    slot: Option<usize>,
    /// Sorted by length, then bytes: most comparisons end at the length.
    keys: Vec<(Box<str>, Branch)>,
    indexes: Vec<(usize, Branch)>,
    last: Option<Box<Branch>>,
}

/// What each wanted path led to.
pub type Slots<'a> = &'a [Option<Json<'a>>];

/// What a scan found.
#[derive(Debug)]
pub struct Scan<'a> {
    pub slots: Slots<'a>,
    /// Keys that stand twice in an object that the plan reads; the last one counts.
    pub duplicate_keys: Vec<Cow<'a, str>>,
}

impl Projection {
    /// The slot for `path`, the same for the same path.
    pub fn add(&mut self, path: &[Step]) -> usize {
        if let Some(slot) = self.paths.iter().position(|other| other == path) {
            return slot;
        }
        let slot = self.paths.len();
        self.paths.push(path.to_vec());
        let mut branch = &mut self.root;
        for step in path {
            branch = branch.below(step);
        }
        branch.slot = Some(slot);
        slot
    }

    pub fn paths(&self) -> &[Vec<Step>] {
        &self.paths
    }

    /// Takes the wanted paths out of `json`, which must be valid JSON.
    pub fn scan<'a>(&self, json: Json<'a>, arena: &'a Bump) -> Scan<'a> {
        let slots = arena.alloc_slice_fill_copy(self.paths.len(), None);
        let mut walk = Walk { slots, duplicate_keys: Vec::new(), keys: Vec::new(), careful: false };
        if walk.enter(&self.root, json).is_err() {
            // A number beyond the range of f64 where the plan expected an object: rare enough for a second pass.
            walk.slots.fill(None);
            walk.duplicate_keys.clear();
            walk.keys.clear();
            walk.careful = true;
            let _ = walk.enter(&self.root, json);
        }
        let Walk { slots, duplicate_keys, .. } = walk;
        Scan { slots, duplicate_keys }
    }
}

impl Branch {
    fn below(&mut self, step: &Step) -> &mut Branch {
        match step {
            Step::Key(key) => {
                let index = match self.find_index(key) {
                    Ok(index) => index,
                    Err(index) => {
                        self.keys.insert(index, (key.as_str().into(), Branch::default()));
                        index
                    }
                };
                &mut self.keys[index].1
            }
            Step::Index(wanted) => {
                let index = self.indexes.iter().position(|(index, _)| index == wanted).unwrap_or_else(|| {
                    self.indexes.push((*wanted, Branch::default()));
                    self.indexes.len() - 1
                });
                &mut self.indexes[index].1
            }
            Step::Last => self.last.get_or_insert_default(),
        }
    }

    fn find_index(&self, key: &str) -> Result<usize, usize> {
        self.keys.binary_search_by(|(other, _)| (other.len(), &**other).cmp(&(key.len(), key)))
    }

    fn find(&self, key: &str) -> Option<&Branch> {
        self.find_index(key).ok().map(|index| &self.keys[index].1)
    }

    fn is_end(&self) -> bool {
        self.keys.is_empty() && self.indexes.is_empty() && self.last.is_none()
    }

    fn clear_slots(&self, slots: &mut [Option<Json<'_>>]) {
        if let Some(slot) = self.slot {
            slots[slot] = None;
        }
        let below = self.keys.iter().map(|(_, branch)| branch);
        let below = below.chain(self.indexes.iter().map(|(_, branch)| branch)).chain(self.last.as_deref());
        for branch in below {
            branch.clear_slots(slots);
        }
    }
}

/// The state of one pass.
struct Walk<'a> {
    slots: &'a mut [Option<Json<'a>>],
    duplicate_keys: Vec<Cow<'a, str>>,
    /// The keys of the objects that are open now, innermost last.
    keys: Vec<Cow<'a, str>>,
    /// Take every value as a slice first, and enter it only if it is an object or array.
    careful: bool,
}

impl<'a> Walk<'a> {
    fn enter(&mut self, branch: &Branch, json: Json<'a>) -> Result<(), serde_json::Error> {
        if let Some(slot) = branch.slot {
            self.slots[slot] = Some(json);
        }
        if branch.is_end() || !(json.is_array() || json.is_object()) {
            return Ok(());
        }
        let mut deserializer = serde_json::Deserializer::from_str(json.as_str());
        deserializer.deserialize_any(Inside { branch, walk: self })
    }
}

/// A value that a branch leads to.
struct At<'b, 'w, 'a> {
    branch: &'b Branch,
    walk: &'w mut Walk<'a>,
}

impl<'a> DeserializeSeed<'a> for At<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        let At { branch, walk } = self;
        if branch.slot.is_none() && !walk.careful {
            return deserializer.deserialize_any(Inside { branch, walk });
        }
        let raw = <&RawValue as serde::Deserialize>::deserialize(deserializer)?;
        walk.enter(branch, Json::new(raw.get())).map_err(serde::de::Error::custom)
    }
}

/// The inside of a value that paths lead through.
struct Inside<'b, 'w, 'a> {
    branch: &'b Branch,
    walk: &'w mut Walk<'a>,
}

impl<'a> Visitor<'a> for Inside<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let Inside { branch, walk } = self;
        let first_key = walk.keys.len();
        let mut seen: Option<HashSet<Cow<'a, str>>> = None;
        while let Some(key) = map.next_key_seed(KeyText)? {
            let is_duplicate = match &mut seen {
                None => walk.keys[first_key..].contains(&key),
                Some(seen) => !seen.insert(key.clone()),
            };
            let below = branch.find(&key);
            if is_duplicate {
                if let Some(below) = below {
                    below.clear_slots(walk.slots);
                }
                if walk.duplicate_keys.len() < NUM_DUPLICATES_MAX {
                    walk.duplicate_keys.push(key.clone());
                }
            }
            if seen.is_none() {
                walk.keys.push(key);
                if walk.keys.len() - first_key > NUM_KEYS_COMPARED_MAX {
                    seen = Some(walk.keys.drain(first_key..).collect());
                }
            }
            match below {
                Some(below) => map.next_value_seed(At { branch: below, walk })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        walk.keys.truncate(first_key);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<(), A::Error> {
        let Inside { branch, walk } = self;
        let mut last = None;
        let mut index = 0;
        loop {
            let below = branch.indexes.iter().find(|(wanted, _)| *wanted == index).map(|(_, below)| below);
            if branch.last.is_none() && below.is_none() {
                if elements.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(());
                }
            } else {
                let Some(element) = elements.next_element::<&RawValue>()? else { break };
                let element = Json::new(element.get());
                if let Some(below) = below {
                    walk.enter(below, element).map_err(serde::de::Error::custom)?;
                }
                last = Some(element);
            }
            index += 1;
        }
        if let (Some(below), Some(element)) = (&branch.last, last) {
            walk.enter(below, element).map_err(serde::de::Error::custom)?;
        }
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// A key, borrowed where it holds no escapes.
struct KeyText;

impl<'a> DeserializeSeed<'a> for KeyText {
    type Value = Cow<'a, str>;

    fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<Cow<'a, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for KeyText {
    type Value = Cow<'a, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'a str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Owned(key.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::path::Path;
    use super::*;

    fn scan(json: &str, paths: &[&str]) -> (Vec<Option<String>>, Vec<String>) {
        let mut projection = Projection::default();
        for path in paths {
            projection.add(&Path::parse(path).expect("a path").steps);
        }
        let arena = Bump::new();
        let scan = projection.scan(Json::new(json), &arena);
        let slots = scan.slots.iter().map(|slot| slot.map(|json| json.as_str().to_string())).collect();
        (slots, scan.duplicate_keys.iter().map(ToString::to_string).collect())
    }

    fn found(json: &str, path: &str) -> Option<String> {
        scan(json, &[path]).0.remove(0)
    }

    #[test]
    fn paths_lead_through_objects_and_arrays() {
        let json = r#"{"a":{"b.c":[1,{"d":"x"},3]},"e":null}"#;
        assert_eq!(found(json, "a.\"b.c\"[1].d").as_deref(), Some("\"x\""));
        assert_eq!(found(json, "a.\"b.c\"[-1]").as_deref(), Some("3"));
        assert_eq!(found(json, "e").as_deref(), Some("null"));
        assert_eq!(found(json, "a.b"), None);
        assert_eq!(found(json, "e.f"), None);
    }

    #[test]
    fn a_value_and_what_is_inside_it_can_both_be_wanted() {
        let (slots, _) = scan(r#"{"a":{"b":1}}"#, &["a", "a.b"]);
        assert_eq!(slots, [Some(r#"{"b":1}"#.to_string()), Some("1".to_string())]);
    }

    #[test]
    fn the_last_of_a_duplicate_key_counts_and_it_is_named() {
        let (slots, duplicates) = scan(r#"{"a":{"b":1},"x":1,"a":{"c":2},"x":2}"#, &["a.b", "a.c"]);
        assert_eq!(slots, [None, Some("2".to_string())]);
        assert_eq!(duplicates, ["a", "x"]);
    }

    #[test]
    fn duplicates_are_found_among_many_keys() {
        let keys: Vec<String> = (0..200).map(|n| format!("\"k{n}\":{n}")).collect();
        let json = format!("{{{},\"k150\":1,\"k3\":2}}", keys.join(","));
        assert_eq!(scan(&json, &["k3"]).1, ["k150", "k3"]);
    }

    #[test]
    fn a_number_beyond_f64_does_not_stop_the_scan() {
        let (slots, _) = scan(r#"{"a":1e400,"b":"x"}"#, &["a.deeper", "b"]);
        assert_eq!(slots, [None, Some("\"x\"".to_string())]);
    }
}
