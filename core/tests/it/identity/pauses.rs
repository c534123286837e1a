//! What a lost ledger, an older copy and a second controller pause, take over and leave alone.

use super::*;

fn pauses_of(world: &World, own: &Own) -> Vec<cattle_core::pause::Pause> {
    identity::pauses(
        own,
        &world.observed,
        &world.desired,
        &world.ledger,
        &world.limits.fleet,
        world.now,
    )
}

#[test]
fn a_lost_ledger_pauses_starts_with_the_list_of_what_it_finds() {
    let mut world = World::running()
        .with_spec(cattle("new"))
        .with_firewall(seen(Some(mark("l0", 9)), Some("c9")));
    world.set_spec(broken(), &name("broken"));
    let pauses = pauses_of(&world, &own());
    assert_eq!(pauses.len(), 1);
    let pause = &pauses[0];
    assert_eq!(pause.reason, PauseReason::Ledger);
    assert!(pause.starts && !pause.ends);
    let found: Vec<_> = pause.items.iter().map(|it| it.cattle.to_string()).collect();
    assert_eq!(found, ["new"], "what runs is no item");
    // It holds: what comes later is not of the list, and what starts to run leaves it.
    world.ledger.pauses = pauses.clone();
    assert!(pauses_of(&world, &own()).is_empty());
    world = world.with_spec(cattle("later"));
    assert!(pauses_of(&world, &own()).is_empty());
    world.desired.specs.remove(&name("new"));
    assert_eq!(pauses_of(&world, &own())[0].items, []);
    // Ended by an operator, it does not begin again on the strength of what was read before.
    world.ledger.pauses[0].resumed = Some(cattle_core::pause::Resumed {
        at: at(150),
        by: "operator".to_owned(),
        confirmed: true,
    });
    let looked = |at| Own {
        looked_at: Some(at),
        ..own()
    };
    assert!(pauses_of(&world, &looked(at(140))).is_empty());
    assert_eq!(pauses_of(&world, &looked(at(160))).len(), 1);
    let dry = Own {
        controller: None,
        ..own()
    };
    world.ledger.pauses.clear();
    assert!(pauses_of(&world, &dry).is_empty());
}

#[test]
fn what_an_older_copy_knows_as_done_or_as_running_is_not_found() {
    let found = |mut world: World| {
        world.observed.servers.clear();
        let world = world.with_firewall(seen(Some(mark("l1", 9)), None));
        pauses_of(&world, &own())[0].items.len()
    };
    let mut done = World::ended();
    let _ = lifecycle::mark_gone(done.rex(), at(100));
    assert_eq!(found(done.clone()), 0);
    assert_eq!(found(World::running()), 0);
    done.task().ended.as_mut().unwrap().reopens = true;
    assert_eq!(found(done), 1, "it could start");
}

#[test]
fn what_a_lost_ledger_is_about_to_take_over_is_not_found() {
    let mut world = World::running().with_firewall(seen(Some(mark("l0", 9)), None));
    world.ledger = Default::default();
    assert_eq!(pauses_of(&world, &own())[0].items, []);
    // Nobody takes over what is off, nor a server of what the spec was before.
    let mut off = world.clone();
    off.listed().status = ServerState::Off;
    assert_eq!(pauses_of(&off, &own())[0].items.len(), 1);
    world.edit(|cattle| cattle.hash = hash(2));
    assert_eq!(pauses_of(&world, &own())[0].items.len(), 1);
}

#[test]
fn a_run_of_an_older_copy_that_waited_for_its_server_is_found_too() {
    let mut world = World::intended().with_firewall(seen(Some(mark("l1", 9)), None));
    world.now = at(103);
    let pauses = pauses_of(&world, &own());
    assert_eq!(pauses[0].items[0].run, Some(run_id(1)));
}

#[test]
fn a_second_controller_pauses_starts_and_ends() {
    let world = World::running().with_firewall(ours());
    let beside = Own {
        rival: Some(life("c9")),
        settled: true,
        ..own()
    };
    let pauses = pauses_of(&world, &beside);
    assert_eq!(pauses.len(), 1);
    assert!(pauses[0].starts && pauses[0].ends);
    insta::assert_snapshot!(pauses[0].message, @"another controller keeps this fleet too: `c9` (started 1970-01-21 17:13:20 UTC), as old as this one, `c2` (started 1970-01-21 17:13:20 UTC)");
}

