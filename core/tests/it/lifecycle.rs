//! What may happen to a run and its assignment, and what may not.

use cattle_core::{
    clock::Wait,
    ledger::{Assignment, Run},
    lifecycle::{self, Ending, ExtendError, Transition, deadlines, phase_of},
    names::ServerId,
};
use cattle_schemas::{
    event::EventReason,
    status::{EndReason, PendingReason, Phase},
};
use rstest::rstest;

use crate::fixture::*;

fn reasons(transition: &Transition) -> Vec<EventReason> {
    transition.events.iter().map(|note| note.reason).collect()
}

/// Ends the run of `rex` as the store does, with its assignment.
fn end(world: &mut World, ending: &Ending) -> Transition {
    let now = world.now;
    let key = (name("rex"), hash(1));
    let run = world.ledger.runs.get_mut(&run_id(1)).unwrap();
    lifecycle::end(run, world.ledger.assignments.get_mut(&key), ending, now)
}

fn ended(mut world: World, reason: EndReason) -> (Run, Assignment) {
    assert!(end(&mut world, &Ending::new(reason, "said so")).applied);
    (world.rex().clone(), world.task().clone())
}

#[test]
fn a_whole_life_tells_its_story_once() {
    let mut world = World::intended();
    let listed = world.server_of(run_id(1), ServerId(7));
    let server = run_server(&listed);
    let run = world.rex();
    let story = [
        lifecycle::accept_create(run, server.clone()),
        lifecycle::accept_create(run, server),
        lifecycle::mark_booted(run, at(120)),
        lifecycle::mark_booted(run, at(121)),
        lifecycle::env_handed_out(run, at(130)),
        lifecycle::env_handed_out(run, at(131)),
        lifecycle::ready(run, at(132)),
        lifecycle::ready(run, at(133)),
        lifecycle::heartbeat(run, at(147)),
        lifecycle::outcome(run, outcome(0), at(150)),
        lifecycle::outcome(run, outcome(1), at(151)),
    ];
    let told: Vec<_> = story.iter().flat_map(reasons).collect();
    assert_eq!(
        told,
        [
            EventReason::Created,
            EventReason::Booting,
            EventReason::EnvHandedOut,
            EventReason::Started,
            EventReason::Reported
        ]
    );
    assert_eq!(run.env_at, Some(at(130)));
    assert_eq!(run.started_at, Some(at(132)));
    assert!(
        run.outcome.as_ref().unwrap().succeeded(),
        "the first result counts"
    );
}

#[test]
fn an_env_is_handed_out_only_to_a_live_run_that_has_not_started() {
    let refused: [fn() -> World; 3] = [World::running, World::ended, || {
        let mut world = World::booting();
        world.rex().expires_at = at(100);
        world
    }];
    for world in refused {
        let mut world = world();
        let before = world.rex().clone();
        assert!(!lifecycle::env_handed_out(world.rex(), at(100)).applied);
        assert_eq!(*world.rex(), before, "a refused transition changes nothing");
    }
    assert!(lifecycle::env_handed_out(World::intended().rex(), at(100)).applied);
}

#[test]
fn a_guest_without_an_env_reports_nothing() {
    let mut world = World::booting();
    assert!(!lifecycle::ready(world.rex(), at(100)).applied);
    assert!(!lifecycle::heartbeat(world.rex(), at(100)).applied);
    assert!(!lifecycle::outcome(world.rex(), outcome(0), at(100)).applied);
}

#[test]
fn an_ended_run_hears_nothing_more() {
    let mut world = World::ended();
    let before = world.rex().clone();
    let run = world.rex();
    assert!(!lifecycle::ready(run, at(200)).applied);
    assert!(!lifecycle::heartbeat(run, at(200)).applied);
    assert!(!lifecycle::outcome(run, outcome(0), at(200)).applied);
    assert!(!lifecycle::handed_over(run, 1).applied);
    assert!(!lifecycle::hurry(run, secs(0), at(200)).applied);
    assert!(!lifecycle::retry(run, secs(60), at(200)).applied);
    assert_eq!(*run, before);
}

