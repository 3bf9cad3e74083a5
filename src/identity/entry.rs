//! The entry: what the registry knows of one identity during one span of time.

use serde::{Serialize, Serializer};

use crate::activity::json::format_time;
use crate::activity::taxonomy::{ActorType, PolicyState};
use crate::diagnostic::Place;

/// One identity as it was registered from `valid_from` until `valid_until`. Times are microseconds since 1970.
///
/// Its serialized form is what [`super::Registry::content_hash`] covers: lists are sorted, and what is absent is left
/// out, so that a key added to the format later does not change the hash of registries without it.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_name")]
    pub actor_type: Option<ActorType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub business_owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub technical_owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub business_unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk_tier: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub known_as: Vec<Alias>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<Credential>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_time")]
    pub created: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_time")]
    pub expires: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_time")]
    pub review_by: Option<i64>,
    pub state: Lifecycle,
    /// The first moment; none is "always".
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_time")]
    pub valid_from: Option<i64>,
    /// The moment after the last; none is "for good".
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_time")]
    pub valid_until: Option<i64>,
    /// Where it stands. Not part of the content: an entry may move to another file.
    #[serde(skip)]
    pub origin: Place,
}

/// A name under which platforms know the identity, in one source or tenant only if those are given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Alias {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// A credential that the identity uses: by id, by fingerprint or both; never the secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Credential {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub credential_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// What its owner or security decided of the identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    #[default]
    Active,
    Quarantined,
    Retired,
}

impl Lifecycle {
    pub const NAMES: [&'static str; 3] = ["active", "quarantined", "retired"];

    pub fn parse(name: &str) -> Option<Lifecycle> {
        match name {
            "active" => Some(Lifecycle::Active),
            "quarantined" => Some(Lifecycle::Quarantined),
            "retired" => Some(Lifecycle::Retired),
            _ => None,
        }
    }
}

impl Entry {
    pub fn is_valid_at(&self, at: i64) -> bool {
        self.valid_from.is_none_or(|from| from <= at) && !self.has_ended_at(at)
    }

    pub fn has_ended_at(&self, at: i64) -> bool {
        self.valid_until.is_some_and(|until| until <= at)
    }

    /// Who is accountable: the technical owner, who can act, before the business owner.
    pub fn owner(&self) -> Option<&str> {
        self.technical_owner.as_deref().or(self.business_owner.as_deref())
    }

    /// What the registry says of the identity at `at`, a decision of people before the passing of a date.
    pub fn policy_state(&self, at: i64) -> PolicyState {
        let is_past = |date: Option<i64>| date.is_some_and(|date| date <= at);
        match self.state {
            Lifecycle::Quarantined => PolicyState::Quarantined,
            Lifecycle::Retired => PolicyState::Retired,
            Lifecycle::Active if is_past(self.expires) => PolicyState::Expired,
            Lifecycle::Active if is_past(self.review_by) => PolicyState::ReviewOverdue,
            Lifecycle::Active => PolicyState::Active,
        }
    }
}

fn as_name<S: Serializer>(actor_type: &Option<ActorType>, serializer: S) -> Result<S::Ok, S::Error> {
    actor_type.map(ActorType::as_str).serialize(serializer)
}

fn as_time<S: Serializer>(micros: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    micros.map(format_time).serialize(serializer)
}
