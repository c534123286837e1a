//! A runner's processes: its group, and what left the group.
//!
//! Invariant: no signal goes to a number that may belong to somebody else. A group is signalled
//! only while its leader is unreaped, a remembered process only while its start time agrees.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process, kill_process_group, waitid,
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// Each round kills the leftovers seen in it; only a fork bomb, or a process stuck in the kernel,
/// outlives this many.
const MAX_SWEEPS: u32 = 200;
/// Between rounds; with the above, two seconds that the result may have to wait.
const SWEEP_INTERVAL: Duration = Duration::from_millis(10);

/// A process that can still be recognised after its number was used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProcessId {
    pid: i32,
    /// Clock ticks after boot, from `/proc/<pid>/stat`.
    start_time: u64,
}

impl ProcessId {
    fn of(pid: Pid) -> Option<Self> {
        let stat = Stat::read(pid.as_raw_pid())?;
        Some(Self {
            pid: pid.as_raw_pid(),
            start_time: stat.start_time,
        })
    }

    /// Kills the group that this process leads and what descends from it, if it is still the same
    /// process.
    pub(crate) fn kill_with_descendants(self) {
        let same = Stat::read(self.pid).is_some_and(|stat| stat.start_time == self.start_time);
        if !same {
            return;
        }
        // Found before the leader dies, and with it their descent.
        let descendants = descendants(self.pid);
        if let Some(pid) = Pid::from_raw(self.pid) {
            // Gone in between is as good as killed.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        for pid in descendants.into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// The fields of `/proc/<pid>/stat` that are used here (proc_pid_stat(5)).
struct Stat {
    parent: i32,
    start_time: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The command's name is in parentheses and may hold anything, so fields count from the last one.
    fn parse(stat: &str) -> Option<Self> {
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        // After the name: state, ppid (4th field), …, starttime (22nd).
        let parent = fields.nth(1)?.parse().ok()?;
        let start_time = fields.nth(17)?.parse().ok()?;
        Some(Self { parent, start_time })
    }
}

/// A child that leads its own process group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    leader: Pid,
    /// Until the leader is reaped its number cannot be another group's.
    unreaped: Arc<Mutex<bool>>,
}

impl Group {
    /// Takes charge of `child`, which must lead a group. The receiver gets its status once it has
    /// ended and everything it left behind has been killed.
    pub(crate) fn adopt(
        mut child: Child,
    ) -> io::Result<(Self, oneshot::Receiver<io::Result<ExitStatus>>)> {
        let leader = Pid::from_raw(i32::try_from(child.id()).unwrap_or_default())
            .ok_or_else(|| io::Error::other("a child without a process id"))?;
        let group = Self {
            leader,
            unreaped: Arc::new(Mutex::new(true)),
        };
        let (sender, ended) = oneshot::channel();
        let waiting = group.clone();
        // A thread, because only a blocking wait can leave the child unreaped.
        std::thread::Builder::new()
            .name("runner-wait".to_owned())
            .spawn(move || {
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
                while matches!(
                    waitid(WaitId::Pid(leader), options),
                    Err(rustix::io::Errno::INTR)
                ) {}
                waiting.signal(Signal::KILL);
                let status = {
                    let mut unreaped = waiting.lock();
                    *unreaped = false;
                    child.wait()
                };
                kill_adopted();
                // Nobody waits any more when the guest itself is going down.
                let _ = sender.send(status);
            })?;
        Ok((group, ended))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, bool> {
        self.unreaped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn id(&self) -> Option<ProcessId> {
        ProcessId::of(self.leader)
    }

    /// Signals every process of the group; nothing if it is over.
    pub(crate) fn signal(&self, signal: Signal) {
        let unreaped = self.lock();
        if *unreaped {
            // ESRCH: only the zombie is left.
            let _ = kill_process_group(self.leader, signal);
        }
    }
}

/// From now on what loses its parent becomes ours instead of init's, so that a runner cannot leave
/// processes behind by daemonising them.
pub(crate) fn become_subreaper() {
    if let Err(error) = rustix::process::set_child_subreaper(Some(getpid())) {
        tracing::warn!(%error, "what a runner daemonises will outlive it");
    }
}

/// Kills and reaps what came to us as subreaper. Call it only when no other child is alive.
fn kill_adopted() {
    let own = getpid().as_raw_pid();
    for _ in 0..MAX_SWEEPS {
        let children = descendants(own);
        if children.is_empty() {
            return;
        }
        for pid in children.into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(SWEEP_INTERVAL);
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        while matches!(waitid(WaitId::All, options), Ok(Some(_))) {}
    }
    tracing::warn!("processes of the runner outlived {MAX_SWEEPS} rounds of killing");
}

/// Every process below `root`.
fn descendants(root: i32) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    for entry in entries.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if let Some(stat) = Stat::read(pid) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = children.remove(&root).unwrap_or_default();
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        found.extend(children.remove(&pid).unwrap_or_default());
        next += 1;
    }
    found
}

/// How a process ended, as the outcome says it: exit code or signal.
pub(crate) fn code_and_signal(status: ExitStatus) -> (Option<i32>, Option<i32>) {
    (status.code(), status.signal())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 3 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        let stat = Stat::parse(stat).expect("a whole line");
        assert_eq!((stat.parent, stat.start_time), (3, 4711));
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_the_parser_panic(line in ".{0,200}|[0-9) (]{0,200}") {
            let _ = Stat::parse(&line);
        }
    }

    #[test]
    fn a_remembered_process_is_ourselves_only_with_our_start_time() {
        let own = ProcessId::of(getpid()).expect("we run");
        assert_eq!(ProcessId::of(getpid()), Some(own));
        let other = ProcessId {
            start_time: own.start_time + 1,
            ..own
        };
        // Would end this test if the start time were not looked at.
        other.kill_with_descendants();
    }
}
