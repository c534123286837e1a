//! `logs`: what a run wrote, as it is or made safe to look at.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use cattle_schemas::api::LogsQuery;
use futures_util::StreamExt as _;

use crate::{
    client::TransportError,
    context::Context,
    exit::{Exit, Failure},
    output::LogText,
    target::Target,
};

/// Shown beneath the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  clawdlets cattle logs rex-issue-42 --follow
  clawdlets cattle logs rex-issue-42 --tail 50
  clawdlets cattle logs rex-issue-42 --run 01JD3K --raw > run.log

A log is what an untrusted program wrote: control, C1 and invisible characters are escaped. --raw
prints the bytes as they are, and never to a terminal.";

/// The longest tail kept in memory while a log is read, in bytes.
const MAX_TAIL_BYTES: usize = 64 * 1024 * 1024;

/// The name of the reply's header that says whose log it is.
const RUN_HEADER: &str = "clf-run";
/// Likewise: how much of the log there is, and, once nothing more comes, how much was written.
const STORED_HEADER: &str = "clf-log-stored";
const WRITTEN_HEADER: &str = "clf-log-written";
/// How long a controller may be away while its log is followed: a restart takes seconds.
const MAX_AWAY: Duration = Duration::from_secs(60);
/// Between two tries to reach it.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// `logs`
#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    /// A cattle's name, a run or its beginning, a server's id or name
    #[arg(value_name = "NAME-OR-ID")]
    target: Target,

    /// Which run, or its beginning [default: the latest]
    #[arg(long, value_name = "RUN")]
    run: Option<Target>,

    #[command(flatten)]
    how: LogArgs,
}

/// How a log is printed; `clf` asks the same.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// Stay until the run is over
    #[arg(short, long)]
    follow: bool,

    /// Only so many lines from the end
    #[arg(long, value_name = "LINES")]
    tail: Option<usize>,

    /// The bytes as they are; refuses a terminal
    #[arg(long)]
    raw: bool,
}

impl Logs {
    pub(super) async fn run(self, ctx: &Context) -> Result<Exit, Failure> {
        let run = self.run.as_ref().map(Target::as_str);
        self.how.print(ctx, self.target.as_str(), run).await
    }
}

impl LogArgs {
    /// Prints a log as it comes.
    pub(crate) async fn print(
        self,
        ctx: &Context,
        target: &str,
        run: Option<&str>,
    ) -> Result<Exit, Failure> {
        if self.raw && ctx.out.terminal {
            return Err(Failure::usage(
                "`--raw` does not print to a terminal: the log could take it over",
                "send it to a file, or leave `--raw` out",
            ));
        }
        let mut query = LogsQuery {
            run: run.map(str::to_owned),
            follow: self.follow,
            ..LogsQuery::default()
        };
        let mut printer = Printer {
            ctx,
            text: (!self.raw).then(LogText::default),
            silent: true,
            cut: None,
        };
        if let Some(lines) = self.tail {
            // What is there now is read whole, since only whole lines are shown; what follows is
            // asked for from where that ended.
            query.follow = false;
            let mut tail = Tail::new(lines);
            let mut length = 0_u64;
            printer.cut = each_chunk(ctx, target, &mut query, |chunk| {
                length += chunk.len() as u64;
                tail.push(chunk);
                Ok(())
            })
            .await?;
            printer.silent = length == 0;
            printer.push(&tail.into_bytes())?;
            if !self.follow {
                return printer.finish(target);
            }
            query.follow = true;
            query.offset = Some(length);
        }
        if self.follow {
            follow(ctx, target, query, &mut printer).await?;
        } else {
            printer.cut = each_chunk(ctx, target, &mut query, |chunk| printer.push(chunk)).await?;
        }
        printer.finish(target)
    }
}

