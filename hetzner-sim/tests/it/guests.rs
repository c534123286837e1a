//! Real processes in the servers. The guest here is a shell script: what it does with its root
//! shows what it got.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use hetzner_sim::Guests;
use rustix::process::{Pid, test_kill_process};
use tempfile::TempDir;

use super::*;

struct Farm {
    harness: Harness,
    dir: TempDir,
}

impl Farm {
    /// A simulator whose guests run this script; `$ROOT` is the guest's root.
    async fn new(script: &str) -> Self {
        Self::with(script, |config| config).await
    }

    async fn with(script: &str, more: impl FnOnce(Config) -> Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guest.sh");
        fs::write(
            &path,
            format!("[ \"$1 $2\" = 'run --root' ] || exit 9\nROOT=$3\n{script}\n"),
        )
        .unwrap();
        let runners = dir.path().join("runners.json");
        fs::write(&runners, "{\"runners\":true}").unwrap();
        let guests = Guests::Process {
            command: vec!["/bin/sh".to_owned(), path.to_str().unwrap().to_owned()],
            runners: Some(runners),
            root: dir.path().join("guests"),
        };
        let harness = Harness::new(more(quick().guests(guests))).await;
        Self { harness, dir }
    }

    fn root(&self, id: u64) -> PathBuf {
        self.dir.path().join("guests").join(id.to_string())
    }

    async fn create(&self, name: &str) -> u64 {
        self.create_with(name, &user_data("/run/clawdlets/cattle/bootstrap.json"))
            .await
    }

    async fn create_with(&self, name: &str, user_data: &str) -> u64 {
        let mut body = order(name);
        body["user_data"] = json!(user_data);
        self.harness.create(&body).await
    }

    async fn console(&self, id: u64) -> String {
        let path = format!("/_sim/servers/{id}/console");
        let reply = self
            .harness
            .request(Method::GET, &path)
            .send()
            .await
            .unwrap();
        reply.text().await.unwrap()
    }

    async fn prints(&self, id: u64, text: &str) {
        eventually(&format!("the console says {text}"), || async {
            self.console(id).await.contains(text)
        })
        .await;
    }

    /// The number that the guest wrote into a file of its root.
    async fn pid(&self, id: u64, file: &str) -> Pid {
        let path = self.root(id).join(file);
        eventually(&format!("{file} is there"), || async {
            fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n'))
        })
        .await;
        let text = fs::read_to_string(path).unwrap();
        Pid::from_raw(text.trim().parse().unwrap()).unwrap()
    }
}

fn user_data(path: &str) -> String {
    let file = json!({"path": path, "content": "{\"token\":1}", "permissions": "0600"});
    format!("#cloud-config\n{}", json!({"write_files": [file]}))
}

async fn dies(pid: Pid) {
    eventually("the process is gone", || async {
        test_kill_process(pid).is_err()
    })
    .await;
}

