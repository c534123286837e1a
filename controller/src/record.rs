//! Turns a plan's actions into one commit, and what must follow it.
//!
//! Invariant: everything the ledger has to know before a call to Hetzner is in the same transaction
//! that this module builds; an effect whose record did not apply is dropped. (The one effect without a
//! record before it, by design, is the delete of what is past its expiry.) Ids and tokens are
//! drawn here, the only place in a pass that has randomness.

use std::collections::BTreeMap;

use cattle_core::{
    action::{Action, Limits},
    catalogue::Catalogue,
    charge,
    desired::Cattle,
    labels,
    ledger::{Assignment, Ledger, Run, RunServer},
    lifecycle::{self, Ending, Transition, deadlines},
    names::{RunId, ServerId},
    observed::{Observed, ObservedServer},
    pause::CONTROLLER,
};
use cattle_schemas::Timestamp;
use secrecy::SecretString;

use crate::{
    edit::{self, events},
    store::{Edit, TokenKind, TokenRecord},
    token,
};

/// What follows a commit.
#[derive(Debug)]
pub enum Effect {
    /// Create the server of this run's latest attempt.
    Create {
        /// The run.
        run: RunId,
        /// Goes into its `user_data` and nowhere else.
        token: SecretString,
        /// What its guest will get with its env.
        session: SecretString,
    },
    /// Delete a server of an ended run, after one more look at it.
    Delete {
        /// The run.
        run: RunId,
        /// Its server.
        server: ServerId,
        /// As a recent list had it, should it not be possible to look.
        listed: Option<Box<ObservedServer>>,
    },
    /// Delete the server of a live run that is past its expiry, after one more look at it.
    DeleteExpired {
        /// The run.
        run: RunId,
        /// Its server.
        server: ServerId,
    },
    /// Ask for a server by id: is it gone?
    ConfirmGone {
        /// The run.
        run: RunId,
        /// Its server.
        server: ServerId,
    },
    /// Ask for a server by name.
    Lookup {
        /// The run.
        run: RunId,
        /// The name.
        name: String,
    },
    /// Ask how far these actions are, all of a commit with one call.
    FollowCreate {
        /// The run.
        run: RunId,
        /// What its create began.
        actions: Vec<u64>,
    },
    /// Power on.
    PowerOn {
        /// The run.
        run: RunId,
        /// Its server.
        server: ServerId,
    },
    /// Put a server's labels right, after one more look at it.
    Relabel {
        /// The run.
        run: RunId,
        /// Its server.
        server: ServerId,
    },
    /// Delete a server that no run stands behind, after one more look at it.
    ReapOrphan {
        /// The server.
        server: ServerId,
        /// Its name.
        name: String,
    },
}

/// The commit of a pass and its effects.
#[derive(Default)]
pub struct Records {
    /// One transaction.
    pub edits: Vec<Edit>,
    /// Each effect, and the edit that must have applied for it, if any.
    effects: Vec<(Option<usize>, Effect)>,
}

impl Records {
    /// The effects that may follow, given which edits applied.
    #[must_use]
    pub fn effects(self, applied: &[bool]) -> Vec<Effect> {
        let allowed =
            |edit: Option<usize>| edit.is_none_or(|index| applied.get(index) == Some(&true));
        self.effects
            .into_iter()
            .filter_map(|(edit, effect)| allowed(edit).then_some(effect))
            .collect()
    }

    fn effect(&mut self, effect: Effect) {
        self.effects.push((None, effect));
    }

    fn edit(&mut self, edit: Edit) -> usize {
        self.edits.push(edit);
        self.edits.len() - 1
    }

    /// What the run that begins is made of.
    fn made_of(&mut self, cattle: &Cattle) {
        let substance = cattle.substance.clone();
        self.edit(edit::of_assignment(
            &cattle.name,
            &cattle.hash,
            move |assignment| Some(lifecycle::made_of(assignment.as_mut()?, &substance)),
        ));
    }

    fn run(
        &mut self,
        id: RunId,
        transition: impl FnOnce(&mut Run, Option<&mut Assignment>) -> Transition + Send + 'static,
    ) -> usize {
        self.edit(edit::of_run(id, transition))
    }
}

/// What the ledger keeps of an observed server, with what it costs as far as that is known.
#[must_use]
pub fn run_server(server: &ObservedServer, catalogue: &Catalogue) -> RunServer {
    RunServer {
        id: server.id,
        name: server.name.clone(),
        ipv4: server.ipv4.clone(),
        server_type: server.server_type.clone(),
        location: server.location.clone(),
        created: Some(server.created),
        price: charge::price_of_server(server, catalogue),
        made_of: server.image.map(|image| image.id.to_string()),
        image: server.image.map(|image| image.kind),
        actions: Vec::new(),
    }
}

