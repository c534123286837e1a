//! A record of every reply, for checking them afterwards: `--record-replies`.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

use serde_json::json;

use crate::message::{Answer, Delivery};

/// JSON lines: `{"operation", "status", "odd", "body"}`, each written before its reply leaves.
#[derive(Debug)]
pub(crate) struct Recording(Mutex<File>);

impl Recording {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        File::create(path).map(|file| Self(Mutex::new(file)))
    }

    /// Writes down a reply of the API, unless none reaches the client.
    pub(crate) fn write(&self, answer: &Answer) {
        if matches!(answer.delivery, Delivery::Cut | Delivery::Hang(_)) {
            return;
        }
        let line = json!({
            "operation": answer.operation,
            "status": answer.status,
            "odd": answer.odd,
            "body": answer.value(),
        });
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(format!("{line}\n").as_bytes()) {
            tracing::error!(%error, "cannot record a reply");
        }
    }
}
