//! hetzner-sim
