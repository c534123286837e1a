//! Wires the parts together and keeps them running until told to stop.
//!
//! Start: lock the state directory, open the ledger, bind both listeners, then begin. Stop: accept
//! nothing more, let what is in flight end for a few seconds, delete nothing.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use cattle_core::observed::Observed;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::Clock,
    execute::{Executor, Needs},
    fleet_file::FleetFile,
    guest_api::{self, GuestApi},
    hetzner::{Client, Endpoint},
    intake::{Scanner, Watcher},
    lister::{Lister, Pace},
    logs::Logs,
    reconcile::Reconciler,
    secrets::Secrets,
    settings::Settings,
    socket_api::{self, SocketApi},
    store::{SqliteStore, StateLock, Store},
    world::{Bell, Handle, Prices, World},
};

/// Effects in flight get this long at a stop: SIGTERM to exit stays under five seconds.
const DRAIN: Duration = Duration::from_secs(3);

/// Prices change by announcement, months ahead.
const PRICES_EVERY: Duration = Duration::from_secs(6 * 3_600);

/// After prices could not be read: they are wanted, but nothing waits for them.
const PRICES_RETRY: Duration = Duration::from_secs(60);

/// How often what is past its retention is forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(3_600);

/// A running controller.
pub struct Daemon {
    /// What it sees.
    pub handle: Handle,
    stop: CancellationToken,
    tasks: TaskTracker,
    executor: Executor,
    _lock: StateLock,
}
