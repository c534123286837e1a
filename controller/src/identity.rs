//! Who this controller is, and what it writes onto the fleet's firewall about that.
//!
//! The decisions are [`cattle_core::identity`]'s. Invariants: an id is durable in the ledger before
//! the firewall carries it, so that the next life of this controller knows it for its own; a dry run
//! writes nothing anywhere; nothing is written into a project that is not ours.

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc, time::Duration};

use cattle_core::{
    identity::{self, ControllerMark, LedgerMark, Marks, Own},
    names::FleetName,
    observed::{FirewallView, Observed},
};
use cattle_schemas::Timestamp;
use chrono::Utc;
use tokio::{sync::watch, time::Instant};

use crate::{
    hetzner::{Client, Firewall},
    store::{Store, StoreError},
};

/// The count of runs on the firewall is raised at most so often: a call for each run would cost a
/// third of what a run does.
const RAISE_EVERY: Duration = Duration::from_secs(60);

/// Earlier lives that are remembered: only a label that was written is theirs, so one would do but
/// for those whose call was lost.
const MAX_LIVES: usize = 16;

/// The ledger's value with its own id.
const LEDGER_ID: &str = "ledger-id";
/// The ledger's value with the ids of this controller's lives, newest first.
const LIVES: &str = "controllers";
/// The ledger's value with the mark that an operator said to take over from, after a `=`.
const ACCEPTED_LEDGER: &str = "ledger-accepted";
/// The ledger's value with the id of the other controller that an operator said is stopped.
const ACCEPTED_CONTROLLER: &str = "controller-accepted";

/// An operator said that this ledger keeps the fleet from now on, whatever the firewall says. `anew`
/// gives it another id: an older copy must not be taken for the newer one that may still be found.
///
/// # Errors
/// The ledger does not answer, or the system has no randomness.
pub async fn take_over(
    store: &dyn Store,
    from: Option<&LedgerMark>,
    anew: bool,
) -> anyhow::Result<()> {
    let text = from.map(ToString::to_string).unwrap_or_default();
    if anew {
        store.put_meta(LEDGER_ID.to_owned(), draw()?).await?;
    }
    store
        .put_meta(ACCEPTED_LEDGER.to_owned(), format!("={text}"))
        .await?;
    Ok(())
}

/// An operator said that this other controller is stopped.
///
/// # Errors
/// The ledger does not answer.
pub async fn replaces(store: &dyn Store, rival: &ControllerMark) -> Result<(), StoreError> {
    store
        .put_meta(ACCEPTED_CONTROLLER.to_owned(), rival.id.clone())
        .await
}

/// Keeps the fleet's firewall told of who keeps the fleet.
pub struct Identity {
    store: Arc<dyn Store>,
    own: watch::Sender<Arc<Own>>,
    /// When the count was last written.
    raised: Option<Instant>,
    /// Rivals that were told that we live.
    told: BTreeSet<String>,
}

/// What a firewall that is made is marked with.
#[derive(Clone)]
pub struct BirthMarks {
    store: Arc<dyn Store>,
    own: watch::Receiver<Arc<Own>>,
}

impl Identity {
    /// Draws this life's id, and the ledger's where it has none. A dry run draws nothing.
    ///
    /// # Errors
    /// The ledger does not answer, or the system has no randomness.
    pub async fn open(store: Arc<dyn Store>, takes_over: bool) -> anyhow::Result<Self> {
        let mut ledger = store.meta(LEDGER_ID.to_owned()).await?;
        let mut controller = None;
        if takes_over {
            if ledger.is_none() {
                let id = draw()?;
                store.put_meta(LEDGER_ID.to_owned(), id.clone()).await?;
                ledger = Some(id);
            }
            controller = Some(ControllerMark {
                id: draw()?,
                started: Utc::now().timestamp_millis(),
            });
        }
        let own = Own {
            ledger,
            steps: store.count_steps().await?,
            controller,
            earlier: lives(store.as_ref()).await?,
            settled: false,
            rival: None,
            accepted: accepted(store.as_ref()).await?,
            looked_at: None,
        };
        Ok(Self {
            store,
            own: watch::Sender::new(Arc::new(own)),
            raised: None,
            told: BTreeSet::new(),
        })
    }

    /// What is known of ourselves, from look to look.
    #[must_use]
    pub fn own(&self) -> watch::Receiver<Arc<Own>> {
        self.own.subscribe()
    }

    /// For whoever makes the firewall.
    #[must_use]
    pub fn birth_marks(&self) -> BirthMarks {
        BirthMarks {
            store: self.store.clone(),
            own: self.own.subscribe(),
        }
    }

    /// Takes in what was just listed and read, and writes what the firewall should say; `observed`
    /// is then as it is afterwards.
    pub async fn settle(
        &mut self,
        client: &Client,
        fleet: &FleetName,
        observed: &mut Observed,
        firewall: Option<&Firewall>,
        now: Timestamp,
    ) {
        if let Err(error) = self
            .try_settle(client, fleet, observed, firewall, now)
            .await
        {
            tracing::warn!(error = %crate::report(error.as_ref()), "the fleet's firewall was not marked");
        }
    }

