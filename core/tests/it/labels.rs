//! Labels: what is written is read again, and what is not ours is never taken for ours.

use std::collections::BTreeMap;

use cattle_core::{
    expiry::Lifetimes,
    labels::{self, LabelError},
};
use proptest::{collection::btree_map, prelude::*};

use crate::fixture::*;

fn raw() -> BTreeMap<String, String> {
    let world = World::booting();
    labels::of_run(
        &world.ledger.runs[&run_id(1)],
        &world.limits.fleet,
        &BTreeMap::new(),
    )
}

fn decoded(raw: &BTreeMap<String, String>) -> labels::ServerLabels {
    labels::decode(raw, at(100), lifetimes(7200))
}

fn without(key: &str) -> BTreeMap<String, String> {
    let mut raw = raw();
    raw.remove(key).unwrap();
    raw
}

fn with(key: &str, value: &str) -> BTreeMap<String, String> {
    let mut raw = raw();
    raw.insert(key.to_owned(), value.to_owned());
    raw
}

#[test]
fn a_server_carries_these_labels() {
    let lines: Vec<_> = raw()
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    cattle=true
    cattle-name=rex
    created-at=1790000100
    expires-at=1790007300
    fleet=test
    managed-by=clawdlets
    persona=rex
    run=01M3250V000000000000000001
    spec-hash=010101010101
    task-id=rex
    ");
}

#[test]
fn the_selector_is_what_is_written() {
    let selector = labels::selector(&"test".parse().unwrap());
    assert_eq!(selector, "managed-by=clawdlets,cattle=true,fleet=test");
    for term in selector.split(',') {
        let (key, value) = term.split_once('=').unwrap();
        assert_eq!(raw().get(key).map(String::as_str), Some(value));
    }
}

#[test]
fn a_missing_or_malformed_expiry_falls_back_to_created_plus_default_ttl_and_is_reported() {
    let bad = [
        "",
        "soon",
        "-5",
        "+5",
        "1e9",
        "99999999999999999999",
        "253402300800",
        "0x10",
        " 5",
    ];
    let bad = bad.map(|value| with("expires-at", value));
    for raw in bad.iter().chain([&without("expires-at")]) {
        let labels = decoded(raw);
        assert_eq!(labels.expires_at, Some(at(7300)), "{raw:?}");
        assert_eq!(labels.problems.len(), 1);
        assert!(
            labels.problems[0].contains("expires-at"),
            "{:?}",
            labels.problems
        );
    }
}

#[test]
fn an_expiry_is_believed_up_to_created_plus_max_ttl() {
    let unix = |seconds: u64| at(seconds).timestamp().to_string();
    // Created at 100, and a day is the longest life.
    let labels = decoded(&with("expires-at", &unix(86_500)));
    assert_eq!(labels.expires_at, Some(at(86_500)));
    assert_eq!(labels.problems, [""; 0]);
    for far in ["253402300799", &unix(90_100)] {
        let labels = decoded(&with("expires-at", far));
        assert_eq!(labels.expires_at, Some(at(86_500)), "{far}");
        assert!(labels.problems[0].contains("further than maxTtl"));
    }
    // A second that two clocks make is not worth a word.
    let labels = decoded(&with("expires-at", &unix(86_501)));
    assert_eq!(labels.expires_at, Some(at(86_500)));
    assert_eq!(labels.problems, [""; 0]);
    // Nor does a default reach further.
    let short = Lifetimes {
        max_ttl: secs(60),
        ..lifetimes(7200)
    };
    let labels = labels::decode(&without("expires-at"), at(100), short);
    assert_eq!(labels.expires_at, Some(at(160)));
}

#[test]
fn one_bad_label_spoils_no_other() {
    for key in ["run", "cattle-name", "spec-hash"] {
        let labels = decoded(&with(key, "NOT/ONE"));
        assert_eq!(labels.problems.len(), 1, "{key}");
        let missing = [
            labels.run.is_none(),
            labels.cattle.is_none(),
            labels.hash.is_none(),
        ];
        assert_eq!(missing.iter().filter(|m| **m).count(), 1, "{key}");
        assert_eq!(labels.expires_at, Some(at(7300)));
    }
}

