//! replication-mysql.
