//! How a failure is told: what, why, where, and what to do about it.

use std::error::Error;

use crate::{
    exit::Failure,
    output::{Output, clean},
};

/// Says it on stderr.
pub(crate) fn failure(out: &Output, failure: &Failure) {
    match failure {
        Failure::Reported(_) | Failure::Closed => return,
        Failure::Problem(problem) => {
            out.diagnostics(&problem.errors, None);
            out.error(&clean(&problem.detail), &[]);
        }
        Failure::Other(error) => {
            let causes: Vec<String> = error
                .chain()
                .skip(1)
                .map(|c| clean(&c.to_string()))
                .collect();
            out.error(&clean(&error.to_string()), &causes);
        }
        other => out.error(&clean(&other.to_string()), &causes(other)),
    }
    if let Some(hint) = failure.hint(out.program) {
        out.hint(&hint);
    }
}

fn causes(error: &dyn Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(clean(&cause.to_string()));
        next = cause.source();
    }
    causes.dedup();
    causes
}
