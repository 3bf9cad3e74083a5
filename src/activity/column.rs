//! The columns of the common schema: name, type and meaning of each, once.
//!
//! The lake's Arrow schema, the native JSON, the mapping compiler's checks and `docs/schema.md` all derive from
//! [`COLUMNS`]. Adding a column is one line here; changing or removing one breaks readers and needs a migration.

use super::taxonomy::{
    ActorClass, ActorType, Basis, Category, ClosedSet, CredentialType, Interaction, Outcome, OwnerBasis, PolicyState,
    ResultClass, Status, Verb,
};

/// The type of a column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// Text from a closed set.
    Closed(ClosedSet),
    /// Microseconds since 1970 in UTC; RFC 3339 with `Z` in JSON.
    Time,
    /// Days since 1970.
    Date,
    Bool,
    Int,
    TextList,
    /// The hops of a delegation chain.
    Hops,
    Targets,
    TextMap,
}

impl Kind {
    /// The type as documents name it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Text | Kind::Closed(_) => "str",
            Kind::Time => "time",
            Kind::Date => "date",
            Kind::Bool => "bool",
            Kind::Int => "int",
            Kind::TextList => "list<str>",
            Kind::Hops => "list<{type, id, name, relation, credential_id}>",
            Kind::Targets => "list<{type, id, name}>",
            Kind::TextMap => "map<str, str>",
        }
    }
}

/// Who gives a column its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetBy {
    /// The reader of the record: position, time of receipt, raw bytes.
    Input,
    /// The mapping's `columns`, `actor_type` cases or both.
    Mapping,
    /// The engine, from what the mapping decided.
    Engine,
    /// The identity registry.
    Registry,
}

/// What is known of one column.
#[derive(Clone, Copy, Debug)]
pub struct ColumnInfo {
    pub column: Column,
    pub name: &'static str,
    pub kind: Kind,
    /// Never null in an activity (the table itself leaves every column nullable, so that every engine reads it).
    pub required: bool,
    pub set_by: SetBy,
    /// The heading under which documents show it.
    pub section: &'static str,
    pub meaning: &'static str,
}

