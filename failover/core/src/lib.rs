//! failover-core.
