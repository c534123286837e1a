//! A controller that hears nothing, or can write down nothing, for longer than a guest may be
//! silent: its process is stopped, its ledger is locked by another one, its disk is full. Whoever
//! works meanwhile goes on.
//!
//! Real time, nearly all of it waiting, and all three at once: what a stopped process misses cannot
//! be had by turning its clocks. `E2E_DEAF=30` for a quick look at the test itself; under three
//! minutes it proves nothing.

use std::{
    env, fs,
    time::{Duration, Instant},
};

use cattle_tests::{Controller, Project, Sim, SimOptions, eventually, eventually_within};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    locked_ledger::{Lock, says_locked},
    state_disk::{Disk, fill, says_full},
};

/// Longer than the three minutes that a guest may be silent.
fn deaf() -> Duration {
    let seconds = env::var("E2E_DEAF").ok();
    Duration::from_secs(seconds.map_or(200, |it| it.parse().unwrap()))
}

/// A fleet with running guests.
struct Herd {
    project: Project,
    sim: Sim,
    controller: Controller,
    before: Vec<Value>,
}

impl Herd {
    fn of(
        cattle: usize,
        project: Project,
        start: impl FnOnce(&Project, &Sim) -> Controller,
    ) -> Self {
        let sim = Sim::start(&project, &SimOptions::default());
        let controller = start(&project, &sim);
        let names: Vec<String> = (1..=cattle).map(|nth| format!("rex-{nth}")).collect();
        for name in &names {
            project.drop_spec(name, &Project::spec("wait go", &["ttl: 1h"]));
        }
        let before = names
            .iter()
            .map(|name| project.wait_for(name, "/phase", &json!("Running")))
            .collect();
        Self {
            project,
            sim,
            controller,
            before,
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.controller.pid().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Everybody is heard of again, and then ends as if nothing had been. Answers who does not.
    fn lost(&self) -> Vec<String> {
        eventually("it is ready", || {
            let (status, _) = self.project.get("/readyz")?;
            (status == 200).then_some(())
        });
        // A pass that began after that has judged everybody's silence.
        let _ = self.project.plan();
        let mut lost = Vec::new();
        let mut note = |now: &Value, wanted: &str| {
            if now["phase"] != wanted {
                let (name, phase, why) = (&now["name"], &now["phase"], &now["message"]);
                lost.push(format!("{name} is {phase}, not {wanted}: {why}"));
            }
        };
        for before in &self.before {
            let name = before["name"].as_str().unwrap();
            note(&self.project.status(name).unwrap(), "Running");
        }
        fs::write(self.project.ran().join("go"), "").unwrap();
        for before in &self.before {
            let name = before["name"].as_str().unwrap();
            let now = self.project.wait_until(name, "it is over", |status| {
                let phase = status["phase"].as_str();
                phase.is_some_and(|it| ["Succeeded", "Failed", "Canceled"].contains(&it))
            });
            note(&now, "Succeeded");
            assert_eq!(now["run"]["run"], before["run"]["run"], "{now:#}");
            assert_eq!(self.project.runs_of(name), 1);
        }
        lost
    }
}

#[test]
fn nobody_is_taken_for_lost_who_could_not_be_heard_or_written_down() {
    let stopped = Herd::of(3, Project::new(), |project, sim| {
        Controller::start(project, sim, &[])
    });
    let locked = Herd::of(20, Project::new(), |project, sim| {
        Controller::start(project, sim, &[])
    });
    let project = Project::new();
    let disk = Disk::over(&project, "8m");
    let full = disk.as_ref().map(|disk| {
        Herd::of(20, project, |project, sim| {
            Controller::from(&mut disk.command(project, sim)).answering(project)
        })
    });

    stopped.signal(Signal::STOP);
    let lock = Lock::take(&locked.project);
    if let Some(disk) = &disk {
        fill(&disk.filler());
    }
    let began = Instant::now();
    says_locked(&locked.project);
    if let Some(full) = &full {
        says_full(&full.project);
    }
    let deaf = deaf();
    eventually_within(2 * deaf, "longer than silence lasts", || {
        // What is given up for signs of life is somebody else's at once.
        if let Some(disk) = &disk {
            fill(&disk.filler());
        }
        (began.elapsed() >= deaf).then_some(())
    });
    stopped.signal(Signal::CONT);
    lock.let_go();
    if let Some(disk) = &disk {
        fs::remove_file(disk.filler()).unwrap();
    }

    let mut lost = Vec::new();
    for (what, herd) in [
        ("stopped", Some(&stopped)),
        ("locked", Some(&locked)),
        ("full", full.as_ref()),
    ] {
        let Some(herd) = herd else { continue };
        let those = herd.lost();
        lost.extend(those.into_iter().map(|one| format!("{what}: {one}")));
        let deleted = herd.sim.deleted().len() + herd.sim.living().len();
        assert_eq!(deleted, herd.before.len(), "{what}: a server each");
    }
    assert!(lost.is_empty(), "{lost:#?}");
}
