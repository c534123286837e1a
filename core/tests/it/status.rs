//! What is said about a cattle, as people and programs read it.

use cattle_core::{
    account::{
        Heard::{self, Read, Written},
        Refusal::{self, ReadOnly, Unauthorized},
        Token,
    },
    catalogue::{Catalogue, ImageAnswer},
    desired::{RootState, SpecState},
    lifecycle::{self, Ending},
    ownership,
    status::{self, Known},
};
use cattle_schemas::status::{
    CattleStatus, Condition, ConditionType, EndReason, PendingReason, Phase,
};

use crate::fixture::*;

fn status_of(world: &World, text: &str) -> CattleStatus {
    let name = name(text);
    let plan = world.plan();
    let mut runs: Vec<_> = world
        .ledger
        .runs
        .values()
        .filter(|run| run.cattle == name)
        .collect();
    runs.reverse();
    let latest = runs.first();
    let entry = world.desired.specs.get(&name);
    let of_spec = entry.and_then(|entry| match &entry.state {
        SpecState::Valid(cattle) => Some(cattle.hash.clone()),
        _ => None,
    });
    let key = of_spec
        .or(latest.map(|run| run.hash.clone()))
        .map(|hash| (name.clone(), hash));
    let server = latest.and_then(|run| {
        let bound = run.server.as_ref()?.id;
        world
            .observed
            .servers
            .iter()
            .find(|server| server.id == bound)
    });
    let mut catalogue = Catalogue::clone(&world.limits.catalogue);
    catalogue.currency = "EUR".to_owned();
    status::cattle_status(&Known {
        name: &name,
        entry,
        runs: &runs,
        assignment: key.and_then(|key| world.ledger.assignments.get(&key)),
        waiting: plan.waiting.iter().find(|waiting| waiting.cattle == name),
        server,
        duplicates: &latest
            .and_then(|run| ownership::duplicates(&world.observed, &world.ledger).remove(&run.id))
            .unwrap_or_default(),
        catalogue: &catalogue,
        now: world.now,
    })
}

fn condition(status: &CattleStatus, kind: ConditionType) -> Option<&Condition> {
    status
        .conditions
        .iter()
        .find(|condition| condition.kind == kind)
}

