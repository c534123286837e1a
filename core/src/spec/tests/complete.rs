//! A spec against its surroundings.

use std::time::Duration;

use insta::assert_snapshot;

use super::fixture::{FLEET, SPEC, complete, complete_with, fleet, persona, show, with};
use crate::{
    desired::Authority,
    fleet::Fleet,
    spec::{line, parse_for, render},
};

const MINIMAL: &str = "\
apiVersion: clawdlets.dev/v1
kind: Cattle
spec:
  persona: rex
  task: { message: hello }
";

fn refused(result: Result<crate::desired::Cattle, String>) -> String {
    result.expect_err("accepted")
}

#[test]
fn a_minimal_spec_gets_every_default() {
    let cattle = complete(MINIMAL).unwrap();
    assert_eq!(cattle.task.task_id, "rex-1");
    assert_eq!(cattle.task.kind, "clawdbot.gateway.agent");
    assert_eq!(cattle.task.schema_version, 1);
    assert_eq!(cattle.ttl, Duration::from_secs(2 * 3_600));
    assert_eq!(cattle.start_within, Duration::from_secs(24 * 3_600));
    assert!(cattle.auto_shutdown && !cattle.with_github_token);
    assert_eq!(cattle.placement, fleet().placement);
}

#[test]
fn nobody_is_called_back_whatever_is_written() {
    let text = with(
        "    message: Fix",
        "    callbackUrl: https://example.org/hook\n    message: Fix",
    );
    assert_eq!(complete(&text).unwrap().task.callback_url, "");
}

#[test]
fn the_specs_model_wins_over_the_personas_and_that_over_the_hosts() {
    let ours = |text: &str, config: &str| {
        let persona = persona(config);
        complete_with(text, |around| around.persona = Ok(persona))
            .unwrap()
            .model
    };
    let config = r#"{"model":{"primary":"zai/persona-model"}}"#;
    assert_eq!(ours(SPEC, config), "zai/glm-4.7");
    assert_eq!(ours(MINIMAL, config), "zai/persona-model");
    assert_eq!(ours(MINIMAL, "{}"), "openai/host-model");
    let nobody = complete_with(MINIMAL, |around| around.fleet.host_model = None);
    assert_snapshot!(refused(nobody), @"specs/rex-1.yaml:4:3: no model: neither the spec, nor the persona, nor the host names one (set `spec.model`, the persona's `model.primary`, or `hosts.<defaultHost>.agentModelPrimary`)");
}

#[test]
fn a_model_needs_a_known_provider_with_a_key() {
    assert_snapshot!(refused(complete(&with("zai/glm", "anthropic/claude"))), @"specs/rex-1.yaml:15:10: missing modelSecrets entry for anthropic (set `fleet.modelSecrets.anthropic` to the name of the secret with its API key)");
    assert_snapshot!(refused(complete(&with("zai/glm", "opanai/gpt"))), @"specs/rex-1.yaml:15:10: unknown model provider `opanai` (did you mean `openai`?)");
    assert_snapshot!(refused(complete(&with("zai/glm", "acme/gpt"))), @"specs/rex-1.yaml:15:10: unknown model provider `acme` (set its environment variables in `fleet.modelEnv.acme`)");
    let alias = complete(&with("zai/glm-4.7", "z.ai/glm-4.7")).unwrap();
    assert_eq!(
        fleet().model_secret(&alias.model).unwrap().0.as_str(),
        "zai_api_key"
    );
    let custom = complete_with(&with("zai/glm", "acme/gpt"), |around| {
        around
            .fleet
            .model_env
            .insert("acme".into(), vec!["ACME_KEY".into()]);
        around
            .fleet
            .model_secrets
            .insert("acme".into(), "acme_key".parse().unwrap());
    });
    assert!(custom.is_ok());
}

