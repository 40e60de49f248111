//! One question, one answer: the pure function behind every query.
//!
//! An [`Answer`] borrows sections that the snapshot encoded; nothing is allocated, and nothing but the
//! question's own name is hashed. Chains of CNAMEs and DNAMEs are followed as far as they stay in their zone.
//!
//! Deliberately absent: message headers, EDNS, sizes and truncation, which are the listener's.

use crate::question::CLASS_IN;
use crate::rrset::{Glue, Rrset};
use crate::steering::Picked;
use crate::zone::{CHAIN_MAX, CutId, Found, Node, Parent, RenameId, ZoneId};
use crate::{NAME_MAX, NameBuf, Question, RecordType, Snapshot};

/// RCODEs that an answer may have, RFC 1035 §4.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rcode {
    /// 0.
    Noerror,
    /// 1: the question is of a type that cannot be asked.
    Formerr,
    /// 2: the truth is not known here; ask another server.
    Servfail,
    /// 3: the name does not exist (RFC 6604: the last name of a CNAME chain).
    Nxdomain,
    /// 6: a DNAME would make a name of more than 255 octets (RFC 6672 §2.2).
    Yxdomain,
    /// 5: no zone here covers the name, or the class or transfer is not served.
    Refused,
}

impl Rcode {
    /// Its number.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Rcode::Noerror => 0,
            Rcode::Formerr => 1,
            Rcode::Servfail => 2,
            Rcode::Nxdomain => 3,
            Rcode::Refused => 5,
            Rcode::Yxdomain => 6,
        }
    }
}

/// Why an answer is not what a client wishes for; told as an extended error (RFC 8914).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// No zone here covers the name.
    NotHere,
    /// Such questions are not answered.
    NotSupported,
    /// No quorum confirmed the route to this node lately.
    Stale,
    /// The group is moving, or was never started.
    Moving,
    /// No pool is up.
    NothingUp,
    /// No pool is up, and all members are answered.
    AllDownOpen,
}

impl Why {
    /// INFO-CODE, RFC 8914 §5.2.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Why::NotHere => 20,
            Why::NotSupported => 21,
            Why::Stale | Why::Moving => 14,
            Why::NothingUp | Why::AllDownOpen => 0,
        }
    }

    /// EXTRA-TEXT, for people; at most 60 octets.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Why::NotHere => "no zone here covers the name",
            Why::NotSupported => "class or transfer not served",
            Why::Stale => "no quorum confirmed the route lately",
            Why::Moving => "the group is moving or was never started",
            Why::NothingUp => "no pool is up",
            Why::AllDownOpen => "no pool is up; all members are answered",
        }
    }
}

/// A step of the answer section.
#[derive(Debug, Clone, Copy)]
pub enum Link<'a> {
    /// The records of one owner and type.
    Records(&'a Rrset),
    /// A DNAME above the owner; behind it a CNAME is made that leads from the owner to the same name below the DNAME's target
    /// (RFC 6672 §3.1), but where that is too long.
    Renamed {
        /// The DNAME.
        dname: &'a Rrset,
        /// Octets of its owner's name.
        owner_length: u16,
        /// The DNAME stands in the answer already, and is not sent again (RFC 2181 §5).
        again: bool,
        /// A CNAME follows.
        leads: bool,
    },
}

/// What is answered. Owners: the first step's owner is the question's name; after a CNAME, the owner of
/// what follows is the CNAME's target; an authority section's owner is the last `owner_length` octets of
/// whichever of these came last.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The response code.
    pub rcode: Rcode,
    /// The AA bit: authority over the question's own name (RFC 1035 §4.1.1).
    pub authoritative: bool,
    /// What the authority section holds.
    pub authority: Authority<'a>,
    /// ECS SCOPE PREFIX-LENGTH: how much of the client's prefix was looked at, 0 when none (RFC 7871 §7.2.1).
    pub scope: u8,
    /// Why it is not what a client wishes for. [`Why::AllDownOpen`] is counted (STYLE S4).
    pub why: Option<Why>,
    answers: [Option<Link<'a>>; CHAIN_MAX + 1],
}

/// The authority section.
#[derive(Debug, Clone, Copy)]
pub enum Authority<'a> {
    /// Nothing: answers are minimal.
    None,
    /// The SOA of a negative answer, RFC 2308.
    Negative {
        /// The zone's SOA.
        soa: &'a Rrset,
        /// Octets of the zone's name.
        owner_length: u16,
    },
    /// A delegation, RFC 1034 §4.3.2 step 3b.
    Referral {
        /// The child's NS.
        name_servers: &'a Rrset,
        /// Octets of the child's name.
        owner_length: u16,
        /// Addresses of the name servers, for the additional section.
        glue: &'a Glue,
    },
}

