//! The closed sets of the common schema: every value that `actor_type`, `credential_type`, `result` and the others may have.
//!
//! Each value stands here once, with what it means. Mapping files are checked against these sets when they are
//! compiled, `docs/taxonomy.md` is generated from them, and the rest of the code uses the enums.

/// One value of a closed set, for documents and for checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    pub value: &'static str,
    pub meaning: &'static str,
}

/// A closed set as data: its name in documents and all of its values in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedSet {
    pub name: &'static str,
    pub about: &'static str,
    pub terms: &'static [Term],
}

impl ClosedSet {
    /// The set's own copy of `value`, if it is one of the set.
    pub fn find(&self, value: &str) -> Option<&'static str> {
        self.terms.iter().find(|term| term.value == value).map(|term| term.value)
    }
}

/// Defines an enum together with the texts of its values, so that the two cannot drift apart.
macro_rules! closed_set {
    ($(#[$doc:meta])* $name:ident, $set:literal, $about:literal, { $($variant:ident = $value:literal: $meaning:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $(#[doc = $meaning] $variant,)+ }

        impl $name {
            pub const SET: ClosedSet = ClosedSet {
                name: $set,
                about: $about,
                terms: &[$(Term { value: $value, meaning: $meaning },)+],
            };
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $value,)+ }
            }

            pub fn parse(value: &str) -> Option<$name> {
                match value { $($value => Some($name::$variant),)+ _ => None }
            }
        }
    };
}

closed_set! {
    /// What kind of principal executed the request.
    ActorType, "actor_type", "What kind of principal executed the request, as the platform authenticated it.", {
        Human = "human": "a natural person acting through a session or a delegated client, authenticated as themselves",
        PrivilegedHuman = "privileged_human": "a human whose event or registry entry shows administrative authority in effect at that moment",
        TechnicalUser = "technical_user": "a named non-personal or shared login kept for infrastructure, emergency or legacy: root, break-glass, `kubernetes-admin`",
        ServiceAccount = "service_account": "a persistent account object for software in the source system, used without a person",
        ServicePrincipal = "service_principal": "an application object in a directory, acting as itself and controlled by your own tenant",
        WorkloadIdentity = "workload_identity": "an identity bound to a running workload (pod, VM, function, CI job, node) through attestation or federation",
        ApiKey = "api_key": "a static bearer credential is all that the platform can name, or it is bound to a person, tenant or repository and used programmatically",
        Bot = "bot": "a declared automation app or account that executes scripted actions under your organisation's control",
        AiAgent = "ai_agent": "software that the platform or the registry declares to be an AI agent choosing its own next action",
        ThirdPartyIntegration = "third_party_integration": "an app, role or connector controlled by another company, using access that was granted to it",
        Platform = "platform": "the provider itself: a service, scheduler, policy engine, control plane or support staff",
        Anonymous = "anonymous": "a request without an authenticated principal",
        Unknown = "unknown": "the evidence is insufficient or contradictory; a correct answer, and a figure to watch",
    }
}

closed_set! {
    /// Actor types folded into the four groups that questions and alerts start from.
    ActorClass, "actor_class", "Actor types folded into the four groups that questions and alerts start from.", {
        Human = "human": "human and privileged_human",
        Nonhuman = "nonhuman": "everything that is neither a person, the platform itself, nor unknown",
        Platform = "platform": "platform",
        Unknown = "unknown": "unknown and anonymous",
    }
}

impl ActorType {
    pub const fn class(self) -> ActorClass {
        match self {
            ActorType::Human | ActorType::PrivilegedHuman => ActorClass::Human,
            ActorType::Platform => ActorClass::Platform,
            ActorType::Anonymous | ActorType::Unknown => ActorClass::Unknown,
            _ => ActorClass::Nonhuman,
        }
    }
}

closed_set! {
    /// What justified the actor type, strongest first.
    Basis, "actor_type_basis", "What justified the actor type, strongest first.", {
        Declared = "declared": "the platform names the kind in a field of the event",
        Reserved = "reserved": "an identifier or structure that only the platform can mint (a reserved role path, `*.gserviceaccount.com`, an `AKIA…` key)",
        Registry = "registry": "the identity registry says so of this exact identity",
        Correlated = "correlated": "another event of the same session or credential says so; set by replay alone",
        Naming = "naming": "a naming convention of the customer's (`svc-…`, an e-mail as session name)",
        Behaviour = "behaviour": "the client string or behaviour; never enough alone against any of the above",
        None = "none": "nothing justified an answer",
    }
}

