//! Looking up a user in `/etc/passwd`. By hand: the alternative is libc's NSS, which is unsafe to
//! call and may load code from anywhere.

use std::io;
use std::path::Path;

use crate::layout::read_limited;

const PASSWD: &str = "/etc/passwd";
/// Far beyond any VM's accounts.
const MAX_PASSWD_BYTES: u64 = 1024 * 1024;

/// The numbers of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The account named `user`, if there is one.
pub(crate) fn find(user: &str) -> io::Result<Option<Account>> {
    let bytes = read_limited(Path::new(PASSWD), MAX_PASSWD_BYTES)?.unwrap_or_default();
    Ok(find_in(&String::from_utf8_lossy(&bytes), user))
}

fn find_in(passwd: &str, user: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != user {
            return None;
        }
        Some(Account {
            uid: fields.nth(1)?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\nagent:x:990:991::/:/bin/false\n";

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let agent = Account { uid: 990, gid: 991 };
        assert_eq!(find_in(PASSWD, "agent"), Some(agent));
        assert_eq!(find_in(PASSWD, "agen"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_file_makes_the_parser_panic_or_find_the_wrong_user(text in "([a:0-9]{0,8}\n){0,8}") {
            if find_in(&text, "a").is_some() {
                assert!(text.lines().any(|line| line.starts_with("a:")));
            }
        }
    }

    #[test]
    fn a_broken_line_is_no_account() {
        assert_eq!(find_in(PASSWD, "broken"), None);
        assert_eq!(find_in("agent:x:many:1::/:/bin/sh", "agent"), None);
    }
}
