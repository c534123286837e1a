//! What the controller asked of Hetzner, counted by the imitation: in all, for each life of a
//! cattle, and what lists would cost a larger fleet.

use std::fmt::Write as _;

use cattle_core::rate::{DEFAULT_LIMIT, ListCost, list_cost};
use comfy_table::{CellAlignment, Table, presets};
use hetzner_sim::Call;
use serde::Serialize;

use crate::lister::Pace;

/// The fleets for which the price of lists is printed.
const FLEETS: [usize; 4] = [10, 100, 500, 1_000];

/// Calls by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Calls {
    pub(super) total: u64,
    creates: u64,
    deletes: u64,
    /// Pages of lists of servers.
    lists: u64,
    /// Looks at actions: one for all deletes under way.
    actions: u64,
    /// One server, by its number or its name.
    servers: u64,
    /// Power and labels.
    changes: u64,
    firewall: u64,
    ssh_keys: u64,
    /// Prices, server types, images.
    offer: u64,
    others: u64,
}

/// Calls divided by the servers that lived.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PerLife {
    /// Made for this one alone: create, delete, and where something went wrong more.
    own: f64,
    /// Its share of the lists.
    lists: f64,
    /// Its share of what is read once for all, or together for many.
    shared: f64,
}

impl Calls {
    pub(super) fn count(log: &[Call]) -> Self {
        let mut calls = Self::default();
        for call in log {
            calls.total += 1;
            *calls.kind(call) += 1;
        }
        calls
    }

    fn kind(&mut self, call: &Call) -> &mut u64 {
        let path = call.path.strip_prefix("/v1/").unwrap_or(&call.path);
        let resource = path.split('/').next().unwrap_or_default();
        let by_name = call.query.iter().any(|(key, _)| key == "name");
        match (call.method.as_str(), resource) {
            ("POST", "servers") if path == "servers" => &mut self.creates,
            ("DELETE", "servers") => &mut self.deletes,
            ("GET", "servers") if path == "servers" && !by_name => &mut self.lists,
            ("GET", "servers") => &mut self.servers,
            (_, "servers") => &mut self.changes,
            ("GET", "actions") => &mut self.actions,
            (_, "firewalls") => &mut self.firewall,
            (_, "ssh_keys") => &mut self.ssh_keys,
            ("GET", "pricing" | "server_types" | "images" | "locations") => &mut self.offer,
            _ => &mut self.others,
        }
    }

    pub(super) fn per_life(&self, lives: u64) -> PerLife {
        #[allow(clippy::cast_precision_loss)]
        let share = |calls: u64| (calls as f64 / lives.max(1) as f64 * 100.0).round() / 100.0;
        let own = self.creates + self.deletes + self.servers + self.changes;
        PerLife {
            own: share(own),
            lists: share(self.lists),
            shared: share(self.total - own - self.lists),
        }
    }

    /// Two lines for people.
    pub(super) fn summary(&self, lives: u64) -> String {
        let PerLife { own, lists, shared } = self.per_life(lives);
        let mut text = format!("{} API calls: ", self.total);
        let kinds = [
            (self.creates, "creates"),
            (self.deletes, "deletes"),
            (self.servers, "looks at one server"),
            (self.changes, "power and labels"),
            (self.lists, "pages of lists"),
            (self.actions, "looks at all deletes under way"),
            (self.firewall, "for the firewall"),
            (self.ssh_keys, "for SSH keys"),
            (self.offer, "for what Hetzner offers"),
            (self.others, "others"),
        ];
        let kinds: Vec<String> = kinds
            .iter()
            .filter(|(calls, _)| *calls > 0)
            .map(|(calls, words)| format!("{calls} {words}"))
            .collect();
        let _ = write!(
            text,
            "{}.\nCalls per life of a cattle: {own:.1} + lists {lists:.1} + what all share {shared:.1}.\n",
            kinds.join(", ")
        );
        text
    }
}

/// What lists cost a fleet of some size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Lists {
    servers: usize,
    pages: usize,
    idle: Cost,
    busy: Cost,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Cost {
    seconds: f64,
    calls_per_hour: f64,
    /// Of what the rate limit refills; 0.25 at most.
    share: f64,
}

