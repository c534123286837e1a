//! The table of what each failure leads to, written into the documentation. The rows are listed here
//! by hand, from what is known of the API, so that one that is left out is missed; what stands in
//! them is asked of the code.

use std::{collections::BTreeSet, path::Path, sync::LazyLock, time::Duration};

use cattle_core::{lifecycle::refused_event, rate::Class};
use serde_json::json;

use super::{
    super::{
        ApiError, Code, CreateOutcome, Disposition, Kind, Operation, redact::Redactor,
        transport::MAX_REPLY_BYTES,
    },
    TOKEN,
    facts::{CAPACITY, Fact, GATEWAYS, GENERAL, OF_OPERATIONS, UNKNOWN},
};
use crate::execute::delete;

static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| Redactor::new(TOKEN));

fn refused(operation: Operation, status: u16, code: &str, message: &str) -> ApiError {
    let body = json!({ "error": { "code": code, "message": message } }).to_string();
    ApiError::from_reply(
        operation,
        "x".to_owned(),
        status,
        body.as_bytes(),
        &REDACTOR,
    )
}

fn answered(operation: Operation, status: u16) -> ApiError {
    let page = b"<html>hello</html>";
    ApiError::from_reply(operation, "x".to_owned(), status, page, &REDACTOR)
}

/// Documented ones, and others of each hundred.
const EVERY_KIND: &[u16] = &[
    302, 400, 401, 403, 404, 405, 408, 409, 410, 412, 418, 422, 423, 425, 429, 499, 500, 502, 503,
    504, 599,
];

