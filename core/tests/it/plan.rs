//! What is done next, one deviation at a time.

use std::sync::Arc;

use cattle_core::{
    action::Action,
    desired::{Requester, RootState, SpecState},
    ledger::{AssignmentEnd, CreateState},
    lifecycle::{self, deadlines},
    names::ServerId,
    observed::ServerState,
};
use cattle_schemas::{
    spec_file::OnFailure,
    status::{EndReason, PendingReason},
};

use crate::fixture::*;

mod spec {
    use super::*;

    #[test]
    fn a_dropped_spec_is_queued_and_started_in_one_pass() {
        insta::assert_snapshot!(World::dropped().actions().join("\n"), @r"
        enqueue rex: queue it for dir:/specs
        start rex: create a server (cx23 in nbg1, image 123456) for at most 2h
        ");
    }

    #[test]
    fn a_running_cattle_needs_nothing() {
        let plan = World::running().plan();
        assert_eq!(plan.actions, []);
        assert_eq!(plan.waiting, []);
        assert!(!plan.list_soon);
        assert_eq!(plan.next_wake, Some(at(100) + deadlines::SILENCE));
    }

    #[test]
    fn a_broken_spec_starts_nothing_and_says_where() {
        let mut world = World::dropped();
        world.set_spec(broken(), &name("rex"));
        let plan = world.plan();
        assert_eq!(plan.actions, []);
        assert_eq!(plan.waiting[0].reason, PendingReason::SpecInvalid);
        assert!(
            plan.waiting[0]
                .message
                .contains("rex.yaml:5: unknown field `presona`")
        );
    }

    #[test]
    fn a_broken_spec_ends_nothing_until_the_ttl_does() {
        let mut world = World::running();
        world.set_spec(broken(), &name("rex"));
        assert_eq!(world.verbs(), [""; 0]);
        world.later(7200);
        assert_eq!(world.verbs(), ["stop"]);
    }

    #[test]
    fn an_absent_spec_ends_its_run_after_fifteen_seconds_and_not_before() {
        let mut world = World::running();
        world.set_spec(SpecState::Absent { since: at(100) }, &name("rex"));
        world.later(14);
        let plan = world.plan();
        assert_eq!(plan.actions, []);
        assert_eq!(plan.next_wake, Some(at(115)));
        world.later(1);
        assert_eq!(world.verbs(), ["end"]);
        assert!(world.actions()[0].contains("spec-removed"));
    }

    #[test]
    fn a_spec_that_comes_back_in_time_ends_nothing() {
        let mut world = World::running();
        world.set_spec(SpecState::Absent { since: at(100) }, &name("rex"));
        world.later(14);
        let mut world = world.with_spec(cattle("rex"));
        world.later(60);
        assert_eq!(world.verbs(), [""; 0]);
    }

    #[test]
    fn nothing_ends_for_a_directory_that_cannot_be_read() {
        for state in [Some(RootState::Unreadable("gone".to_owned())), None] {
            let mut world = World::running();
            world.set_spec(SpecState::Absent { since: at(0) }, &name("rex"));
            match state {
                Some(state) => world.desired.roots.insert(ROOT.to_owned(), state),
                None => world.desired.roots.remove(ROOT),
            };
            world.later(60);
            assert_eq!(world.verbs(), [""; 0]);
        }
    }

    #[test]
    fn a_spec_this_process_never_saw_is_absent_since_its_first_scan() {
        let mut world = World::running();
        world.desired.specs.clear();
        world.desired.since = Some(at(90));
        assert_eq!(world.verbs(), [""; 0]);
        world.later(5);
        assert_eq!(world.verbs(), ["end"]);
    }

    #[test]
    fn nothing_is_absent_before_the_first_scan() {
        let mut world = World::running();
        world.desired.specs.clear();
        world.desired.since = None;
        world.later(3600);
        assert_eq!(world.verbs(), [""; 0]);
    }

    #[test]
    fn nothing_ends_for_its_spec_while_ends_are_paused() {
        let mut world = World::running();
        world.set_spec(SpecState::Absent { since: at(0) }, &name("rex"));
        world.limits.ends_paused = Some("a directory lost all its specs".to_owned());
        assert_eq!(world.verbs(), [""; 0]);
    }

    #[test]
    fn an_edit_ends_the_run_and_queues_the_next_behind_its_server() {
        let mut world = World::running();
        world.edit(|cattle| cattle.hash = hash(2));
        let plan = world.plan();
        let verbs: Vec<_> = plan.actions.iter().map(Action::verb).collect();
        assert_eq!(verbs, ["enqueue", "end"]);
        assert_eq!(plan.waiting[0].reason, PendingReason::PreviousRun);
    }

    #[test]
    fn after_an_edit_the_new_run_waits_until_the_old_server_is_gone() {
        let mut world = World::ended();
        world.edit(|cattle| cattle.hash = hash(2));
        assert_eq!(world.verbs(), ["enqueue", "delete"]);
        assert_eq!(
            world.waits(),
            [("rex".to_owned(), "previous-run".to_owned())]
        );
        assert!(world.plan().list_soon);
        let _ = lifecycle::mark_gone(world.rex(), at(100));
        assert_eq!(world.verbs(), ["enqueue", "start"]);
    }

    #[test]
    fn an_ended_task_stays_ended_although_its_spec_stands() {
        let mut world = World::ended();
        let _ = lifecycle::mark_gone(world.rex(), at(100));
        let plan = world.plan();
        assert_eq!(plan.actions, []);
        assert_eq!(plan.waiting, []);
        assert_eq!(plan.next_wake, None);
    }

    #[test]
    fn a_pending_spec_that_is_removed_is_closed_and_starts_again_when_it_returns() {
        let mut world = World::dropped();
        world.limits.max_instances = 0;
        world
            .ledger
            .assignments
            .insert((name("rex"), hash(1)), assignment(at(100)));
        world.set_spec(SpecState::Absent { since: at(80) }, &name("rex"));
        let plan = world.plan();
        let [
            Action::Close {
                reason, message, ..
            },
        ] = &plan.actions[..]
        else {
            panic!("{plan:#?}");
        };
        assert_eq!(*reason, EndReason::SpecRemoved);
        let _ = lifecycle::close(world.task(), *reason, message, at(100));
        assert_eq!(world.verbs(), [""; 0]);
        let mut world = world.with_spec(cattle("rex"));
        world.limits.max_instances = 1;
        assert_eq!(world.verbs(), ["enqueue", "start"]);
    }

    #[test]
    fn a_ttl_change_is_followed_in_place_and_shown_on_the_server() {
        let mut world = World::running();
        world.edit(|cattle| cattle.ttl = secs(3600));
        insta::assert_snapshot!(world.actions().join("\n"), @r"
        update 01M3250V000000000000000001: follow its spec in place: ttl 1h, so that it expires at 2026-09-21 15:15:00 UTC
        relabel 01M3250V000000000000000001: set the labels of server 7
        ");
    }

    #[test]
    fn a_shortened_ttl_leaves_a_minute() {
        let mut world = World::running();
        world.later(600);
        world.edit(|cattle| cattle.ttl = secs(60));
        let plan = world.plan();
        let Action::Update { expires_at, .. } = &plan.actions[0] else {
            panic!("{plan:#?}");
        };
        assert_eq!(*expires_at, world.now + secs(60));
        assert_eq!(plan.next_wake, Some(*expires_at));
    }

    #[test]
    fn other_labels_are_put_on_the_server_and_foreign_ones_left_there() {
        let mut world = World::running();
        world
            .listed()
            .labels
            .raw
            .insert("note".to_owned(), "mine".to_owned());
        world
            .listed()
            .labels
            .raw
            .insert("spec.old".to_owned(), "x".to_owned());
        world.edit(|cattle| {
            cattle.labels.insert("team".to_owned(), "docs".to_owned());
        });
        let plan = world.plan();
        let [Action::Update { .. }, Action::Relabel { labels, .. }] = &plan.actions[..] else {
            panic!("{plan:#?}");
        };
        assert_eq!(labels.get("spec.team").map(String::as_str), Some("docs"));
        assert_eq!(labels.get("note").map(String::as_str), Some("mine"));
        assert!(!labels.contains_key("spec.old"));
    }

    #[test]
    fn another_placement_changes_nothing_now() {
        let mut world = World::running();
        world.edit(|cattle| cattle.placement.image = "999".to_owned());
        assert_eq!(world.verbs(), [""; 0]);
    }
}

mod queue {
    use super::*;

    fn crowd(n: u64, requester: &str, max_instances: u32) -> World {
        let mut world = World::empty();
        world.limits.max_instances = max_instances;
        for i in 0..n {
            add(&mut world, &format!("{requester}-{i:03}"), requester, at(i));
        }
        world
    }

    fn add(world: &mut World, text: &str, requester: &str, queued_at: cattle_schemas::Timestamp) {
        world.set_spec(SpecState::Valid(Arc::new(cattle(text))), &name(text));
        let requester = Requester(requester.to_owned());
        world
            .desired
            .specs
            .get_mut(&name(text))
            .unwrap()
            .origin
            .requester = requester.clone();
        let mut assignment = assignment(queued_at);
        assignment.requester = requester;
        world
            .ledger
            .assignments
            .insert((name(text), hash(1)), assignment);
    }

    fn started(world: &World) -> Vec<String> {
        world
            .plan()
            .actions
            .iter()
            .filter_map(|action| match action {
                Action::Start { cattle, .. } => Some(cattle.name.to_string()),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn no_more_start_than_servers_are_allowed_and_the_rest_knows_its_place() {
        let world = crowd(5, "a", 3);
        assert_eq!(started(&world), ["a-000", "a-001", "a-002"]);
        let plan = world.plan();
        let places: Vec<_> = plan
            .waiting
            .iter()
            .map(|w| (w.cattle.as_str(), w.queue_position))
            .collect();
        assert_eq!(places, [("a-003", Some(1)), ("a-004", Some(2))]);
        insta::assert_snapshot!(plan.waiting[0].message, @"3 of 3 servers exist (cattle.hetzner.maxInstances); starts when one is gone");
    }

    #[test]
    fn the_oldest_starts_first() {
        let mut world = crowd(2, "a", 1);
        add(&mut world, "z", "a", at(0) - secs(1));
        assert_eq!(started(&world), ["z"]);
    }

    #[test]
    fn requesters_take_turns() {
        let mut world = crowd(10, "a", 4);
        add(&mut world, "b-000", "b", at(50));
        add(&mut world, "b-001", "b", at(51));
        assert_eq!(started(&world), ["a-000", "b-000", "a-001", "b-001"]);
    }

    #[test]
    fn who_has_fewer_live_runs_is_next_however_long_the_others_wait() {
        let mut world = crowd(10, "a", 2);
        world.limits.max_instances = 2;
        world = world.with_run("a-000", 1);
        add(&mut world, "b-000", "b", at(99));
        assert_eq!(started(&world), ["b-000"]);
    }

    #[test]
    fn an_ended_run_keeps_its_slot_until_its_server_is_gone() {
        let mut world = World::ended().with_spec(cattle("max"));
        world.limits.max_instances = 1;
        assert_eq!(
            world.waits(),
            [("max".to_owned(), "max-instances".to_owned())]
        );
        assert!(world.plan().list_soon);
        let _ = lifecycle::mark_gone(world.rex(), at(100));
        assert_eq!(world.verbs(), ["enqueue", "start"]);
    }

    #[test]
    fn a_server_without_a_run_takes_a_slot() {
        let mut world = World::running();
        world.ledger.runs.clear();
        world.desired.specs.clear();
        world.limits.max_instances = 1;
        let world = world.with_spec(cattle("max"));
        assert_eq!(
            world.waits(),
            [("max".to_owned(), "max-instances".to_owned())]
        );
    }

    #[test]
    fn a_server_listed_before_it_was_proved_gone_takes_none() {
        let mut world = World::ended().with_spec(cattle("max"));
        world.limits.max_instances = 1;
        let _ = lifecycle::mark_gone(world.rex(), at(101));
        world.now = at(101);
        assert_eq!(world.verbs(), ["enqueue", "start"]);
    }

    #[test]
    fn another_fleets_server_takes_none() {
        let mut world = World::running();
        world.ledger = Default::default();
        world.desired.specs.clear();
        world.limits.max_instances = 1;
        world.limits.fleet = "other".parse().unwrap();
        assert_eq!(world.with_spec(cattle("max")).verbs(), ["enqueue", "start"]);
    }

    #[test]
    fn a_requesters_limit_holds_only_its_own() {
        let mut world = crowd(3, "a", 10);
        world.limits.live_runs_per_requester = 2;
        add(&mut world, "b-000", "b", at(50));
        assert_eq!(started(&world), ["a-000", "b-000", "a-001"]);
        assert_eq!(
            world.waits(),
            [("a-002".to_owned(), "requester-limit".to_owned())]
        );
    }

    #[test]
    fn the_hours_creates_run_out_and_come_back() {
        let mut world = crowd(2, "a", 10);
        world.limits.creates_per_hour = 2;
        world.ledger.creates_last_hour = vec![at(10)];
        assert_eq!(started(&world), ["a-000"]);
        let plan = world.plan();
        assert_eq!(plan.waiting[0].reason, PendingReason::CreatesPerHour);
        assert_eq!(plan.next_wake, Some(at(3610)));
        world.now = at(3610);
        world.observed.listed_at = Some(world.now);
        assert_eq!(started(&world).len(), 2);
    }

    #[test]
    fn each_closed_gate_says_which_it_is() {
        type Gate = (fn(&mut World), &'static str, &'static str);
        let gates: [Gate; 4] = [
            (
                |w| w.limits.enabled = false,
                "starts-paused",
                "set cattle.enabled to true",
            ),
            (
                |w| w.limits.starts_paused = Some("lost ledger: `resume`".to_owned()),
                "starts-paused",
                "`resume`",
            ),
            (
                |w| w.observed.listed_at = None,
                "hetzner-unreachable",
                "first list",
            ),
            (
                |w| w.now = at(100) + deadlines::LIST_STALE,
                "hetzner-unreachable",
                "last listed at",
            ),
        ];
        for (close, reason, message) in gates {
            let mut world = World::dropped();
            close(&mut world);
            let plan = world.plan();
            assert_eq!(
                plan.actions.len(),
                1,
                "{reason}: only the place in the queue"
            );
            assert_eq!(plan.waiting[0].reason.as_str(), reason);
            assert!(
                plan.waiting[0].message.contains(message),
                "{}",
                plan.waiting[0].message
            );
        }
    }

    #[test]
    fn what_waited_too_long_ends_as_not_started() {
        let mut world = crowd(1, "a", 0);
        world.now = at(86_399);
        assert_eq!(world.verbs(), [""; 0]);
        assert_eq!(world.plan().next_wake, Some(at(86_400)));
        world.now = at(86_400);
        insta::assert_snapshot!(world.actions().join("\n"), @"close a-000: end it without a server, as not-started: still pending after startWithin (1d)");
    }

    #[test]
    fn a_failed_start_waits_for_its_backoff() {
        let mut world = World::dropped();
        let mut queued = assignment(at(90));
        queued.failed_starts = 1;
        queued.not_before = Some(at(130));
        world
            .ledger
            .assignments
            .insert((name("rex"), hash(1)), queued);
        let plan = world.plan();
        assert_eq!(plan.actions, []);
        assert_eq!(plan.next_wake, Some(at(130)));
        assert!(plan.waiting[0].message.starts_with("1 of 3 runs failed"));
        world.later(30);
        assert_eq!(world.verbs(), ["start"]);
    }

    #[test]
    fn an_ended_assignment_does_not_start() {
        let mut world = World::dropped();
        let mut spent = assignment(at(90));
        spent.ended = Some(AssignmentEnd {
            reason: EndReason::Destroyed,
            at: at(95),
            message: "destroyed".to_owned(),
            reopens: false,
        });
        world
            .ledger
            .assignments
            .insert((name("rex"), hash(1)), spent);
        assert_eq!(world.verbs(), [""; 0]);
    }
}

mod create {
    use super::*;

    #[test]
    fn what_is_in_flight_is_left_alone() {
        let mut world = World::intended();
        world.limits.in_flight.insert(run_id(1));
        assert_eq!(world.verbs(), [""; 0]);
    }

    #[test]
    fn a_create_that_a_crash_cut_off_is_repeated_under_the_same_run() {
        let plan = World::intended().plan();
        assert_eq!(plan.actions, [Action::Retry { run: run_id(1) }]);
        assert!(plan.list_soon);
    }

    #[test]
    fn its_server_is_adopted_where_the_list_shows_it() {
        let mut world = World::intended();
        let server = world.server_of(run_id(1), ServerId(7));
        world.observed.servers.push(server);
        assert_eq!(world.verbs(), ["mark-booted", "adopt"]);
    }

    #[test]
    fn a_lost_create_of_a_paused_fleet_is_looked_for_and_not_repeated() {
        let mut world = World::intended();
        world.limits.starts_paused = Some("paused".to_owned());
        assert_eq!(world.verbs(), [""; 0]);
        world.later(15);
        assert_eq!(world.verbs(), ["look-up"]);
    }

    #[test]
    fn a_refused_create_waits_with_its_reason_and_takes_no_slot() {
        let mut world = World::intended().with_spec(cattle("max"));
        world.limits.max_instances = 1;
        let _ = lifecycle::refuse_create(
            world.rex(),
            PendingReason::OutOfStock,
            "no candidate has stock",
            Some(at(160)),
            at(100),
        );
        let plan = world.plan();
        assert_eq!(plan.actions.last().map(Action::verb), Some("start"));
        assert_eq!(plan.waiting[0].reason, PendingReason::OutOfStock);
        assert!(
            plan.waiting[0]
                .message
                .starts_with("no candidate has stock; next attempt at")
        );
        assert_eq!(plan.next_wake, Some(at(160)));
    }

    #[test]
    fn its_next_attempt_queues_for_a_slot() {
        let mut world = World::intended();
        let _ = lifecycle::refuse_create(
            world.rex(),
            PendingReason::OutOfStock,
            "none",
            Some(at(160)),
            at(100),
        );
        world.later(60);
        assert_eq!(world.verbs(), ["retry"]);
        world.limits.max_instances = 0;
        assert_eq!(
            world.waits(),
            [("rex".to_owned(), "max-instances".to_owned())]
        );
    }

    #[test]
    fn a_run_refused_for_too_long_ends_as_not_started() {
        let mut world = World::intended();
        let _ = lifecycle::refuse_create(
            world.rex(),
            PendingReason::Config,
            "no such image",
            Some(at(90_000)),
            at(100),
        );
        world.later(86_400);
        assert!(
            world.actions()[0].contains("end it as not-started"),
            "{:?}",
            world.actions()
        );
    }

    #[test]
    fn a_server_found_off_before_its_env_is_powered_on_once() {
        let mut world = World::booting();
        world.listed().status = ServerState::Off;
        assert_eq!(world.verbs(), ["power-on"]);
        let _ = lifecycle::powered_on(world.rex(), at(100));
        assert_eq!(world.verbs(), [""; 0]);
    }

    #[test]
    fn a_guest_that_never_calls_times_out_unless_it_has_its_env_by_then() {
        let mut world = World::booting();
        world.later(599);
        assert_eq!(world.verbs(), [""; 0]);
        world.later(1);
        let plan = world.plan();
        let [
            Action::End {
                reason: EndReason::BootTimeout,
                unless_env_handed_out: true,
                ..
            },
        ] = plan.actions[..]
        else {
            panic!("{plan:#?}");
        };
    }

    #[test]
    fn no_guest_times_out_while_none_can_be_heard() {
        let mut world = World::booting();
        world.later(3600);
        world.limits.guests_heard_since = None;
        assert_eq!(world.verbs(), [""; 0]);
        world.limits.guests_heard_since = Some(world.now);
        assert_eq!(world.verbs(), [""; 0]);
        world.later(180);
        assert_eq!(world.verbs(), ["end"]);
    }
}

mod ends {
    use super::*;

    fn end_of(world: &World) -> (EndReason, Option<cattle_schemas::Timestamp>) {
        let plan = world.plan();
        match &plan.actions[..] {
            [
                Action::End {
                    reason, hold_until, ..
                },
            ] => (*reason, *hold_until),
            other => panic!("{other:#?}"),
        }
    }

    #[test]
    fn a_result_ends_the_run() {
        assert_eq!(end_of(&World::handed_over(0)), (EndReason::Completed, None));
        assert_eq!(
            end_of(&World::handed_over(1)),
            (EndReason::TaskFailed, None)
        );
    }

    #[test]
    fn a_result_counts_before_a_removed_spec() {
        let mut world = World::handed_over(0);
        world.set_spec(SpecState::Absent { since: at(0) }, &name("rex"));
        assert_eq!(end_of(&world).0, EndReason::Completed);
    }

    #[test]
    fn a_failed_task_is_held_where_its_spec_says_so_but_not_beyond_its_ttl() {
        let mut world = World::handed_over(1);
        world.rex().spec.on_failure = OnFailure::Hold("30m".parse().unwrap());
        world.edit(|cattle| cattle.on_failure = OnFailure::Hold("30m".parse().unwrap()));
        assert_eq!(end_of(&world), (EndReason::TaskFailed, Some(at(1900))));
        world.rex().expires_at = at(700);
        assert_eq!(end_of(&world), (EndReason::TaskFailed, Some(at(700))));
    }

    #[test]
    fn without_auto_shutdown_the_server_stays_until_its_ttl() {
        let mut world = World::handed_over(0);
        world.rex().spec.auto_shutdown = false;
        assert_eq!(end_of(&world), (EndReason::Completed, Some(at(7300))));
    }

    #[test]
    fn a_kept_server_goes_at_its_time_or_when_its_spec_does() {
        let mut world = World::ended();
        world.rex().ended.as_mut().unwrap().hold_until = Some(at(1000));
        let plan = world.plan();
        assert_eq!(plan.actions, []);
        assert_eq!(plan.next_wake, Some(at(1000)));
        world.set_spec(SpecState::Absent { since: at(80) }, &name("rex"));
        assert_eq!(world.verbs(), ["release"]);
        world.limits.ends_paused = Some("paused".to_owned());
        assert_eq!(world.verbs(), [""; 0]);
        world.later(900);
        assert_eq!(world.verbs(), ["delete"]);
    }

    #[test]
    fn at_expiry_a_started_guest_gets_its_grace() {
        let mut world = World::running();
        world.later(7200);
        let plan = world.plan();
        let [
            Action::Stop {
                reason, message, ..
            },
        ] = &plan.actions[..]
        else {
            panic!("{plan:#?}");
        };
        let _ = lifecycle::stop(world.rex(), *reason, message, at(7300));
        let plan = world.plan();
        assert_eq!(plan.actions, []);
        assert_eq!(plan.next_wake, Some(at(7300) + deadlines::HANDOVER));
        world.later(20);
        assert_eq!(end_of(&world).0, EndReason::TtlExpired);
    }

    #[test]
    fn what_it_hands_over_within_the_grace_ends_it_at_once() {
        let mut world = World::running();
        let _ = lifecycle::stop(
            world.rex(),
            EndReason::TtlExpired,
            "its ttl is over",
            at(100),
        );
        let _ = lifecycle::outcome(world.rex(), outcome(0), at(100));
        assert_eq!(end_of(&world).0, EndReason::TtlExpired);
    }

    #[test]
    fn at_expiry_a_guest_that_has_not_started_ends_at_once() {
        let mut world = World::booting();
        world.rex().expires_at = at(100);
        let key = "expires-at".to_owned();
        world
            .listed()
            .labels
            .raw
            .insert(key, at(100).timestamp().to_string());
        assert_eq!(end_of(&world).0, EndReason::TtlExpired);
    }

    #[test]
    fn a_server_off_after_its_env_has_lost_its_guest() {
        let mut world = World::running();
        world.listed().status = ServerState::Off;
        assert_eq!(
            world.verbs(),
            [""; 0],
            "the list is not newer than the guest's last word"
        );
        world.later(2);
        assert_eq!(end_of(&world).0, EndReason::GuestLost);
    }

    #[test]
    fn silence_ends_a_run_only_while_guests_can_be_heard() {
        let mut world = World::running();
        world.now += deadlines::SILENCE;
        world.observed.listed_at = Some(world.now);
        assert_eq!(end_of(&world).0, EndReason::GuestLost);
        world.limits.guests_heard_since = Some(world.now);
        assert_eq!(world.verbs(), [""; 0]);
        world.limits.guests_heard_since = None;
        assert_eq!(world.verbs(), [""; 0]);
    }

    #[test]
    fn an_ended_runs_server_is_deleted_and_again_after_a_failure() {
        let mut world = World::ended();
        assert_eq!(world.verbs(), ["delete"]);
        world.limits.in_flight.insert(run_id(1));
        assert_eq!(world.verbs(), [""; 0]);
        world.limits.in_flight.clear();
        let _ = lifecycle::delete_failed(world.rex(), "protected", at(130));
        assert_eq!(world.verbs(), [""; 0]);
        assert_eq!(world.plan().next_wake, Some(at(130)));
        world.later(30);
        assert_eq!(world.verbs(), ["delete"]);
    }

    #[test]
    fn an_ended_run_with_an_unsettled_create_is_looked_for() {
        let mut world = World::intended();
        let ending = lifecycle::Ending::new(EndReason::Destroyed, "destroyed");
        let _ = lifecycle::end(world.rex(), None, &ending, at(100));
        world.task().ended = Some(AssignmentEnd {
            reason: EndReason::Destroyed,
            at: at(100),
            message: String::new(),
            reopens: false,
        });
        assert_eq!(world.verbs(), [""; 0]);
        assert_eq!(world.plan().next_wake, Some(at(115)));
        world.later(15);
        assert_eq!(world.verbs(), ["look-up"]);
        assert!(lifecycle::lookup_missed(world.rex(), at(115), at(115)).applied);
        assert_eq!(world.verbs(), [""; 0]);
        assert_eq!(world.rex().create, CreateState::Refused);
        assert!(world.rex().gone_at.is_some());
    }

    #[test]
    fn a_server_that_turns_up_after_its_run_was_gone_is_deleted() {
        let mut world = World::ended();
        let _ = lifecycle::mark_gone(world.rex(), at(101));
        world.later(5);
        assert_eq!(world.verbs(), ["delete"]);
    }
}

mod absence {
    use super::*;

    #[test]
    fn a_server_missing_from_a_newer_list_is_asked_for_and_not_ended() {
        let mut world = World::running();
        world.observed.servers.clear();
        assert_eq!(
            world.verbs(),
            [""; 0],
            "the list is older than what is known"
        );
        world.later(5);
        assert_eq!(world.verbs(), ["confirm-gone"]);
    }

    #[test]
    fn nothing_is_concluded_before_the_first_list() {
        let mut world = World::running();
        world.observed = Default::default();
        assert_eq!(world.verbs(), [""; 0]);
    }

    #[test]
    fn a_server_that_lost_its_labels_is_still_its_runs() {
        let mut world = World::running();
        world.listed().labels = Default::default();
        world.later(5);
        assert_eq!(world.verbs(), ["relabel"]);
    }
}

mod orphans {
    use super::*;

    /// A running server whose run the ledger lost.
    fn lost_ledger() -> World {
        let mut world = World::running();
        world.ledger = Default::default();
        world
    }

    #[test]
    fn a_server_whose_spec_stands_is_taken_over_and_nothing_starts_beside_it() {
        assert_eq!(lost_ledger().verbs(), ["enqueue", "adopt"]);
    }

    #[test]
    fn one_that_is_not_desired_is_left_to_its_expiry() {
        let mut world = lost_ledger();
        world.desired.specs.clear();
        let plan = world.plan();
        assert_eq!(plan.actions, []);
        assert_eq!(plan.next_wake, Some(at(7300)));
        world.later(7200);
        assert_eq!(world.verbs(), ["reap"]);
    }

    #[test]
    fn one_of_another_hash_keeps_its_name_from_starting() {
        let mut world = lost_ledger();
        world.edit(|cattle| cattle.hash = hash(2));
        assert_eq!(world.verbs(), ["enqueue"]);
        let plan = world.plan();
        assert_eq!(plan.waiting[0].reason, PendingReason::PreviousRun);
        assert!(plan.waiting[0].message.contains("is not in the ledger"));
    }

    #[test]
    fn one_of_an_ended_task_is_not_taken_over() {
        let mut world = World::ended();
        world.ledger.runs.clear();
        assert_eq!(world.verbs(), [""; 0]);
    }

    #[test]
    fn one_renamed_by_hand_is_not_taken_over() {
        let mut world = lost_ledger();
        world.listed().name = "cattle-rex-other".to_owned();
        assert_eq!(world.verbs(), ["enqueue"]);
    }

    #[test]
    fn what_another_tool_has_marked_is_never_touched() {
        let mut world = lost_ledger();
        world
            .listed()
            .labels
            .raw
            .insert("apricote.de/created-by".to_owned(), "x".to_owned());
        world.later(10_000);
        assert_eq!(world.verbs(), ["enqueue", "start"]);
    }

    #[test]
    fn a_second_server_of_a_live_run_is_left_to_its_expiry() {
        let mut world = World::running();
        let mut second = world.server_of(run_id(1), ServerId(8));
        second.labels.expires_at = Some(at(200));
        world.observed.servers.push(second);
        assert_eq!(world.verbs(), [""; 0]);
        world.later(100);
        assert_eq!(world.verbs(), ["reap"]);
    }
}
