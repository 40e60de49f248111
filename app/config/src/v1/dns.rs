//! The zone, pools, checks and virtual names, as written.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use model::{GroupId, MemberId, PoolId, ServerId, SiteId};

use super::{Keyed, section};
use crate::fields::{At, Fields, keyed, list, quoted};
use crate::name::{CheckId, DnsName};
use crate::problem::Problems;
use crate::scalar::{address, choice, domain, duration, name, number, port, seconds, text, word};
use crate::tree::{Kind, Node, Place};
use crate::zone::{AllDown, NoQuorum, Policy};

/// Greatest share of a member or pool: enough for a per-mille, small enough to add up.
const WEIGHT_MAX: u64 = 10_000;

/// Answers a second: more than one network ever has reason to ask for.
const RATE_MAX: u64 = 1_000_000;

/// Most probes in a row a verdict may wait for; more would be slower than a person.
const ROW_MAX: u64 = 100;

/// Longest text of one record: what fits into an answer over TCP beside its header.
const TXT_MAX: usize = 60_000;

/// The zone. Names are texts here, since they may be relative to the origin.
#[derive(Debug)]
pub(crate) struct ZoneFile {
    pub origin: Option<At<DnsName>>,
    pub ttl: Option<At<Duration>>,
    pub soa: Option<SoaFile>,
    pub ns: Option<At<Vec<At<String>>>>,
    pub tls: Option<ZoneTlsFile>,
    pub cookie_secret_file: Option<At<String>>,
    pub rate_limit: Option<At<u64>>,
    pub records: Vec<At<RecordFile>>,
    /// Some record could not be taken in at all, so that what points at it cannot be judged.
    pub records_lost: bool,
    pub place: Place,
}

/// What is shown within TLS.
#[derive(Debug)]
pub(crate) struct ZoneTlsFile {
    pub certificate: Option<At<String>>,
    pub key: Option<At<String>>,
}

/// The zone's start of authority.
#[derive(Debug, Default)]
pub(crate) struct SoaFile {
    pub mname: Option<At<String>>,
    pub rname: Option<At<String>>,
    pub refresh: Option<At<Duration>>,
    pub retry: Option<At<Duration>>,
    pub expire: Option<At<Duration>>,
    pub minimum: Option<At<Duration>>,
}

/// Records of one name and type, one for each datum.
#[derive(Debug)]
pub(crate) struct RecordFile {
    pub name: Option<At<String>>,
    pub rtype: Option<At<String>>,
    pub ttl: Option<At<Duration>>,
    pub data: Option<At<Vec<At<String>>>>,
}

/// A pool.
#[derive(Debug)]
pub(crate) struct PoolFile {
    pub members: Keyed<MemberId, MemberFile>,
    pub check: Option<At<CheckId>>,
    pub min_up: Option<At<u64>>,
    pub place: Place,
}

/// A member.
#[derive(Debug)]
pub(crate) struct MemberFile {
    pub site: Option<At<SiteId>>,
    pub address: Option<At<IpAddr>>,
    pub weight: Option<At<u64>>,
}

/// A check.
#[derive(Debug)]
pub(crate) struct CheckFile {
    pub probe: Option<ProbeFile>,
    pub interval: Option<At<Duration>>,
    pub timeout: Option<At<Duration>>,
    pub rise: Option<At<u64>>,
    pub fall: Option<At<u64>>,
    pub place: Place,
}

/// What a check does.
#[derive(Debug)]
pub(crate) enum ProbeFile {
    Tcp { port: Option<At<u16>> },
    Http(Box<HttpFile>),
    Https(Box<HttpFile>, Box<ProbeTlsFile>),
}

/// An HTTP request.
#[derive(Debug)]
pub(crate) struct HttpFile {
    pub port: Option<At<u16>>,
    pub path: Option<At<String>>,
    pub host: Option<At<String>>,
    pub expect_status: Option<At<Vec<At<RangeInclusive<u16>>>>>,
    pub expect_body: Option<At<String>>,
}

/// What is asked of a certificate.
#[derive(Debug)]
pub(crate) struct ProbeTlsFile {
    pub sni: Option<At<String>>,
    pub ca: Option<At<String>>,
    pub expiry_warning: Option<At<Duration>>,
}

/// A virtual name.
#[derive(Debug)]
pub(crate) struct NameFile {
    pub kind: Option<NameKind>,
}

