//! The control API, `/_sim/…`: looking at the account from outside, and making things happen
//! that no client could ask for. No rate limit, not in the call log.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Effect, ID_MAX, World,
    fault::Rule,
    quota::QuotaChange,
    server::{Server, Status},
    stock::StockChange,
};
use crate::{
    catalogue::{Architecture, Image, ImageStatus},
    error::ApiError,
    labels::{self, Labels},
    message::{Answer, Request},
};

impl World {
    /// Answers one call of the control API at `now`.
    pub fn control(&mut self, now: DateTime<Utc>, request: &Request) -> Answer {
        self.advance(now);
        self.steer(request).unwrap_or_else(Answer::from)
    }

    fn steer(&mut self, request: &Request) -> Result<Answer, ApiError> {
        let path = request.path.trim_matches('/');
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let done = || Ok(Answer::empty());
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["calls"]) => {
                let since = request.param("since").and_then(|s| s.parse().ok());
                let calls: Vec<_> = self.log.since(since.unwrap_or(0)).collect();
                Ok(Answer::ok(json!({
                    "calls": calls,
                    "total": self.log.total(),
                    "dropped": self.log.dropped,
                })))
            }
            ("DELETE", ["calls"]) => {
                self.log.clear();
                done()
            }
            ("GET", ["state"]) => Ok(Answer::ok(self.snapshot())),
            ("GET", ["cost"]) => Ok(Answer::ok(json!(self.cost()))),
            ("GET", ["faults"]) => Ok(Answer::ok(json!({"faults": self.faults.rules()}))),
            ("POST", ["faults"]) => {
                let rule: Rule = request.parse()?;
                let id = self.faults.add(rule)?;
                Ok(Answer::created(json!({"id": id})))
            }
            ("DELETE", ["faults"]) => {
                self.faults.clear();
                done()
            }
            ("DELETE", ["faults", id]) => match id.parse() {
                Ok(id) if self.faults.remove(id) => done(),
                _ => Err(ApiError::not_found("fault", id)),
            },
            ("PUT", ["stock"]) => {
                let change: StockChange = request.parse()?;
                change.check()?;
                self.stock.change(change);
                done()
            }
            ("PUT", ["quota"]) => {
                let change: QuotaChange = request.parse()?;
                self.change_quota(&change);
                done()
            }
            ("PUT", ["account"]) => {
                #[derive(Deserialize)]
                #[serde(rename_all = "camelCase", deny_unknown_fields)]
                struct Body {
                    restricted: Option<bool>,
                    token: Option<TokenState>,
                }
                let body: Body = request.parse()?;
                self.restricted = body.restricted.unwrap_or(self.restricted);
                self.token_state = body.token.unwrap_or(self.token_state);
                done()
            }
            ("PUT", ["rate-limit"]) => {
                #[derive(Deserialize)]
                #[serde(rename_all = "camelCase", deny_unknown_fields)]
                struct Body {
                    limit: Option<u32>,
                    refill: Option<u32>,
                    remaining: Option<u32>,
                }
                let body: Body = request.parse()?;
                let together = self.bucket.limit() == self.bucket.refill_per_hour();
                if let Some(limit) = body.limit {
                    self.bucket.set_limit(limit, self.now);
                }
                // Without a word on the refill it goes with the limit, unless it was set apart.
                if let Some(refill) = body.refill.or(body.limit.filter(|_| together)) {
                    self.bucket.set_refill(refill, self.now);
                }
                if let Some(remaining) = body.remaining {
                    self.bucket.set_remaining(remaining, self.now);
                }
                done()
            }
            ("PUT", ["clock"]) => {
                #[derive(Deserialize)]
                #[serde(rename_all = "camelCase", deny_unknown_fields)]
                struct Body {
                    offset_ms: i64,
                }
                let body: Body = request.parse()?;
                self.clock_offset = Duration::try_milliseconds(body.offset_ms)
                    .filter(|offset| offset.num_days().abs() <= CLOCK_OFFSET_MAX_DAYS)
                    .ok_or_else(|| ApiError::invalid("offsetMs", "more than ten years"))?;
                done()
            }
            ("PUT", ["timing"]) => self.set_timing(request),
            ("POST", ["images"]) => self.add_snapshot(request),
            ("DELETE", ["images", id]) => {
                let at = self
                    .images
                    .iter()
                    .position(|image| id.parse() == Ok(image.id))
                    .ok_or_else(|| ApiError::not_found("image", id))?;
                self.images.remove(at);
                done()
            }
            (method, ["servers", server, verb]) => self.steer_server(request, method, server, verb),
            _ => Err(ApiError::no_route()),
        }
    }

    fn set_timing(&mut self, request: &Request) -> Result<Answer, ApiError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Body {
            create_ms: Option<u64>,
            boot_ms: Option<u64>,
            power_ms: Option<u64>,
            delete_ms: Option<u64>,
            firewall_lag_ms: Option<u64>,
        }
        let body: Body = request.parse()?;
        let set = |delay: &mut Duration, ms: Option<u64>| {
            if let Some(ms) = ms {
                *delay = super::delay(std::time::Duration::from_millis(ms));
            }
        };
        set(&mut self.delays.create, body.create_ms);
        set(&mut self.delays.boot, body.boot_ms);
        set(&mut self.delays.power, body.power_ms);
        set(&mut self.delays.delete, body.delete_ms);
        set(&mut self.delays.firewall, body.firewall_lag_ms);
        Ok(Answer::empty())
    }

    /// A snapshot out of nowhere, as if somebody had uploaded it.
    fn add_snapshot(&mut self, request: &Request) -> Result<Answer, ApiError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Body {
            id: Option<u64>,
            #[serde(default)]
            architecture: Architecture,
            #[serde(default = "smallest_disk")]
            disk_size: u32,
            #[serde(default)]
            labels: Labels,
            created: Option<DateTime<Utc>>,
            #[serde(default)]
            status: ImageStatus,
            #[serde(default)]
            description: String,
            #[serde(default)]
            protected: bool,
            deprecation: Option<Deprecation>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Deprecation {
            announced: DateTime<Utc>,
            unavailable_after: DateTime<Utc>,
        }
        let body: Body = request.parse()?;
        labels::check(&body.labels)?;
        let id = body.id.unwrap_or_else(|| self.next_small_id());
        if id == 0 || id > ID_MAX || body.disk_size == 0 {
            return Err(ApiError::refused(format!(
                "id from 1 to {ID_MAX}, disk size from 1"
            )));
        }
        if self.images.iter().any(|image| image.id == id) {
            return Err(ApiError::refused(format!("image {id} exists already")));
        }
        let image = Image {
            id,
            kind: "snapshot",
            bound_to: None,
            status: body.status,
            name: None,
            description: body.description,
            os_flavor: "unknown",
            os_version: None,
            architecture: body.architecture.text(),
            disk_gb: body.disk_size,
            image_gb: (body.status == ImageStatus::Available).then_some(1.0),
            created: body.created.unwrap_or(self.now),
            created_from: Some((self.last_server, "hcloud-upload-image".to_owned())),
            labels: body.labels,
            protected: body.protected,
            deprecation: body.deprecation.map(|d| (d.announced, d.unavailable_after)),
        };
        let rendered = self.render_image(&image);
        self.images.push(image);
        self.images.sort_by_key(|image| image.id);
        Ok(Answer::created(json!({"image": rendered})))
    }

    fn steer_server(
        &mut self,
        request: &Request,
        method: &str,
        server: &str,
        verb: &str,
    ) -> Result<Answer, ApiError> {
        let id = server
            .parse()
            .ok()
            .filter(|id| self.servers.contains_key(id))
            .or_else(|| self.names.get(server).copied())
            .ok_or_else(|| ApiError::not_found("server", server))?;
        match (method, verb) {
            ("POST", "vanish") => {
                self.remove_server(id);
                return Ok(Answer::empty());
            }
            ("POST", "off") => {
                self.effect(Effect::Kill { server: id });
                self.server_mut(id)?.status = Status::Off;
            }
            ("POST", "stick") => {
                self.fail_actions_of(id);
                self.effect(Effect::Kill { server: id });
                let server = self.server_mut(id)?;
                server.locks.clear();
                server.status = Status::Initializing;
            }
            ("POST", "strip-labels") => {
                #[derive(Default, Deserialize)]
                #[serde(rename_all = "camelCase", deny_unknown_fields)]
                struct Body {
                    keys: Option<Vec<String>>,
                }
                let body: Body = request.parse_or_default()?;
                self.lose_labels(id, body.keys.as_deref())?;
            }
            ("POST", "set-status") => {
                #[derive(Deserialize)]
                #[serde(rename_all = "camelCase", deny_unknown_fields)]
                struct Body {
                    status: String,
                }
                let body: Body = request.parse()?;
                self.server_mut(id)?.status = status(body.status);
            }
            ("POST", "lock") => {
                #[derive(Deserialize)]
                #[serde(rename_all = "camelCase", deny_unknown_fields)]
                struct Body {
                    ms: u64,
                }
                let body: Body = request.parse()?;
                let until = self.now + super::delay(std::time::Duration::from_millis(body.ms));
                self.server_mut(id)?.locked_until = Some(until);
            }
            ("PUT", "labels") => {
                #[derive(Deserialize)]
                #[serde(rename_all = "camelCase", deny_unknown_fields)]
                struct Body {
                    labels: Labels,
                }
                let body: Body = request.parse()?;
                labels::check(&body.labels)?;
                self.server_mut(id)?.labels = body.labels;
                self.firewalls_lag_behind();
            }
            _ => return Err(ApiError::no_route()),
        }
        let server = self.server(id)?;
        Ok(Answer::ok(json!({"server": self.render_state(server)})))
    }

    /// Takes these labels, or all, from a server.
    pub(crate) fn lose_labels(&mut self, id: u64, keys: Option<&[String]>) -> Result<(), ApiError> {
        let labels = &mut self.server_mut(id)?.labels;
        match keys {
            Some(keys) => labels.retain(|key, _| !keys.contains(key)),
            None => labels.clear(),
        }
        self.firewalls_lag_behind();
        Ok(())
    }

    /// Everything there is and was, as `GET /_sim/state` shows it.
    #[must_use]
    pub fn snapshot(&self) -> Value {
        let render = |servers: &mut dyn Iterator<Item = &Server>| -> Vec<Value> {
            servers.map(|server| self.render_state(server)).collect()
        };
        let standing = self.bucket.standing(self.now);
        json!({
            "now": self.stamp(self.now),
            "uptimeMs": (self.now - self.started).num_milliseconds(),
            "servers": render(&mut self.servers.values()),
            "deletedServers": render(&mut self.gone.iter()),
            "maxServersAtOnce": self.servers_at_once_max,
            "serversCreated": self.servers_created,
            "maxServers": self.quota.servers,
            "maxPrimaryIps": self.quota.primary_ips,
            "maxDedicatedCores": self.quota.dedicated_cores,
            "addressFreesAfterMs": self.quota.address_frees.num_milliseconds(),
            "restricted": self.restricted,
            "token": self.token_state,
            "rateLimit": {
                "limit": standing.limit,
                "refill": self.bucket.refill_per_hour(),
                "remaining": standing.remaining,
            },
            "clockOffsetMs": self.clock_offset.num_milliseconds(),
            "stock": self.stock.pairs(),
        })
    }
}

/// What becomes of tokens that would be accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TokenState {
    /// As it was configured.
    #[default]
    Valid,
    /// 401 `token_readonly` for all but GET.
    ReadOnly,
    /// 401 `unauthorized`, as for a token that was never one.
    Revoked,
}

/// The disk that snapshots are best built on: every type can start from it.
fn smallest_disk() -> u32 {
    40
}

/// Beyond this, timestamps would leave the range that clients parse.
const CLOCK_OFFSET_MAX_DAYS: i64 = 3650;

/// The statuses the machine knows keep their meaning, so that a later action works on them.
fn status(text: String) -> Status {
    [
        Status::Initializing,
        Status::Starting,
        Status::Running,
        Status::Stopping,
        Status::Off,
        Status::Deleting,
        Status::Rebuilding,
    ]
    .into_iter()
    .find(|status| status.text() == text)
    .unwrap_or(Status::Forced(text))
}
