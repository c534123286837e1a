//! The live table: on a terminal it is redrawn in place; elsewhere one line for each change.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
};

use cattle_schemas::status::{CattleStatus, Phase};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Shows cattle while they live.
pub(super) struct LiveTable {
    mode: Mode,
    phases: BTreeMap<String, Phase>,
}

/// Above the rows; see [`row`].
const HEADER: &str = "NAME           PHASE         SERVER       WHY";

enum Mode {
    Silent,
    Lines,
    Table {
        bars: MultiProgress,
        rows: BTreeMap<String, ProgressBar>,
    },
}

impl LiveTable {
    pub(super) fn new(shown: bool) -> Self {
        let mode = match (shown, std::io::stdout().is_terminal()) {
            (false, _) => Mode::Silent,
            (true, false) => Mode::Lines,
            (true, true) => Mode::Table {
                bars: MultiProgress::with_draw_target(indicatif::ProgressDrawTarget::stdout()),
                rows: BTreeMap::new(),
            },
        };
        Self {
            mode,
            phases: BTreeMap::new(),
        }
    }

    /// Shows how things are now.
    pub(super) fn show(&mut self, items: &[CattleStatus]) {
        for item in items {
            let before = self.phases.insert(item.name.clone(), item.phase);
            let line = row(item);
            match &mut self.mode {
                Mode::Silent => {}
                Mode::Lines if before == Some(item.phase) => {}
                Mode::Lines => {
                    // A reader that went away (a closed pipe) is no reason to stop the demo.
                    let _ = writeln!(std::io::stdout(), "{line}");
                }
                Mode::Table { bars, rows } => {
                    for (name, line) in [
                        (String::new(), HEADER.to_owned()),
                        (item.name.clone(), line),
                    ] {
                        let bar = rows.entry(name).or_insert_with(|| add_line(bars));
                        bar.set_message(line);
                        bar.tick();
                    }
                }
            }
        }
    }

    /// Leaves the last state on the screen.
    pub(super) fn finish(&mut self) {
        if let Mode::Table { rows, .. } = &self.mode {
            for bar in rows.values() {
                bar.abandon();
            }
        }
    }
}

fn add_line(bars: &MultiProgress) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg}").expect("the template is constant");
    let bar = bars.add(ProgressBar::new_spinner());
    bar.set_style(style);
    bar
}

fn row(item: &CattleStatus) -> String {
    let server = item
        .run
        .as_ref()
        .and_then(|run| run.server.as_ref())
        .map_or_else(String::new, |server| server.id.to_string());
    let why = item.reason.as_deref().unwrap_or("");
    format!("{:<14} {:<13} {:<12} {why}", item.name, item.phase, server)
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_row_has_name_phase_and_reason() {
        let item: CattleStatus =
            serde_json::from_str(r#"{"name":"hello","phase":"Pending","reason":"max-instances"}"#)
                .unwrap();
        insta::assert_snapshot!(row(&item), @"hello          Pending                    max-instances");
    }
}
