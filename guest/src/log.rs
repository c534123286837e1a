//! The runner's output on its way: pipe to file (never waiting for anybody), file to controller
//! (never making anybody wait).
//!
//! The file is what a lost call is repeated from, so the two halves share only a number: how much
//! of it is written.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use cattle_schemas::guest::{MAX_LOG_BYTES, MAX_LOG_CHUNK_BYTES};
use secrecy::SecretString;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::client::{CallError, Client};

/// A call that is not full goes out at most this often: five calls a second and guest.
const FLUSH_INTERVAL: Duration = Duration::from_millis(200);
/// The size of a pipe; a larger buffer would never be filled.
const READ_BYTES: usize = 64 * 1024;
/// A call that was lost is tried again with half as much, down to this: a path that is too slow for a
/// full one within its time is not tried with it for ever.
const MIN_CHUNK_BYTES: usize = 16 * 1024;
/// The last line of a log that was cut; its length is kept free below the limit.
const CUT_NOTICE: &str = "\n[clf-cattle: the log's limit is reached; what follows was dropped]\n";

/// How much of the log there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes in the file.
    pub(crate) written: u64,
    /// No more will come.
    pub(crate) done: bool,
}

/// The file end: keeps at most [`MAX_LOG_BYTES`], the notice included.
struct Sink {
    file: File,
    progress: watch::Sender<Progress>,
    /// The limit or the disk is reached; everything further is read and dropped.
    full: bool,
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) {
        if self.full {
            return;
        }
        let written = self.progress.borrow().written;
        let room = MAX_LOG_BYTES - CUT_NOTICE.len() as u64 - written;
        let fits = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        let mut kept = bytes[..fits].to_vec();
        if fits < bytes.len() {
            self.full = true;
            kept.extend_from_slice(CUT_NOTICE.as_bytes());
        }
        match self.file.write_all(&kept) {
            Ok(()) => self
                .progress
                .send_modify(|progress| progress.written += kept.len() as u64),
            // The task is worth more than its log: a full disk must not block or end the runner.
            Err(error) => {
                self.full = true;
                warn!(%error, "the log cannot be written any more");
                // A part may have been written; what is not counted is not sent.
            }
        }
    }
}

/// Copies the runner's output to `file` until every writer is gone, or `cutoff` fires and the pipe
/// is empty.
pub(crate) async fn pump(
    mut output: pipe::Receiver,
    file: File,
    progress: watch::Sender<Progress>,
    mut cutoff: oneshot::Receiver<()>,
) {
    let mut sink = Sink {
        file,
        progress,
        full: false,
    };
    let mut buffer = vec![0; READ_BYTES];
    loop {
        tokio::select! {
            biased;
            _ = &mut cutoff => {
                // What is in the pipe now is the runner's; what comes later is not waited for.
                if let Ok(length) = output.try_read(&mut buffer) {
                    sink.write(&buffer[..length]);
                }
                break;
            }
            read = output.read(&mut buffer) => match read {
                Ok(0) => break,
                Ok(length) => sink.write(&buffer[..length]),
                Err(error) => {
                    warn!(%error, "the runner's output cannot be read any more");
                    break;
                }
            },
        }
    }
    sink.progress.send_modify(|progress| progress.done = true);
}

/// Sends the log as it grows, until all of a finished log is acknowledged, the controller wants no
/// more, or the session is refused; also after the result, as long as it is taken. Never gives up otherwise: the caller sets the time.
pub(crate) async fn stream(
    file: File,
    mut progress: watch::Receiver<Progress>,
    client: Client,
    session: SecretString,
) {
    let mut sent = 0;
    let mut last_call = Instant::now() - FLUSH_INTERVAL;
    let mut backoff = Backoff::new();
    // Empty calls ask how much the controller has: after a restart of ours, or a disagreement.
    let mut ask = false;
    let mut most = MAX_LOG_CHUNK_BYTES;
    loop {
        let Progress { written, done } = *progress.borrow_and_update();
        if sent >= written && !ask {
            if done {
                return;
            }
            if progress.changed().await.is_err() && !progress.borrow().done {
                return;
            }
            continue;
        }
        let backlog = written - sent.min(written);
        let due = last_call + FLUSH_INTERVAL;
        if !done && backlog < MAX_LOG_CHUNK_BYTES as u64 && Instant::now() < due {
            // More output may fill the chunk before it is due; the end of output need not wait.
            let _ = tokio::time::timeout_at(due, progress.changed()).await;
            continue;
        }
        let (offset, chunk) = if ask {
            (0, Vec::new())
        } else {
            match read_chunk(&file, sent, backlog.min(most as u64)) {
                Ok(chunk) => (sent, chunk),
                Err(error) => {
                    warn!(%error, "the log cannot be read back");
                    return;
                }
            }
        };
        last_call = Instant::now();
        match client.logs(&session, offset, chunk).await {
            Ok(reply) => {
                backoff = Backoff::new();
                ask = false;
                most = (most * 2).min(MAX_LOG_CHUNK_BYTES);
                if reply.full {
                    info!(
                        stored = reply.next_offset,
                        "the controller keeps no more log"
                    );
                    return;
                }
                // Behind us after the controller lost some: it is sent again. Beyond us is nothing
                // of ours.
                sent = reply.next_offset.min(written);
            }
            // A refused session may be known again (a controller that comes back), but then there
            // is more to hand over than a log's end.
            Err(error) if error.gone() || (done && error.refused()) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "the log is not taken"
                );
                return;
            }
            Err(error) => {
                if error.lost() {
                    most = (most / 2).max(MIN_CHUNK_BYTES);
                }
                ask = error.rejected() && !ask;
                pause(&mut backoff, &error).await;
            }
        }
    }
}

async fn pause(backoff: &mut Backoff, error: &CallError) {
    let wait = backoff.next(error.retry_after());
    warn!(
        error = error as &dyn std::error::Error,
        wait_ms = wait.as_millis(),
        "the log waits"
    );
    tokio::time::sleep(wait).await;
}

fn read_chunk(file: &File, offset: u64, backlog: u64) -> std::io::Result<Vec<u8>> {
    let length = usize::try_from(backlog)
        .unwrap_or(usize::MAX)
        .min(MAX_LOG_CHUNK_BYTES);
    let mut chunk = vec![0; length];
    file.read_exact_at(&mut chunk, offset)?;
    Ok(chunk)
}
