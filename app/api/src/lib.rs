//! What operators and programs say to a node, and hear: version 1.
//!
//! Plain data with a stable form (kebab-case JSON). The daemon fills it, the CLI and the lab read it.
//! Deliberately absent: transport, state, decisions.

#![forbid(unsafe_code)]

pub mod openapi;
mod operations;
pub mod v1;
