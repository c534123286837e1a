//! Guests as real processes: one actor for each server starts, signals and outlives its process.
//!
//! Invariants: a guest never outlives its server or the simulator's orderly end; a boot waits
//! until what ran before is dead; a guest gets nothing of our environment but `PATH`.
//!
//! As on a cattle image, whose `/var/lib/cloud` is a tmpfs, every boot is a first boot to
//! cloud-init: it reads `user_data` and writes its files again.

mod disk;
mod user_data;

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{Child, Command},
    sync::mpsc,
    task::JoinSet,
};

use self::disk::Disk;
use crate::world::Effect;

/// How long killed processes may take to go away when the simulator ends.
const REAP_LIMIT: Duration = Duration::from_secs(5);

/// A guest that ended of itself.
#[derive(Debug)]
pub(crate) struct Exit {
    pub(crate) server: u64,
    pub(crate) boot: u64,
}

/// How to start guests.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) command: Vec<String>,
    pub(crate) runners: Option<PathBuf>,
    pub(crate) root: PathBuf,
    pub(crate) keep: bool,
}

/// All guests.
#[derive(Debug)]
pub(crate) struct Guests {
    settings: Arc<Settings>,
    exits: mpsc::UnboundedSender<Exit>,
    actors: Mutex<Actors>,
}

#[derive(Debug, Default)]
struct Actors {
    orders: HashMap<u64, mpsc::UnboundedSender<Order>>,
    tasks: JoinSet<()>,
    closed: bool,
}

#[derive(Debug)]
enum Order {
    Boot {
        boot: u64,
        user_data: Option<String>,
    },
    Terminate,
    Kill,
    Destroy,
    Forget,
}

impl Guests {
    pub(crate) fn new(settings: Settings, exits: mpsc::UnboundedSender<Exit>) -> Self {
        Self {
            settings: Arc::new(settings),
            exits,
            actors: Mutex::default(),
        }
    }

    fn disk(&self, server: u64) -> Disk {
        Disk::new(self.settings.root.join(server.to_string()))
    }

    /// What a server's guest printed.
    pub(crate) fn console(&self, server: u64) -> io::Result<Vec<u8>> {
        self.disk(server).read_console()
    }

    /// Passes an effect on to the server's actor. Does not wait.
    pub(crate) fn order(&self, effect: Effect) {
        let (server, order) = match effect {
            Effect::Boot {
                server,
                boot,
                user_data,
            } => (server, Order::Boot { boot, user_data }),
            Effect::Terminate { server } => (server, Order::Terminate),
            Effect::Kill { server } => (server, Order::Kill),
            Effect::Destroy { server } => (server, Order::Destroy),
            Effect::Forget { server } => (server, Order::Forget),
        };
        let mut actors = self.actors.lock().unwrap_or_else(PoisonError::into_inner);
        if actors.closed {
            return;
        }
        // Finished actors are collected here, so that their number stays that of the servers.
        while actors.tasks.try_join_next().is_some() {}
        let forget = matches!(order, Order::Forget);
        if !actors.orders.contains_key(&server) {
            if !matches!(order, Order::Boot { .. }) {
                return;
            }
            let (sender, receiver) = mpsc::unbounded_channel();
            let actor = Actor {
                server,
                disk: self.disk(server),
                settings: Arc::clone(&self.settings),
                exits: self.exits.clone(),
                running: None,
            };
            actors.tasks.spawn(actor.run(receiver));
            actors.orders.insert(server, sender);
        }
        if let Some(sender) = actors.orders.get(&server) {
            // Fails only for an actor that ended, which has no guest to pass it to.
            let _ = sender.send(order);
        }
        if forget {
            actors.orders.remove(&server);
        }
    }

    /// Kills every guest and waits until they are gone.
    pub(crate) async fn close(&self) {
        let mut tasks = {
            let mut actors = self.actors.lock().unwrap_or_else(PoisonError::into_inner);
            actors.closed = true;
            actors.orders.clear();
            std::mem::take(&mut actors.tasks)
        };
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(REAP_LIMIT, all).await.is_err() {
            tracing::warn!("some guests did not end in time");
        }
    }
}

