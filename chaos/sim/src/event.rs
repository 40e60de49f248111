//! Everything that can happen, and what processes say to one another. Kept small: millions of them
//! are moved about in a run.

use std::rc::Rc;

use failover_core::{ActEnd, ActId, Answer, Authority, Command, GateAct, GateRead, Order, Renewal, Told};
use model::{DatabaseReading, Incarnation, ProcessStart};
use runbooks_core::Outcome;

use crate::place::Endpoint;

/// A message between processes of ours.
#[derive(Debug, Clone)]
pub enum Message {
    /// Consensus.
    Raft { life: Incarnation, message: Box<failover_raft::Message> },
    /// A guard's renewal; `via` is the follower that passed it on.
    Renewal { host: usize, via: Option<usize>, renewal: Rc<Renewal> },
    /// The leader's answer, on its way to `host`.
    Answer { host: usize, answer: Rc<Answer> },
    /// A pushed authority.
    Told(Rc<Told>),
    /// An executor's order.
    Order { call: u64, authority: Rc<Authority>, order: Rc<Order> },
    /// Its answer.
    Reply { call: u64, outcome: Rc<Outcome> },
    /// The guards that a node hears, one bit each, and the life that its state is of.
    Beat { node: usize, hears: u8, life: Incarnation },
    /// A follower asks for a read index; `sent` is its own clock.
    AskRead { node: usize, sent: u64 },
    /// The answer to it.
    ReadAt { sent: u64, index: u64 },
}

/// Something that happens.
#[derive(Debug)]
pub enum Event {
    /// A node's clock ticks.
    NodeTick { node: usize, life: u32 },
    /// A node's disk has written.
    NodeDisk { node: usize, life: u32 },
    /// A message arrives; `direct` is false when it came through a relay.
    Message { from: Endpoint, to: Endpoint, direct: bool, message: Message },
    /// A guard's clock ticks.
    GuardTick { host: usize, life: u32 },
    /// A guard's latches are written.
    GuardDisk { host: usize, life: u32 },
    /// A guard looks at the process.
    Look { host: usize, life: u32 },
    /// A guard reads the database.
    Read { host: usize, life: u32 },
    /// A reading that took its time arrives.
    Reading { host: usize, life: u32, start: ProcessStart, reading: Box<DatabaseReading> },
    /// The kernel takes a gate change.
    GateApply { host: usize, boot: u32, life: u32, act: GateAct, tainted: bool },
    /// The guard reads it back.
    GateRead { host: usize, life: u32, read: GateRead },
    /// The database gets to an act.
    ActRun { host: usize, start: ProcessStart, act: Box<crate::mysql::Act> },
    /// The guard stops waiting for an act.
    ActTimeout { host: usize, life: u32, act: ActId },
    /// The guard hears of an act's end.
    ActEnded { host: usize, life: u32, act: ActId, end: Box<ActEnd> },
    /// Something inside a database server.
    Mysql { host: usize, start: ProcessStart, what: Inside },
    /// Something with a client.
    Client { client: usize, what: ClientEvent },
    /// A supervisor starts what is down.
    Start { what: Unit, life: u32 },
    /// A person's order arrives, on what was seen a while ago.
    Person { command: Box<Command> },
    /// The plan's next fault.
    Fault { index: usize },
    /// The end of a fault.
    FaultEnds { index: usize },
    /// A watchdog's countdown ends, unless it was fed.
    Watchdog { host: usize, boot: u32, ends: u64 },
    /// A host that was reset boots.
    PowerOn { host: usize },
    /// A person looks at what there is, and does the next thing.
    PersonLooks,
    /// Connections of old are retried: queued answers leave when they can.
    Sockets { host: usize, boot: u32 },
}

/// What a supervisor starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A node.
    Node(usize),
    /// A guard.
    Guard(usize),
    /// A database server.
    Mysql(usize),
}

/// What goes on inside a database server of one life.
#[derive(Debug, Clone, Copy)]
pub enum Inside {
    /// It takes connections now.
    Booted,
    /// A client's statement reaches the commit.
    Commit { client: usize, attempt: u32, sockets: u32 },
    /// One that waited for the disk is in the binary log.
    Written { client: usize, attempt: u32, sockets: u32 },
    /// A transaction comes in from the source.
    Ship { connection: u32, origin: usize, number: usize },
    /// An acknowledgement comes in from the replica.
    Ack { connection: u32, number: usize },
    /// The applier takes the next one.
    Apply,
    /// The receiver tries to connect.
    Connect,
    /// The receiver's connection may be stuck.
    Stalled { connection: u32 },
    /// The receiver learns that its source is gone.
    SourceGone { connection: u32 },
    /// The oldest waiter's ack timeout.
    AckTimeout { number: usize },
    /// A shutdown gets to whoever waits.
    Stopping,
    /// A shutdown is done.
    Stopped,
}

/// What happens with a client.
#[derive(Debug, Clone, Copy)]
pub enum ClientEvent {
    /// It wants to write.
    Next { attempt: u32 },
    /// Its statement arrives at a database host.
    Arrive { attempt: u32, host: usize },
    /// It is told OK.
    Ok { attempt: u32, transaction: u32 },
    /// It is told no, or its connection was refused.
    No { attempt: u32 },
    /// It gives up.
    Timeout { attempt: u32 },
}
