//! The matrix as a table: for people who look at a run of it, and for docs/fault-matrix.md.

use std::collections::BTreeMap;

use cattle_controller::hetzner::Operation;
use cattle_schemas::status::EndReason;

use super::{
    cell::{self, Cell, Played},
    expected::{Meanwhile, expected, meanwhile},
    faults::{self, Leaves},
    scenes::asked,
};

/// Stands for `completed`, of which there are hundreds.
const COMPLETED: &str = "✓";

/// What is printed of one cell.
type Cells = BTreeMap<(&'static str, &'static str), Vec<String>>;

fn word(reason: EndReason) -> String {
    match reason {
        EndReason::Completed => COMPLETED.to_owned(),
        other => other.to_string(),
    }
}

fn put(cells: &mut Cells, cell: Cell, text: String) {
    let place = (cell.operation.as_str(), cell.fault.name);
    cells.entry(place).or_default().push(text);
}

/// docs/fault-matrix.md.
pub(super) fn page() -> String {
    let mut cells = Cells::new();
    for cell in cell::all() {
        put(
            &mut cells,
            cell,
            word(expected(cell.operation, cell.side).reason),
        );
    }
    let mut text = INTRODUCTION.to_owned() + &render(&cells);
    text.push_str("\n## The calls\n\n| operation | made because | and while it fails for good (503), the run |\n|---|---|---|\n");
    for operation in Operation::ALL {
        let words = asked(operation).scene.words();
        let meanwhile = match meanwhile(operation) {
            Meanwhile::Waits => "waits, and ends well when it works again",
            Meanwhile::Ends => "ends all the same",
        };
        text.push_str(&format!(
            "| {} | {words} | {meanwhile} |\n",
            operation.as_str()
        ));
    }
    text.push_str("\n## The faults\n\n| fault | as [hetzner-sim](../hetzner-sim/README.md#faults) is told | the call's effect |\n|---|---|---|\n");
    for fault in faults::ALL {
        let effect = match fault.leaves {
            Leaves::Nothing => "none",
            Leaves::Doubt => "none / there",
            Leaves::TheEffect => "there",
        };
        text.push_str(&format!(
            "| {} | `{}` | {effect} |\n",
            fault.name,
            fault.script()
        ));
    }
    text
}

const INTRODUCTION: &str = "# Fault matrix

<!-- Written by `UPDATE=1 cargo test -p cattle-tests --test e2e the_matrix_in_the_docs`. -->

Every call that the controller makes of Hetzner's API, and every way in which it can go wrong. Each
cell is a test: a controller, `hetzner-sim` and a real guest, one cattle whose call fails so twice in
a row. Afterwards its task has run exactly once, no server is left, the next plan is empty, and its
end reason in the ledger is the cell's; ✓ is `completed`. Two words: the fault struck before / after
the call took effect. How to play one cell alone: [CONTRIBUTING.md](../CONTRIBUTING.md#tests).

";

/// What came, and how long it took.
pub(super) fn of_played(played: &[Played]) -> String {
    let mut cells = Cells::new();
    for one in played {
        let word = one
            .outcome
            .as_ref()
            .map_or_else(|_| "FAILED".to_owned(), |&reason| word(reason));
        put(
            &mut cells,
            one.cell,
            format!("{word} {:.0}s", one.took.as_secs_f64()),
        );
    }
    render(&cells)
}

/// As Markdown: a row for each operation, a column for each fault.
fn render(cells: &Cells) -> String {
    let mut rows = vec![
        std::iter::once("operation")
            .chain(faults::ALL.iter().map(|fault| fault.name))
            .map(str::to_owned)
            .collect::<Vec<_>>(),
    ];
    for operation in Operation::ALL {
        let mut row = vec![operation.as_str().to_owned()];
        for fault in faults::ALL {
            let cell = cells.get(&(operation.as_str(), fault.name));
            row.push(cell.map_or_else(String::new, |sides| sides.join(" / ")));
        }
        rows.push(row);
    }
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!(" {cell:<width$} |"));
        format!("|{}\n", cells.collect::<String>())
    };
    let rule = format!(
        "|{}\n",
        widths
            .iter()
            .map(|width| format!("{}|", "-".repeat(width + 2)))
            .collect::<String>()
    );
    let mut text = line(&rows[0]) + &rule;
    rows[1..].iter().for_each(|row| text.push_str(&line(row)));
    text
}
