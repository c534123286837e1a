//! Money: every started hour is billed whole.

use cattle_core::{
    cost::{Amount, cost, started_hours},
    expiry,
};
use proptest::prelude::*;

use crate::fixture::{at, secs};

fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

#[test]
fn a_started_hour_is_billed_whole() {
    let hours = |seconds| started_hours(at(0), at(seconds));
    assert_eq!(
        [0, 1, 3599, 3600, 3601, 7200].map(hours),
        [1, 1, 1, 1, 2, 2]
    );
}

#[test]
fn a_clock_that_went_backwards_costs_one_hour_and_not_none() {
    assert_eq!(started_hours(at(100), at(0)), 1);
}

#[test]
fn prices_add_up_without_rounding() {
    let hourly = amount("0.0088") + amount("0.0008");
    assert_eq!(cost(hourly, 3, None).to_string(), "0.0288");
    // A float would say 0.30000000000000004.
    assert_eq!(amount("0.1") + amount("0.2"), amount("0.3"));
}

#[test]
fn the_monthly_cap_holds() {
    assert_eq!(
        cost(amount("0.0088"), 1000, Some(amount("5.49"))).to_string(),
        "5.4900"
    );
    assert_eq!(
        cost(amount("0.0088"), 100, Some(amount("5.49"))).to_string(),
        "0.8800"
    );
}

#[test]
fn hetzners_long_decimals_are_read() {
    assert_eq!(amount("0.0104720000000000").to_string(), "0.0105");
    assert_eq!(amount("5").to_string(), "5.0000");
}

#[test]
fn anything_but_a_decimal_number_is_no_price() {
    for text in [
        "",
        ".",
        "1.",
        ".5",
        "-1",
        "+1",
        "1e3",
        "1,5",
        "NaN",
        "1.2.3",
        "٣",
        "9999999999999",
    ] {
        assert!(text.parse::<Amount>().is_err(), "{text:?}");
    }
}

#[test]
fn a_shortened_ttl_never_leaves_more_than_there_was() {
    let now = at(1000);
    // Plenty left, cut to the past: a minute.
    assert_eq!(expiry::after_change(at(500), at(5000), now), at(1060));
    // Half a minute left: that stays.
    assert_eq!(expiry::after_change(at(500), at(1030), now), at(1030));
    // Longer, or cut to later than a minute: as asked.
    assert_eq!(expiry::after_change(at(9000), at(5000), now), at(9000));
    assert_eq!(expiry::after_change(at(2000), at(5000), now), at(2000));
}

#[test]
fn extensions_end_at_max_ttl() {
    let expiry = |extension| expiry::expires_at(at(0), secs(3600), secs(extension), secs(7200));
    assert_eq!(expiry(0), at(3600));
    assert_eq!(expiry(1800), at(5400));
    assert_eq!(expiry(90_000), at(7200));
}

proptest! {
    #[test]
    fn four_places_are_printed_as_they_were_read(whole in 0..1_000_000_u64, places in 0..10_000_u64) {
        let text = format!("{whole}.{places:04}");
        prop_assert_eq!(amount(&text).to_string(), text);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,40}") {
        let _ = text.parse::<Amount>();
    }
}
