//! What belongs to your own organisation: accounts, tenants, domains, OAuth clients, administrator permission sets.
//!
//! The identity registry fills it, mappings ask it. Without it nothing can be called foreign, because nothing is
//! known to be yours.

use std::collections::HashSet;

/// The kinds of things that an organisation can own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnedKind {
    Accounts,
    Tenants,
    Domains,
    OauthClients,
    AdminPermissionSets,
}

impl OwnedKind {
    pub const ALL: [OwnedKind; 5] = [
        OwnedKind::Accounts,
        OwnedKind::Tenants,
        OwnedKind::Domains,
        OwnedKind::OauthClients,
        OwnedKind::AdminPermissionSets,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            OwnedKind::Accounts => "accounts",
            OwnedKind::Tenants => "tenants",
            OwnedKind::Domains => "domains",
            OwnedKind::OauthClients => "oauth_clients",
            OwnedKind::AdminPermissionSets => "admin_permission_sets",
        }
    }

    pub fn parse(name: &str) -> Option<OwnedKind> {
        OwnedKind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// The organisation's own ids, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Organisation {
    owned: [HashSet<String>; OwnedKind::ALL.len()],
}

impl Organisation {
    pub fn add(&mut self, kind: OwnedKind, id: impl Into<String>) {
        self.owned[kind as usize].insert(id.into());
    }

    pub fn owns(&self, kind: OwnedKind, id: &str) -> bool {
        self.owned[kind as usize].contains(id)
    }

    /// Whether `id` is known not to be ours, which takes a list of what is.
    pub fn is_foreign(&self, kind: OwnedKind, id: &str) -> bool {
        let ours = &self.owned[kind as usize];
        !ours.is_empty() && !ours.contains(id)
    }

    pub fn ids(&self, kind: OwnedKind) -> impl Iterator<Item = &str> {
        self.owned[kind as usize].iter().map(String::as_str)
    }
}
