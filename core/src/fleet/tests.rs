#![allow(clippy::unwrap_used)]
use std::time::Duration;

use insta::assert_snapshot;

use super::*;
use crate::spec::line;

/// Everything that is configurable, each on a line of its own.
const FLEET: &str = r#"{
  "schemaVersion": 8,
  "defaultHost": "one",
  "otherTool": { "anything": [1, { "goes": null }] },
  "hosts": {
    "one": { "agentModelPrimary": "zai/glm-4.7", "adminCidr": "203.0.113.0/24", "theirs": 1 },
    "two": { "agentModelPrimary": "not ours to check" }
  },
  "fleet": {
    "sshAuthorizedKeys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPfZx8gEr2tGSrRdwCNs0t6QFzW6Y6Y0B8M2m5m6p5y me@here"],
    "modelSecrets": { "z.ai": "zai_api_key", "acme": "acme.key" },
    "modelEnv": { "acme": ["ACME_API_KEY"] },
    "theirs": true
  },
  "cattle": {
    "enabled": true,
    "fleet": "prod",
    "hetzner": {
      "image": "123456",
      "serverTypes": ["cx23", "cpx22"],
      "location": "nbg1",
      "maxInstances": 50,
      "defaultTtl": "90m",
      "labels": { "managed-by": "clawdlets", "env": "prod" }
    },
    "defaults": { "autoShutdown": false, "callbackUrl": "" },
    "limits": {
      "images": ["123456", "debian-13"],
      "maxTtl": "12h",
      "liveRunsPerRequester": 7,
      "createsPerHour": 100,
      "unprovenImage": 2
    },
    "budget": { "maxHourly": 1.5, "maxDaily": 20 }
  }
}"#;

fn load(text: &str) -> Result<Fleet, String> {
    Fleet::load("clawdlets.json", text.as_bytes())
        .map_err(|errors| errors.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn with(from: &str, to: &str) -> String {
    assert!(FLEET.contains(from), "the fixture has no {from:?}");
    FLEET.replacen(from, to, 1)
}

fn refused(from: &str, to: &str) -> String {
    load(&with(from, to)).expect_err("accepted")
}

#[test]
fn everything_that_is_configured_is_read() {
    let fleet = load(FLEET).unwrap();
    assert_eq!(fleet.name.as_str(), "prod");
    assert_eq!(fleet.placement.server_types, ["cx23", "cpx22"]);
    assert_eq!(fleet.placement.locations, ["nbg1"]);
    assert_eq!(fleet.default_ttl, Duration::from_secs(5_400));
    assert_eq!(
        fleet.labels,
        BTreeMap::from([("env".to_owned(), "prod".to_owned())])
    );
    assert_eq!(fleet.limits.images, ["123456", "debian-13"]);
    assert_eq!(fleet.limits.locations, ["nbg1"]);
    assert_eq!(fleet.budget.max_daily, "20".parse().ok());
    assert_eq!(fleet.host_model.as_deref(), Some("zai/glm-4.7"));
    assert_eq!(fleet.admin_cidr.as_deref(), Some("203.0.113.0/24"));
    assert!(!fleet.auto_shutdown);
    let (secret, variables) = fleet.model_secret("z-ai/glm-4.7").unwrap();
    assert_eq!(secret.as_str(), "zai_api_key");
    assert_eq!(variables, ["ZAI_API_KEY", "Z_AI_API_KEY"]);
    assert_eq!(fleet.model_secret("acme/x").unwrap().1, ["ACME_API_KEY"]);
    let limits = fleet.limits();
    assert_eq!(
        (limits.max_instances, limits.live_runs_per_requester),
        (50, 7)
    );
    assert_eq!(limits.unproven_image, Some(2));
    assert_eq!(limits.max_ttl, Duration::from_secs(12 * 3_600));
}

#[test]
fn what_is_left_out_has_the_documented_default() {
    let fleet = load(
        r#"{"schemaVersion": 8, "cattle": {"fleet": "a", "hetzner":
            {"image": "1", "serverType": "cx23", "location": "fsn1"}}}"#,
    )
    .unwrap();
    assert!(fleet.enabled && fleet.auto_shutdown);
    assert_eq!(fleet.max_instances, 10);
    assert_eq!(fleet.default_ttl, Duration::from_secs(2 * 3_600));
    assert_eq!(fleet.limits.max_ttl, Duration::from_secs(24 * 3_600));
    assert_eq!(fleet.limits.live_runs_per_requester, 10);
    assert_eq!(fleet.limits.creates_per_hour, 60);
    assert_eq!(fleet.limits.unproven_image, None);
    assert_eq!(fleet.limits.images, ["1"]);
    assert_eq!(fleet.host_model, None);
    assert_eq!(fleet.budget, Budget::default());
}

