//! `spawn`: one cattle from the command line.

use std::{
    io::{self, Read as _},
    path::PathBuf,
};

use anyhow::Context as _;
use cattle_core::{
    names::{CattleName, MAX_NAME, PersonaName},
    spec::{MAX_MESSAGE, parse_task},
};
use cattle_schemas::{
    api::{ApplyQuery, WaitFor},
    duration::SpecDuration,
    spec_file::{API_VERSION, CattleFile, CattleFileSpec, KIND, Metadata},
    task::TaskInput,
};

use super::{apply, result};
use crate::{
    client::{SUFFIX_LENGTH, SpecBody, name_suffix},
    context::Context,
    exit::{Exit, Failure},
    output::{Format, clean},
    project::read_capped,
    wait::{self, WaitArgs},
};

/// Shown beneath the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  clawdlets cattle spawn --persona rex --message 'Fix the flaky test'
  clawdlets cattle spawn --persona rex --task-file tasks/issue-42.json --ttl 4h --wait
  name=$(clawdlets cattle spawn --persona rex --task-file t.json --queue)

The name alone is printed on standard output; with --wait the run's result follows it. At
maxInstances it is refused (exit 6) unless --queue lets it wait.";

/// The largest task file.
const MAX_TASK_BYTES: u64 = 256 * 1024;

/// What a spawned cattle is made of; `clf` asks the same.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SpawnArgs {
    /// Who it is: a directory of cattle/personas
    #[arg(long, value_name = "PERSONA")]
    persona: PersonaName,

    #[command(flatten)]
    task: TaskArgs,

    /// Its name [default: <persona>-<6 random characters>]
    #[arg(long, value_name = "NAME")]
    name: Option<CattleName>,

    /// How long its server may live, as in `2h` [default: the fleet's]
    #[arg(long, value_name = "DURATION")]
    ttl: Option<SpecDuration>,

    /// The model, as `provider/model` [default: the persona's, else the host's]
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,

    /// Hand the GitHub token to the guest (operators only)
    #[arg(long)]
    with_github_token: bool,

    /// A label for its server; may be repeated
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,

    /// Wait in the queue at maxInstances instead of being refused
    #[arg(long)]
    pub(crate) queue: bool,
}

/// What is to be done: one of the two.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct TaskArgs {
    /// The task's message; `-` reads standard input
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,

    /// The task, as task.json
    #[arg(long, value_name = "FILE")]
    task_file: Option<PathBuf>,
}

/// `spawn`
#[derive(Debug, clap::Args)]
pub(crate) struct Spawn {
    #[command(flatten)]
    what: SpawnArgs,

    /// Say what would happen, change nothing
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,

    #[command(flatten)]
    wait: WaitArgs,
}

impl Spawn {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let name = self.what.name()?;
        let file = self.what.file(ctx, Some(name.clone()))?;
        let body = serde_json::to_string(&file).context("cannot write the spec")?;
        let query = ApplyQuery {
            dry_run: self.dry_run,
            refuse_at_limit: !self.what.queue,
            create_only: true,
            apply_set: None,
        };
        let client = ctx.client()?;
        let reply = client.apply(&name, SpecBody::Json(body), &query).await;
        let reply = reply.map_err(|failure| in_no_file(ctx, failure))?;
        for warning in &reply.warnings {
            ctx.out.warning(&clean(warning));
        }
        ctx.out.note(&apply::summary(&reply));
        if !ctx.out.format.is_document() {
            ctx.out.line(&reply.name)?;
        } else if !self.wait.wait {
            ctx.out.document(&reply)?;
        }
        if !self.wait.wait {
            return Ok(Exit::Done);
        }
        let names = [reply.name];
        let waited = wait::wait_all(ctx, &names, WaitFor::Ended, self.wait.timeout).await?;
        let exit = wait::report(ctx, &waited, WaitFor::Ended);
        for status in waited.iter().filter_map(|one| one.as_ref().ok()) {
            let reply = result::of(ctx, status).await?;
            match ctx.out.format {
                Format::Name => {}
                Format::Json | Format::Yaml => ctx.out.document(&reply)?,
                Format::Table | Format::Wide => result::print_for_people(ctx, &reply)?,
            }
        }
        Ok(exit)
    }
}

