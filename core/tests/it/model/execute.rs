//! What the controller does with each action, and what becomes of it.

use std::collections::BTreeMap;

use cattle_core::{
    action::Action,
    breaker::{self, ImageFact},
    labels,
    lifecycle::{self, Ending},
    names::{RunId, ServerId},
    observed::{ActionState, ActionStatus, ServerState},
    ownership::{self, NotMade, Owner, Purpose, Spared},
    pause::CONTROLLER,
};
use cattle_schemas::status::{EndReason, PendingReason};

use super::{Fate, Guest, Model};
use crate::fixture::*;

impl Model {
    pub(super) fn execute(&mut self, action: &Action, fate: Fate) {
        let fate = match action {
            Action::Start { .. } | Action::Retry { .. } => fate,
            _ => fate.of_call(),
        };
        let now = self.world.now;
        let max_ttl = self.world.limits.max_ttl;
        let ledger = &mut self.world.ledger;
        match action {
            Action::Enqueue {
                cattle,
                hash,
                requester,
                substance,
            } => {
                let key = (cattle.clone(), hash.clone());
                let (assignment, _) =
                    lifecycle::enqueue(ledger.assignments.get(&key), requester, now);
                if let Some(mut assignment) = assignment {
                    let _ = lifecycle::made_of(&mut assignment, substance);
                    ledger.assignments.insert(key, assignment);
                }
            }
            Action::Close {
                cattle,
                hash,
                reason,
                message,
            } => {
                let key = (cattle.clone(), hash.clone());
                let assignment = ledger.assignments.get_mut(&key).unwrap();
                let _ = lifecycle::close(assignment, *reason, message, now);
            }
            Action::Start {
                cattle,
                origin,
                hourly_limit,
            } => {
                self.next_run += 1;
                let id = run_id(self.next_run);
                let (mut run, _) = lifecycle::begin(id, cattle, origin, max_ttl, now);
                run.hourly_limit = *hourly_limit;
                ledger.creates_last_hour.push(now);
                ledger.runs.insert(id, run);
                self.post(id, fate);
            }
            Action::Retry {
                run,
                placement,
                hourly_limit,
            } => {
                let record = ledger.runs.get_mut(run).unwrap();
                if lifecycle::retry(record, max_ttl, now).applied {
                    record.hourly_limit = *hourly_limit;
                    record.spec.placement = placement.clone();
                    self.post(*run, fate);
                }
            }
            Action::Adopt { run, server } => self.bind(*run, *server),
            Action::AdoptUnknown {
                cattle,
                origin,
                run,
                server,
                created,
                expires_at,
            } => {
                let seen = self
                    .world
                    .observed
                    .servers
                    .iter()
                    .find(|s| s.id == *server)
                    .unwrap();
                let (adopted, _) = lifecycle::adopt_unknown(
                    *run,
                    cattle,
                    origin,
                    run_server(seen),
                    None,
                    *created..*expires_at,
                    now,
                );
                ledger.runs.insert(*run, adopted);
            }
            Action::NoteDuplicate { run, server, name } => {
                let run = ledger.runs.get_mut(run).unwrap();
                assert!(lifecycle::duplicate_found(run, *server, name).applied);
            }
            Action::Redate { run } => {
                let _ = lifecycle::redate(ledger.runs.get_mut(run).unwrap(), now);
            }
            Action::Regain { run } => {
                let _ = lifecycle::regained(ledger.runs.get_mut(run).unwrap());
            }
            Action::Rejoin { run, .. } => {
                let _ = lifecycle::rejoin(ledger.runs.get_mut(run).unwrap(), None);
            }
            Action::MarkBooted { run } => {
                let _ = lifecycle::mark_booted(ledger.runs.get_mut(run).unwrap(), now);
            }
            Action::Update {
                run,
                ttl,
                expires_at,
                on_failure,
                labels,
            } => {
                let run = ledger.runs.get_mut(run).unwrap();
                let _ = lifecycle::update(run, *ttl, *expires_at, *on_failure, labels);
            }
            Action::Relabel {
                run,
                server,
                labels,
            } => {
                assert_eq!(labels["run"], run.to_string());
                self.confirm(*run, *server, fate);
            }
            Action::End {
                run,
                reason,
                message,
                hold_until,
                unless_env_handed_out,
                counts_for,
            } => {
                let run = ledger.runs.get_mut(run).unwrap();
                let key = (run.cattle.clone(), run.hash.clone());
                let ending = Ending {
                    reason: *reason,
                    message: message.clone(),
                    hold_until: *hold_until,
                    unless_env_handed_out: *unless_env_handed_out,
                    at_once: false,
                };
                let _ = lifecycle::end(run, ledger.assignments.get_mut(&key), &ending, now);
                run.counts_for.clone_from(counts_for);
                if let Some(source) = counts_for {
                    ledger.recent_ends.push((now, source.clone()));
                }
                if *reason == EndReason::BootTimeout {
                    let image = breaker::image_of(run).to_owned();
                    let record = ledger.images.entry(image).or_default();
                    record.learn(ImageFact::TimedOut(now));
                }
            }
            Action::HandedOver { run, stored } => {
                let run = ledger.runs.get_mut(run).unwrap();
                assert!(lifecycle::handed_over(run, *stored).applied);
            }
            Action::Release { run, message } => {
                let _ = lifecycle::release(ledger.runs.get_mut(run).unwrap(), message);
            }
            Action::Delete { run, server } | Action::DeleteExpired { run, server } => {
                self.delete(*run, *server, fate);
            }
            Action::ConfirmGone { run, server } => self.confirm(*run, *server, fate),
            Action::MarkGone { run } => {
                let _ = lifecycle::mark_gone(ledger.runs.get_mut(run).unwrap(), now);
            }
            Action::Lookup { run, name } => self.look_up(*run, name, fate),
            Action::FollowCreate { run } => self.follow(*run, fate),
            Action::PowerOn { run, server } => self.power_on(*run, *server, fate),
            Action::Pause(fresh) => {
                let (reason, subject) = (fresh.reason, &fresh.subject);
                self.world.change_pause(reason, subject, |held| {
                    let _ = lifecycle::pause(held, fresh);
                });
            }
            Action::Resume {
                reason,
                subject,
                message,
            } => self.world.change_pause(*reason, subject, |held| {
                let _ = lifecycle::resume(held, CONTROLLER, message, false, now);
            }),
            Action::ReapOrphan { server, .. } => {
                if fate != Fate::Lost && fate != Fate::Refused && self.is_expired(*server) {
                    self.servers.remove(server);
                    self.forget(*server);
                }
            }
        }
    }

