//! `describe`: everything about one cattle.

use cattle_schemas::{
    Timestamp,
    event::Event,
    status::{CattleStatus, LogStatus, RunStatus},
};

use super::events;
use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::{Output, Row, Table, Tint, View, age, clock, until},
    present,
    target::Target,
};

/// Shown beneath the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  clawdlets cattle describe rex-issue-42
  clawdlets cattle describe 01JD3K          (a run, or its beginning)
  clawdlets cattle describe 4711 -o json    (a server's id)";

/// The latest events that are shown; `events` shows all.
const SHOWN_EVENTS: usize = 10;

/// `describe`
#[derive(Debug, clap::Args)]
pub(crate) struct Describe {
    /// A cattle's name, a run or its beginning, a server's id or name
    #[arg(value_name = "NAME-OR-ID")]
    target: Target,
}

struct Described {
    status: CattleStatus,
    events: Vec<Event>,
    now: Timestamp,
}

impl serde::Serialize for Described {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.status.serialize(serializer)
    }
}

impl Describe {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let client = ctx.client()?;
        let status = client.status(self.target.as_str()).await?;
        let mut events = Vec::new();
        let table = matches!(
            ctx.out.format,
            crate::output::Format::Table | crate::output::Format::Wide
        );
        // Nobody asked for a server without a run, and nothing is told of it.
        if table && !present::is_stray(&status) {
            events = client.events(Some(&status.name)).await?.items;
        }
        ctx.out.show(&Described {
            status,
            events,
            now: ctx.now(),
        })?;
        Ok(Exit::Done)
    }
}

impl View for Described {
    fn table(&self, out: &Output, wide: bool) -> Result<(), Failure> {
        let status = &self.status;
        out.table(&facts(status, self.now))?;
        if let Some(run) = &status.run {
            section(out, "Run", &run_facts(run, self.now))?;
        }
        if !status.conditions.is_empty() {
            section(out, "Conditions", &conditions(status, self.now))?;
        }
        if !status.earlier_runs.is_empty() {
            section(
                out,
                "Earlier runs",
                &earlier(&status.earlier_runs, self.now),
            )?;
        }
        let shown = if wide { usize::MAX } else { SHOWN_EVENTS };
        let from = self.events.len().saturating_sub(shown);
        if !self.events.is_empty() {
            section(out, "Events", &events::table(&self.events[from..], false))?;
        }
        out.diagnostics(&status.diagnostics, None);
        Ok(())
    }

    fn names(&self) -> Vec<String> {
        vec![self.status.name.clone()]
    }
}

fn section(out: &Output, title: &str, table: &Table) -> Result<(), Failure> {
    out.line("")?;
    out.line(title)?;
    out.table(table)
}

/// `Key: value` lines, those without a value left out.
struct Facts(Table);

impl Facts {
    fn new() -> Self {
        Self(Table::new(&[]))
    }

    fn add(&mut self, key: &str, value: Option<impl AsRef<str>>) {
        self.add_tinted(key, value, Tint::Plain);
    }

    fn add_tinted(&mut self, key: &str, value: Option<impl AsRef<str>>, tint: Tint) {
        if let Some(value) = value {
            self.0
                .push(Row::new().cell(format!("{key}:")).tinted(value, tint));
        }
    }
}

fn moment(then: Timestamp, now: Timestamp) -> String {
    let relative = if then > now {
        until(then, now)
    } else {
        format!("{} ago", age(then, now))
    };
    format!("{} UTC ({relative})", clock(then))
}

fn facts(status: &CattleStatus, now: Timestamp) -> Table {
    let mut facts = Facts::new();
    facts.add("Name", Some(&status.name));
    facts.add_tinted(
        "Phase",
        Some(status.phase.as_str()),
        Tint::from(status.phase),
    );
    facts.add(
        "Reason",
        Some(present::reason(status)).filter(|r| !r.is_empty()),
    );
    facts.add("Message", status.message.as_ref());
    facts.add("Queued", status.queued_at.map(|at| moment(at, now)));
    if let Some(spec) = &status.spec {
        facts.add("Persona", Some(&spec.persona));
        facts.add("Task", Some(&spec.task_id));
        facts.add("Model", Some(&spec.model));
        facts.add("TTL", Some(spec.ttl.to_string()));
        facts.add("Spec hash", Some(&spec.spec_hash));
    }
    let origin = status.origin.as_ref();
    facts.add("Spec file", origin.map(|origin| &origin.path));
    facts.add("Requester", status.requester.as_ref());
    let labels: Vec<String> = status
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    facts.add("Labels", Some(labels.join(", ")).filter(|l| !l.is_empty()));
    facts.0
}

