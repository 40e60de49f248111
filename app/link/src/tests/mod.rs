//! Whole link sets on loopback sockets, with real certificates and cuts made by a proxy.
//!
//! Nothing here measures time: conditions are waited for, with deadlines far beyond what they take.

mod calls;
mod lab;
mod limits;
mod proxy;
mod refusals;
mod relays;
mod roster;