fn span(wait: Duration) -> String {
    match wait.as_secs() {
        seconds @ 0..=59 => format!("{seconds} s"),
        seconds @ 60..=3599 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

fn created(error: &ApiError) -> String {
    match error.outcome() {
        CreateOutcome::MayExist => {
            "**look** by name and run: adopt it, or the same again".to_owned()
        }
        CreateOutcome::Uniqueness => {
            "**adopt** the one of this name if its `run` is ours".to_owned()
        }
        CreateOutcome::NextCandidate { cool_down } => {
            format!("**next candidate**; this one rests {}", span(cool_down))
        }
        CreateOutcome::Refused { retry_in } => format!(
            "**again** in {}; `{}`, event `{}`",
            span(retry_in),
            error.pending_reason(),
            refused_event(error.pending_reason()).as_str()
        ),
        CreateOutcome::Pending {
            reason, retry_in, ..
        } => format!(
            "{} in {}; `{reason}`, event `{}`",
            patience(error.disposition()),
            span(retry_in),
            refused_event(reason).as_str()
        ),
    }
}

/// Who is waited for.
fn patience(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::Operator => "**waits for you**, again",
        Disposition::Bug => "**a defect**, again",
        _ => "**again**",
    }
}

fn deleted(error: &ApiError) -> String {
    if error.status.is_some_and(|status| status < 300) {
        return format!("**again** in {}, until it is gone", span(delete::RETRY));
    }
    match (error.disposition(), error.retry_in()) {
        (Disposition::Done, _) => "**done**: it is gone".to_owned(),
        (disposition, Some(wait)) => format!("{} in {}", patience(disposition), span(wait)),
        (disposition, None) => panic!("a delete is never given up: {disposition:?}"),
    }
}

/// A firewall or a key is looked for, made or mended before a create: its failure is the create's.
fn prepared(error: &ApiError) -> String {
    match (error.disposition(), error.retry_in()) {
        (Disposition::Adopt, _) => "**adopt**: look again".to_owned(),
        (disposition, Some(wait)) => format!(
            "{} in {}; `{}`",
            patience(disposition),
            span(wait),
            error.pending_reason()
        ),
        (disposition, None) => panic!("{disposition:?} of {error}"),
    }
}

/// Looks and labels are made again as long as the plan wants them, whatever the failure was.
fn looked(error: &ApiError) -> String {
    match error.disposition() {
        Disposition::Done => "**done**: it is gone".to_owned(),
        Disposition::Retry(_) => "**again**".to_owned(),
        Disposition::Operator => "**waits for you**".to_owned(),
        Disposition::Bug => "**a defect**".to_owned(),
        other => panic!("{other:?} of {error}"),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Column {
    Create,
    Delete,
    Prepare,
    Look,
}

fn column(operation: Operation) -> Column {
    match operation {
        Operation::CreateServer => Column::Create,
        Operation::DeleteServer => Column::Delete,
        Operation::FindFirewall
        | Operation::CreateFirewall
        | Operation::RepairFirewall
        | Operation::RelabelFirewall
        | Operation::ListSshKeys
        | Operation::CreateSshKey => Column::Prepare,
        _ => Column::Look,
    }
}

/// What a column's operations do; each named where they do not do the same.
fn cell(wanted: Column, fail: &dyn Fn(Operation) -> ApiError) -> String {
    let mut said: Vec<(String, Vec<&str>)> = Vec::new();
    for operation in Operation::ALL {
        if column(operation) != wanted {
            continue;
        }
        let error = fail(operation);
        let words = match wanted {
            Column::Create => created(&error),
            Column::Delete => deleted(&error),
            Column::Prepare => prepared(&error),
            Column::Look => looked(&error),
        };
        match said.iter_mut().find(|(known, _)| *known == words) {
            Some((_, operations)) => operations.push(operation.as_str()),
            None => said.push((words, vec![operation.as_str()])),
        }
    }
    // The rarer ones are named, the others are the rest.
    said.sort_by_key(|(_, operations)| operations.len());
    let last = said.len() - 1;
    let parts = said.iter().enumerate().map(|(place, (words, operations))| {
        if place == last {
            if last == 0 {
                words.clone()
            } else {
                format!("else {words}")
            }
        } else {
            format!("{}: {words}", operations.join(", "))
        }
    });
    parts.collect::<Vec<_>>().join("<br>")
}

fn row(signal: &str, fail: &dyn Fn(Operation) -> ApiError) -> String {
    let cells = [
        Column::Create,
        Column::Delete,
        Column::Prepare,
        Column::Look,
    ]
    .map(|wanted| cell(wanted, fail));
    format!("| {signal} | {} |\n", cells.join(" | "))
}

/// One row for all statuses of a fact: they must not differ.
fn fact((statuses, code, message): &Fact) -> String {
    let numbers = statuses.iter().map(ToString::to_string).collect::<Vec<_>>();
    let told = match *message {
        "" => String::new(),
        message => format!(" “{message}”"),
    };
    let number = if numbers.is_empty() {
        "?".to_owned()
    } else {
        numbers.join(", ")
    };
    let signal = format!("{number} `{code}`{told}");
    // Where nobody has written the status down, it is a refusal like any other.
    let statuses = if statuses.is_empty() {
        &[422]
    } else {
        *statuses
    };
    let mut rows: Vec<String> = statuses
        .iter()
        .map(|status| {
            row(&signal, &|operation| {
                refused(operation, *status, code, message)
            })
        })
        .collect();
    rows.dedup();
    assert_eq!(rows.len(), 1, "{signal} says different things: {rows:#?}");
    rows.remove(0)
}

fn of_status((statuses, signal): &(&[u16], &str)) -> String {
    let mut rows: Vec<String> = statuses
        .iter()
        .map(|status| row(signal, &|operation| answered(operation, *status)))
        .collect();
    rows.dedup();
    assert_eq!(rows.len(), 1, "{signal} says different things: {rows:#?}");
    rows.remove(0)
}

fn without_status() -> Vec<String> {
    let unreadable = || Kind::Unreadable("not JSON".to_owned());
    let too_large = format!("more than {} MiB", MAX_REPLY_BYTES >> 20);
    [
        (
            "the rate budget has no room, so it was not called",
            Kind::NoRoom(Class::Create),
            None,
        ),
        ("no connection", Kind::NotSent, None),
        ("no answer in time", Kind::Timeout, None),
        ("the connection breaks", Kind::Cut, None),
        ("2xx, cut off in its midst", Kind::Cut, Some(201)),
        (
            "2xx that is empty, HTML, not JSON, cut short, or without an id",
            unreadable(),
            Some(201),
        ),
        (too_large.as_str(), Kind::TooLarge, Some(201)),
    ]
    .into_iter()
    .map(|(signal, kind, status)| {
        row(signal, &|operation| {
            let mut error = ApiError::new(operation, "x", kind.clone());
            error.status = status;
            error
        })
    })
    .collect()
}

fn rendered() -> String {
    let mut text = String::new();
    let mut table = |title: &str, rows: Vec<String>| {
        text.push_str(&format!(
            "\n### {title}\n\n| signal | create | delete | firewall, SSH keys | other calls |\n|---|---|---|---|---|\n"
        ));
        text.extend(rows);
    };
    table(
        "Codes that any call may get",
        GENERAL.iter().map(fact).collect(),
    );
    table(
        "No room, or not for this account",
        CAPACITY.iter().map(fact).collect(),
    );
    let mut seen = BTreeSet::new();
    let of_operations = OF_OPERATIONS
        .iter()
        .flat_map(|(_, facts)| facts.iter())
        .map(fact)
        .filter(|row| seen.insert(row.clone()))
        .collect();
    table("Codes of single operations", of_operations);
    let unknown = UNKNOWN.iter().map(|status| {
        row(&format!("{status} with a new code"), &|operation| {
            refused(operation, *status, "a_new_code", "")
        })
    });
    table("Codes that are not known yet", unknown.collect());
    let gateways = GATEWAYS.iter().map(of_status).chain(without_status());
    table("Whatever is not the API's word", gateways.collect());
    text.push('\n');
    text
}

const BEGIN: &str = "<!-- rendered by the test `the_documentation_has_the_table_as_it_is` -->\n";
const END: &str = "<!-- end of what is rendered -->\n";

#[test]
fn the_documentation_has_the_table_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/hetzner-errors.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let wanted = format!("{before}{BEGIN}{}{END}{after}", rendered());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, wanted).unwrap();
    } else {
        assert!(
            text == wanted,
            "docs/hetzner-errors.md is not what the code does: run UPDATE=1 cargo test -p cattle-controller --lib rendered"
        );
    }
}

