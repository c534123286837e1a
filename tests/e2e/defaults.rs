//! A default that is written out, or left out again, is no edit; and what an older version left behind is
//! taken up as it stands.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use cattle_controller::store::{Edit, RunFilter, SqliteStore, Store};
use cattle_core::{
    ledger::{Assignment, Run},
    names::ServerId,
};
use cattle_schemas::Timestamp;
use cattle_tests::{Controller, Project, Sim, SimOptions, eventually};
use serde_json::{Value, json};

/// Everything that has a default, as the project's defaults are.
const WRITTEN: [&str; 3] = [
    "model: zai/glm-4.7",
    "withGithubToken: false",
    "autoShutdown: true",
];

/// What a plan would begin or end.
fn verbs(plan: &Value) -> Vec<String> {
    let harmless = ["relabel", "mark-booted"];
    let actions = plan["actions"].as_array().unwrap().iter();
    actions
        .filter(|action| !harmless.contains(&action["verb"].as_str().unwrap()))
        .map(|action| format!("{} {}", action["verb"].as_str().unwrap(), action["cattle"]))
        .collect()
}

#[test]
fn a_default_that_is_written_out_reruns_nothing_and_replaces_nothing() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    project.drop_spec("done", &Project::spec("ok", &[]));
    project.drop_spec("live", &Project::spec("wait finish", &[]));
    project.wait_for("done", "/phase", &json!("Succeeded"));
    let live = project.wait_for("live", "/phase", &json!("Running"));
    let hashes = |name: &str| project.status(name).unwrap()["spec"]["specHash"].clone();
    let known = ["done", "live"].map(hashes);
    for lines in [&WRITTEN[..], &WRITTEN[1..2], &[], &WRITTEN[..1]] {
        project.drop_spec("done", &Project::spec("ok", lines));
        project.drop_spec("live", &Project::spec("wait finish", lines));
        // A plan's pass began after the files were there.
        assert_eq!(verbs(&project.plan()), [""; 0], "{lines:?}");
        assert_eq!(["done", "live"].map(hashes), known, "{lines:?}");
    }
    // Another default changes nothing of what is there, whichever way it is written.
    project.configure(|fleet| {
        fleet["hosts"]["clawd-1"]["agentModelPrimary"] = json!("zai/glm-5");
        fleet["cattle"]["defaults"]["autoShutdown"] = json!(false);
    });
    for lines in [&[][..], &WRITTEN[..]] {
        project.drop_spec("live", &Project::spec("wait finish", lines));
        assert_eq!(verbs(&project.plan()), [""; 0], "{lines:?}");
    }
    let still = project.status("live").unwrap();
    assert_eq!(still["run"]["run"], live["run"]["run"]);
    fs::write(project.ran().join("finish"), "").unwrap();
    project.wait_for("live", "/phase", &json!("Succeeded"));
    assert_eq!((project.runs_of("done"), project.runs_of("live")), (1, 1));
    // Another value is an edit.
    project.drop_spec("done", &Project::spec("ok", &["model: zai/other"]));
    eventually("it runs again", || {
        (project.runs_of("done") == 2).then_some(())
    });
}

#[test]
fn applying_a_default_that_is_written_out_configures_and_replaces_nothing() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    let file = project.around().join("sent.yaml");
    let apply = |lines: &[&str]| {
        fs::write(&file, Project::spec("wait finish", lines)).unwrap();
        let applied = project.clawdlets(&["cattle", "apply", "-f", file.to_str().unwrap()]);
        applied.ok().stdout
    };
    apply(&[]);
    let live = project.wait_for("sent", "/phase", &json!("Running"));
    for lines in [&WRITTEN[..], &[]] {
        let said = apply(lines);
        assert!(said.contains("configured"), "{said}");
    }
    let still = project.status("sent").unwrap();
    assert_eq!(still["run"]["run"], live["run"]["run"]);
    fs::write(project.ran().join("finish"), "").unwrap();
    project.wait_for("sent", "/phase", &json!("Succeeded"));
    assert_eq!(project.runs_of("sent"), 1);
}

/// The state and the project that an older version left, placed in this one.
fn left_behind(project: &Project) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ledger-0.1.0-dev");
    fs::remove_dir_all(project.path().join("cattle")).unwrap();
    copy(&fixture.join("cattle"), &project.path().join("cattle"));
    copy(&fixture.join("fleet"), &project.path().join("fleet"));
    copy(&fixture.join("state"), &project.state());
    fs::write(
        project.secrets().join("github_token"),
        "not-a-token-0123456789abcdef",
    )
    .unwrap();
}

