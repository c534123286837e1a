//! `pause`: an operator holds back starts, or ends for spec files.

use cattle_schemas::pause::{PauseRequest, PauseStatus};
use serde::Serialize;

use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::{Output, View, clean},
};

/// Shown beneath the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  clawdlets cattle pause --why 'the image is being replaced'
  clawdlets cattle pause --starts --why 'month end'

For operators. Both unless one is named. While starts are paused everything waits as
`starts-paused`; while ends are paused nothing ends because its spec was removed or changed.
Results, TTLs and `destroy` go on. A second `pause` adds to the first, and its text replaces that
one's. `clawdlets cattle resume` ends all of it.";

/// `pause`
#[derive(Debug, clap::Args)]
pub(crate) struct Pause {
    /// Start nothing
    #[arg(long)]
    starts: bool,

    /// End nothing because its spec was removed or changed
    #[arg(long)]
    ends: bool,

    /// Why; shown to everybody who waits
    #[arg(long, value_name = "TEXT")]
    why: String,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Shown(PauseStatus);

impl Pause {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let both = !self.starts && !self.ends;
        let request = PauseRequest {
            starts: self.starts || both,
            ends: self.ends || both,
            why: self.why,
        };
        let paused = ctx.client()?.pause(&request).await?;
        ctx.out.show(&Shown(paused))?;
        Ok(Exit::Done)
    }
}

impl View for Shown {
    fn table(&self, out: &Output, _: bool) -> Result<(), Failure> {
        out.line(&format!(
            "{} are paused: {}",
            what(&self.0),
            clean(&self.0.message)
        ))
    }

    fn names(&self) -> Vec<String> {
        vec![self.0.reason.to_string()]
    }
}

/// What a pause holds back.
pub(super) fn what(pause: &PauseStatus) -> &'static str {
    match (pause.starts, pause.ends) {
        (true, false) => "starts",
        (false, true) => "ends",
        _ => "starts and ends",
    }
}