#[test]
fn the_only_host_is_the_default_one() {
    let one = with(
        "    \"two\": { \"agentModelPrimary\": \"not ours to check\" }\n",
        "",
    )
    .replace("\"theirs\": 1 },", "\"theirs\": 1 }")
    .replace("  \"defaultHost\": \"one\",\n", "");
    assert_eq!(load(&one).unwrap().default_host.as_deref(), Some("one"));
    let none = load(&with("  \"defaultHost\": \"one\",\n", "")).unwrap();
    assert_eq!(none.host_model, None);
}

#[test]
fn a_yaml_file_is_read_as_well() {
    let yaml = "schemaVersion: 8\ncattle:\n  fleet: a\n  hetzner: { image: 0123, serverType: cx23, location: fsn1 }\n";
    assert_eq!(load(yaml).unwrap().placement.image, "0123");
}

#[test]
fn each_mistake_has_its_place_and_its_hint() {
    assert_snapshot!(refused("\"schemaVersion\": 8", "\"schemaVersion\": 7"), @"clawdlets.json:2:20: `schemaVersion` must be 8, this is `7`");
    assert_snapshot!(refused("  \"schemaVersion\": 8,\n", ""), @"clawdlets.json:1:1: missing field `schemaVersion` (this version reads 8)");
    assert_snapshot!(refused("\"maxInstances\"", "\"maxInstance\""), @"clawdlets.json:22:7: unknown field `maxInstance` in `cattle.hetzner` (did you mean `maxInstances`?)");
    assert_snapshot!(refused("\"budget\"", "\"budgets\""), @"clawdlets.json:34:5: unknown field `budgets` in `cattle` (did you mean `budget`?)");
    assert_snapshot!(refused("\"defaultHost\": \"one\"", "\"defaultHost\": \"on\""), @"clawdlets.json:3:18: `defaultHost` names `on`, which is not in `hosts` (did you mean `one`?)");
    assert_snapshot!(refused("\"fleet\": \"prod\"", "\"fleet\": \"Prod\""), @"clawdlets.json:17:14: `cattle.fleet`: a fleet name is made of a-z, 0-9 and `-`, begins with a letter and does not end with `-`");
    assert_snapshot!(refused("      \"serverTypes\": [\"cx23\", \"cpx22\"],\n", ""), @"clawdlets.json:18:16: missing field `cattle.hetzner.serverTypes` (or `serverType` for a single one)");
    assert_snapshot!(refused("[\"cx23\", \"cpx22\"]", "[\"cx23\", \"cx23\"]"), @"clawdlets.json:20:31: `cx23` is in `cattle.hetzner.serverTypes` twice");
    assert_snapshot!(refused("50", "-1"), @"clawdlets.json:22:23: `cattle.hetzner.maxInstances` must be a whole number from 0 to 10000, this is `-1`");
    assert_snapshot!(refused("\"90m\"", "90"), @"clawdlets.json:23:21: `cattle.hetzner.defaultTtl`: `90` is not a duration: write a number and one of s, m, h, d, as in `90m`");
    assert_snapshot!(refused("\"90m\"", "\"13h\""), @"clawdlets.json:23:21: `cattle.hetzner.defaultTtl` is longer than `cattle.limits.maxTtl` (a spec without a `ttl` could never start)");
    assert_snapshot!(refused("\"env\": \"prod\"", "\"run\": \"x\""), @"clawdlets.json:24:46: label key `run` is reserved");
    assert_snapshot!(refused("\"managed-by\": \"clawdlets\"", "\"managed-by\": \"me\""), @"clawdlets.json:24:19: label key `managed-by` is reserved");
    assert_snapshot!(refused("\"callbackUrl\": \"\"", "\"callbackUrl\": \"https://example.org\""), @"clawdlets.json:26:57: `cattle.defaults.callbackUrl` must be empty: a guest calls nobody back (read results with `clawdlets cattle result`)");
    assert_snapshot!(refused("1.5", "\"a lot\""), @"clawdlets.json:34:30: `cattle.budget.maxHourly` must be an amount of money, zero or more");
    assert_snapshot!(refused("1.5", "-1"), @"clawdlets.json:34:30: `cattle.budget.maxHourly` must be an amount of money, zero or more");
    assert_snapshot!(refused("\"zai/glm-4.7\"", "\"glm-4.7\""), @"clawdlets.json:6:35: `hosts.one.agentModelPrimary`: `glm-4.7` is not a model (write `provider/model`, as in `zai/glm-4.7`)");
    assert_snapshot!(refused("[\"123456\", \"debian-13\"]", "[\"debian-13\"]"), @"clawdlets.json:28:7: `cattle.limits.images` lacks the fleet's own choice `123456`");
}