fn facts() -> impl Iterator<Item = &'static Fact> {
    let of_operations = OF_OPERATIONS.iter().flat_map(|(_, facts)| facts.iter());
    GENERAL.iter().chain(of_operations).chain(CAPACITY)
}

#[test]
fn every_code_is_in_the_documentation_and_every_documented_code_is_known() {
    let documented: BTreeSet<&str> = facts()
        .map(|(_, code, _)| *code)
        .filter(|code| *code != "a_new_code")
        .collect();
    let known: BTreeSet<&str> = Code::KNOWN.iter().map(|code| code.as_str()).collect();
    assert_eq!(documented, known);
    assert_eq!(GENERAL.len(), 25);
    assert_eq!(OF_OPERATIONS.len(), 9);
}

#[test]
fn codes_come_with_the_statuses_that_are_written_down() {
    for code in Code::KNOWN {
        let mut written: Vec<u16> = GENERAL
            .iter()
            .chain(OF_OPERATIONS.iter().flat_map(|(_, facts)| facts.iter()))
            .filter(|(_, word, _)| *word == code.as_str())
            .flat_map(|(statuses, ..)| statuses.iter().copied())
            .collect();
        written.sort_unstable();
        written.dedup();
        assert_eq!(written, code.statuses(), "{}", code.as_str());
    }
}

#[test]
fn a_refusal_on_a_status_of_failure_proves_nothing() {
    for (_, code, _) in facts() {
        let error = refused(Operation::CreateServer, 503, code, "");
        let certain = ["rate_limit_exceeded"].contains(code);
        assert_eq!(
            error.disposition() == Disposition::LookUp,
            !certain,
            "{code} with 503: {:?}",
            error.disposition()
        );
        let gone = refused(Operation::DeleteServer, 503, code, "").disposition();
        assert!(matches!(gone, Disposition::Retry(_)), "{code}: {gone:?}");
    }
}

#[test]
fn gone_is_only_what_is_not_found_with_404() {
    for status in EVERY_KIND {
        for (_, code, _) in facts() {
            for operation in Operation::ALL {
                let done = refused(operation, *status, code, "").disposition() == Disposition::Done;
                assert!(
                    !done || *status == 404 && *code == "not_found",
                    "{} {status} {code}",
                    operation.as_str()
                );
            }
        }
    }
}

#[test]
fn nothing_is_asked_again_at_once_and_nothing_is_given_up() {
    for status in EVERY_KIND {
        for (_, code, message) in facts() {
            for operation in Operation::ALL {
                let error = refused(operation, *status, code, message);
                if let Some(wait) = error.retry_in() {
                    assert!(wait >= Duration::from_secs(1), "{error}");
                }
                let settled = matches!(
                    error.disposition(),
                    Disposition::Done | Disposition::Adopt | Disposition::NextCandidate(_)
                );
                assert_eq!(error.retry_in().is_none(), settled, "{error}");
            }
        }
    }
}