impl<'a> Answer<'a> {
    /// The steps of the answer section in order: what leads on, then at most one that does not.
    pub fn links(&self) -> impl Iterator<Item = Link<'a>> + '_ {
        self.answers.iter().map_while(|a| *a)
    }

    /// Their RRsets; a CNAME that is made of a DNAME is not among them.
    pub fn answers(&self) -> impl Iterator<Item = &'a Rrset> + '_ {
        self.links().map(|link| match link {
            Link::Records(rrset) => rrset,
            Link::Renamed { dname, .. } => dname,
        })
    }

    fn refused(why: Why) -> Self {
        Self { why: Some(why), ..Self::empty(Rcode::Refused, false) }
    }

    fn empty(rcode: Rcode, authoritative: bool) -> Self {
        Self {
            rcode,
            authoritative,
            authority: Authority::None,
            scope: 0,
            why: None,
            answers: [None; CHAIN_MAX + 1],
        }
    }

    /// False where a chain has as many steps as are followed: what is there is sent, and the resolver goes on by itself.
    fn push(&mut self, link: Link<'a>) -> bool {
        let free = self.answers.iter_mut().find(|a| a.is_none());
        match free {
            Some(free) => {
                *free = Some(link);
                true
            }
            None => false,
        }
    }

    /// This CNAME was sent for this very name: a wildcard's is sent for several.
    fn loops(&self, cname: &Rrset, name: &[u8], question: &[u8]) -> bool {
        let mut before = Some(question);
        for link in self.links() {
            let same = matches!(link, Link::Records(sent) if std::ptr::eq(sent, cname));
            if same && before.is_some_and(|before| before.eq_ignore_ascii_case(name)) {
                return true;
            }
            before = match link {
                Link::Records(sent) => sent.data().next(),
                Link::Renamed { .. } => None,
            };
        }
        false
    }

    fn records(&mut self, rrset: &'a Rrset) -> bool {
        self.push(Link::Records(rrset))
    }

    fn negative(&mut self, snapshot: &'a Snapshot, zone: ZoneId, soa: Option<&'a Rrset>) {
        let zone = snapshot.table().zone(zone);
        let owner_length = u16::try_from(zone.apex.wire().len()).expect("a name is at most 255 octets");
        self.authority = Authority::Negative { soa: soa.unwrap_or(&zone.negative), owner_length };
    }

    fn referral(&mut self, snapshot: &'a Snapshot, cut: CutId) {
        let cut = snapshot.table().cut(cut);
        let owner_length = u16::try_from(cut.owner.wire().len()).expect("a name is at most 255 octets");
        self.authority =
            Authority::Referral { name_servers: &cut.name_servers, owner_length, glue: &cut.glue };
    }
}

/// The name that is looked for at the moment.
#[derive(Clone, Copy)]
enum At<'a> {
    Question,
    /// A CNAME's target.
    Target(&'a [u8]),
    /// What a DNAME made.
    Made,
}

/// Answers `question` from `snapshot`. RFC 1034 §4.3.2 with RFC 2308, RFC 4592, RFC 6672, RFC 8020 and RFC 8482.
#[must_use]
pub fn answer<'a>(snapshot: &'a Snapshot, question: &Question) -> Answer<'a> {
    if question.class != CLASS_IN {
        return Answer::refused(Why::NotSupported);
    }
    match question.record_type {
        // No transfers (yet); a refusal tells a secondary to ask elsewhere.
        RecordType::AXFR | RecordType::IXFR => return Answer::refused(Why::NotSupported),
        // Pseudo records that belong into other sections cannot be asked for.
        RecordType::OPT | RecordType::TSIG | RecordType::TKEY | RecordType(0) => {
            return Answer::empty(Rcode::Formerr, false);
        }
        _ => {}
    }
    let mut found = snapshot.table().find(question.name.wire());
    if found == Found::Outside {
        return Answer::refused(Why::NotHere);
    }
    let mut answer = Answer::empty(Rcode::Noerror, true);
    let mut at = At::Question;
    let mut made = None;
    loop {
        match found {
            // The chain leaves the zone: the resolver goes on by itself.
            Found::Outside => return answer,
            Found::Missing(zone) => {
                answer.rcode = Rcode::Nxdomain;
                answer.negative(snapshot, zone, None);
                return answer;
            }
            Found::Below(cut) => return referred(answer, snapshot, cut),
            Found::Renamed(rename) => {
                let name = name_at(at, question, made.as_ref());
                let new = renamed(snapshot, rename, name);
                let rename = snapshot.table().rename(rename);
                let link = Link::Renamed {
                    dname: &rename.dname,
                    owner_length: rename.owner_length,
                    again: answer.answers().any(|sent| std::ptr::eq(sent, &rename.dname)),
                    leads: new.is_some(),
                };
                if !answer.push(link) {
                    return answer;
                }
                let Some(new) = new else {
                    answer.rcode = Rcode::Yxdomain;
                    return answer;
                };
                // What is made is what was asked for.
                if question.record_type == RecordType::CNAME {
                    return answer;
                }
                found = snapshot.table().follow(new.wire(), snapshot.table().node(rename.node).zone);
                made = Some(new);
                at = At::Made;
            }
            Found::Node(id) => {
                let node = snapshot.table().node(id);
                // At a delegation only the DS is the parent's to answer, RFC 4035 §3.1.4.1.
                if let (Some(cut), true) = (node.cut, question.record_type != RecordType::DS) {
                    return referred(answer, snapshot, cut);
                }
                let alias = node.target.filter(|_| question.record_type != RecordType::CNAME);
                let Some(target) = alias else { return at_node(answer, snapshot, node, question) };
                let cname = node.rrset(RecordType::CNAME).expect("a target comes of a CNAME");
                let name = name_at(at, question, made.as_ref());
                if answer.loops(cname, name, question.name.wire()) || !answer.records(cname) {
                    return answer;
                }
                at = At::Target(cname.data().next().expect("an RRset has a record"));
                // RFC 8482 §4.1: one RRset is enough for ANY.
                if question.record_type == RecordType::ANY {
                    return answer;
                }
                found = target;
            }
        }
    }
}