closed_set! {
    /// How the client acted.
    Interaction, "interaction", "How the client acted, independent of what kind of actor it was.", {
        Interactive = "interactive": "a browser, console, MFA or session marker shows somebody at the keyboard",
        Programmatic = "programmatic": "a key, token, command line or API client",
        Background = "background": "a job, schedule, forwarded access or the platform itself",
        Unknown = "unknown": "the event does not say",
    }
}

closed_set! {
    /// How one hop of a delegation chain leads to the next.
    Relation, "relation", "How one hop of a delegation chain leads to the next.", {
        Impersonated = "impersonated": "acted as another identity while staying known",
        Assumed = "assumed": "took on a role",
        Delegated = "delegated": "granted an application to act for it",
        Federated = "federated": "exchanged an identity of another provider",
        ForwardedAccess = "forwarded_access": "a service of the platform acted with the caller's session",
        Invoked = "invoked": "started the next hop, which acted with its own identity",
        AgentInitiated = "agent_initiated": "asked an AI agent, which chose the action",
    }
}

closed_set! {
    /// Where the owner comes from.
    OwnerBasis, "owner_basis", "Where the owner comes from.", {
        Registry = "registry": "the identity registry, as of the event's time",
        Event = "event": "the event itself names the owner",
        Inherited = "inherited": "the owner of the nearest hop of the delegation chain that has one",
        None = "none": "nobody is known to answer for this actor",
        Ambiguous = "ambiguous": "several registry entries claim this identity at that time",
        Expired = "expired": "the registry knew an owner, but not any more at that time",
    }
}

closed_set! {
    /// What the registry allowed at the event's time.
    PolicyState, "policy_state", "What the registry says of the identity at the event's time.", {
        Active = "active": "registered and in order",
        Expired = "expired": "past its expiry date",
        ReviewOverdue = "review_overdue": "past its review date",
        Quarantined = "quarantined": "suspended by its owner or by security",
        Retired = "retired": "declared out of use",
        Unregistered = "unregistered": "no registry entry",
    }
}

closed_set! {
    /// The credential that was presented for this request.
    CredentialType, "credential_type", "The credential that was presented for this very request.", {
        Password = "password": "password, also with a second factor (`mfa`)",
        SsoSession = "sso_session": "a browser or console session from single sign-on",
        SamlAssertion = "saml_assertion": "a SAML assertion",
        OidcToken = "oidc_token": "an OpenID Connect ID token",
        OauthAccessToken = "oauth_access_token": "an OAuth access token, delegated or not",
        OauthRefreshToken = "oauth_refresh_token": "an OAuth refresh token",
        PersonalAccessToken = "personal_access_token": "a personal access token",
        ApiKey = "api_key": "a static API key or token of a tenant or person",
        AccessKey = "access_key": "a long-term AWS access key (`AKIA…`)",
        StsSession = "sts_session": "temporary AWS credentials (`ASIA…`, assumed role)",
        ServiceAccountKey = "service_account_key": "a static key of a service account",
        ClientSecret = "client_secret": "an application's secret",
        ClientAssertion = "client_assertion": "a signed client assertion",
        Certificate = "certificate": "an X.509 certificate or mutual TLS",
        FederatedOidc = "federated_oidc": "a federated workload token, attested by its issuer",
        ManagedIdentity = "managed_identity": "a managed identity of the platform",
        InstanceMetadata = "instance_metadata": "credentials delivered to an instance by its metadata service",
        K8sSaToken = "k8s_sa_token": "a Kubernetes service account token",
        AppInstallationToken = "app_installation_token": "a token of an app installation",
        SshKey = "ssh_key": "a person's SSH key",
        DeployKey = "deploy_key": "an SSH key of a repository",
        SharedKey = "shared_key": "an account-wide shared key",
        SignedUrl = "signed_url": "a pre-signed URL or SAS token",
        VaultToken = "vault_token": "a Vault token",
        RecoveryCode = "recovery_code": "a one-time recovery code",
        BypassCode = "bypass_code": "a one-time bypass code",
        DeviceCode = "device_code": "the device code flow",
        Ropc = "ropc": "the resource owner password flow",
        Internal = "internal": "none that a customer holds: the platform's own or forwarded access",
        None = "none": "no credential: anonymous",
        Unknown = "unknown": "the platform does not say",
    }
}

closed_set! {
    /// What came of the request.
    Outcome, "result", "What came of the request.", {
        Success = "success": "it happened; also where the source logs successes only (`attributes.implied`)",
        Failure = "failure": "it did not happen: bad credential, not found, conflict, invalid, server error, dry run",
        Denied = "denied": "an authorisation or policy control refused an identified caller",
        Throttled = "throttled": "refused for rate or quota",
        Partial = "partial": "some of it happened",
        Pending = "pending": "started, accepted, challenged or scheduled; the outcome comes in another event",
        Unknown = "unknown": "no statement is possible",
    }
}

