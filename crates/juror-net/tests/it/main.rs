//! Conversations with servers on this machine, as good and as bad as real ones.

#![allow(clippy::unwrap_used, reason = "a test that panics has found something")]

mod chat;
mod hub;
mod server;
