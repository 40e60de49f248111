//! The WAN between the sites: a hub in user space, because delay, loss and one-way cuts must work
//! on kernels without netem.
//!
//! ```text
//!  bridge pdc ─TAP─ reader ─► link pdc→mdc (queue, delay, loss, cut) ─► writer ─TAP─ bridge mdc
//!                         └─► link pdc→wit … one link for each ordered pair of sites
//! ```
//!
//! The hub lives as long as its supervisor holds its standard input open; its ports vanish with
//! it. Invariants: frames of one link keep their order; a queue never grows past its bound; after
//! the reply to a cut no frame passes that link.

mod hub;
mod link;
mod port;

use std::fmt;
use std::time::Duration;

use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::control::{ControlError, ask};
use crate::layout::{Lab, LabSite};

pub use hub::run;

/// One way delay of every link unless told otherwise: 2 ms round trip, two datacentres of a city.
pub const DELAY_DEFAULT: Duration = Duration::from_millis(1);

/// The hub answers from memory; a second is forever.
const REPLY_DEADLINE: Duration = Duration::from_secs(2);

/// One direction between two sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Direction {
    /// Where frames come from.
    pub from: LabSite,
    /// Where they go.
    pub to: LabSite,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}→{}", self.from, self.to)
    }
}

/// Every ordered pair of sites.
pub fn directions() -> impl Iterator<Item = Direction> {
    LabSite::ALL
        .into_iter()
        .flat_map(|from| LabSite::ALL.into_iter().map(move |to| Direction { from, to }))
        .filter(|d| d.from != d.to)
}

/// All directions into and out of a site.
#[must_use]
pub fn all_of(site: LabSite) -> Vec<Direction> {
    directions().filter(|d| d.from == site || d.to == site).collect()
}

/// Both directions between two sites.
#[must_use]
pub fn both_ways(a: LabSite, b: LabSite) -> Vec<Direction> {
    directions().filter(|d| (d.from, d.to) == (a, b) || (d.from, d.to) == (b, a)).collect()
}

/// What the hub can be told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum WanRequest {
    /// Drop everything in these directions, frames under way too.
    Cut {
        /// Which.
        directions: Vec<Direction>,
    },
    /// Let frames pass again in these directions.
    Mend {
        /// Which.
        directions: Vec<Direction>,
    },
    /// Mend all, and forget every delay and loss.
    Heal,
    /// Hold frames for so long.
    Delay {
        /// Which.
        directions: Vec<Direction>,
        /// Microseconds, one way.
        micros: u64,
    },
    /// Drop frames by chance.
    Loss {
        /// Which.
        directions: Vec<Direction>,
        /// 0 to 100.
        percent: f64,
    },
    /// How every direction stands.
    Status,
}

/// How one direction stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Which.
    #[serde(flatten)]
    pub direction: Direction,
    /// Whether everything is dropped.
    pub cut: bool,
    /// Microseconds, one way.
    pub delay_micros: u64,
    /// 0 to 100.
    pub loss_percent: f64,
    /// Frames that passed.
    pub passed: u64,
    /// Frames dropped by cut or loss.
    pub dropped: u64,
    /// Frames dropped because the queue was full: the hub itself was too slow.
    pub overflowed: u64,
}

/// What the hub replies.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WanReply {
    /// In force since this instant (lab clock).
    Done(Timestamp),
    /// How every direction stands.
    Links(Vec<LinkStatus>),
    /// Not a request.
    Refused(String),
}

/// Why the hub did not do it.
#[derive(Debug, thiserror::Error)]
pub enum WanError {
    /// It was not reached, or broke off.
    #[error("the WAN hub was not asked")]
    Control(#[from] ControlError),
    /// It answered something else.
    #[error("the WAN hub refused: {0}")]
    Refused(String),
}

/// Tells the hub and gives the instant since when it is in force.
///
/// # Errors
/// When the hub is not reached or refuses.
pub fn tell(lab: &Lab, request: &WanRequest) -> Result<Timestamp, WanError> {
    match ask(&lab.wan_socket(), request, REPLY_DEADLINE)? {
        WanReply::Done(at) => Ok(at),
        WanReply::Refused(why) => Err(WanError::Refused(why)),
        WanReply::Links(_) => Err(WanError::Refused("it answered a status".to_owned())),
    }
}

/// Asks the hub how every direction stands.
///
/// # Errors
/// When the hub is not reached or refuses.
pub fn status(lab: &Lab) -> Result<Vec<LinkStatus>, WanError> {
    match ask(&lab.wan_socket(), &WanRequest::Status, REPLY_DEADLINE)? {
        WanReply::Links(links) => Ok(links),
        WanReply::Refused(why) => Err(WanError::Refused(why)),
        WanReply::Done(_) => Err(WanError::Refused("it answered no status".to_owned())),
    }
}
