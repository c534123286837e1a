//! `result`: what a run left in `result.json`.

use cattle_schemas::{
    api::ResultReply,
    problem::ErrorCode,
    status::{CattleStatus, EndReason},
};
use serde_json::Value;

use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::{Format, Output, View, clean, safe_json},
    target::Target,
};

/// Shown beneath the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  clawdlets cattle result rex-issue-42
  clawdlets cattle result rex-issue-42 | jq .summary
  clawdlets cattle result 01JD3K -o json     (with run, end reason and exit code)

Printed is what the run left, as JSON, control characters escaped. Exit 4 when the run ended
without success.";

/// `result`
#[derive(Debug, clap::Args)]
pub(crate) struct ResultArgs {
    /// A cattle's name, a run or its beginning, a server's id or name
    #[arg(value_name = "NAME-OR-ID")]
    target: Target,
}

#[derive(serde::Serialize)]
#[serde(transparent)]
struct Shown<'a>(&'a ResultReply);

impl ResultArgs {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        print(ctx, self.target.as_str()).await
    }
}

/// Fetches and prints a result; the exit code tells whether the run succeeded.
pub(crate) async fn print(ctx: &Context, target: &str) -> Result<Exit, Failure> {
    let reply = ctx.client()?.result(target).await?;
    ctx.out.show(&Shown(&reply))?;
    Ok(match reply.end_reason {
        // Absent while it hands over: nothing has failed yet.
        None | Some(EndReason::Completed) => Exit::Done,
        Some(_) => Exit::RunFailed,
    })
}

/// The result of a cattle that is over, also of one that left none.
pub(crate) async fn of(ctx: &Context, status: &CattleStatus) -> Result<ResultReply, Failure> {
    let run = status.run.as_ref();
    let target = run.map_or(status.name.as_str(), |run| run.run.as_str());
    match ctx.client()?.result(target).await {
        Err(Failure::Problem(problem))
            if matches!(problem.code, ErrorCode::NoResult | ErrorCode::NotFound) =>
        {
            Ok(ResultReply {
                name: status.name.clone(),
                run: run.map(|run| run.run.clone()).unwrap_or_default(),
                end_reason: run.and_then(|run| run.end_reason),
                exit_code: run.and_then(|run| run.exit_code),
                message: run.and_then(|run| run.message.clone()),
                result: None,
            })
        }
        other => other,
    }
}

/// The result alone; nothing on stdout when there is none.
pub(crate) fn print_for_people(ctx: &Context, reply: &ResultReply) -> Result<(), Failure> {
    Shown(reply).table(&ctx.out, ctx.out.format == Format::Wide)
}

impl View for Shown<'_> {
    fn table(&self, out: &Output, _: bool) -> Result<(), Failure> {
        if let Some(message) = &self.0.message {
            out.note(&clean(message));
        }
        match &self.0.result {
            None | Some(Value::Null) => {
                out.note(&format!("`{}` left no result", self.0.name));
                Ok(())
            }
            Some(result) => out.lines(&readable(result)?),
        }
    }

    fn names(&self) -> Vec<String> {
        vec![self.0.run.clone()]
    }
}

/// Indented JSON.
fn readable(value: &Value) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Other(error.into()))?;
    Ok(safe_json(&text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_result_cannot_act_on_the_terminal() {
        let text = readable(&json!({"a": "\u{1b}[2J\u{9b}1m\u{202e}x\u{e0041}"})).unwrap();
        insta::assert_snapshot!(text, @r#"
        {
          "a": "\u001b[2J\u009b1m\u202ex\udb40\udc41"
        }
        "#);
    }
}
