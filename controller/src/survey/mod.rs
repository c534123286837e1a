//! Keeps what is known of Hetzner's offer up to date: server types, prices, and the images that
//! something is to start with.
//!
//! It reads beside everything else and rings when something changed; the plan decides what waits for
//! it. What is asked when is in `known.rs`.

mod known;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use cattle_core::{account::Token, catalogue::Catalogue, fleet::Fleet};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use self::known::{Answer, Failed, Known, Subject};
use crate::{
    clock::Clock,
    hetzner::{ApiError, Client},
    world::Bell,
};

/// The longest that an answer is waited for: starts may be waiting for it.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Doubts that wait to be heard. One that is lost costs one more create that is refused.
const DOUBTS: usize = 64;

/// Reads the offer, and again now and then.
pub struct Survey {
    /// Hetzner.
    pub client: Arc<Client>,
    /// Its clock.
    pub clock: Clock,
    /// The fleet's configuration, which names an image.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// The images of what is to start.
    pub wanted: watch::Receiver<BTreeSet<String>>,
    /// Images that a create was refused for.
    pub doubts: mpsc::Receiver<String>,
    /// Where what was read goes.
    pub catalogue: watch::Sender<Arc<Catalogue>>,
    /// Rung after each change.
    pub bell: Bell,
    /// How long after something could not be read, or was not there, it is asked for again.
    pub again: Duration,
}

/// How somebody tells that an image is not what it was taken for.
#[derive(Clone, Debug)]
pub struct Doubt(mpsc::Sender<String>);

impl Doubt {
    /// A way to tell, and where it is heard.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<String>) {
        let (sender, receiver) = mpsc::channel(DOUBTS);
        (Self(sender), receiver)
    }

    /// A create was refused for this image: look for it again.
    pub fn tell(&self, image: &str) {
        // Full: told often enough.
        let _ = self.0.try_send(image.to_owned());
    }
}

impl Survey {
    /// Reads until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut known = Known::new(self.again, Instant::now());
        let mut reads = JoinSet::new();
        let mut token = self.client.token();
        loop {
            let now = Instant::now();
            let fleets = self.fleet.borrow_and_update().placement.image.clone();
            known.want(&self.wanted.borrow_and_update(), &fleets, now);
            self.begin(&mut known, &mut reads, now);
            self.publish(&known, now);
            tokio::select! {
                () = stop.cancelled() => return,
                Some(read) = reads.join_next() => self.finish(&mut known, read),
                Ok(()) = self.wanted.changed() => {}
                Ok(()) = self.fleet.changed() => {}
                Ok(()) = token.changed() => {
                    if *token.borrow_and_update() == Token::Accepted {
                        known.hear_again(Instant::now());
                    }
                }
                Some(image) = self.doubts.recv() => known.doubt(&image, Instant::now()),
                () = tokio::time::sleep_until(known.next_due(now)) => {}
            }
        }
    }

    /// Reads everything that is wanted, once.
    pub async fn once(&mut self, wanted: &BTreeSet<String>) {
        let mut known = Known::new(self.again, Instant::now());
        let mut reads = JoinSet::new();
        let fleets = self.fleet.borrow().placement.image.clone();
        known.want(wanted, &fleets, Instant::now());
        loop {
            self.begin(&mut known, &mut reads, Instant::now());
            let Some(read) = reads.join_next().await else {
                break;
            };
            self.finish(&mut known, read);
        }
        self.publish(&known, Instant::now());
    }

    fn begin(&self, known: &mut Known, reads: &mut JoinSet<Read>, now: Instant) {
        for subject in known.take_due(now) {
            let (client, clock) = (self.client.clone(), self.clock.clone());
            reads.spawn(async move {
                let answer = read(&client, &clock, &subject).await;
                (subject, answer)
            });
        }
    }

    fn finish(&self, known: &mut Known, read: Result<Read, tokio::task::JoinError>) {
        let (subject, result) = read.expect("a read neither panics nor is aborted");
        if let Err(failed) = &result {
            tracing::warn!(?subject, error = failed.message, "could not be read");
        }
        known.apply(&subject, result, Instant::now());
    }

    fn publish(&self, known: &Known, now: Instant) {
        let next = known.catalogue(now);
        let changed = self.catalogue.send_if_modified(|catalogue| {
            let changed = **catalogue != next;
            if changed {
                *catalogue = Arc::new(next);
            }
            changed
        });
        if changed {
            self.bell.ring();
        }
    }
}

/// What a read came to.
type Read = (Subject, Result<Answer, Failed>);

async fn read(client: &Client, clock: &Clock, subject: &Subject) -> Result<Answer, Failed> {
    let answer = async {
        match subject {
            Subject::ServerTypes => client.server_types().await.map(Answer::ServerTypes),
            Subject::Pricing => client.pricing().await.map(Answer::Pricing),
            Subject::Image(text) => client.image(text, clock.now()).await.map(Answer::Image),
        }
    };
    match tokio::time::timeout(ANSWER_WITHIN, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(failed(&error)),
        Err(_) => Err(Failed {
            message: format!(
                "Hetzner did not answer within {} s",
                ANSWER_WITHIN.as_secs()
            ),
            retry_in: None,
        }),
    }
}

fn failed(error: &ApiError) -> Failed {
    Failed {
        message: error.to_string(),
        retry_in: error.retry_in(),
    }
}
