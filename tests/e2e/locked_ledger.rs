//! Another process holds the ledger's lock: a backup that hangs, a forgotten `sqlite3`.

use cattle_tests::{Controller, Project, Sim, SimOptions, eventually};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tokio::runtime::Runtime;

/// The lock, held until it is let go.
pub(super) struct Lock {
    runtime: Runtime,
    connection: SqliteConnection,
}

impl Lock {
    pub(super) fn take(project: &Project) -> Self {
        let runtime = Runtime::new().unwrap();
        let url = format!(
            "sqlite://{}",
            project.state().join("state.sqlite").display()
        );
        let connection = runtime.block_on(async {
            let mut connection = SqliteConnection::connect(&url).await.unwrap();
            // The controller writes for moments only.
            connection
                .execute("PRAGMA busy_timeout = 30000")
                .await
                .unwrap();
            connection.execute("BEGIN EXCLUSIVE").await.unwrap();
            connection
        });
        Self {
            runtime,
            connection,
        }
    }

    pub(super) fn let_go(mut self) {
        self.runtime.block_on(async {
            self.connection.execute("ROLLBACK").await.unwrap();
            self.connection.close().await.unwrap();
        });
    }
}

/// Waits until `/readyz` says no for that.
pub(super) fn says_locked(project: &Project) -> Value {
    eventually("it is not ready, and says why", || {
        let (status, body) = project.get("/readyz")?;
        let detail = body["detail"].as_str().unwrap_or_default();
        (status == 503 && detail.contains("locked by another process")).then_some(body)
    })
}

fn is_ready(project: &Project) {
    eventually("it is ready", || {
        project.get("/readyz").filter(|(status, _)| *status == 200)
    });
}

#[test]
fn a_locked_ledger_is_said_and_what_is_asked_may_be_asked_again() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    is_ready(&project);
    project.drop_spec("before", &Project::spec("sleep 300", &[]));
    let before = project.wait_for("before", "/phase", &json!("Running"));

    let lock = Lock::take(&project);

    let wanted = json!({ "apiVersion": "clawdlets.dev/v1", "kind": "Cattle", "spec": {
        "persona": "rex", "task": { "message": "ok" } } });
    // Also before anything else has noticed.
    for _ in 0..2 {
        let (status, problem) = project
            .call("PUT", "/v1/cattle/asked", Some(&wanted))
            .unwrap();
        assert_eq!((status, &problem["code"]), (503, &json!("unavailable")));
        assert_eq!(problem["retryable"], true, "{problem:#}");
        assert!(problem["retryAfterSeconds"].is_u64(), "{problem:#}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("locked by another process"), "{detail}");
    }
    says_locked(&project);
    let listed = project.clawdlets(&["cattle", "list"]).ok();
    assert_eq!(
        listed.stderr.matches("not LedgerWritable").count(),
        1,
        "{listed:?}"
    );

    lock.let_go();

    is_ready(&project);
    let (status, reply) = project
        .call("PUT", "/v1/cattle/asked", Some(&wanted))
        .unwrap();
    assert_eq!(status, 200, "{reply:#}");
    project.wait_for("asked", "/phase", &json!("Succeeded"));
    let now = project.status("before").unwrap();
    assert_eq!(now["run"]["run"], before["run"]["run"]);
    assert_eq!(now["phase"], "Running", "{now:#}");
    eventually("an event says that it is over", || {
        let (_, events) = project.get("/v1/events")?;
        let events = events["items"].as_array()?.clone();
        let again = |event: &Value| {
            let message = event["message"].as_str().unwrap_or_default();
            message.contains("the ledger can be written again")
        };
        events.iter().any(again).then_some(())
    });
}

#[test]
fn what_is_past_its_expiry_is_deleted_while_nothing_can_be_recorded() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    is_ready(&project);
    project.drop_spec("short", &Project::spec("sleep 300", &["ttl: 25s"]));
    project.drop_spec("taken", &Project::spec("sleep 300", &["ttl: 26s"]));
    project.drop_spec("long", &Project::spec("sleep 300", &[]));
    for name in ["short", "taken", "long"] {
        project.wait_for(name, "/phase", &json!("Running"));
    }
    let taken = sim.servers_of("taken")[0].clone();

    let lock = Lock::take(&project);
    // Somebody else's by now: another fleet's label.
    let mut labels = taken["labels"].clone();
    labels["fleet"] = json!("theirs");
    let id = &taken["id"];
    let path = format!("/_sim/servers/{id}/labels");
    sim.call("PUT", &path, Some(&json!({ "labels": labels })));

    eventually("what is past its expiry is gone", || {
        sim.servers_of("short").is_empty().then_some(())
    });
    says_locked(&project);
    assert_eq!(sim.servers_of("long").len(), 1, "its time is not up");
    assert_eq!(sim.servers_of("taken").len(), 1, "it is not ours any more");
    let since = sim.last_call();

    lock.let_go();

    project.wait_for("short", "/run/endReason", &json!("ttl-expired"));
    assert_eq!(project.runs_of("short"), 1);
    assert_eq!(project.status("long").unwrap()["phase"], "Running");
    // Its end was known: it needed no second delete.
    let again = format!("DELETE /v1/servers/{}", sim.deleted()[0]["id"]);
    assert!(!sim.writes_since(since).contains(&again));
}

/// Whoever keeps the fleet pauses starts, which cannot be recorded either: that is no reason to let what
/// is over go on billing.
#[test]
fn what_is_over_is_deleted_while_a_pause_cannot_be_recorded() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    is_ready(&project);
    let busy = json!({
        "match": {"operation": "delete_server"}, "count": 0,
        "fault": {"kind": "json", "status": 423, "code": "locked", "message": "busy"}});
    sim.call("POST", "/_sim/faults", Some(&busy));
    project.drop_spec("over", &Project::spec("ok", &[]));
    project.wait_until("over", "its delete was refused", |status| {
        status["phase"] == "Finishing"
            && status["message"]
                .as_str()
                .is_some_and(|it| it.contains("busy"))
    });

    let lock = Lock::take(&project);
    let firewall = sim.call("GET", "/v1/firewalls", None)["firewalls"][0].clone();
    let mut labels = firewall["labels"].clone();
    labels["ledger"] = json!("0123456789abcdef.9");
    let path = format!("/v1/firewalls/{}", firewall["id"]);
    sim.call("PUT", &path, Some(&json!({ "labels": labels })));
    let lists = |calls: Vec<Value>| {
        let mut lists = calls.into_iter();
        lists.any(|call| call["operation"] == "list_firewalls" && call["status"] == 200)
    };
    let since = sim.last_call();
    eventually("the firewall was looked at", || {
        lists(sim.calls_since(since)).then_some(())
    });
    sim.call("DELETE", "/_sim/faults", None);

    eventually("its server is gone", || {
        sim.servers_of("over").is_empty().then_some(())
    });

    lock.let_go();

    project.wait_until("over", "it is gone", |status| {
        status["run"]["goneAt"].is_string()
    });
    eventually("starts are paused", || {
        let (_, pauses) = project.get("/v1/pauses")?;
        let pauses = pauses["items"].as_array()?.clone();
        pauses
            .iter()
            .any(|it| it["reason"] == "ledger")
            .then_some(())
    });
}
