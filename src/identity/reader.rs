//! From nodes to entries: every key is checked, and every mistake of a file is reported.
//!
//! There is one set of keys for YAML, JSON and CSV. An unknown key is a mistake, because it is mostly a misspelt one, and
//! a misspelt `expires` would let an identity live for ever.

use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};

use super::entry::{Alias, Credential, Entry, Lifecycle};
use super::report::{Report, quote};
use crate::activity::json::is_screen_control;
use crate::activity::taxonomy::{ActorType, CredentialType};
use crate::diagnostic::Place;
use crate::organisation::{Organisation, OwnedKind};
use crate::yaml::{Content, Node};

/// Longest value. It keeps a pasted document out of every row that the entry is attributed to.
const VALUE_BYTES_MAX: usize = 2_048;

/// Most elements of one list. An identity with more names or credentials is several.
const NUM_ITEMS_MAX: usize = 10_000;

/// The keys of an entry of kind `identity`.
pub(super) const IDENTITY_KEYS: [&str; 20] = [
    "kind",
    "id",
    "actor_type",
    "privileged",
    "business_owner",
    "technical_owner",
    "purpose",
    "environment",
    "business_unit",
    "application",
    "risk_tier",
    "known_as",
    "credentials",
    "scopes",
    "created",
    "expires",
    "review_by",
    "state",
    "valid_from",
    "valid_until",
];

/// Beginnings of secrets that end up where an id is wanted. A key's id never begins so.
const SECRET_PREFIXES: [&str; 10] =
    ["ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "dapi", "hvs.", "sk-"];

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub entries: Vec<Entry>,
    pub organisation: Organisation,
}

/// Whether cells of `key` hold lists.
pub(super) fn is_list(key: &str) -> bool {
    matches!(key, "known_as" | "credentials" | "scopes") || OwnedKind::parse(key).is_some()
}

/// Reads the entries of one file into `contents`.
pub(super) fn read(documents: &[Node], contents: &mut Contents, report: &mut Report) {
    let mut reader = Reader { report };
    for document in documents {
        match &document.content {
            Content::Null => {}
            Content::Sequence(entries) => entries.iter().for_each(|entry| reader.read_entry(entry, contents)),
            _ => reader.read_entry(document, contents),
        }
    }
}

struct Reader<'r> {
    report: &'r mut Report,
}