fn run_facts(run: &RunStatus, now: Timestamp) -> Table {
    let mut facts = Facts::new();
    let at = |then: Option<Timestamp>| then.map(|then| moment(then, now));
    facts.add("Id", Some(&run.run));
    facts.add_tinted("Phase", Some(run.phase.as_str()), Tint::from(run.phase));
    facts.add("End reason", run.end_reason.map(|reason| reason.as_str()));
    facts.add("Message", run.message.as_ref());
    facts.add("Exit code", run.exit_code.map(|code| code.to_string()));
    facts.add("Cause", run.cause.map(|cause| cause.as_str()));
    facts.add("Log", run.log.map(log));
    facts.add("Attempt", Some(run.attempt.to_string()));
    if let Some(server) = &run.server {
        let id = server.id;
        facts.add("Server", Some(format!("{} ({id})", server.name)));
        facts.add("Status", server.status.as_ref());
        facts.add("Type", server.server_type.as_ref());
        facts.add("Location", server.location.as_ref());
        facts.add("IPv4", server.ipv4.as_ref());
    }
    facts.add("Created", at(Some(run.created_at)));
    facts.add("Booted", at(run.booted_at));
    facts.add("Started", at(run.started_at));
    facts.add("Last seen", at(run.last_seen_at));
    facts.add("Ended", at(run.ended_at));
    facts.add(
        "Hands over",
        at(run.hand_over_until.filter(|until| *until > now)),
    );
    facts.add("Gone", at(run.gone_at));
    facts.add(
        "Expires",
        at(run.expires_at.filter(|_| run.ended_at.is_none())),
    );
    let cost = run.cost.as_ref().map(|cost| {
        let hours = cost.started_hours;
        let plural = if hours == 1 { "hour" } else { "hours" };
        format!("{} ({hours} started {plural})", present::cost(cost))
    });
    facts.add("Cost", cost);
    let cost = run.cost.as_ref();
    let shares = cost.map(|cost| format!("server {}, IPv4 {}", cost.server, cost.ipv4));
    let hourly = cost.map(|cost| format!("{} {}", cost.hourly, cost.currency));
    facts.add("Of which", shares);
    facts.add("Each hour", hourly);
    facts.0
}

/// How much there is of a log.
fn log(log: LogStatus) -> String {
    match (log.stored, log.written) {
        (Some(stored), Some(written)) if stored < written => {
            format!("cut: {stored} of {written} bytes arrived")
        }
        (_, Some(written)) if log.stored.is_some() => format!("whole, {written} bytes"),
        (None, Some(written)) => format!("{written} bytes were written"),
        (stored, _) => format!(
            "{} bytes arrived; its guest did not say how long it is",
            stored.unwrap_or_default()
        ),
    }
}

fn conditions(status: &CattleStatus, now: Timestamp) -> Table {
    let mut table = Table::new(&["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"]);
    for condition in &status.conditions {
        let tint = if present::is_fine(condition) {
            Tint::Good
        } else {
            Tint::Bad
        };
        table.push(
            Row::new()
                .cell(condition.kind.as_str())
                .tinted(if condition.status { "True" } else { "False" }, tint)
                .cell(&condition.reason)
                .maybe(condition.since.map(|since| age(since, now)))
                .cell(&condition.message),
        );
    }
    table
}

fn earlier(runs: &[RunStatus], now: Timestamp) -> Table {
    let mut table = Table::new(&["RUN", "PHASE", "REASON", "AGE", "COST"]);
    for run in runs {
        table.push(
            Row::new()
                .cell(&run.run)
                .tinted(run.phase.as_str(), Tint::from(run.phase))
                .maybe(run.end_reason.map(|reason| reason.as_str()))
                .cell(age(run.created_at, now))
                .maybe(run.cost.as_ref().map(present::cost)),
        );
    }
    table
}
