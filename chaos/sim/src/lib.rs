//! chaos-sim.
