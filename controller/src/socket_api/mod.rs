//! The socket API for operators and bots.