#[tokio::test]
async fn a_guest_finds_its_files_and_nothing_of_our_environment() {
    let farm = Farm::new(
        "cat $ROOT/run/clawdlets/cattle/bootstrap.json $ROOT/etc/clawdlets/cattle/runners.json\n\
         pwd; env | cut -d= -f1 | sort | tr '\\n' ' '; echo; sleep 600",
    )
    .await;
    let id = farm.create("a").await;
    farm.prints(id, "PATH").await;
    let root = farm.root(id).canonicalize().unwrap();
    let console = farm.console(id).await;
    assert!(
        console.starts_with("{\"token\":1}{\"runners\":true}"),
        "{console}"
    );
    assert!(console.contains(root.to_str().unwrap()), "{console}");
    for name in console.lines().last().unwrap().split_whitespace() {
        assert!(
            ["HOME", "LANG", "PATH", "PWD", "OLDPWD", "SHLVL", "_"].contains(&name),
            "{name}"
        );
    }
    let file = root.join("run/clawdlets/cattle/bootstrap.json");
    assert_eq!(
        fs::metadata(file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(farm.harness.status(id).await, "running");
    farm.harness.sim.shutdown().await;
}

#[tokio::test]
async fn a_guest_that_ends_turns_its_server_off_and_a_poweron_boots_it_again() {
    let farm = Farm::new("echo boot; exit 3").await;
    let id = farm.create("a").await;
    farm.harness.reaches(id, "off").await;
    assert!(
        farm.console(id)
            .await
            .contains("guest ended: exit status: 3")
    );
    let path = format!("/v1/servers/{id}/actions/poweron");
    assert_eq!(farm.harness.post(&path, &json!({})).await.0, 201);
    farm.prints(id, "power off\nboot").await;
    farm.harness.sim.shutdown().await;
}

#[tokio::test]
async fn a_delete_kills_the_whole_group_and_removes_the_root() {
    let farm = Farm::new(
        "trap '' TERM; sleep 600 & echo $! > $ROOT/child; echo $$ > $ROOT/self; wait; wait",
    )
    .await;
    let id = farm.create("a").await;
    let (child, leader) = (farm.pid(id, "child").await, farm.pid(id, "self").await);
    farm.harness.delete(id).await;
    dies(child).await;
    dies(leader).await;
    farm.harness.reaches(id, "gone").await;
    eventually("the root is removed", || async { !farm.root(id).exists() }).await;
    farm.harness.sim.shutdown().await;
}

#[tokio::test]
async fn a_root_is_kept_on_request() {
    let farm = Farm::with("echo kept; exit 0", |config| config.keep_guests(true)).await;
    let id = farm.create("a").await;
    farm.harness.reaches(id, "off").await;
    farm.harness.delete(id).await;
    farm.harness.reaches(id, "gone").await;
    assert!(farm.console(id).await.contains("kept"));
    let root = farm.root(id);
    farm.harness.sim.shutdown().await;
    assert!(root.join("console.log").exists());
}

#[tokio::test]
async fn shutdown_asks_and_poweroff_does_not() {
    let farm =
        Farm::new("trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.01; done").await;
    let id = farm.create("a").await;
    farm.prints(id, "up").await;
    let act = |verb: &str| format!("/v1/servers/{id}/actions/{verb}");
    assert_eq!(farm.harness.post(&act("shutdown"), &json!({})).await.0, 201);
    farm.harness.reaches(id, "off").await;
    farm.prints(id, "asked").await;

    let on = || async { farm.harness.post(&act("poweron"), &json!({})).await.0 == 201 };
    eventually("the lock ends", on).await;
    farm.prints(id, "power off\nup").await;
    farm.harness.reaches(id, "running").await;
    let off = || async { farm.harness.post(&act("poweroff"), &json!({})).await.0 == 201 };
    eventually("the lock ends", off).await;
    farm.harness.reaches(id, "off").await;
    farm.prints(id, "power cut").await;
    assert_eq!(farm.console(id).await.matches("asked").count(), 1);
    farm.harness.sim.shutdown().await;
}

#[tokio::test]
async fn the_end_of_the_simulator_is_the_end_of_its_guests() {
    let farm = Farm::new("trap '' TERM; echo $$ > $ROOT/self; while :; do sleep 600; done").await;
    let id = farm.create("a").await;
    let guest = farm.pid(id, "self").await;
    farm.harness.sim.shutdown().await;
    assert!(test_kill_process(guest).is_err());
}

#[tokio::test]
async fn a_broken_user_data_leaves_a_running_server_and_a_note() {
    let farm = Farm::new("echo never").await;
    for (name, user_data, note) in [
        (
            "script",
            "#!/bin/sh".to_owned(),
            "does not begin with the line #cloud-config",
        ),
        ("yaml", "#cloud-config\n{".to_owned(), "not valid YAML"),
        (
            "path",
            user_data("/etc/passwd"),
            "/etc/passwd is not a path that may be written",
        ),
        (
            "escape",
            user_data("/run/clawdlets/cattle/../../../x"),
            "is not a path",
        ),
    ] {
        let id = farm.create_with(name, &user_data).await;
        farm.prints(id, note).await;
        assert_eq!(farm.harness.status(id).await, "running");
        assert!(!farm.console(id).await.contains("never"));
    }
    farm.harness.sim.shutdown().await;
}

#[tokio::test]
async fn a_reset_boots_with_an_empty_run_and_the_same_disk() {
    let farm = Farm::new(
        "touch $ROOT/run/left $ROOT/var-left; ls $ROOT/run | tr '\\n' ' '; \
         echo boot $(ls $ROOT | grep -c left); sleep 600",
    )
    .await;
    let id = farm.create("a").await;
    farm.prints(id, "boot 1").await;
    fs::write(farm.root(id).join("run/stale"), "x").unwrap();
    let path = format!("/v1/servers/{id}/actions/reset");
    eventually("the lock ends", || async {
        farm.harness.post(&path, &json!({})).await.0 == 201
    })
    .await;
    eventually("it boots again", || async {
        farm.console(id).await.matches("boot 1").count() == 2
    })
    .await;
    assert!(!farm.root(id).join("run/stale").exists());
    assert!(farm.root(id).join("var-left").exists());
    farm.harness.sim.shutdown().await;
}
