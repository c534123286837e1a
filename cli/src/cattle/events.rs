//! `events`: what happened, oldest first.

use std::time::Duration;

use cattle_schemas::{api::EventList, event::Event};

use crate::{
    client::sse::EventStream,
    context::Context,
    exit::{Exit, Failure},
    output::{Output, Row, Table, View, clean, clock},
    target::Target,
};

/// Shown beneath the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  clawdlets cattle events rex-issue-42
  clawdlets cattle events --follow           (the whole fleet, as it happens)
  clawdlets cattle events --follow -o json   (a line of JSON for each)";

/// How often a stream that broke off is opened again before it is given up.
const MAX_REOPENS: usize = 30;
/// Between two tries.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);

/// `events`
#[derive(Debug, clap::Args)]
pub(crate) struct Events {
    /// A cattle's name, a run or its beginning, a server's id or name [default: all]
    #[arg(value_name = "NAME-OR-ID")]
    target: Option<Target>,

    /// Stay, and print what happens
    #[arg(short, long)]
    follow: bool,
}

#[derive(serde::Serialize)]
#[serde(transparent)]
struct Listed {
    list: EventList,
    #[serde(skip)]
    with_names: bool,
}

impl Events {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let target = self.target.as_ref().map(Target::as_str);
        let list = ctx.client()?.events(target).await?;
        let with_names = target.is_none();
        if !self.follow {
            ctx.out.show(&Listed { list, with_names })?;
            return Ok(Exit::Done);
        }
        let mut last = None;
        for event in &list.items {
            print(ctx, event, with_names)?;
            last = Some(event.id);
        }
        follow(ctx, target, last).await
    }
}

/// From after `last`, through restarts of the controller.
async fn follow(
    ctx: &Context,
    target: Option<&str>,
    mut last: Option<u64>,
) -> Result<Exit, Failure> {
    let client = ctx.client()?;
    let mut reopens = 0;
    loop {
        let ended = match client.event_stream(target, last.or(Some(0))).await {
            Ok(mut events) => {
                print_all(ctx, &mut events, target.is_none(), &mut last, &mut reopens).await
            }
            Err(failure) => Err(failure),
        };
        match ended {
            Ok(()) => {}
            Err(Failure::Transport(_) | Failure::Connect(_)) if reopens < MAX_REOPENS => {}
            Err(failure) => return Err(failure),
        }
        reopens += 1;
        tokio::time::sleep(REOPEN_PAUSE).await;
    }
}

async fn print_all(
    ctx: &Context,
    events: &mut EventStream,
    with_names: bool,
    last: &mut Option<u64>,
    reopens: &mut usize,
) -> Result<(), Failure> {
    while let Some(event) = events.next().await? {
        *reopens = 0;
        // Ids are monotonic; what was printed before a break comes once.
        if last.is_some_and(|last| event.id <= last) {
            continue;
        }
        *last = Some(event.id);
        print(ctx, &event, with_names)?;
    }
    Ok(())
}

fn print(ctx: &Context, event: &Event, with_names: bool) -> Result<(), Failure> {
    if ctx.out.format.is_document() {
        return ctx.out.stream_item(event);
    }
    let cattle = match &event.cattle {
        Some(cattle) if with_names => format!("{}  ", clean(cattle)),
        _ => String::new(),
    };
    ctx.out.line(&format!(
        "{}  {cattle}{:<14}  {}",
        clock(event.time),
        event.reason.as_str(),
        clean(&event.message)
    ))
}

impl View for Listed {
    fn table(&self, out: &Output, _: bool) -> Result<(), Failure> {
        if self.list.items.is_empty() {
            out.note("no events");
            return Ok(());
        }
        out.table(&table(&self.list.items, self.with_names))
    }

    fn names(&self) -> Vec<String> {
        self.list
            .items
            .iter()
            .map(|one| one.id.to_string())
            .collect()
    }
}

/// Events as a table, with the cattle's name where they are not all of one.
pub(super) fn table(events: &[Event], with_names: bool) -> Table {
    let mut header = vec!["TIME (UTC)"];
    if with_names {
        header.push("CATTLE");
    }
    header.extend(["REASON", "MESSAGE"]);
    let mut table = Table::new(&header);
    for event in events {
        let mut row = Row::new().cell(clock(event.time));
        if with_names {
            row = row.maybe(event.cattle.as_ref());
        }
        table.push(row.cell(event.reason.as_str()).cell(&event.message));
    }
    table
}
