//! The controller dies at any moment, and nothing runs twice.

use std::{
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cattle_tests::{Controller, Project, Sim, SimOptions, eventually_within};
use serde_json::{Value, json};

const CRASHES: usize = 10;

/// New work for every life, so that each crash falls into the midst of it.
const SPECS_A_LIFE: usize = 20;

/// From before the socket is open to when the first results come in: of every other life from its
/// beginning, of the rest from its first create, which a busy machine may take long to come to.
const LIFE_MS: std::ops::Range<u64> = 20..1_200;

/// A start and a pass, on a machine that does much else.
const FIRST_CREATE: Duration = Duration::from_secs(60);

/// Numbers that differ from run to run, and come again with the seed that was printed.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = std::env::var("E2E_SEED").map_or_else(
            |_| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                u64::from(now.subsec_nanos())
            },
            |seed| seed.parse().unwrap(),
        );
        println!("E2E_SEED={seed}");
        Self(seed)
    }

    /// Knuth's MMIX generator; its high bits are good enough to pick a moment.
    fn within(&mut self, range: &std::ops::Range<u64>) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        range.start + (self.0 >> 33) % (range.end - range.start)
    }
}

#[test]
fn ten_crashes_in_a_batch_run_nothing_twice_and_leave_nothing_behind() {
    let mut dice = Dice::new();
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let mut names = Vec::new();
    let mut in_the_midst = 0;

    for life in 0..CRASHES {
        for n in 0..SPECS_A_LIFE {
            let name = format!("job-{life}-{n}");
            let message = ["ok", "sleep 1"][n % 2];
            project.drop_spec(&name, &Project::spec(message, &[]));
            names.push(name);
        }
        let mut controller = Controller::spawn(&project, &sim, &[]);
        let ms = dice.within(&LIFE_MS);
        println!("life {life}: {ms} ms");
        if life % 2 == 1 {
            let before = sim.state()["serversCreated"].clone();
            eventually_within(FIRST_CREATE, "a server is created", || {
                (sim.state()["serversCreated"] != before).then_some(())
            });
        }
        thread::sleep(Duration::from_millis(ms));
        controller.kill();
        in_the_midst += usize::from(!sim.living().is_empty());
    }
    let _controller = Controller::start(&project, &sim, &[]);

    eventually_within(Duration::from_secs(240), "all have ended", || {
        let list = project.list();
        let done = list.iter().filter(|one| one["phase"] == "Succeeded");
        (done.count() == names.len()).then_some(())
    });
    sim.wait_until_empty();
    for name in &names {
        assert_eq!(
            project.runs_of(name),
            1,
            "{name}: {:#?}",
            project.status(name)
        );
        let status = project.status(name).unwrap();
        assert_eq!(status["earlierRuns"], Value::Null, "{status:#}");
        let result = project.clawdlets(&["cattle", "result", name]).ok();
        assert_eq!(result.json(), json!({"answer": name}));
    }
    let deleted = sim.deleted();
    for name in &names {
        let servers = deleted
            .iter()
            .filter(|one| one["labels"]["cattle-name"] == name.as_str());
        assert_eq!(servers.count(), 1, "{name} had more than one server");
    }
    assert_eq!(sim.state()["serversCreated"], names.len());
    assert!(in_the_midst > 0, "no crash fell into the batch");
}
