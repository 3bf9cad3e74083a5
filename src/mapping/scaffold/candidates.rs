//! Which fields of the samples look as if they belonged into which column, and why.

use super::super::fields::{FieldPath, Segment};
use super::samples::{Field, Samples};

/// What is looked for a column: how vendors name it, and what its values must be.
struct Role {
    column: &'static str,
    /// Words of the field's own name, the most telling first.
    names: &'static [&'static str],
    /// Words of which one must stand above the field (in its path), or be part of its name.
    above: &'static [&'static str],
    fits: fn(&Field, usize) -> bool,
}

/// Words for who acts, in paths such as `actor.id` and `userIdentity.arn`.
const ACTOR: &[&str] =
    &["actor", "user", "principal", "initiator", "caller", "identity", "subject", "author", "performer", "by"];
/// Words for what is acted upon.
const TARGET: &[&str] = &["target", "resource", "object", "entity", "item", "subject"];

/// In the order in which the scaffold lists them; a field goes to the first that wants it most.
const ROLES: &[Role] = &[
    Role {
        column: "event_time",
        names: &["time", "timestamp", "published", "occurred", "created", "date", "at"],
        above: &[],
        fits: |field, _| !field.time_formats.is_empty(),
    },
    Role {
        column: "event_uid",
        names: &["uuid", "eventid", "uid", "id", "insertid"],
        above: &[],
        fits: |field, num| {
            field.is_unique
                && field.num_events == num
                && field.time_formats.is_empty()
                && !field.are_addresses
                && !field.are_long
        },
    },
    Role {
        column: "action",
        names: &["action", "eventtype", "operation", "eventname", "event", "activity", "method", "type", "name"],
        above: &[],
        fits: |field, num| is_word(field) && field.num_events * 2 > num,
    },
    Role {
        column: "actor_id",
        names: &["id", "arn", "uid", "uuid", "sub", "actor", "user", "principal", "by"],
        above: ACTOR,
        fits: |field, _| is_id(field),
    },
    Role {
        column: "actor_name",
        names: &["name", "displayname", "login", "username", "summary"],
        above: ACTOR,
        fits: |field, _| is_id(field),
    },
    Role {
        column: "actor_email",
        names: &["email", "mail", "login", "name", "actor", "user"],
        above: ACTOR,
        fits: |field, _| field.are_emails,
    },
    Role {
        column: "credential_id",
        names: &["tokenid", "keyid", "accesskeyid", "apikeyid", "credentialid", "clientid"],
        above: &[],
        fits: |field, _| is_id(field),
    },
    Role { column: "session_id", names: &["sessionid", "session"], above: &[], fits: |field, _| is_id(field) },
    Role { column: "target_type", names: &["type", "kind"], above: TARGET, fits: |field, _| is_word(field) },
    Role {
        column: "target_id",
        names: &["id", "arn", "uid", "uuid", "resource", "target", "object"],
        above: TARGET,
        fits: |field, _| is_id(field),
    },
    Role {
        column: "target_name",
        names: &["name", "displayname", "title", "path", "summary"],
        above: TARGET,
        fits: |field, _| is_id(field),
    },
    Role {
        column: "result",
        names: &["result", "outcome", "status", "success", "succeeded"],
        above: &[],
        fits: |field, _| field.is_closed_set(),
    },
    Role {
        column: "result_reason",
        names: &["reason", "error", "errormessage", "message"],
        above: &[],
        fits: |field, _| field.are_words && field.time_formats.is_empty(),
    },
    Role {
        column: "request_id",
        names: &["requestid", "correlationid", "transactionid", "traceid"],
        above: &[],
        fits: |field, _| is_id(field),
    },
    Role {
        column: "source_ip",
        names: &["ip", "ipaddress", "sourceip", "clientip", "address"],
        above: &[],
        fits: |field, _| field.are_addresses,
    },
    Role {
        column: "user_agent",
        names: &["useragent", "agent"],
        above: &[],
        fits: |field, _| field.are_words && field.time_formats.is_empty(),
    },
    Role { column: "country", names: &["country", "countrycode"], above: &[], fits: |field, _| is_word(field) },
    Role {
        column: "tenant",
        names: &[
            "tenantid",
            "orgid",
            "organizationid",
            "accountid",
            "workspaceid",
            "teamid",
            "tenant",
            "org",
            "organization",
            "account",
            "workspace",
        ],
        above: &[],
        fits: |field, _| is_id(field) && !field.is_unique,
    },
];

fn is_word(field: &Field) -> bool {
    field.are_words && field.time_formats.is_empty() && !field.are_addresses && !field.are_emails && !field.are_long
}

