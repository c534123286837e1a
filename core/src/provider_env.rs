//! Which environment variables a model provider's API key is handed over in.

use std::collections::BTreeMap;

/// Canonical name, other spellings, variables. Each agent reads its own of the variables, so all
/// of them are set.
const PROVIDERS: &[(&str, &[&str], &[&str])] = &[
    ("anthropic", &[], &["ANTHROPIC_API_KEY"]),
    ("cerebras", &[], &["CEREBRAS_API_KEY"]),
    ("chutes", &[], &["CHUTES_API_KEY"]),
    ("deepgram", &[], &["DEEPGRAM_API_KEY"]),
    ("github-copilot", &[], &["COPILOT_GITHUB_TOKEN"]),
    ("google", &[], &["GEMINI_API_KEY"]),
    ("groq", &[], &["GROQ_API_KEY"]),
    ("kimi-code", &[], &["KIMICODE_API_KEY"]),
    ("minimax", &[], &["MINIMAX_API_KEY"]),
    ("mistral", &[], &["MISTRAL_API_KEY"]),
    ("moonshot", &[], &["MOONSHOT_API_KEY"]),
    ("openai", &[], &["OPENAI_API_KEY"]),
    (
        "opencode",
        &[],
        &["OPENCODE_API_KEY", "OPENCODE_ZEN_API_KEY"],
    ),
    ("openrouter", &[], &["OPENROUTER_API_KEY"]),
    ("qwen-portal", &[], &["QWEN_PORTAL_API_KEY"]),
    ("synthetic", &[], &["SYNTHETIC_API_KEY"]),
    ("vercel-ai-gateway", &[], &["AI_GATEWAY_API_KEY"]),
    ("xai", &[], &["XAI_API_KEY"]),
    ("zai", &["z.ai", "z-ai"], &["ZAI_API_KEY", "Z_AI_API_KEY"]),
];

/// The environment variable of the GitHub token, where a spec asks for it and an operator wrote it.
pub const GITHUB_TOKEN_ENV: &str = "GITHUB_TOKEN";

/// The longest name of an environment variable that the configuration may add.
const MAX_ENV_NAME: usize = 64;

/// The one name that a provider goes by here: `z.ai` and `z-ai` are `zai`; a provider that is not
/// in the table keeps its own.
#[must_use]
pub fn canonical(provider: &str) -> &str {
    PROVIDERS
        .iter()
        .find(|(name, aliases, _)| *name == provider || aliases.contains(&provider))
        .map_or(provider, |(name, ..)| name)
}

/// Names in the table, aliases included, for suggestions.
pub(crate) fn known() -> impl Iterator<Item = &'static str> {
    PROVIDERS
        .iter()
        .flat_map(|(name, aliases, _)| std::iter::once(*name).chain(aliases.iter().copied()))
}

/// The variables for a provider: those of the table, then those the configuration adds. `custom`
/// has canonical names. `None` for a provider nobody knows.
#[must_use]
pub fn env_names(provider: &str, custom: &BTreeMap<String, Vec<String>>) -> Option<Vec<String>> {
    let provider = canonical(provider);
    let table = PROVIDERS
        .iter()
        .find(|(name, ..)| *name == provider)
        .map(|(_, _, variables)| *variables);
    let added = custom.get(provider);
    if table.is_none() && added.is_none() {
        return None;
    }
    let mut names: Vec<String> = table
        .unwrap_or_default()
        .iter()
        .map(|&name| name.to_owned())
        .collect();
    for name in added.into_iter().flatten() {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    Some(names)
}

/// Whether the configuration may add this variable: `[A-Z][A-Z0-9_]*_(KEY|TOKEN)`.
#[must_use]
pub fn is_env_name(name: &str) -> bool {
    let Some(stem) = name
        .strip_suffix("_KEY")
        .or_else(|| name.strip_suffix("_TOKEN"))
    else {
        return false;
    };
    name.len() <= MAX_ENV_NAME
        && stem.starts_with(|c: char| c.is_ascii_uppercase())
        && stem
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_spelling_of_a_provider_gives_the_same_variables() {
        for spelling in ["zai", "z.ai", "z-ai"] {
            let names = env_names(spelling, &BTreeMap::new());
            assert_eq!(
                names.as_deref(),
                Some(&["ZAI_API_KEY".to_owned(), "Z_AI_API_KEY".to_owned()][..])
            );
        }
    }

    #[test]
    fn the_table_holds_only_names_that_the_configuration_could_hold_too() {
        for (provider, _, variables) in PROVIDERS {
            assert!(!variables.is_empty(), "{provider}");
            for name in *variables {
                assert!(is_env_name(name), "{name}");
            }
        }
    }

    #[test]
    fn the_configuration_adds_providers_and_variables() {
        let custom = BTreeMap::from([
            ("acme".to_owned(), vec!["ACME_TOKEN".to_owned()]),
            ("openai".to_owned(), vec!["OPENAI_KEY".to_owned()]),
        ]);
        assert_eq!(
            env_names("acme", &custom),
            Some(vec!["ACME_TOKEN".to_owned()])
        );
        assert_eq!(
            env_names("openai", &custom),
            Some(vec!["OPENAI_API_KEY".to_owned(), "OPENAI_KEY".to_owned()])
        );
        assert_eq!(env_names("nobody", &custom), None);
    }

    #[test]
    fn only_names_that_look_like_a_credential_are_accepted() {
        for name in ["A_KEY", "ACME_API_KEY", "X1_TOKEN"] {
            assert!(is_env_name(name), "{name}");
        }
        for name in [
            "PATH",
            "_KEY",
            "KEY",
            "1A_KEY",
            "a_KEY",
            "LD_PRELOAD",
            "A-B_KEY",
            "A_KEY\n",
            "A_KEY=x",
        ] {
            assert!(!is_env_name(name), "{name}");
        }
    }
}
