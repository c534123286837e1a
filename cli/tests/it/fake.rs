//! A controller that answers what it was told to, and remembers what it was asked.

use std::{
    collections::VecDeque,
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, Response, StatusCode},
};
use cattle_schemas::problem::{ErrorCode, PROBLEM_JSON, Problem};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// More than any test needs; a program that hangs is ended by its test's own deadline first.
const MAX_BODY: usize = 1024 * 1024;

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Json(Value),
    Problem(Problem),
    /// Any status with any text.
    Text(u16, &'static str),
    /// Raw bytes, in these chunks.
    Chunks(Vec<&'static [u8]>),
    /// Events, and then silence without an end.
    Events(Vec<Value>),
    /// An answer of a controller whose clock is so many seconds ahead of this machine's.
    Dated(i64, Box<Reply>),
    /// An answer that takes its time, as a long poll does.
    After(Duration, Box<Reply>),
    /// The connection is cut.
    Cut,
}

impl From<Value> for Reply {
    fn from(value: Value) -> Self {
        Self::Json(value)
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Method, path and query.
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Default)]
struct Script {
    routes: Vec<(String, VecDeque<Reply>)>,
    asked: Vec<Asked>,
}

type Shared = Arc<Mutex<Script>>;

/// The controller, its directory, and the programs that speak to it.
pub(crate) struct Fake {
    pub(crate) dir: TempDir,
    script: Shared,
    _runtime: Runtime,
}

impl Fake {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let script = Shared::default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let _entered = runtime.enter();
        let listener = tokio::net::UnixListener::bind(dir.path().join("sock")).unwrap();
        let app = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&script));
        runtime.spawn(async move { axum::serve(listener, app).await.unwrap() });
        drop(_entered);
        Self {
            dir,
            script,
            _runtime: runtime,
        }
    }

    /// `route` is a method and a path. What is added last is repeated for ever.
    pub(crate) fn on(self, route: &str, reply: impl Into<Reply>) -> Self {
        let mut script = self.script.lock().unwrap();
        let reply = reply.into();
        match script.routes.iter_mut().find(|(known, _)| known == route) {
            Some((_, replies)) => replies.push_back(reply),
            None => script.routes.push((route.to_owned(), [reply].into())),
        }
        drop(script);
        self
    }

    pub(crate) fn file(self, path: &str, content: &str) -> Self {
        write(self.dir.path(), path, content);
        self
    }

    pub(crate) fn clawdlets(&self, args: &[&str]) -> Run {
        Run::of(
            self.command(env!("CARGO_BIN_EXE_clawdlets"), args),
            self.dir.path(),
        )
    }

    pub(crate) fn clf(&self, args: &[&str]) -> Run {
        Run::of(
            self.command(env!("CARGO_BIN_EXE_clf"), args),
            self.dir.path(),
        )
    }

    pub(crate) fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = plain_command(program, self.dir.path());
        command
            .args(args)
            .env("CLF_SOCKET_PATH", self.dir.path().join("sock"));
        command
    }

    /// Everything that was asked, in order, without what only keeps a wait company.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        let script = self.script.lock().unwrap();
        let company = |asked: &&Asked| {
            asked
                .headers
                .get("accept")
                .is_none_or(|accept| accept != "text/event-stream")
        };
        script.asked.iter().filter(company).cloned().collect()
    }

    /// Likewise, only methods, paths and queries.
    pub(crate) fn lines(&self) -> String {
        let lines: Vec<String> = self.asked().into_iter().map(|asked| asked.line).collect();
        hide(&lines.join("\n"), self.dir.path())
    }
}

pub(crate) fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A program in surroundings that are the same everywhere.
pub(crate) fn plain_command(program: &str, cwd: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(cwd)
        .env_clear()
        .env("TERM", "xterm")
        .env("USER", "someone")
        .stdin(Stdio::null());
    command
}

async fn answer(State(script): State<Shared>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let route = format!("{} {}", parts.method, parts.uri.path());
    let line = format!("{} {}", parts.method, parts.uri);
    let body = axum::body::to_bytes(body, MAX_BODY).await.unwrap();
    let reply = {
        let mut script = script.lock().unwrap();
        script.asked.push(Asked {
            line,
            headers: parts.headers,
            body,
        });
        match script.routes.iter_mut().find(|(known, _)| *known == route) {
            Some((_, replies)) if replies.len() > 1 => replies.pop_front().unwrap(),
            Some((_, replies)) => replies[0].clone(),
            None => Problem::new(ErrorCode::NoSuchRoute, format!("there is no {route}")).into(),
        }
    };
    respond(reply).await
}

