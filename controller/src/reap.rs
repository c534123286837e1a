//! The reaper: deletes what is past its expiry, with nothing but the token.
//!
//! It needs no ledger, no specs and no running controller, so that money stops even when everything
//! else is broken; and it is slower than the controller by [`GRACE`], so that a living controller
//! always comes first. (A controller that reaps gives it its ledger, which knows better than a label
//! how long a run has.) Invariants: each server is read again right before it is deleted, and must
//! still be ours and still be expired by Hetzner's clock; while nobody knows what time it is nothing is
//! deleted; one failure never stops the rest.

use std::time::Duration;

use cattle_core::{
    expiry::Lifetimes,
    ledger::Ledger,
    observed::{ObservedServer, ServerState},
    ownership::{self, Purpose},
    plan::apart,
    rate::Class,
};
use cattle_schemas::{
    Timestamp,
    api::{ReapReply, Reaped},
};

use crate::{
    clock::Clock,
    hetzner::{ApiError, Client, Deleted, Listed, Scope},
};

/// How far past its expiry a server is left to the controller: its own 20 s for a hand-over, the
/// delete, and a pass that was late.
pub const GRACE: Duration = Duration::from_secs(120);

/// How long somebody asks what time it is.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// Between two lists.
    pub again: Duration,
    /// All of it.
    pub at_most: Duration,
}

impl Asking {
    /// Alone with its own clock: ten replies over five minutes settle what time it is, and a minute
    /// is for replies that come late.
    pub const PATIENT: Self = Self {
        again: Duration::from_secs(20),
        at_most: Duration::from_secs(6 * 60),
    };

    /// Beside a controller, which goes on asking anyway.
    pub const ONCE: Self = Self {
        again: Duration::ZERO,
        at_most: Duration::ZERO,
    };
}

/// Why nothing was reaped.
#[derive(Debug, thiserror::Error)]
pub enum ReapError {
    /// The list failed, or the token may not write.
    #[error(transparent)]
    Hetzner(#[from] ApiError),
    /// Hetzner's clock and ours do not agree.
    #[error(
        "nothing was deleted, because nobody knows what time it is: {why}; set this machine's clock right, or ask again"
    )]
    Time {
        /// What was heard.
        why: String,
    },
}

/// Deletes every server of `scope` that is [`GRACE`] past its expiry, or with `dry_run` only names
/// them. `lifetimes` give the expiry where a label does not, and bound it where it does; `ledger`, where there is one, goes before both.
///
/// # Errors
/// The list failed, the token may not write, or it was not settled in time what time it is. A server
/// that could not be read or deleted is an entry with an `error`.
pub async fn reap(
    client: &Client,
    scope: &Scope,
    lifetimes: Lifetimes,
    ledger: &Ledger,
    dry_run: bool,
    asking: Asking,
) -> Result<ReapReply, ReapError> {
    // Nothing it does may wait for what others start.
    let client = &client.as_class(Class::Delete);
    let (listed, now) = list(client, scope, lifetimes, asking).await?;
    let unreadable = listed.unread();
    for cause in &unreadable {
        tracing::warn!(%cause, "not everything that is listed can be read");
    }
    let mut servers = Vec::new();
    let case = Case {
        scope,
        ledger,
        by: now - GRACE,
    };
    for listed in listed.servers.iter().filter(|it| case.is_due(it)) {
        let mut reaped = Reaped {
            server: listed.id.0,
            name: listed.name.clone(),
            expired_at: listed.labels.expires_at.unwrap_or(listed.created),
            deleted: false,
            error: None,
        };
        if !dry_run {
            match reap_one(client, listed, lifetimes, &case).await {
                Ok(Verdict::Deleted) => reaped.deleted = true,
                Ok(Verdict::Spared) => continue,
                // No other server can be deleted either.
                Err(error) if error.is_credentials() => return Err(error.into()),
                Err(error) => {
                    tracing::error!(server = reaped.server, name = reaped.name, %error, "cannot reap");
                    reaped.error = Some(error.to_string());
                }
            }
        }
        tracing::info!(
            server = reaped.server,
            name = reaped.name,
            deleted = reaped.deleted,
            dry_run,
            "reap"
        );
        servers.push(reaped);
    }
    Ok(ReapReply {
        servers,
        dry_run,
        unreadable,
    })
}

