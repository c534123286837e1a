//! Who calls: an operator or a bot, known from the socket itself.
//!
//! Invariant: nothing a peer sends has a say in who it is. The kernel names its uid and gid when it
//! connects (`SO_PEERCRED`); supplementary groups come from the group file by the user's name, since
//! `/proc/<pid>/status` would describe whoever has that pid by the time it is read. Users that only a
//! directory service knows are therefore operators by uid or primary group alone.

use std::{fmt, path::PathBuf, sync::Arc};

use axum::{
    extract::{FromRequestParts, connect_info::Connected},
    http::request::Parts,
    serve::IncomingStream,
};
use cattle_core::desired::{Authority, Requester};
use cattle_schemas::problem::ErrorCode;

use super::{listen::Socket, problem::ApiError};

/// The group whose members are operators.
pub const OPERATORS_GROUP: &str = "clf-operators";

/// What the kernel says of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Effective user at `connect`.
    pub uid: u32,
    /// Effective group at `connect`.
    pub gid: u32,
}

/// The credentials of a connection; `None` when the kernel would not say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller(pub(super) Option<Credentials>);

impl Connected<IncomingStream<'_, Socket>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Socket>) -> Self {
        Self(stream.io().credentials())
    }
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The user.
    pub uid: u32,
    /// What it may do.
    pub authority: Authority,
}

impl Peer {
    /// As a key for limits, turns and ownership: every operator is the same one.
    #[must_use]
    pub fn requester(&self) -> Requester {
        match self.authority {
            Authority::Operator => Requester::operator(),
            Authority::Bot => Requester::uid(self.uid),
        }
    }

    /// Whether it may do everything.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.authority == Authority::Operator
    }

    /// Whether it may see and change what this requester asked for.
    #[must_use]
    pub fn owns(&self, requester: &str) -> bool {
        self.is_operator() || requester == self.requester().0
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.authority {
            Authority::Operator => write!(f, "operator (uid {})", self.uid),
            Authority::Bot => write!(f, "bot (uid {})", self.uid),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        // The guard in front of every route puts it there.
        parts.extensions.get::<Self>().copied().ok_or_else(|| {
            ApiError::new(
                ErrorCode::Forbidden,
                "the system does not say who is calling",
            )
        })
    }
}

/// Turns what the kernel says into who it is.
pub type Identify = Arc<dyn Fn(Credentials) -> Peer + Send + Sync>;

/// The user database of this machine, read at every question: a change of groups counts at once.
#[derive(Clone, Debug)]
pub struct Users {
    passwd: PathBuf,
    group: PathBuf,
    own_uid: u32,
}

impl Default for Users {
    fn default() -> Self {
        Self {
            passwd: "/etc/passwd".into(),
            group: "/etc/group".into(),
            own_uid: rustix::process::geteuid().as_raw(),
        }
    }
}

impl Users {
    /// Who these credentials are.
    #[must_use]
    pub fn identify(&self, credentials: Credentials) -> Peer {
        let operator = credentials.uid == 0
            || credentials.uid == self.own_uid
            || self.in_operators_group(credentials);
        let authority = if operator {
            Authority::Operator
        } else {
            Authority::Bot
        };
        Peer {
            uid: credentials.uid,
            authority,
        }
    }

    /// As a function.
    #[must_use]
    pub fn into_identify(self) -> Identify {
        Arc::new(move |credentials| self.identify(credentials))
    }

    fn in_operators_group(&self, credentials: Credentials) -> bool {
        // A file that cannot be read makes nobody an operator.
        let Ok(groups) = std::fs::read_to_string(&self.group) else {
            return false;
        };
        let Some(group) = group_entry(&groups, OPERATORS_GROUP) else {
            return false;
        };
        if credentials.gid == group.gid {
            return true;
        }
        let Ok(passwd) = std::fs::read_to_string(&self.passwd) else {
            return false;
        };
        user_entries(&passwd, credentials.uid)
            .any(|(name, gid)| gid == group.gid || group.members.contains(&name))
    }
}