#[test]
fn ours_is_only_what_carries_all_three_and_no_other_tools_mark() {
    let fleet = "test".parse().unwrap();
    assert!(labels::is_ours(&raw(), &fleet));
    assert!(!labels::is_ours(&raw(), &"tes".parse().unwrap()));
    for key in ["managed-by", "cattle", "fleet"] {
        assert!(!labels::is_ours(&without(key), &fleet), "{key}");
        assert!(!labels::is_ours(&with(key, "x"), &fleet), "{key}");
    }
    assert!(!labels::is_ours(
        &with("apricote.de/created-by", "hcloud-upload-image"),
        &fleet
    ));
    assert!(!labels::is_ours(&BTreeMap::new(), &fleet));
}

#[test]
fn reserved_keys_are_refused_in_specs_and_fleets() {
    for key in [
        "managed-by",
        "cattle",
        "fleet",
        "cattle-name",
        "run",
        "persona",
        "task-id",
        "created-at",
        "expires-at",
        "spec-hash",
    ] {
        assert!(
            matches!(
                labels::check_spec_label(key, "x"),
                Err(LabelError::Reserved(_))
            ),
            "{key}"
        );
        assert!(
            matches!(
                labels::check_fleet_label(key, "x"),
                Err(LabelError::Reserved(_))
            ),
            "{key}"
        );
    }
    for key in [
        "spec.team",
        "hetzner.cloud/x",
        "apricote.de/created-by",
        "ledger",
    ] {
        assert!(
            matches!(
                labels::check_spec_label(key, "x"),
                Err(LabelError::ReservedPrefix(_))
            ),
            "{key}"
        );
        assert!(
            matches!(
                labels::check_fleet_label(key, "x"),
                Err(LabelError::ReservedPrefix(_))
            ),
            "{key}"
        );
    }
    assert_eq!(labels::check_fleet_label("managed-by", "clawdlets"), Ok(()));
    assert!(labels::check_spec_label("managed-by", "clawdlets").is_err());
}

#[test]
fn keys_and_values_are_hetzners() {
    let long = "a".repeat(63);
    assert_eq!(labels::check_fleet_label(&long, &long), Ok(()));
    assert_eq!(labels::check_fleet_label("example.com/team", ""), Ok(()));
    assert_eq!(labels::check_spec_label("team", "A.b_c-1"), Ok(()));
    assert!(labels::check_fleet_label(&"a".repeat(64), "x").is_err());
    assert!(labels::check_fleet_label("team", &"a".repeat(64)).is_err());
    // The prefix `spec.` counts.
    assert_eq!(labels::check_spec_label(&"a".repeat(58), "x"), Ok(()));
    let allowed = |refusal: Result<(), labels::LabelError>| {
        let message = refusal.unwrap_err().to_string();
        let (_, rest) = message.split_once("a label key: ").unwrap();
        rest.split_once(" of").unwrap().0.to_owned()
    };
    let too_long = "a".repeat(64);
    assert_eq!(
        allowed(labels::check_spec_label(&too_long[5..], "x")),
        "1 to 58"
    );
    assert_eq!(
        allowed(labels::check_fleet_label(&too_long, "x")),
        "1 to 63"
    );
    for bad in ["-a", "a-", ".a", "a b", "ä", "a/b/c", "/a", "a/"] {
        assert!(labels::check_spec_label(bad, "x").is_err(), "{bad}");
        assert!(labels::check_fleet_label(bad, "x").is_err(), "{bad}");
        assert!(labels::check_fleet_label("team", bad).is_err(), "{bad}");
    }
    assert!(labels::check_spec_label("", "x").is_err());
}

#[test]
fn text_that_is_a_label_stays_as_it_is_and_other_text_is_told_apart() {
    insta::assert_snapshot!(
        ["issue-42", "Issue #42: the flaky test", "Issue #42; the flaky test", "…", "", "-x-"]
            .map(labels::slug)
            .join("\n"),
        @r"
        issue-42
        Issue-42-the-flaky-test-71f839e3
        Issue-42-the-flaky-test-f6f7b753
        b4935894
        e3b0c442
        x-c6cf95e5
        "
    );
}

#[test]
fn nothing_is_corrected_that_is_right() {
    assert_eq!(labels::correction(&raw(), &raw()), None);
    // Of the attempt that made the server; another one is no mistake.
    assert_eq!(labels::correction(&with("created-at", "1"), &raw()), None);
    assert_eq!(
        labels::correction(&with("created-at", "x"), &raw()),
        Some(raw())
    );
    assert_eq!(
        labels::correction(&without("expires-at"), &raw()),
        Some(raw())
    );
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,80}"
}

