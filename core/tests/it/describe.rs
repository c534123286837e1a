//! The dry run in words.

use std::collections::BTreeMap;

use cattle_core::{action::Action, plan};
use cattle_schemas::{spec_file::OnFailure, status::EndReason};

use crate::fixture::*;

fn to_api(world: &World) -> cattle_schemas::api::PlanReply {
    plan::to_api(
        &world.plan(),
        &world.desired,
        &world.ledger,
        &world.limits.catalogue,
        world.now,
    )
}

#[test]
fn every_action_has_one_line() {
    let run = run_id(1);
    let server = cattle_core::names::ServerId(7);
    let origin = World::dropped().desired.specs[&name("rex")].origin.clone();
    let message = "because".to_owned();
    let actions = [
        Action::Retry {
            run,
            placement: cattle("rex").placement,
            hourly_limit: None,
        },
        Action::Adopt { run, server },
        Action::AdoptUnknown {
            cattle: cattle("rex").into(),
            origin,
            run,
            server,
            created: at(0),
            expires_at: at(7200),
        },
        Action::MarkBooted { run },
        Action::Update {
            run,
            ttl: secs(5400),
            expires_at: at(5400),
            on_failure: OnFailure::Destroy,
            labels: BTreeMap::new(),
        },
        Action::End {
            run,
            reason: EndReason::TaskFailed,
            message: message.clone(),
            hold_until: Some(at(1800)),
            unless_env_handed_out: false,
            counts_for: None,
        },
        Action::HandedOver { run, stored: 300 },
        Action::Release { run, message },
        Action::Delete { run, server },
        Action::ConfirmGone { run, server },
        Action::MarkGone { run },
        Action::Lookup {
            run,
            name: "cattle-rex-000001".to_owned(),
        },
        Action::FollowCreate { run },
        Action::PowerOn { run, server },
        Action::ReapOrphan {
            server,
            name: "cattle-rex-000001".to_owned(),
            expired_at: at(0),
        },
    ];
    insta::assert_snapshot!(actions.map(|action| action.to_string()).join("\n"), @r"
    retry 01M3250V000000000000000001: create its server, a further attempt
    adopt 01M3250V000000000000000001: take server 7 for its own
    adopt rex: take over server 7, whose run is not in the ledger
    mark-booted 01M3250V000000000000000001: note that Hetzner runs its server
    update 01M3250V000000000000000001: follow its spec in place: ttl 90m, so that it expires at 2026-09-21 15:43:20 UTC
    end 01M3250V000000000000000001: end it as task-failed and keep its server until 2026-09-21 14:43:20 UTC: because
    handed-over 01M3250V000000000000000001: take no more from its guest: 300 bytes of its log are here
    release 01M3250V000000000000000001: let its kept server go: because
    delete 01M3250V000000000000000001: delete server 7
    confirm-gone 01M3250V000000000000000001: ask whether server 7 is gone
    mark-gone 01M3250V000000000000000001: note that it has no server
    look-up 01M3250V000000000000000001: look for server cattle-rex-000001
    follow 01M3250V000000000000000001: ask how far its create is
    power-on 01M3250V000000000000000001: power server 7 on
    reap: delete server cattle-rex-000001 (7), which no run stands behind and which expired at 2026-09-21 14:13:20 UTC
    ");
}

#[test]
fn the_socket_answers_with_the_same_plan() {
    let mut world = World::running();
    world.limits.max_instances = 1;
    world.edit(|cattle| cattle.hash = hash(2));
    let mut world = world.with_spec(cattle("max"));
    world.set_spec(broken(), &name("odd"));
    let reply = to_api(&world);
    insta::assert_json_snapshot!(reply, @r#"
    {
      "actions": [
        {
          "verb": "enqueue",
          "cattle": "max",
          "message": "queue it for dir:/specs"
        },
        {
          "verb": "enqueue",
          "cattle": "rex",
          "message": "queue it for dir:/specs"
        },
        {
          "verb": "end",
          "cattle": "rex",
          "run": "01M3250V000000000000000001",
          "message": "end it as spec-changed: its spec changed from 010101010101 to 020202020202"
        }
      ],
      "waiting": [
        {
          "cattle": "odd",
          "reason": "spec-invalid",
          "message": "nothing starts until its spec file is mended (rex.yaml:5: unknown field `presona`)"
        },
        {
          "cattle": "rex",
          "reason": "previous-run",
          "message": "waits for the end of run 01M3250V000000000000000001, whose spec has changed"
        },
        {
          "cattle": "max",
          "reason": "max-instances",
          "message": "1 of 1 servers exist (cattle.hetzner.maxInstances); starts when one is gone",
          "queuePosition": 1
        }
      ],
      "diagnostics": [
        {
          "path": "rex.yaml",
          "line": 5,
          "column": 3,
          "message": "unknown field `presona`"
        }
      ]
    }
    "#);
}
