//! What is said while somebody waits: a spinner for each cattle on a terminal, lines elsewhere.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cattle_schemas::{Timestamp, event::Event, status::CattleStatus};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::{
    output::{Output, age, clean, stderr_line},
    present,
};

/// More spinners than this push each other off the screen; lines are better then.
const MAX_SPINNERS: usize = 20;
/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(120);

/// Who tells of a wait.
#[derive(Debug)]
pub(crate) struct Progress {
    quiet: bool,
    spinners: Option<MultiProgress>,
    bars: BTreeMap<String, ProgressBar>,
    /// The names of those that were named by something else.
    names: RefCell<BTreeMap<String, String>>,
    /// Whose events are told, by name or by whatever else they were named.
    wanted: BTreeSet<String>,
    /// What was last said of each, so that nothing is said twice.
    said: RefCell<BTreeMap<String, String>>,
}

impl Progress {
    /// For these cattle.
    pub(crate) fn new(out: &Output, names: &[String]) -> Self {
        let spinners = (out.stderr_terminal && !out.quiet && names.len() <= MAX_SPINNERS)
            .then(MultiProgress::new);
        let style = ProgressStyle::with_template("{spinner} {prefix}: {wide_msg} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bars = spinners.iter().flat_map(|spinners| {
            names.iter().map(|name| {
                let bar = spinners.add(ProgressBar::new_spinner());
                bar.set_style(style.clone());
                bar.set_prefix(clean(name));
                bar.enable_steady_tick(TICK);
                (name.clone(), bar)
            })
        });
        Self {
            quiet: out.quiet,
            bars: bars.collect(),
            spinners,
            names: RefCell::default(),
            wanted: names.iter().cloned().collect(),
            said: RefCell::default(),
        }
    }

    /// Something happened.
    pub(crate) fn event(&self, only: Option<&str>, event: &Event) {
        if let Some(target) = only {
            if let Some(name) = &event.cattle {
                self.is_called(target, name);
            }
            self.say(target, &clean(&event.message));
        } else if let Some(name) = &event.cattle
            && let Some(target) = self.target_of(name)
        {
            self.say(&target, &clean(&event.message));
        }
    }

    /// A poll came back without what was waited for.
    pub(crate) fn status(&self, name: &str, status: &CattleStatus) {
        self.is_called(name, &status.name);
        self.say(name, &present::phase_and_reason(status));
    }

    /// The wait for one is over.
    pub(crate) fn done(&self, name: &str, status: Option<&CattleStatus>, now: Timestamp) {
        if let Some(bar) = self.bars.get(name) {
            bar.finish_and_clear();
        }
        let Some(status) = status else { return };
        let mut text = present::phase_and_reason(status);
        if let Some(run) = &status.run {
            let end = run.ended_at.unwrap_or(now);
            text = format!("{text} after {}", age(run.created_at, end));
            if let Some(cost) = &run.cost {
                text = format!("{text}, {}", present::cost(cost));
            }
        }
        self.is_called(name, &status.name);
        self.line(&format!("{}: {text}", self.label(name)));
    }

    /// A sentence about one.
    pub(crate) fn say(&self, name: &str, text: &str) {
        let text = &*clean(text);
        let before = self
            .said
            .borrow_mut()
            .insert(name.to_owned(), text.to_owned());
        if before.as_deref() == Some(text) {
            return;
        }
        match self.bars.get(name) {
            Some(bar) => bar.set_message(text.to_owned()),
            None if self.spinners.is_some() => {}
            None => self.line(&format!("{}: {text}", self.label(name))),
        }
    }

    /// What was named by a run or a server has a name as well, and people know it by that.
    fn is_called(&self, target: &str, name: &str) {
        let before = self
            .names
            .borrow_mut()
            .insert(target.to_owned(), clean(name));
        if before.is_none()
            && let Some(bar) = self.bars.get(target)
        {
            bar.set_prefix(self.label(target));
        }
    }

    /// What a cattle of this name was named by, if it is waited for at all.
    fn target_of(&self, name: &str) -> Option<String> {
        if let Some(target) = self.wanted.get(name) {
            return Some(target.clone());
        }
        let names = self.names.borrow();
        let mut known = names.iter();
        known
            .find(|(_, known)| *known == name)
            .map(|(target, _)| target.clone())
    }

    fn label(&self, target: &str) -> String {
        let names = self.names.borrow();
        names.get(target).map_or(target, String::as_str).to_owned()
    }

    fn line(&self, text: &str) {
        if self.quiet {
            return;
        }
        match &self.spinners {
            // Above the spinners, not through them. A terminal that is gone needs no line.
            Some(spinners) => drop(spinners.println(clean(text))),
            None => stderr_line(text),
        }
    }
}
