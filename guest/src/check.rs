//! `clf-cattle check`: what `run` would find, and what it would do.

use std::fmt::Write as _;

use crate::input;
use crate::layout::Layout;
use crate::peer;
use crate::runner;
use crate::state;

/// The report, and whether a run could start.
pub(crate) fn check(layout: &Layout) -> (String, bool) {
    let mut text = String::new();
    let mut good = true;
    let mut problem = |text: &mut String, what: &str, error: &dyn std::error::Error| {
        good = false;
        let _ = writeln!(text, "{what:<10} {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            let _ = writeln!(text, "{:<10} caused by: {error}", "");
            cause = error.source();
        }
    };
    let mut marker = state::marker(layout).ok().flatten();
    let mut controller = None;
    match input::bootstrap(layout) {
        Ok(Some(bootstrap)) => {
            let _ = writeln!(
                text,
                "bootstrap  cattle {}, run {}, controller {}, until {}",
                bootstrap.cattle, bootstrap.run, bootstrap.controller_url, bootstrap.expires_at
            );
            let url = input::controller_url(&bootstrap).ok();
            if let Some(Err(error)) = url.as_ref().map(|url| peer::pinned(&bootstrap, url)) {
                problem(&mut text, "bootstrap", &error);
            }
            controller = url;
            // One of another run is an image's that was made of a used disk.
            marker = marker.filter(|marker| marker.forbids(&bootstrap.run));
        }
        Ok(None) => problem(
            &mut text,
            "bootstrap",
            &input::InputError::Missing {
                what: "bootstrap file",
                path: layout.bootstrap(),
            },
        ),
        Err(error) => problem(&mut text, "bootstrap", &error),
    }
    let task = input::task(layout);
    match &task {
        Ok(task) => {
            let _ = writeln!(text, "task       {}, type {}", task.task_id, task.kind);
        }
        Err(error) => problem(&mut text, "task", error),
    }
    let runners = input::runners(layout);
    match &runners {
        Ok(runners) => {
            let known: Vec<_> = runners.runners.keys().map(String::as_str).collect();
            let _ = writeln!(text, "runners    {}", known.join(", "));
        }
        Err(error) => problem(&mut text, "runners", error),
    }
    if let (Ok(task), Ok(runners)) = (&task, &runners) {
        match runner::choose(runners, &task.kind) {
            Ok(runner) => {
                let user = runner.user.as_deref();
                let user = user.map(|user| format!(" as {user}")).unwrap_or_default();
                let _ = writeln!(text, "would run  {:?}{user}", runner.command);
                let checked = controller
                    .as_ref()
                    .map(|url| runner::check_user(runner, &task.kind, url));
                if let Some(Err(error)) = checked {
                    problem(&mut text, "user", &error);
                }
            }
            Err(error) => problem(&mut text, "would run", &error),
        }
    }
    if let Some(marker) = marker {
        good = false;
        let _ = writeln!(
            text,
            "state      run {} started here before; it is not run again",
            marker.run_name()
        );
    }
    (text, good)
}