#[test]
fn a_retired_server_type_is_refused_and_its_replacement_named() {
    assert_snapshot!(refused("cx23", "cx22"), @"clawdlets.json:20:23: server type `cx22` was retired at the end of 2025 (use `cx23`)");
    assert_snapshot!(refused("cx23", "cpx31"), @"clawdlets.json:20:23: server type `cpx31` was retired outside `ash` and `hil` at the end of 2025 (use `cpx32`)");
    let american = with("cx23", "cpx31").replace("\"nbg1\"", "\"hil\"");
    assert!(load(&american).is_ok());
}

#[test]
fn an_image_may_be_named_by_its_labels() {
    let text = FLEET.replace("123456", "role=cattle-image");
    let fleet = load(&text).unwrap();
    assert_eq!(fleet.placement.image, "role=cattle-image");
    assert_eq!(fleet.limits.images, ["role=cattle-image", "debian-13"]);
    assert_snapshot!(refused("\"debian-13\"", "\"role=a b\""), @"clawdlets.json:28:28: `cattle.limits.images`: `a b` is not a label value: at most 63 of A-Z, a-z, 0-9, `.`, `_`, `-`, first and last alphanumeric (write an id, a name as `debian-13`, or labels as `role=cattle-image`)");
}

#[test]
fn only_lines_that_look_like_openssh_keys_pass() {
    assert_snapshot!(refused("ssh-ed25519 AAAA", "AAAA"), @"clawdlets.json:10:27: `fleet.sshAuthorizedKeys[0]` is not an OpenSSH public key (write one line as in a `.pub` file: `ssh-ed25519 AAAA… comment`)");
    for key in [
        "ssh-ed25519",
        "ssh-ed25519 not-base64!",
        "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIGPfZx8gEr2tGSrRdwCNs0t6QFzW6Y6Y0B8M2m5m6p5y",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "ssh-ed25519 //////////8=",
    ] {
        let (before, rest) = FLEET.split_once("ssh-ed25519 ").unwrap();
        let (_, after) = rest.split_once("me@here").unwrap();
        assert!(load(&format!("{before}{key}{after}")).is_err(), "{key}");
    }
}

#[test]
fn a_model_secret_is_never_one_of_the_controllers_own_credentials() {
    assert_snapshot!(refused("zai_api_key", "hcloud_token"), @"clawdlets.json:11:31: `hcloud_token` is one of the controller's own credentials and is never handed to a guest (keep the provider's API key in a secret of its own)");
    for name in [
        "HCLOUD_TOKEN",
        "hcloud-token",
        "tailscale_oauth",
        "tailscale.api",
        "github_token",
        "GITHUB-TOKEN",
        "hetzner_api_token",
    ] {
        assert!(load(&with("zai_api_key", name)).is_err(), "{name}");
    }
    assert!(load(&with("zai_api_key", "github_copilot_token")).is_ok());
    for name in ["../etc/passwd", ".hidden", "a/b", "", "a b"] {
        assert!(load(&with("zai_api_key", name)).is_err(), "{name}");
    }
}

#[test]
fn providers_are_named_once_and_unknown_ones_are_others() {
    let fleet = load(&with("\"z.ai\"", "\"brave\"")).unwrap();
    assert!(fleet.model_secrets.contains_key("brave"));
    assert_eq!(fleet.model_secret("brave/x"), None);
    assert_snapshot!(refused("\"z.ai\": \"zai_api_key\"", "\"z.ai\": \"zai_api_key\", \"zai\": \"b\""), @"clawdlets.json:11:46: provider `zai` is in `fleet.modelSecrets` twice");
    assert_snapshot!(refused("ACME_API_KEY", "LD_PRELOAD"), @"clawdlets.json:12:28: `LD_PRELOAD` cannot be set for a provider (environment variables match `[A-Z][A-Z0-9_]*_(KEY|TOKEN)`)");
}

#[test]
fn duplicate_keys_are_errors_where_the_file_is_ours() {
    assert_snapshot!(refused("\"enabled\": true", "\"enabled\": true, \"enabled\": false"), @"clawdlets.json:16:22: duplicate key `enabled` (first on line 16)");
    assert!(
        load(&with(
            "\"otherTool\": {",
            "\"otherTool\": {}, \"otherTool\": {"
        ))
        .is_ok()
    );
}