/// Until the run is over, through restarts of the controller. A stream that ends may have been cut
/// by one; only when there is nothing after it, the run is over.
async fn follow(
    ctx: &Context,
    target: &str,
    mut query: LogsQuery,
    printer: &mut Printer<'_>,
) -> Result<(), Failure> {
    let mut offset = query.offset.unwrap_or(0);
    let mut away_since: Option<Instant> = None;
    loop {
        query.offset = Some(offset);
        let before = offset;
        let ended = each_chunk(ctx, target, &mut query, |chunk| {
            offset += chunk.len() as u64;
            printer.push(chunk)
        })
        .await;
        match ended {
            Ok(cut) if offset == before => {
                printer.cut = cut;
                return Ok(());
            }
            Ok(_) => away_since = None,
            Err(failure) if failure.is_away() => {
                let since = *away_since.get_or_insert_with(Instant::now);
                // Before the first byte nobody was away: there never was a controller.
                if query.run.is_none() || since.elapsed() >= MAX_AWAY {
                    return Err(failure);
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Hands on each piece of one reply. The query then names the run that answered, so that the next
/// one cannot be about another. Answers how much there is, of how much, where the end never came.
async fn each_chunk(
    ctx: &Context,
    target: &str,
    query: &mut LogsQuery,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<Option<(u64, u64)>, Failure> {
    let response = ctx.client()?.logs(target, query).await?;
    let number = |name| -> Option<u64> {
        let value = response.headers().get(name)?;
        value.to_str().ok()?.parse().ok()
    };
    let cut = number(STORED_HEADER)
        .zip(number(WRITTEN_HEADER))
        .filter(|(stored, written)| stored < written);
    let run = response.headers().get(RUN_HEADER);
    if let Some(run) = run.and_then(|run| run.to_str().ok()) {
        query.run = Some(run.to_owned());
    }
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|source| TransportError::Broken {
            call: format!("the log of `{target}`"),
            source: source.without_url(),
        })?;
        take(&chunk)?;
    }
    Ok(cut)
}

/// Bytes to stdout, escaped unless they are wanted as they are.
struct Printer<'a> {
    ctx: &'a Context,
    text: Option<LogText>,
    /// Whether nothing has come yet.
    silent: bool,
    /// How much there is, of how much, where the end of the log is lost.
    cut: Option<(u64, u64)>,
}

impl Printer<'_> {
    fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.silent &= bytes.is_empty();
        match &mut self.text {
            Some(text) => {
                let shown = text.push(bytes);
                self.ctx.out.bytes(shown.as_bytes())
            }
            None => self.ctx.out.bytes(bytes),
        }
    }

    fn finish(self, target: &str) -> Result<Exit, Failure> {
        // To a person, nothing at all looks like something that went wrong.
        if self.silent && self.ctx.out.terminal {
            self.ctx.out.note(&format!("`{target}` has written no log"));
        }
        if let Some(text) = self.text {
            self.ctx.out.bytes(text.finish().as_bytes())?;
        }
        if let Some((stored, written)) = self.cut {
            self.ctx.out.warning(&format!(
                "the log of `{target}` is cut: {stored} of {written} bytes arrived before its server went"
            ));
        }
        Ok(Exit::Done)
    }
}

/// The last lines of what passes by. A last line without its end counts as one.
struct Tail {
    lines: usize,
    kept: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Tail {
    fn new(lines: usize) -> Self {
        Self {
            lines,
            kept: VecDeque::new(),
            bytes: 0,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.bytes += piece.len();
            match self.kept.back_mut() {
                Some(open) if open.last() != Some(&b'\n') => open.extend_from_slice(piece),
                _ => self.kept.push_back(piece.to_vec()),
            }
            while self.kept.len() > self.lines
                || (self.bytes > MAX_TAIL_BYTES && self.kept.len() > 1)
            {
                let dropped = self.kept.pop_front().map_or(0, |line| line.len());
                self.bytes -= dropped;
            }
        }
    }

    fn into_bytes(self) -> Vec<u8> {
        self.kept.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn tail(lines: usize, chunks: &[&[u8]]) -> String {
        let mut tail = Tail::new(lines);
        for chunk in chunks {
            tail.push(chunk);
        }
        String::from_utf8(tail.into_bytes()).unwrap()
    }

    #[test]
    fn a_tail_is_the_last_lines_wherever_the_chunks_are_cut() {
        assert_eq!(tail(2, &[b"a\nb\nc\n"]), "b\nc\n");
        assert_eq!(tail(2, &[b"a\nb", b"b\nc"]), "bb\nc");
        assert_eq!(tail(0, &[b"a\nb"]), "");
        assert_eq!(tail(9, &[b"a\n"]), "a\n");
    }

    proptest! {
        #[test]
        fn a_tail_is_what_the_lines_say(text in "[ab\n]{0,40}", lines in 0_usize..6, cut in 0_usize..40) {
            let cut = cut.min(text.len());
            let whole: Vec<&str> = text.split_inclusive('\n').collect();
            let expected: String = whole[whole.len().saturating_sub(lines)..].concat();
            prop_assert_eq!(tail(lines, &[&text.as_bytes()[..cut], &text.as_bytes()[cut..]]), expected);
        }
    }
}