fn copy(from: &Path, to: &Path) {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut dir = fs::DirBuilder::new();
    dir.recursive(true).mode(0o700).create(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Makes the servers that it had, and its ledger one of a minute ago with the numbers that they have
/// now. Their guests are gone: it is forgotten that they were heard, so that nobody waits for them.
fn servers_of(project: &Project, sim: &Sim) -> BTreeMap<String, String> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ledger-0.1.0-dev");
    let servers = fs::read(fixture.join("servers.json")).unwrap();
    let servers: Vec<Value> = serde_json::from_slice(&servers).unwrap();
    let mut ids: BTreeMap<ServerId, ServerId> = BTreeMap::new();
    for server in &servers {
        let made = sim.call(
            "POST",
            "/v1/servers",
            Some(&json!({
                "name": server["name"], "server_type": server["server_type"], "image": "123456",
                "location": server["location"], "labels": server["labels"],
            })),
        );
        let id = |server: &Value| ServerId(server["id"].as_u64().unwrap());
        ids.insert(id(server), id(&made["server"]));
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(&project.state().join("state.sqlite"))
            .await
            .unwrap();
        let runs = store.runs(RunFilter::default()).await.unwrap();
        let last = runs.iter().map(|run| run.created_at).max().unwrap();
        let now = Timestamp::from(chrono::Utc::now());
        let by = now - Duration::from_secs(60) - last;
        let mut edits = Vec::new();
        for run in &runs {
            let ids = ids.clone();
            edits.push(Edit::Run {
                id: run.id,
                edit: Box::new(move |run: &mut Run, assignment: &mut Option<Assignment>| {
                    let dates = [&mut run.created_at, &mut run.posted_at, &mut run.expires_at];
                    dates.into_iter().for_each(|date| *date += by);
                    for date in [
                        &mut run.booted_at,
                        &mut run.env_at,
                        &mut run.started_at,
                        &mut run.called_at,
                    ] {
                        *date = date.map(|date| date + by);
                    }
                    if let Some(wait) = &mut run.retry_at {
                        wait.until += by;
                    }
                    run.last_seen_at = None;
                    if let Some(server) = &mut run.server {
                        server.id = ids.get(&server.id).copied().unwrap_or(server.id);
                        server.created = server.created.map(|date| date + by);
                    }
                    if let Some(assignment) = assignment {
                        assignment.queued_at += by;
                    }
                    Some(Vec::new())
                }),
            });
        }
        let waits = store
            .assignments("waits-room".parse().unwrap())
            .await
            .unwrap();
        edits.push(Edit::Assignment {
            cattle: "waits-room".parse().unwrap(),
            hash: waits[0].0.clone(),
            edit: Box::new(move |assignment: &mut Option<Assignment>| {
                assignment.as_mut()?.queued_at += by;
                Some(Vec::new())
            }),
        });
        store.commit(edits, now).await.unwrap();
        store.close().await;
        let live = runs
            .iter()
            .filter(|run| run.is_live() && run.server.is_some());
        live.map(|run| (run.cattle.to_string(), run.id.to_string()))
            .collect()
    })
}

#[test]
fn what_an_older_version_left_behind_goes_on_and_what_had_ended_stays_so() {
    let project = Project::new();
    left_behind(&project);
    let options = SimOptions {
        without_guests: true,
        ..SimOptions::default()
    };
    let sim = Sim::start(&project, &options);
    let live = servers_of(&project, &sim);
    assert_eq!(live.len(), 4);
    let asked = sim.last_call();
    let _controller = Controller::start(&project, &sim, &[]);
    let as_it_was = || {
        for (name, run) in &live {
            let status = project.status(name).unwrap_or_else(|| panic!("no {name}"));
            assert_eq!(status["phase"], "Running", "{status:#}");
            assert_eq!(status["run"]["run"], **run, "{status:#}");
        }
        for name in [
            "done-plain",
            "done-ada",
            "done-file",
            "done-model",
            "done-github",
            "edited",
            "from-socket",
        ] {
            let status = project.status(name).unwrap_or_else(|| panic!("no {name}"));
            assert_eq!(status["phase"], "Succeeded", "{status:#}");
        }
        let phase = |name: &str| project.status(name).unwrap()["phase"].clone();
        assert_eq!(phase("failed-switches"), "Failed");
        assert_eq!(phase("destroyed"), "Canceled");
        assert_eq!(phase("waits-room"), "Pending");
        assert_eq!(phase("waits-stock"), "Pending");
        let writes = sim.writes_since(asked);
        // Labels may be brought up to date, and the firewall; nothing begins and nothing ends.
        let harmless = |write: &&String| {
            write.starts_with("PUT /v1/servers/") || write.contains("/v1/firewalls")
        };
        let others: Vec<_> = writes.iter().filter(|write| !harmless(write)).collect();
        assert_eq!(others, [""; 0]);
    };
    project.wait_for("live-plain", "/phase", &json!("Running"));
    eventually("the first list was made", || {
        project.get("/readyz").filter(|(status, _)| *status == 200)
    });
    assert_eq!(verbs(&project.plan()), [""; 0]);
    as_it_was();
    // Every default written out that a spec does not write, and left out where it does.
    for entry in fs::read_dir(project.specs()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut text = fs::read_to_string(&path).unwrap();
        for line in WRITTEN {
            let key = line.split(':').next().unwrap();
            let written = format!("  {line}\n");
            if text.contains(&written) {
                text = text.replace(&written, "");
            } else if !text.contains(&format!("  {key}:")) {
                text.push_str(&written);
            }
        }
        project.drop_spec(&name, &text);
    }
    assert_eq!(verbs(&project.plan()), [""; 0]);
    as_it_was();
}