/// The servers, and what time it is: asked again until that is settled.
async fn list(
    client: &Client,
    scope: &Scope,
    lifetimes: Lifetimes,
    asking: Asking,
) -> Result<(Listed, Timestamp), ReapError> {
    let clock = client.clock();
    let give_up = clock.reading() + asking.at_most;
    let mut told = false;
    loop {
        let listed = client.list_scope(scope, lifetimes).await?;
        if clock.judges() {
            return Ok((listed, clock.now()));
        }
        let why = unsettled(clock);
        if clock.reading() + asking.again >= give_up {
            return Err(ReapError::Time { why });
        }
        if !std::mem::replace(&mut told, true) {
            tracing::warn!("{why}; asking again for some minutes");
        }
        tokio::time::sleep(asking.again).await;
    }
}

fn unsettled(clock: &Clock) -> String {
    match clock.clocks().trust.dispute() {
        Some(dispute) => format!("Hetzner's clock {} this machine's", apart(dispute.ahead)),
        None => "Hetzner's replies have no date".to_owned(),
    }
}

enum Verdict {
    Deleted,
    /// Gone, extended or handed to somebody else since it was listed.
    Spared,
}

async fn reap_one(
    client: &Client,
    listed: &ObservedServer,
    lifetimes: Lifetimes,
    case: &Case<'_>,
) -> Result<Verdict, ApiError> {
    let Some(server) = client.get_server(listed.id, lifetimes).await? else {
        return Ok(Verdict::Spared);
    };
    if !case.is_due(&server) || server.status == ServerState::Deleting {
        return Ok(Verdict::Spared);
    }
    match client.delete_server(server.id).await? {
        Deleted::Accepted { .. } => Ok(Verdict::Deleted),
        Deleted::AlreadyGone => Ok(Verdict::Spared),
    }
}

/// What is to be reaped.
struct Case<'a> {
    scope: &'a Scope,
    ledger: &'a Ledger,
    by: Timestamp,
}