/// Which of the two kinds was written.
#[derive(Debug)]
pub(crate) enum NameKind {
    Bound(BoundFile),
    Pooled(PooledFile),
}

/// A name bound to a group.
#[derive(Debug)]
pub(crate) struct BoundFile {
    pub group: Option<At<GroupId>>,
    /// `None` when not written: the group's own servers, then.
    pub endpoints: Option<At<Keyed<SiteId, Vec<At<IpAddr>>>>>,
    pub endpoints_written: bool,
    /// What leads to single servers, where a site has several.
    pub servers: Option<At<Keyed<ServerId, Vec<At<IpAddr>>>>>,
    pub ttl: Option<At<Duration>>,
    pub no_quorum: Option<At<NoQuorum>>,
}

/// A name balanced over pools.
#[derive(Debug)]
pub(crate) struct PooledFile {
    pub policy: Option<At<Policy>>,
    /// The pools with their shares.
    pub pools: Option<At<Keyed<PoolId, u64>>>,
    pub all_down: Option<At<AllDown>>,
    pub ttl_min: Option<At<Duration>>,
    pub ttl_max: Option<At<Duration>>,
}

impl ZoneFile {
    pub fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let records = section(&mut fields, "records", |n, p| list(n, p, RecordFile::read));
        let read = Self {
            origin: fields.required("origin", "gslb.example.com", domain),
            ttl: fields.optional("ttl", seconds),
            soa: section(&mut fields, "soa", SoaFile::read),
            ns: fields.optional("ns", |node, problems| list(node, problems, text)),
            tls: section(&mut fields, "tls", ZoneTlsFile::read),
            cookie_secret_file: fields.optional("cookie-secret-file", text),
            rate_limit: fields.optional("rate-limit", |node, problems| number(node, problems, 1, RATE_MAX)),
            records_lost: records.is_none() && fields.key_place("records").is_some(),
            records: records.unwrap_or_default(),
            place: fields.place().clone(),
        };
        fields.close();
        Some(read)
    }
}

impl ZoneTlsFile {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let read = Self {
            certificate: fields.required("certificate", "pki/dns.pem", text),
            key: fields.required("key", "pki/dns-key.pem", text),
        };
        fields.close();
        Some(read)
    }
}

impl SoaFile {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let read = Self {
            mname: fields.optional("mname", text),
            rname: fields.optional("rname", text),
            refresh: fields.optional("refresh", seconds),
            retry: fields.optional("retry", seconds),
            expire: fields.optional("expire", seconds),
            minimum: fields.optional("minimum", seconds),
        };
        fields.close();
        Some(read)
    }
}

impl RecordFile {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let read = Self {
            name: fields.required("name", "www", text),
            rtype: fields.required("type", "A", text),
            ttl: fields.optional("ttl", seconds),
            data: fields.required("data", "192.0.2.30", one_or_more),
        };
        fields.close();
        Some(read)
    }
}

impl PoolFile {
    pub fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let read = Self {
            members: section(&mut fields, "members", |n, p| keyed(n, p, MemberFile::read))
                .unwrap_or_default(),
            check: fields.optional("check", name),
            min_up: fields.optional("min-up", |node, problems| number(node, problems, 1, WEIGHT_MAX)),
            place: fields.place().clone(),
        };
        fields.close();
        Some(read)
    }
}

impl MemberFile {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let read = Self {
            site: fields.required("site", "SITE", name),
            address: fields.required("address", "192.0.2.31", address),
            weight: fields.optional("weight", weight),
        };
        fields.close();
        Some(read)
    }
}

impl CheckFile {
    pub fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let tcp = section(&mut fields, "tcp", tcp);
        let http = section(&mut fields, "http", http);
        let https = section(&mut fields, "https", https);
        let named = ["tcp", "http", "https"].into_iter().filter(|key| fields.key_place(key).is_some());
        if named.count() != 1 {
            let place = fields.place();
            fields.problems.add(
                place,
                "a check probes by tcp, by http or by https",
                "write one, as in `tcp: {port: 3306}`",
            );
        }
        let read = Self {
            probe: tcp.or(http).or(https),
            interval: fields.optional("interval", duration),
            timeout: fields.optional("timeout", duration),
            rise: fields.optional("rise", row),
            fall: fields.optional("fall", row),
            place: fields.place().clone(),
        };
        fields.close();
        Some(read)
    }
}

