//! Our wall clock steps while a controller runs, which Hetzner's does not: nothing ends.
//!
//! The step is made by libfaketime, for the controller alone: what reads the wall clock through the
//! C library is told another time, the clocks that nobody sets are not touched.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use cattle_tests::{Controller, Project, Sim, SimOptions, eventually};
use serde_json::{Value, json};

/// Debian's package is `faketime`.
fn libfaketime() -> Option<PathBuf> {
    let beneath = fs::read_dir("/usr/lib").ok()?.flatten();
    let dirs = beneath.map(|entry| entry.path().join("faketime"));
    let mut files = dirs.map(|dir| dir.join("libfaketimeMT.so.1"));
    let found = files.find(|file| file.exists());
    if found.is_none() {
        eprintln!("libfaketime is not installed: no wall clock of our own to be had");
    }
    found
}

/// A wall clock that can be set, and the controllers that go by it.
struct Wall {
    library: PathBuf,
    file: PathBuf,
    pids: Vec<u32>,
}

impl Wall {
    /// `None` where there is no library, which is said.
    fn right(project: &Project) -> Option<Self> {
        let wall = Self {
            library: libfaketime()?,
            file: project.around().join("wall-clock"),
            pids: Vec::new(),
        };
        wall.set(0);
        Some(wall)
    }

    /// So many seconds ahead of what it would be, from now on.
    fn set(&self, ahead: i64) {
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{ahead:+}\n")).unwrap();
        fs::rename(next, &self.file).unwrap();
    }

    fn start(&mut self, project: &Project, sim: &Sim) -> Controller {
        let mut command = Controller::command(project, sim);
        self.rule(&mut command);
        let controller = Controller::from(&mut command).answering(project);
        self.pids.push(controller.pid());
        controller
    }

    fn rule(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            // Times of files are the file system's.
            .env("NO_FAKE_STAT", "1");
    }
}

impl Drop for Wall {
    /// The library leaves these behind.
    fn drop(&mut self) {
        for pid in &self.pids {
            for kind in ["faketime_shm", "sem.faketime_sem"] {
                let _ = fs::remove_file(format!("/dev/shm/{kind}_{pid}"));
            }
        }
    }
}

/// Waits until the controller says of its own clock what is so.
fn until_told(project: &Project, status: bool, words: &str) {
    eventually(&format!("ClockSkew is {status}: {words}"), || {
        let (_, list) = project.get("/v1/cattle")?;
        let conditions = list["controller"]["conditions"].as_array()?;
        let skew = conditions.iter().find(|it| it["type"] == "ClockSkew")?;
        let message = skew["message"].as_str()?;
        (skew["status"] == status && message.contains(words)).then_some(())
    });
}

/// Waits until Hetzner was asked for its servers once more, and a pass has seen the answer.
fn until_listed(project: &Project, sim: &Sim) {
    let since = sim.last_call();
    eventually("a further list", || {
        let calls = sim.calls_since(since);
        let mut lists = calls.iter().filter(|it| it["operation"] == "list_servers");
        lists.next().map(drop)
    });
    let _ = project.plan();
}

fn is_running(project: &Project, before: &Value) {
    let name = before["name"].as_str().unwrap();
    let now = project.status(name).unwrap();
    assert_eq!(now["phase"], "Running", "{now:#}\n{}", project.log_tail());
    assert_eq!(now["run"]["run"], before["run"]["run"], "{now:#}");
    assert_eq!(project.runs_of(name), 1);
}

#[test]
fn a_step_of_our_wall_clock_ends_no_healthy_task() {
    let project = Project::new();
    let Some(mut wall) = Wall::right(&project) else {
        return;
    };
    let sim = Sim::start(&project, &SimOptions::default());
    let mut controller = wall.start(&project, &sim);
    let running: Vec<Value> = [("an-hour", "ttl: 50m"), ("a-day", "ttl: 20h")]
        .map(|(name, ttl)| {
            project.drop_spec(name, &Project::spec("wait go", &[ttl]));
            project.wait_for(name, "/phase", &json!("Running"))
        })
        .into();

    for (ahead, said) in [
        (240, "is 4m ahead of"),
        (3_600, "is 1h ahead of"),
        (86_400, "is 1d ahead of"),
    ] {
        wall.set(ahead);
        // What starts now is what begins a pass, long before the next list. It lives as long as it
        // should, by its label too.
        let name = format!("after-{ahead}");
        project.drop_spec(&name, &Project::spec("wait go", &["ttl: 10m"]));
        until_told(&project, true, said);
        for one in &running {
            is_running(&project, one);
        }
        project.wait_for(&name, "/phase", &json!("Running"));
        let label = &sim.servers_of(&name)[0]["labels"]["expires-at"];
        let expires: u64 = label.as_str().unwrap().parse().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let lives = expires.checked_sub(now.as_secs()).unwrap();
        assert!((500..=601).contains(&lives), "{name} lives for {lives} s");
    }
    until_listed(&project, &sim);
    for one in &running {
        is_running(&project, one);
    }

    // The next life begins by a clock that is a day ahead, and judges nothing by it.
    controller.terminate();
    let _controller = wall.start(&project, &sim);
    until_told(&project, true, "nothing starts or expires");
    for one in &running {
        is_running(&project, one);
    }

    wall.set(0);
    until_told(&project, false, "");
    fs::write(project.ran().join("go"), "").unwrap();
    let names = ["an-hour", "a-day", "after-240", "after-3600", "after-86400"];
    for name in names {
        project.wait_for(name, "/phase", &json!("Succeeded"));
        assert_eq!(project.runs_of(name), 1);
    }
}
