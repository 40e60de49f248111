//! Master files, RFC 1035 §5: from their text to records, and from records to a zone.
//!
//! [`read`] takes a file's octets and gives its records with the place of each, and everything that is wrong with
//! it, not only the first thing. `$ORIGIN`, `$TTL` (RFC 2308 §4) and `$INCLUDE` are followed; an included file is asked of
//! the caller. Every type that has a presentation form can be given by its name, and every type at all as `TYPEnnn` with
//! `\# LENGTH HEX` (RFC 3597). Times may have units (`1h30m`), as all servers take them. [`zone`] makes a
//! [`gslb_core::ZoneSpec`] of what was read.
//!
//! Names in record data keep their case. Owners are folded: an answer's owner has the question's case.
//!
//! Deliberately absent: files, `$GENERATE` (a BIND extension), classes other than IN, and whether records go together,
//! which `gslb_core::Snapshot::build` knows.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod data;
mod fields;
mod lex;
mod reader;
mod special;
mod svcb;
mod zone;

pub use data::data;
pub use reader::{Fault, Place, Read, Record, read};
pub use zone::{ZoneFault, zone};
