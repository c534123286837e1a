//! Hetzner's dates go wrong for a while, for real processes: nothing ends, and everybody is told.

use std::time::{SystemTime, UNIX_EPOCH};

use cattle_tests::{Controller, Project, Sim, SimOptions, eventually};
use serde_json::json;

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
