//! twofold.
fn main() {}
