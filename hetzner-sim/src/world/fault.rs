//! Scripted faults: which calls go wrong, when, and how.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{edit::Edit, twist::Twist};
use crate::{
    error::ApiError,
    message::{Answer, Body, Delivery, Request},
    rng::Rng,
};

/// Rules at once; a script with more is a mistake.
const RULES_MAX: usize = 1000;

/// `POST /_sim/faults`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Rule {
    /// Which calls; every field given must fit.
    #[serde(rename = "match", default)]
    matches: Match,
    /// The first matching call that is struck, counted from 1.
    #[serde(default = "one")]
    nth: u32,
    /// How many calls are struck; 0 is all from there on.
    #[serde(default = "one")]
    count: u32,
    /// Strikes a matching call only with this probability (seeded).
    probability: Option<f64>,
    /// Before the call takes effect, or after it did.
    #[serde(default)]
    when: When,
    /// What goes wrong.
    fault: Fault,
}

fn one() -> u32 {
    1
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Match {
    method: Option<String>,
    /// `*` stands for any text: `/v1/servers/*`.
    path: Option<String>,
    /// `create_server`, `list_servers`, …: as in the call log; `*` as above.
    operation: Option<String>,
    /// Of the server concerned; `*` as above.
    server_name: Option<String>,
    /// As it was sent, decoded: `name=web&page=1`; `*` as above.
    query: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum When {
    #[default]
    Before,
    After,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "snake_case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
enum Fault {
    /// The right reply, late.
    Delay { ms: u64 },
    /// No reply for this long, then the connection closes.
    Hang { ms: u64 },
    /// The connection closes at once.
    Cut,
    /// As `cut` with `when: after`: accepted, but the reply is lost.
    DropReply,
    /// The right reply, of which half arrives before the connection closes.
    Truncated,
    /// The first half of the right body, as a complete reply: JSON that ends in the middle.
    HalfJson,
    /// The right status without a body.
    EmptyBody,
    /// A gateway's HTML page.
    Html {
        #[serde(default = "bad_gateway")]
        status: u16,
    },
    /// A gateway's plain text.
    Text {
        #[serde(default = "gateway_timeout")]
        status: u16,
        #[serde(default = "upstream_timeout")]
        body: String,
    },
    /// An error in the API's own form.
    Json {
        status: u16,
        code: String,
        #[serde(default)]
        message: String,
        #[serde(default)]
        details: Value,
    },
    /// Any JSON with any status.
    OddJson {
        #[serde(default = "ok")]
        status: u16,
        body: Value,
    },
    /// The right reply without these keys; see [`Edit`] for what a key may be, and for `only`.
    MissingKeys {
        keys: Vec<String>,
        only: Option<String>,
    },
    /// The right reply with other values under these keys: unknown enum values, wrong types.
    ReplaceKeys {
        keys: Map<String, Value>,
        only: Option<String>,
    },
    /// The right reply with these keys in every object.
    ExtraKeys {
        keys: Map<String, Value>,
        only: Option<String>,
    },
    /// 429. With `leakToken`, the wording that was seen to quote part of the token.
    RateLimited {
        #[serde(default)]
        leak_token: bool,
    },
    /// A created server stays `initializing` until it is deleted.
    StuckInitializing,
    /// A created server ends up `off`; the next poweron works.
    StaysOff,
    /// The call is accepted, and its action ends in this error; a created server disappears.
    ActionError {
        #[serde(default = "action_failed")]
        code: String,
        #[serde(default = "action_failed")]
        message: String,
    },
    /// The call is accepted, and its action never ends.
    ActionStuck,
    /// A created server is gone as soon as its reply is out, and its actions have failed.
    Vanishes,
    /// A created server lacks these of its labels, though the reply shows them; all, without keys.
    LosesLabels { keys: Option<Vec<String>> },
}

fn bad_gateway() -> u16 {
    502
}
fn gateway_timeout() -> u16 {
    504
}
fn ok() -> u16 {
    200
}
fn upstream_timeout() -> String {
    "upstream request timeout".to_owned()
}
fn action_failed() -> String {
    "action_failed".to_owned()
}

/// The rules in force, oldest first: the first that fits strikes.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: Vec<Armed>,
    last_id: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Armed {
    id: u64,
    seen: u32,
    struck: u32,
    #[serde(flatten)]
    rule: Rule,
}

impl Faults {
    pub(crate) fn add(&mut self, rule: Rule) -> Result<u64, ApiError> {
        if self.rules.len() >= RULES_MAX {
            return Err(ApiError::refused(format!(
                "at most {RULES_MAX} fault rules"
            )));
        }
        self.last_id += 1;
        self.rules.push(Armed {
            id: self.last_id,
            seen: 0,
            struck: 0,
            rule,
        });
        Ok(self.last_id)
    }

    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let before = self.rules.len();
        self.rules.retain(|armed| armed.id != id);
        self.rules.len() < before
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(crate) fn rules(&self) -> &[Armed] {
        &self.rules
    }

    /// Whether a rule strikes this call. Every rule counts the calls it matches, also those that
    /// an earlier rule strikes.
    pub(crate) fn strike(
        &mut self,
        request: &Request,
        operation: &str,
        server_name: Option<&str>,
        rng: &mut Rng,
    ) -> Option<Strike> {
        let mut strike = None;
        for armed in &mut self.rules {
            let rule = &armed.rule;
            if !rule.matches.fits(request, operation, server_name) {
                continue;
            }
            armed.seen += 1;
            let spent = rule.count > 0 && armed.struck >= rule.count;
            if armed.seen < rule.nth || spent || strike.is_some() {
                continue;
            }
            if rule.probability.is_some_and(|p| !rng.chance(p)) {
                continue;
            }
            armed.struck += 1;
            strike = Some(Strike {
                rule: armed.id,
                when: rule.when,
                fault: rule.fault.clone(),
            });
        }
        strike
    }
}

impl Match {
    fn fits(&self, request: &Request, operation: &str, server_name: Option<&str>) -> bool {
        let fits = |pattern: &Option<String>, text: Option<&str>| {
            pattern
                .as_ref()
                .is_none_or(|pattern| text.is_some_and(|text| glob(pattern, text)))
        };
        fits(&self.method, Some(&request.method))
            && fits(&self.path, Some(&request.path))
            && fits(&self.operation, Some(operation))
            && fits(&self.server_name, server_name)
            && fits(&self.query, Some(&query(request)))
    }
}

/// `name=web&page=1`
fn query(request: &Request) -> String {
    let pairs = request.query.iter();
    let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join("&")
}

/// The name that a body asks for, so that `POST /servers` can be matched by it.
pub(crate) fn server_name(request: &Request) -> Option<String> {
    if request.method != "POST" || request.path != "/v1/servers" {
        return None;
    }
    let body: Value = serde_json::from_slice(&request.body).ok()?;
    body["name"].as_str().map(str::to_owned)
}

/// `*` stands for any text, everything else for itself.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(head) else {
        return false;
    };
    let mut tails = text.char_indices().map(|(at, _)| &text[at..]).chain([""]);
    tails.any(|tail| glob(rest, tail))
}

/// A fault that strikes one call.
#[derive(Debug)]
pub(crate) struct Strike {
    pub(crate) rule: u64,
    when: When,
    fault: Fault,
}

impl Strike {
    /// The answer in place of any effect; none when the call is to be performed.
    pub(crate) fn instead_of_effect(&self, request: &Request) -> Option<Answer> {
        match self.when {
            When::Before => self.reply(request),
            When::After => None,
        }
        .map(|reply| self.mark(reply))
    }

    /// The answer once the call took effect.
    pub(crate) fn after_effect(self, request: &Request, answer: Answer) -> Answer {
        if let Some(reply) = self.reply(request) {
            return self.mark(reply);
        }
        let mut answer = self.mark(answer);
        match self.fault {
            Fault::Delay { ms } => answer.delivery = Delivery::Late(Duration::from_millis(ms)),
            Fault::DropReply => answer.delivery = Delivery::Cut,
            Fault::Truncated => answer.delivery = Delivery::Half,
            Fault::EmptyBody => answer.body = Body::Empty,
            Fault::HalfJson => {
                if let Body::Json(body) = &answer.body {
                    let text = body.to_string();
                    // Hetzner's objects are ASCII but for what clients put in: cut at a character.
                    let half = text.floor_char_boundary(text.len() / 2);
                    answer.body = Body::Raw {
                        content_type: "application/json",
                        bytes: text.as_bytes()[..half].to_vec(),
                    };
                }
            }
            Fault::MissingKeys { keys, only } => {
                Edit::Remove(&keys).apply(&mut answer, only.as_deref())
            }
            Fault::ReplaceKeys { keys, only } => {
                Edit::Replace(&keys).apply(&mut answer, only.as_deref())
            }
            Fault::ExtraKeys { keys, only } => Edit::Add(&keys).apply(&mut answer, only.as_deref()),
            _ => {}
        }
        answer
    }

    /// Tells whether the reply is not of the API's shape, as the rule wants it.
    fn mark(&self, mut answer: Answer) -> Answer {
        answer.odd = matches!(
            self.fault,
            Fault::OddJson { .. }
                | Fault::Html { .. }
                | Fault::Text { .. }
                | Fault::EmptyBody
                | Fault::HalfJson
                | Fault::MissingKeys { .. }
                | Fault::ReplaceKeys { .. }
                | Fault::ExtraKeys { .. }
        );
        answer
    }

    /// What the fault does to the call's own action and server.
    pub(crate) fn twist(&self) -> Twist {
        match &self.fault {
            Fault::StuckInitializing => Twist::Stuck,
            Fault::StaysOff => Twist::StaysOff,
            Fault::ActionError { code, message } => Twist::Error(code.clone(), message.clone()),
            Fault::ActionStuck => Twist::Stuck,
            Fault::Vanishes => Twist::Vanishes,
            Fault::LosesLabels { keys } => Twist::LosesLabels(keys.clone()),
            _ => Twist::None,
        }
    }

    /// A reply that needs no right one to begin with.
    fn reply(&self, request: &Request) -> Option<Answer> {
        let cut = |delivery| {
            let mut answer = Answer::empty();
            answer.delivery = delivery;
            answer
        };
        Some(match &self.fault {
            Fault::Cut => cut(Delivery::Cut),
            Fault::Hang { ms } => cut(Delivery::Hang(Duration::from_millis(*ms))),
            Fault::Html { status } => Answer::raw(
                *status,
                "text/html",
                format!(
                    "<html><head><title>{status}</title></head><body><center><h1>{status}</h1></center></body></html>\n"
                ),
            ),
            Fault::Text { status, body } => Answer::raw(*status, "text/plain", body.clone()),
            Fault::Json {
                status,
                code,
                message,
                details,
            } => Answer::json(
                *status,
                json!({"error": {"code": code, "message": message, "details": details}}),
            ),
            Fault::OddJson { status, body } => Answer::json(*status, body.clone()),
            Fault::RateLimited { leak_token } => {
                let token = request.bearer.as_deref().unwrap_or("");
                let part: String = token.chars().take(8).collect();
                let message = if *leak_token {
                    format!("rate limit of token {part}... exceeded")
                } else {
                    "limit of 3600 requests per hour reached".to_owned()
                };
                ApiError::new(429, "rate_limit_exceeded", message).into()
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::glob;

    #[rstest]
    #[case("*", "", true)]
    #[case("/v1/servers*", "/v1/servers/4", true)]
    #[case("/v1/servers/*", "/v1/servers", false)]
    #[case("*_server", "create_server", true)]
    #[case("*_server", "list_servers", false)]
    #[case("a*c*e", "abcde", true)]
    #[case("a*c*e", "abcdf", false)]
    #[case("plain", "plain", true)]
    #[case("plain", "plainer", false)]
    fn a_pattern_fits(#[case] pattern: &str, #[case] text: &str, #[case] fits: bool) {
        assert_eq!(glob(pattern, text), fits);
    }
}
