//! The guest API, over the tailnet.
