use std::{fs, os::unix::fs::symlink, time::Duration};

use cattle_core::desired::{Authority, Requester};

use super::{SPEC, Yard, absent_since, broken, entry, now, strays, valid};
use crate::store::SocketSpec;

#[test]
fn a_spec_belongs_to_its_directory() {
    let mut yard = Yard::new();
    yard.write(&yard.spec("team/rex.yaml"), SPEC);
    yard.write(&yard.path("bots/ada.json"), r#"{"apiVersion":"clawdlets.dev/v1","kind":"Cattle","spec":{"persona":"rex","task":{"message":"x"}}}"#);
    let desired = yard.scan(0);
    assert_eq!(valid(&desired, "rex").task.message, "Fix the flaky test");
    let rex = &entry(&desired, "rex").unwrap().origin;
    assert_eq!(
        (rex.path.as_str(), rex.authority),
        ("cattle/specs/team/rex.yaml", Authority::Operator)
    );
    valid(&desired, "ada");
    let ada = &entry(&desired, "ada").unwrap().origin;
    let bots = yard.path("bots").display().to_string();
    assert_eq!(
        (&ada.requester, ada.authority),
        (&Requester::directory(&bots), Authority::Bot)
    );
    assert_eq!(
        (ada.root.as_str(), ada.path.as_str()),
        (bots.as_str(), format!("{bots}/ada.json").as_str())
    );
}

#[test]
fn a_fresh_file_waits_until_its_writer_is_done() {
    let mut yard = Yard::new();
    yard.scan(0);
    let path = yard.spec("rex.yaml");
    yard.write(&path, SPEC);
    let scanned = yard.scan_now(1);
    assert!(scanned.desired.specs.is_empty());
    assert!(scanned.rescan_in.unwrap() <= Duration::from_secs(1));
    yard.settled.complete(&path);
    valid(&yard.scan_now(2).desired, "rex");
}

#[test]
fn a_scan_that_waits_for_something_is_not_the_first_complete_one() {
    let mut yard = Yard::new();
    yard.write(&yard.spec("rex.yaml"), SPEC);
    assert_eq!(yard.scan_now(0).desired.since, None);
    assert_eq!(yard.scan(1).since, Some(now(1)));
    assert_eq!(yard.scan(2).since, Some(now(1)));
}

#[test]
fn a_file_that_is_seen_being_written_waits_longer() {
    let mut yard = Yard::new();
    yard.scan(0);
    let path = yard.spec("rex.yaml");
    yard.write(&path, SPEC);
    yard.settled.open(&path);
    assert!(
        yard.scan_after(Duration::from_secs(5), 1)
            .desired
            .specs
            .is_empty()
    );
    valid(&yard.scan_after(Duration::from_secs(11), 2).desired, "rex");
}

#[test]
fn completeness_speaks_of_the_file_as_it_was_then() {
    let mut yard = Yard::new();
    yard.scan(0);
    let path = yard.spec("rex.yaml");
    yard.settled.complete(&path);
    // Later than the note by more than the file system's clock can be behind.
    let noted = std::time::SystemTime::now();
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    loop {
        yard.write(&path, SPEC);
        if fs::metadata(&path).unwrap().modified().unwrap() > noted {
            break;
        }
        assert!(std::time::Instant::now() < deadline);
    }
    assert!(yard.scan_now(1).desired.specs.is_empty());
}

#[test]
fn an_edit_under_way_leaves_what_was_taken() {
    let mut yard = Yard::new();
    let path = yard.spec("rex.yaml");
    yard.write(&path, SPEC);
    let before = valid(&yard.scan(0), "rex");
    yard.write(&path, &SPEC.replace("flaky", "slow"));
    let scanned = yard.scan_now(1);
    assert_eq!(valid(&scanned.desired, "rex"), before);
    assert!(scanned.rescan_in.is_some());
    assert_eq!(
        valid(&yard.scan(2), "rex").task.message,
        "Fix the slow test"
    );
}

#[test]
fn a_broken_file_is_broken_and_its_cattle_known() {
    let mut yard = Yard::new();
    let path = yard.spec("rex.yaml");
    yard.write(&path, SPEC);
    yard.scan(0);
    yard.replace(&path, &SPEC.replace("persona", "persuna"));
    let said = broken(&yard.scan(1), "rex");
    assert!(said.contains("cattle/specs/rex.yaml:4: "), "{said}");
    yard.replace(&path, SPEC);
    valid(&yard.scan(2), "rex");
}

#[test]
fn what_cannot_be_read_is_broken_and_not_absent() {
    let mut yard = Yard::new();
    yard.write(&yard.spec("rex.yaml"), SPEC);
    yard.write(
        &yard.spec("long.yaml"),
        &format!("# {}\n{SPEC}", "x".repeat(300_000)),
    );
    yard.write(&yard.path("outside.yaml"), SPEC);
    symlink(yard.path("outside.yaml"), yard.spec("out.yaml")).unwrap();
    symlink("../../../outside.yaml", yard.spec("dots.yaml")).unwrap();
    symlink("nothing.yaml", yard.spec("dangling.yaml")).unwrap();
    let pipe = rustix::fs::mknodat;
    pipe(
        rustix::fs::CWD,
        yard.spec("pipe.yaml"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let desired = yard.scan(0);
    valid(&desired, "rex");
    assert!(broken(&desired, "out").ends_with("the link leads out of its spec directory"));
    assert!(broken(&desired, "dots").ends_with("the link leads out of its spec directory"));
    assert!(broken(&desired, "dangling").ends_with("the link leads nowhere"));
    assert!(broken(&desired, "pipe").ends_with("it is not a regular file"));
    assert!(broken(&desired, "long").ends_with("it is longer than 262144 bytes"));
    assert!(desired.since.is_some());
}

#[test]
fn absence_counts_from_the_first_scan_that_missed_it() {
    let mut yard = Yard::new();
    let path = yard.spec("rex.yaml");
    yard.write(&path, SPEC);
    yard.scan(0);
    fs::remove_file(&path).unwrap();
    assert_eq!(absent_since(&yard.scan(10), "rex"), now(10));
    assert_eq!(absent_since(&yard.scan(20), "rex"), now(10));
    // Somebody writes it again, and takes their time.
    yard.write(&path, SPEC);
    assert_eq!(absent_since(&yard.scan_now(24).desired, "rex"), now(24));
    let back = yard.scan(26);
    valid(&back, "rex");
    assert_eq!(back.since, Some(now(0)));
}

#[test]
fn what_is_absent_for_long_is_forgotten() {
    let mut yard = Yard::new();
    let path = yard.spec("rex.yaml");
    yard.write(&path, SPEC);
    yard.scan(0);
    fs::remove_file(&path).unwrap();
    yard.scan(10);
    assert_eq!(yard.scan(10 + 86_400).specs.len(), 1);
    assert_eq!(yard.scan(11 + 86_400).specs.len(), 0);
}

#[test]
fn what_editors_leave_is_ignored() {
    let mut yard = Yard::new();
    yard.write(&yard.spec("rex.yaml"), SPEC);
    for name in [
        ".rex.yaml.swp",
        "rex.yaml~",
        "#rex.yaml#",
        ".#rex.yaml",
        "4913",
        "rex.yaml.tmp",
        "rex.yaml.bak",
        ".hidden.yaml",
        "~rex.yaml",
        "README.md",
        ".git/config.yaml",
        "rex.yaml___jb_tmp___",
    ] {
        yard.write(&yard.spec(name), SPEC);
    }
    let desired = yard.scan(0);
    assert_eq!(desired.specs.len(), 1);
    assert_eq!(strays(&desired), Vec::<String>::new());
}

#[test]
fn of_two_files_with_one_stem_the_known_one_stays() {
    let mut yard = Yard::new();
    yard.write(&yard.spec("z/rex.yaml"), SPEC);
    yard.scan(0);
    yard.write(&yard.spec("a/rex.json"), &SPEC.replace("flaky", "other"));
    let desired = yard.scan(1);
    assert_eq!(valid(&desired, "rex").task.message, "Fix the flaky test");
    assert_eq!(
        strays(&desired),
        [
            "cattle/specs/a/rex.json: `rex` is already the cattle of cattle/specs/z/rex.yaml; this file is ignored"
        ]
    );
    // The known one goes: it was moved, not removed.
    fs::remove_file(yard.spec("z/rex.yaml")).unwrap();
    let desired = yard.scan(2);
    assert_eq!(valid(&desired, "rex").task.message, "Fix the other test");
    assert!(desired.strays.is_empty());
}

#[test]
fn an_operators_file_wins_over_a_bots() {
    let mut yard = Yard::new();
    yard.write(&yard.path("bots/rex.yaml"), &SPEC.replace("flaky", "bot's"));
    yard.scan(0);
    yard.write(&yard.spec("rex.yaml"), SPEC);
    let desired = yard.scan(1);
    assert_eq!(valid(&desired, "rex").task.message, "Fix the flaky test");
    assert_eq!(
        entry(&desired, "rex").unwrap().origin.authority,
        Authority::Operator
    );
    assert_eq!(desired.strays.len(), 1);
}

#[test]
fn a_stem_that_is_no_name_is_a_stray() {
    let mut yard = Yard::new();
    yard.write(&yard.spec("Rex.yaml"), SPEC);
    yard.write(&yard.spec("rex (copy).yaml"), SPEC);
    yard.write(&yard.spec("a\u{1b}[2J.yaml"), SPEC);
    let desired = yard.scan(0);
    assert!(desired.specs.is_empty());
    let strays = strays(&desired);
    assert_eq!(strays.len(), 3);
    assert!(
        strays
            .iter()
            .any(|stray| stray.starts_with("cattle/specs/a\\u{1b}[2J.yaml: ")),
        "{strays:?}"
    );
}

#[test]
fn what_the_socket_wrote_belongs_to_who_asked() {
    let mut yard = Yard::new();
    yard.write(&yard.path("state/specs/rex.yaml"), SPEC);
    yard.write(&yard.path("state/specs/ada.yaml"), SPEC);
    yard.socket_specs = vec![SocketSpec {
        cattle: "rex".parse().unwrap(),
        requester: Requester::uid(1001),
        authority: Authority::Operator,
        apply_set: None,
    }];
    let desired = yard.scan(0);
    let rex = &entry(&desired, "rex").unwrap().origin;
    assert_eq!(
        (&rex.requester, rex.authority, rex.from_socket),
        (&Requester::uid(1001), Authority::Operator, true)
    );
    let ada = &entry(&desired, "ada").unwrap().origin;
    assert_eq!(
        (ada.authority, ada.from_socket),
        (Authority::Bot, true),
        "whose row is missing may do least"
    );
}

#[test]
fn a_thousand_unchanged_files_are_parsed_once() {
    let mut yard = Yard::new();
    for n in 0..1_000 {
        yard.write(&yard.spec(&format!("rex-{n}.yaml")), SPEC);
    }
    for seconds in 0..3 {
        assert_eq!(yard.scan(seconds).specs.len(), 1_000);
    }
    assert_eq!(yard.scanner.parses(), 1_000);
    yard.replace(&yard.spec("rex-7.yaml"), &SPEC.replace("flaky", "slow"));
    yard.scan(4);
    assert_eq!(yard.scanner.parses(), 1_001);
}

#[test]
fn a_file_that_was_taken_within_the_clocks_tick_is_read_again() {
    let mut yard = Yard::new();
    let path = yard.spec("rex.yaml");
    yard.scan(0);
    yard.write(&path, SPEC);
    yard.settled.complete(&path);
    let before = yard.scan_now(1).desired;
    assert_eq!(valid(&before, "rex").task.message, "Fix the flaky test");
    // The same length; perhaps within the same tick.
    yard.write(&path, &SPEC.replace("flaky", "silly"));
    let after = yard.scan(2);
    assert_eq!(valid(&after, "rex").task.message, "Fix the silly test");
}

#[test]
fn what_the_socket_wrote_is_taken_at_once_without_the_watcher() {
    let mut yard = Yard::new();
    yard.replace(&yard.path("state/specs/rex.yaml"), SPEC);
    yard.replace(&yard.spec("ada.yaml"), SPEC);
    let scanned = yard.scan_now(0);
    valid(&scanned.desired, "rex");
    assert!(entry(&scanned.desired, "ada").is_none());
}
