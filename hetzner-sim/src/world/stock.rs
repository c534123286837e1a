//! What can be ordered where, and what the catalogue claims about it: on the real API the two
//! disagree in both directions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    catalogue::{LOCATIONS, SERVER_TYPES, ServerType},
    config::StockPreset,
    error::ApiError,
};

/// How an order for a pair of type and location is met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Supply {
    /// A server is created.
    #[default]
    Available,
    /// 412 `resource_unavailable`, "error during placement".
    OutOfStock,
    /// 422 `invalid_input`, "unsupported location for server type", though the list has it.
    Withheld,
    /// 412 `resource_unavailable`, the location is closed.
    LocationDisabled,
}

impl Supply {
    pub(crate) fn check(self) -> Result<(), ApiError> {
        match self {
            Self::Available => Ok(()),
            Self::OutOfStock => Err(ApiError::unavailable("error during placement")),
            Self::Withheld => Err(ApiError::refused("unsupported location for server type")),
            Self::LocationDisabled => Err(ApiError::unavailable("server location disabled")),
        }
    }
}

/// The stock: a preset, and what was set since for pairs of type and location.
#[derive(Clone, Debug)]
pub(crate) struct Stock {
    preset: StockPreset,
    all: Option<Supply>,
    pairs: BTreeMap<(String, String), Pair>,
}

/// A pair's supply, and what the catalogue says if that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    supply: Supply,
    shown: Option<bool>,
}

/// `PUT /_sim/stock`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct StockChange {
    /// For every pair; forgets what was set for single pairs.
    all: Option<Supply>,
    #[serde(default)]
    pairs: Vec<PairChange>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PairChange {
    server_type: String,
    /// Every location when absent.
    #[serde(default = "anywhere")]
    location: String,
    supply: Supply,
    /// What `locations[].available` says; the truth when absent.
    shown: Option<bool>,
}

const ANYWHERE: &str = "*";

impl StockChange {
    /// A misspelt pair would change nothing, and the test that asked for it would prove nothing.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        for pair in &self.pairs {
            let (kind, place) = (&pair.server_type, &pair.location);
            if !SERVER_TYPES.iter().any(|t| t.name == kind) {
                return Err(ApiError::refused(format!("no server type '{kind}'")));
            }
            if place != ANYWHERE && !LOCATIONS.iter().any(|l| l.name == place) {
                return Err(ApiError::refused(format!("no location '{place}'")));
            }
        }
        Ok(())
    }
}

fn anywhere() -> String {
    ANYWHERE.to_owned()
}

impl Stock {
    pub(crate) fn new(preset: StockPreset) -> Self {
        Self {
            preset,
            all: None,
            pairs: BTreeMap::new(),
        }
    }

    pub(crate) fn change(&mut self, change: StockChange) {
        if let Some(all) = change.all {
            self.all = Some(all);
            self.pairs.clear();
        }
        for pair in change.pairs {
            self.pairs.insert(
                (pair.server_type, pair.location),
                Pair {
                    supply: pair.supply,
                    shown: pair.shown,
                },
            );
        }
    }

    pub(crate) fn supply(&self, kind: &ServerType, location: &str) -> Supply {
        match (self.pair(kind, location), self.all, self.preset) {
            (Some(pair), _, _) => pair.supply,
            (None, Some(all), _) => all,
            (None, None, StockPreset::Captured) if !kind.captured_in_stock() => Supply::OutOfStock,
            (None, None, _) => Supply::Available,
        }
    }

    pub(crate) fn shown(&self, kind: &ServerType, location: &str) -> bool {
        self.pair(kind, location)
            .and_then(|pair| pair.shown)
            .unwrap_or_else(|| self.supply(kind, location) == Supply::Available)
    }

    /// The pairs that were set, for `GET /_sim/state`.
    pub(crate) fn pairs(&self) -> Vec<PairChange> {
        self.pairs
            .iter()
            .map(|((server_type, location), pair)| PairChange {
                server_type: server_type.clone(),
                location: location.clone(),
                supply: pair.supply,
                shown: pair.shown,
            })
            .collect()
    }

    fn pair(&self, kind: &ServerType, location: &str) -> Option<Pair> {
        [location, ANYWHERE]
            .into_iter()
            .find_map(|place| self.pairs.get(&(kind.name.to_owned(), place.to_owned())))
            .copied()
    }
}
