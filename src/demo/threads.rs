//! What ties the steps of an incident together: a credential that another step issued, a session, a correlation id,
//! something that a raw event names, an address.
//!
//! The strongest tie wins. A credential or session that only the same hand can hold says more than an address.

/// One step, with what could tie it to others. Empty texts are what its platform does not say.
#[derive(Clone, Debug, Default)]
pub(super) struct Ties {
    pub credential: String,
    pub issued: String,
    pub session: String,
    pub correlation: String,
    pub target: String,
    pub address: String,
    pub raw: String,
}

/// How a step hangs together with another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Thread {
    pub kind: Kind,
    /// What the two share.
    pub value: String,
    /// The other step, by its index.
    pub step: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The other step issued the credential that this one used.
    Issued,
    Credential,
    Session,
    Correlation,
    /// The raw event names what the other step used, issued or was part of.
    Names,
    /// Both concern the same target.
    Target,
    Address,
}

/// Shortest id that is looked for inside raw events. Shorter ones are also found where they mean something else.
const NAMED_CHARS_MIN: usize = 11;

/// What ties the step at `index` to an earlier one, else to a later one; none if it stands alone.
pub(super) fn find(steps: &[Ties], index: usize) -> Option<Thread> {
    let step = steps.get(index)?;
    let earlier = || (0..index).rev();
    strongest(step, steps, earlier).or_else(|| strongest(step, steps, || index + 1..steps.len()))
}

/// Which of the credentials of other steps the raw event of the step at `index` names, beside its own.
pub(super) fn named_credential(steps: &[Ties], index: usize) -> Option<Thread> {
    let step = steps.get(index)?;
    (0..index).rev().find_map(|other| {
        let used = [&steps[other].credential, &steps[other].issued];
        let named = used
            .into_iter()
            .find(|id| names(step, id) && ![&step.credential, &step.issued, &step.session].contains(id))?;
        Some(Thread { kind: Kind::Names, value: named.clone(), step: other })
    })
}

fn strongest<I: Iterator<Item = usize>>(step: &Ties, steps: &[Ties], others: impl Fn() -> I) -> Option<Thread> {
    let tie = |kind, value: &str, is_tied: &dyn Fn(&Ties) -> bool| {
        if value.is_empty() {
            return None;
        }
        others().find(|other| is_tied(&steps[*other])).map(|step| Thread { kind, value: value.to_string(), step })
    };
    // A step that used the credential after it was issued is nearer, and says the same.
    tie(Kind::Credential, &step.credential, &|other| other.credential == step.credential)
        .or_else(|| tie(Kind::Issued, &step.credential, &|other| other.issued == step.credential))
        .or_else(|| tie(Kind::Session, &step.session, &|other| other.session == step.session))
        .or_else(|| tie(Kind::Correlation, &step.correlation, &|other| other.correlation == step.correlation))
        .or_else(|| {
            others().find_map(|other| {
                let Ties { credential, issued, correlation, .. } = &steps[other];
                let named = [credential, issued, correlation].into_iter().find(|id| names(step, id))?;
                Some(Thread { kind: Kind::Names, value: named.clone(), step: other })
            })
        })
        .or_else(|| tie(Kind::Target, &step.target, &|other| other.target == step.target))
        .or_else(|| tie(Kind::Address, &step.address, &|other| other.address == step.address))
        .or_else(|| {
            others().find_map(|other| {
                let target = &steps[other].target;
                let name = target.split_once(':').map_or(target.as_str(), |(_, name)| name);
                names(step, name).then(|| Thread { kind: Kind::Target, value: target.clone(), step: other })
            })
        })
}

fn names(step: &Ties, id: &str) -> bool {
    id.chars().count() >= NAMED_CHARS_MIN && step.raw.contains(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(steps: &[Ties], index: usize) -> Option<(Kind, usize)> {
        find(steps, index).map(|thread| (thread.kind, thread.step))
    }

    fn used(credential: &str, issued: &str) -> Ties {
        Ties { credential: credential.into(), issued: issued.into(), address: "192.0.2.1".into(), ..Ties::default() }
    }

    #[test]
    fn a_credential_leads_to_the_step_that_issued_it_and_then_to_its_last_use() {
        let steps = [used("key-1", ""), used("key-1", "key-2"), used("key-2", ""), used("key-2", "")];
        assert_eq!(thread(&steps, 1), Some((Kind::Credential, 0)));
        assert_eq!(thread(&steps, 2), Some((Kind::Issued, 1)));
        assert_eq!(thread(&steps, 3), Some((Kind::Credential, 2)));
    }

    #[test]
    fn an_address_is_the_last_resort() {
        let mut steps = [used("key-1", ""), used("key-2", "")];
        assert_eq!(thread(&steps, 1), Some((Kind::Address, 0)));
        steps[0].correlation = "run-1".to_string();
        steps[1].correlation = "run-1".to_string();
        assert_eq!(thread(&steps, 1), Some((Kind::Correlation, 0)));
    }

    #[test]
    fn a_raw_event_may_name_what_it_has_no_column_for() {
        let mut steps = [used("key-0001-long", ""), Ties::default()];
        steps[1].raw = r#"{"disable":"key-0001-long"}"#.to_string();
        assert_eq!(thread(&steps, 1), Some((Kind::Names, 0)));
        assert_eq!(named_credential(&steps, 1).map(|thread| thread.value).as_deref(), Some("key-0001-long"));
        steps[0].credential = "disable".to_string();
        assert_eq!(thread(&steps, 1), None, "a short text may mean anything");
    }

    #[test]
    fn a_first_step_is_tied_to_what_follows_and_a_single_one_to_nothing() {
        assert_eq!(thread(&[used("key-1", ""), used("key-1", "")], 0), Some((Kind::Credential, 1)));
        assert_eq!(thread(&[used("key-1", "")], 0), None);
    }
}