#[test]
fn a_run_ends_once() {
    let mut world = World::running();
    assert!(end(&mut world, &Ending::new(EndReason::Destroyed, "first")).applied);
    assert!(!end(&mut world, &Ending::new(EndReason::TtlExpired, "second")).applied);
    assert_eq!(
        world.rex().ended.as_ref().unwrap().reason,
        EndReason::Destroyed
    );
    assert_eq!(
        world.task().ended.as_ref().unwrap().reason,
        EndReason::Destroyed
    );
}

#[test]
fn a_boot_timeout_is_dropped_when_the_env_was_handed_out_meanwhile() {
    let timeout = Ending {
        unless_env_handed_out: true,
        ..Ending::new(EndReason::BootTimeout, "late")
    };
    let mut world = World::booting();
    let _ = lifecycle::env_handed_out(world.rex(), at(100));
    assert!(!end(&mut world, &timeout).applied);
    assert!(end(&mut World::booting(), &timeout).applied);
}

#[rstest]
#[case(EndReason::Completed)]
#[case(EndReason::TaskFailed)]
#[case(EndReason::TtlExpired)]
#[case(EndReason::GuestLost)]
#[case(EndReason::SpecRemoved)]
#[case(EndReason::SpecChanged)]
#[case(EndReason::Destroyed)]
#[case(EndReason::DeletedExternally)]
#[case(EndReason::BootTimeout)]
fn an_env_that_was_handed_out_uses_the_spec_up(#[case] reason: EndReason) {
    let (_, assignment) = ended(World::running(), reason);
    let end = assignment.ended.unwrap();
    assert_eq!((end.reason, end.reopens), (reason, false));
}

#[rstest]
#[case(EndReason::BootTimeout)]
#[case(EndReason::CreateFailed)]
#[case(EndReason::TtlExpired)]
fn a_run_that_failed_before_leaves_its_spec_to_another(#[case] reason: EndReason) {
    let (_, assignment) = ended(World::booting(), reason);
    assert_eq!(assignment.ended, None);
    assert_eq!(assignment.failed_starts, 1);
    assert_eq!(assignment.not_before.unwrap().until, at(130));
}

#[test]
fn three_runs_at_most_fail_so() {
    let mut world = World::booting();
    world.task().failed_starts = 2;
    let (_, assignment) = ended(world, EndReason::BootTimeout);
    assert_eq!(assignment.ended.unwrap().reason, EndReason::BootTimeout);
}

#[test]
fn each_failure_waits_longer() {
    let waits: Vec<_> = (1..=4).map(|n| deadlines::backoff(n).as_secs()).collect();
    assert_eq!(waits, [30, 120, 480, 1920]);
    assert_eq!(deadlines::backoff(u32::MAX), deadlines::backoff(5));
}

#[rstest]
#[case(EndReason::Destroyed)]
#[case(EndReason::SpecRemoved)]
#[case(EndReason::DeletedExternally)]
#[case(EndReason::TokenContested)]
fn somebodys_will_ends_a_spec_that_never_began(#[case] reason: EndReason) {
    let (_, assignment) = ended(World::booting(), reason);
    assert_eq!(assignment.ended.map(|end| end.reopens), Some(false));
}

#[test]
fn a_spec_changed_before_it_began_may_come_back() {
    let (_, assignment) = ended(World::booting(), EndReason::SpecChanged);
    assert!(assignment.ended.as_ref().unwrap().reopens);
    let (again, told) = lifecycle::enqueue(Some(&assignment), &assignment.requester, at(500));
    assert_eq!(reasons(&told), [EventReason::Queued]);
    let again = again.unwrap();
    assert_eq!((again.queued_at, again.ended), (at(500), None));
}

#[test]
fn what_is_known_is_not_queued_again() {
    for known in [
        World::booting().task().clone(),
        World::ended().task().clone(),
    ] {
        let (changed, told) = lifecycle::enqueue(Some(&known), &known.requester, at(500));
        assert!(changed.is_none() && !told.applied);
    }
}