fn is_id(field: &Field) -> bool {
    field.time_formats.is_empty() && !field.are_addresses && !field.are_long
}

/// The fields that could fill a column, the likeliest first.
#[derive(Debug)]
pub struct Candidates<'s> {
    pub column: &'static str,
    pub fields: Vec<(&'s FieldPath, &'s Field)>,
}

/// The candidates for every column that has one.
pub fn candidates(samples: &Samples) -> Vec<Candidates<'_>> {
    let mut taken: Vec<&FieldPath> = Vec::new();
    let mut found = Vec::new();
    for role in ROLES {
        let mut fields: Vec<_> = samples
            .fields
            .iter()
            .filter(|(path, field)| {
                can_be_written(path)
                    && is_in_json_alone(samples, path)
                    && !taken.contains(path)
                    && (role.fits)(field, samples.num_events)
            })
            .filter_map(|(path, field)| Some((score(role, path, field, samples.num_events)?, path, field)))
            .collect();
        fields.sort_by_key(|(score, ..)| std::cmp::Reverse(*score));
        let fields: Vec<_> = fields.into_iter().map(|(_, path, field)| (path, field)).collect();
        if let Some((first, _)) = fields.first() {
            taken.push(first);
            found.push(Candidates { column: role.column, fields });
        }
    }
    found
}

/// The field that names the kind of actor, if one does.
pub fn declared_kind(samples: &Samples) -> Option<(&FieldPath, &Field)> {
    let kinds = samples.fields.iter().filter(|(path, field)| {
        let name = plain(path.name());
        let names_actor = ["actortype", "usertype", "principaltype"].contains(&name.as_str());
        let is_kind = names_actor
            || (["type", "kind"].contains(&name.as_str()) && words_above(path).any(|word| is_of(&word, ACTOR)));
        is_kind && field.is_closed_set() && can_be_written(path) && !path.is_in_text()
    });
    kinds.max_by_key(|(_, field)| field.num_events)
}

/// How well a field fits a role; none if its name says nothing of it.
fn score(role: &Role, path: &FieldPath, field: &Field, num_events: usize) -> Option<usize> {
    let name = plain(path.name());
    let rank =
        role.names.iter().position(|word| name == *word).map(|rank| 3 * (role.names.len() - rank)).or_else(|| {
            let rank = role.names.iter().position(|word| name.ends_with(word) || name.starts_with(word))?;
            Some(2 * (role.names.len() - rank))
        })?;
    let is_in_place =
        role.above.is_empty() || is_of(&name, role.above) || words_above(path).any(|word| is_of(&word, role.above));
    if !is_in_place {
        return None;
    }
    // A field of the whole event says more of it than one deep inside, and one that is always there more than one that is not.
    let depth = path.0.len().min(8);
    let share = 10 * field.num_events / num_events.max(1);
    Some(10 * rank + share + 4 * (8 - depth))
}

fn words_above(path: &FieldPath) -> impl Iterator<Item = String> {
    let keys = path.0.iter().take(path.0.len().saturating_sub(1));
    keys.filter_map(|segment| match segment {
        Segment::Key(key) => Some(plain(key)),
        _ => None,
    })
}

fn is_of(word: &str, words: &[&str]) -> bool {
    words.iter().any(|wanted| word == *wanted || (wanted.len() > 2 && word.contains(wanted)))
}

/// A name without the signs and letters in which vendors differ: `event_type`, `eventType` and `EventType` are one.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether the string that the field stands in, if it does, always holds JSON: a mapping would flag every event where not.
fn is_in_json_alone(samples: &Samples, path: &FieldPath) -> bool {
    let Some(at) = path.0.iter().position(|segment| *segment == Segment::Text) else { return true };
    samples.fields.get(&FieldPath(path.0[..at].to_vec())).is_some_and(|text| text.are_json)
}

/// Whether a scaffold can point at it: at most into one string of JSON and one array.
fn can_be_written(path: &FieldPath) -> bool {
    let num = |wanted: &Segment| path.0.iter().filter(|segment| *segment == wanted).count();
    const NUM_SEGMENTS_MAX: usize = 16;
    path.0.len() <= NUM_SEGMENTS_MAX
        && num(&Segment::Text) <= 1
        && num(&Segment::Element) <= 1
        && matches!(path.0.first(), Some(Segment::Key(_)))
        && !path.0.iter().any(|segment| matches!(segment, Segment::Key(key) if key.contains('"') || key.is_empty() || key.starts_with('$')))
}
