//! When a spec asks for another task, and when it is only written another way.

use std::{sync::Arc, time::Duration};

use cattle_schemas::{Timestamp, status::EndReason};
use proptest::prelude::*;

use super::fixture::{complete_with, persona};
use crate::{
    desired::{Authority, Cattle, Desired, Origin, Requester, SpecEntry, SpecState},
    ledger::{Assignment, Ledger, Run},
    lifecycle::{self, Ending},
    names::RunId,
    substance::{Known, Substance, known_as, settle},
};

const MODELS: [&str; 3] = ["zai/a", "zai/b", "zai/c"];

/// What a spec says of what has a default.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Says {
    model: Option<usize>,
    github: Option<bool>,
    shutdown: Option<bool>,
}

/// The defaults around it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Around {
    model: usize,
    shutdown: bool,
}

const SILENT: Says = Says {
    model: None,
    github: None,
    shutdown: None,
};
const AROUND: Around = Around {
    model: 0,
    shutdown: true,
};

/// What it comes to, by hand.
fn effective(says: Says, around: Around) -> (usize, bool, bool) {
    (
        says.model.unwrap_or(around.model),
        says.github.unwrap_or(false),
        says.shutdown.unwrap_or(around.shutdown),
    )
}

fn cattle_with(says: Says, around: Around, message: &str) -> Cattle {
    let mut text = format!(
        "apiVersion: clawdlets.dev/v1\nkind: Cattle\nspec:\n  persona: rex\n  task: {{ message: {message} }}\n"
    );
    if let Some(model) = says.model {
        text.push_str(&format!("  model: {}\n", MODELS[model]));
    }
    if let Some(github) = says.github {
        text.push_str(&format!("  withGithubToken: {github}\n"));
    }
    if let Some(shutdown) = says.shutdown {
        text.push_str(&format!("  autoShutdown: {shutdown}\n"));
    }
    complete_with(&text, |surroundings| {
        surroundings.fleet.auto_shutdown = around.shutdown;
        let config = format!(r#"{{"model":{{"primary":"{}"}}}}"#, MODELS[around.model]);
        surroundings.persona = Ok(persona(&config));
    })
    .unwrap()
}

fn cattle(says: Says, around: Around) -> Cattle {
    cattle_with(says, around, "work")
}

fn now() -> Timestamp {
    Timestamp::from_timestamp(1_790_000_000, 0).unwrap()
}

fn origin() -> Origin {
    Origin {
        root: "/specs".to_owned(),
        path: "rex-1.yaml".to_owned(),
        requester: Requester::operator(),
        authority: Authority::Operator,
        from_socket: false,
    }
}

fn run_of(cattle: &Cattle) -> Run {
    let id = RunId::from_parts(1_790_000_000_000, 1);
    lifecycle::begin(id, cattle, &origin(), Duration::from_secs(86_400), now()).0
}

fn queued(cattle: &Cattle) -> Assignment {
    let (assignment, _) = lifecycle::enqueue(None, &Requester::operator(), now());
    let mut assignment = assignment.unwrap();
    let _ = lifecycle::made_of(&mut assignment, &cattle.substance);
    assignment
}

fn completed(cattle: &Cattle) -> (Run, Assignment) {
    let (mut run, mut assignment) = (run_of(cattle), queued(cattle));
    let _ = lifecycle::env_handed_out(&mut run, now());
    let ending = Ending::new(EndReason::Completed, "done");
    let _ = lifecycle::end(&mut run, Some(&mut assignment), &ending, now());
    (run, assignment)
}

/// Whether the ledger knows a spec as the one that was completed.
fn recognised(spec: &Cattle, made: &Cattle) -> bool {
    let (_, assignment) = completed(made);
    let known = Known {
        hash: &made.hash,
        assignment: Some(&assignment),
        run: None,
    };
    known_as(spec, &[known]) == made.hash
}

/// The same of a ledger that does not say what its runs were made of; `with_run` it has the run.
fn recognised_of_old(spec: &Cattle, made: &Cattle, with_run: bool) -> bool {
    let (run, mut assignment) = completed(made);
    assignment.substance = None;
    let known = Known {
        hash: &made.hash,
        assignment: Some(&assignment),
        run: with_run.then_some(&run),
    };
    known_as(spec, &[known]) == made.hash
}

#[test]
fn a_default_that_is_written_out_or_left_out_again_is_no_edit() {
    let silent = cattle(SILENT, AROUND);
    for says in [
        Says {
            github: Some(false),
            ..SILENT
        },
        Says {
            shutdown: Some(true),
            ..SILENT
        },
        Says {
            model: Some(0),
            ..SILENT
        },
        Says {
            model: Some(0),
            github: Some(false),
            shutdown: Some(true),
        },
    ] {
        let written = cattle(says, AROUND);
        assert_ne!(written.substance.as_written, silent.hash, "{says:?}");
        assert!(recognised(&written, &silent), "{says:?}");
        assert!(recognised(&silent, &written), "{says:?} and out again");
        for with_run in [true, false] {
            assert!(recognised_of_old(&written, &silent, with_run), "{says:?}");
            assert!(recognised_of_old(&silent, &written, with_run), "{says:?}");
        }
    }
}

#[test]
fn a_changed_default_is_no_edit_either_and_then_writing_it_out_is_one() {
    let made = cattle(SILENT, AROUND);
    let changed = Around {
        model: 1,
        shutdown: false,
    };
    assert!(recognised(&cattle(SILENT, changed), &made));
    let as_it_runs = Says {
        model: Some(0),
        shutdown: Some(true),
        ..SILENT
    };
    assert!(recognised(&cattle(as_it_runs, changed), &made));
    for says in [
        Says {
            model: Some(1),
            ..SILENT
        },
        Says {
            shutdown: Some(false),
            ..SILENT
        },
    ] {
        assert!(!recognised(&cattle(says, changed), &made), "{says:?}");
        assert!(
            !recognised_of_old(&cattle(says, changed), &made, true),
            "{says:?}"
        );
    }
}

#[test]
fn what_waits_follows_its_defaults_and_is_recognised_by_them() {
    let made = cattle(SILENT, AROUND);
    let changed = Around { model: 1, ..AROUND };
    let written = cattle(
        Says {
            model: Some(1),
            ..SILENT
        },
        changed,
    );
    let assignment = queued(&made);
    let known = Known {
        hash: &made.hash,
        assignment: Some(&assignment),
        run: None,
    };
    assert_eq!(known_as(&written, &[known]), made.hash);
}

#[test]
fn a_hash_that_names_something_else_by_now_is_not_used_again() {
    let silent = cattle(SILENT, AROUND);
    // Written out, and run again while the default is another one.
    let changed = Around { model: 1, ..AROUND };
    let rerun = cattle(
        Says {
            model: Some(0),
            ..SILENT
        },
        changed,
    );
    let (_, mut assignment) = completed(&silent);
    let _ = lifecycle::made_of(&mut assignment, &rerun.substance);
    let known = Known {
        hash: &silent.hash,
        assignment: Some(&assignment),
        run: None,
    };
    assert_eq!(known_as(&rerun, &[known]), silent.hash);
    let left_out = cattle(SILENT, changed);
    assert_eq!(left_out.substance.as_written, silent.hash);
    assert_ne!(
        known_as(&left_out, &[known]),
        silent.hash,
        "it asks for zai/b now"
    );
}

#[test]
fn what_lives_comes_before_what_waits_and_that_before_what_is_over() {
    let made = cattle(SILENT, AROUND);
    let later = Around { model: 1, ..AROUND };
    let other = cattle(
        Says {
            model: Some(1),
            ..SILENT
        },
        later,
    );
    // By either's defaults, the silent spec is the same as it.
    let spec = cattle(SILENT, later);
    let (_, over) = completed(&made);
    let (run, waiting) = (run_of(&other), queued(&other));
    let ended = Known {
        hash: &made.hash,
        assignment: Some(&over),
        run: None,
    };
    let open = Known {
        hash: &other.hash,
        assignment: Some(&waiting),
        run: None,
    };
    let live = Known {
        run: Some(&run),
        ..open
    };
    assert_eq!(known_as(&spec, &[ended, open]), other.hash);
    assert_eq!(known_as(&spec, &[live, ended]), other.hash);
    assert_eq!(known_as(&spec, &[ended]), made.hash);
}

#[test]
fn settling_gives_each_spec_the_hash_of_its_ledger() {
    let (made, written) = (
        cattle(SILENT, AROUND),
        cattle(
            Says {
                github: Some(false),
                ..SILENT
            },
            AROUND,
        ),
    );
    let (run, assignment) = completed(&made);
    let mut ledger = Ledger::default();
    ledger
        .assignments
        .insert((made.name.clone(), made.hash.clone()), assignment);
    ledger.runs.insert(run.id, run);
    let mut desired = Desired::default();
    let state = SpecState::Valid(Arc::new(written.clone()));
    desired.specs.insert(
        made.name.clone(),
        SpecEntry {
            origin: origin(),
            state,
        },
    );
    let desired = Arc::new(desired);
    let settled = settle(&desired, &ledger);
    let SpecState::Valid(spec) = &settled.specs[&made.name].state else {
        panic!()
    };
    assert_eq!(spec.hash, made.hash);
    assert_eq!(
        **spec,
        Cattle {
            hash: made.hash,
            ..written
        }
    );
    assert!(
        Arc::ptr_eq(&settle(&settled, &ledger), &settled),
        "once is enough"
    );
    assert!(Arc::ptr_eq(&settle(&desired, &Ledger::default()), &desired));
}

#[test]
fn an_old_run_says_what_of_it_was_written() {
    let says = Says {
        shutdown: Some(true),
        ..SILENT
    };
    let substance = Substance::of_run(&run_of(&cattle(says, AROUND))).unwrap();
    assert_eq!(substance.written.model, None);
    assert_eq!(substance.defaults.model.as_deref(), Some(MODELS[0]));
    assert_eq!(substance.written.auto_shutdown, Some(true));
    assert_eq!(substance.defaults.auto_shutdown, None, "nobody knows");
    let mut strange = run_of(&cattle(says, AROUND));
    strange.hash = "000000000000".parse().unwrap();
    assert_eq!(Substance::of_run(&strange), None);
}

fn says() -> impl Strategy<Value = Says> {
    let model = proptest::option::of(0..MODELS.len());
    (model, any::<Option<bool>>(), any::<Option<bool>>()).prop_map(|(model, github, shutdown)| {
        Says {
            model,
            github,
            shutdown,
        }
    })
}

fn around() -> impl Strategy<Value = Around> {
    (0..MODELS.len(), any::<bool>()).prop_map(|(model, shutdown)| Around { model, shutdown })
}

proptest! {
    #[test]
    fn any_way_to_write_the_same_is_the_same(
        made_says in says(), made_around in around(), out in any::<[bool; 3]>(), again in any::<[bool; 3]>(),
    ) {
        let made = cattle(made_says, made_around);
        let (model, github, shutdown) = effective(made_says, made_around);
        // Some defaults are written out, others left out.
        let mut says = made_says;
        if out[0] { says.model = Some(model); } else if again[0] && model == made_around.model { says.model = None; }
        if out[1] { says.github = Some(github); } else if again[1] && !github { says.github = None; }
        if out[2] { says.shutdown = Some(shutdown); } else if again[2] && shutdown == made_around.shutdown { says.shutdown = None; }
        let spec = cattle(says, made_around);
        prop_assert!(recognised(&spec, &made));
        prop_assert!(recognised_of_old(&spec, &made, true));
        prop_assert!(recognised_of_old(&spec, &made, false));
        prop_assert!(spec.ways().contains(&made.hash));
    }

    #[test]
    fn it_is_another_task_just_when_its_values_change(
        made_says in says(), made_around in around(), now_says in says(), now_around in around(),
    ) {
        let made = cattle(made_says, made_around);
        let was = effective(made_says, made_around);
        // By the defaults that it was made with; or it comes to the same anyway.
        let same = effective(now_says, made_around) == was || effective(now_says, now_around) == was;
        prop_assert_eq!(recognised(&cattle(now_says, now_around), &made), same);
    }

    #[test]
    fn another_task_or_persona_is_never_the_same(made in says(), spec in says(), around in around()) {
        let (made, spec) = (cattle(made, around), cattle_with(spec, around, "other work"));
        prop_assert!(!recognised(&spec, &made));
        prop_assert!(!recognised_of_old(&spec, &made, true));
        prop_assert!(!recognised_of_old(&spec, &made, false));
    }
}