#[test]
fn a_rerun_starts_over_but_never_beside_a_live_run() {
    let mut world = World::ended();
    world.rex().ended.as_mut().unwrap().hold_until = Some(at(900));
    let mut run = world.rex().clone();
    let told = lifecycle::rerun(world.task(), Some(&mut run), at(200));
    assert_eq!(reasons(&told), [EventReason::Rerun, EventReason::Deleting]);
    assert_eq!(run.kept_until(), None, "its kept server is let go");
    assert_eq!(*world.task(), assignment(at(200)));

    let mut world = World::running();
    let mut run = world.rex().clone();
    assert!(!lifecycle::rerun(world.task(), Some(&mut run), at(200)).applied);
}

#[test]
fn a_rerun_of_what_is_pending_only_frees_it_from_its_backoff() {
    let mut pending = assignment(at(100));
    assert!(!lifecycle::rerun(&mut pending, None, at(200)).applied);
    pending.not_before = Some(Wait::until(at(300), at(100)));
    pending.failed_starts = 2;
    assert!(lifecycle::rerun(&mut pending, None, at(200)).applied);
    assert_eq!(pending, assignment(at(100)));
}

#[test]
fn a_server_of_an_ended_run_is_bound_so_that_it_is_deleted() {
    let mut world = World::intended();
    let listed = world.server_of(run_id(1), ServerId(7));
    let _ = end(&mut world, &Ending::new(EndReason::Destroyed, "x"));
    assert!(lifecycle::accept_create(world.rex(), run_server(&listed)).applied);
    assert_eq!(world.verbs(), ["delete"]);
}

#[test]
fn a_refused_create_of_an_ended_run_leaves_nothing() {
    let mut world = World::intended();
    let _ = end(&mut world, &Ending::new(EndReason::Destroyed, "x"));
    let told = lifecycle::refuse_create(world.rex(), PendingReason::Config, "x", None, at(101));
    assert_eq!(reasons(&told), [EventReason::Gone]);
    assert_eq!(world.rex().gone_at, Some(at(101)));
}

#[test]
fn what_is_the_accounts_is_an_alert() {
    for (reason, told) in [
        (PendingReason::Account, EventReason::Alert),
        (PendingReason::RateLimited, EventReason::CreateRetried),
    ] {
        let mut world = World::intended();
        let refused = lifecycle::refuse_create(world.rex(), reason, "x", Some(at(400)), at(101));
        assert_eq!(reasons(&refused), [told]);
    }
}

#[test]
fn a_refusal_settles_nothing_while_an_earlier_reply_is_missing() {
    let mut world = World::intended();
    assert!(lifecycle::retry(world.rex(), secs(86_400), at(110)).applied);
    let _ = lifecycle::refuse_create(
        world.rex(),
        PendingReason::Config,
        "quota",
        Some(at(120)),
        at(111),
    );
    assert!(
        !world.rex().is_refused(),
        "the first attempt may have made a server"
    );
    let _ = lifecycle::lookup_missed(world.rex(), at(112), at(112));
    assert!(!world.rex().is_refused(), "too young to be settled");
    assert_eq!(world.rex().retry_at.unwrap().until, at(125));
    assert!(lifecycle::lookup_missed(world.rex(), at(125), at(125)).applied);
    assert!(world.rex().is_refused());
}

#[test]
fn a_second_server_is_never_bound() {
    let mut world = World::booting();
    let second = run_server(&world.server_of(run_id(1), ServerId(8)));
    assert!(!lifecycle::adopt(world.rex(), second).applied);
}

#[test]
fn each_attempt_has_its_own_ttl_but_an_earlier_ones_server_keeps_its() {
    let mut world = World::intended();
    let mut server = run_server(&world.server_of(run_id(1), ServerId(7)));
    let run = world.rex();
    let _ = lifecycle::retry(run, secs(86_400), at(400));
    assert_eq!((run.attempt, run.expires_at), (2, at(7600)));
    server.created = Some(at(100));
    let _ = lifecycle::adopt(run, server);
    assert_eq!(run.expires_at, at(7300));
}

