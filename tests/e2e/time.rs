//! Hetzner's dates go wrong for a while, for real processes: nothing ends, and everybody is told.

use std::{
    fs,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use cattle_tests::{Controller, Project, Sim, SimOptions, eventually, eventually_within};
use serde_json::{Value, json};

#[test]
fn dates_that_hetzner_alone_has_end_nothing_and_are_told() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    project.drop_spec("long", &Project::spec("sleep 600", &["ttl: 2h"]));
    project.wait_for("long", "/phase", &json!("Running"));
    let told = || project.clawdlets(&["cattle", "list"]).ok().stderr;

    for (name, hours) in [("three", 3), ("a-day", 25)] {
        let ahead = json!({ "offsetMs": hours * 3_600_000 });
        sim.call("PUT", "/_sim/clock", Some(&ahead));
        // Its create is what tells the controller, long before the next list.
        project.drop_spec(name, &Project::spec("sleep 600", &["ttl: 2m"]));
        eventually("the list says that the clocks disagree", || {
            told().contains("ClockSkew").then_some(())
        });
        let label: u64 = eventually("its server is there", || {
            let server = sim.servers_of(name).pop()?;
            server["labels"]["expires-at"].as_str()?.parse().ok()
        });
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let lives = label.checked_sub(now.as_secs()).unwrap();
        assert!(lives <= 121, "{name} lives for {lives} s");
        assert_eq!(project.status("long").unwrap()["phase"], "Running");

        sim.call("PUT", "/_sim/clock", Some(&json!({ "offsetMs": 0 })));
        let _ = project.clawdlets(&["cattle", "destroy", name]).ok();
        eventually("the list says it no more", || {
            (!told().contains("ClockSkew")).then_some(())
        });
    }
    assert_eq!(project.status("long").unwrap()["phase"], "Running");
    assert_eq!(project.runs_of("long"), 1);
    let events = project.clawdlets(&["cattle", "events"]).ok().stdout;
    assert!(events.contains("is 3h ahead of"), "{events}");
    assert!(events.contains("the clocks agree again"), "{events}");
}

/// Longer than anything waits that a wrong date could end early, and long enough that every reply of
/// a list, too, has it.
const WRONG_FOR: Duration = Duration::from_secs(40);

#[test]
fn ten_minutes_ahead_for_forty_seconds_end_no_running_task() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    // Silence, a TTL that would be over, and one that would not.
    let running: Vec<Value> = [("short", "ttl: 8m"), ("long", "ttl: 2h")]
        .map(|(name, ttl)| {
            project.drop_spec(name, &Project::spec("wait go", &[ttl]));
            project.wait_for(name, "/phase", &json!("Running"))
        })
        .into();
    let since = sim.last_call();
    let began = Instant::now();
    sim.call("PUT", "/_sim/clock", Some(&json!({ "offsetMs": 600_000 })));

    let lists = || {
        let calls = sim.calls_since(since);
        let lists = calls.iter().filter(|it| it["operation"] == "list_servers");
        lists.count()
    };
    eventually_within(2 * WRONG_FOR, "lists had the wrong date", || {
        for one in &running {
            let now = project.status(one["name"].as_str().unwrap()).unwrap();
            assert_eq!(now["phase"], "Running", "{now:#}");
            assert_eq!(now["run"]["run"], one["run"]["run"], "{now:#}");
        }
        (began.elapsed() >= WRONG_FOR && lists() > 0).then_some(())
    });
    let told = project.clawdlets(&["cattle", "list"]).ok().stderr;
    assert!(told.contains("ClockSkew"), "{told}");

    sim.call("PUT", "/_sim/clock", Some(&json!({ "offsetMs": 0 })));
    fs::write(project.ran().join("go"), "").unwrap();
    for one in &running {
        let name = one["name"].as_str().unwrap();
        let ended = project.wait_for(name, "/phase", &json!("Succeeded"));
        assert_eq!(ended["run"]["run"], one["run"]["run"], "{ended:#}");
        assert_eq!(project.runs_of(name), 1);
    }
}
