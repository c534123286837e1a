//! What the demo says: before it begins, when it is over, and how to go on by hand.

use std::{fmt::Write as _, io::Write as _, time::Duration};

use cattle_core::untrusted::escape;
use cattle_schemas::{
    Timestamp,
    event::{Event, EventReason},
    status::{CattleStatus, EndReason, RunStatus},
};
use comfy_table::{Table, presets};
use serde::Serialize;

use super::{
    calls::{self, Calls, Lists, PerLife},
    stage::{Stage, TOKEN},
};

/// How much of each log is shown.
const LOG_LINES: usize = 3;

/// Bytes read for those lines.
const LOG_TAIL_BYTES: u64 = 2_048;

/// The batch is ten of a kind: its logs would be ten times the same.
const QUIET_PREFIX: &str = "batch-";

/// The demo's outcome, as `--json` prints it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    cattle: Vec<JsonCattle>,
    servers_left: usize,
    servers_created: u64,
    api_calls: u64,
    calls: Calls,
    calls_per_life: PerLife,
    /// What lists cost larger fleets.
    lists: Vec<Lists>,
    seconds: f64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonCattle {
    name: String,
    phase: String,
    end_reason: Option<EndReason>,
    run: Option<String>,
    seconds: Option<f64>,
    /// Net, in the account's currency.
    cost: Option<f64>,
}

/// Everything there is to say at the end.
pub(super) struct Ended {
    cattle: Vec<EndedCattle>,
    servers_left: usize,
    servers_created: u64,
    max_servers_at_once: u64,
    calls: Calls,
    cost: String,
    elapsed: Duration,
}

struct EndedCattle {
    status: CattleStatus,
    events: Vec<Event>,
    log: String,
    result: Option<serde_json::Value>,
}

impl Ended {
    /// Asks the controller and the imitation for everything.
    pub(super) async fn collect(
        stage: &Stage,
        items: Vec<CattleStatus>,
        elapsed: Duration,
    ) -> anyhow::Result<Self> {
        let mut cattle = Vec::new();
        for status in items {
            let log = stage.log_tail(&status.name, LOG_TAIL_BYTES).await?;
            let result = stage.result(&status.name).await?;
            let events = stage.events(&status.name).await?;
            cattle.push(EndedCattle {
                status,
                events,
                log,
                result,
            });
        }
        let state = stage.sim().snapshot();
        let left = state["servers"].as_array().map_or(0, Vec::len);
        let cost = stage.cost();
        Ok(Self {
            cattle,
            servers_left: left,
            servers_created: cost.servers_created,
            max_servers_at_once: state["maxServersAtOnce"].as_u64().unwrap_or(0),
            calls: Calls::count(&stage.sim().calls()),
            cost: format!(
                "{} {} for {} started hours",
                cost.total, cost.currency, cost.started_hours
            ),
            elapsed,
        })
    }

    /// Whether everything ended as it should: no server left, and each scenario as its name says.
    pub(super) fn is_clean(&self) -> bool {
        self.servers_left == 0
            && self.cattle.iter().all(|cattle| {
                let expected = match cattle.status.name.as_str() {
                    "fails" => EndReason::TaskFailed,
                    "overstays" => EndReason::TtlExpired,
                    _ => EndReason::Completed,
                };
                cattle.end() == Some(expected)
            })
    }