#[test]
fn no_further_attempt_once_a_guest_has_its_env() {
    let mut world = World::intended();
    let _ = lifecycle::env_handed_out(world.rex(), at(101));
    assert!(!lifecycle::retry(world.rex(), secs(86_400), at(110)).applied);
}

#[test]
fn nobody_is_said_to_hand_over_from_a_server_that_is_gone() {
    let mut with_a_log = World::handed_over(0);
    with_a_log.rex().outcome.as_mut().unwrap().log_bytes = 100;
    for mut world in [with_a_log, World::running()] {
        let told = lifecycle::found_gone(world.rex(), None, at(200));
        assert_eq!(reasons(&told), [EventReason::Ended, EventReason::Gone]);
    }
}

#[test]
fn a_server_gone_without_our_doing_ends_its_run() {
    let found_gone = |mut world: World, now| {
        let key = (name("rex"), hash(1));
        let run = world.ledger.runs.get_mut(&run_id(1)).unwrap();
        let told = lifecycle::found_gone(run, world.ledger.assignments.get_mut(&key), now);
        assert!(told.applied);
        assert!(run.gone_at.is_some());
        run.ended.as_ref().unwrap().reason
    };
    assert_eq!(
        found_gone(World::running(), at(200)),
        EndReason::DeletedExternally
    );
    assert_eq!(
        found_gone(World::running(), at(7300)),
        EndReason::TtlExpired
    );
    assert_eq!(
        found_gone(World::handed_over(0), at(200)),
        EndReason::Completed
    );
    assert_eq!(
        found_gone(World::handed_over(1), at(200)),
        EndReason::TaskFailed
    );
    assert_eq!(found_gone(World::ended(), at(200)), EndReason::Completed);
}

#[test]
fn a_server_gone_before_it_ran_was_never_made() {
    let mut world = World::created();
    let key = (name("rex"), hash(1));
    let run = world.ledger.runs.get_mut(&run_id(1)).unwrap();
    let _ = lifecycle::found_gone(run, world.ledger.assignments.get_mut(&key), at(130));
    let end = run.ended.clone().unwrap();
    assert_eq!(end.reason, EndReason::CreateFailed);
    insta::assert_snapshot!(end.message, @"Hetzner accepted the create, but its server was gone before it ran");
    assert_eq!(world.task().failed_starts, 1);
}

#[test]
fn a_guest_that_has_called_outweighs_what_its_create_came_to() {
    let mut world = World::created();
    let _ = lifecycle::env_handed_out(world.rex(), at(130));
    assert!(!world.follow(&[failed(CREATE)]).applied);
    assert!(world.rex().is_live());
}

#[test]
fn any_action_that_failed_but_the_start_ends_the_run() {
    for (command, ends) in [
        ("create_server", true),
        ("apply_firewall", true),
        ("", true),
        ("start_server", false),
    ] {
        let mut world = World::created();
        let mut answer = failed(CREATE);
        answer.command = command.to_owned();
        let _ = world.follow(&[answer]);
        assert_eq!(!world.rex().is_live(), ends, "{command}");
    }
}

#[test]
fn a_delete_that_fails_the_same_way_again_and_again_is_told_once() {
    let mut world = World::ended();
    let mut told = |message| {
        reasons(&lifecycle::delete_failed(
            world.rex(),
            message,
            secs(5),
            at(200),
        ))
    };
    assert_eq!(told("locked"), [EventReason::Alert]);
    assert_eq!(told("locked"), []);
    assert_eq!(told("protected"), [EventReason::Alert]);
}

