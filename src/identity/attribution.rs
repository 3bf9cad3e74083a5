//! Attribution: what an activity gains from the registry.
//!
//! The most particular key decides: the credential's fingerprint, its id, the actor's id, the actor's e-mail address, for
//! software the role that it took on. The registry may make the kind of actor more exact but not contradict the platform;
//! where it tries, the platform's word stands and `actor_type_conflict` says so.

use super::Registry;
use super::claims::{Answer, Circumstances};
use super::entry::Entry;
use crate::activity::taxonomy::{ActorClass, ActorType, Basis, OwnerBasis, PolicyState, Relation, Verb};
use crate::activity::{Activity, Column, Value};

impl Registry {
    /// Sets who answers for `activity`, as of the time at which it happened.
    ///
    /// An owner that the mapping took from the event stays where the registry knows none.
    pub fn attribute<'a>(&'a self, activity: &mut Activity<'a>) {
        let at = activity.get(Column::EventTime).as_time().or_else(|| activity.get(Column::ReceivedTime).as_time());
        let circumstances = Circumstances {
            source: activity.text(Column::Source),
            tenant: activity.text(Column::Tenant),
            at: at.unwrap_or_default(),
        };
        let answer = if self.entries.is_empty() { Answer::Absent } else { self.look_up_actor(activity, circumstances) };
        let (registered_owner, policy_state) = match answer {
            Answer::Found(entry) => {
                describe(entry, activity);
                settle_actor_type(entry, activity);
                (entry.owner(), entry.policy_state(circumstances.at))
            }
            Answer::Ended(entry) => {
                activity.set(Column::IdentityId, Value::Text(&entry.id));
                (None, PolicyState::Expired)
            }
            Answer::Ambiguous(state) => (None, state),
            Answer::Absent => (None, PolicyState::Unregistered),
        };
        activity.set(Column::PolicyState, Value::Text(policy_state.as_str()));

        let (owner, basis) = match (registered_owner, activity.text(Column::ActorOwner)) {
            (Some(owner), _) => (Some(owner), OwnerBasis::Registry),
            (None, Some(named)) => (Some(named), OwnerBasis::Event),
            (None, None) => match answer {
                Answer::Ambiguous(_) => (None, OwnerBasis::Ambiguous),
                Answer::Ended(_) => (None, OwnerBasis::Expired),
                Answer::Found(_) | Answer::Absent => match self.inherited_owner(activity, circumstances) {
                    Some(owner) => (Some(owner), OwnerBasis::Inherited),
                    None => (None, OwnerBasis::None),
                },
            },
        };
        activity.set(Column::ActorOwner, owner.into());
        activity.set(Column::OwnerBasis, Value::Text(basis.as_str()));
    }

    fn look_up_actor(&self, activity: &Activity<'_>, circumstances: Circumstances<'_>) -> Answer<'_> {
        let keys = [
            (&self.claims.fingerprints, Column::CredentialFingerprint),
            (&self.claims.credential_ids, Column::CredentialId),
            (&self.claims.names, Column::ActorId),
            (&self.claims.names, Column::ActorEmail),
            (&self.claims.names, Column::ActingAs),
        ];
        let mut ended = Answer::Absent;
        for (index, column) in keys {
            if column == Column::ActingAs && !is_known_by_role(activity) {
                continue;
            }
            let Some(key) = activity.text(column) else { continue };
            match index.look_up(&self.entries, key, circumstances) {
                Answer::Absent => {}
                Answer::Ended(entry) => {
                    if matches!(ended, Answer::Absent) {
                        ended = Answer::Ended(entry);
                    }
                }
                answer => return answer,
            }
        }
        ended
    }

    /// The owner of the nearest principal that the actor acted for.
    fn inherited_owner(&self, activity: &Activity<'_>, circumstances: Circumstances<'_>) -> Option<&str> {
        if self.entries.is_empty() {
            return None;
        }
        let hops = match activity.get(Column::DelegationChain) {
            Value::Hops(hops) => hops,
            _ => &[],
        };
        // The chain is written outermost first, so its end is nearest.
        let hop_owners = hops.iter().rev().map(|hop| {
            let by_credential = (&self.claims.credential_ids, hop.credential_id);
            [by_credential, (&self.claims.names, hop.id)]
        });
        let initiator = [(&self.claims.names, activity.text(Column::OnBehalfOf))];
        hop_owners.flatten().chain(initiator).find_map(|(index, key)| {
            match index.look_up(&self.entries, key?, circumstances) {
                Answer::Found(entry) => entry.owner(),
                _ => None,
            }
        })
    }
}

