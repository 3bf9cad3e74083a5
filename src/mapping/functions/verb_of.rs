//! `verb_of`: the verb that a word of an operation's name stands for, by one table for all platforms.
//!
//! Operation names are written in many ways (`DescribeInstances`, `user.lifecycle.create`,
//! `google.iam.v1.SetIamPolicy`, `repo_archived`), but their words are the same English verbs everywhere. A mapping names the
//! exceptions in a table of its own and falls back to this one.

use std::collections::HashMap;
use std::sync::LazyLock;

use bumpalo::Bump;

use super::{Argument, Definition, Function, Gives, each_text};
use crate::activity::taxonomy::Verb;
use crate::mapping::evaluate::Operand;

pub const VERB_OF: Definition = Definition {
    name: "verb_of",
    about: "the `action_verb` that the first or last word of an operation's name stands for",
    argument: Argument::Words(&["first", "last"]),
    gives: Gives::Verb,
    example: ("first", r#""DescribeInstances""#, r#""list""#),
    compile: |node, compiler| match node.text() {
        Some("first") => Some(Box::new(VerbOf::First)),
        Some("last") => Some(Box::new(VerbOf::Last)),
        _ => {
            compiler.wrong_argument(node, "`first` or `last`");
            None
        }
    },
};

#[derive(Debug)]
enum VerbOf {
    First,
    Last,
}

impl Function for VerbOf {
    fn apply<'a>(&'a self, input: Operand<'a>, arena: &'a Bump) -> Result<Operand<'a>, String> {
        each_text(input, arena, |text| {
            // The dotted or slashed parts before the operation itself name a service or an object.
            let operation = match self {
                VerbOf::First => text.rsplit(['.', '/', ':']).next().unwrap_or(text),
                VerbOf::Last => text,
            };
            let mut words = words(operation);
            let word = match self {
                VerbOf::First => words.next(),
                VerbOf::Last => words.last(),
            };
            Ok(word.and_then(verb).map(Verb::as_str))
        })
    }
}

/// The words of a name: parts between signs, and before an upper-case letter that follows a lower-case one.
fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !c.is_ascii_alphanumeric()).flat_map(humps).filter(|word| !word.is_empty())
}

fn humps(part: &str) -> impl Iterator<Item = &str> {
    let bytes = part.as_bytes();
    let mut start = 0;
    let ends = (1..=bytes.len()).filter(move |&i| {
        i == bytes.len()
            || (bytes[i].is_ascii_uppercase()
                && (bytes[i - 1].is_ascii_lowercase()
                    || bytes[i - 1].is_ascii_digit()
                    || bytes.get(i + 1).is_some_and(u8::is_ascii_lowercase)))
    });
    ends.map(move |end| {
        let word = &part[start..end];
        start = end;
        word
    })
}

/// The verb behind an English word, in whatever form a vendor writes it.
fn verb(word: &str) -> Option<Verb> {
    static BY_WORD: LazyLock<HashMap<&str, Verb>> =
        LazyLock::new(|| VERBS.iter().flat_map(|(verb, words)| words.split(' ').map(|word| (word, *verb))).collect());
    BY_WORD.get(word.to_ascii_lowercase().as_str()).copied()
}

/// By the taxonomy's prefix table. `Describe*` is `list`, because most describe collections; a mapping that can tell
/// one object from many says so itself.
const VERBS: &[(Verb, &str)] = &[
    (
        Verb::Read,
        "get gets head lookup batchget read view viewed fetch fetched show access accessed retrieve retrieved",
    ),
    (Verb::Read, "watch preview previewed open opened check simulate validate verify test"),
    (Verb::List, "list listed search searched query describe scan enumerate aggregatedlist browse select"),
    (Verb::Create, "create creates created add added insert inserted register registered run new invite invited"),
    (Verb::Create, "provision provisioned put import imported upload uploaded generate post allocate make init push"),
    (Verb::Create, "pushed publish published fork schedule"),
    (Verb::Update, "update updates updated modify modified set patch patched change changed edit edited tag untag"),
    (Verb::Update, "configure configured rename renamed replace replaced reset merge apply adjust sync synced write"),
    (Verb::Update, "alter upgrade"),
    (Verb::Delete, "delete deletes deleted remove removed terminate terminated destroy destroyed drop dropped purge"),
    (
        Verb::Delete,
        "purged deregister unregister release deprovision deprovisioned trash trashed deletecollection erase",
    ),
    (Verb::Delete, "clear"),
    (Verb::Restore, "restore restored undelete undeleted recover recovered untrash unarchive"),
    (
        Verb::Grant,
        "attach attached grant granted assign assigned authorize authorized allow join associate bind promote",
    ),
    (Verb::Grant, "permit"),
    (
        Verb::Revoke,
        "detach detached revoke revoked unassign unassigned deny leave disassociate unbind demote deauthorize",
    ),
    (Verb::Revoke, "ungrant"),
    (Verb::Enable, "enable enabled activate activated unsuspend unsuspended unlock unlocked resume reactivate"),
    (Verb::Enable, "reactivated unblock"),
    (Verb::Disable, "disable disabled deactivate deactivated suspend suspended lock locked block blocked pause cancel"),
    (Verb::Disable, "cancelled canceled"),
    (Verb::Execute, "execute executed invoke invoked start started stop stopped reboot exec launch trigger triggered"),
    (Verb::Execute, "rerun call submit complete completed"),
    (Verb::Send, "send sent forward forwarded"),
    (Verb::Authenticate, "login signin authenticate authenticated"),
    (Verb::Logout, "logout signout logoff"),
    (Verb::Assume, "assume"),
    (Verb::Impersonate, "impersonate"),
    (Verb::Issue, "issue issued mint sign"),
    (Verb::Rotate, "rotate rotated regenerate regenerated renew"),
    (Verb::Invalidate, "invalidate expire expired"),
    (Verb::Export, "export exported download downloaded dump unload"),
    (Verb::Share, "share shared"),
    (Verb::Unshare, "unshare unshared"),
    (Verb::Approve, "approve approved accept accepted confirm"),
    (Verb::Reject, "reject rejected decline declined dismiss dismissed"),
    (Verb::Move, "move moved transfer transferred"),
    (Verb::Copy, "copy copied clone cloned duplicate replicate"),
    (Verb::Detect, "detect detected"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_stands_once() {
        let mut words: Vec<&str> = VERBS.iter().flat_map(|(_, words)| words.split(' ')).collect();
        let num_words = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), num_words);
    }

    #[test]
    fn names_fall_into_words() {
        let words = |name| words(name).collect::<Vec<_>>();
        assert_eq!(words("UpdateFunctionCode20150331v2"), ["Update", "Function", "Code20150331v2"]);
        assert_eq!(words("PutIAMPolicy"), ["Put", "IAM", "Policy"]);
        assert_eq!(words("user.lifecycle.create"), ["user", "lifecycle", "create"]);
        assert_eq!(words("repo_archived"), ["repo", "archived"]);
        assert_eq!(words(""), Vec::<&str>::new());
    }

    #[test]
    fn the_first_word_is_that_of_the_operation_itself() {
        let arena = Bump::new();
        let verb = |text| VerbOf::First.apply(Operand::Text(text), &arena);
        assert_eq!(verb("google.iam.v1.IAMPolicy.SetIamPolicy"), Ok(Operand::Text("update")));
        assert_eq!(verb("frobnicate"), Ok(Operand::Missing));
    }
}
