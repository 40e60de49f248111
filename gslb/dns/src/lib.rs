//! gslb-dns.
