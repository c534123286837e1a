//! Actions on servers, and what every action does to its server when it completes.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Effect, Event, World,
    action::{Action, Deed},
    create::Reference,
    route::Kind,
    server::{Fate, Status},
    twist::Twist,
};
use crate::{
    catalogue::{self, Image},
    error::ApiError,
    labels::{self, Labels},
    message::{Answer, Request},
};

/// The API chooses one of six windows of four hours; here it is always the same.
const BACKUP_WINDOW: &str = "22-02";

impl World {
    /// `POST /servers/{id}/actions/{verb}`
    pub(crate) fn act_on_server(
        &mut self,
        request: &Request,
        id: u64,
        verb: &str,
        twist: Twist,
    ) -> Result<Answer, ApiError> {
        let now = self.now;
        let server = self.server(id)?;
        if verb == "change_protection" {
            return self.change_protection(request, id);
        }
        if server.locked(now) {
            return Err(ApiError::locked());
        }
        let power = self.delays.power;
        match verb {
            "poweron" => {
                // A server that is on stays on: the action succeeds and starts nothing.
                let status = (server.status != Status::Running).then_some(Status::Starting);
                self.power(id, Deed::StartServer, status, twist)
            }
            "poweroff" => {
                self.effect(Effect::Kill { server: id });
                self.power(id, Deed::StopServer, Some(Status::Stopping), twist)
            }
            "shutdown" => {
                self.effect(Effect::Terminate { server: id });
                if !self.guests && server_is_up(&self.server(id)?.status) {
                    // Nothing runs in it that could ignore the signal.
                    self.schedule(now + power, Event::PoweredDown(id));
                }
                self.power(id, Deed::ShutdownServer, None, twist)
            }
            "reboot" => {
                self.effect(Effect::Terminate { server: id });
                self.power(id, Deed::RebootServer, None, twist)
            }
            "reset" => {
                self.effect(Effect::Kill { server: id });
                self.power(id, Deed::ResetServer, None, twist)
            }
            "rebuild" => self.rebuild(request, id, twist),
            "create_image" => self.create_image(request, id),
            "change_type" => self.change_type(request, id),
            "enable_rescue" => {
                self.server_mut(id)?.rescue = true;
                let password = format!("{:016x}", self.rng.next());
                self.plain(id, "enable_rescue", json!({"root_password": password}))
            }
            "disable_rescue" => {
                self.server_mut(id)?.rescue = false;
                self.plain(id, "disable_rescue", json!({}))
            }
            "enable_backup" => {
                self.server_mut(id)?.backup_window = Some(BACKUP_WINDOW);
                self.plain(id, "enable_backup", json!({}))
            }
            "disable_backup" => {
                self.server_mut(id)?.backup_window = None;
                self.plain(id, "disable_backup", json!({}))
            }
            "add_to_placement_group" => self.join_group(request, id),
            "remove_from_placement_group" => {
                self.server_mut(id)?.placement_group = None;
                self.plain(id, "remove_from_placement_group", json!({}))
            }
            "reset_password" => {
                let password = format!("{:016x}", self.rng.next());
                self.plain(id, "reset_password", json!({"root_password": password}))
            }
            _ => Err(ApiError::unsupported(format!(
                "the simulator has no server action '{verb}'"
            ))),
        }
    }

    fn power(
        &mut self,
        id: u64,
        deed: Deed,
        status: Option<Status>,
        twist: Twist,
    ) -> Result<Answer, ApiError> {
        self.planned_error = twist.error();
        let due = twist.due(self.now + self.delays.power);
        let action = self.begin(deed, vec![(id, Kind::Server.singular())], due);
        let server = self.server_mut(id)?;
        server.locks.insert(action);
        if let Some(status) = status {
            server.status = status;
        }
        if deed == Deed::StartServer && twist.fate() == Fate::StaysOff {
            server.fate = Fate::StaysOff;
        }
        Ok(Answer::created(json!({"action": self.action_json(action)})))
    }

