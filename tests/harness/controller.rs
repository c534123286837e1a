//! `clf-orchestrator run` as a process.

use std::{
    fs,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Project, Ran, Sim, binary, eventually, process::PATIENCE, sim::TOKEN};

/// A running controller; killed on drop.
#[derive(Debug)]
pub struct Controller {
    child: Child,
}

impl Controller {
    /// Starts one and waits until it answers, and has read its spec directories.
    #[must_use]
    pub fn start(project: &Project, sim: &Sim, args: &[&str]) -> Self {
        let controller = Self::spawn(project, sim, args).answering(project);
        eventually("its first pass is done", || {
            let (_, reply) = project.get("/readyz")?;
            (reply["detail"] != "the first pass is not done").then_some(())
        });
        controller
    }

    /// Waits until its socket answers.
    #[must_use]
    pub fn answering(mut self, project: &Project) -> Self {
        let socket = project.socket();
        eventually("the controller's socket answers", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the controller ended: {status}\n{}", project.log_tail());
            }
            std::os::unix::net::UnixStream::connect(&socket).ok()
        });
        self
    }

    /// Starts one.
    #[must_use]
    pub fn spawn(project: &Project, sim: &Sim, args: &[&str]) -> Self {
        Self::from(Self::command(project, sim).args(args))
    }

    /// The command line of one, not started yet.
    #[must_use]
    pub fn command(project: &Project, sim: &Sim) -> Command {
        let mut command = Command::new(binary("clf-orchestrator"));
        command.args(["run", "--project"]).arg(project.path());
        Self::place(&mut command, project, sim);
        command
    }

    /// Tells a command of `clf-orchestrator` where everything is.
    fn place(command: &mut Command, project: &Project, sim: &Sim) {
        command
            .args(["--guest-listen", &project.guest_listen(), "--secrets-dir"])
            .arg(project.secrets())
            .arg("--specs")
            .arg(format!("{}:operator", project.specs().display()));
        if !project.socket().starts_with(project.path()) {
            command.arg("--socket").arg(project.socket());
        }
        Self::place_env(command, project, sim);
    }

    /// The environment of a controller, and its outputs.
    pub fn place_env(command: &mut Command, project: &Project, sim: &Sim) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(project.log())
            .unwrap();
        command
            .env("HCLOUD_TOKEN", TOKEN)
            .env("HCLOUD_ENDPOINT", sim.url())
            .env("RUST_LOG", "trace,h2=info,hyper=trace")
            .env_remove("CLF_SOCKET_PATH")
            .stdout(Stdio::null())
            .stderr(log);
    }

    /// Runs a command that is expected to end, and says how. One that goes on instead is killed, so
    /// that the test fails and does not hang.
    #[must_use]
    pub fn refused(command: &mut Command) -> Ran {
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let (done, ended) = mpsc::channel();
        thread::spawn(move || done.send(child.wait_with_output()));
        match ended.recv_timeout(PATIENCE) {
            Ok(output) => output.unwrap().into(),
            Err(_) => {
                kill_process(pid, Signal::KILL).unwrap();
                panic!("it was not refused: it runs");
            }
        }
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    #[must_use]
    pub fn ended(mut self) -> ExitStatus {
        self.child.wait().unwrap()
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
        let status = eventually("it ends after SIGTERM", || self.child.try_wait().unwrap());
        (status, began.elapsed().as_secs_f64())
    }
}

impl From<&mut Command> for Controller {
    fn from(command: &mut Command) -> Self {
        let child = command.spawn().unwrap();
        Self { child }
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
