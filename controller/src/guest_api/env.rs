//! The env, once.
//!
//! The token is spent, the others voided and the session token recorded in one commit; the reply
//! follows it. A reply that is lost is asked for again with the same idempotency key from the same
//! peer, until the first report; each answer carries a fresh session token that voids the last.

use std::{collections::BTreeMap, str::FromStr, sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{Extension, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use cattle_core::{
    desired::Authority,
    fleet::{Fleet, SecretName},
    labels,
    ledger::Run,
    lifecycle,
    provider_env::GITHUB_TOKEN_ENV,
    user_data::SecretSearch,
};
use cattle_schemas::{
    guest::{EnvReply, IDEMPOTENCY_KEY_HEADER},
    problem::ErrorCode,
};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tracing::Instrument;
use zeroize::Zeroizing;

use super::{
    Desk, Peer,
    auth::{self, Caller},
    problem::{Answer, Refusal},
    report::seconds_left,
    transition,
};
use crate::{
    secrets::{Secrets, named},
    store::{Edit, TokenKind, TokenRecord},
    token,
};

/// 128 random bits in hex.
const MIN_KEY_CHARS: usize = 32;
/// A longer one is not a key.
const MAX_KEY_CHARS: usize = 128;

/// The secret behind `withGithubToken`.
const GITHUB_TOKEN_SECRET: &str = "github_token";

/// Variables by name; the values are secrets.
type Env = BTreeMap<String, Zeroizing<String>>;

/// What a reply needs beside the values in it.
const REPLY_ROOM: usize = 4 * 1024;

pub(super) async fn get(
    State(desk): State<Arc<Desk>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Answer<Response> {
    let key = idempotency_key(&headers)?;
    let caller = auth::bootstrap(&desk, &headers, peer).await?;
    let span = tracing::info_span!("env", cattle = %caller.run.cattle, run = %caller.run.id);
    hand_out(&desk, caller, key).instrument(span).await
}

fn idempotency_key(headers: &HeaderMap) -> Answer<[u8; 32]> {
    let wrong = || {
        let detail =
            format!("the call needs an `{IDEMPOTENCY_KEY_HEADER}` of 128 random bits in hex");
        Refusal::new(ErrorCode::BadRequest, detail)
    };
    let key = headers
        .get(IDEMPOTENCY_KEY_HEADER)
        .ok_or_else(wrong)?
        .as_bytes();
    let plausible = (MIN_KEY_CHARS..=MAX_KEY_CHARS).contains(&key.len())
        && key.iter().all(u8::is_ascii_hexdigit);
    if plausible {
        Ok(Sha256::digest(key).into())
    } else {
        Err(wrong())
    }
}

async fn hand_out(desk: &Arc<Desk>, caller: Caller, key: [u8; 32]) -> Answer<Response> {
    let Caller {
        token: bootstrap,
        run,
        peer,
    } = caller;
    let peer = peer.to_string();
    refuse_if_spent_by_another(desk, &bootstrap, &run, key, &peer).await?;

    // Everything that can fail comes first: what fails has not spent the token.
    let (env, persona_digest) = match prepare(desk, &run).await {
        Ok(prepared) => prepared,
        Err(message) => {
            desk.alert(&run, format!("its guest waits for its env: {message}"))
                .await;
            let detail = "the env of this run cannot be put together yet";
            return Err(Refusal::new(ErrorCode::Unavailable, detail));
        }
    };
    let (session, digest) = session_for(desk, &run).map_err(|error| {
        tracing::error!(%error, "no randomness for a session token");
        Refusal::new(
            ErrorCode::Unavailable,
            "the system has no randomness to give",
        )
    })?;

    let (moment, clocks) = desk.clock.look();
    let mut now = moment.now;
    if !clocks.trust.judges() {
        // Nothing is past its expiry by a clock that does not tell the time.
        now = now.min(run.expires_at - Duration::from_secs(1));
    }
    let seen = run.env_at;
    let carried = labels::session_text(&digest);
    let edits = vec![
        transition(run.id, move |run| {
            // Decided on what was read: whoever came in between decides again below.
            if run.env_at == seen {
                let told = lifecycle::env_handed_out(run, now);
                if told.applied {
                    run.session = Some(carried);
                }
                told
            } else {
                lifecycle::Transition {
                    applied: false,
                    events: Vec::new(),
                }
            }
        }),
        Edit::VoidTokens {
            run: run.id,
            except: Some(bootstrap.digest),
        },
        Edit::InsertToken(TokenRecord {
            digest,
            run: run.id,
            attempt: bootstrap.attempt,
            kind: TokenKind::Session,
            idempotency: Some(key),
            peer: Some(peer.clone()),
            voided: false,
        }),
    ];
    if !desk.store.commit_all(edits, now).await? {
        return Err(lost(desk, &bootstrap, key, &peer).await?);
    }
    tracing::info!(%peer, again = seen.is_some(), "env handed out");
    desk.bell.ring();
    Ok(zeroing(&EnvReply {
        run: run.id.to_string(),
        env,
        session_token: session.expose_secret().to_owned().into(),
        persona_digest,
        seconds_left: Some(seconds_left(desk, &run)),
        model: run.spec.model,
    }))
}

/// The reply as JSON that is zeroed once it is sent.
fn zeroing(reply: &EnvReply) -> Response {
    // Room for every character escaped: growing would leave copies behind.
    let values: usize = reply
        .env
        .iter()
        .map(|(name, value)| name.len() + 6 * value.len())
        .sum();
    let mut json = Zeroizing::new(Vec::with_capacity(REPLY_ROOM + values));
    serde_json::to_writer(&mut *json, reply).expect("a struct of strings is JSON");
    let media_type = [(header::CONTENT_TYPE, "application/json")];
    (media_type, Bytes::from_owner(json)).into_response()
}

/// The session token whose digest the server carries already, the first time; else a fresh one, and
/// the server's label is put right.
fn session_for(desk: &Desk, run: &Run) -> Result<(SecretString, [u8; 32]), getrandom::Error> {
    let drawn = desk.sessions.take(run.id).filter(|_| run.env_at.is_none());
    let drawn = drawn.map(|session| {
        let digest = token::digest(session.expose_secret());
        (session, digest)
    });
    let carried = |(_, digest): &(SecretString, [u8; 32])| {
        run.session.as_ref() == Some(&labels::session_text(digest))
    };
    match drawn.filter(carried) {
        Some(session) => Ok(session),
        None => token::draw(),
    }
}

/// A token that is spent answers only the caller who spent it, and only until the first report.
async fn refuse_if_spent_by_another(
    desk: &Desk,
    bootstrap: &TokenRecord,
    run: &Run,
    key: [u8; 32],
    peer: &str,
) -> Answer<()> {
    let contested = "the env of this run was asked for by a second caller, or with a token that another attempt made void";
    if bootstrap.voided {
        // After the first report its own guest may come too, having lost its session: no alarm.
        if run.started_at.is_none() {
            desk.alert(run, contested.to_owned()).await;
        }
        return Err(Refusal::forbidden("the token is spent"));
    }
    if run.env_at.is_none() {
        return Ok(());
    }
    let same = |record: &TokenRecord| {
        let same_key = record
            .idempotency
            .is_some_and(|known| bool::from(known.ct_eq(&key)));
        record.kind == TokenKind::Session && same_key && record.peer.as_deref() == Some(peer)
    };
    if desk.store.tokens(run.id).await?.iter().any(same) {
        return Ok(());
    }
    desk.alert(run, contested.to_owned()).await;
    Err(Refusal::forbidden("the token is spent"))
}

/// Why the commit did not apply: the run, or its token, is not what it was a moment ago.
async fn lost(desk: &Desk, bootstrap: &TokenRecord, key: [u8; 32], peer: &str) -> Answer<Refusal> {
    let run = desk.store.run(bootstrap.run).await?.filter(Run::is_live);
    let Some(run) = run else {
        return Ok(Refusal::gone());
    };
    let token = desk
        .store
        .token(bootstrap.digest)
        .await?
        .unwrap_or_else(|| bootstrap.clone());
    if let Err(refusal) = refuse_if_spent_by_another(desk, &token, &run, key, peer).await {
        return Ok(refusal);
    }
    if run.started_at.is_some() || desk.clock.judged() >= run.expires_at {
        return Ok(Refusal::forbidden("the run takes no guest any more"));
    }
    // The same caller twice at once: the other call has its answer, the next one gets its own.
    Ok(Refusal::new(ErrorCode::Unavailable, "the same call is being answered").after(1))
}

/// What the reply is made of, or what an operator must mend. The files are read off the loop.
async fn prepare(desk: &Arc<Desk>, run: &Run) -> Result<(Env, Option<String>), String> {
    let fleet = desk.fleet.borrow().clone();
    let (desk, run) = (desk.clone(), run.clone());
    let prepared = tokio::task::spawn_blocking(move || {
        let env = env(&fleet, &desk.secrets, &run)?;
        let archive = desk
            .archives
            .announce(run.id, &run.spec.persona, &desk.secrets)
            .map_err(|error| crate::report(&*error))?;
        Ok((env, archive.map(|archive| archive.digest.clone())))
    });
    prepared
        .await
        .unwrap_or_else(|error| Err(format!("a defect: {error}")))
}

/// No guest gets a credential of the controller's own, whatever file it was put into.
fn refuse_own_credentials(
    env: &Env,
    secrets: &Secrets,
    with_github_token: bool,
) -> Result<(), String> {
    let mut known = secrets
        .all_values()
        .map_err(|error| crate::report(&error))?;
    known.retain(|(name, _)| {
        let handed_out = with_github_token && name == GITHUB_TOKEN_SECRET;
        SecretName::from_str(name).is_ok_and(|name| name.is_controllers_own()) && !handed_out
    });
    let own = named(&known);
    let search = SecretSearch::new(&own);
    for (variable, value) in env {
        if let Some(name) = search.find(value.as_bytes()) {
            return Err(format!(
                "the secret for `{variable}` holds the value of `{name}`, which no guest gets"
            ));
        }
    }
    Ok(())
}

/// The env of a run, or what an operator must mend.
pub(crate) fn env(fleet: &Fleet, secrets: &Secrets, run: &Run) -> Result<Env, String> {
    let spec = &run.spec;
    of_spec(
        fleet,
        secrets,
        &spec.model,
        spec.with_github_token,
        run.authority,
    )
}

/// The env of whatever has this model, wants the GitHub token or not, and comes from such a source.
pub(crate) fn of_spec(
    fleet: &Fleet,
    secrets: &Secrets,
    model: &str,
    with_github_token: bool,
    authority: Authority,
) -> Result<Env, String> {
    let (name, variables) = fleet.model_secret(model).ok_or_else(|| {
        let provider = model.split_once('/').map_or(model, |(provider, _)| provider);
        let provider = cattle_core::provider_env::canonical(provider);
        format!("missing modelSecrets entry for {provider}; set `fleet.modelSecrets.{provider}` in fleet/clawdlets.json")
    })?;
    let read = |name: &str| -> Result<SecretString, String> {
        secrets.read(name).map_err(|error| crate::report(&error))
    };
    let value = read(name.as_str())?;
    let mut env: Env = variables
        .into_iter()
        .map(|variable| (variable, value.expose_secret().to_owned().into()))
        .collect();
    if with_github_token {
        if authority != Authority::Operator {
            return Err("only an operator's run gets the GitHub token".to_owned());
        }
        let value = read(GITHUB_TOKEN_SECRET)?;
        env.insert(
            GITHUB_TOKEN_ENV.to_owned(),
            value.expose_secret().to_owned().into(),
        );
    }
    refuse_own_credentials(&env, secrets, with_github_token)?;
    Ok(env)
}
