//! Logs of runs, as capped files beside the ledger.
