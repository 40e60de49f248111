//! runbooks-core.
