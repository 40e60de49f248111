//! chaos-lab.
