//! Server-sent events: the stream's lines, put together into events.
//!
//! Only what the controller sends is understood: `data:` lines and the blank line that ends an
//! event. Comments (keep-alives), `id:` and `event:` repeat what the data says and are skipped.

use std::collections::VecDeque;

use cattle_schemas::event::Event;
use reqwest::Response;

use super::TransportError;
use crate::exit::Failure;

/// The longest event: its message is a sentence, so anything near this is not ours.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// Bytes in, `data` of whole events out.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    line: Vec<u8>,
    data: Vec<u8>,
}

/// An event, or the lines before its end, grew beyond the limit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Decoder {
    /// The events that these bytes complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut complete = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                if self.line.len() + self.data.len() >= MAX_EVENT_BYTES {
                    return Err(TooLong);
                }
                self.line.push(*byte);
                continue;
            }
            let mut line = std::mem::take(&mut self.line);
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            if line.is_empty() {
                if !self.data.is_empty() {
                    complete.push(std::mem::take(&mut self.data));
                }
            } else if let Some(data) = line.strip_prefix(b"data:") {
                if !self.data.is_empty() {
                    self.data.push(b'\n');
                }
                self.data
                    .extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
            }
        }
        Ok(complete)
    }
}

/// Events as they happen.
#[derive(Debug)]
pub(crate) struct EventStream {
    label: String,
    response: Response,
    decoder: Decoder,
    ready: VecDeque<Event>,
}

impl EventStream {
    pub(super) fn new(label: String, response: Response) -> Self {
        Self {
            label,
            response,
            decoder: Decoder::default(),
            ready: VecDeque::new(),
        }
    }

    /// The next event; `None` when the controller has closed the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let chunk = self
                .response
                .chunk()
                .await
                .map_err(|source| TransportError::Broken {
                    call: self.label.clone(),
                    source: source.without_url(),
                })?;
            let Some(chunk) = chunk else { return Ok(None) };
            let complete =
                self.decoder
                    .push(&chunk)
                    .map_err(|TooLong| TransportError::TooLarge {
                        call: self.label.clone(),
                    })?;
            for data in complete {
                let event =
                    serde_json::from_slice(&data).map_err(|source| TransportError::Unreadable {
                        call: self.label.clone(),
                        source,
                    })?;
                self.ready.push_back(event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const STREAM: &[u8] =
        b": hello\r\n\r\nid: 7\nevent: started\ndata: {\"a\":\ndata: 1}\n\ndata:x\n\nda";

    #[test]
    fn lines_become_events_and_comments_vanish() {
        let events = Decoder::default().push(STREAM).unwrap();
        assert_eq!(events, [b"{\"a\":\n1}".to_vec(), b"x".to_vec()]);
    }

    #[test]
    fn an_event_without_an_end_is_refused_at_the_limit() {
        let mut decoder = Decoder::default();
        let chunk = vec![b'x'; MAX_EVENT_BYTES];
        assert_eq!(decoder.push(&chunk), Ok(vec![]));
        assert_eq!(decoder.push(b"x"), Err(TooLong));
    }

    proptest! {
        #[test]
        fn where_the_chunks_are_cut_makes_no_difference(cut in 0..STREAM.len()) {
            let mut decoder = Decoder::default();
            let mut events = decoder.push(&STREAM[..cut]).unwrap();
            events.extend(decoder.push(&STREAM[cut..]).unwrap());
            prop_assert_eq!(events, Decoder::default().push(STREAM).unwrap());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let _ = Decoder::default().push(&bytes);
        }
    }
}