    /// An action that is done at once and only recorded.
    pub(crate) fn plain(
        &mut self,
        id: u64,
        command: &'static str,
        extra: Value,
    ) -> Result<Answer, ApiError> {
        let resources = vec![(id, Kind::Server.singular())];
        let action = self.begin(Deed::Plain(command), resources, Some(self.now));
        let mut body = extra;
        body["action"] = self.action_json(action);
        Ok(Answer::created(body))
    }

    fn change_protection(&mut self, request: &Request, id: u64) -> Result<Answer, ApiError> {
        #[derive(Deserialize)]
        struct Body {
            delete: Option<bool>,
            rebuild: Option<bool>,
        }
        let body: Body = request.parse()?;
        if body.delete.unwrap_or(false) != body.rebuild.unwrap_or(false) {
            // Both are to be set alike [reference of the endpoint].
            return Err(ApiError::invalid("rebuild", "must equal 'delete'"));
        }
        let server = self.server_mut(id)?;
        server.protect_delete = body.delete.unwrap_or(server.protect_delete);
        server.protect_rebuild = body.rebuild.unwrap_or(server.protect_rebuild);
        self.plain(id, "change_protection", json!({}))
    }

    fn rebuild(&mut self, request: &Request, id: u64, twist: Twist) -> Result<Answer, ApiError> {
        #[derive(Deserialize)]
        struct Body {
            image: Reference,
            user_data: Option<String>,
        }
        let body: Body = request.parse()?;
        let server = self.server(id)?;
        if server.protect_rebuild {
            return Err(ApiError::protected("server"));
        }
        let wanted = body.image.text();
        let architecture = server.kind.architecture();
        let image = self
            .images
            .iter()
            .find(|i| match wanted.parse::<u64>() {
                Ok(image) => i.id == image,
                Err(_) => i.name == Some(&wanted) && i.architecture == architecture,
            })
            .ok_or_else(|| ApiError::invalid("image", "image not found"))?;
        self.check_image(image, server.kind)?;
        let image = image.id;
        let server = self.server_mut(id)?;
        server.image = Some(image);
        if body.user_data.is_some() {
            server.user_data = body.user_data;
        }
        self.effect(Effect::Destroy { server: id });
        let mut answer = self.power(id, Deed::RebuildServer, Some(Status::Rebuilding), twist)?;
        if let crate::message::Body::Json(body) = &mut answer.body {
            body["root_password"] = Value::Null;
        }
        Ok(answer)
    }

    fn create_image(&mut self, request: &Request, id: u64) -> Result<Answer, ApiError> {
        #[derive(Default, Deserialize)]
        struct Body {
            #[serde(rename = "type")]
            kind: Option<String>,
            description: Option<String>,
            #[serde(default)]
            labels: Labels,
        }
        let body: Body = request.parse_or_default()?;
        labels::check(&body.labels)?;
        let kind = match body.kind.as_deref() {
            None | Some("snapshot") => "snapshot",
            Some("backup") if self.server(id)?.backup_window.is_none() => {
                return Err(ApiError::refused("backups are not enabled for this server"));
            }
            Some("backup") => "backup",
            Some(_) => return Err(ApiError::invalid("type", "must be 'snapshot' or 'backup'")),
        };
        let image = self.next_small_id();
        let server = self.server(id)?;
        let image = Image {
            id: image,
            kind,
            bound_to: (kind == "backup").then_some(server.id),
            status: catalogue::ImageStatus::Available,
            name: None,
            description: body.description.unwrap_or_else(|| server.name.clone()),
            os_flavor: "unknown",
            os_version: None,
            architecture: server.kind.architecture(),
            disk_gb: server.kind.disk_gb,
            image_gb: Some(1.0),
            created: self.now,
            created_from: Some((server.id, server.name.clone())),
            labels: body.labels,
            protected: false,
            deprecation: None,
        };
        let rendered = self.render_image(&image);
        self.images.push(image);
        self.plain(id, "create_image", json!({"image": rendered}))
    }

