//! Timing, certificates, sites and nodes, as written.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use model::SiteId;

use crate::config::Role;
use crate::fields::{At, Fields, list, quoted};
use crate::problem::Problems;
use crate::scalar::{address, choice, duration, name, number, port, socket, text, word};
use crate::tree::{Kind, Node, Place};

/// The port of the DNS (RFC 1035 §4.2).
pub(crate) const DNS_PORT: u16 = 53;

/// RFC 7858 §3.1.
const DNS_TLS_PORT: u16 = 853;

/// `timing: metro`, or a mapping that starts from a profile.
#[derive(Debug)]
pub(crate) struct TimingFile {
    pub profile: Option<At<Profile>>,
    pub renew: Option<At<Duration>>,
    pub lease: Option<At<Duration>>,
    pub drift_ppm: Option<At<u32>>,
    pub margin: Option<At<Duration>>,
    pub tick: Option<At<Duration>>,
    pub election: Option<At<(Duration, Duration)>>,
    pub dwell: Option<At<Duration>>,
    pub sync_timeout: Option<At<Duration>>,
    pub rtt: Option<At<Duration>>,
    pub fsync: Option<At<Duration>>,
    pub wait: Option<At<Duration>>,
    pub place: Place,
    /// Every field that was written could be read, so that rules over them make sense.
    pub whole: bool,
}

/// A set of numbers that go together.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Profile {
    Metro,
    Wide,
}

/// `audit`.
#[derive(Debug)]
pub(crate) struct AuditFile {
    pub segment_mib: Option<At<u64>>,
    pub segments: Option<At<u64>>,
}

/// `tls`.
#[derive(Debug)]
pub(crate) struct TlsFile {
    pub ca: Option<At<String>>,
    pub dir: Option<At<String>>,
}

/// A site.
#[derive(Debug)]
pub(crate) struct SiteFile {
    pub role: Option<At<Role>>,
}

/// A node.
#[derive(Debug)]
pub(crate) struct NodeFile {
    pub site: Option<At<SiteId>>,
    pub address: Option<At<IpAddr>>,
    pub peer_port: Option<At<u16>>,
    pub api_port: Option<At<u16>>,
    pub dns: Option<At<Vec<At<SocketAddr>>>>,
    pub dns_tls: Option<At<Vec<At<SocketAddr>>>>,
}

impl TimingFile {
    pub fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        if let Kind::Scalar { .. } = node.kind {
            let value = profile(node, problems)?;
            let profile = Some(At { value, place: node.place.clone() });
            return Some(Self { profile, ..Self::empty(node.place.clone()) });
        }
        let before = problems.len();
        let mut fields = Fields::open(node, problems)?;
        let mut timing = Self {
            profile: fields.optional("profile", profile),
            renew: fields.optional("renew", duration),
            lease: fields.optional("lease", duration),
            drift_ppm: fields.optional("drift", drift),
            margin: fields.optional("margin", duration),
            tick: fields.optional("tick", duration),
            election: fields.optional("election", election),
            dwell: fields.optional("dwell", duration),
            sync_timeout: fields.optional("sync-timeout", duration),
            rtt: fields.optional("rtt", duration),
            fsync: fields.optional("fsync", duration),
            wait: fields.optional("wait", duration),
            place: fields.place().clone(),
            whole: true,
        };
        fields.close();
        timing.whole = problems.len() == before;
        Some(timing)
    }

    pub fn empty(place: Place) -> Self {
        Self {
            profile: None,
            renew: None,
            lease: None,
            drift_ppm: None,
            margin: None,
            tick: None,
            election: None,
            dwell: None,
            sync_timeout: None,
            rtt: None,
            fsync: None,
            wait: None,
            place,
            whole: true,
        }
    }
}

impl AuditFile {
    pub fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let audit = Self {
            segment_mib: fields.optional("segment-mib", |n, p| number(n, p, 1, 1_024)),
            // Two, so that there is always one that is whole.
            segments: fields.optional("segments", |n, p| number(n, p, 2, 10_000)),
        };
        fields.close();
        Some(audit)
    }
}

impl TlsFile {
    pub fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let tls = Self { ca: fields.optional("ca", text), dir: fields.optional("dir", text) };
        fields.close();
        Some(tls)
    }
}

impl SiteFile {
    pub fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let role = fields.required("role", "data", |node, problems| {
            choice(
                node,
                problems,
                &[("data", Role::Data), ("witness", Role::Witness), ("burst", Role::Burst)],
            )
        });
        fields.close();
        Some(Self { role })
    }
}

impl NodeFile {
    pub fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let read = Self {
            site: fields.required("site", "SITE", name),
            address: fields.required("address", "192.0.2.10", address),
            peer_port: fields.optional("peer-port", port),
            api_port: fields.optional("api-port", port),
            dns: fields.optional("dns", |node, problems| {
                list(node, problems, |node, problems| socket(node, problems, DNS_PORT))
            }),
            dns_tls: fields.optional("dns-tls", |node, problems| {
                list(node, problems, |node, problems| socket(node, problems, DNS_TLS_PORT))
            }),
        };
        fields.close();
        Some(read)
    }
}

fn profile(node: &Node, problems: &mut Problems) -> Option<Profile> {
    choice(node, problems, &[("metro", Profile::Metro), ("wide", Profile::Wide)])
}

/// A share such as 0.001, kept in whole parts per million.
fn drift(node: &Node, problems: &mut Problems) -> Option<u32> {
    /// A clock that gains or loses more than a twentieth is broken, and W would hide it.
    const DRIFT_MAX: f64 = 0.05;
    if problems
        .describes(node, || serde_json::json!({ "type": "number", "minimum": 0, "maximum": DRIFT_MAX }))
    {
        return None;
    }
    let (text, _) = word(node, problems)?;
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=DRIFT_MAX).contains(share));
    let ppm = share.map(|share| share * 1e6).filter(|ppm| (ppm - ppm.round()).abs() < 1e-6);
    match ppm {
        // At most 50 000, and whole but for the last bits of a binary fraction.
        Some(ppm) => Some(ppm.round() as u32),
        None => {
            problems.add(
                &node.place,
                format!("{} is not a drift", quoted(text)),
                format!("write a share from 0 to {DRIFT_MAX} in whole millionths, as in 0.001"),
            );
            None
        }
    }
}

/// `[250ms, 500ms]`.
fn election(node: &Node, problems: &mut Problems) -> Option<(Duration, Duration)> {
    let bounds = list(node, problems, duration)?;
    match bounds.as_slice() {
        [least, most] => Some((least.value, most.value)),
        _ => {
            problems.add(
                &node.place,
                "an election has two bounds",
                "write the shortest and the longest: [250ms, 500ms]",
            );
            None
        }
    }
}