#[test]
fn a_ledger_takes_over_from_the_mark_that_an_operator_saw_and_no_other() {
    let accepted = Own {
        ledger: Some("l2".to_owned()),
        accepted: Some("l0.9".to_owned()),
        ..own()
    };
    let stands = |count| {
        let world = World::dropped().with_firewall(seen(Some(mark("l0", count)), None));
        standing(&accepted, &world.observed, &world.limits.fleet)
    };
    assert_eq!(stands(9), Standing::TakingOver);
    assert!(stands(10).is_lost());
    let world = World::dropped().with_firewall(seen(Some(mark("l0", 9)), Some("c9")));
    assert_eq!(
        world.claims(&accepted, false).as_deref(),
        Some("l2.5 c2"),
        "its own id goes onto the firewall"
    );
    let world = world.knowing(accepted);
    assert_eq!(
        world.verbs(),
        ["enqueue"],
        "starts go on with the next list"
    );
    assert!(world.plan().list_soon);
}

#[test]
fn what_an_older_copy_knows_as_running_is_taken_as_it_is() {
    let mut world = World::booting().with_firewall(seen(Some(mark("l1", 9)), None));
    world.later(5);
    let mut world = world.knowing(own());
    assert_eq!(world.verbs(), ["rejoin"]);
    let told = lifecycle::rejoin(world.rex(), Some("session".to_owned()));
    assert!(told.applied);
    assert!(!lifecycle::rejoin(world.rex(), None).applied, "once");
    // Far beyond its boot deadline and any silence it goes on, and its labels are its own.
    world.now = at(4000);
    world.observed.listed_at = Some(at(4000));
    let labels = cattle_core::labels::of_run(
        world.rex(),
        &"test".parse().unwrap(),
        &std::collections::BTreeMap::new(),
    );
    assert_eq!(labels["ledger-session"], "session");
    world.listed().labels.raw = labels;
    assert_eq!(world.verbs(), [""; 0]);
    let _ = lifecycle::heartbeat(world.rex(), at(4000));
    world.now = at(4000) + SILENCE;
    world.observed.listed_at = Some(world.now);
    assert_eq!(world.verbs(), ["end"], "once it was heard, silence counts");
}

#[test]
fn a_lost_ledger_leaves_orphans_to_who_may_still_hand_over() {
    let mut world = World::running().with_firewall(seen(Some(mark("l0", 9)), None));
    world.ledger = Default::default();
    world.desired.specs.clear();
    let expired = world.listed().labels.expires_at.unwrap();
    world.now = expired + secs(60);
    world.observed.listed_at = Some(world.now);
    let mut world = world.knowing(own());
    assert_eq!(world.verbs(), [""; 0]);
    world.now = expired + secs(120);
    world.observed.listed_at = Some(world.now);
    assert_eq!(world.verbs(), ["reap"]);
}