macro_rules! columns {
    ($($section:literal { $($variant:ident $name:literal $kind:expr, $required:ident, $set_by:ident, $meaning:literal;)+ })+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(usize)]
        pub enum Column { $($(#[doc = $meaning] $variant,)+)+ }

        /// Every column in the order of the schema; `COLUMNS[c as usize]` describes column `c`.
        pub const COLUMNS: &[ColumnInfo] = &[$($(ColumnInfo {
            column: Column::$variant,
            name: $name,
            kind: $kind,
            required: columns!(@required $required),
            set_by: SetBy::$set_by,
            section: $section,
            meaning: $meaning,
        },)+)+];
    };
    (@required always) => { true };
    (@required optional) => { false };
}

use Kind::{Bool, Closed, Date, Hops, Int, Targets, Text, TextList, TextMap, Time};

columns! {
    "Where it came from" {
        EventUid "event_uid" Text, always, Mapping, "this activity's stable identity: the same vendor event gives the same value however often it is delivered";
        EventTime "event_time" Time, optional, Mapping, "when it happened, as the vendor says";
        ReceivedTime "received_time" Time, always, Input, "the Kafka record's timestamp; `event_time` for files and where that timestamp is unusable";
        ReceivedDate "received_date" Date, always, Input, "the day of `received_time`; the lake's partition column";
        Source "source" Text, always, Engine, "the mapping's name; `unrecognised` if none fits";
        MappingVersion "mapping_version" Text, always, Engine, "the generation: a short hash over mappings, fragments, registry and organisation";
        Status "status" Closed(Status::SET), always, Engine, "how far the event got";
        Issues "issues" TextList, optional, Engine, "what went wrong, as `code:column:detail`";
        InputTopic "input_topic" Text, always, Input, "the Kafka topic, or a file's path";
        InputPartition "input_partition" Int, always, Input, "the partition; 0 for a file";
        InputOffset "input_offset" Int, always, Input, "the offset; for a file the byte offset in its decompressed content";
        InputIndex "input_index" Int, always, Input, "the event's index inside its record, from 0";
        InputCount "input_count" Int, always, Input, "how many events the record held";
        InputTopicId "input_topic_id" Text, optional, Input, "Kafka's topic UUID, so that a recreated topic is another topic";
        InputContext "input_context" TextMap, optional, Input, "what a mapping may see beside `raw`: headers, key, fields of the envelope";
        Raw "raw" Text, always, Input, "the event's bytes as they stand in the decoded record; base64 where not UTF-8";
        RawEncoding "raw_encoding" Text, always, Input, "`utf8` or `base64`";
    }
    "Who acted" {
        ActorType "actor_type" Closed(ActorType::SET), always, Engine, "what kind of principal executed the request";
        ActorClass "actor_class" Closed(ActorClass::SET), always, Engine, "the actor type folded into four groups";
        ActorTypeBasis "actor_type_basis" Closed(Basis::SET), always, Engine, "what justified the actor type";
        ActorTypeRule "actor_type_rule" Text, optional, Engine, "the mapping's case, or the registry entry, that decided";
        ActorTypeConflict "actor_type_conflict" Bool, optional, Engine, "the registry, or evidence that the deciding case names as contrary, disagreed";
        ActorId "actor_id" Text, optional, Mapping, "the platform's most stable id of the principal that executed the request";
        ActorName "actor_name" Text, optional, Mapping, "display or login name";
        ActorEmail "actor_email" Text, optional, Mapping, "where the platform gives one";
        ActorExternal "actor_external" Bool, optional, Mapping, "the principal belongs to another organisation";
        Privileged "privileged" Bool, optional, Mapping, "administrative authority in effect, shown by the event or the registry";
        Interaction "interaction" Closed(Interaction::SET), optional, Mapping, "how the client acted";
        OnBehalfOf "on_behalf_of" Text, optional, Mapping, "id of the principal who initiated or delegated it";
        ActingAs "acting_as" Text, optional, Mapping, "id of the identity that was borrowed: assumed role, impersonated user";
        DelegationChain "delegation_chain" Hops, optional, Mapping, "all hops, outermost first: who initiated … who executed";
    }
    "Who answers for it" {
        IdentityId "identity_id" Text, optional, Registry, "the registry entry; null if not registered";
        ActorOwner "actor_owner" Text, optional, Registry, "who is accountable: technical owner, else business owner, else the owner that the event names";
        BusinessOwner "business_owner" Text, optional, Registry, "the registry's business owner as of the event's time";
        TechnicalOwner "technical_owner" Text, optional, Registry, "the registry's technical owner as of the event's time";
        OwnerBasis "owner_basis" Closed(OwnerBasis::SET), always, Registry, "where the owner comes from";
        Purpose "purpose" Text, optional, Registry, "what the identity is for";
        Environment "environment" Text, optional, Registry, "production, staging and so on";
        BusinessUnit "business_unit" Text, optional, Registry, "the business unit it belongs to";
        Application "application" Text, optional, Registry, "the application it belongs to";
        RiskTier "risk_tier" Text, optional, Registry, "how much harm it could do";
        PolicyState "policy_state" Closed(PolicyState::SET), always, Registry, "what the registry says of the identity at the event's time";
    }
    "With which credential" {
        CredentialType "credential_type" Closed(CredentialType::SET), always, Mapping, "the credential that was presented for this request";
        CredentialId "credential_id" Text, optional, Mapping, "key id, token id, session key; never the secret";
        CredentialFingerprint "credential_fingerprint" Text, optional, Mapping, "`<algorithm>:<lower-case hex>`";
        CredentialIssuer "credential_issuer" Text, optional, Mapping, "who issued it";
        CredentialIssuedAt "credential_issued_at" Time, optional, Mapping, "when the token or session began";
        CredentialExpiresAt "credential_expires_at" Time, optional, Mapping, "when it ends";
        CredentialVersion "credential_version" Text, optional, Mapping, "its version, where the platform counts";
        SessionId "session_id" Text, optional, Mapping, "the session it belongs to";
        IssuedCredentialId "issued_credential_id" Text, optional, Mapping, "the credential that this very event minted";
        Mfa "mfa" Bool, optional, Mapping, "a second factor was presented";
        Scope "scope" TextList, optional, Mapping, "permissions, OAuth scopes, roles under which it acted";
    }
    "Did what, to what, with what result" {
        Action "action" Text, always, Mapping, "the vendor's own operation name, unchanged";
        Service "service" Text, optional, Mapping, "the vendor's service that the operation belongs to";
        RequestReason "request_reason" Text, optional, Mapping, "the purpose that the caller gave";
        ActionVerb "action_verb" Closed(Verb::SET), always, Mapping, "what was done, in one word";
        ActionCategory "action_category" Closed(Category::SET), always, Mapping, "what kind of thing it was done to";
        TargetResource "target_resource" Text, optional, Mapping, "the main target as `type:id` or the platform's own resource name";
        TargetType "target_type" Text, optional, Mapping, "the main target's type";
        TargetId "target_id" Text, optional, Mapping, "the main target's id";
        TargetName "target_name" Text, optional, Mapping, "the main target's name";
        Targets "targets" Targets, optional, Mapping, "all targets";
        RecordsAffected "records_affected" Int, optional, Mapping, "how many records, where the platform counts";
        Result "result" Closed(Outcome::SET), always, Mapping, "what came of it";
        ResultClass "result_class" Closed(ResultClass::SET), optional, Mapping, "why it did not succeed";
        ResultCode "result_code" Text, optional, Mapping, "the vendor's code";
        ResultReason "result_reason" Text, optional, Mapping, "the vendor's words, at most 512 characters";
    }
    "Tied to what, from where" {
        CorrelationId "correlation_id" Text, optional, Mapping, "the id under which the platform ties several events together; else `request_id`";
        RequestId "request_id" Text, optional, Mapping, "the platform's id of the request";
        TraceId "trace_id" Text, optional, Mapping, "the distributed trace";
        SourceIp "source_ip" Text, optional, Mapping, "an address and nothing else";
        SourceHost "source_host" Text, optional, Mapping, "what stood there when it was not an address";
        UserAgent "user_agent" Text, optional, Mapping, "the client's own words about itself";
        Country "country" Text, optional, Mapping, "where the address is, as the platform says";
        City "city" Text, optional, Mapping, "where the address is, as the platform says";
        Asn "asn" Int, optional, Mapping, "the address's autonomous system";
        Tenant "tenant" Text, optional, Mapping, "account, organisation, workspace, subscription or project that the log belongs to";
        Region "region" Text, optional, Mapping, "the platform's region";
        Attributes "attributes" TextMap, optional, Mapping, "what a mapping adds beyond these columns";
    }
}

impl Column {
    pub const COUNT: usize = COLUMNS.len();

    pub const fn info(self) -> &'static ColumnInfo {
        &COLUMNS[self as usize]
    }

    pub const fn name(self) -> &'static str {
        self.info().name
    }

    pub fn parse(name: &str) -> Option<Column> {
        COLUMNS.iter().find(|info| info.name == name).map(|info| info.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_describes_itself_at_its_own_index() {
        for (index, info) in COLUMNS.iter().enumerate() {
            assert_eq!(info.column as usize, index);
            assert_eq!(Column::parse(info.name), Some(info.column));
        }
    }
}
