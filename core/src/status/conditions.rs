//! What deserves a look beside the phase.

use std::collections::BTreeMap;

use cattle_schemas::{
    Timestamp,
    problem::Diagnostic,
    status::{Condition, ConditionType},
};

use super::{Known, valid};
use crate::{
    catalogue::{Image, ImageAnswer},
    desired::{Cattle, SpecState},
    ledger::Run,
    lifecycle::another_s,
    observed::ObservedServer,
    untrusted,
};

/// One condition.
pub(crate) fn condition(
    kind: ConditionType,
    status: bool,
    reason: &str,
    message: impl Into<String>,
    since: Option<Timestamp>,
) -> Condition {
    Condition {
        kind,
        status,
        reason: reason.to_owned(),
        message: message.into(),
        since,
    }
}

/// The conditions of a cattle: `SpecValid` always, the others where they deserve a look.
pub(super) fn conditions(known: &Known<'_>, latest: Option<&Run>) -> Vec<Condition> {
    let spec_valid = match known.entry.map(|entry| &entry.state) {
        Some(SpecState::Valid(_)) => condition(ConditionType::SpecValid, true, "valid", "", None),
        Some(SpecState::Broken(diagnostics)) => condition(
            ConditionType::SpecValid,
            false,
            "invalid",
            invalid(diagnostics),
            None,
        ),
        Some(SpecState::Absent { since }) => condition(
            ConditionType::SpecValid,
            false,
            "absent",
            "its spec file is not there",
            Some(*since),
        ),
        None => condition(
            ConditionType::SpecValid,
            false,
            "none",
            "there is no spec file",
            None,
        ),
    };
    let there = known
        .entry
        .is_some_and(|entry| !matches!(entry.state, SpecState::Absent { .. }));
    let live = known.runs.first().is_some_and(|run| run.is_live());
    // What is over and has no spec is not broken.
    let mut conditions = Vec::new();
    if there || live {
        conditions.push(spec_valid);
    }
    if let Some(run) = latest {
        conditions.extend(known.entry.and_then(valid).and_then(|c| drifted(run, c)));
        conditions.extend(kept(run, known.now));
        conditions.extend(taken_over(run));
        conditions.extend(labels_withheld(run));
        conditions.extend(duplicates(known.duplicates));
    }
    if known.waiting.is_some()
        && let Some(image) = next_image(known)
    {
        let unresolved = image_resolved(image, &known.catalogue.images).filter(|it| !it.status);
        conditions.extend(unresolved);
    }
    if let Some(server) = known.server {
        conditions.extend(labels_unread(server));
        conditions.extend(unread(server));
    }
    conditions
}

/// The image that its next server is to be made of.
fn next_image<'a>(known: &Known<'a>) -> Option<&'a str> {
    // A run that never had a server follows its spec.
    Some(&known.entry.and_then(valid)?.placement.image)
}

/// What became of looking for an image; `None` before it was looked for.
pub fn image_resolved(text: &str, images: &BTreeMap<String, ImageAnswer>) -> Option<Condition> {
    let (found, reason, message) = match images.get(text)? {
        ImageAnswer::Found(images) => {
            let images: Vec<String> = images.iter().map(shown).collect();
            (true, "found", images.join(", "))
        }
        ImageAnswer::Missing { message, hint } => (false, "missing", format!("{message}; {hint}")),
        ImageAnswer::Ambiguous { message, hint } => {
            (false, "ambiguous", format!("{message}; {hint}"))
        }
        ImageAnswer::Unread { message } => (false, "unread", message.clone()),
    };
    Some(condition(
        ConditionType::ImageResolved,
        found,
        reason,
        message,
        None,
    ))
}

fn shown(image: &Image) -> String {
    let architecture = image.architecture.map_or("", |it| it.as_str());
    let until = image.unavailable_after.map_or_else(String::new, |end| {
        format!(", not for new servers after {}", end.format("%Y-%m-%d"))
    });
    format!(
        "{} ({} {architecture}{until})",
        untrusted::escape(&image.title),
        image.id
    )
}

/// `invalid, line 5`: what `list` shows beside the phase; the rest is in the diagnostics.
fn invalid(diagnostics: &[Diagnostic]) -> String {
    match diagnostics.first() {
        None => "invalid".to_owned(),
        Some(first) if first.line == 0 => format!("invalid: {}", first.message),
        Some(first) => {
            let more = match diagnostics.len() - 1 {
                0 => String::new(),
                n => format!(" (and {n} more)"),
            };
            format!("invalid, line {}: {}{more}", first.line, first.message)
        }
    }
}

