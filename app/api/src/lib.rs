//! app-api.
