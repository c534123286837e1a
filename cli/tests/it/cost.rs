//! `cost`.

use insta::assert_snapshot;
use serde_json::json;

use crate::fake::Fake;

fn item(
    key: &str,
    runs: u64,
    hours: u64,
    server: &str,
    ipv4: &str,
    total: &str,
) -> serde_json::Value {
    json!({
        "key": key, "runs": runs, "startedHours": hours, "server": server, "ipv4": ipv4, "total": total
    })
}

#[test]
fn cost_tells_shares_and_the_sum() {
    let fake = Fake::start().on(
        "GET /v1/cost",
        json!({
            "by": "persona", "currency": "EUR",
            "items": [
                item("ada", 1, 2, "0.0176", "0.0016", "0.0192"),
                item("rex", 5, 5, "0.0440", "0.0040", "0.0480"),
            ],
            "total": item("total", 6, 7, "0.0616", "0.0056", "0.0672"),
            "unpricedRuns": 1
        }),
    );
    assert_snapshot!(fake.clawdlets(&["cattle", "cost", "--by", "persona", "--since", "2026-11-01"]), @r"
    exit: 0
    --- stdout ---
    PERSONA  RUNS  HOURS  SERVER  IPV4    TOTAL
    ada      1     2      0.0176  0.0016  0.0192 EUR
    rex      5     5      0.0440  0.0040  0.0480 EUR
    total    6     7      0.0616  0.0056  0.0672 EUR
    --- stderr ---
    warning: 1 run of that time has a server whose price is not known; not in these sums
    ");
    let asked = &fake.asked()[0];
    assert_eq!(
        asked.line,
        "GET /v1/cost?by=persona&since=2026-11-01T00%3A00%3A00Z"
    );
    assert_snapshot!(fake.clawdlets(&["cattle", "cost", "-o", "name"]), @r"
    exit: 0
    --- stdout ---
    ada
    rex
    --- stderr ---
    ");
    let document = fake.clawdlets(&["cattle", "cost", "-o", "json"]).json();
    assert_eq!(document["total"]["total"], "0.0672");
}

#[test]
fn no_cost_is_said_and_a_time_that_is_none_is_refused() {
    let fake = Fake::start().on(
        "GET /v1/cost",
        json!({
            "by": "fleet", "currency": "EUR", "items": [],
            "total": item("total", 0, 0, "0.0000", "0.0000", "0.0000"), "unpricedRuns": 0
        }),
    );
    assert_snapshot!(fake.clawdlets(&["cattle", "cost"]), @r"
    exit: 0
    --- stdout ---
    --- stderr ---
    nothing was billed
    ");
    assert_snapshot!(fake.clawdlets(&["cattle", "cost", "--since", "1d", "--until", "2d"]), @r"
    exit: 2
    --- stdout ---
    --- stderr ---
    error: `--since` is not before `--until`
    hint: give the earlier time to `--since`
    ");
    let refused = fake.clawdlets(&["cattle", "cost", "--since", "yesterday"]);
    assert!(
        refused.stderr.contains("a duration as in `7d`"),
        "{}",
        refused.stderr
    );
}