impl NameFile {
    pub fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        if fields.problems.describing {
            // One or the other; which of the fields go together is `check`'s to say.
            BoundFile::read(&mut fields);
            PooledFile::read(&mut fields);
            fields.close();
            return None;
        }
        let kind = match (fields.key_place("bound"), fields.key_place("pooled")) {
            (Some(_), None) => Some(NameKind::Bound(BoundFile::read(&mut fields))),
            (None, Some(_)) => Some(NameKind::Pooled(PooledFile::read(&mut fields))),
            _ => {
                let place = fields.place();
                let hint = "write one, as in `bound: GROUP` or `pooled: {pools: [POOL]}`";
                fields.problems.add(place, "a virtual name is bound or pooled", hint);
                return None;
            }
        };
        fields.close();
        Some(Self { kind })
    }
}

impl BoundFile {
    fn read(fields: &mut Fields<'_, '_>) -> Self {
        Self {
            group: fields.optional("bound", name),
            endpoints_written: fields.key_place("endpoints").is_some(),
            endpoints: fields.optional("endpoints", |node, problems| {
                keyed(node, problems, |node, problems| list(node, problems, address))
            }),
            servers: fields.optional("servers", |node, problems| {
                keyed(node, problems, |node, problems| list(node, problems, address))
            }),
            ttl: fields.optional("ttl", seconds),
            no_quorum: fields.optional("no-quorum", |node, problems| {
                choice(node, problems, &[("servfail", NoQuorum::Servfail), ("last", NoQuorum::Last)])
            }),
        }
    }
}

impl PooledFile {
    fn read(fields: &mut Fields<'_, '_>) -> Self {
        let (policy, pools) = match section(fields, "pooled", choice_of_pools) {
            Some((policy, pools)) => (policy, pools),
            None => (None, None),
        };
        Self {
            policy,
            pools,
            all_down: fields.optional("all-down", |node, problems| {
                choice(
                    node,
                    problems,
                    &[("open", AllDown::Open), ("nodata", AllDown::Nodata), ("servfail", AllDown::Servfail)],
                )
            }),
            ttl_min: fields.optional("ttl-min", seconds),
            ttl_max: fields.optional("ttl-max", seconds),
        }
    }
}

type Choice = (Option<At<Policy>>, Option<At<Keyed<PoolId, u64>>>);

fn choice_of_pools(node: &Node, problems: &mut Problems) -> Option<Choice> {
    let mut fields = Fields::open(node, problems)?;
    let policy = fields.optional("policy", |node, problems| {
        choice(node, problems, &[("order", Policy::Order), ("weighted", Policy::Weighted)])
    });
    let pools = fields.required("pools", "[POOL]", shares);
    fields.close();
    Some((policy, pools))
}

/// `[web, spare]`, or `{web: 9, spare: 1}` with shares.
fn shares(node: &Node, problems: &mut Problems) -> Option<Keyed<PoolId, u64>> {
    if let Kind::Map(_) = node.kind {
        return keyed(node, problems, weight);
    }
    let pools = list(node, problems, name)?;
    Some(pools.into_iter().map(|pool| (pool, super::super::resolve::SHARE_DEFAULT)).collect())
}

fn weight(node: &Node, problems: &mut Problems) -> Option<u64> {
    number(node, problems, 0, WEIGHT_MAX)
}

fn row(node: &Node, problems: &mut Problems) -> Option<u64> {
    number(node, problems, 1, ROW_MAX)
}

fn tcp(node: &Node, problems: &mut Problems) -> Option<ProbeFile> {
    let mut fields = Fields::open(node, problems)?;
    let port = fields.required("port", "3306", port);
    fields.close();
    Some(ProbeFile::Tcp { port })
}

fn http(node: &Node, problems: &mut Problems) -> Option<ProbeFile> {
    let mut fields = Fields::open(node, problems)?;
    let probe = HttpFile::read(&mut fields, "8080");
    fields.close();
    Some(ProbeFile::Http(Box::new(probe)))
}

fn https(node: &Node, problems: &mut Problems) -> Option<ProbeFile> {
    let mut fields = Fields::open(node, problems)?;
    let probe = HttpFile::read(&mut fields, "443");
    let tls = ProbeTlsFile {
        sni: fields.optional("sni", server_name),
        ca: fields.optional("ca", text),
        expiry_warning: fields.optional("expiry-warning", duration),
    };
    fields.close();
    Some(ProbeFile::Https(Box::new(probe), Box::new(tls)))
}