/// One server's guest.
struct Actor {
    server: u64,
    disk: Disk,
    settings: Arc<Settings>,
    exits: mpsc::UnboundedSender<Exit>,
    running: Option<Running>,
}

struct Running {
    child: Child,
    group: Option<Pid>,
    boot: u64,
}

impl Running {
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // ESRCH: it has just ended, which is what was wanted.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Actor {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Boot { boot, user_data }) => {
                        self.kill().await;
                        self.boot(boot, user_data);
                    }
                    Some(Order::Terminate) => {
                        if let Some(running) = &self.running {
                            running.signal(Signal::TERM);
                        }
                    }
                    Some(Order::Kill) => self.kill().await,
                    Some(Order::Destroy) => self.destroy().await,
                    Some(Order::Forget) => {
                        self.destroy().await;
                        return;
                    }
                    None => {
                        self.kill().await;
                        return;
                    }
                },
                status = ended(&mut self.running) => self.ended(status),
            }
        }
    }

    fn boot(&mut self, boot: u64, user_data: Option<String>) {
        match self.start(user_data.as_deref()) {
            Ok(child) => {
                let group = child
                    .id()
                    .and_then(|id| i32::try_from(id).ok())
                    .and_then(Pid::from_raw);
                self.running = Some(Running { child, group, boot });
            }
            Err(reason) => {
                // As on the real thing: the machine is up, and nothing useful runs in it.
                tracing::warn!(server = self.server, %reason, "guest did not start");
                self.disk.note(&reason);
            }
        }
    }

    fn start(&self, user_data: Option<&str>) -> Result<Child, String> {
        self.disk.prepare().map_err(|e| chain(&e))?;
        let files = user_data::files(user_data).map_err(|e| chain(&e))?;
        for file in &files {
            self.disk.write(file).map_err(|e| chain(&e))?;
        }
        if let Some(runners) = &self.settings.runners {
            self.disk.install_runners(runners).map_err(|e| chain(&e))?;
        }
        self.spawn().map_err(|error| {
            let program = self.settings.command.first().map_or("", String::as_str);
            format!("cannot start {program}: {error}")
        })
    }

    fn spawn(&self) -> io::Result<Child> {
        let (program, arguments) = self
            .settings
            .command
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no guest command"))?;
        let console = self.disk.console()?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .arg("run")
            .arg("--root")
            .arg(self.disk.root())
            .current_dir(self.disk.root())
            .env_clear()
            .env("HOME", self.disk.root())
            .env("LANG", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(console.try_clone()?)
            .stderr(console)
            .process_group(0)
            .kill_on_drop(true);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.spawn()
    }

    fn ended(&mut self, status: io::Result<ExitStatus>) {
        let Some(running) = self.running.take() else {
            return;
        };
        // The power is off: nothing of the guest's group may go on. The group's number is free
        // for reuse only once all its members are gone.
        running.signal(Signal::KILL);
        match status {
            Ok(status) => self.disk.note(&format!("guest ended: {status}; power off")),
            Err(error) => self.disk.note(&format!("guest lost: {error}; power off")),
        }
        let exit = Exit {
            server: self.server,
            boot: running.boot,
        };
        // Nobody listens any more only when the simulator ends.
        let _ = self.exits.send(exit);
    }

    async fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.signal(Signal::KILL);
            // Only fails for a child that was waited for already.
            let _ = running.child.wait().await;
            self.disk.note("power cut");
        }
    }

    async fn destroy(&mut self) {
        self.kill().await;
        if !self.settings.keep
            && let Err(error) = self.disk.wipe()
        {
            tracing::warn!(server = self.server, %error, "cannot remove the guest's directory");
        }
    }
}

async fn ended(running: &mut Option<Running>) -> io::Result<ExitStatus> {
    match running {
        Some(running) => running.child.wait().await,
        None => std::future::pending().await,
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text.replace('\n', " ")
}
