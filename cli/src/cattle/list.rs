//! `list`: all cattle, a line each.

use std::time::{Duration, Instant};

use cattle_schemas::{
    Timestamp,
    api::{CattleList, ListQuery},
    status::CattleStatus,
};

use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::{Output, Row, Table, Tint, View, age, clean, until},
    present,
};

/// Shown beneath the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  clawdlets cattle list
  clawdlets cattle ls -o wide --all
  clawdlets cattle ls -l team=docs -o name
  clawdlets cattle ls -o json | jq -r '.items[] | select(.phase == \"Failed\") | .name'

Runs that ended more than 24 hours ago are hidden unless --all.";

/// The view is drawn again at least so often: ages grow without events.
const REDRAW: Duration = Duration::from_secs(5);
/// Events that come together are one change of the picture.
const SETTLE: Duration = Duration::from_millis(200);
/// How long a controller may be away while its list is watched: a restart takes seconds.
const MAX_AWAY: Duration = Duration::from_secs(60);
/// Between two tries to reach a controller that is away.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// `list`
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only with these labels: `key=value`, `key!=value`, `key`, `!key`; may be repeated or joined
    /// with commas
    #[arg(short = 'l', long = "selector", value_name = "SELECTOR")]
    selector: Vec<String>,

    /// Also what ended more than 24 hours ago
    #[arg(short, long)]
    all: bool,

    /// Draw it again whenever something happens, until interrupted
    #[arg(short, long)]
    watch: bool,
}

/// A list with the time it is seen at.
struct Listed {
    list: CattleList,
    now: Timestamp,
}

impl serde::Serialize for Listed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.list.serialize(serializer)
    }
}

impl List {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let query = ListQuery {
            selector: self.selector()?,
            all: self.all,
            ..ListQuery::default()
        };
        if self.watch {
            return watch(ctx, &query).await;
        }
        ctx.out.show(&fetch(ctx, &query).await?)?;
        Ok(Exit::Done)
    }

    fn selector(&self) -> Result<Option<String>, Failure> {
        let joined = self.selector.join(",");
        if joined.is_empty() {
            return Ok(None);
        }
        if joined.split(',').any(|term| term.trim().is_empty()) {
            return Err(Failure::usage(
                format!("`{}` has an empty term", clean(&joined)),
                "write `-l key=value`, `key!=value`, `key` or `!key`, joined with commas",
            ));
        }
        Ok(Some(joined))
    }
}

async fn fetch(ctx: &Context, query: &ListQuery) -> Result<Listed, Failure> {
    Ok(Listed {
        list: ctx.client()?.list(query).await?,
        now: ctx.now(),
    })
}

/// Draws again at each event, through restarts of the controller.
async fn watch(ctx: &Context, query: &ListQuery) -> Result<Exit, Failure> {
    let mut drawn: Option<Instant> = None;
    let mut is_away = false;
    loop {
        if let Err(failure) = draw_until_cut(ctx, query, &mut drawn, &mut is_away).await {
            // Before the first picture nobody was away: there never was a controller.
            let since = drawn.map(|drawn| drawn.elapsed());
            if !failure.is_away() || since.is_none_or(|since| since >= MAX_AWAY) {
                return Err(failure);
            }
            if !is_away {
                ctx.out.note("the controller is away; waiting for it");
                is_away = true;
            }
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Until the stream of events ends, as it does with its controller.
async fn draw_until_cut(
    ctx: &Context,
    query: &ListQuery,
    drawn: &mut Option<Instant>,
    is_away: &mut bool,
) -> Result<(), Failure> {
    // Before the list, so that nothing falls between the two.
    let mut events = ctx.client()?.event_stream(None, None).await?;
    loop {
        let listed = fetch(ctx, query).await?;
        if ctx.out.format.is_document() {
            ctx.out.stream_item(&listed)?;
        } else {
            if ctx.out.terminal {
                // Home, and clear to the end: without the flicker of clearing first.
                ctx.out.bytes(b"\x1b[H\x1b[J")?;
            }
            ctx.out.show(&listed)?;
        }
        *drawn = Some(Instant::now());
        *is_away = false;
        match tokio::time::timeout(REDRAW, events.next()).await {
            Ok(Ok(Some(_))) => {
                // What else comes at the same moment needs no picture of its own.
                while let Ok(Ok(Some(_))) = tokio::time::timeout(SETTLE, events.next()).await {}
            }
            Ok(Ok(None) | Err(_)) => return Ok(()),
            Err(_) => {}
        }
    }
}

impl View for Listed {
    fn table(&self, out: &Output, wide: bool) -> Result<(), Failure> {
        if self.list.items.is_empty() {
            out.note("no cattle");
        } else {
            out.table(&table(&self.list.items, self.now, wide))?;
        }
        for condition in &self.list.controller.conditions {
            if !present::is_fine(condition) {
                out.warning(&present::condition(condition));
            }
        }
        if let Some(calls) = &self.list.controller.calls {
            match present::calls_spent(calls) {
                Some(spent) => out.warning(&spent),
                None if wide => out.note(&present::calls(calls)),
                None => {}
            }
        }
        out.diagnostics(&self.list.diagnostics, None);
        Ok(())
    }

    fn names(&self) -> Vec<String> {
        self.list.items.iter().map(|one| one.name.clone()).collect()
    }
}

fn table(items: &[CattleStatus], now: Timestamp, wide: bool) -> Table {
    let mut header = vec![
        "NAME", "PHASE", "REASON", "AGE", "EXPIRES", "PERSONA", "TASK",
    ];
    if wide {
        header.extend([
            "MODEL",
            "RUN",
            "SERVER",
            "TYPE",
            "LOCATION",
            "IP",
            "COST",
            "REQUESTER",
        ]);
    }
    let mut table = Table::new(&header);
    for one in items {
        table.push(row(one, now, wide));
    }
    table
}

fn row(one: &CattleStatus, now: Timestamp, wide: bool) -> Row {
    let run = one.run.as_ref();
    let spec = one.spec.as_ref();
    let since = run.map(|run| run.created_at).or(one.queued_at);
    let expires = run
        .filter(|run| run.ended_at.is_none())
        .and_then(|run| run.expires_at);
    let row = Row::new()
        .cell(&one.name)
        .tinted(one.phase.as_str(), Tint::from(one.phase))
        .cell(present::reason(one))
        .maybe(since.map(|since| age(since, now)))
        .maybe(expires.map(|at| until(at, now)))
        .maybe(spec.map(|spec| &spec.persona))
        .maybe(spec.map(|spec| &spec.task_id));
    if !wide {
        return row;
    }
    let server = run.and_then(|run| run.server.as_ref());
    row.maybe(spec.map(|spec| &spec.model))
        .maybe(run.map(|run| &run.run))
        .maybe(server.map(|server| server.id.to_string()))
        .maybe(server.and_then(|server| server.server_type.as_ref()))
        .maybe(server.and_then(|server| server.location.as_ref()))
        .maybe(server.and_then(|server| server.ipv4.as_ref()))
        .maybe(run.and_then(|run| run.cost.as_ref()).map(present::cost))
        .maybe(one.requester.as_ref())
}