impl SpawnArgs {
    /// The name that was chosen.
    pub(crate) fn chosen_name(&self) -> Option<String> {
        self.name.as_ref().map(ToString::to_string)
    }

    fn name(&self) -> Result<String, Failure> {
        match self.chosen_name() {
            Some(name) => Ok(name),
            None => random_name(self.persona.as_str()),
        }
    }

    /// The spec file that somebody could have written instead.
    pub(crate) fn file(&self, ctx: &Context, name: Option<String>) -> Result<CattleFile, Failure> {
        Ok(CattleFile {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            metadata: Some(Metadata {
                name,
                labels: self.labels.iter().cloned().collect(),
            }),
            spec: CattleFileSpec {
                persona: self.persona.to_string(),
                task: Some(self.task(ctx)?),
                task_file: None,
                ttl: self.ttl,
                start_within: None,
                model: self.model.clone(),
                with_github_token: self.with_github_token.then_some(true),
                auto_shutdown: None,
                hetzner: None,
                on_failure: None,
            },
        })
    }

    fn task(&self, ctx: &Context) -> Result<TaskInput, Failure> {
        if let Some(path) = &self.task.task_file {
            let bytes = read_capped(&ctx.resolve(path), MAX_TASK_BYTES)?;
            return parse_task(&bytes).map_err(|problems| {
                for problem in problems {
                    ctx.out
                        .error(&format!("task file `{}`: {problem}", path.display()), &[]);
                }
                Failure::Reported(Exit::Error)
            });
        }
        let mut message = self.task.message.clone().unwrap_or_default();
        if message == "-" {
            message.clear();
            io::stdin()
                .take(MAX_MESSAGE as u64 + 1)
                .read_to_string(&mut message)
                .context("cannot read the message from standard input")?;
        }
        if message.trim().is_empty() {
            return Err(Failure::usage(
                "the message is empty",
                "say what to do: `--message 'Fix the flaky test'`",
            ));
        }
        Ok(TaskInput {
            schema_version: None,
            task_id: None,
            kind: None,
            message,
            callback_url: None,
        })
    }
}

/// What the controller has against a spec that only we wrote: its places mean nothing to anybody, and
/// its sentences say all that the summary of them would.
pub(crate) fn in_no_file(ctx: &Context, failure: Failure) -> Failure {
    match failure {
        Failure::Problem(problem) if !problem.errors.is_empty() => {
            for error in &problem.errors {
                ctx.out.error(&clean(&error.message), &[]);
                if let Some(hint) = &error.hint {
                    ctx.out.hint(&clean(hint));
                }
            }
            Failure::Reported(Failure::Problem(problem).exit())
        }
        other => other,
    }
}

/// `<persona>-<6 random>`, with the persona cut to fit.
fn random_name(persona: &str) -> Result<String, Failure> {
    let room = MAX_NAME - SUFFIX_LENGTH - 1;
    let stem = persona.get(..room.min(persona.len())).unwrap_or(persona);
    Ok(format!("{}-{}", stem.trim_end_matches('-'), name_suffix()?))
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write `key=value`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_random_name_is_a_name_however_long_the_persona() {
        let long = "a-".repeat(19) + "aa";
        for persona in ["rex", "r", &long] {
            let name = random_name(persona).unwrap();
            assert!(name.parse::<CattleName>().is_ok(), "{name}");
            assert!(name.starts_with(&persona[..1]));
        }
        let name = random_name("rex").unwrap();
        assert_eq!(name.len(), "rex-".len() + SUFFIX_LENGTH);
    }
}
