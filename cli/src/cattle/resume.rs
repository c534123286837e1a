//! `resume`: a pause is over, once somebody has seen what it holds back.

use cattle_schemas::{
    pause::{PauseList, PauseStatus, ResumeReply, ResumeRequest},
    status::PauseReason,
};
use serde::Serialize;

use super::pause::what;
use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::{Output, View, clean},
};

/// Shown beneath the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  clawdlets cattle resume                                  goes on if one thing alone is paused
  clawdlets cattle resume --reason deletes                 shows what would end, and the command
  clawdlets cattle resume --reason deletes --digest 1f2e3d4c5b6a
  clawdlets cattle resume --reason ledger --digest 1f2e3d4c5b6a --run rex-1 --run rex-2

For operators. Reasons: paused (an operator's), ledger, second-controller, breaker (an image does
not boot: try one server now), deletes. `ledger` and `deletes` show a list and take its digest, so
that a list that has changed since is refused (exit 6).";

/// `resume`
#[derive(Debug, clap::Args)]
pub(crate) struct Resume {
    /// Which pause; may be left out while only one holds
    #[arg(long, value_name = "REASON", value_parser = reason)]
    reason: Option<PauseReason>,

    /// With `ledger` and `deletes`: the digest of the list that was shown
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,

    /// With `ledger`: a cattle of its list that starts all the same; may be repeated
    #[arg(long = "run", value_name = "NAME")]
    runs: Vec<String>,
}

fn reason(text: &str) -> Result<PauseReason, String> {
    PauseReason::from_word(text).ok_or_else(|| {
        let words: Vec<&str> = PauseReason::ALL.iter().map(|it| it.as_str()).collect();
        format!("it is one of {}", words.join(", "))
    })
}

#[derive(Serialize)]
#[serde(transparent)]
struct Held(PauseList);

#[derive(Serialize)]
#[serde(transparent)]
struct Resumed(ResumeReply);

impl Resume {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let client = ctx.client()?;
        let mut held = client.pauses().await?;
        held.items
            .retain(|pause| self.reason.is_none_or(|reason| pause.reason == reason));
        let one_alone = self.reason.is_some() || held.items.len() == 1;
        let listed = held.items.iter().any(|pause| pause.digest.is_some());
        let ready = held.items.is_empty() || (one_alone && (!listed || self.digest.is_some()));
        if !ready {
            ctx.out.show(&Held(held))?;
            return Ok(Exit::Refused);
        }
        let request = ResumeRequest {
            reason: self.reason,
            digest: self.digest,
            runs: self.runs,
        };
        let reply = client.resume(&request).await?;
        ctx.out.show(&Resumed(reply))?;
        Ok(Exit::Done)
    }
}

fn show(out: &Output, pause: &PauseStatus) -> Result<(), Failure> {
    out.line(&format!(
        "{} ({}): {}",
        what(pause),
        pause.reason,
        clean(&pause.message)
    ))?;
    for item in &pause.items {
        let run = item
            .run
            .as_ref()
            .map_or_else(String::new, |run| format!(" (run {})", clean(run)));
        out.line(&format!(
            "  {}{run}: {}",
            clean(&item.cattle),
            clean(&item.message)
        ))?;
    }
    Ok(())
}

impl View for Held {
    fn table(&self, out: &Output, _: bool) -> Result<(), Failure> {
        for pause in &self.0.items {
            show(out, pause)?;
        }
        for pause in &self.0.items {
            out.hint(&clean(&pause.command));
        }
        Ok(())
    }

    fn names(&self) -> Vec<String> {
        reasons(&self.0.items)
    }
}

impl View for Resumed {
    fn table(&self, out: &Output, _: bool) -> Result<(), Failure> {
        out.line(&clean(&self.0.message))?;
        for pause in &self.0.pauses {
            out.warning(&format!(
                "still paused: {} ({}): {}",
                what(pause),
                pause.reason,
                clean(&pause.message)
            ));
        }
        Ok(())
    }

    fn names(&self) -> Vec<String> {
        reasons(&self.0.pauses)
    }
}

fn reasons(pauses: &[PauseStatus]) -> Vec<String> {
    pauses
        .iter()
        .map(|pause| pause.reason.to_string())
        .collect()
}
