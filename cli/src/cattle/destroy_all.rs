//! `destroy --all`: starts are paused, then everything that runs is ended.

use std::io::{self, BufRead as _, IsTerminal as _};

use cattle_schemas::{
    api::{CattleList, ListQuery},
    pause::PauseRequest,
    status::{CattleStatus, ConditionType},
};

use crate::{
    context::Context,
    exit::Failure,
    output::{Row, Table, clean},
    present::{is_orphan, is_stray},
    target::Target,
};

/// Why starts are paused.
const WHY: &str = "destroy --all";

/// How somebody agreed beforehand.
pub(super) enum Agreed<'a> {
    /// They are to be asked.
    Ask,
    /// `--yes`.
    Yes,
    /// `--confirm FLEET`.
    ToFleet(&'a str),
}

impl<'a> Agreed<'a> {
    pub(super) fn new(yes: bool, fleet: Option<&'a str>) -> Self {
        match fleet {
            Some(fleet) => Self::ToFleet(fleet),
            None if yes => Self::Yes,
            None => Self::Ask,
        }
    }
}

/// Shows what would end, makes sure that it is meant, and pauses starts. Answers what is to be
/// destroyed; `None` when it is not meant.
pub(super) async fn prepare(
    ctx: &Context,
    agreed: &Agreed<'_>,
) -> Result<Option<Vec<Target>>, Failure> {
    let client = ctx.client()?;
    let everything = ListQuery {
        all: true,
        ..ListQuery::default()
    };
    let listed = client.list(&everything).await?;
    if !is_meant(ctx, agreed, &listed)? {
        return Ok(None);
    }
    // First, so that nothing takes the place of what ends.
    let pause = PauseRequest {
        starts: true,
        ends: false,
        why: WHY.to_owned(),
    };
    client.pause(&pause).await?;
    let listed = client.list(&everything).await?;
    tell_what_stays(ctx, &listed);
    Ok(Some(doomed(&listed).filter_map(run_of).collect()))
}

/// What has a server, or is about to.
fn doomed(listed: &CattleList) -> impl Iterator<Item = &CattleStatus> {
    let kept = |one: &CattleStatus| {
        let mut conditions = one.conditions.iter();
        conditions.any(|it| it.kind == ConditionType::Kept && it.status)
    };
    listed.items.iter().filter(move |one| {
        let live = one.run.as_ref().is_some_and(|run| run.ended_at.is_none());
        (live || kept(one)) && !is_stray(one)
    })
}

/// Says what bills on: a copy goes with its run, but nothing here ends a server without one.
fn tell_what_stays(ctx: &Context, listed: &CattleList) {
    let orphans: Vec<String> = listed
        .items
        .iter()
        .filter(|one| is_orphan(one))
        .map(|one| clean(&one.name))
        .collect();
    if orphans.is_empty() {
        return;
    }
    ctx.out.warning(&format!(
        "without a run in the ledger, left until they expire: {}; `clf-orchestrator stop --fleet {}` deletes every server of the fleet",
        orphans.join(", "),
        clean(&listed.controller.fleet)
    ));
}

/// The name, so that its spec goes too.
fn run_of(one: &CattleStatus) -> Option<Target> {
    one.name.parse().ok()
}

fn is_meant(ctx: &Context, agreed: &Agreed<'_>, listed: &CattleList) -> Result<bool, Failure> {
    let fleet = &listed.controller.fleet;
    match agreed {
        Agreed::Yes => return Ok(true),
        Agreed::ToFleet(named) if named == fleet => return Ok(true),
        Agreed::ToFleet(_) => {
            return Err(Failure::usage(
                format!("this is the controller of fleet `{}`", clean(fleet)),
                "name that one with `--confirm`",
            ));
        }
        Agreed::Ask => {}
    }
    if !(io::stdin().is_terminal() && ctx.out.stderr_terminal) {
        return Err(Failure::usage(
            "`destroy --all` asks on a terminal, and this is none",
            format!(
                "`--confirm {}` or `--yes` says that it is meant",
                clean(fleet)
            ),
        ));
    }
    let mut table = Table::new(&["NAME", "PHASE", "SERVER"]);
    let mut count = 0;
    for one in doomed(listed) {
        count += 1;
        let server = one.run.as_ref().and_then(|run| run.server.as_ref());
        table.push(
            Row::new()
                .cell(&one.name)
                .cell(one.phase.as_str())
                .maybe(server.map(|server| &server.name)),
        );
    }
    ctx.out.table(&table)?;
    ctx.out.warning(&format!(
        "starts are paused, and {count} runs of fleet `{}` end with their tasks; type the fleet's name to go on:",
        clean(fleet)
    ));
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| anyhow::Error::new(error).context("cannot read the answer"))?;
    if line.trim() == fleet {
        return Ok(true);
    }
    ctx.out.note("nothing was changed");
    Ok(false)
}

/// Said at the end.
pub(super) fn tell_the_way_back(ctx: &Context) {
    ctx.out.warning(
        "starts are paused; `clawdlets cattle resume --reason paused` lets what is pending start",
    );
}
