//! Where NSD, Knot and BIND agree with each other, so do we.
//!
//! Zones are drawn from a seed, put into all four servers as master files, and every name in them, above them and below
//! them is asked of each. What is compared: RCODE, AA, the answer section in its order, the authority section, and the
//! addresses of a referral. An owner that is the question's name by its octets: it has the question's case. Other names
//! without regard to case, since NSD and Knot fold some of them.
//!
//! Where the others differ from each other we say what one of them says, but for chains that go in circles: each server
//! follows them as far as it likes.
//!
//! `TWOFOLD_SEED=N` draws other zones, `TWOFOLD_ZONES=N` more or fewer of them.

#![allow(clippy::unwrap_used)]

mod servers;
mod zones;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinDecodable;

/// Zones drawn, where nothing else is said.
const ZONES: u64 = 16;
/// Steps of a chain that every server follows.
const STEPS: usize = 5;
const TYPES: [u16; 12] = [1, 28, 5, 2, 6, 15, 16, 43, 39, 33, 65, 65280];

fn query(id: u16, name: &str, record_type: u16) -> Option<Vec<u8>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).ok()?, RecordType::from(record_type)));
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    message.edns = Some(edns);
    message.to_vec().ok()
}

/// What a variable of the environment says.
fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// What of an answer is compared, as text.
fn told(asked: &str, octets: &[u8]) -> String {
    let message = Message::from_vec(octets).unwrap_or_else(|error| panic!("{error} in {octets:02x?}"));
    let mut text = format!("{:?} aa={}\n", message.response_code, message.authoritative);
    let line = |record: &Record| {
        let data = match &record.data {
            RData::Unknown { code, rdata } if u16::from(*code) == 39 => {
                Name::from_bytes(&rdata.anything).unwrap().to_string()
            }
            data => data.to_string(),
        };
        let folds = !matches!(record.record_type(), RecordType::TXT | RecordType::Unknown(65280));
        let data = if folds { data.to_ascii_lowercase() } else { data };
        let mut owner = record.name.to_string();
        if !owner.eq_ignore_ascii_case(asked) {
            owner = owner.to_ascii_lowercase();
        }
        format!("{owner} {} {} {data}", record.ttl, record.record_type())
    };
    // Records of one owner and type in any order, such groups in theirs.
    let mut groups: Vec<((String, RecordType), Vec<String>)> = Vec::new();
    for record in &message.answers {
        let key = (record.name.to_string().to_ascii_lowercase(), record.record_type());
        match groups.iter_mut().find(|(k, _)| *k == key) {
            Some((_, lines)) => lines.push(line(record)),
            None => groups.push((key, vec![line(record)])),
        }
    }
    for (_, lines) in &mut groups {
        lines.sort();
        for line in lines {
            writeln!(text, "  answer {line}").unwrap();
        }
    }
    let sorted = |records: &[Record]| {
        let mut lines: Vec<String> = records.iter().map(line).collect();
        lines.sort();
        lines
    };
    for line in sorted(&message.authorities) {
        writeln!(text, "  authority {line}").unwrap();
    }
    let referral = message.authorities.iter().any(|r| r.record_type() == RecordType::NS);
    if referral {
        for line in sorted(&message.additionals) {
            writeln!(text, "  glue {}", line.to_ascii_lowercase()).unwrap();
        }
    }
    text
}

/// It is a chain of more steps than every server follows, or one that comes back to a name in it.
fn goes_on(told: &str) -> bool {
    let steps: Vec<(String, String)> = told
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace().skip(1);
            let (owner, _, record_type, target) =
                (words.next()?, words.next()?, words.next()?, words.next()?);
            (record_type == "CNAME").then(|| (owner.to_ascii_lowercase(), target.to_ascii_lowercase()))
        })
        .collect();
    let last = steps.last().map(|(_, target)| target);
    steps.len() >= STEPS || steps.iter().any(|(owner, _)| Some(owner) == last)
}

/// How often which servers said the same as we did, and what only we said.
#[derive(Default)]
struct Count {
    asked: u64,
    agreed: u64,
    with: BTreeMap<&'static str, u64>,
    alone: Vec<String>,
}

#[test]
fn where_others_agree_so_do_we() {
    let seed = number("TWOFOLD_SEED", 1);
    let zones = number("TWOFOLD_ZONES", ZONES);
    let dir = tempfile::tempdir().unwrap();
    let drawn: Vec<zones::Zone> = (0..zones).map(|index| zones::draw(seed, index)).collect();
    let mut files = Vec::new();
    for zone in &drawn {
        let file = format!("{}zone", zone.origin);
        fs::write(dir.path().join(&file), &zone.text).unwrap();
        files.push((zone.origin.clone(), file));
    }
    let first = query(1, &drawn[0].origin, 6).unwrap();
    let ours = servers::ours(dir.path(), &files);
    let others = servers::others(dir.path(), &files, &first);
    // A server that refuses a file would agree with nobody, and be of no use.
    for zone in &drawn {
        let query = query(2, &zone.origin, 6).unwrap();
        for server in others.iter().chain([&ours.server]) {
            let said = told(&zone.origin, &server.ask(&query));
            let log = fs::read_to_string(dir.path().join(server.name).join("log")).unwrap_or_default();
            assert!(
                said.starts_with("NoError aa=true"),
                "{} did not load {}: {log}",
                server.name,
                zone.origin
            );
        }
    }
    let mut count = Count::default();
    let mut id = 1;
    for zone in &drawn {
        for name in zones::questions(zone) {
            for record_type in TYPES {
                id = if id == u16::MAX { 2 } else { id + 1 };
                let Some(query) = query(id, &name, record_type) else { continue };
                let mine = told(&name, &ours.server.ask(&query));
                let theirs: Vec<String> = others.iter().map(|s| told(&name, &s.ask(&query))).collect();
                count.asked += 1;
                let all = theirs.windows(2).all(|pair| pair[0] == pair[1]);
                count.agreed += u64::from(all);
                for (server, said) in others.iter().zip(&theirs) {
                    *count.with.entry(server.name).or_default() += u64::from(*said == mine);
                }
                if !theirs.contains(&mine) && (all || !goes_on(&mine)) {
                    let mut text = format!("{name} TYPE{record_type}, all agree: {all}\ntwofold: {mine}");
                    for (server, said) in others.iter().zip(&theirs) {
                        write!(text, "{}: {said}", server.name).unwrap();
                    }
                    count.alone.push(text);
                }
            }
        }
    }
    println!(
        "{} asked, {} agreed upon by all; the same as ours: {:?}",
        count.asked, count.agreed, count.with
    );
    // Of each name one is enough.
    let mut alone = count.alone.clone();
    alone.dedup_by_key(|text| text.split(' ').next().unwrap().to_owned());
    let shown = alone.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(count.alone.is_empty(), "{} answers that only we give:\n{shown}", count.alone.len());
}
