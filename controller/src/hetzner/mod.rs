//! The Hetzner Cloud API: one transport, tolerant decoding, named errors.