impl Reader<'_> {
    fn read_entry(&mut self, node: &Node, contents: &mut Contents) {
        let Content::Mapping(pairs) = &node.content else {
            self.report.error("not-an-entry", &node.place, kind_of(node), "an entry: keys and values");
            return;
        };
        let kind = node.get("kind").filter(|kind| kind.content != Content::Null);
        match kind.map_or(Some("identity"), Node::text) {
            Some("identity") => contents.entries.extend(self.read_identity(&node.place, pairs)),
            Some("organisation") => self.read_organisation(pairs, &mut contents.organisation),
            _ => self.report_value("bad-value", kind.unwrap_or(node), "`identity` or `organisation`"),
        }
    }

    fn read_identity(&mut self, place: &Place, pairs: &[(Node, Node)]) -> Option<Entry> {
        let mut entry = Entry {
            id: String::new(),
            actor_type: None,
            privileged: None,
            business_owner: None,
            technical_owner: None,
            purpose: None,
            environment: None,
            business_unit: None,
            application: None,
            risk_tier: None,
            known_as: Vec::new(),
            credentials: Vec::new(),
            scopes: Vec::new(),
            created: None,
            expires: None,
            review_by: None,
            state: Lifecycle::Active,
            valid_from: None,
            valid_until: None,
            origin: place.clone(),
        };
        for (key, node) in pairs {
            match name_of(key) {
                "kind" => {}
                "id" => entry.id = self.text(node).unwrap_or_default(),
                "actor_type" => entry.actor_type = self.actor_type(node),
                "privileged" => entry.privileged = self.truth(node),
                "business_owner" => entry.business_owner = self.text(node),
                "technical_owner" => entry.technical_owner = self.text(node),
                "purpose" => entry.purpose = self.prose(node),
                "environment" => entry.environment = self.text(node),
                "business_unit" => entry.business_unit = self.text(node),
                "application" => entry.application = self.text(node),
                "risk_tier" => entry.risk_tier = self.text(node),
                "known_as" => entry.known_as = self.list(node, Self::alias),
                "credentials" => entry.credentials = self.list(node, Self::credential),
                "scopes" => entry.scopes = self.list(node, Self::text),
                "created" => entry.created = self.time(node),
                "expires" => entry.expires = self.time(node),
                "review_by" => entry.review_by = self.time(node),
                "state" => entry.state = self.state(node).unwrap_or_default(),
                "valid_from" => entry.valid_from = self.time(node),
                "valid_until" => entry.valid_until = self.time(node),
                // A table may have the columns of an organisation too, with empty cells.
                other if node.content == Content::Null && OwnedKind::parse(other).is_some() => {}
                _ => self.report_unknown_key(key, &IDENTITY_KEYS),
            }
        }
        if entry.id.is_empty() {
            if !pairs.iter().any(|(key, node)| name_of(key) == "id" && node.content != Content::Null) {
                self.report.error(
                    "missing-id",
                    place,
                    "an entry without `id`",
                    "an id of your own that stays the same",
                );
            }
            return None;
        }
        self.check_together(&entry, place);
        if entry.known_as.is_empty() && entry.credentials.is_empty() {
            entry.known_as.push(Alias { id: entry.id.clone(), source: None, tenant: None });
        }
        // The order in which somebody wrote a list means nothing, so it must not change the content's hash.
        entry.known_as.sort();
        entry.known_as.dedup();
        entry.credentials.sort();
        entry.credentials.dedup();
        entry.scopes.sort();
        entry.scopes.dedup();
        Some(entry)
    }

    fn check_together(&mut self, entry: &Entry, place: &Place) {
        if let (Some(from), Some(until)) = (entry.valid_from, entry.valid_until)
            && from >= until
        {
            self.report.error(
                "bad-validity",
                place,
                "`valid_until` at or before `valid_from`",
                "a later `valid_until`",
            );
        }
        if entry.actor_type == Some(ActorType::PrivilegedHuman) && entry.privileged == Some(false) {
            let found = "`privileged_human` with `privileged: false`";
            self.report.error("contradiction", place, found, "`human`, or `privileged` left out");
        }
    }

    fn read_organisation(&mut self, pairs: &[(Node, Node)], organisation: &mut Organisation) {
        for (key, node) in pairs {
            match OwnedKind::parse(name_of(key)) {
                Some(kind) => {
                    for id in self.list(node, Self::text) {
                        organisation.add(kind, id);
                    }
                }
                None if name_of(key) == "kind" => {}
                // A table may have the columns of identities too, with empty cells.
                None if node.content == Content::Null && IDENTITY_KEYS.contains(&name_of(key)) => {}
                None => {
                    let mut keys = vec!["kind"];
                    keys.extend(OwnedKind::ALL.map(OwnedKind::as_str));
                    self.report_unknown_key(key, &keys);
                }
            }
        }
    }

    fn alias(&mut self, node: &Node) -> Option<Alias> {
        let Content::Mapping(pairs) = &node.content else {
            return Some(Alias { id: self.text(node)?, source: None, tenant: None });
        };
        let (mut id, mut source, mut tenant) = (None, None, None);
        for (key, node) in pairs {
            match name_of(key) {
                "id" => id = self.text(node),
                "source" => source = self.text(node),
                "tenant" => tenant = self.text(node),
                _ => self.report_unknown_key(key, &["id", "source", "tenant"]),
            }
        }
        if id.is_none() {
            self.report.error("missing-id", &node.place, "a name without `id`", "the id that the platform uses");
        }
        Some(Alias { id: id?, source, tenant })
    }

    fn credential(&mut self, node: &Node) -> Option<Credential> {
        let Content::Mapping(pairs) = &node.content else {
            return Some(Credential { id: Some(self.credential_id(node)?), credential_type: None, fingerprint: None });
        };
        let mut credential = Credential { id: None, credential_type: None, fingerprint: None };
        for (key, node) in pairs {
            match name_of(key) {
                "id" => credential.id = self.credential_id(node),
                "type" => credential.credential_type = self.credential_type(node),
                "fingerprint" => credential.fingerprint = self.fingerprint(node),
                _ => self.report_unknown_key(key, &["id", "type", "fingerprint"]),
            }
        }
        let names_something = pairs
            .iter()
            .any(|(key, node)| matches!(name_of(key), "id" | "fingerprint") && node.content != Content::Null);
        if !names_something {
            let wanted = "the id or the fingerprint by which events name it";
            self.report.error("missing-id", &node.place, "a credential without `id` and `fingerprint`", wanted);
        }
        (credential.id.is_some() || credential.fingerprint.is_some()).then_some(credential)
    }

    fn list<T>(&mut self, node: &Node, mut read: impl FnMut(&mut Self, &Node) -> Option<T>) -> Vec<T> {
        match &node.content {
            Content::Null => Vec::new(),
            Content::Sequence(items) if items.len() > NUM_ITEMS_MAX => {
                let found = format!("{} elements", items.len());
                self.report.error("too-long", &node.place, found, format!("at most {NUM_ITEMS_MAX}"));
                Vec::new()
            }
            Content::Sequence(items) => {
                items.iter().filter(|item| item.content != Content::Null).filter_map(|item| read(self, item)).collect()
            }
            _ => {
                self.report_value("not-a-list", node, "a list");
                Vec::new()
            }
        }
    }

    /// One line of text.
    fn text(&mut self, node: &Node) -> Option<String> {
        self.checked_text(node, |_| false)
    }

    /// Text that may have several lines.
    fn prose(&mut self, node: &Node) -> Option<String> {
        self.checked_text(node, |character| character == '\n')
    }

    fn checked_text(&mut self, node: &Node, is_allowed: impl Fn(char) -> bool) -> Option<String> {
        let text = self.scalar(node)?;
        if text.len() > VALUE_BYTES_MAX {
            let found = format!("a value of {} bytes", text.len());
            self.report.error("too-long", &node.place, found, format!("at most {VALUE_BYTES_MAX}"));
            return None;
        }
        if text.chars().any(|character| is_screen_control(character) && !is_allowed(character)) {
            self.report_value("control-character", node, "text without control characters");
            return None;
        }
        if text.trim() != text || text.is_empty() {
            self.report_value("blank", node, "a value without space around it");
            return None;
        }
        Some(text.to_string())
    }

    fn credential_id(&mut self, node: &Node) -> Option<String> {
        let id = self.text(node)?;
        if SECRET_PREFIXES.iter().any(|prefix| id.starts_with(prefix)) {
            let wanted = "the credential's id or fingerprint; if this is the secret itself, revoke it";
            self.report.error("secret", &node.place, "what looks like a secret", wanted);
            return None;
        }
        Some(id)
    }

    fn fingerprint(&mut self, node: &Node) -> Option<String> {
        let text = self.text(node)?;
        let is_valid = text.split_once(':').is_some_and(|(algorithm, hex)| {
            let is_lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            !algorithm.is_empty() && hex.len() >= 16 && hex.bytes().all(is_lower_hex)
        });
        if !is_valid {
            // It may be the secret that somebody took for its fingerprint, so it is not quoted.
            let wanted = "`<algorithm>:<lower-case hex>`, such as `sha256:` and 64 digits";
            self.report.error("bad-fingerprint", &node.place, "something else than a fingerprint", wanted);
            return None;
        }
        Some(text)
    }

    fn actor_type(&mut self, node: &Node) -> Option<ActorType> {
        // A registry that does not know, or that registers nobody, says so by leaving the key out.
        let is_statement = |actor_type: &ActorType| !matches!(actor_type, ActorType::Unknown | ActorType::Anonymous);
        let text = self.scalar(node)?;
        let actor_type = ActorType::parse(text).filter(is_statement);
        if actor_type.is_none() {
            let names = ActorType::ALL.iter().copied().filter(is_statement).map(ActorType::as_str).collect::<Vec<_>>();
            self.report.unknown("bad-value", &node.place, text, &names);
        }
        actor_type
    }

    fn credential_type(&mut self, node: &Node) -> Option<&'static str> {
        let text = self.scalar(node)?;
        let found = CredentialType::SET.find(text);
        if found.is_none() {
            let names = CredentialType::SET.terms.iter().map(|term| term.value).collect::<Vec<_>>();
            self.report.unknown("bad-value", &node.place, text, &names);
        }
        found
    }

    fn state(&mut self, node: &Node) -> Option<Lifecycle> {
        let text = self.scalar(node)?;
        let state = Lifecycle::parse(text);
        if state.is_none() {
            self.report.unknown("bad-value", &node.place, text, &Lifecycle::NAMES);
        }
        state
    }

    fn truth(&mut self, node: &Node) -> Option<bool> {
        match self.scalar(node)? {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                self.report_value("bad-value", node, "`true` or `false`");
                None
            }
        }
    }

    fn time(&mut self, node: &Node) -> Option<i64> {
        let time = parse_time(self.scalar(node)?);
        if time.is_none() {
            self.report_value(
                "bad-time",
                node,
                "a date such as `2026-03-01`, or a time such as `2026-03-01T09:30:00Z`",
            );
        }
        time
    }

    /// The text that stands here; nothing is no mistake, a list or keys are.
    fn scalar<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        if node.text().is_none() && node.content != Content::Null {
            self.report.error("not-a-text", &node.place, kind_of(node), "a text");
        }
        node.text()
    }

    fn report_unknown_key(&mut self, key: &Node, known: &[&str]) {
        self.report.unknown("unknown-key", &key.place, name_of(key), known);
    }

    fn report_value(&mut self, code: &'static str, node: &Node, wanted: &str) {
        self.report.error(code, &node.place, kind_of(node), wanted);
    }
}

/// Microseconds since 1970 of a date, which is its first moment in UTC, or of a time with its offset.
pub fn parse_time(text: &str) -> Option<i64> {
    let time = text.parse::<Timestamp>().ok().or_else(|| {
        // A date must be the whole text: a time without an offset would be somebody's guess.
        let date = text.parse::<Date>().ok().filter(|date| date.to_string() == text)?;
        date.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp()).ok()
    });
    time.map(Timestamp::as_microsecond)
}

fn name_of(key: &Node) -> &str {
    // Every reader of nodes refuses keys that are no text.
    key.text().unwrap_or_default()
}

/// What stands here, for messages.
fn kind_of(node: &Node) -> String {
    match &node.content {
        Content::Null => "nothing".to_string(),
        Content::Scalar { text, .. } => quote(text),
        Content::Sequence(_) => "a list".to_string(),
        Content::Mapping(_) => "keys and values".to_string(),
    }
}