/// One line of the group file.
#[derive(Debug, PartialEq, Eq)]
struct Group<'a> {
    gid: u32,
    members: Vec<&'a str>,
}

fn group_entry<'a>(file: &'a str, name: &str) -> Option<Group<'a>> {
    file.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let gid = fields.nth(1)?.parse().ok()?;
        let members = fields.next().unwrap_or_default();
        let members = members
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .collect();
        Some(Group { gid, members })
    })
}

/// Name and primary group of every entry with this uid; there may be several.
fn user_entries(file: &str, uid: u32) -> impl Iterator<Item = (&str, u32)> {
    file.lines().filter_map(move |line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let entry_uid: u32 = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (entry_uid == uid).then_some((name, gid))
    })
}

/// The gid of a group of this machine.
pub(super) fn group_id(name: &str) -> Option<u32> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    group_entry(&groups, name).map(|group| group.gid)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nada:x:1000:100::/home/ada:/bin/sh\n\
        bob:x:1001:991::/home/bob:/bin/sh\nrex:x:1002:100::/home/rex:/bin/sh\nbroken\n:x:1003:991::\n";
    const GROUP: &str = "root:x:0:\nusers:x:100:rex\nclf-bots:x:990:rex\n\
        clf-operators:x:991:ada,eve\nclf-operators-not:x:992:rex\n";

    fn users(directory: &tempfile::TempDir) -> Users {
        let (passwd, group) = (
            directory.path().join("passwd"),
            directory.path().join("group"),
        );
        std::fs::write(&passwd, PASSWD).unwrap();
        std::fs::write(&group, GROUP).unwrap();
        Users {
            passwd,
            group,
            own_uid: 77,
        }
    }

    fn authority(users: &Users, uid: u32, gid: u32) -> Authority {
        users.identify(Credentials { uid, gid }).authority
    }

    #[test]
    fn root_the_controller_itself_and_the_operators_group_are_operators() {
        let directory = tempfile::tempdir().unwrap();
        let users = users(&directory);
        assert_eq!(authority(&users, 0, 0), Authority::Operator, "root");
        assert_eq!(
            authority(&users, 77, 100),
            Authority::Operator,
            "our own uid"
        );
        assert_eq!(
            authority(&users, 1000, 100),
            Authority::Operator,
            "a member"
        );
        assert_eq!(
            authority(&users, 1001, 100),
            Authority::Operator,
            "by primary group"
        );
        assert_eq!(
            authority(&users, 5000, 991),
            Authority::Operator,
            "by the group at connect"
        );
    }

    #[test]
    fn everyone_else_is_a_bot_and_so_is_everyone_without_a_group_file() {
        let directory = tempfile::tempdir().unwrap();
        let users = users(&directory);
        assert_eq!(
            authority(&users, 1002, 100),
            Authority::Bot,
            "another group of like name"
        );
        assert_eq!(
            authority(&users, 1003, 100),
            Authority::Bot,
            "an entry without a name"
        );
        assert_eq!(authority(&users, 4000, 100), Authority::Bot, "unknown");
        std::fs::remove_file(directory.path().join("group")).unwrap();
        assert_eq!(authority(&users, 1000, 991), Authority::Bot);
    }

    #[test]
    fn a_bot_owns_only_what_its_uid_asked_for() {
        let bot = Peer {
            uid: 1001,
            authority: Authority::Bot,
        };
        assert!(bot.owns("uid:1001"));
        for other in ["uid:1002", "uid:10011", "operator", "dir:/srv/specs", ""] {
            assert!(!bot.owns(other), "{other}");
        }
        assert!(
            Peer {
                uid: 5,
                authority: Authority::Operator
            }
            .owns("uid:1001")
        );
    }

    proptest::proptest! {
        #[test]
        fn no_user_database_panics(text in "(\\PC|[:,\n]){0,200}", uid: u32) {
            let _ = group_entry(&text, OPERATORS_GROUP);
            let _ = user_entries(&text, uid).count();
        }
    }
}
