//! failover-raft.