fn drifted(run: &Run, cattle: &Cattle) -> Option<Condition> {
    if !run.is_live() || run.hash != cattle.hash {
        return None;
    }
    let (was, is) = (&run.spec.placement, &cattle.placement);
    let mut differences = Vec::new();
    // Without a server it is nowhere yet: its next attempt follows its spec.
    let placed = !run.is_refused();
    if placed && was.image != is.image {
        differences.push(format!("image {} instead of {}", was.image, is.image));
    }
    if placed && was.server_types != is.server_types {
        differences.push(format!(
            "server types {} instead of {}",
            was.server_types.join(", "),
            is.server_types.join(", ")
        ));
    }
    if placed && was.locations != is.locations {
        differences.push(format!(
            "locations {} instead of {}",
            was.locations.join(", "),
            is.locations.join(", ")
        ));
    }
    if run.spec.model != cattle.model {
        differences.push(format!(
            "model {} instead of {}",
            run.spec.model, cattle.model
        ));
    }
    (!differences.is_empty()).then(|| {
        condition(
            ConditionType::Drifted,
            true,
            "next-run",
            format!(
                "the run has {}; the next run follows its spec",
                differences.join("; ")
            ),
            None,
        )
    })
}

fn kept(run: &Run, now: Timestamp) -> Option<Condition> {
    let (end, until) = (run.ended.as_ref()?, run.kept_until()?);
    run.is_kept(now).then(|| {
        let reason = if run.spec.auto_shutdown {
            "on-failure-hold"
        } else {
            "auto-shutdown-off"
        };
        condition(
            ConditionType::Kept,
            true,
            reason,
            format!(
                "its server is kept, and billed, until {}",
                until.format("%Y-%m-%d %H:%M:%S UTC")
            ),
            Some(end.at),
        )
    })
}

/// Another owner has marked its server.
fn taken_over(run: &Run) -> Option<Condition> {
    let taken = run.taken.as_ref()?;
    let server = run.server_in_words();
    let message = if run.gone_at.is_some() {
        format!(
            "{server} was given up to the owner of its label `{}`",
            taken.label
        )
    } else {
        let way_out = if run.is_live() {
            "remove the label to have it back"
        } else {
            "remove the label to have it deleted, or give it up with `destroy`"
        };
        format!("{server}: {}; {way_out}", another_s(&taken.label))
    };
    let kind = ConditionType::TakenOver;
    let holds = run.gone_at.is_none();
    Some(condition(kind, holds, "label", message, Some(taken.at)))
}

/// What its spec wants on its server, and Hetzner is not told.
fn labels_withheld(run: &Run) -> Option<Condition> {
    let message = run
        .label_message
        .as_ref()
        .filter(|_| run.gone_at.is_none())?;
    Some(condition(
        ConditionType::Drifted,
        true,
        "labels-withheld",
        format!("not everything is written onto its server: {message}"),
        None,
    ))
}

/// Servers beside its own carry its run's label.
fn duplicates(servers: &[&ObservedServer]) -> Option<Condition> {
    let first = servers.first()?;
    let more = match servers.len() - 1 {
        0 => String::new(),
        n => format!("; and {n} more"),
    };
    let message = format!(
        "server {} ({}) carries its run's label too; {}{more}",
        first.name,
        first.id,
        goes_with_its_run(first)
    );
    let kind = ConditionType::Duplicate;
    Some(condition(
        kind,
        true,
        "second-server",
        message,
        Some(first.created),
    ))
}

/// When a duplicate goes.
pub(super) fn goes_with_its_run(server: &ObservedServer) -> String {
    format!(
        "it counts, bills, and is deleted once that is gone, at {} at the latest",
        expiry(server)
    )
}

/// When a server goes, by its label.
pub(super) fn expiry(server: &ObservedServer) -> String {
    server.labels.expires_at.map_or_else(
        || "no known time".to_owned(),
        |at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

fn labels_unread(server: &ObservedServer) -> Option<Condition> {
    let problems = &server.labels.problems;
    (!problems.is_empty()).then(|| {
        condition(
            ConditionType::Drifted,
            true,
            "labels",
            problems.join("; "),
            None,
        )
    })
}

/// What is shown of the server is partly a guess.
pub(super) fn unread(server: &ObservedServer) -> Option<Condition> {
    let message = server.unread()?;
    let kind = ConditionType::ServersReadable;
    Some(condition(kind, false, "odd", message, None))
}