/// Whether the identity that the actor took on says who it is: software names its sessions anew each time, and its role is
/// what people register. A person in a role stays that person, and an impersonated identity is somebody else.
fn is_known_by_role(activity: &Activity<'_>) -> bool {
    let actor_type = activity.actor_type();
    let is_software = actor_type.class() == ActorClass::Nonhuman || actor_type == ActorType::Unknown;
    let is_impersonating = match activity.get(Column::DelegationChain) {
        Value::Hops(hops) => hops.iter().any(|hop| hop.relation == Some(Relation::Impersonated.as_str())),
        _ => activity.text(Column::ActionVerb) == Some(Verb::Impersonate.as_str()),
    };
    is_software && !is_impersonating
}

/// Copies what the entry says of the identity. Its owner and state are the caller's to settle.
fn describe<'a>(entry: &'a Entry, activity: &mut Activity<'a>) {
    activity.set(Column::IdentityId, Value::Text(&entry.id));
    for (column, text) in [
        (Column::BusinessOwner, &entry.business_owner),
        (Column::TechnicalOwner, &entry.technical_owner),
        (Column::Purpose, &entry.purpose),
        (Column::Environment, &entry.environment),
        (Column::BusinessUnit, &entry.business_unit),
        (Column::Application, &entry.application),
        (Column::RiskTier, &entry.risk_tier),
    ] {
        activity.set(column, text.as_deref().into());
    }
    // The kind says it too: a privileged human without `privileged` is privileged.
    match entry.privileged.or((entry.actor_type == Some(ActorType::PrivilegedHuman)).then_some(true)) {
        Some(true) => activity.set(Column::Privileged, Value::Bool(true)),
        // Authority that the event itself shows is not talked away.
        Some(false) => activity.set_default(Column::Privileged, Value::Bool(false)),
        None => {}
    }
}

fn settle_actor_type<'a>(entry: &'a Entry, activity: &mut Activity<'a>) {
    let platforms = activity.actor_type();
    let stated = match (entry.actor_type, entry.privileged) {
        (Some(ActorType::Human), Some(true)) => ActorType::PrivilegedHuman,
        (None, Some(true)) if platforms == ActorType::Human => ActorType::PrivilegedHuman,
        (Some(stated), _) => stated,
        (None, _) => return,
    };
    let basis = activity.text(Column::ActorTypeBasis).and_then(Basis::parse).unwrap_or(Basis::None);
    // The evidence is ordered, strongest first: a customer's naming convention or a client string gives way.
    let is_weaker = basis > Basis::Registry;
    let rule = Some(entry.id.as_str());
    if platforms == stated {
        if is_weaker {
            activity.set_actor_type(stated, Basis::Registry, rule);
        }
    } else if agree(platforms, stated) {
        // Nothing to add.
    } else if may_refine(platforms, stated) {
        activity.set_actor_type(stated, Basis::Registry, rule);
    } else {
        if is_weaker {
            activity.set_actor_type(stated, Basis::Registry, rule);
        }
        activity.set(Column::ActorTypeConflict, Value::Bool(true));
    }
}

/// Whether two different answers say nothing against each other.
fn agree(platforms: ActorType, stated: ActorType) -> bool {
    use ActorType::{ApiKey, Human, PrivilegedHuman};
    matches!(
        (platforms, stated),
        // The event shows authority that the registry does not speak of.
        (PrivilegedHuman, Human)
        // A static key proves nothing about who holds it; the person to whom it belongs is registered as a person.
        | (ApiKey, Human | PrivilegedHuman)
    )
}

/// Whether the registry's word makes the platform's more exact.
fn may_refine(platforms: ActorType, stated: ActorType) -> bool {
    use ActorType::{
        AiAgent, ApiKey, Bot, Human, Platform, PrivilegedHuman, ServiceAccount, ServicePrincipal, TechnicalUser,
        ThirdPartyIntegration, Unknown, WorkloadIdentity,
    };
    matches!(
        (platforms, stated),
        (Human, PrivilegedHuman | TechnicalUser | ServiceAccount)
            | (ServicePrincipal, ThirdPartyIntegration | AiAgent | Platform)
            | (Bot, AiAgent | ThirdPartyIntegration)
            | (ServiceAccount, WorkloadIdentity | AiAgent | TechnicalUser)
            | (ApiKey, ServiceAccount)
            | (Unknown, _)
    )
}
