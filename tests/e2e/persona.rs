//! What a guest finds when it looks around.

use std::{fs, path::PathBuf};

use cattle_schemas::guest::paths;
use cattle_tests::{Controller, MODEL_KEY, Project, Sim, SimOptions, cli};
use serde_json::{Value, json};

/// Where a running cattle's guest lives.
fn root(project: &Project, sim: &Sim, cattle: &str) -> PathBuf {
    let server = sim.servers_of(cattle).remove(0);
    project.guests().join(server["id"].to_string())
}

fn read(root: &std::path::Path, path: &str) -> String {
    let path = root.join(path.trim_start_matches('/'));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn persona_and_task_are_where_the_documentation_says() {
    let project = Project::new();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    let spec = Project::spec("sleep 300", &["  taskId: Issue 42/b"]).replace(
        "taskId",
        "callbackUrl: https://example.org/call-me\n    taskId",
    );
    project.drop_spec("worker", &spec);
    project.wait_for("worker", "/phase", &json!("Running"));

    let root = root(&project, &sim, "worker");

    let persona = project.path().join("cattle/personas/rex");
    for (inside, file) in [
        (paths::SOUL, "SOUL.md"),
        (
            "/var/lib/clawdlets/cattle/persona/skills/bisect/SKILL.md",
            "skills/bisect/SKILL.md",
        ),
        (
            "/var/lib/clawdlets/cattle/persona/memory/conventions.md",
            "memory/conventions.md",
        ),
    ] {
        let wanted = fs::read_to_string(persona.join(file)).unwrap();
        assert_eq!(read(&root, inside), wanted, "{inside}");
    }
    // Repacked: user_data has little room.
    let config: Value = serde_json::from_str(&read(&root, paths::PERSONA_CONFIG)).unwrap();
    let written = fs::read(persona.join("config.json")).unwrap();
    assert_eq!(config, serde_json::from_slice::<Value>(&written).unwrap());
    let task: Value = serde_json::from_str(&read(&root, paths::TASK)).unwrap();
    assert_eq!(
        task,
        json!({
            "schemaVersion": 1,
            "taskId": "Issue 42/b",
            "type": "clawdbot.gateway.agent",
            "message": "sleep 300",
            "callbackUrl": "",
        })
    );
    assert!(root.join(paths::WORKSPACE.trim_start_matches('/')).is_dir());
}

#[test]
fn the_model_is_the_specs_else_the_personas_else_the_hosts() {
    let project = Project::new();
    project.configure(|fleet| {
        fleet["hosts"]["clawd-1"]["agentModelPrimary"] = json!("zai/of-the-host");
    });
    let rex = project.path().join("cattle/personas/rex/config.json");
    fs::write(rex, r#"{"model":{"primary":"zai/of-the-persona"}}"#).unwrap();
    let sim = Sim::start(&project, &SimOptions::default());
    let _controller = Controller::start(&project, &sim, &[]);
    // The runner says which model it was given.
    let spawn = |name: &str, more: &[&str]| {
        let mut args = vec!["cattle", "spawn", "--name", name, "--message", "env MODEL"];
        args.extend(more);
        assert_eq!(
            cli(&project, "clawdlets", &args).ok().stdout,
            format!("{name}\n")
        );
    };

    spawn(
        "from-spec",
        &["--persona", "rex", "--model", "zai/of-the-spec"],
    );
    spawn("from-persona", &["--persona", "rex"]);
    spawn("from-host", &["--persona", "ada"]);

    for (name, model) in [
        ("from-spec", "zai/of-the-spec"),
        ("from-persona", "zai/of-the-persona"),
        ("from-host", "zai/of-the-host"),
    ] {
        let status = project.wait_for(name, "/phase", &json!("Succeeded"));
        assert_eq!(status["spec"]["model"], model);
        let logs = project.clawdlets(&["cattle", "logs", name]).ok();
        assert!(logs.stdout.contains(model), "{logs:?}");
        assert!(!logs.stdout.contains(MODEL_KEY));
    }
}
