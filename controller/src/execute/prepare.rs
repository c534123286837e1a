//! What a create needs before it can be posted: labels, `user_data`, firewall, SSH keys.

use std::collections::BTreeMap;

use cattle_core::{
    fleet::Fleet,
    labels,
    ledger::Run,
    user_data::{self, Input, SecretSearch},
};
use cattle_schemas::guest::Bootstrap;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::Needs;
use crate::{
    guest_api::env::env,
    hetzner::{ApiError, NewServer, mark_labels},
    intake::project,
    secrets::named,
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
    let labels = labels::of_run(run, &fleet.name, &fleet.labels);
    // Files are read and searched: not work for the loop that everybody shares.
    let user_data = tokio::task::block_in_place(|| user_data(needs, &fleet, run, token, &labels))
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
        labels,
        user_data,
        ssh_keys,
        firewall,
    })
}

fn user_data(
    needs: &Needs,
    fleet: &Fleet,
    run: &Run,
    token: &SecretString,
    labels: &BTreeMap<String, String>,
) -> Result<Zeroizing<String>, String> {
    // What the guest will ask for must be there: a server that waits for a key bills for it.
    env(fleet, &needs.secrets, run)?;
    let personas = needs.settings.personas();
    needs
        .archives
        .check(&run.spec.persona, &needs.secrets)
        .map_err(|error| crate::report(&*error))?;
    let persona = project::persona(&personas, &run.spec.persona)?;
    let bootstrap = Bootstrap {
        schema_version: 1,
        cattle: run.cattle.to_string(),
        run: run.id.to_string(),
        controller_url: needs.guest_url.clone(),
        controller_address: None,
        controller_stable_id: None,
        token: token.expose_secret().to_owned().into(),
        expires_at: run.expires_at,
    };
    let known = needs
        .secrets
        .all_values()
        .map_err(|error| crate::report(&error))?;
    let secrets = named(&known);
    refuse_in_labels(labels, fleet, &SecretSearch::new(&secrets))?;
    let input = Input {
        task: &run.spec.task,
        model: &run.spec.model,
        persona: &persona,
        bootstrap: &bootstrap,
        tailnet_key: None,
    };
    let built = user_data::build(&input, &secrets).map_err(|error| error.to_string())?;
    Ok(built.into_text())
}

/// Takes out of these labels what holds a secret, and says what the first of it was.
pub(super) fn withhold(
    needs: &Needs,
    labels: &mut BTreeMap<String, String>,
) -> Result<Option<String>, String> {
    let known = needs
        .secrets
        .all_values()
        .map_err(|error| crate::report(&error))?;
    let secrets = named(&known);
    let search = SecretSearch::new(&secrets);
    let mut withheld = None;
    labels.retain(|key, value| match refused_label(key, value, &search) {
        Ok(()) => true,
        Err(message) => {
            withheld.get_or_insert(message);
            false
        }
    });
    Ok(withheld)
}

fn refused_label(key: &str, value: &str, search: &SecretSearch<'_>) -> Result<(), String> {
    // A key may hold it as well, and is then not for repeating.
    if let Some(name) = search.find(key.as_bytes()) {
        return Err(format!(
            "a label's key holds the value of the secret `{name}`: remove it"
        ));
    }
    match search.find(value.as_bytes()) {
        Some(name) => Err(format!(
            "the label `{key}` holds the value of the secret `{name}`: remove it"
        )),
        None => Ok(()),
    }
}

/// What Hetzner is told about a server besides its `user_data`. The transport looks at it once more;
/// here it is said where the value is.
fn refuse_in_labels(
    labels: &BTreeMap<String, String>,
    fleet: &Fleet,
    search: &SecretSearch<'_>,
) -> Result<(), String> {
    for (key, value) in labels {
        refused_label(key, value, search)?;
    }
    for key in &fleet.ssh_keys {
        if let Some(name) = search.find(key.as_bytes()) {
            return Err(format!(
                "`fleet.sshAuthorizedKeys` holds the value of the secret `{name}`: remove it"
            ));
        }
    }
    Ok(())
}