fn label_map() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(
        "[a-z]([a-z0-9._-]{0,8}[a-z0-9])?",
        "([A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?)?",
        0..5,
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        spec_labels in label_map(),
        fleet_labels in label_map(),
        task_id in text(),
        ttl in 1..86_400_u64,
    ) {
        let mut world = World::booting();
        let run = world.rex();
        run.spec.labels = spec_labels;
        run.spec.task.task_id = task_id;
        run.expires_at = at(ttl);
        let run = run.clone();
        let raw = labels::of_run(&run, &world.limits.fleet, &fleet_labels);
        let read = decoded(&raw);
        prop_assert_eq!(&read.problems, &Vec::<String>::new());
        prop_assert_eq!(read.run, Some(run.id));
        prop_assert_eq!(read.cattle, Some(run.cattle));
        prop_assert_eq!(read.hash, Some(run.hash));
        prop_assert_eq!(read.expires_at, Some(run.expires_at));
        prop_assert!(labels::is_ours(&raw, &world.limits.fleet));
        for (key, value) in &run.spec.labels {
            let name = format!("spec.{key}");
            prop_assert_eq!(raw.get(&name), Some(value));
        }
        for value in raw.values() {
            prop_assert_eq!(labels::check_value(value), Ok(()));
        }
    }

    #[test]
    fn every_slug_is_a_value_and_a_slug_of_itself(text in text()) {
        let slug = labels::slug(&text);
        prop_assert_eq!(labels::check_value(&slug), Ok(()));
        prop_assert!(!slug.is_empty());
        prop_assert_eq!(labels::slug(&slug), slug);
    }

    #[test]
    fn whether_labels_are_on_a_server_is_known_without_writing_them(
        spec_labels in label_map(),
        fleet_labels in label_map(),
        task_id in text(),
        other in btree_map("spec\\.[a-z]{1,3}|run|task-id|expires-at|fleet|x", "[a-z0-9]{0,4}", 0..2),
        removed in 0..20_usize,
    ) {
        let mut world = World::booting();
        let run = world.rex();
        run.spec.labels = spec_labels;
        run.spec.task.task_id = task_id;
        let run = run.clone();
        let set = labels::LabelSet::of_run(&run, &world.limits.fleet, &fleet_labels);
        let wanted = labels::encode(&set);
        prop_assert!(set.is_on(&wanted));
        let mut actual = wanted.clone();
        if let Some(name) = wanted.keys().nth(removed) {
            actual.remove(name);
        }
        actual.extend(other);
        prop_assert_eq!(set.is_on(&actual), labels::correction(&actual, &wanted).is_none());
    }

    #[test]
    fn no_labels_panic(raw in btree_map(text(), text(), 0..8), expiry in text()) {
        let mut raw = raw;
        raw.insert("expires-at".to_owned(), expiry);
        prop_assert!(decoded(&raw).expires_at.is_some());
    }

    #[test]
    fn what_was_corrected_is_right(raw in btree_map("[a-z.-]{1,12}", "[a-z0-9]{0,12}", 0..8)) {
        let wanted = self::raw();
        if let Some(next) = labels::correction(&raw, &wanted) {
            prop_assert_eq!(labels::correction(&next, &wanted), None);
        }
    }
}

#[test]
fn a_server_gets_its_labels_back_unless_they_say_that_it_is_somebody_elses() {
    let mut world = World::running();
    let right = world.listed().labels.raw.clone();
    let limits = world.limits.clone();
    let run = world.rex().clone();
    let repair = |actual: &BTreeMap<String, String>| {
        labels::repair(&run, actual, &limits.fleet, &limits.fleet_labels)
    };
    assert_eq!(repair(&right), None);
    let with = |key: &str, value: Option<&str>| {
        let mut actual = right.clone();
        actual.remove(key);
        actual.extend(value.map(|value| (key.to_owned(), value.to_owned())));
        actual
    };
    for lost in [
        BTreeMap::new(),
        with("fleet", None),
        with("managed-by", None),
        with("run", Some("x")),
    ] {
        assert_eq!(repair(&lost), Some(right.clone()), "{lost:?}");
    }
    for theirs in [
        with("fleet", Some("theirs")),
        with("apricote.de/created-by", Some("hcloud-upload-image")),
    ] {
        assert_eq!(repair(&theirs), None, "{theirs:?}");
    }
}
