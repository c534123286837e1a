//! What a create needs before it can be posted: labels, `user_data`, firewall, SSH keys.

use cattle_core::{
    labels,
    ledger::Run,
    user_data::{self, Input, Secret},
};
use cattle_schemas::guest::Bootstrap;
use secrecy::{ExposeSecret, SecretString};

use super::Needs;
use crate::{
    guest_api::env::env,
    hetzner::{ApiError, NewServer, mark_labels},
    intake::project,
    persona_archive,
};

/// Why a create cannot be posted.
pub(super) enum Unprepared {
    /// Somebody has to mend something; the sentence says what.
    Refused(String),
    /// Hetzner did not give us the firewall or the keys.
    Hetzner(ApiError),
}

/// The create, but for its candidate.
pub(super) async fn new_server(
    needs: &Needs,
    run: &Run,
    token: &SecretString,
) -> Result<NewServer, Unprepared> {
    let fleet = needs.fleet.borrow().clone();
    // Files are read and searched: not work for the loop that everybody shares.
    let user_data = tokio::task::block_in_place(|| user_data(needs, run, token))
        .map_err(Unprepared::Refused)?;
    let marks = needs.birth_marks.get().await;
    let marks = marks.map_err(|error| Unprepared::Refused(crate::report(&error)))?;
    let mut firewall_labels = fleet.labels.clone();
    firewall_labels.extend(mark_labels(&marks));
    let firewall = needs
        .client
        .ensure_firewall(&fleet.name, &firewall_labels)
        .await
        .map_err(Unprepared::Hetzner)?;
    let ssh_keys = needs
        .client
        .ensure_ssh_keys(&fleet.name, &fleet.ssh_keys)
        .await
        .map_err(Unprepared::Hetzner)?;
    Ok(NewServer {
        name: run.server_name(),
        server_type: String::new(),
        location: String::new(),
        image: String::new(),
        labels: labels::of_run(run, &fleet.name, &fleet.labels),
        user_data,
        ssh_keys,
        firewall,
    })
}

fn user_data(needs: &Needs, run: &Run, token: &SecretString) -> Result<String, String> {
    // What the guest will ask for must be there: a server that waits for a key bills for it.
    env(&needs.fleet.borrow(), &needs.secrets, run)?;
    let personas = needs.settings.personas();
    persona_archive::check(&personas, &run.spec.persona, &needs.secrets)
        .map_err(|error| crate::report(&error))?;
    let persona = project::persona(&personas, &run.spec.persona)?;
    let bootstrap = Bootstrap {
        schema_version: 1,
        cattle: run.cattle.to_string(),
        run: run.id.to_string(),
        controller_url: needs.guest_url.clone(),
        controller_address: None,
        controller_stable_id: None,
        token: token.expose_secret().to_owned(),
        expires_at: run.expires_at,
    };
    let known = needs
        .secrets
        .all_values()
        .map_err(|error| crate::report(&error))?;
    let secrets: Vec<Secret<'_>> = known
        .iter()
        .map(|(name, value)| Secret {
            name,
            value: value.expose_secret(),
        })
        .collect();
    let input = Input {
        task: &run.spec.task,
        model: &run.spec.model,
        persona: &persona,
        bootstrap: &bootstrap,
        tailnet_key: None,
    };
    let built = user_data::build(&input, &secrets).map_err(|error| error.to_string())?;
    Ok(built.as_str().to_owned())
}