    fn change_type(&mut self, request: &Request, id: u64) -> Result<Answer, ApiError> {
        #[derive(Deserialize)]
        struct Body {
            server_type: Reference,
        }
        let body: Body = request.parse()?;
        let kind = catalogue::server_type(&body.server_type.text())
            .ok_or_else(|| ApiError::new(422, "invalid_server_type", "server type not found"))?;
        let server = self.server_mut(id)?;
        if server.status != Status::Off {
            return Err(ApiError::not_stopped());
        }
        if kind.architecture() != server.kind.architecture() || kind.disk_gb < server.kind.disk_gb {
            return Err(ApiError::new(
                422,
                "invalid_server_type",
                "server type does not fit",
            ));
        }
        server.kind = kind;
        self.plain(id, "change_server_type", json!({}))
    }

    /// Does what an action stands for. `action.error` is set when it was planned to fail.
    pub(crate) fn complete(&mut self, action: &Action) {
        if action.deed == Deed::ApplyFirewall && action.error.is_none() {
            self.firewall_applied(action);
        }
        let Some(id) = action.resource(Kind::Server) else {
            return;
        };
        let failed = action.error.is_some();
        let now = self.now;
        let Some(server) = self.servers.get_mut(&id) else {
            return;
        };
        server.locks.remove(&action.id);
        match (action.deed, failed) {
            // The server disappears: a 404 after a 201.
            (Deed::CreateServer, true) => self.remove_server(id),
            (Deed::CreateServer, false) => {
                server.billed_from = Some(now);
                server.status = if server.start_after_create {
                    Status::Starting
                } else {
                    Status::Off
                };
            }
            (Deed::StartServer, false) if server.status == Status::Running => {}
            (
                Deed::StartServer | Deed::RebootServer | Deed::ResetServer | Deed::RebuildServer,
                false,
            ) => self.boot(id),
            (Deed::StopServer, false) => server.status = Status::Off,
            (Deed::DeleteServer, false) => self.remove_server(id),
            (Deed::ShutdownServer | Deed::Plain(_) | Deed::ApplyFirewall, _) => {}
            // A failed power action leaves a server that is not up; a failed delete one that is
            // still there, and whose guest was cut off.
            (_, true) => server.status = Status::Off,
        }
    }

    fn boot(&mut self, id: u64) {
        let Some(server) = self.servers.get_mut(&id) else {
            return;
        };
        if server.fate == Fate::StaysOff {
            server.fate = Fate::Fine;
            server.status = Status::Off;
            return;
        }
        server.status = Status::Running;
        server.boots += 1;
        let (boot, user_data) = (server.boots, server.user_data.clone());
        self.effect(Effect::Boot {
            server: id,
            boot,
            user_data,
        });
    }

    /// A guest ended of itself: the machine is off. Ends of earlier boots, and ends that an
    /// action brought about, change nothing.
    pub fn guest_exited(&mut self, now: DateTime<Utc>, id: u64, boot: u64) {
        self.advance(now);
        if let Some(server) = self.servers.get_mut(&id) {
            let rebooting = server.locks.iter().any(|lock| {
                self.actions
                    .get(lock)
                    .is_some_and(|a| matches!(a.deed, Deed::RebootServer | Deed::ResetServer))
            });
            if server.boots == boot && server.status == Status::Running && !rebooting {
                server.status = Status::Off;
            }
        }
    }

    pub(crate) fn powered_down(&mut self, id: u64) {
        if let Some(server) = self.servers.get_mut(&id)
            && server_is_up(&server.status)
        {
            server.status = Status::Off;
        }
    }
}

fn server_is_up(status: &Status) -> bool {
    matches!(status, Status::Running | Status::Starting)
}
