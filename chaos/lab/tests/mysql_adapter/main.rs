//! The MySQL adapter against real servers: what research/mysql.md measured by hand is held here.
//!
//! Every test lays its own servers in a folder of its own, on loopback ports that were free, and ends
//! them with its thread. Waits are bounded; nothing is concluded from how long something took.

#![allow(clippy::unwrap_used)]

mod accounts;
mod fence;
mod gather;
mod ghost;
mod grants;
mod history;
mod kine;
mod mariadb;
mod mariadb_copy;
mod promotion;
mod proxy;
mod repoint;
mod semi_sync;
mod server;
mod session;
mod tls;
