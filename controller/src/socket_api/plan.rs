//! `POST /v1/plan`: what the next pass would do, as if some files were applied too.

use axum::{Json, body::Body, extract::State};
use cattle_core::{
    names::CattleName,
    plan::{cattle_of, to_api},
};
use cattle_schemas::{
    api::{PlanReply, PlanRequest},
    problem::{Diagnostic, ErrorCode},
};

use super::{
    Api, apply,
    extract::{json_or_default, read_body},
    overlay::Overlay,
    peer::Peer,
    problem::ApiError,
    resolve::is_there,
    routes::MAX_JSON_BYTES,
    spec,
};

/// The most files of one question.
const MAX_FILES: usize = 1_000;

/// `POST /v1/plan`.
pub(super) async fn post(
    State(api): State<Api>,
    peer: Peer,
    body: Body,
) -> Result<Json<PlanReply>, ApiError> {
    let bytes = read_body(body, MAX_JSON_BYTES).await?;
    let request: PlanRequest = json_or_default(&bytes)?;
    if request.files.len() > MAX_FILES {
        let detail = format!("at most {MAX_FILES} files can be planned at once");
        return Err(ApiError::new(ErrorCode::TooLarge, detail));
    }
    let world = api.handle.world();
    let records = api.store.socket_specs().await?;
    let mut overlay = Overlay::of(&world);
    // What cannot be applied is said of each file, and the rest is planned.
    let mut refused = Vec::new();
    for (stem, text) in &request.files {
        let name = match stem.parse::<CattleName>() {
            Ok(name) => name,
            Err(error) => {
                refused.push(whole_file(stem, error.to_string()));
                continue;
            }
        };
        if let Err(error) = apply::check_name(&api, &peer, &world, &name, &records).await {
            refused.push(whole_file(name.as_str(), error.problem().detail.clone()));
            continue;
        }
        match spec::read(&api, &world, &name, text.as_bytes(), peer.authority).await {
            Ok(read) => overlay.put(&api, &peer, read.cattle),
            Err(errors) => overlay.put_broken(&api, &peer, name, errors),
        }
    }
    let now = (api.now)();
    let mut outlook = overlay.outlook(&api, &world, now).await?;
    if !peer.is_operator() {
        let (desired, ledger) = (&outlook.desired, &outlook.ledger);
        let own = |name: &CattleName| {
            let entry = desired.specs.get(name).filter(|entry| is_there(entry));
            match entry {
                Some(entry) => peer.owns(&entry.origin.requester.0),
                None => ledger
                    .runs
                    .values()
                    .rfind(|run| run.cattle == *name)
                    .is_some_and(|run| peer.owns(&run.requester.0)),
            }
        };
        // Before it is put into words, so that its cost is the caller's too.
        let plan = &mut outlook.plan;
        plan.actions
            .retain(|action| cattle_of(action, ledger).is_some_and(own));
        plan.waiting.retain(|waiting| own(&waiting.cattle));
    }
    let mut reply = to_api(
        &outlook.plan,
        &outlook.desired,
        &outlook.ledger,
        &world.limits.catalogue,
        now,
    );
    reply.diagnostics.extend(refused.iter().cloned());
    if !peer.is_operator() {
        // Of what it sent itself, it may know everything.
        let sent = |diagnostic: &Diagnostic| {
            let stem = diagnostic.path.trim_end_matches(".yaml");
            request.files.contains_key(stem)
        };
        reply.diagnostics.retain(sent);
    }
    Ok(Json(reply))
}

fn whole_file(stem: &str, message: String) -> Diagnostic {
    Diagnostic {
        path: format!("{stem}.yaml"),
        line: 0,
        column: 0,
        message,
        hint: None,
    }
}