#[test]
fn choices_stay_within_the_fleets_limits() {
    assert_snapshot!(refused(complete(&with("ttl: 2h", "ttl: 25h"))), @"specs/rex-1.yaml:13:8: `spec.ttl` is 25h, at most 1d are allowed (the bound is `cattle.limits.maxTtl`)");
    assert_snapshot!(refused(complete(&with("\"123456\"", "debian-13"))), @"specs/rex-1.yaml:19:12: image `debian-13` is not in `cattle.limits.images` (allowed: `123456`)");
    assert_snapshot!(refused(complete(&with("cpx22", "ccx63"))), @"specs/rex-1.yaml:20:25: server type `ccx63` is not in `cattle.limits.serverTypes` (allowed: `cx23`, `cpx22`)");
    assert_snapshot!(refused(complete(&with("fsn1", "ash"))), @"specs/rex-1.yaml:21:23: location `ash` is not in `cattle.limits.locations` (allowed: `nbg1`, `fsn1`)");
    assert!(complete(&with("ttl: 2h", "ttl: 24h")).is_ok());
}

#[test]
fn an_image_may_be_named_by_its_labels() {
    let text = with("\"123456\"", "role=cattle-image,env in (dev,prod)");
    let cattle = complete_with(&text, |around| {
        let allowed = "role=cattle-image,env in (dev,prod)".to_owned();
        around.fleet.limits.images.push(allowed);
    });
    assert_eq!(
        cattle.unwrap().placement.image,
        "role=cattle-image,env in (dev,prod)"
    );
}

#[test]
fn a_retired_server_type_is_refused_and_its_replacement_named() {
    assert_snapshot!(refused(complete(&with("cx23", "cx22"))), @"specs/rex-1.yaml:20:19: server type `cx22` was retired at the end of 2025 (use `cx23`)");
    let american = |around: &mut super::fixture::Surroundings| {
        around.fleet.limits.server_types.push("cpx11".to_owned());
        around.fleet.limits.locations.push("ash".to_owned());
        around.fleet.placement.server_types = vec!["cpx11".to_owned()];
        around.fleet.placement.locations = vec!["ash".to_owned()];
    };
    let text = with("cx23", "cpx11");
    assert_snapshot!(refused(complete_with(&text, american)), @"specs/rex-1.yaml:20:19: server type `cpx11` was retired outside `ash` and `hil` at the end of 2025 (use `cpx12`)");
    assert!(complete_with(&text.replace("fsn1", "ash"), american).is_ok());
    // Its type is the fleet's, its locations are its own.
    let text = with("    serverTypes: [cx23, cpx22]\n", "");
    assert_snapshot!(refused(complete_with(&text, american)), @"specs/rex-1.yaml:20:17: server type `cpx11` was retired outside `ash` and `hil` at the end of 2025 (use `cpx12`)");
    assert!(complete_with(MINIMAL, american).is_ok());
}

#[test]
fn the_github_token_is_for_operators() {
    let text = with("withGithubToken: false", "withGithubToken: true");
    assert!(complete(&text).unwrap().with_github_token);
    let bot = complete_with(&text, |around| around.authority = Authority::Bot);
    assert_snapshot!(refused(bot), @"specs/rex-1.yaml:16:20: `spec.withGithubToken` is for operators only (remove it, or have an operator apply the spec)");
    let bot = complete_with(SPEC, |around| around.authority = Authority::Bot);
    assert!(bot.is_ok());
}

#[test]
fn an_unreadable_persona_is_reported_where_it_is_named() {
    let why = "no such directory: cattle/personas/rex".to_owned();
    let result = complete_with(MINIMAL, |around| around.persona = Err(why));
    assert_snapshot!(refused(result), @"specs/rex-1.yaml:4:12: persona `rex`: no such directory: cattle/personas/rex");
}

