//! Who calls: the peer's address first, then the token it shows.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Extension, Request, State},
    http::{HeaderMap, header::AUTHORIZATION},
    middleware::Next,
    response::{IntoResponse, Response},
};
use cattle_core::ledger::Run;
use subtle::ConstantTimeEq;

use super::{
    Desk, Peer,
    problem::{Answer, LedgerFailed, Refusal},
};
use crate::{
    settings::PeerCheck,
    store::{TokenKind, TokenRecord},
    token,
};
use cattle_schemas::problem::ErrorCode;

/// A token is 64 hex digits; anything longer is none, and not hashed.
const MAX_TOKEN_BYTES: usize = 128;

/// How guests are told apart.
pub(super) struct Peers {
    pub(super) check: PeerCheck,
    pub(super) hetzner_is_loopback: bool,
}

impl Peers {
    /// Whether this address may call at all.
    fn may_call(&self, peer: IpAddr) -> bool {
        match self.check {
            // Without whois anybody could be anybody: only where all of it is on one machine.
            PeerCheck::Off => peer.to_canonical().is_loopback() && self.hetzner_is_loopback,
        }
    }
}

pub(super) async fn check_peer(
    State(desk): State<Arc<Desk>>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    if !desk.peers.may_call(peer.ip()) {
        tracing::warn!(%peer, "refused a caller that is not a guest");
        return Refusal::forbidden("this address is not a guest of this controller")
            .into_response();
    }
    let response = next.run(request).await;
    if response.extensions().get::<LedgerFailed>().is_some() {
        // It was not taken in, and its silence says nothing until this is over.
        desk.pulse.missed();
    }
    response
}

/// A caller whose token the ledger knows, and the run it is bound to.
pub(super) struct Caller {
    pub(super) token: TokenRecord,
    pub(super) run: Run,
    pub(super) peer: IpAddr,
}

/// Looks up the token. The run is `heard`, and its guest does not call too often; whether the token
/// is void or spent is for the call to say.
async fn look_up(
    desk: &Desk,
    headers: &HeaderMap,
    peer: Peer,
    kind: TokenKind,
    heard: impl Fn(&Run) -> bool,
) -> Answer<Caller> {
    let peer = peer.0.ip().to_canonical();
    // Who shows a right token is served whatever others behind the same address try.
    let failed = |detail: &str| {
        if desk.rates.may_fail(peer) {
            return Refusal::forbidden(detail);
        }
        Refusal::new(
            ErrorCode::TooManyRequests,
            "too many wrong tokens from this address",
        )
        .after(1)
    };
    let presented = bearer(headers).ok_or_else(|| failed("the call shows no bearer token"))?;
    let digest = token::digest(presented);
    let record = desk.store.token(digest).await?;
    // Found by its digest, so this can only agree; it is the comparison all the same.
    let known = record.filter(|record| bool::from(record.digest.ct_eq(&digest)));
    let Some(token) = known.filter(|record| record.kind == kind) else {
        if !(desk.knows_its_runs)() {
            let detail = "the controller has just started and does not know all of its runs yet";
            return Err(Refusal::new(ErrorCode::Unavailable, detail).after(1));
        }
        return Err(failed("the token is not valid for this call"));
    };
    let Some(run) = desk.store.run(token.run).await? else {
        return Err(failed("the token is not valid for this call"));
    };
    if !heard(&run) {
        return Err(Refusal::gone());
    }
    if !desk.rates.may_call(run.id) {
        let refusal = Refusal::new(
            ErrorCode::TooManyRequests,
            "this run's guest calls too often",
        );
        return Err(refusal.after(1));
    }
    Ok(Caller { token, run, peer })
}

/// A caller with the bootstrap token of a live run.
pub(super) async fn bootstrap(desk: &Desk, headers: &HeaderMap, peer: Peer) -> Answer<Caller> {
    look_up(desk, headers, peer, TokenKind::Bootstrap, Run::is_live).await
}

/// A caller in its session: the run lives, the token is valid and comes from where its env went.
pub(super) async fn session(desk: &Desk, headers: &HeaderMap, peer: Peer) -> Answer<Caller> {
    in_session(desk, headers, peer, Run::is_live).await
}

/// Likewise, or the run is over and its guest hands over what is left.
pub(super) async fn session_or_handover(
    desk: &Desk,
    headers: &HeaderMap,
    peer: Peer,
) -> Answer<Caller> {
    let now = desk.clock.now();
    let heard = |run: &Run| run.is_live() || run.is_handing_over(now);
    in_session(desk, headers, peer, heard).await
}

/// Likewise, or its server is kept: then its guest stays on as long as it is heard.
pub(super) async fn session_or_kept(
    desk: &Desk,
    headers: &HeaderMap,
    peer: Peer,
) -> Answer<Caller> {
    let (now, judged) = (desk.clock.now(), desk.clock.judged());
    let heard = |run: &Run| run.is_live() || run.is_handing_over(now) || run.is_kept(judged);
    in_session(desk, headers, peer, heard).await
}

async fn in_session(
    desk: &Desk,
    headers: &HeaderMap,
    peer: Peer,
    heard: impl Fn(&Run) -> bool,
) -> Answer<Caller> {
    let caller = look_up(desk, headers, peer, TokenKind::Session, heard).await?;
    if caller.token.voided {
        return Err(Refusal::forbidden(
            "the session token was replaced by a newer one",
        ));
    }
    // From which address a guest spoke before the ledger was lost is lost with it.
    let elsewhere = |known: &String| *known != caller.peer.to_string();
    if caller.token.peer.as_ref().is_some_and(elsewhere) {
        let message = format!(
            "its session token was shown by another address ({})",
            caller.peer
        );
        desk.alert(&caller.run, message).await;
        return Err(Refusal::forbidden(
            "the session token belongs to another address",
        ));
    }
    Ok(caller)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    let plausible = scheme.eq_ignore_ascii_case("bearer")
        && !token.is_empty()
        && token.len() <= MAX_TOKEN_BYTES;
    plausible.then_some(token)
}
