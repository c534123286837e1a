//! Server types that Hetzner has retired, and what took their place.
//!
//! A table, so that a spec file is refused without asking anybody. Later retirements are in the
//! catalogue, which [`crate::candidates`] reads. Source: Hetzner's changelog of 2025-10-16; these
//! cannot be ordered since 2025-12-31.

/// A type that is gone.
struct Retired {
    name: &'static str,
    id: &'static str,
    instead: &'static [&'static str],
    /// Where it is still sold.
    kept: &'static [&'static str],
}

/// The United States still have the older CPX; by name and by number.
const US: &[&str] = &["ash", "hil", "4", "5"];

#[rustfmt::skip]
const RETIRED: [Retired; 9] = [
    Retired { name: "cx22", id: "104", instead: &["cx23"], kept: &[] },
    Retired { name: "cx32", id: "105", instead: &["cx33"], kept: &[] },
    Retired { name: "cx42", id: "106", instead: &["cx43"], kept: &[] },
    Retired { name: "cx52", id: "107", instead: &["cx53"], kept: &[] },
    Retired { name: "cpx11", id: "22", instead: &["cpx12"], kept: US },
    Retired { name: "cpx21", id: "23", instead: &["cpx22"], kept: US },
    Retired { name: "cpx31", id: "24", instead: &["cpx32"], kept: US },
    Retired { name: "cpx41", id: "25", instead: &["cpx42"], kept: US },
    // 16 cores: the successor by number has 12.
    Retired { name: "cpx51", id: "26", instead: &["cpx52", "cpx62"], kept: US },
];

/// Why a type cannot be had in any of these locations, and what to use; `None` when it can, as far
/// as this table knows.
#[must_use]
pub fn check(server_type: &str, locations: &[&str]) -> Option<(String, String)> {
    let retired = RETIRED
        .iter()
        .find(|it| it.name == server_type || it.id == server_type)?;
    if locations.iter().any(|place| retired.kept.contains(place)) {
        return None;
    }
    let place = if retired.kept.is_empty() {
        ""
    } else {
        " outside `ash` and `hil`"
    };
    let instead: Vec<String> = retired.instead.iter().map(|n| format!("`{n}`")).collect();
    Some((
        format!("server type `{server_type}` was retired{place} at the end of 2025"),
        format!("use {}", instead.join(" or ")),
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_retired_type_is_refused_where_nobody_sells_it_any_more() {
        let (message, hint) = check("cx22", &["nbg1", "ash"]).unwrap();
        assert_eq!(message, "server type `cx22` was retired at the end of 2025");
        assert_eq!(hint, "use `cx23`");
        let (message, hint) = check("cpx51", &["nbg1", "sin"]).unwrap();
        assert_eq!(
            message,
            "server type `cpx51` was retired outside `ash` and `hil` at the end of 2025"
        );
        assert_eq!(hint, "use `cpx52` or `cpx62`");
        assert_eq!(check("cpx11", &["nbg1", "hil"]), None);
        assert_eq!(check("cpx11", &["4"]), None);
        assert!(check("23", &["fsn1"]).is_some());
        assert_eq!(check("cx23", &["nbg1"]), None);
    }
}