#[test]
fn a_running_cattle_in_full() {
    let mut world = World::running();
    world.later(60);
    insta::assert_json_snapshot!(status_of(&world, "rex"), @r#"
    {
      "name": "rex",
      "phase": "Running",
      "conditions": [
        {
          "type": "SpecValid",
          "status": true,
          "reason": "valid",
          "message": ""
        }
      ],
      "run": {
        "run": "01M3250V000000000000000001",
        "phase": "Running",
        "attempt": 1,
        "server": {
          "id": 7,
          "name": "cattle-rex-000001",
          "status": "running",
          "serverType": "cx23",
          "location": "nbg1",
          "ipv4": "192.0.2.1"
        },
        "createdAt": "2026-09-21T14:15:00Z",
        "bootedAt": "2026-09-21T14:15:00Z",
        "startedAt": "2026-09-21T14:15:00Z",
        "lastSeenAt": "2026-09-21T14:15:59Z",
        "expiresAt": "2026-09-21T16:15:00Z",
        "cost": {
          "amount": "0.0096",
          "server": "0.0088",
          "ipv4": "0.0008",
          "hourly": "0.0096",
          "currency": "EUR",
          "startedHours": 1
        }
      },
      "spec": {
        "persona": "rex",
        "taskId": "rex",
        "model": "zai/glm-4.7",
        "ttl": "2h",
        "specHash": "010101010101"
      },
      "origin": {
        "path": "rex.yaml",
        "requester": "dir:/specs"
      },
      "requester": "dir:/specs"
    }
    "#);
}

#[test]
fn a_pending_one_says_why_and_where_it_stands() {
    let mut world = World::dropped();
    world.limits.max_instances = 0;
    let status = status_of(&world, "rex");
    assert_eq!(status.phase, Phase::Pending);
    assert_eq!(status.reason.as_deref(), Some("max-instances"));
    assert_eq!(status.queue_position, Some(1));
    assert!(status.message.unwrap().contains("0 of 0 servers"));
}

#[test]
fn one_that_the_plan_has_not_seen_is_queued() {
    let status = status_of(&World::dropped(), "rex");
    assert_eq!(
        (status.phase, status.reason.as_deref()),
        (Phase::Pending, Some("queued"))
    );
}

#[test]
fn a_live_vm_with_a_broken_spec_says_the_line() {
    let mut world = World::running();
    world.set_spec(broken(), &name("rex"));
    let status = status_of(&world, "rex");
    assert_eq!(status.phase, Phase::Running);
    let valid = condition(&status, ConditionType::SpecValid).unwrap();
    assert!(!valid.status);
    assert_eq!(valid.message, "invalid, line 5: unknown field `presona`");
    assert_eq!(status.diagnostics.len(), 1);
}

#[test]
fn one_that_never_started_with_a_broken_spec_is_pending() {
    let mut world = World::dropped();
    world.set_spec(broken(), &name("rex"));
    let status = status_of(&world, "rex");
    assert_eq!(
        (status.phase, status.reason.as_deref()),
        (Phase::Pending, Some("spec-invalid"))
    );
}

#[test]
fn an_ended_one_says_how() {
    let mut world = World::ended();
    let status = status_of(&world, "rex");
    assert_eq!(
        (status.phase, status.reason.as_deref()),
        (Phase::Finishing, Some("completed"))
    );
    let _ = lifecycle::delete_failed(world.rex(), "protected", secs(30), at(110));
    assert_eq!(
        status_of(&world, "rex").message.as_deref(),
        Some("done; its server is still there: protected")
    );
    let _ = lifecycle::mark_gone(world.rex(), at(200));
    let status = status_of(&world, "rex");
    assert_eq!(status.message.as_deref(), Some("done"));
    assert_eq!(
        (status.phase, status.reason.as_deref()),
        (Phase::Succeeded, Some("completed"))
    );
    assert_eq!(status.run.unwrap().expires_at, None);
}

#[test]
fn one_destroyed_before_it_started_is_canceled() {
    let mut world = World::dropped();
    let mut spent = assignment(at(100));
    let _ = lifecycle::close(
        &mut spent,
        EndReason::Destroyed,
        "destroyed by operator",
        at(100),
    );
    world
        .ledger
        .assignments
        .insert((name("rex"), hash(1)), spent);
    let status = status_of(&world, "rex");
    assert_eq!(
        (status.phase, status.reason.as_deref()),
        (Phase::Canceled, Some("destroyed"))
    );
}

#[test]
fn a_rerun_waits_for_its_old_server_and_says_so() {
    let mut world = World::ended();
    let mut run = world.rex().clone();
    let _ = lifecycle::rerun(world.task(), Some(&mut run), at(100));
    let status = status_of(&world, "rex");
    assert_eq!(
        (status.phase, status.reason.as_deref()),
        (Phase::Pending, Some("previous-run"))
    );
}

#[test]
fn a_failed_start_says_when_the_next_is_due() {
    let mut world = World::intended();
    let key = (name("rex"), hash(1));
    let ending = Ending::new(EndReason::CreateFailed, "no server could be made");
    let run = world.ledger.runs.get_mut(&run_id(1)).unwrap();
    let _ = lifecycle::end(
        run,
        world.ledger.assignments.get_mut(&key),
        &ending,
        at(100),
    );
    let _ = lifecycle::mark_gone(world.rex(), at(100));
    let status = status_of(&world, "rex");
    assert_eq!(
        (status.phase, status.reason.as_deref()),
        (Phase::Pending, Some("backoff"))
    );
}

#[test]
fn a_refused_create_is_pending_with_its_cause() {
    let mut world = World::intended();
    let _ = lifecycle::refuse_create(
        world.rex(),
        PendingReason::Backoff,
        "Hetzner is busy",
        Some(at(160)),
        at(100),
    );
    let status = status_of(&world, "rex");
    assert_eq!(
        (status.phase, status.reason.as_deref()),
        (Phase::Pending, Some("backoff"))
    );
    assert!(status.message.unwrap().contains("Hetzner is busy"));
}

#[test]
fn a_run_that_differs_from_its_spec_has_drifted() {
    let mut world = World::running();
    world.edit(|cattle| cattle.placement.image = "999".to_owned());
    let status = status_of(&world, "rex");
    insta::assert_snapshot!(
        condition(&status, ConditionType::Drifted).unwrap().message,
        @"the run has image 123456 instead of 999; the next run follows its spec"
    );
    assert!(condition(&status_of(&World::running(), "rex"), ConditionType::Drifted).is_none());
    let mut nowhere = World::intended();
    let refused = PendingReason::Config;
    let _ = lifecycle::refuse_create(nowhere.rex(), refused, "no such image", None, at(100));
    nowhere.edit(|cattle| cattle.placement.image = "999".to_owned());
    let status = status_of(&nowhere, "rex");
    assert!(
        condition(&status, ConditionType::Drifted).is_none(),
        "its next attempt follows it"
    );
}

#[test]
fn a_kept_server_says_until_when() {
    let mut world = World::ended();
    world.rex().ended.as_mut().unwrap().hold_until = Some(at(1000));
    let kept = |world: &World| condition(&status_of(world, "rex"), ConditionType::Kept).cloned();
    let held = kept(&world).unwrap();
    assert_eq!(held.reason, "on-failure-hold");
    insta::assert_snapshot!(held.message, @"its server is kept, and billed, until 2026-09-21 14:30:00 UTC");
    world.rex().spec.auto_shutdown = false;
    assert_eq!(kept(&world).unwrap().reason, "auto-shutdown-off");
    world.now = at(1000);
    assert_eq!(kept(&world), None);
}

#[test]
fn a_removed_spec_leaves_the_status_of_its_run() {
    let mut world = World::ended();
    world.desired.specs.clear();
    let status = status_of(&world, "rex");
    assert_eq!(status.phase, Phase::Finishing);
    assert_eq!(status.origin, None);
    assert_eq!(status.spec.unwrap().persona, "rex");
}

#[test]
fn an_orphan_says_what_it_is_and_when_it_goes() {
    let world = World::running();
    let status = status::orphan_status(&world.observed.servers[0]);
    assert_eq!(status.name, "rex");
    insta::assert_snapshot!(status.message.unwrap(), @"server cattle-rex-000001 (7) of this fleet has no run in the ledger; it is deleted when it expires, at 2026-09-21 16:15:00 UTC");
    assert_eq!(status.conditions[0].kind, ConditionType::Orphan);
}

#[test]
fn the_controller_says_what_is_wrong_with_it() {
    let holds = |world: &World, config: Option<&str>| -> Vec<(ConditionType, bool)> {
        status::controller_status(
            "1",
            &world.limits,
            &world.observed,
            &world.desired,
            &world.ledger,
            config,
        )
        .conditions
        .iter()
        .map(|condition| (condition.kind, condition.status))
        .collect()
    };
    let mut world = World::empty();
    assert_eq!(
        holds(&world, None),
        [
            (ConditionType::StartsPaused, false),
            (ConditionType::EndsPaused, false),
            (ConditionType::HetznerReachable, true),
            (ConditionType::ClockSkew, false),
            (ConditionType::LedgerWritable, true),
            (ConditionType::ServersReadable, true),
            (ConditionType::FleetConfigValid, true),
            (ConditionType::SpecsReadable, true),
        ]
    );
    world.limits.enabled = false;
    world.pause(false, true);
    world.observed.unreachable = Some("503".to_owned());
    world.observed.odd.push("an entry has no id".to_owned());
    world
        .desired
        .roots
        .insert(ROOT.to_owned(), RootState::Unreadable("gone".to_owned()));
    assert_eq!(
        holds(&world, Some("line 3")),
        [
            (ConditionType::StartsPaused, true),
            (ConditionType::EndsPaused, true),
            (ConditionType::HetznerReachable, false),
            (ConditionType::ClockSkew, false),
            (ConditionType::LedgerWritable, true),
            (ConditionType::ServersReadable, false),
            (ConditionType::FleetConfigValid, false),
            (ConditionType::SpecsReadable, false),
        ]
    );
}

#[test]
fn a_cattle_without_its_image_says_so_while_it_waits() {
    let mut world = World::dropped();
    let answer = ImageAnswer::Missing {
        message: "there is no image 123456".to_owned(),
        hint: "name another".to_owned(),
    };
    let mut known = catalogue();
    known.images.insert("123456".to_owned(), answer);
    world.limits.catalogue = std::sync::Arc::new(known);
    let status = status_of(&world, "rex");
    assert_eq!(status.phase, Phase::Pending);
    assert_eq!(status.reason.as_deref(), Some("config"));
    let image = condition(&status, ConditionType::ImageResolved).unwrap();
    assert_eq!((image.status, image.reason.as_str()), (false, "missing"));
    assert_eq!(image.message, "there is no image 123456; name another");
    assert_eq!(
        condition(
            &status_of(&World::running(), "rex"),
            ConditionType::ImageResolved
        ),
        None
    );
}

#[test]
fn the_fleets_image_is_told_with_its_last_day() {
    let mut images = catalogue().images;
    if let Some(ImageAnswer::Found(found)) = images.get_mut("123456") {
        found[0].unavailable_after = Some(at(0));
    }
    let found = status::image_resolved("123456", &images).unwrap();
    assert!(found.status);
    assert_eq!(
        found.message,
        "cattle image (123456 x86, not for new servers after 2026-09-21)"
    );
    assert_eq!(status::image_resolved("debian-13", &images), None);
}

#[test]
fn a_token_that_is_refused_is_said_once() {
    let conditions = |world: &World| {
        status::controller_status(
            "1",
            &world.limits,
            &world.observed,
            &world.desired,
            &world.ledger,
            None,
        )
        .conditions
        .into_iter()
        .filter(|condition| {
            [
                ConditionType::TokenAccepted,
                ConditionType::HetznerReachable,
            ]
            .contains(&condition.kind)
        })
        .map(|condition| (condition.kind, condition.status, condition.reason))
        .collect::<Vec<_>>()
    };
    let (token, reachable) = (
        ConditionType::TokenAccepted,
        ConditionType::HetznerReachable,
    );
    let mut world = World::empty();
    assert_eq!(
        conditions(&world),
        [(reachable, true, "listed".to_owned())],
        "nothing is known of the token before an answer"
    );
    world.limits.token = world.limits.token.after(Heard::Read, at(100));
    assert_eq!(conditions(&world)[1], (token, true, "accepted".to_owned()));
    world.refuse_token(Refusal::ReadOnly);
    assert_eq!(
        conditions(&world)[1],
        (token, false, "read-only".to_owned())
    );
    world.refuse_token(Refusal::Unauthorized);
    world.observed.listed_at = None;
    world.observed.unreachable = Some("Hetzner refuses the token".to_owned());
    assert_eq!(
        conditions(&world),
        [
            (reachable, true, "answers".to_owned()),
            (token, false, "unauthorized".to_owned()),
        ]
    );
}

#[test]
fn a_refusal_lasts_until_a_call_proves_otherwise() {
    let refused = |why| Heard::Refused(why, "no".to_owned());
    let seen = |heard: &[Heard]| {
        heard
            .iter()
            .cloned()
            .zip(1..)
            .fold(Token::Unknown, |token, (heard, second)| {
                token.after(heard, at(second))
            })
    };
    for (heard, refusal) in [
        (vec![Read], None),
        (vec![refused(ReadOnly), Read, Read], Some(ReadOnly)),
        (vec![refused(ReadOnly), Written], None),
        (vec![refused(Unauthorized), Read], None),
        (
            vec![refused(ReadOnly), refused(Unauthorized)],
            Some(Unauthorized),
        ),
        (vec![Written, refused(ReadOnly)], Some(ReadOnly)),
    ] {
        assert_eq!(seen(&heard).refusal(), refusal, "{heard:?}");
    }
    let again = seen(&[refused(ReadOnly), Read, refused(ReadOnly)]);
    assert!(
        matches!(again, Token::Refused { since, at: latest, .. } if since == at(1) && latest == at(3)),
        "{again:?}"
    );
}

#[test]
fn an_odd_server_is_named_on_the_controller_and_on_its_cattle() {
    let readable = |conditions: &[cattle_schemas::status::Condition]| {
        let found = conditions
            .iter()
            .find(|it| it.kind == ConditionType::ServersReadable)?;
        assert_eq!(found.status, found.message.is_empty());
        (!found.status).then(|| found.message.clone())
    };
    let mut world = World::running();
    assert_eq!(readable(&status_of(&world, "rex").conditions), None);
    world.listed().odd.push("its name is missing".to_owned());
    let said = readable(&status_of(&world, "rex").conditions).unwrap();
    insta::assert_snapshot!(said, @"server cattle-rex-000001 (7): its name is missing");
    let orphan = status::orphan_status(&world.observed.servers[0]);
    assert_eq!(readable(&orphan.conditions), Some(said.clone()));
    assert!(orphan.message.unwrap().ends_with("; its name is missing"));
    let of_controller = |world: &World| {
        let limits = &world.limits;
        let said = status::controller_status(
            "1",
            limits,
            &world.observed,
            &world.desired,
            &world.ledger,
            None,
        );
        readable(&said.conditions)
    };
    assert_eq!(of_controller(&world), Some(said));
    world.observed.odd = (1..=9).map(|n| format!("entry {n}")).collect();
    insta::assert_snapshot!(of_controller(&world).unwrap(), @"entry 1; entry 2; entry 3; entry 4; entry 5; and 5 more");
}
