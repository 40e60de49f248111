//! Two datacentres and a witness of real processes in network namespaces, with real faults.
//!
//! The lab stands outside the product: it sees `model` and `app-api` and runs the `twofold` binary
//! as an operator would. What it reports is measured by its own clients, on one clock.
//!
//! Deliberately absent: any knowledge of how the cluster decides.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod audit;
pub mod cgroup;
pub mod cli;
pub mod clients;
pub mod clock;
pub mod cluster;
mod commands;
pub mod control;
mod demo;
mod disk;
pub mod enter;
pub mod entry;
pub mod faults;
pub mod flavour;
pub mod inside;
pub mod interrupt;
pub mod layout;
pub mod lifecycle;
pub mod load;
mod mariadb;
pub mod measure;
pub mod mysqld;
pub mod net;
pub mod packages;
pub mod pki;
pub mod priority;
pub mod ready;
pub mod registers;
pub mod report;
pub mod spec;
mod status;
pub mod status_view;
pub mod supervisor;
pub mod up;
pub mod wan;
pub mod web;
mod web_view;
