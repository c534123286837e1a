//! What the HTTP layer, the clock and the guests share: the world behind a lock.

use std::{
    future::Future,
    sync::{Mutex, PoisonError},
};

use axum::http::{HeaderMap, header};
use chrono::Utc;
use tokio::sync::{Notify, watch};

use crate::{
    config::Token,
    error::ApiError,
    guest::{self, Guests},
    http::is_loopback_host,
    message::{Answer, Request},
    recording::Recording,
    world::World,
};

/// The world and what moves it.
#[derive(Debug)]
pub(crate) struct Shared {
    world: Mutex<World>,
    /// Something changed: the next event may be nearer than it was.
    changed: Notify,
    guests: Option<Guests>,
    tokens: Vec<Token>,
    recording: Option<Recording>,
    stopping: watch::Receiver<bool>,
}

impl Shared {
    pub(crate) fn new(
        world: World,
        guests: Option<Guests>,
        tokens: Vec<Token>,
        recording: Option<Recording>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self {
            world: Mutex::new(world),
            changed: Notify::new(),
            guests,
            tokens,
            recording,
            stopping,
        }
    }

    /// Does something with the world and passes on what follows for guests. The effects go out
    /// under the lock, so that they arrive in the order in which they arose.
    pub(crate) fn with<T>(&self, deed: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = deed(&mut world);
        for effect in world.take_effects() {
            if let Some(guests) = &self.guests {
                guests.order(effect);
            }
        }
        drop(world);
        self.changed.notify_one();
        outcome
    }

    /// Answers a call of the API.
    pub(crate) fn call(&self, request: &Request) -> Answer {
        let answer = self.with(|world| world.call(Utc::now(), request));
        if let Some(recording) = &self.recording {
            recording.write(&answer);
        }
        answer
    }

    /// Lets time pass, for as long as it is polled.
    pub(crate) async fn keep_time(&self) {
        loop {
            let next = {
                let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
                world.advance(Utc::now());
                for effect in world.take_effects() {
                    if let Some(guests) = &self.guests {
                        guests.order(effect);
                    }
                }
                world.next_due()
            };
            let sleep = async {
                match next {
                    // Wakes at the moment or just after; before it would only turn around.
                    Some(due) => {
                        let wait = (due - Utc::now()).to_std().unwrap_or_default();
                        tokio::time::sleep(wait).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Waits for something, but no longer than until the simulator is to stop.
    pub(crate) async fn unless_stopping(&self, wait: impl Future<Output = ()>) {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            () = wait => {}
            // An error means that the simulator is gone already.
            _ = stopping.wait_for(|stop| *stop) => {}
        }
    }

    pub(crate) fn needs_token_everywhere(&self) -> bool {
        self.guests.is_some()
    }

    pub(crate) fn may_write(&self, bearer: Option<&str>) -> bool {
        bearer.is_some_and(|presented| self.tokens.iter().any(|token| token.is(presented)))
    }

    /// The rules for a simulator that starts processes.
    pub(crate) fn allows(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        if self.guests.is_none() {
            return Ok(());
        }
        let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
        if !host.is_some_and(is_loopback_host) {
            return Err(ApiError::new(
                403,
                "forbidden",
                "Host must be a loopback address",
            ));
        }
        if headers.contains_key(header::ORIGIN) {
            return Err(ApiError::new(
                403,
                "forbidden",
                "requests of web pages are refused",
            ));
        }
        Ok(())
    }

    pub(crate) fn console(&self, server: u64) -> Option<Vec<u8>> {
        self.guests.as_ref()?.console(server).ok()
    }

    pub(crate) fn guest_exited(&self, exit: &guest::Exit) {
        self.with(|world| world.guest_exited(Utc::now(), exit.server, exit.boot));
    }

    pub(crate) async fn close_guests(&self) {
        if let Some(guests) = &self.guests {
            guests.close().await;
        }
    }
}