    fn follow(&mut self, run: RunId, fate: Fate) {
        let now = self.world.now;
        let run = self.world.ledger.runs.get_mut(&run).unwrap();
        assert!(run.is_live() && run.env_at.is_none(), "nothing was unclear");
        let bound = run.server.as_ref().expect("a run without a server");
        let state = |server: ServerId| match self.servers.get(&server) {
            None if self.failed.contains(&server) => ActionStatus::Error {
                code: "action_failed".to_owned(),
            },
            Some(server) if server.seen.status == ServerState::Initializing => {
                ActionStatus::Running
            }
            _ => ActionStatus::Success,
        };
        let answers: Vec<_> = bound
            .actions
            .iter()
            .map(|id| ActionState {
                id: *id,
                command: "create_server".to_owned(),
                status: state(bound.id),
            })
            .collect();
        if fate != Fate::Works {
            let _ = lifecycle::not_followed(run, now);
            return;
        }
        let key = (run.cattle.clone(), run.hash.clone());
        let assignment = self.world.ledger.assignments.get_mut(&key);
        let _ = lifecycle::followed(run, assignment, &answers, now);
    }

    fn power_on(&mut self, run: RunId, server: ServerId, fate: Fate) {
        let now = self.world.now;
        let run = self.world.ledger.runs.get_mut(&run).unwrap();
        assert!(lifecycle::powering_on(run, now).applied);
        if !matches!(fate, Fate::Lost | Fate::Refused | Fate::Slow)
            && let Some(server) = self.servers.get_mut(&server)
            && !server.hopeless
        {
            server.seen.status = ServerState::Starting;
            server.guest = Guest::Down;
        }
        match fate {
            Fate::Crash => {}
            Fate::Works => {
                let _ = lifecycle::powered_on(run, None, now);
            }
            _ => {
                let _ = lifecycle::power_on_failed(run, "locked", secs(10), now);
            }
        }
    }

    /// Takes a server that is proved gone from what was seen.
    fn forget(&mut self, server: ServerId) {
        self.world.observed.servers.retain(|seen| seen.id != server);
    }

    fn bind(&mut self, run: RunId, server: ServerId) {
        if let Some(server) = self.servers.get(&server) {
            let run = self.world.ledger.runs.get_mut(&run).unwrap();
            let _ = lifecycle::adopt(run, run_server(&server.seen));
        }
    }

    /// The create reaches Hetzner. `None` where the name is taken.
    pub(super) fn reach(&mut self, run: RunId, fate: Fate) -> Option<ServerId> {
        let name = self.world.ledger.runs[&run].server_name();
        let taken = self.servers.values().any(|server| server.seen.name == name);
        (!taken).then(|| self.make(run, fate))
    }