fn name_at<'a>(at: At<'a>, question: &'a Question, made: Option<&'a NameBuf>) -> &'a [u8] {
    match at {
        At::Question => question.name.wire(),
        At::Target(wire) => wire,
        At::Made => made.map_or(question.name.wire(), NameBuf::wire),
    }
}

/// `name` with the DNAME's owner at its end replaced by the target; none where that is too long.
fn renamed(snapshot: &Snapshot, rename: RenameId, name: &[u8]) -> Option<NameBuf> {
    let rename = snapshot.table().rename(rename);
    let target = rename.dname.data().next().expect("an RRset has a record");
    let kept = name.len() - usize::from(rename.owner_length);
    let mut wire = [0_u8; NAME_MAX];
    wire[..kept].copy_from_slice(&name[..kept]);
    wire.get_mut(kept..kept + target.len())?.copy_from_slice(target);
    let mut new = NameBuf::new();
    new.read(&wire[..kept + target.len()])?;
    Some(new)
}

fn referred<'a>(mut answer: Answer<'a>, snapshot: &'a Snapshot, cut: CutId) -> Answer<'a> {
    answer.referral(snapshot, cut);
    // Authority is over the question's name; a chain that began in our zone keeps it.
    answer.authoritative = answer.answers[0].is_some();
    answer
}

fn at_node<'a>(
    mut answer: Answer<'a>,
    snapshot: &'a Snapshot,
    node: &'a Node,
    question: &Question,
) -> Answer<'a> {
    let steering = node.steering.map(|id| &snapshot.steering[id as usize]);
    let pick = match (steering, question.record_type) {
        (Some(steering), RecordType::A) => Some(steering.pick_v4(question.client)),
        (Some(steering), RecordType::AAAA) => Some(steering.pick_v6(question.client)),
        _ => None,
    };
    if let Some(pick) = pick {
        answer.scope = pick.scope;
        answer.why = pick.why;
        match pick.records {
            Picked::Records(records) => {
                answer.records(records);
            }
            Picked::Absent => answer.negative(snapshot, node.zone, None),
            Picked::Nodata(soa) => answer.negative(snapshot, node.zone, Some(soa)),
            Picked::Servfail => return Answer { why: pick.why, ..Answer::empty(Rcode::Servfail, false) },
        }
        return answer;
    }
    let exists = steering.is_some() || !node.rrsets.is_empty();
    if question.record_type == RecordType::ANY && exists {
        answer.records(snapshot.any());
    } else if question.record_type == RecordType::DS
        && let Some(parent) = parent(snapshot, node)
    {
        match (parent.cut, &parent.ds) {
            (Some(cut), _) => return referred(answer, snapshot, cut),
            (None, Some(ds)) => _ = answer.records(ds),
            (None, None) => answer.negative(snapshot, parent.zone, None),
        }
    } else if let Some(rrset) = node.rrset(question.record_type) {
        answer.records(rrset);
    } else {
        answer.negative(snapshot, node.zone, None);
    }
    answer
}

/// The parent's side of the cut whose child's apex this is.
fn parent<'a>(snapshot: &'a Snapshot, node: &'a Node) -> Option<&'a Parent> {
    let apex = node.rrset(RecordType::SOA).is_some();
    snapshot.table().zone(node.zone).parent.as_ref().filter(|_| apex)
}