proptest! {
    #[test]
    fn a_session_survives_its_label(digest: [u8; 32]) {
        let text = cattle_core::labels::session_text(&digest);
        prop_assert!(text.len() <= 63 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let raw = [("ledger-session".to_owned(), text)].into();
        prop_assert_eq!(cattle_core::labels::session(&raw), Some(digest));
    }

    #[test]
    fn no_label_is_a_session_by_chance(text in "[a-z2-7]{0,60}|.{0,20}") {
        let raw = [("ledger-session".to_owned(), text.clone())].into();
        if let Some(digest) = cattle_core::labels::session(&raw) {
            prop_assert_eq!(cattle_core::labels::session_text(&digest), text);
        }
    }
}

/// What an older copy takes for a server that only boots may have done its task since, and be gone.
#[test]
fn a_run_of_an_older_copy_counts_as_begun_before_it_ends_for_anything() {
    let older = seen(Some(mark("l1", 6)), Some("c1"));
    for (what, listed, seconds) in [
        ("listed", true, 30),
        ("gone", false, 30),
        ("late", false, 90_000),
    ] {
        let mut world = World::booting().with_firewall(older.clone());
        world.rex().env_at = None;
        if !listed {
            world.observed.servers.clear();
        }
        world.now += secs(seconds);
        world.observed.listed_at = Some(world.now);
        let mut world = world.knowing(own());
        assert_eq!(world.verbs(), ["rejoin"], "{what}");
        assert!(lifecycle::rejoin(world.rex(), None).applied);
        assert!(!world.verbs().contains(&"rejoin"), "{what}");
        let now = world.now;
        let mut task = assignment(at(90));
        let _ = lifecycle::found_gone(world.rex(), Some(&mut task), now);
        let end = task.ended.unwrap();
        assert!(!end.reopens, "{what}: it does not run twice");
    }
}

/// Whoever reaps by labels, the other controller among them, must spare what was extended.
#[test]
fn a_later_expiry_is_written_beside_a_second_controller_too() {
    let beside = Own {
        rival: Some(life("c9")),
        ..own()
    };
    let mut world = World::running().with_firewall(ours()).knowing(beside);
    let hour = chrono::TimeDelta::hours(1);
    world.rex().expires_at += hour;
    assert_eq!(world.verbs(), ["relabel"]);
    world.rex().expires_at -= hour * 2;
    assert_eq!(
        world.verbs(),
        [""; 0],
        "an earlier one they would correct for ever"
    );
}

/// A directory that is mounted late, and a file that is mended later, were there when the ledger was
/// lost: what is in them may have run before.
#[test]
fn what_cannot_be_read_yet_joins_the_list_of_a_lost_ledger() {
    let mut world = World::dropped().with_firewall(seen(Some(mark("l0", 9)), None));
    let unreadable = RootState::Unreadable("not mounted".to_owned());
    world.desired.roots.insert(ROOT.to_owned(), unreadable);
    let specs = std::mem::take(&mut world.desired.specs);
    let begun = pauses_of(&world, &own()).remove(0);
    assert_eq!(begun.items, []);
    let sentence = begun.sentence();
    assert!(
        sentence.contains(&format!("directory {ROOT} cannot be read yet")),
        "{sentence}"
    );
    let empty = begun.digest();
    world.ledger.pauses.push(begun);
    assert_eq!(pauses_of(&world, &own()), [], "nothing new");
    // Mounted, with one that does not validate.
    world
        .desired
        .roots
        .insert(ROOT.to_owned(), RootState::Readable);
    world.desired.specs = specs.clone();
    let broken = SpecState::Broken(vec![]);
    world = world.with_spec(cattle("max"));
    world.set_spec(broken, &name("max"));
    let next = pauses_of(&world, &own()).remove(0);
    assert_eq!(next.items[0].cattle, name("rex"));
    assert_eq!(next.unread, [Unread::Spec(name("max"))]);
    assert_ne!(next.digest(), empty, "whoever confirms has seen it");
    world.ledger.pauses[0] = next;
    // Mended; and what comes now is new.
    let mut world = world.with_spec(cattle("max")).with_spec(cattle("new"));
    let last = pauses_of(&world, &own()).remove(0);
    let listed: Vec<_> = last.items.iter().map(|item| item.cattle.as_str()).collect();
    assert_eq!(listed, ["rex", "max"]);
    assert_eq!(last.unread, []);
    world.ledger.pauses[0] = last;
    assert_eq!(pauses_of(&world, &own()), []);
}

#[test]
fn a_pause_that_was_ended_tomorrow_keeps_no_second_controller_from_being_told() {
    let mut world = World::running().with_firewall(ours());
    let beside = Own {
        rival: Some(life("c9")),
        settled: true,
        looked_at: Some(world.now),
        ..own()
    };
    let mut ended = pauses_of(&world, &beside).remove(0);
    for (at, begins) in [(world.now + secs(90_000), 1), (world.now, 0)] {
        ended.resumed = Some(Resumed {
            at,
            by: "operator".to_owned(),
            confirmed: false,
        });
        world.ledger.pauses = vec![ended.clone()];
        assert_eq!(pauses_of(&world, &beside).len(), begins, "{at}");
    }
}