    pub(super) fn post(&mut self, run: RunId, fate: Fate) {
        let now = self.world.now;
        let again = Some(now + secs(5));
        match fate {
            Fate::Slow => {
                self.world.limits.in_flight.insert(run);
                self.slow.push(run);
            }
            Fate::Works | Fate::Fails | Fate::Sticks | Fate::BornOff | Fate::StaysOff => {
                match self.reach(run, fate) {
                    Some(id) => {
                        let mut server = run_server(&self.servers[&id].seen);
                        server.actions.push(id.0);
                        if fate == Fate::Fails {
                            self.servers.remove(&id);
                            self.failed.insert(id);
                        }
                        let run = self.world.ledger.runs.get_mut(&run).unwrap();
                        let _ = lifecycle::accept_create(run, server);
                    }
                    None => {
                        let name = self.world.ledger.runs[&run].server_name();
                        self.look_up(run, &name, Fate::Works);
                    }
                }
            }
            Fate::ReplyLost => {
                self.reach(run, Fate::Works);
                let run = self.world.ledger.runs.get_mut(&run).unwrap();
                let _ = lifecycle::lost_reply(run, "timed out", again);
            }
            Fate::Crash => {
                self.reach(run, Fate::Works);
            }
            Fate::Lost => {
                let run = self.world.ledger.runs.get_mut(&run).unwrap();
                let _ = lifecycle::lost_reply(run, "timed out", again);
            }
            Fate::Refused => {
                let run = self.world.ledger.runs.get_mut(&run).unwrap();
                let reason = PendingReason::Backoff;
                let _ = lifecycle::refuse_create(run, reason, "not now", again, now);
            }
        }
    }

    fn is_expired(&self, server: ServerId) -> bool {
        self.servers.get(&server).is_some_and(|server| {
            let purpose = Purpose::Expired {
                run: ownership::run_of(&self.world.ledger, &server.seen),
                by: self.world.now,
            };
            ownership::may_delete(&server.seen, Some(&self.world.limits.fleet), purpose).is_ok()
        })
    }

    fn delete(&mut self, run: RunId, server: ServerId, fate: Fate) {
        let now = self.world.now;
        if let Some(found) = self.servers.get(&server) {
            let run = self.world.ledger.runs.get_mut(&run).unwrap();
            let purpose = Purpose::Over { run, now };
            let fleet = &self.world.limits.fleet;
            if let Err(spared) = ownership::may_delete(&found.seen, Some(fleet), purpose) {
                let _ = match spared {
                    Spared::Other(label) => lifecycle::taken_over(run, &label, secs(10), now),
                    other => lifecycle::delete_failed(run, &other.to_string(), secs(10), now),
                };
                return;
            }
        }
        if !matches!(fate, Fate::Lost | Fate::Refused | Fate::Slow) {
            let record = &self.world.ledger.runs[&run];
            assert!(record.ended.is_some(), "deleted the server of a live run");
            assert!(
                !record.is_handing_over(now),
                "deleted a server while its guest handed over"
            );
            self.servers.remove(&server);
        }
        let record = self.world.ledger.runs.get_mut(&run).unwrap();
        match fate {
            Fate::Works => {
                let _ = lifecycle::mark_gone(record, now);
            }
            Fate::Crash => {}
            _ => {
                let _ = lifecycle::delete_failed(record, "failed", secs(5), now);
            }
        }
    }

    fn confirm(&mut self, run: RunId, server: ServerId, fate: Fate) {
        let now = self.world.now;
        let run = self.world.ledger.runs.get_mut(&run).unwrap();
        if fate != Fate::Works {
            let _ = lifecycle::called(run, now);
            return;
        }
        let Some(found) = self.servers.get(&server) else {
            let key = (run.cattle.clone(), run.hash.clone());
            let assignment = self.world.ledger.assignments.get_mut(&key);
            let _ = lifecycle::found_gone(run, assignment, now);
            return;
        };
        let raw = &found.seen.labels.raw;
        let limits = &self.world.limits;
        if let Owner::Other(label) = ownership::owner_of(raw, run, &limits.fleet) {
            let _ = lifecycle::taken_over(run, &label, secs(10), now);
            return;
        }
        let _ = lifecycle::regained(run);
        let _ = lifecycle::called(run, now);
        let repaired = labels::repair(run, raw, &limits.fleet, &limits.fleet_labels);
        if let Some(raw) = repaired {
            self.relabel(server, &raw, fate);
        }
    }

    fn look_up(&mut self, run: RunId, name: &str, fate: Fate) {
        if fate != Fate::Works {
            let _ = lifecycle::called(
                self.world.ledger.runs.get_mut(&run).unwrap(),
                self.world.now,
            );
            return;
        }
        let found = self
            .servers
            .values()
            .find(|server| server.seen.name == name);
        let now = self.world.now;
        let record = self.world.ledger.runs.get_mut(&run).unwrap();
        match found.map(|server| &server.seen) {
            Some(found) => match ownership::made_by(found, record, &self.world.limits.fleet) {
                Ok(()) => {
                    let id = found.id;
                    self.bind(run, id);
                    self.confirm(run, id, fate);
                }
                Err(NotMade::Other(label)) if record.env_at.is_some() => {
                    let _ = lifecycle::taken_over(record, &label, secs(10), now);
                }
                Err(why) => {
                    let _ = lifecycle::name_taken(record, &why.to_string(), secs(60), now);
                }
            },
            None => {
                let _ = lifecycle::lookup_missed(record, now, now);
            }
        }
    }

    fn relabel(&mut self, server: ServerId, raw: &BTreeMap<String, String>, fate: Fate) {
        if fate == Fate::Works
            && let Some(server) = self.servers.get_mut(&server)
        {
            server.seen.labels = labels::decode(raw, server.seen.created, lifetimes(7200));
        }
    }
}
