//! Servers whose owner is in doubt.
//!
//! What another owner has marked is left alone; its run goes on to its own end, keeps its slot while
//! the server is there, and says so. Whose a server is, [`crate::ownership`] decides.

use std::time::Duration;

use cattle_schemas::{Timestamp, event::EventReason, status::PendingReason};

use super::{Transition, create::refuse_create, deadlines, end::delete_again};
use crate::{
    identity::Project,
    ledger::{Run, Taken},
    names::ServerId,
};

/// Duplicates that one run remembers: far more than anybody makes by mistake, and a bound on its
/// record. Of more, the first ones are told of.
pub(crate) const MAX_DUPLICATES: usize = 32;

/// The run's server carries another owner's label. It is looked at again; of a run that is over, not
/// before `wait` is over, and less and less often.
pub fn taken_over(run: &mut Run, label: &str, wait: Duration, now: Timestamp) -> Transition {
    run.called_at = Some(now);
    if let Some(again) = delete_again(run, wait, now) {
        run.retry_at = Some(again);
    }
    if run.gone_at.is_some() {
        // It returned after it was proved gone, and is none of ours any more.
        return Transition::silent();
    }
    if run.taken.as_ref().is_some_and(|taken| taken.label == label) {
        return Transition::silent();
    }
    run.taken = Some(Taken {
        label: label.to_owned(),
        at: now,
    });
    Transition::told(
        EventReason::TakenOver,
        format!("{}: {}", run.server_in_words(), another_s(label)),
    )
}

/// What a label of another owner leads to.
#[must_use]
pub fn another_s(label: &str) -> String {
    format!(
        "its label `{label}` says that it is another's; it is left alone, is never deleted, and bills"
    )
}

/// The other owner's label is gone from the run's server.
pub fn regained(run: &mut Run) -> Transition {
    if run.taken.take().is_none() {
        return Transition::refused();
    }
    run.retry_at = None;
    Transition::told(
        EventReason::Adopted,
        format!("{} is this run's again", run.server_in_words()),
    )
}

/// Whether somebody may give up the server of a run that is over: nothing that this controller does
/// will have it gone. Another owner has marked it; or the project has nothing of this fleet, where
/// no 404 says whether it was deleted or the token is wrong.
#[must_use]
pub fn can_be_given_up(run: &Run, project: Project, now: Timestamp) -> bool {
    let unfound = || project == Project::Foreign && !run.is_handing_over(now);
    !run.is_live()
        && !run.is_kept(now)
        && run.gone_at.is_none()
        && (run.taken.is_some() || unfound())
}

/// Somebody does so: it no longer takes a slot or keeps its name from starting. Should a list show it
/// as ours again, it is deleted.
pub fn give_up(run: &mut Run, project: Project, message: &str, now: Timestamp) -> Transition {
    if !can_be_given_up(run, project, now) {
        return Transition::refused();
    }
    run.gone_at = Some(now);
    run.retry_at = None;
    run.delete_message = None;
    Transition::told(
        EventReason::Gone,
        format!("{} is given up: {message}", run.server_in_words()),
    )
}

/// A look-up found a server of the run's name that its create did not make; `message` says which, and
/// why. One that is another's by now, of a run whose guest has called, is [`taken_over`].
pub fn name_taken(run: &mut Run, message: &str, wait: Duration, now: Timestamp) -> Transition {
    if run.server.is_some() || run.gone_at.is_some() {
        return Transition::refused();
    }
    run.called_at = Some(now);
    if run.env_at.is_none() {
        // Our create cannot have made another one beside it.
        run.earlier_attempt_open = false;
        let told = refuse_create(run, PendingReason::Config, message, Some(now + wait), now);
        return if run.gone_at.is_some() {
            told.and(EventReason::Alert, message)
        } else {
            told
        };
    }
    // Its own server is another one, which is not found by its name.
    let told = run.create_message.as_deref() == Some(message);
    let mut unfound = unfound(run, now, now);
    if run.gone_at.is_none() {
        run.create_message = Some(message.to_owned());
    }
    if !told {
        unfound = unfound.and(EventReason::Alert, message);
    }
    unfound
}

/// A look-up for the server of a run whose guest has called found none of its name. While the guest
/// may be at work it exists all the same; of a run that is over and whose guest could have been heard
/// for long enough, nothing is left to find it by.
pub(super) fn unfound(run: &mut Run, asked_at: Timestamp, now: Timestamp) -> Transition {
    run.called_at = Some(now);
    let heard = run.env_at.max(run.last_seen_at);
    let silent = heard.is_none_or(|at| asked_at >= at + deadlines::SILENCE);
    if run.is_live() || !silent {
        run.create_message =
            Some("its guest has called, but no server has its name or its label".to_owned());
        return Transition::silent();
    }
    run.gone_at = Some(now);
    run.retry_at = None;
    Transition::told(
        EventReason::Gone,
        format!(
            "{} is gone: nothing has its name or its label any more",
            run.server_in_words()
        ),
    )
}

/// Something of its labels is kept from Hetzner, for the reason that `message` says; or nothing is any
/// more. The others are put right all the same.
pub fn labels_withheld(run: &mut Run, message: Option<&str>) -> Transition {
    if run.label_message.as_deref() == message {
        return Transition::refused();
    }
    run.label_message = message.map(str::to_owned);
    match message {
        Some(message) => Transition::told(
            EventReason::Alert,
            format!("not everything is written onto its server: {message}"),
        ),
        None => Transition::silent(),
    }
}

/// Another server carries the label of a run that has its own.
pub fn duplicate_found(run: &mut Run, server: ServerId, name: &str) -> Transition {
    let known = run.duplicates.contains(&server) || run.duplicates.len() >= MAX_DUPLICATES;
    if known || run.gone_at.is_some() {
        return Transition::refused();
    }
    run.duplicates.push(server);
    Transition::told(
        EventReason::DuplicateFound,
        format!(
            "server {name} ({server}) carries this run's label too; it counts, bills, and goes with {} or when it expires",
            run.server_in_words()
        ),
    )
}
