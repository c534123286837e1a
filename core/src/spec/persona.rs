//! The two files of a persona that every run needs.

use cattle_schemas::persona::PersonaConfig;
use serde_json::Value;

use super::model;

/// The longest `SOUL.md`; it travels in `user_data`.
pub const MAX_SOUL_BYTES: usize = 64 * 1024;
/// The longest `config.json`; likewise.
pub const MAX_CONFIG_BYTES: usize = 64 * 1024;

/// `SOUL.md` and `config.json`, readable.
#[derive(Clone, Debug, PartialEq)]
pub struct PersonaFiles {
    /// `SOUL.md`.
    pub soul: String,
    /// `config.json` as it is.
    pub config_text: String,
    /// `config.json`, decoded.
    pub config: PersonaConfig,
}

impl PersonaFiles {
    /// Reads both files. An empty `config.json` stands for `{}`.
    ///
    /// # Errors
    /// Which file, and what is wrong with it; never what is in it.
    pub fn parse(soul: &[u8], config: &[u8]) -> Result<Self, String> {
        let soul = text("SOUL.md", soul, MAX_SOUL_BYTES)?;
        let config_text = text("config.json", config, MAX_CONFIG_BYTES)?;
        let config: PersonaConfig = if config_text.trim().is_empty() {
            PersonaConfig::default()
        } else {
            let value: Value = serde_json::from_str(&config_text).map_err(|error| {
                let (line, column) = (error.line(), error.column());
                format!("config.json is not JSON (line {line}, column {column})")
            })?;
            if !value.is_object() {
                return Err("config.json must be an object".to_owned());
            }
            serde_json::from_value(value).map_err(|_| {
                "config.json: `model` must be an object, `model.primary` a string".to_owned()
            })?
        };
        let primary = config
            .model
            .as_ref()
            .and_then(|model| model.primary.as_ref());
        if primary.is_some_and(|primary| !model::is_model(primary)) {
            return Err("config.json: `model.primary` must be `provider/model`".to_owned());
        }
        Ok(Self {
            soul,
            config_text,
            config,
        })
    }

    /// The model this persona prefers.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.config.model.as_ref()?.primary.as_deref()
    }

    /// `config.json` for a run: as it is, with the run's model as `model.primary`, so that the
    /// agent reads one truth.
    #[must_use]
    pub fn config_for(&self, model: &str) -> Value {
        let mut config = self.config.clone();
        config.model.get_or_insert_default().primary = Some(model.to_owned());
        serde_json::to_value(config).expect("a decoded JSON object is JSON again")
    }
}

fn text(file: &str, bytes: &[u8], max: usize) -> Result<String, String> {
    if bytes.len() > max {
        let length = bytes.len();
        return Err(format!(
            "{file} has {length} bytes, at most {max} are allowed"
        ));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
        _ => Err(format!("{file} is not UTF-8 text")),
    }
}
