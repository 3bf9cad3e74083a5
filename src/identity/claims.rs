//! The claims: which entries answer to a name, a credential's id or its fingerprint.
//!
//! Looking up costs one hash and no allocation. Of several claims the one that names source and tenant most exactly
//! wins; where that leaves two identities, the answer is that it is ambiguous.

use std::collections::HashMap;

use super::entry::Entry;
use super::report::{Report, quote};
use crate::activity::taxonomy::PolicyState;

/// Where an activity comes from, as far as claims are limited by it, and when it happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances<'a> {
    pub source: Option<&'a str>,
    pub tenant: Option<&'a str>,
    pub at: i64,
}

/// What the registry answers to one key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer<'r> {
    Absent,
    Found(&'r Entry),
    /// Several identities claim it; the strictest of their states.
    Ambiguous(PolicyState),
    /// It was claimed before, and is not any more.
    Ended(&'r Entry),
}

/// Indices of entries by what they answer to.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pub names: Index,
    pub credential_ids: Index,
    pub fingerprints: Index,
}

#[derive(Debug, Default)]
pub(super) struct Index(HashMap<Box<str>, Vec<Claim>>);

#[derive(Debug)]
struct Claim {
    entry: usize,
    source: Option<Box<str>>,
    tenant: Option<Box<str>>,
}

impl Claims {
    pub fn of(entries: &[Entry]) -> Claims {
        let mut claims = Claims::default();
        for (index, entry) in entries.iter().enumerate() {
            for alias in &entry.known_as {
                let (source, tenant) = (alias.source.as_deref(), alias.tenant.as_deref());
                claims.names.add(&alias.id, index, source, tenant);
            }
            for credential in &entry.credentials {
                if let Some(id) = &credential.id {
                    claims.credential_ids.add(id, index, None, None);
                }
                if let Some(fingerprint) = &credential.fingerprint {
                    claims.fingerprints.add(fingerprint, index, None, None);
                }
            }
        }
        claims
    }

    pub fn report_ambiguities(&self, entries: &[Entry], report: &mut Report) {
        for (what, index) in
            [("name", &self.names), ("credential", &self.credential_ids), ("fingerprint", &self.fingerprints)]
        {
            index.report_ambiguities(what, entries, report);
        }
    }
}

impl Index {
    pub fn look_up<'r>(&self, entries: &'r [Entry], key: &str, circumstances: Circumstances<'_>) -> Answer<'r> {
        let Some(claims) = self.0.get(key) else { return Answer::Absent };
        let mut found: Option<(&Entry, u8)> = None;
        let mut ambiguous: Option<PolicyState> = None;
        let mut ended: Option<&Entry> = None;
        for claim in claims.iter().filter(|claim| claim.applies_to(circumstances)) {
            let entry = &entries[claim.entry];
            if entry.has_ended_at(circumstances.at) {
                if ended.is_none_or(|other| other.valid_until < entry.valid_until) {
                    ended = Some(entry);
                }
                continue;
            }
            if !entry.is_valid_at(circumstances.at) {
                continue;
            }
            let exactness = claim.exactness();
            match found {
                Some((_, other)) if other > exactness => {}
                Some((other, same)) if same == exactness => {
                    if other.id != entry.id {
                        let states = [
                            ambiguous.unwrap_or(other.policy_state(circumstances.at)),
                            entry.policy_state(circumstances.at),
                        ];
                        ambiguous = states.into_iter().max_by_key(|state| strictness(*state));
                    }
                }
                _ => {
                    found = Some((entry, exactness));
                    ambiguous = None;
                }
            }
        }
        match (ambiguous, found, ended) {
            (Some(state), ..) => Answer::Ambiguous(state),
            (None, Some((entry, _)), _) => Answer::Found(entry),
            (None, None, Some(entry)) => Answer::Ended(entry),
            (None, None, None) => Answer::Absent,
        }
    }

    fn add(&mut self, key: &str, entry: usize, source: Option<&str>, tenant: Option<&str>) {
        let claim = Claim { entry, source: source.map(Into::into), tenant: tenant.map(Into::into) };
        // Most keys have one claim; a vector of its own would start with room for four.
        self.0.entry(key.into()).or_insert_with(|| Vec::with_capacity(1)).push(claim);
    }

    fn report_ambiguities(&self, what: &str, entries: &[Entry], report: &mut Report) {
        for (key, claims) in &self.0 {
            for (index, claim) in claims.iter().enumerate() {
                let entry = &entries[claim.entry];
                let rival = claims[..index].iter().find(|other| {
                    let rival = &entries[other.entry];
                    rival.id != entry.id
                        && (&other.source, &other.tenant) == (&claim.source, &claim.tenant)
                        && overlap(rival, entry)
                });
                if let Some(rival) = rival {
                    let rival = &entries[rival.entry];
                    let found = format!(
                        "{what} {} of {}, which {} at {} claims too",
                        quote(key),
                        quote(&entry.id),
                        quote(&rival.id),
                        rival.origin
                    );
                    report.warning("ambiguous", &entry.origin, found, "one identity for it at a time");
                }
            }
        }
    }
}

impl Claim {
    fn applies_to(&self, circumstances: Circumstances<'_>) -> bool {
        let fits = |wanted: &Option<Box<str>>, given: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| given == Some(wanted))
        };
        fits(&self.source, circumstances.source) && fits(&self.tenant, circumstances.tenant)
    }

    fn exactness(&self) -> u8 {
        u8::from(self.source.is_some()) + u8::from(self.tenant.is_some())
    }
}

fn strictness(state: PolicyState) -> u8 {
    match state {
        PolicyState::Quarantined => 5,
        PolicyState::Retired => 4,
        PolicyState::Expired => 3,
        PolicyState::ReviewOverdue => 2,
        PolicyState::Active => 1,
        PolicyState::Unregistered => 0,
    }
}

fn overlap(a: &Entry, b: &Entry) -> bool {
    let starts_before_end = |a: &Entry, b: &Entry| match (a.valid_from, b.valid_until) {
        (Some(start), Some(end)) => start < end,
        _ => true,
    };
    starts_before_end(a, b) && starts_before_end(b, a)
}
