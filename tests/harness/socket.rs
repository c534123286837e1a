//! The controller's socket, asked directly: a hundred looks cost less than a hundred processes.

use std::path::Path;

use reqwest::blocking::{Client, ClientBuilder};
use serde_json::Value;

/// A client of one socket.
#[derive(Debug)]
pub(crate) struct Socket(Client);

impl Socket {
    pub(crate) fn new(path: &Path) -> Self {
        let client = ClientBuilder::new()
            .no_proxy()
            .unix_socket(path)
            // A controller that was killed leaves connections behind.
            .pool_max_idle_per_host(0)
            .build();
        Self(client.unwrap())
    }

    /// The answer's status and body; `None` while nobody answers.
    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Option<(u16, Value)> {
        let method = method.parse().unwrap();
        let mut request = self.0.request(method, format!("http://controller{path}"));
        if let Some(body) = body {
            request = request.json(body);
        }
        let reply = request.send().ok()?;
        let status = reply.status().as_u16();
        let text = reply.text().ok()?;
        Some((
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        ))
    }
}
