//! `clf-orchestrator run` as a process.

use std::{
    fs,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Project, Sim, binary, eventually, sim::TOKEN};

/// A running controller; killed on drop.
#[derive(Debug)]
pub struct Controller {
    child: Child,
}

impl Controller {
    /// Starts one and waits until its socket answers.
    #[must_use]
    pub fn start(project: &Project, sim: &Sim, args: &[&str]) -> Self {
        let mut controller = Self::spawn(project, sim, args);
        let socket = project.socket();
        eventually("the controller's socket answers", || {
            if let Some(status) = controller.child.try_wait().unwrap() {
                panic!("the controller ended: {status}\n{}", project.log_tail());
            }
            std::os::unix::net::UnixStream::connect(&socket).ok()
        });
        controller
    }

    /// Starts one.
    #[must_use]
    pub fn spawn(project: &Project, sim: &Sim, args: &[&str]) -> Self {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(project.log())
            .unwrap();
        let child = Command::new(binary("clf-orchestrator"))
            .args(["run", "--project"])
            .arg(project.path())
            .args(["--guest-listen", &project.guest_listen(), "--secrets-dir"])
            .arg(project.secrets())
            .arg("--specs")
            .arg(format!("{}:operator", project.specs().display()))
            .args(args)
            .env("HCLOUD_TOKEN", TOKEN)
            .env("HCLOUD_ENDPOINT", sim.url())
            .env("RUST_LOG", "trace,h2=info,hyper=trace")
            .env_remove("CLF_SOCKET_PATH")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child }
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; answers how it ended and after how many seconds.
    pub fn terminate(&mut self) -> (ExitStatus, f64) {
        let began = Instant::now();
        kill_process(
            Pid::from_raw(self.child.id().cast_signed()).unwrap(),
            Signal::TERM,
        )
        .unwrap();
        let status = self.child.wait().unwrap();
        (status, began.elapsed().as_secs_f64())
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every file beneath a directory.
#[must_use]
pub fn files_beneath(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(dir) = todo.pop() {
        let Ok(entries) = fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries.flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                todo.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found
}