async fn respond(reply: Reply) -> Response<Body> {
    let whole = |status: u16, media_type: &str, body: Body| {
        Response::builder()
            .status(StatusCode::from_u16(status).unwrap())
            .header("content-type", media_type)
            .body(body)
            .unwrap()
    };
    match reply {
        Reply::Json(value) => whole(200, "application/json", value.to_string().into()),
        Reply::Problem(problem) => {
            let body = serde_json::to_string(&problem).unwrap();
            whole(problem.status, PROBLEM_JSON, body.into())
        }
        Reply::Text(status, text) => whole(status, "text/plain", text.into()),
        Reply::Chunks(chunks) => {
            let chunks = chunks
                .into_iter()
                .map(|chunk| Ok::<_, std::io::Error>(Bytes::from_static(chunk)));
            let body = Body::from_stream(futures_util::stream::iter(chunks));
            let mut response = whole(200, "text/plain", body);
            response
                .headers_mut()
                .insert("clf-run", RUN.parse().unwrap());
            response
        }
        Reply::Events(events) => {
            use futures_util::StreamExt as _;
            let told = events.into_iter().map(|event| {
                let (id, reason) = (event["id"].clone(), event["reason"].clone());
                let reason = reason.as_str().unwrap().to_owned();
                Ok::<_, std::io::Error>(Bytes::from(format!(
                    "id: {id}\nevent: {reason}\ndata: {event}\n\n"
                )))
            });
            let body = futures_util::stream::iter(told).chain(futures_util::stream::pending());
            whole(200, "text/event-stream", Body::from_stream(body))
        }
        Reply::Dated(ahead, then) => {
            let mut response = Box::pin(respond(*then)).await;
            let date = chrono::Utc::now() + chrono::TimeDelta::seconds(ahead);
            let date = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            let headers = response.headers_mut();
            headers.insert("date", date.parse().unwrap());
            response
        }
        Reply::After(pause, then) => {
            tokio::time::sleep(pause).await;
            Box::pin(respond(*then)).await
        }
        Reply::Cut => {
            let broken =
                futures_util::stream::iter([Err::<Bytes, _>(std::io::Error::other("cut"))]);
            whole(200, "application/json", Body::from_stream(broken))
        }
    }
}

/// What a program did.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(mut command: Command, dir: &Path) -> Self {
        Self::from_output(command.output().unwrap(), dir)
    }

    pub(crate) fn with_stdin(mut command: Command, input: &[u8], dir: &Path) -> Self {
        use std::io::Write as _;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        Self::from_output(child.wait_with_output().unwrap(), dir)
    }

    fn from_output(output: Output, dir: &Path) -> Self {
        let text = |bytes: Vec<u8>| hide(&String::from_utf8(bytes).unwrap(), dir);
        Self {
            code: output.status.code().unwrap(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{self}");
        serde_json::from_str(&self.stdout).unwrap()
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "exit: {}\n--- stdout ---\n{}--- stderr ---\n{}",
            self.code, self.stdout, self.stderr
        )
    }
}

/// What differs between two runs of a test does not belong into a snapshot.
fn hide(text: &str, dir: &Path) -> String {
    let canonical: PathBuf = dir.canonicalize().unwrap();
    let encoded = canonical.to_str().unwrap().replace('/', "%2F");
    text.replace(canonical.to_str().unwrap(), "[DIR]")
        .replace(dir.to_str().unwrap(), "[DIR]")
        .replace(&encoded, "[DIR]")
}

/// The smallest spec file.
pub(crate) const SPEC: &str = "\
apiVersion: clawdlets.dev/v1
kind: Cattle
spec:
  persona: rex
  task:
    message: Fix the flaky test
";

pub(crate) const RUN: &str = "01JD3KZ6W8Q4T2N7V5X9Y1B3CD";

/// So long ago.
pub(crate) fn ago(seconds: i64) -> String {
    (chrono::Utc::now() - chrono::TimeDelta::seconds(seconds)).to_rfc3339()
}

/// A cattle that runs.
pub(crate) fn running(name: &str) -> Value {
    json!({
        "name": name,
        "phase": "Running",
        "conditions": [
            {"type": "SpecValid", "status": true, "reason": "valid", "message": "the spec is valid"}
        ],
        "run": {
            "run": RUN,
            "phase": "Running",
            "attempt": 1,
            "server": {
                "id": 4711, "name": format!("cattle-{name}-y1b3cd"), "status": "running",
                "serverType": "cx23", "location": "nbg1", "ipv4": "203.0.113.7"
            },
            "createdAt": ago(750),
            "startedAt": ago(690),
            // Half a minute of slack for a slow machine.
            "expiresAt": ago(-6_480),
            "cost": {
                "amount": "0.0060", "server": "0.0052", "ipv4": "0.0008", "hourly": "0.0060",
                "currency": "EUR", "startedHours": 1
            }
        },
        "spec": {
            "persona": "rex", "taskId": "issue-42", "model": "zai/glm-4.7", "ttl": "2h",
            "specHash": "0123456789ab"
        },
        "origin": {"path": format!("cattle/specs/{name}.yaml"), "requester": "operator"},
        "labels": {"team": "docs"},
        "requester": "uid:1000"
    })
}

/// One that ended like this.
pub(crate) fn ended(name: &str, phase: &str, reason: &str) -> Value {
    let mut status = running(name);
    status["phase"] = json!(phase);
    status["reason"] = json!(reason);
    status["run"]["phase"] = json!(phase);
    status["run"]["endReason"] = json!(reason);
    status["run"]["createdAt"] = json!("2026-01-05T10:00:00Z");
    status["run"]["endedAt"] = json!("2026-01-05T10:12:30Z");
    status["run"]["goneAt"] = json!("2026-01-05T10:12:40Z");
    status["run"]["exitCode"] = json!(i32::from(reason != "completed"));
    status
}

/// One that waits.
pub(crate) fn pending(name: &str) -> Value {
    json!({
        "name": name, "phase": "Pending", "reason": "max-instances",
        "message": "4 of 4 servers exist", "queuePosition": 2, "queuedAt": ago(65), "conditions": []
    })
}

pub(crate) fn list(items: &[Value]) -> Value {
    json!({
        "items": items,
        "controller": {"fleet": "demo", "version": "0.1.0", "conditions": []}
    })
}

pub(crate) fn applied(name: &str, change: &str) -> Value {
    json!({"name": name, "change": change, "phase": "Pending", "dryRun": false})
}

pub(crate) fn event(id: u64, cattle: &str, reason: &str, message: &str) -> Value {
    json!({
        "id": id, "time": "2026-01-05T10:00:00Z", "cattle": cattle, "run": RUN, "reason": reason,
        "message": message
    })
}
