//! `clf-orchestrator once`: one list, one pass, and an end to every call it makes.
//!
//! Guests are not served, so none is called silent. With `--dry-run` nothing is changed: the plan is
//! made from a list and from the ledger as it stands, and printed.

use std::{io::Write, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use cattle_core::plan::to_api;
use cattle_schemas::{api::PlanReply, spec::line};
use tokio_util::sync::CancellationToken;