impl Case<'_> {
    fn is_due(&self, server: &ObservedServer) -> bool {
        let purpose = Purpose::Expired {
            run: ownership::run_of(self.ledger, server),
            by: self.by,
        };
        ownership::may_delete(server, self.scope.fleet(), purpose).is_ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use chrono::{TimeDelta, Utc};
    use serde_json::{Value, json};

    use super::*;
    use crate::hetzner::tests::{
        TTL, client,
        fake::{Answer, Fake},
        fleet, page, refusal, server,
    };
    use crate::{clock::Hands, hetzner::Endpoint, patience::Answers};

    /// A server that expires so many seconds from now.
    fn expiring(id: u64, seconds: i64) -> Value {
        let mut server = server(id);
        let expiry = Utc::now() + TimeDelta::seconds(seconds);
        server["labels"]["expires-at"] = json!(expiry.timestamp().to_string());
        server["created"] = json!((expiry.min(Utc::now()) - TTL.default_ttl).to_rfc3339());
        server
    }

    fn got(server: &Value) -> Answer {
        Answer::Json(200, json!({ "server": server }))
    }

    async fn reaped(dry_run: bool, answers: Vec<Answer>) -> (ReapReply, Vec<String>) {
        let fake = Fake::start(answers).await;
        let scope = Scope::Fleet(fleet());
        let reply = reap(
            &client(&fake.url),
            &scope,
            TTL,
            &Ledger::default(),
            dry_run,
            Asking::ONCE,
        )
        .await
        .unwrap();
        let lines = fake
            .requests()
            .into_iter()
            .skip(1)
            .map(|request| request.line)
            .collect();
        (reply, lines)
    }

    #[tokio::test]
    async fn what_is_two_minutes_past_its_expiry_is_read_again_and_deleted() {
        let (late, early) = (expiring(1, -125), expiring(2, -60));
        let list = Answer::Json(200, page("servers", vec![late.clone(), early], None));
        let deleted = Answer::Json(200, json!({ "action": { "id": 9 } }));
        let (reply, lines) = reaped(false, vec![list, got(&late), deleted]).await;
        assert_eq!(lines, ["GET /servers/1", "DELETE /servers/1"]);
        assert_eq!(reply.servers.len(), 1);
        assert!(reply.servers[0].deleted && reply.servers[0].error.is_none());
    }

    #[tokio::test]
    async fn a_dry_run_only_names_them() {
        let list = Answer::Json(200, page("servers", vec![expiring(1, -125)], None));
        let (reply, lines) = reaped(true, vec![list]).await;
        assert!(lines.is_empty() && reply.dry_run);
        assert!(!reply.servers[0].deleted);
    }

    #[tokio::test]
    async fn what_changed_since_the_list_is_spared() {
        let late = expiring(1, -125);
        let extended = expiring(1, 3600);
        let mut given_away = late.clone();
        given_away["labels"]["fleet"] = json!("test");
        let mut marked = late.clone();
        marked["labels"]["apricote.de/created-by"] = json!("hcloud-upload-image");
        let mut deleting = late.clone();
        deleting["status"] = json!("deleting");
        let gone = Answer::Json(404, refusal("not_found", ""));
        for now in [
            got(&extended),
            got(&given_away),
            got(&marked),
            got(&deleting),
            gone,
        ] {
            let list = Answer::Json(200, page("servers", vec![late.clone()], None));
            let (reply, lines) = reaped(false, vec![list, now]).await;
            assert_eq!(lines, ["GET /servers/1"]);
            assert!(reply.servers.is_empty());
        }
    }

    #[tokio::test]
    async fn one_failure_does_not_stop_the_rest() {
        let servers: Vec<Value> = (1..=3).map(|id| expiring(id, -600)).collect();
        let answers = vec![
            Answer::Json(200, page("servers", servers.clone(), None)),
            Answer::Html(502, "<html>"),
            got(&servers[1]),
            Answer::Json(423, refusal("protected", "server is protected")),
            got(&servers[2]),
            Answer::Json(200, json!({ "action": { "id": 9 } })),
        ];
        let (reply, _) = reaped(false, answers).await;
        let told: Vec<_> = reply
            .servers
            .iter()
            .map(|server| (server.deleted, server.error.is_some()))
            .collect();
        assert_eq!(told, [(false, true), (false, true), (true, false)]);
        assert!(
            reply.servers[1]
                .error
                .as_deref()
                .unwrap()
                .contains("server is protected (protected)")
        );
    }

    #[tokio::test]
    async fn without_a_label_the_default_counts_from_creation() {
        let mut old = server(1);
        old["labels"].as_object_mut().unwrap().remove("expires-at");
        old["created"] = json!((Utc::now() - TTL.default_ttl - GRACE).to_rfc3339());
        let mut young = old.clone();
        (young["id"], young["created"]) =
            (json!(2), json!((Utc::now() - TTL.default_ttl).to_rfc3339()));
        let list = Answer::Json(200, page("servers", vec![old, young], None));
        let (reply, _) = reaped(true, vec![list]).await;
        assert_eq!(
            reply
                .servers
                .iter()
                .map(|server| server.server)
                .collect::<Vec<_>>(),
            [1]
        );
    }

    #[tokio::test]
    async fn no_label_lets_a_server_live_longer_than_the_longest_ttl() {
        // Ten years, by a label of ours: written by hand, or by a clock that was wrong.
        let far = |id, age: Duration| {
            let mut server = expiring(id, 10 * 365 * 86_400);
            server["created"] = json!((Utc::now() - age).to_rfc3339());
            server
        };
        let (old, young) = (far(1, TTL.max_ttl + GRACE), far(2, TTL.max_ttl));
        let list = Answer::Json(200, page("servers", vec![old.clone(), young], None));
        let deleted = Answer::Json(200, json!({ "action": { "id": 9 } }));
        let (reply, lines) = reaped(false, vec![list, got(&old), deleted]).await;
        assert_eq!(lines, ["GET /servers/1", "DELETE /servers/1"]);
        assert!(reply.servers[0].deleted);
    }

    #[tokio::test]
    async fn a_label_of_a_server_of_unknown_age_is_believed() {
        let mut server = expiring(1, 60);
        for key in ["created-at", "run"] {
            server["labels"].as_object_mut().unwrap().remove(key);
        }
        server.as_object_mut().unwrap().remove("created");
        let list = Answer::Json(200, page("servers", vec![server], None));
        let (reply, lines) = reaped(false, vec![list]).await;
        assert!(reply.servers.is_empty() && lines.is_empty());
    }

    #[tokio::test]
    async fn an_odd_server_is_reaped_by_its_expiry_and_what_cannot_be_is_said() {
        let mut odd = expiring(1, -600);
        odd.as_object_mut().unwrap().remove("name");
        odd.as_object_mut().unwrap().remove("created");
        let mut unknown = expiring(2, -600);
        unknown["id"] = json!(null);
        let list = page("servers", vec![odd.clone(), unknown], None);
        let deleted = Answer::Json(200, json!({ "action": { "id": 9 } }));
        let (reply, lines) = reaped(false, vec![Answer::Json(200, list), got(&odd), deleted]).await;
        assert_eq!(lines, ["GET /servers/1", "DELETE /servers/1"]);
        assert_eq!(reply.servers[0].name, "server-1");
        insta::assert_snapshot!(reply.unreadable.join("\n"), @r"
        an entry named `cattle-rex-2`: it has no id that can be read
        server server-1 (1): its name is missing; it does not say when it was created; taken from its label `created-at`
        ");
    }

    /// A list that Hetzner dates so far from now.
    fn dated(ahead: TimeDelta, servers: Vec<Value>) -> Answer {
        let date = (Utc::now() + ahead).to_rfc2822();
        let body = page("servers", servers, None).to_string();
        let length = body.len();
        Answer::Raw(format!(
            "HTTP/1.1 200 X\r\nContent-Length: {length}\r\nConnection: close\r\nDate: {date}\r\n\r\n{body}"
        ))
    }

    #[tokio::test]
    async fn a_date_that_our_clock_does_not_have_deletes_nothing_and_is_told() {
        // With three hours left, and one that is long over by both clocks.
        let servers = || vec![expiring(1, 2 * 3_600), expiring(2, -600)];
        let fake = Fake::start(vec![dated(TimeDelta::hours(3), servers())]).await;
        let scope = Scope::Fleet(fleet());
        let told = reap(
            &client(&fake.url),
            &scope,
            TTL,
            &Ledger::default(),
            false,
            Asking::ONCE,
        )
        .await
        .unwrap_err();
        assert_eq!(
            fake.requests().len(),
            1,
            "nothing but the list was asked for"
        );
        insta::assert_snapshot!(told, @"nothing was deleted, because nobody knows what time it is: Hetzner's clock is 3h ahead of this machine's; set this machine's clock right, or ask again");
    }

    /// Lists with this clock of Hetzner's, half a minute apart, until it is settled.
    async fn reaped_in_time(ahead: impl Fn(u32) -> TimeDelta) -> Result<ReapReply, ReapError> {
        let hands = Hands::default();
        let lists = (0..30).map(|list| {
            let goes_by = TimeDelta::seconds(30 * i64::from(list));
            dated(
                ahead(list) + goes_by,
                vec![expiring(1, -600), expiring(2, 1_800)],
            )
        });
        let fake = Arc::new(Fake::start(lists.collect()).await);
        let endpoint = Endpoint {
            url: fake.url.clone(),
            token: "token".to_owned().into(),
        };
        let clock = Clock::start(hands.source());
        let client = Client::patient(&endpoint, Answers::default(), clock).unwrap();
        let turning = tokio::spawn(async move {
            let mut lists = 0;
            loop {
                if fake.requests().len() > lists {
                    lists += 1;
                    tokio::time::sleep(Duration::from_millis(30)).await;
                    hands.pass(Duration::from_secs(30));
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let asking = Asking {
            again: Duration::from_millis(100),
            ..Asking::PATIENT
        };
        let scope = Scope::Fleet(fleet());
        let reply = reap(&client, &scope, TTL, &Ledger::default(), true, asking).await;
        turning.abort();
        reply
    }

    #[tokio::test]
    async fn a_date_that_ten_lists_over_five_minutes_tell_is_believed() {
        // It is an hour later at Hetzner's than our clock says, for good.
        let reply = reaped_in_time(|_| TimeDelta::hours(1)).await.unwrap();
        let named: Vec<u64> = reply.servers.iter().map(|it| it.server).collect();
        assert_eq!(named, [1, 2]);
    }

    #[tokio::test]
    async fn dates_that_go_on_contradicting_each_other_end_in_a_sentence() {
        let told = reaped_in_time(|list| TimeDelta::hours(1 + i64::from(list % 2))).await;
        assert!(matches!(told, Err(ReapError::Time { .. })), "{told:?}");
    }
}