#[test]
fn errors_of_the_file_and_against_the_fleet_come_together() {
    let text = with("ttl: 2h", "ttl: 25h").replace("autoShutdown", "autoShutDown");
    let errors = parse_for(
        "rex-1.yaml",
        "rex-1",
        text.as_bytes(),
        &fleet(),
        Authority::Bot,
    )
    .unwrap_err();
    assert_snapshot!(show(&errors), @r#"
    rex-1.yaml:13:8: `spec.ttl` is 25h, at most 1d are allowed (the bound is `cattle.limits.maxTtl`)
    rex-1.yaml:17:3: unknown field `autoShutDown` in `spec` (did you mean `autoShutdown`?)
    "#);
}

#[test]
fn errors_are_shown_with_the_line_they_are_about() {
    let text = with("ttl: 2h", "ttl: 25h").replace("autoShutdown", "autoShutDown");
    let errors = parse_for(
        "specs/rex-1.yaml",
        "rex-1",
        text.as_bytes(),
        &fleet(),
        Authority::Bot,
    )
    .unwrap_err();
    assert_snapshot!(render(&errors, Some(&text), false), @r#"
    error: `spec.ttl` is 25h, at most 1d are allowed
      --> specs/rex-1.yaml:13:8
       |
    13 |   ttl: 25h
       |        ^^^
       |
       = help: the bound is `cattle.limits.maxTtl`

    error: unknown field `autoShutDown` in `spec`
      --> specs/rex-1.yaml:17:3
       |
    17 |   autoShutDown: true
       |   ^^^^^^^^^^^^
       |
       = help: did you mean `autoShutdown`?
    "#);
    assert_snapshot!(render(&errors[..1], None, false), @r#"
    error: `spec.ttl` is 25h, at most 1d are allowed
    --> specs/rex-1.yaml:13:8
     = help: the bound is `cattle.limits.maxTtl`
    "#);
    assert!(render(&errors, Some(&text), true).contains("\u{1b}["));
    assert_snapshot!(line(&errors[0]), @"specs/rex-1.yaml:13:8: `spec.ttl` is 25h, at most 1d are allowed (the bound is `cattle.limits.maxTtl`)");
}

#[test]
fn a_limit_that_lacks_the_fleets_own_choice_is_an_error_of_the_fleet() {
    let text = FLEET.replace(
        "\"fleet\": \"test\"",
        "\"fleet\": \"test\", \"limits\": { \"serverTypes\": [\"cx23\"] }",
    );
    let errors = Fleet::load("clawdlets.json", text.as_bytes()).unwrap_err();
    assert_snapshot!(show(&errors), @"clawdlets.json:7:34: `cattle.limits.serverTypes` lacks the fleet's own choice `cpx22`");
}

#[test]
fn an_error_after_wide_characters_is_pointed_at_where_it_is() {
    let text = with("{ team: docs }", "{ größe: xl, 大小: xl, run: x }");
    let errors = crate::spec::parse("rex-1.yaml", "rex-1", text.as_bytes()).unwrap_err();
    assert_snapshot!(render(&errors, Some(&text), false), @r#"
    error: `größe` is not a label key: 1 to 58 of A-Z, a-z, 0-9, `.`, `_`, `-`, first and last alphanumeric
     --> rex-1.yaml:5:13
      |
    5 |   labels: { größe: xl, 大小: xl, run: x }
      |             ^^^^^

    error: `大小` is not a label key: 1 to 58 of A-Z, a-z, 0-9, `.`, `_`, `-`, first and last alphanumeric
     --> rex-1.yaml:5:24
      |
    5 |   labels: { größe: xl, 大小: xl, run: x }
      |                        ^^^^

    error: label key `run` is reserved
     --> rex-1.yaml:5:32
      |
    5 |   labels: { größe: xl, 大小: xl, run: x }
      |                                  ^^^
    "#);
}

#[test]
fn what_a_file_says_cannot_act_on_the_terminal() {
    let text = with("team: docs", "team: \"\\e[2Jx\\u202e\"");
    let errors = crate::spec::parse("a\u{1b}b.yaml", "rex-1", text.as_bytes()).unwrap_err();
    let shown = render(&errors, Some(&text), false) + &show(&errors);
    assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
    assert!(shown.contains("\\u{1b}[2Jx"), "{shown}");
}

#[test]
fn an_error_at_a_wide_space_is_shown_too() {
    let text = SPEC.replace("\n  labels", "\n\u{2000} labels");
    let errors = crate::spec::parse("rex-1.yaml", "rex-1", text.as_bytes()).unwrap_err();
    assert!(render(&errors, Some(&text), false).contains("rex-1.yaml:5:1"));
}