closed_set! {
    /// Why it did not succeed.
    ResultClass, "result_class", "Why it did not succeed.", {
        AuthnFailed = "authn_failed": "the credential was not accepted",
        MfaRequired = "mfa_required": "another factor was asked for",
        MfaFailed = "mfa_failed": "another factor was not given",
        CredentialExpired = "credential_expired": "the credential was too old",
        AuthzDenied = "authz_denied": "the permission was missing",
        PolicyBlock = "policy_block": "a policy refused it",
        IpBlock = "ip_block": "the address was not allowed",
        AccountDisabled = "account_disabled": "the account was locked, suspended or disabled",
        NotFound = "not_found": "the object does not exist",
        Conflict = "conflict": "the object's state did not allow it",
        InvalidRequest = "invalid_request": "the request was malformed",
        Quota = "quota": "a rate or quota was used up",
        DryRun = "dry_run": "a rehearsal without effect",
        ServerError = "server_error": "the provider failed",
        Cancelled = "cancelled": "somebody or something gave up",
        Other = "other": "a reason outside this list",
    }
}

closed_set! {
    /// What was done.
    Verb, "action_verb", "What was done, in one word.", {
        Create = "create": "a resource came into being",
        Update = "update": "a resource changed",
        Delete = "delete": "a resource went away",
        Restore = "restore": "a deleted resource came back",
        Read = "read": "one object was retrieved",
        List = "list": "a collection was enumerated",
        Export = "export": "data was copied in bulk or out of the platform",
        Share = "share": "somebody outside can see it now",
        Unshare = "unshare": "somebody outside cannot see it any more",
        Grant = "grant": "a permission, role, membership or consent was given",
        Revoke = "revoke": "a permission, role, membership or consent was taken",
        Authenticate = "authenticate": "an identity was proved, or not",
        Logout = "logout": "a session ended",
        Challenge = "challenge": "another factor was asked for, outcome open",
        Assume = "assume": "a role was taken on",
        Impersonate = "impersonate": "another identity was taken on",
        Issue = "issue": "a credential was minted",
        Rotate = "rotate": "a credential was replaced",
        Invalidate = "invalidate": "a credential was revoked or removed",
        Execute = "execute": "code, a command, a query, a job or a prompt ran",
        Approve = "approve": "somebody decided for it",
        Reject = "reject": "somebody decided against it",
        Enable = "enable": "a control or account was switched on",
        Disable = "disable": "a control or account was switched off",
        Move = "move": "content moved",
        Copy = "copy": "content was copied",
        Send = "send": "content was sent",
        Detect = "detect": "the provider found something",
        Other = "other": "none of these; the operation's own name stands in `action`",
    }
}

closed_set! {
    /// What kind of thing it was done to.
    Category, "action_category", "What kind of thing it was done to.", {
        Authentication = "authentication": "signing in and out, factors, sessions",
        Identity = "identity": "users, groups and other principals",
        Access = "access": "permissions, roles, memberships, policies on access",
        Credential = "credential": "keys, tokens, secrets of principals",
        Configuration = "configuration": "settings of the platform",
        Data = "data": "content that users keep",
        Compute = "compute": "machines, containers, functions, jobs",
        Network = "network": "networks, addresses, firewalls",
        Code = "code": "repositories, builds, packages",
        Secret = "secret": "stored secrets and encryption keys",
        Ai = "ai": "models, prompts, agents",
        Billing = "billing": "plans, payments, usage",
        Audit = "audit": "the audit log itself and its delivery",
        Other = "other": "none of these",
    }
}

closed_set! {
    /// How far an event got.
    Status, "status", "How far an event got.", {
        Mapped = "mapped": "every column that the mapping derives was derived",
        Partial = "partial": "something could not be derived or looks wrong: see `issues`",
        Unmapped = "unmapped": "no mapping recognised it; the raw bytes are kept",
        Rejected = "rejected": "no event could be cut from the record: a dead letter",
        Empty = "empty": "a record without events",
    }
}

/// Every closed set, in the order in which documents list them.
pub const CLOSED_SETS: &[ClosedSet] = &[
    ActorType::SET,
    ActorClass::SET,
    Basis::SET,
    Interaction::SET,
    Relation::SET,
    OwnerBasis::SET,
    PolicyState::SET,
    CredentialType::SET,
    Outcome::SET,
    ResultClass::SET,
    Verb::SET,
    Category::SET,
    Status::SET,
];