/// Whether an action has a record of its own; the others were recorded by what led to them, or need
/// no record.
#[must_use]
pub fn is_recorded(action: &Action) -> bool {
    !matches!(
        action,
        Action::Relabel { .. }
            | Action::Delete { .. }
            | Action::DeleteExpired { .. }
            | Action::ConfirmGone { .. }
            | Action::Lookup { .. }
            | Action::FollowCreate { .. }
            | Action::PowerOn { .. }
            | Action::ReapOrphan { .. }
    )
}

/// Builds the commit of a pass.
///
/// # Errors
/// The system has no randomness to give.
pub fn record(
    actions: &[Action],
    observed: &Observed,
    ledger: &Ledger,
    limits: &Limits,
    now: Timestamp,
) -> Result<Records, getrandom::Error> {
    let servers: BTreeMap<ServerId, &ObservedServer> = observed
        .servers
        .iter()
        .map(|server| (server.id, server))
        .collect();
    let mut records = Records::default();
    for action in actions {
        add(
            &mut records,
            action,
            (observed, &servers),
            ledger,
            limits,
            now,
        )?;
    }
    Ok(records)
}

fn add(
    records: &mut Records,
    action: &Action,
    (observed, servers): (&Observed, &BTreeMap<ServerId, &ObservedServer>),
    ledger: &Ledger,
    limits: &Limits,
    now: Timestamp,
) -> Result<(), getrandom::Error> {
    match action.clone() {
        Action::Enqueue {
            cattle,
            hash,
            requester,
            substance,
        } => {
            records.edit(edit::of_assignment(&cattle, &hash, move |assignment| {
                let (fresh, told) = lifecycle::enqueue(assignment.as_ref(), &requester, now);
                if let Some(mut fresh) = fresh {
                    let _ = lifecycle::made_of(&mut fresh, &substance);
                    *assignment = Some(fresh);
                }
                Some(told)
            }));
        }
        Action::Close {
            cattle,
            hash,
            reason,
            message,
        } => {
            records.edit(edit::of_assignment(&cattle, &hash, move |assignment| {
                Some(lifecycle::close(
                    assignment.as_mut()?,
                    reason,
                    &message,
                    now,
                ))
            }));
        }
        Action::Start {
            cattle,
            origin,
            hourly_limit,
        } => {
            let (id, drawn) = (draw_run(now)?, Drawn::new()?);
            let (mut run, told) = lifecycle::begin(id, &cattle, &origin, limits.max_ttl, now);
            run.hourly_limit = hourly_limit;
            run.fleet = Some(limits.fleet.clone());
            run.session = Some(drawn.session_text.clone());
            let events = events(&told, cattle.name.as_str(), Some(id));
            let intent = records.edit(Edit::InsertRun {
                run: Box::new(run),
                events,
            });
            records.made_of(&cattle);
            drawn.create(records, intent, id, 1);
        }
        Action::Retry {
            run,
            placement,
            hourly_limit,
        } => {
            let attempt = ledger.runs.get(&run).map_or(1, |run| run.attempt + 1);
            let max_ttl = limits.max_ttl;
            let drawn = Drawn::new()?;
            let session = drawn.session_text.clone();
            let intent = records.run(run, move |run, _| {
                let told = lifecycle::retry(run, max_ttl, now);
                if told.applied {
                    run.hourly_limit = hourly_limit;
                    run.spec.placement = placement;
                    run.session = Some(session);
                }
                told
            });
            drawn.create(records, intent, run, attempt);
        }
        Action::Adopt { run, server } => {
            if let Some(server) = servers.get(&server) {
                let server = run_server(server, &limits.catalogue);
                records.run(run, move |run, _| lifecycle::adopt(run, server));
            }
        }
        Action::AdoptUnknown {
            cattle,
            origin,
            run,
            server,
            created,
            expires_at,
        } => {
            if let Some(listed) = servers.get(&server) {
                let session = labels::session(&listed.labels.raw);
                let (mut run, told) = lifecycle::adopt_unknown(
                    run,
                    &cattle,
                    &origin,
                    run_server(listed, &limits.catalogue),
                    session.map(|digest| labels::session_text(&digest)),
                    created..expires_at,
                    now,
                );
                run.fleet = Some(limits.fleet.clone());
                let (id, attempt) = (run.id, run.attempt);
                let events = events(&told, cattle.name.as_str(), Some(id));
                records.edit(Edit::InsertRun {
                    run: Box::new(run),
                    events,
                });
                records.made_of(&cattle);
                learn_session(records, id, attempt, listed);
            }
        }
        Action::Rejoin { run, server } => {
            // Its labels are newer than what the ledger has of it. Where it is not listed it may be gone.
            let listed = servers.get(&server);
            let session = listed.and_then(|listed| labels::session(&listed.labels.raw));
            let session = session.map(|digest| labels::session_text(&digest));
            records.run(run, move |run, _| lifecycle::rejoin(run, session));
            if let Some(listed) = listed {
                let attempt = ledger.runs.get(&run).map_or(1, |run| run.attempt);
                learn_session(records, run, attempt, listed);
            }
        }
        Action::NoteDuplicate { run, server, name } => {
            records.run(run, move |run, _| {
                lifecycle::duplicate_found(run, server, &name)
            });
        }
        Action::Redate { run } => {
            records.run(run, move |run, _| lifecycle::redate(run, now));
        }
        Action::Regain { run } => {
            records.run(run, move |run, _| lifecycle::regained(run));
        }
        Action::MarkBooted { run } => {
            records.run(run, move |run, _| lifecycle::mark_booted(run, now));
        }
        Action::Update {
            run,
            ttl,
            expires_at,
            on_failure,
            labels,
        } => {
            records.run(run, move |run, _| {
                lifecycle::update(run, ttl, expires_at, on_failure, &labels)
            });
        }
        Action::Relabel {
            run,
            server,
            labels: _,
        } => records.effect(Effect::Relabel { run, server }),
        Action::End {
            run,
            reason,
            message,
            hold_until,
            unless_env_handed_out,
            counts_for,
        } => {
            let ending = Ending {
                reason,
                message,
                hold_until,
                unless_env_handed_out,
                at_once: false,
            };
            records.run(run, move |run, assignment| {
                let told = lifecycle::end(run, assignment, &ending, now);
                if told.applied {
                    run.counts_for = counts_for;
                }
                told
            });
        }
        Action::HandedOver { run, stored } => {
            records.run(run, move |run, _| lifecycle::handed_over(run, stored));
        }
        Action::Release { run, message } => {
            records.run(run, move |run, _| lifecycle::release(run, &message));
        }
        Action::Delete { run, server } => {
            let recent = |_: &&ObservedServer| {
                // What was listed long ago says nothing about a server.
                observed
                    .listed_at
                    .is_some_and(|at| now < at + deadlines::LIST_STALE)
            };
            let listed = servers.get(&server).copied().filter(recent);
            let listed = listed.map(|it| Box::new(it.clone()));
            records.effect(Effect::Delete {
                run,
                server,
                listed,
            });
        }
        Action::DeleteExpired { run, server } => {
            records.effect(Effect::DeleteExpired { run, server });
        }
        Action::ConfirmGone { run, server } => records.effect(Effect::ConfirmGone { run, server }),
        Action::MarkGone { run } => {
            records.run(run, move |run, _| lifecycle::mark_gone(run, now));
        }
        Action::Lookup { run, name } => records.effect(Effect::Lookup { run, name }),
        Action::FollowCreate { run } => {
            let server = ledger.runs.get(&run).and_then(|run| run.server.as_ref());
            if let Some(server) = server {
                let actions = server.actions.clone();
                records.effect(Effect::FollowCreate { run, actions });
            }
        }
        Action::PowerOn { run, server } => records.effect(Effect::PowerOn { run, server }),
        Action::Pause(fresh) => {
            let (reason, subject) = (fresh.reason, fresh.subject.clone());
            records.edit(edit::of_pause(reason, &subject, move |held| {
                lifecycle::pause(held, &fresh)
            }));
        }
        Action::Resume {
            reason,
            subject,
            message,
        } => {
            records.edit(edit::of_pause(reason, &subject, move |held| {
                lifecycle::resume(held, CONTROLLER, &message, false, now)
            }));
        }
        Action::ReapOrphan {
            server,
            name,
            expired_at: _,
        } => {
            records.effect(Effect::ReapOrphan { server, name });
        }
    }
    Ok(())
}