    /// One JSON object on standard output.
    pub(super) fn print_json(&self) -> anyhow::Result<()> {
        let json = Json {
            cattle: self.cattle.iter().map(EndedCattle::json).collect(),
            servers_left: self.servers_left,
            servers_created: self.servers_created,
            api_calls: self.calls.total,
            calls: self.calls,
            calls_per_life: self.calls.per_life(self.servers_created),
            lists: calls::lists(),
            seconds: round(self.elapsed.as_secs_f64()),
        };
        let mut out = std::io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, &json)?;
        writeln!(out)?;
        Ok(())
    }

    /// For people.
    pub(super) fn print(&self) {
        print(&format!(
            "\n{}\n{}{}",
            self.table(),
            self.logs(),
            self.summary()
        ));
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header([
            "NAME",
            "PHASE",
            "END",
            "PROVISIONING",
            "BOOTING",
            "RUNNING",
            "FINISHING",
            "TOTAL",
            "COST",
        ]);
        for cattle in &self.cattle {
            let Some(run) = &cattle.status.run else {
                continue;
            };
            let times = Times::of(run, &cattle.events);
            table.add_row([
                cattle.status.name.clone(),
                cattle.status.phase.to_string(),
                run.end_reason
                    .map(|reason| reason.to_string())
                    .unwrap_or_default(),
                times.provisioning,
                times.booting,
                times.running,
                times.finishing,
                times.total,
                run.cost
                    .as_ref()
                    .map(|cost| format!("{} {}", cost.amount, cost.currency))
                    .unwrap_or_default(),
            ]);
        }
        table
    }

    fn logs(&self) -> String {
        let mut text = String::new();
        for cattle in &self.cattle {
            if cattle.status.name.starts_with(QUIET_PREFIX) {
                continue;
            }
            let _ = writeln!(text, "\n{}", cattle.status.name);
            let _ = writeln!(text, "  life:   {}", cattle.life());
            if let Some(message) = &cattle.status.message {
                let _ = writeln!(text, "  end:    {}", escape(message));
            }
            if let Some(result) = &cattle.result {
                let _ = writeln!(text, "  result: {}", escape(&result.to_string()));
            }
            let lines: Vec<&str> = cattle.log.lines().collect();
            for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
                let _ = writeln!(text, "  log:    {}", escape(line));
            }
        }
        text
    }

    fn summary(&self) -> String {
        format!(
            "\n{} cattle in {:.1} s; {} servers made, never more than {} at once, {} left.\n\
             Cost at real prices: {}. Every started hour is billed whole, so the shortest run costs an hour.\n\
             {}\n{}",
            self.cattle.len(),
            self.elapsed.as_secs_f64(),
            self.servers_created,
            self.max_servers_at_once,
            self.servers_left,
            self.cost,
            self.calls.summary(self.servers_created),
            calls::lists_table(),
        )
    }
}

impl EndedCattle {
    fn end(&self) -> Option<EndReason> {
        self.status.run.as_ref()?.end_reason
    }

    /// What happened, and after how many seconds.
    fn life(&self) -> String {
        let Some(first) = self.events.first() else {
            return String::new();
        };
        let steps: Vec<String> = self
            .events
            .iter()
            .map(|event| {
                format!(
                    "{} {:.1}",
                    event.reason.as_str(),
                    seconds(first.time, event.time)
                )
            })
            .collect();
        steps.join(", ")
    }

    fn json(&self) -> JsonCattle {
        let run = self.status.run.as_ref();
        let seconds = run.and_then(|run| Some(seconds(run.created_at, run.gone_at?)));
        JsonCattle {
            name: self.status.name.clone(),
            phase: self.status.phase.to_string(),
            end_reason: self.end(),
            run: run.map(|run| run.run.clone()),
            seconds,
            cost: run.and_then(|run| run.cost.as_ref()?.amount.parse().ok()),
        }
    }
}

/// The phases of a run, with how long each took.
struct Times {
    provisioning: String,
    booting: String,
    running: String,
    finishing: String,
    total: String,
}

impl Times {
    fn of(run: &RunStatus, events: &[Event]) -> Self {
        let at = |reason| {
            events
                .iter()
                .find(|event| event.reason == reason)
                .map(|event| event.time)
        };
        let span = |from: Option<Timestamp>, to: Option<Timestamp>| match (from, to) {
            (Some(from), Some(to)) => format!("{:.1}s", seconds(from, to)),
            _ => "-".to_owned(),
        };
        let created = at(EventReason::Created);
        Self {
            provisioning: span(Some(run.created_at), created),
            booting: span(created, run.started_at),
            running: span(run.started_at, run.ended_at),
            finishing: span(run.ended_at, run.gone_at),
            total: span(Some(run.created_at), run.gone_at),
        }
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    round((to - from).as_seconds_f64())
}

fn round(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

/// What is about to happen.
pub(super) fn opening(stage: &Stage) {
    print(&format!(
        "An imitated Hetzner at {}, this controller, and a real process as each server's guest.\n\
         No account, no root; everything is beneath {}.\n\
         {} spec files are dropped into the watched directory. Their tasks are run by this script,\n\
         which stands for an agent (specs/demo/runner.sh):\n\n{}\n",
        stage.sim().url(),
        stage.root().display(),
        stage.expected(),
        stage.runner_text(),
    ));
}

/// How to go on by hand.
pub(super) fn keep(stage: &Stage) {
    print(&format!(
        "\nLeft running until Ctrl-C. In another terminal:\n\
         \x20 export CLF_SOCKET_PATH={}\n\
         \x20 clawdlets cattle list\n\
         \x20 clawdlets cattle describe hello\n\
         \x20 clawdlets cattle spawn --persona rex --message 'ok once more' --wait\n\
         \x20 curl -s -H 'Authorization: Bearer {TOKEN}' {}/state | head -c 600\n\
         (`cargo build --release --workspace` puts `clawdlets` into target/release.)\n",
        stage.socket().display(),
        stage.sim().control_url(),
    ));
}

fn print(text: &str) {
    // A reader that went away (a closed pipe) is no reason to fail.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
