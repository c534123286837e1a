//! What changes in place: TTL, labels, `onFailure`, extensions.

use std::{collections::BTreeMap, time::Duration};

use cattle_schemas::{Timestamp, duration::SpecDuration, event::EventReason, spec_file::OnFailure};

use super::Transition;
use crate::{clock::AGREES, ledger::Run};

/// Takes over what a spec file may change while its run lives.
pub fn update(
    run: &mut Run,
    ttl: Duration,
    expires_at: Timestamp,
    on_failure: OnFailure,
    labels: &BTreeMap<String, String>,
) -> Transition {
    if !run.is_live() {
        return Transition::refused();
    }
    let mut changes = Vec::new();
    if run.spec.ttl != ttl {
        changes.push(format!(
            "ttl, so that it expires at {}",
            expires_at.format("%Y-%m-%d %H:%M:%S UTC")
        ));
    }
    if run.spec.on_failure != on_failure {
        changes.push("onFailure".to_owned());
    }
    if run.spec.labels != *labels {
        changes.push("labels".to_owned());
    }
    if changes.is_empty() {
        return Transition::refused();
    }
    run.spec.ttl = ttl;
    run.expires_at = expires_at;
    run.spec.on_failure = on_failure;
    run.spec.labels = labels.clone();
    Transition::told(
        EventReason::Updated,
        format!("changed in place: {}", changes.join(", ")),
    )
}

/// The clock went back behind the call that asked for a run's server, so its expiry lies too far ahead by
/// as much: all of it counts from now. A server must not outlive its time by what a clock was wrong.
pub fn redate(run: &mut Run, now: Timestamp) -> Transition {
    let by = run.posted_at - now;
    if by <= AGREES || run.gone_at.is_some() {
        return Transition::refused();
    }
    run.posted_at = now;
    run.created_at = run.created_at.min(now);
    run.expires_at -= by;
    Transition::told(
        EventReason::Updated,
        format!(
            "the clock went back, so that its time counts from now: it expires at {}",
            run.expires_at.format("%Y-%m-%d %H:%M:%S UTC")
        ),
    )
}

/// Why a run is not extended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtendError {
    /// Over.
    #[error("the run is over")]
    Over,
    /// Nothing is left to add.
    #[error("the run already expires at {expires_at}, the longest that limits.maxTtl ({max_ttl}) allows", expires_at = .expires_at.format("%Y-%m-%d %H:%M:%S UTC"))]
    AtMaximum {
        /// Its expiry.
        expires_at: Timestamp,
        /// The limit.
        max_ttl: String,
    },
}

/// Adds `by` to a run's life, at most up to `max_ttl` from its creation. A server that is kept on
/// until its TTL (`autoShutdown: false`) is kept longer with it.
///
/// # Errors
/// When the run is over or stopping, or nothing can be added.
pub fn extend(
    run: &mut Run,
    by: SpecDuration,
    max_ttl: Duration,
    now: Timestamp,
) -> Result<Transition, ExtendError> {
    let kept_to_the_end = run.is_kept(now) && run.kept_until() == Some(run.expires_at);
    if run.gone_at.is_some() || !(run.is_live() || kept_to_the_end) {
        return Err(ExtendError::Over);
    }
    let wanted = run.expires_at + by.as_std();
    let expires_at = wanted.min(run.posted_at + max_ttl);
    if expires_at <= run.expires_at {
        return Err(ExtendError::AtMaximum {
            expires_at: run.expires_at,
            max_ttl: SpecDuration::from_secs(max_ttl.as_secs())
                .map_or_else(|_| "none".to_owned(), |ttl| ttl.to_string()),
        });
    }
    let added = (expires_at - run.expires_at).to_std().unwrap_or_default();
    run.extension = run.extension.saturating_add(added);
    run.expires_at = expires_at;
    if let Some(end) = &mut run.ended {
        end.hold_until = Some(expires_at);
    }
    let cut = if expires_at < wanted {
        ", cut at limits.maxTtl"
    } else {
        ""
    };
    Ok(Transition::told(
        EventReason::Extended,
        format!(
            "expires at {}{cut}",
            expires_at.format("%Y-%m-%d %H:%M:%S UTC")
        ),
    ))
}
