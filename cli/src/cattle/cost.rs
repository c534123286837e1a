//! `cost`: what servers cost, from the ledger.

use std::str::FromStr;

use cattle_schemas::{
    Timestamp,
    api::{CostBy, CostItem, CostQuery, CostReply},
    duration::SpecDuration,
};
use chrono::{NaiveDate, NaiveTime};

use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::{Output, Row, Table, Tint, View},
};

/// Shown beneath the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  clawdlets cattle cost
  clawdlets cattle cost --by persona --since 7d
  clawdlets cattle cost --by day --since 2026-11-01 --until 2026-12-01
  clawdlets cattle cost -o json | jq -r .total.total

Every started hour is billed whole and belongs to the UTC day on which it began; a server and its
IPv4 address are capped each month, each by itself. Net, in the account's currency. Only what the
ledger has a run for: no images, no volumes, no other fleet.";

/// `cost`
#[derive(Debug, clap::Args)]
pub(crate) struct CostArgs {
    /// How it is put together
    #[arg(long, value_enum, default_value_t)]
    by: By,

    /// Only hours that began then or later: a duration ago (`7d`), a day, or a time (UTC)
    #[arg(long, value_name = "TIME")]
    since: Option<When>,

    /// Only hours that began before then, written likewise
    #[arg(long, value_name = "TIME")]
    until: Option<When>,
}

/// `--by`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum By {
    /// Everything together.
    #[default]
    Fleet,
    /// By persona.
    Persona,
    /// By UTC day.
    Day,
}

/// A time, or one that depends on now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Ago(SpecDuration),
    At(Timestamp),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(ago) = text.parse() {
            return Ok(Self::Ago(ago));
        }
        if let Ok(day) = text.parse::<NaiveDate>() {
            return Ok(Self::At(day.and_time(NaiveTime::MIN).and_utc()));
        }
        text.parse().map(Self::At).map_err(|_| {
            "write a duration as in `7d`, a day as in `2026-11-01`, or a time as in `2026-11-01T12:00:00Z`"
                .to_owned()
        })
    }
}

impl When {
    fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(ago) => now - ago.as_std(),
            Self::At(at) => at,
        }
    }
}

/// The answer, as the API has it.
#[derive(serde::Serialize)]
#[serde(transparent)]
struct Shown(CostReply);

impl CostArgs {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        if matches!(self.since, Some(When::Ago(_))) || matches!(self.until, Some(When::Ago(_))) {
            // Ago counts from the controller's now.
            ctx.client()?.meet().await?;
        }
        let now = ctx.now();
        let query = CostQuery {
            by: match self.by {
                By::Fleet => CostBy::Fleet,
                By::Persona => CostBy::Persona,
                By::Day => CostBy::Day,
            },
            since: self.since.map(|when| when.at(now)),
            until: self.until.map(|when| when.at(now)),
        };
        if let (Some(since), Some(until)) = (query.since, query.until)
            && since >= until
        {
            return Err(Failure::usage(
                "`--since` is not before `--until`",
                "give the earlier time to `--since`",
            ));
        }
        let reply = ctx.client()?.cost(&query).await?;
        ctx.out.show(&Shown(reply))?;
        Ok(Exit::Done)
    }
}

impl View for Shown {
    fn table(&self, out: &Output, _: bool) -> Result<(), Failure> {
        let reply = &self.0;
        if reply.items.is_empty() {
            out.note("nothing was billed");
        } else {
            let key = match reply.by {
                CostBy::Fleet => "FLEET",
                CostBy::Persona => "PERSONA",
                CostBy::Day => "DAY (UTC)",
            };
            let mut table = Table::new(&[key, "RUNS", "HOURS", "SERVER", "IPV4", "TOTAL"]);
            for item in &reply.items {
                table.push(row(item, &reply.currency, Tint::Plain));
            }
            table.push(row(&reply.total, &reply.currency, Tint::Good));
            out.table(&table)?;
        }
        if reply.unpriced_runs > 0 {
            let (runs, have) = match reply.unpriced_runs {
                1 => ("run", "has"),
                _ => ("runs", "have"),
            };
            out.warning(&format!(
                "{} {runs} of that time {have} a server whose price is not known; not in these sums",
                reply.unpriced_runs
            ));
        }
        Ok(())
    }

    fn names(&self) -> Vec<String> {
        let items = &self.0.items;
        items.iter().map(|item| item.key.clone()).collect()
    }
}

fn row(item: &CostItem, currency: &str, tint: Tint) -> Row {
    Row::new()
        .cell(&item.key)
        .cell(item.runs.to_string())
        .cell(item.started_hours.to_string())
        .cell(&item.server)
        .cell(&item.ipv4)
        .tinted(format!("{} {currency}", item.total), tint)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn times_are_written_as_durations_days_or_instants() {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        let told = |text: &str| text.parse::<When>().map(|when| when.at(now).to_rfc3339());
        assert_eq!(told("7d").unwrap(), "2026-11-15T12:00:00+00:00");
        assert_eq!(told("2026-11-01").unwrap(), "2026-11-01T00:00:00+00:00");
        assert_eq!(
            told("2026-11-01T12:30:00+02:00").unwrap(),
            "2026-11-01T10:30:00+00:00"
        );
        for text in ["", "7", "yesterday", "2026-13-01", "-1d"] {
            assert!(told(text).is_err(), "{text}");
        }
    }
}