impl HttpFile {
    fn read(fields: &mut Fields<'_, '_>, port_hint: &'static str) -> Self {
        Self {
            port: fields.required("port", port_hint, port),
            path: fields.optional("path", path),
            host: fields.optional("host", host),
            expect_status: fields.optional("expect-status", statuses),
            expect_body: fields.optional("expect-body", text),
        }
    }
}

/// Status codes and ranges of them, or one alone.
fn statuses(node: &Node, problems: &mut Problems) -> Option<Vec<At<RangeInclusive<u16>>>> {
    match node.kind {
        Kind::List(_) => list(node, problems, status),
        _ => Some(vec![At { value: status(node, problems)?, place: node.place.clone() }]),
    }
}

/// `200`, or `200-399`.
fn status(node: &Node, problems: &mut Problems) -> Option<RangeInclusive<u16>> {
    let (text, _) = word(node, problems)?;
    // RFC 9110 §15: three digits, of which the first is 1 to 5.
    let code = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|c| c.is_ascii_digit());
        text.parse::<u16>().ok().filter(|code| digits && (100..=599).contains(code))
    };
    let ends = match text.split_once('-') {
        None => code(text).map(|only| (only, only)),
        Some((first, last)) => code(first).zip(code(last)),
    };
    match ends {
        Some((first, last)) if first <= last => Some(first..=last),
        Some(_) => {
            let why = format!("range {} ends before it begins", quoted(text));
            problems.add(&node.place, why, "write the lower status first, as in 200-399");
            None
        }
        None => {
            let why = format!("{} is no status", quoted(text));
            problems.add(&node.place, why, "write one from 100 to 599, or a range as in 200-399");
            None
        }
    }
}

/// A name as certificates and the TLS server name have it (RFC 6066 §3): no address, no final dot.
fn server_name(node: &Node, problems: &mut Problems) -> Option<String> {
    let name = text(node, problems)?;
    if is_server_name(&name) {
        return Some(name);
    }
    problems.add(
        &node.place,
        format!("{} is not a server name", quoted(&name)),
        "write a DNS name without its final dot, as the certificate has it",
    );
    None
}

/// Whether it can stand in a certificate and in SNI.
pub(crate) fn is_server_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
    };
    name.len() <= 253 && name.split('.').all(label) && name.parse::<IpAddr>().is_err()
}

/// A path as the request line has it (RFC 9112 §3.2.1), so that it cannot begin a second line.
fn path(node: &Node, problems: &mut Problems) -> Option<String> {
    let path = text(node, problems)?;
    if path.starts_with('/') && path.bytes().all(|c| c.is_ascii_graphic()) {
        return Some(path);
    }
    problems.add(
        &node.place,
        format!("{} is not a path", quoted(&path)),
        "begin it with / and encode spaces as %20",
    );
    None
}

/// A `Host` header (RFC 9110 §7.2).
fn host(node: &Node, problems: &mut Problems) -> Option<String> {
    let host = text(node, problems)?;
    if host.bytes().all(|c| c.is_ascii_alphanumeric() || b".-_:[]".contains(&c)) {
        return Some(host);
    }
    problems.add(
        &node.place,
        format!("{} is not a host", quoted(&host)),
        "write a name, and :PORT if need be",
    );
    None
}

/// A text, or a list of them. Unlike other texts, one of a TXT record may be empty or long.
fn one_or_more(node: &Node, problems: &mut Problems) -> Option<Vec<At<String>>> {
    if problems.describing && matches!(node.kind, Kind::List(_)) {
        list(node, problems, word_of_record);
        return None;
    }
    let items = match &node.kind {
        Kind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut data = Vec::new();
    for item in items {
        let (text, _) = word(item, problems)?;
        if text.len() > TXT_MAX {
            problems.add(
                &item.place,
                "the data of a record is too long",
                format!("keep it under {TXT_MAX} bytes"),
            );
            return None;
        }
        data.push(At { value: text.to_owned(), place: item.place.clone() });
    }
    if data.is_empty() {
        problems.add(&node.place, "a record needs data", "write it, or remove the record");
        return None;
    }
    Some(data)
}

fn word_of_record(node: &Node, problems: &mut Problems) -> Option<String> {
    word(node, problems).map(|(text, _)| text.to_owned())
}
