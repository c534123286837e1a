//! May this server be deleted? Each row deviates from a server and a run of ours.

use cattle_core::{
    labels,
    ledger::Run,
    lifecycle::{self, Ending},
    names::{FleetName, ServerId},
    observed::ObservedServer,
    ownership::{NotMade, Owner, Purpose, Spared, made_by, may_delete, owner},
};
use cattle_schemas::status::EndReason;

use crate::fixture::*;

fn fleet() -> FleetName {
    "test".parse().unwrap()
}

/// What somebody did to the labels.
#[derive(Clone, Copy, Debug)]
enum Labels {
    AsWritten,
    Stripped,
    /// One is gone, so that the selector finds it no more.
    Without(&'static str),
    With(&'static str, &'static str),
    /// All of ours are gone, and another owner's are there.
    Only(&'static str, &'static str),
}

const OTHERS: [Labels; 9] = [
    Labels::With("apricote.de/created-by", "hcloud-upload-image"),
    Labels::With("managed-by", "terraform"),
    Labels::With("fleet", "other"),
    Labels::With("cattle", "false"),
    Labels::Only("apricote.de/created-by", ""),
    Labels::Only("managed-by", "terraform"),
    Labels::Only("managed-by", ""),
    Labels::Only("fleet", "other"),
    Labels::Only("cattle", "no"),
];

fn label(server: &mut ObservedServer, what: Labels) {
    let mut raw = server.labels.raw.clone();
    match what {
        Labels::AsWritten => {}
        Labels::Stripped => raw.clear(),
        Labels::Without(key) => drop(raw.remove(key)),
        Labels::Only(key, value) => {
            raw.clear();
            raw.insert(key.to_owned(), value.to_owned());
        }
        Labels::With(key, value) => drop(raw.insert(key.to_owned(), value.to_owned())),
    }
    server.labels = labels::decode(&raw, server.created, lifetimes(7200));
}

/// A run, and the server that its create made.
fn ours(ended: bool, bound: bool) -> (Run, ObservedServer) {
    let mut world = World::running();
    let server = world.observed.servers[0].clone();
    let run = world.rex();
    if ended {
        let ending = Ending::new(EndReason::Destroyed, "by operator");
        let _ = lifecycle::end(run, None, &ending, at(100));
    }
    if !bound {
        run.server = None;
    }
    (run.clone(), server)
}

fn over(run: &Run, server: &ObservedServer) -> Result<(), Spared> {
    let now = at(200);
    may_delete(server, Some(&fleet()), Purpose::Over { run, now })
}

fn expired(run: Option<&Run>, server: &ObservedServer, by: u64) -> Result<(), Spared> {
    may_delete(server, Some(&fleet()), Purpose::Expired { run, by: at(by) })
}

fn stop(server: &ObservedServer) -> Result<(), Spared> {
    may_delete(server, Some(&fleet()), Purpose::Stop)
}

#[test]
fn whose_a_server_is_is_on_its_labels() {
    let of = |what| {
        let (_, mut server) = ours(false, true);
        label(&mut server, what);
        owner(&server.labels.raw, Some(&fleet()))
    };
    assert_eq!(of(Labels::AsWritten), Owner::Ours);
    assert_eq!(of(Labels::With("team", "docs")), Owner::Ours);
    assert_eq!(of(Labels::Stripped), Owner::Nobody);
    assert_eq!(of(Labels::Only("team", "docs")), Owner::Nobody);
    for key in ["managed-by", "cattle", "fleet"] {
        assert_eq!(of(Labels::Without(key)), Owner::Nobody, "{key}");
    }
    for other in OTHERS {
        let owner = of(other);
        assert!(matches!(owner, Owner::Other(_)), "{other:?}: {owner:?}");
    }
    assert_eq!(
        of(Labels::With("managed-by", "terraform")),
        Owner::Other("managed-by=terraform".to_owned())
    );
    // Another fleet's cattle is cattle of any fleet.
    let (_, mut server) = ours(false, true);
    label(&mut server, Labels::With("fleet", "other"));
    assert_eq!(owner(&server.labels.raw, None), Owner::Ours);
}

#[test]
fn what_another_owner_has_marked_is_deleted_for_no_purpose() {
    for other in OTHERS {
        for bound in [true, false] {
            let (run, mut server) = ours(true, bound);
            label(&mut server, other);
            let refused = [
                over(&run, &server),
                expired(None, &server, 1_000_000),
                expired(Some(&run), &server, 1_000_000),
                stop(&server),
            ];
            for verdict in refused {
                let spared = verdict.unwrap_err();
                assert!(matches!(spared, Spared::Other(_)), "{other:?}: {spared}");
            }
        }
    }
}

#[test]
fn the_server_of_a_run_that_is_over_goes_whatever_became_of_its_labels_and_name() {
    let labels = [
        Labels::AsWritten,
        Labels::Stripped,
        Labels::Without("fleet"),
        Labels::With("run", "01M3250V00000000000000000Z"),
    ];
    for what in labels {
        let (run, mut server) = ours(true, true);
        label(&mut server, what);
        server.name = "renamed".to_owned();
        assert_eq!(over(&run, &server), Ok(()), "{what:?}");
        let (run, _) = ours(false, true);
        assert_eq!(over(&run, &server), Err(Spared::Live(run.id)), "{what:?}");
    }
}

#[test]
fn a_kept_server_stays_until_its_time() {
    let (mut run, server) = ours(true, true);
    run.ended.as_mut().unwrap().hold_until = Some(at(300));
    assert_eq!(over(&run, &server), Err(Spared::Kept(at(300))));
    assert_eq!(
        expired(Some(&run), &server, 250),
        Err(Spared::Kept(at(300)))
    );
    run.ended.as_mut().unwrap().hold_until = Some(at(200));
    assert_eq!(over(&run, &server), Ok(()));
}

#[test]
fn a_server_that_the_ledger_does_not_have_goes_with_the_run_on_its_label_or_in_its_name() {
    let (run, server) = ours(true, false);
    let spared = |change: &dyn Fn(&mut ObservedServer)| {
        let mut server = server.clone();
        change(&mut server);
        over(&run, &server).err()
    };
    assert_eq!(spared(&|_| {}), None);
    assert_eq!(spared(&|it| it.name = "renamed".to_owned()), None);
    assert_eq!(spared(&|it| label(it, Labels::Stripped)), None);
    let unmarked = Some(Spared::Unmarked);
    assert_eq!(
        spared(&|it| {
            label(it, Labels::Stripped);
            it.name = "renamed".to_owned();
        }),
        unmarked
    );
    assert_eq!(
        spared(&|it| label(it, Labels::With("run", "01M3250V00000000000000000Z"))),
        unmarked
    );
    // One beside the run's own: it carries the label of a run that is over.
    let (run, _) = ours(true, true);
    let mut second = server.clone();
    second.id = ServerId(8);
    assert_eq!(over(&run, &second), Ok(()));
    label(&mut second, Labels::Stripped);
    assert_eq!(over(&run, &second), unmarked.map_or(Ok(()), Err));
}

#[test]
fn what_a_create_made_is_told_by_label_or_by_name_and_time() {
    let (run, server) = ours(false, false);
    let verdict = |change: &dyn Fn(&mut ObservedServer)| {
        let mut server = server.clone();
        change(&mut server);
        made_by(&server, &run, &fleet())
    };
    assert_eq!(verdict(&|_| {}), Ok(()));
    // By its label it is, whatever its name and its age are said to be.
    assert_eq!(
        verdict(&|it| {
            it.name = "renamed".to_owned();
            it.created = at(0) - secs(86_400);
        }),
        Ok(())
    );
    let stripped = |it: &mut ObservedServer| label(it, Labels::Stripped);
    assert_eq!(verdict(&stripped), Ok(()));
    assert_eq!(
        verdict(&|it| label(it, Labels::With("run", "unreadable"))),
        Ok(())
    );
    assert_eq!(
        verdict(&|it| {
            stripped(it);
            it.created = run.created_at - secs(60);
        }),
        Ok(()),
        "two clocks differ"
    );
    assert_eq!(
        verdict(&|it| {
            stripped(it);
            it.created = run.created_at - secs(61);
        }),
        Err(NotMade::Older)
    );
    assert_eq!(
        verdict(&|it| {
            stripped(it);
            it.name.push('x');
        }),
        Err(NotMade::Unnamed)
    );
    assert_eq!(
        verdict(&|it| label(it, Labels::With("run", "01M3250V00000000000000000Z"))),
        Err(NotMade::Unnamed)
    );
    for other in OTHERS {
        let refused = verdict(&|it| label(it, other)).unwrap_err();
        assert!(matches!(refused, NotMade::Other(_)), "{other:?}: {refused}");
    }
    let (bound, _) = ours(false, true);
    let mut second = server.clone();
    second.id = ServerId(8);
    assert_eq!(made_by(&second, &bound, &fleet()), Err(NotMade::Second));
}

#[test]
fn a_run_that_was_retried_has_what_its_first_attempt_made() {
    let (mut run, mut server) = ours(false, false);
    run.posted_at = at(900);
    run.attempt = 4;
    label(&mut server, Labels::Stripped);
    assert_eq!(made_by(&server, &run, &fleet()), Ok(()));
}

#[test]
fn what_no_run_stands_behind_goes_when_it_expires() {
    let (_, server) = ours(true, true);
    assert_eq!(expired(None, &server, 7_299), Err(Spared::Early(at(7_300))));
    assert_eq!(expired(None, &server, 7_300), Ok(()));
    for what in [Labels::Stripped, Labels::Without("fleet")] {
        let mut server = server.clone();
        label(&mut server, what);
        assert_eq!(expired(None, &server, 1_000_000), Err(Spared::Unmarked));
    }
}

#[test]
fn what_expires_is_no_live_runs_but_a_second_one_is() {
    for bound in [true, false] {
        // Its label says less than the ledger, which counts.
        let (run, mut server) = ours(false, bound);
        label(&mut server, Labels::With("expires-at", "1"));
        let live = Err(Spared::Live(run.id));
        assert_eq!(expired(Some(&run), &server, 7_299), live);
        assert_eq!(expired(Some(&run), &server, 7_300), Ok(()));
        label(&mut server, Labels::Stripped);
        let by_id = if bound { Ok(()) } else { Err(Spared::Unmarked) };
        assert_eq!(expired(Some(&run), &server, 7_300), by_id);
    }
    let (run, mut second) = ours(false, true);
    second.id = ServerId(8);
    assert_eq!(
        expired(Some(&run), &second, 7_299),
        Err(Spared::Early(at(7_300)))
    );
    assert_eq!(expired(Some(&run), &second, 7_300), Ok(()));
}

#[test]
fn a_stop_takes_everything_that_is_marked_ours_and_nothing_else() {
    let (_, server) = ours(false, true);
    assert_eq!(stop(&server), Ok(()));
    let mut stripped = server.clone();
    label(&mut stripped, Labels::Stripped);
    assert_eq!(stop(&stripped), Err(Spared::Unmarked));
}

#[test]
fn a_run_keeps_its_server_through_a_new_name_of_its_fleet() {
    let renamed: FleetName = "renamed".parse().unwrap();
    let (mut run, mut server) = ours(true, true);
    run.fleet = Some(fleet());
    let now = at(200);
    let over = |run: &Run, server: &ObservedServer| {
        may_delete(server, Some(&renamed), Purpose::Over { run, now })
    };
    assert_eq!(over(&run, &server), Ok(()));
    let repaired = labels::repair(&run, &server.labels.raw, &renamed, &Default::default());
    assert_eq!(repaired.unwrap()["fleet"], "renamed");
    label(&mut server, Labels::With("fleet", "other"));
    assert_eq!(
        over(&run, &server),
        Err(Spared::Other("fleet=other".to_owned()))
    );
    assert_eq!(
        labels::repair(&run, &server.labels.raw, &renamed, &Default::default()),
        None
    );
}