/// The tokens of an attempt.
struct Drawn {
    bootstrap: SecretString,
    digest: [u8; 32],
    session: SecretString,
    /// Its digest, as the server carries it.
    session_text: String,
}

impl Drawn {
    fn new() -> Result<Self, getrandom::Error> {
        let (bootstrap, digest) = token::draw()?;
        let (session, session_digest) = token::draw()?;
        Ok(Self {
            bootstrap,
            digest,
            session,
            session_text: labels::session_text(&session_digest),
        })
    }

    /// The bootstrap token in the same transaction as its intent, and the create that follows. The
    /// session token becomes one when it is handed out.
    fn create(self, records: &mut Records, intent: usize, run: RunId, attempt: u32) {
        records.edit(Edit::InsertToken(TokenRecord {
            digest: self.digest,
            run,
            attempt,
            kind: TokenKind::Bootstrap,
            idempotency: None,
            peer: None,
            voided: false,
        }));
        let effect = Effect::Create {
            run,
            token: self.bootstrap,
            session: self.session,
        };
        records.effects.push((Some(intent), effect));
    }
}

/// The session of a server's guest is known again, by its label. From which address it spoke is not.
fn learn_session(records: &mut Records, run: RunId, attempt: u32, server: &ObservedServer) {
    if let Some(digest) = labels::session(&server.labels.raw) {
        records.edit(Edit::InsertToken(TokenRecord {
            digest,
            run,
            attempt,
            kind: TokenKind::Session,
            idempotency: None,
            peer: None,
            voided: false,
        }));
    }
}

fn draw_run(now: Timestamp) -> Result<RunId, getrandom::Error> {
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random)?;
    let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
    Ok(RunId::from_parts(millis, u128::from_be_bytes(random)))
}