impl From<ListCost> for Cost {
    fn from(cost: ListCost) -> Self {
        Self {
            seconds: cost.interval.as_secs_f64(),
            calls_per_hour: cost.calls_an_hour,
            share: (cost.share * 1000.0).round() / 1000.0,
        }
    }
}

/// By fleet, at the limit that Hetzner documents.
pub(super) fn lists() -> Vec<Lists> {
    let pace = Pace::default();
    let refill = f64::from(DEFAULT_LIMIT) / 3600.0;
    FLEETS
        .iter()
        .map(|servers| {
            let (idle, busy) = (
                list_cost(pace.idle, *servers, refill),
                list_cost(pace.busy, *servers, refill),
            );
            Lists {
                servers: *servers,
                pages: idle.pages,
                idle: idle.into(),
                busy: busy.into(),
            }
        })
        .collect()
}

/// The same as a table.
pub(super) fn lists_table() -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header([
        "SERVERS",
        "PAGES",
        "IDLE EVERY",
        "CALLS/H",
        "SHARE",
        "BUSY EVERY",
        "CALLS/H",
        "SHARE",
    ]);
    for fleet in lists() {
        let cost = |cost: Cost| {
            [
                format!("{:.0} s", cost.seconds),
                format!("{:.0}", cost.calls_per_hour),
                format!("{:.1} %", cost.share * 100.0),
            ]
        };
        let row = [fleet.servers.to_string(), fleet.pages.to_string()]
            .into_iter()
            .chain(cost(fleet.idle))
            .chain(cost(fleet.busy));
        table.add_row(row.collect::<Vec<_>>());
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let rows: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    format!(
        "What lists cost of {DEFAULT_LIMIT} calls an hour; busy is while something waits for what only a list can say:\n{}\n",
        rows.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &str, path: &str, query: &[(&str, &str)]) -> Call {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Call {
            seq: 1,
            at: String::new(),
            at_ms: 0,
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.iter().map(own).collect(),
            operation: String::new(),
            status: Some(200),
            error_code: None,
            server_id: None,
            server_name: None,
            fault: None,
        }
    }

    #[test]
    fn every_call_is_named_and_divided_by_the_lives() {
        let log = [
            call("GET", "/v1/servers", &[("label_selector", "fleet=demo")]),
            call("POST", "/v1/servers", &[]),
            call("POST", "/v1/servers", &[]),
            call("GET", "/v1/servers", &[("name", "cattle-rex-abc")]),
            call("GET", "/v1/servers/7", &[]),
            call("POST", "/v1/servers/7/actions/poweron", &[]),
            call("DELETE", "/v1/servers/7", &[]),
            call("DELETE", "/v1/servers/8", &[]),
            call("GET", "/v1/actions", &[("id", "1"), ("id", "2")]),
            call("GET", "/v1/firewalls", &[("name", "x")]),
            call("GET", "/v1/ssh_keys", &[]),
            call("GET", "/v1/pricing", &[]),
        ];
        insta::assert_snapshot!(Calls::count(&log).summary(2), @r"
        12 API calls: 2 creates, 2 deletes, 2 looks at one server, 1 power and labels, 1 pages of lists, 1 looks at all deletes under way, 1 for the firewall, 1 for SSH keys, 1 for what Hetzner offers.
        Calls per life of a cattle: 3.5 + lists 0.5 + what all share 2.0.
        ");
    }

    #[test]
    fn lists_take_a_quarter_at_most_however_large_the_fleet() {
        insta::assert_snapshot!(lists_table(), @r"
        What lists cost of 3600 calls an hour; busy is while something waits for what only a list can say:
         SERVERS  PAGES  IDLE EVERY  CALLS/H   SHARE  BUSY EVERY  CALLS/H   SHARE
              10      1        30 s      240   6.7 %         8 s      900  25.0 %
             100      2        30 s      360  10.0 %        12 s      900  25.0 %
             500     10        44 s      900  25.0 %        44 s      900  25.0 %
            1000     20        84 s      900  25.0 %        84 s      900  25.0 %
        ");
    }
}
