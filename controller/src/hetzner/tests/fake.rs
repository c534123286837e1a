//! The scripted server. One answer for each connection, in order.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What is answered to one request.
pub(crate) enum Answer {
    Json(u16, Value),
    /// With further headers, each with its line end.
    WithHeaders(u16, &'static str, Value),
    /// With another content type.
    Html(u16, &'static str),
    /// These bytes, and the connection closed.
    Raw(String),
    /// The request is read, and the connection closed.
    Cut,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// `GET /servers?page=1`.
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

pub(crate) struct Fake {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Fake {
    pub(crate) async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = read(&mut stream).await;
                seen.lock().unwrap().push(request);
                // The client may have given up on the answer already.
                stream.write_all(bytes(answer).as_bytes()).await.ok();
                stream.shutdown().await.ok();
            }
        });
        Self { url, requests }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn bytes(answer: Answer) -> String {
    let with = |status: u16, headers: &str, body: &str| {
        let length = body.len();
        let date = if headers.contains("Date: ") {
            String::new()
        } else {
            format!("Date: {}\r\n", chrono::Utc::now().to_rfc2822())
        };
        format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{date}{headers}\r\n{body}"
        )
    };
    match answer {
        Answer::Json(status, body) => with(status, "", &body.to_string()),
        Answer::WithHeaders(status, headers, body) => with(status, headers, &body.to_string()),
        Answer::Html(status, body) => with(status, "Content-Type: text/html\r\n", body),
        Answer::Raw(bytes) => bytes,
        Answer::Cut => String::new(),
    }
}

async fn read(stream: &mut TcpStream) -> Request {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        assert!(
            stream.read_buf(&mut bytes).await.unwrap() > 0,
            "half a request"
        );
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse::<usize>()
                .ok()
        })
        .unwrap_or(0);
    while bytes.len() < head_end + length {
        assert!(
            stream.read_buf(&mut bytes).await.unwrap() > 0,
            "half a body"
        );
    }
    let line = head
        .lines()
        .next()
        .unwrap()
        .trim_end_matches(" HTTP/1.1")
        .to_owned();
    let head = head.to_ascii_lowercase();
    Request {
        line,
        head,
        body: String::from_utf8(bytes[head_end..].to_vec()).unwrap(),
    }
}