    async fn try_settle(
        &mut self,
        client: &Client,
        fleet: &FleetName,
        observed: &mut Observed,
        firewall: Option<&Firewall>,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        let mut own = Own::clone(&self.own.borrow());
        own.steps = self.store.count_steps().await?;
        own.ledger = self.store.meta(LEDGER_ID.to_owned()).await?;
        own.accepted = accepted(self.store.as_ref()).await?;
        own.looked_at = observed.listed_at;
        let stopped = self.store.meta(ACCEPTED_CONTROLLER.to_owned()).await?;
        if let Some(stopped) = stopped.filter(|id| !id.is_empty()) {
            if own.rival.as_ref().is_some_and(|rival| rival.id == stopped) {
                own.rival = None;
                own.settled = false;
            }
            // Its id may be on the firewall still, or be written once more.
            if !own.earlier.contains(&stopped) {
                own.earlier.insert(0, stopped);
            }
        }
        if let FirewallView::Seen(marks) = &observed.firewall {
            own.settled |= own.controller.is_some()
                && marks.controller.as_ref().map(|it| &it.id)
                    == own.controller.as_ref().map(|it| &it.id);
        }
        if let Some(rival) = identity::rival(&own, observed, fleet).cloned() {
            if own.rival.as_ref() != Some(&rival)
                && let Some(ours) = &own.controller
            {
                tracing::error!("{}", identity::rival_in_words(ours, &rival));
            }
            own.rival = Some(rival);
        }
        // Known to everybody before anything is written for it.
        self.publish(own.clone());
        let ledger = self.store.ledger(Vec::new(), now).await?;
        let project = identity::project(&own, observed, &ledger, fleet);
        let may_raise = self
            .raised
            .is_none_or(|raised| raised.elapsed() >= RAISE_EVERY);
        let claim = identity::claim(&own, observed, fleet, project, may_raise);
        let (Some(marks), Some(firewall)) = (claim, firewall) else {
            return Ok(());
        };
        if let Some(rival) = &own.rival
            && !self.told.insert(rival.id.clone())
        {
            // It was told that we live; nobody is told twice.
            return Ok(());
        }
        record(self.store.as_ref(), &own).await?;
        client.mark_firewall(fleet, firewall, &marks).await?;
        tracing::info!(
            ledger = marks.ledger.as_ref().map(ToString::to_string),
            controller = marks.controller.as_ref().map(ToString::to_string),
            "marked the fleet's firewall"
        );
        if own.accepted.is_some() && marks.ledger.as_ref().map(|it| &it.id) == own.ledger.as_ref() {
            // Done: should that mark come back, it is somebody else's again.
            self.store
                .put_meta(ACCEPTED_LEDGER.to_owned(), String::new())
                .await?;
            own.accepted = None;
        }
        self.raised = Some(Instant::now());
        observed.firewall = FirewallView::Seen(marks);
        own.settled = true;
        self.publish(own);
        Ok(())
    }

    fn publish(&self, own: Own) {
        self.own.send_if_modified(|known| {
            let changed = **known != own;
            if changed {
                *known = Arc::new(own);
            }
            changed
        });
    }
}

impl BirthMarks {
    /// The marks of a firewall that is about to be made, durable in the ledger.
    ///
    /// # Errors
    /// The ledger does not answer.
    pub async fn get(&self) -> Result<Marks, StoreError> {
        let own = self.own.borrow().clone();
        record(self.store.as_ref(), &own).await?;
        Ok(Marks {
            ledger: own.ledger.clone().map(|id| LedgerMark {
                id,
                count: own.steps,
            }),
            controller: own.controller.clone(),
        })
    }
}

/// Remembers this life, so that the next one knows its id on the firewall.
async fn record(store: &dyn Store, own: &Own) -> Result<(), StoreError> {
    let Some(controller) = &own.controller else {
        return Ok(());
    };
    let mut ids = lives(store).await?;
    if ids.first() == Some(&controller.id) {
        return Ok(());
    }
    ids.retain(|id| *id != controller.id);
    ids.insert(0, controller.id.clone());
    ids.truncate(MAX_LIVES);
    store.put_meta(LIVES.to_owned(), ids.join(" ")).await
}

async fn accepted(store: &dyn Store) -> Result<Option<String>, StoreError> {
    let text = store.meta(ACCEPTED_LEDGER.to_owned()).await?;
    Ok(text.and_then(|text| Some(text.strip_prefix('=')?.to_owned())))
}

async fn lives(store: &dyn Store) -> Result<Vec<String>, StoreError> {
    let text = store.meta(LIVES.to_owned()).await?.unwrap_or_default();
    Ok(text.split_ascii_whitespace().map(str::to_owned).collect())
}

/// 64 random bits in hexadecimal: enough to tell ledgers and lives apart, short in a label.
fn draw() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("the system has no randomness to give: {error}"))?;
    let mut hex = String::with_capacity(16);
    for byte in bytes {
        // Writing to a `String` cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(hex)
}