#[test]
fn extending_adds_up_to_the_limit_and_then_says_so() {
    let hour = "1h".parse().unwrap();
    let mut world = World::running();
    let extend = |run: &mut Run| lifecycle::extend(run, hour, secs(10_000), at(200));
    assert!(extend(world.rex()).unwrap().applied);
    assert_eq!(world.rex().expires_at, at(10_100));
    assert_eq!(world.rex().extension, secs(2800));
    let error = extend(world.rex()).unwrap_err();
    insta::assert_snapshot!(error, @"the run already expires at 2026-09-21 17:01:40 UTC, the longest that limits.maxTtl (10000s) allows");
    assert_eq!(extend(World::ended().rex()), Err(ExtendError::Over));
    let mut handing_over = World::running();
    let _ = end(
        &mut handing_over,
        &Ending::new(EndReason::TtlExpired, "its ttl is over"),
    );
    assert_eq!(extend(handing_over.rex()), Err(ExtendError::Over));
}

#[test]
fn a_server_kept_to_its_ttl_is_kept_longer_when_extended() {
    let mut world = World::ended();
    world.rex().ended.as_mut().unwrap().hold_until = Some(at(7300));
    let hour = "1h".parse().unwrap();
    assert!(lifecycle::extend(world.rex(), hour, secs(86_400), at(200)).is_ok());
    assert_eq!(world.rex().kept_until(), Some(at(10_900)));
    assert_eq!(world.verbs(), ["relabel"], "or the reaper takes it");
}

#[test]
fn each_phase_follows_from_the_record() {
    let phase = |mut world: World| {
        let server = world.observed.servers.first().cloned();
        phase_of(world.rex(), server.as_ref())
    };
    assert_eq!(phase(World::intended()), Phase::Provisioning);
    assert_eq!(phase(World::booting()), Phase::Booting);
    assert_eq!(phase(World::running()), Phase::Running);
    assert_eq!(phase(World::handed_over(0)), Phase::Finishing);
    assert_eq!(phase(World::ended()), Phase::Finishing);
    let mut gone = World::ended();
    let _ = lifecycle::mark_gone(gone.rex(), at(200));
    assert_eq!(phase(gone), Phase::Succeeded);
    let mut refused = World::intended();
    let _ = lifecycle::refuse_create(refused.rex(), PendingReason::Config, "x", None, at(100));
    assert_eq!(phase(refused), Phase::Pending);
}

#[test]
fn a_live_run_is_never_gone() {
    assert!(!lifecycle::mark_gone(World::running().rex(), at(200)).applied);
}

#[test]
fn replies_lost_again_and_again_are_waited_for_longer() {
    let mut world = World::intended();
    let run = world.rex();
    let mut waits = Vec::new();
    for _ in 0..4 {
        let _ = lifecycle::lost_reply(run, "timed out", None);
        let retry_at = run.retry_at.unwrap().until;
        waits.push((retry_at - run.posted_at).num_seconds());
        let _ = lifecycle::retry(run, secs(86_400), retry_at);
    }
    assert_eq!(waits, [0, 5, 10, 15]);
    assert_eq!(deadlines::lost_again(1000), secs(60));
}

#[test]
fn a_later_proof_makes_older_lists_old_news() {
    let mut world = World::ended();
    let _ = lifecycle::mark_gone(world.rex(), at(101));
    assert!(lifecycle::mark_gone(world.rex(), at(150)).applied);
    assert_eq!(world.rex().gone_at, Some(at(150)));
    let _ = lifecycle::mark_gone(world.rex(), at(140));
    assert_eq!(world.rex().gone_at, Some(at(150)));
}

#[test]
fn a_create_that_is_refused_again_and_again_waits_longer_but_not_long() {
    let mut world = World::intended();
    let mut wait = |attempt| {
        let run = world.rex();
        run.attempt = attempt;
        let soon = Some(at(202));
        let _ = lifecycle::refuse_create(run, PendingReason::Backoff, "down", soon, at(200));
        (run.retry_at.unwrap().until - at(200)).num_seconds()
    };
    assert_eq!([1, 2, 4, 100].map(&mut wait), [2, 5, 15, 60]);
}
