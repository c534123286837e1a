//! A fleet that may spend so much an hour.

use std::{fs, time::Duration};

use cattle_tests::{Controller, Project, Sim, SimOptions, eventually_within};
use serde_json::{Value, json};

/// Five guests, one after the other, on two loaded cores.
const PATIENCE: Duration = Duration::from_secs(90);

const NAMES: [&str; 5] = ["ann", "bob", "cat", "dan", "eve"];

/// Enough for two cx23 with their addresses (0.0096 each), not for three, and for no cpx22.
const MAX_HOURLY: f64 = 0.02;

fn in_phase(list: &[Value], phase: &str) -> usize {
    list.iter().filter(|one| one["phase"] == phase).count()
}

#[test]
fn five_specs_on_a_budget_for_two_run_two_at_a_time_and_cost_five_hours() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    project.configure(|fleet| {
        fleet["cattle"]["hetzner"]["serverTypes"] = json!(["cx23", "cpx22"]);
        fleet["cattle"]["budget"] = json!({ "maxHourly": MAX_HOURLY });
    });
    let mut controller = Controller::start(&project, &sim, &[]);
    for name in NAMES {
        project.drop_spec(name, &Project::spec("wait go", &[]));
    }

    let two_run_and_three_wait = || {
        let list = project.list();
        let waiting: Vec<Value> = list
            .into_iter()
            .filter(|one| one["phase"] != "Running")
            .collect();
        let poor = |one: &Value| one["phase"] == "Pending" && one["reason"] == "budget";
        (waiting.len() == 3 && waiting.iter().all(poor)).then_some(waiting)
    };
    let waiting = eventually_within(PATIENCE, "two run, three wait", two_run_and_three_wait);
    for one in waiting {
        let message = one["message"].as_str().unwrap();
        let used = "0.0192 of 0.0200 EUR/h are used (cattle.budget.maxHourly); cx23 in ";
        assert!(message.starts_with(used), "{message}");
        assert!(message.ends_with(" would add 0.0096"), "{message}");
    }

    // What was set aside and spent is in the ledger, not in the process.
    controller.kill();
    let _controller = Controller::start(&project, &sim, &[]);
    eventually_within(PATIENCE, "two run, three wait", two_run_and_three_wait);

    fs::write(project.ran().join("go"), "").unwrap();
    eventually_within(PATIENCE, "all have succeeded", || {
        (in_phase(&project.list(), "Succeeded") == NAMES.len()).then_some(())
    });
    sim.wait_until_empty();
    let state = sim.state();
    assert_eq!(state["serversCreated"], NAMES.len());
    assert_eq!(state["maxServersAtOnce"], 2);
    for server in sim.deleted() {
        assert_eq!(server["server_type"]["name"], "cx23", "{server}");
    }

    // The simulator's meter and the ledger agree.
    let cost = project.clawdlets(&["cattle", "cost", "-o", "json"]).json();
    assert_eq!(cost["total"]["runs"], 5, "{cost}");
    assert_eq!(cost["total"]["startedHours"], 5, "{cost}");
    assert_eq!(cost["total"]["total"], "0.0480", "{cost}");
    assert_eq!(cost["currency"], "EUR");
    assert_eq!(cost["unpricedRuns"], 0);
    let shown = project.clawdlets(&["cattle", "cost", "--by", "persona"]);
    assert!(
        shown.stdout.contains("0.0440  0.0040  0.0480 EUR"),
        "{}",
        shown.stdout
    );
    let meter = sim.call("GET", "/_sim/cost", None);
    assert_eq!(
        (&meter["total"], &meter["startedHours"]),
        (&cost["total"]["total"], &cost["total"]["startedHours"])
    );
}

#[test]
fn a_spec_that_no_day_can_pay_for_waits_and_says_so() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    project.configure(|fleet| {
        fleet["cattle"]["hetzner"]["serverTypes"] = json!(["cx23"]);
        fleet["cattle"]["budget"] = json!({ "maxDaily": 0.005 });
    });
    let _controller = Controller::start(&project, &sim, &[]);
    project.drop_spec("dear", &Project::spec("ok", &[]));
    let told = "one hour of cx23 in ";
    project.wait_until("dear", told, |status| {
        let message = status["message"].as_str().unwrap_or_default();
        status["reason"] == "budget" && message.starts_with(told)
    });
    assert!(sim.living().is_empty());

    // The budget is raised: nothing else has to happen.
    project.configure(|fleet| fleet["cattle"]["budget"]["maxDaily"] = json!(1));
    project.wait_for("dear", "/phase", &json!("Succeeded"));
}
