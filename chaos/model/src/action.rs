//! What can happen next, and how it is told to people.

use std::fmt;

use crate::authority::Change;
use crate::state::Site;

/// One step of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    // The leader.
    /// Decides and orders at once.
    Commit(Change),
    /// Decides, and the order comes later.
    Decide(Change),
    /// What was decided is ordered.
    Order,
    // The executor of a move.
    Block,
    StopAcker,
    FenceSoftly,
    FenceByKill,
    BelieveReport,
    Outwait,
    Drain,
    Compare,
    Promoting,
    Promote,
    // Leases and messages.
    Renew(Site),
    Hear(Site),
    LeaseEnds(Site),
    Delay(Site),
    Deliver,
    MailEnds,
    // The guard.
    Open(Site),
    BeginOpen(Site),
    GateLands(Site),
    GateShuts(Site),
    Arm(Site),
    Disarm(Site),
    DisarmUnasked(Site),
    Sentinel(Site),
    SemiOn(Site),
    StartReceiver(Site),
    Rejoin(Site),
    // Clients and databases.
    Write(Site),
    Tell(Site),
    Receive(Site),
    Apply(Site),
    // Faults, and their ends.
    Crash(Site),
    Reboot(Site),
    Start(Site),
    StartForgetting(Site),
    Pause(Site),
    Wake(Site),
}

impl Action {
    /// All that is ever tried; the state says which are possible.
    pub(crate) fn all(out: &mut Vec<Action>) {
        use Action as A;
        for change in Change::ALL {
            out.extend([A::Commit(change), A::Decide(change)]);
        }
        out.extend([A::Order, A::Block, A::StopAcker, A::FenceSoftly, A::FenceByKill, A::BelieveReport]);
        out.extend([A::Outwait, A::Drain, A::Compare, A::Promoting, A::Promote, A::Deliver, A::MailEnds]);
        for s in Site::BOTH {
            out.extend([A::Renew(s), A::Hear(s), A::LeaseEnds(s), A::Delay(s)]);
            out.extend([A::Open(s), A::BeginOpen(s), A::GateLands(s), A::GateShuts(s)]);
            out.extend([A::Arm(s), A::Disarm(s), A::DisarmUnasked(s), A::Sentinel(s), A::SemiOn(s)]);
            out.extend([A::StartReceiver(s), A::Rejoin(s)]);
            out.extend([A::Write(s), A::Tell(s), A::Receive(s), A::Apply(s)]);
            out.extend([A::Crash(s), A::Reboot(s), A::Start(s), A::StartForgetting(s)]);
            out.extend([A::Pause(s), A::Wake(s)]);
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Action as A;
        match self {
            A::Commit(c) => write!(f, "the leader commits: {c}"),
            A::Decide(c) => write!(f, "the leader decides, and it is ordered later: {c}"),
            A::Order => write!(f, "what was decided before is ordered"),
            A::Block => write!(f, "the primary takes no writes any more, and the leader hears it"),
            A::StopAcker => write!(f, "the candidate's receiver is stopped"),
            A::FenceSoftly => write!(f, "the old primary confirms its fence: gate shut, no sessions"),
            A::FenceByKill => write!(f, "the old primary confirms its fence: process gone"),
            A::BelieveReport => write!(f, "a report that the process is gone is taken for a fence"),
            A::Outwait => write!(f, "W has passed"),
            A::Drain => write!(f, "the candidate has applied all that it received"),
            A::Compare => write!(f, "the candidate has all that the fenced primary had"),
            A::Promoting => write!(f, "the leader commits: promoting"),
            A::Promote => write!(f, "the candidate is promoted"),
            A::Renew(s) => write!(f, "{s} renews, hears the authority, and has a lease"),
            A::Hear(s) => write!(f, "{s} hears the authority"),
            A::LeaseEnds(s) => write!(f, "the lease of {s} runs out"),
            A::Delay(s) => write!(f, "an answer to {s} is on its way for long"),
            A::Deliver => write!(f, "the slow answer comes"),
            A::MailEnds => write!(f, "the lease in the slow answer has run out"),
            A::Open(s) => write!(f, "{s} opens"),
            A::BeginOpen(s) => write!(f, "{s} opens: it is writable, and the gate's add is under way"),
            A::GateLands(s) => write!(f, "the gate's add lands on {s}"),
            A::GateShuts(s) => write!(f, "the late gate of {s} shuts"),
            A::Arm(s) => write!(f, "{s} arms semi-sync"),
            A::Disarm(s) => write!(f, "{s} disarms semi-sync"),
            A::DisarmUnasked(s) => write!(f, "{s} disarms semi-sync by itself"),
            A::Sentinel(s) => write!(f, "the sentinel of {s} is acknowledged"),
            A::SemiOn(s) => write!(f, "{s} acknowledges from now on"),
            A::StartReceiver(s) => write!(f, "{s} starts its receiver"),
            A::Rejoin(s) => write!(f, "{s} comes back: killed, booted fenced, nothing extra, receives"),
            A::Write(s) => write!(f, "a client writes on {s}"),
            A::Tell(s) => write!(f, "{s} tells a client OK"),
            A::Receive(s) => write!(f, "{s} receives a transaction"),
            A::Apply(s) => write!(f, "{s} applies what it received"),
            A::Crash(s) => write!(f, "the database of {s} crashes"),
            A::Reboot(s) => write!(f, "the host of {s} crashes and boots"),
            A::Start(s) => write!(f, "the database of {s} is started"),
            A::StartForgetting(s) => write!(f, "the database of {s} is started and drops its relay log"),
            A::Pause(s) => write!(f, "the host of {s} stands still"),
            A::Wake(s) => write!(f, "the host of {s} goes on"),
        }
    }
}
