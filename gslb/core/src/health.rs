//! From observations to verdicts, damped.
//!
//! Every vantage site has an opinion on every member: `rise` successes in a row make it Up, `fall`
//! failures in a row make it Down, and the first observation after silence decides at once (a node that
//! starts must not wait for `rise` rounds). An opinion that got no observation for `freshness` is no
//! opinion any more.
//!
//! The verdict is that of a majority of the sites heard fresh, the other sites' observations being passed
//! on between nodes. A node that hears no other site goes by its own. A single other site is believed
//! unless it is the member's own, which would judge itself (DESIGN §4). Without a majority the verdict
//! stays as it was; with nobody fresh it is Unknown.
//!
//! `at` of every observation is this node's clock: whoever receives one from another node restamps it by
//! its age, since clocks of two hosts are never compared.
//!
//! Deliberately absent: sending probes, passing observations on, forced states (issue D).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{MemberId, Observation, PoolId, SiteId, Timestamp, Verdict, VerdictState};

use crate::Verdicts;

/// How the observations of one member are judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberCheck {
    /// The site the member stands in.
    pub site: SiteId,
    /// Successes in a row that bring it up; 0 counts as 1.
    pub rise: u32,
    /// Failures in a row that bring it down; 0 counts as 1.
    pub fall: u32,
    /// How long an observation counts. A few intervals: less would flap when one probe is late.
    pub freshness: Duration,
}

/// All that is known of the members of all pools.
#[derive(Debug, Clone)]
pub struct Health {
    own: SiteId,
    members: BTreeMap<(PoolId, MemberId), MemberHealth>,
}

#[derive(Debug, Clone)]
struct MemberHealth {
    check: MemberCheck,
    opinions: BTreeMap<SiteId, Opinion>,
    verdict: Verdict,
    /// Set when the verdict was taken over from an earlier life and no site has been heard since: until then.
    adopted_until: Option<Timestamp>,
}

/// What one site thinks of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opinion {
    /// Up or Down; an opinion that is too old is removed instead of being Unknown.
    pub state: VerdictState,
    /// Observations in a row that contradict `state`.
    pub contradictions: u32,
    /// Time of the newest observation.
    pub at: Timestamp,
    /// Why the newest failure failed; kept while later ones succeed, for `explain`.
    pub last_error: Option<String>,
}

/// A verdict that is not what it was: its state, or only how soon it may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerdictChange {
    /// The pool.
    pub pool: PoolId,
    /// Its member.
    pub member: MemberId,
    /// The verdict until now.
    pub from: Verdict,
    /// The verdict from now on.
    pub to: Verdict,
    /// The sites it rests on, each with its opinion, for logs: `mdc up, wit down (connection refused)`.
    pub because: String,
}

impl VerdictChange {
    /// False when only the time to the next possible change differs: answers change in TTL alone.
    #[must_use]
    pub fn state_changed(&self) -> bool {
        self.from.state != self.to.state
    }
}

/// Nothing known, and the first observation may change it.
const UNKNOWN: Verdict = Verdict { state: VerdictState::Unknown, probes_to_change: 1 };

/// Takes one observation in. Observations of members that are not configured, and ones older than the
/// newest of the same site, are ignored.
pub fn observe(health: &mut Health, observation: Observation) -> Option<VerdictChange> {
    let key = (observation.pool, observation.member);
    let member = health.members.get_mut(&key)?;
    let now = observation.at;
    member.drop_stale(now);
    let opinion = member.opinions.get(&observation.vantage);
    if opinion.is_some_and(|o| o.at > now) {
        return None;
    }
    let next = judge(opinion, &member.check, now, observation.result);
    member.opinions.insert(observation.vantage, next);
    member.adopted_until = None;
    member.conclude(&health.own, &key)
}

impl Health {
    /// Knows nothing. `own` is this node's site.
    #[must_use]
    pub fn new(own: SiteId) -> Self {
        Self { own, members: BTreeMap::new() }
    }

    /// Sets which members are judged, and how. What is known of members that stay is kept; members that
    /// are new begin as Unknown.
    pub fn configure(&mut self, checks: BTreeMap<(PoolId, MemberId), MemberCheck>) {
        let mut known = std::mem::take(&mut self.members);
        for (key, check) in checks {
            let member = match known.remove(&key) {
                Some(member) => MemberHealth { check, ..member },
                None => {
                    MemberHealth { check, opinions: BTreeMap::new(), verdict: UNKNOWN, adopted_until: None }
                }
            };
            self.members.insert(key, member);
        }
    }

    /// Takes over the verdicts of an earlier life, such as a snapshot's from disk, for members that
    /// nobody has been heard on. Each holds until the first observation, or for its `freshness` from `now`.
    pub fn adopt(&mut self, verdicts: &Verdicts, now: Timestamp) {
        for ((pool, id), member) in &mut self.members {
            let Some(verdict) = verdicts.get(pool).and_then(|v| v.get(id)) else { continue };
            if member.opinions.is_empty() && verdict.state != VerdictState::Unknown {
                // How soon it could change is not known any more: by the very next probe.
                member.verdict = Verdict { probes_to_change: 1, ..*verdict };
                member.adopted_until = Some(now + member.check.freshness);
            }
        }
    }

    /// Lets go of what is too old at `now`, and returns what that changes.
    pub fn expire(&mut self, now: Timestamp) -> Vec<VerdictChange> {
        let mut changes = Vec::new();
        for (key, member) in &mut self.members {
            member.drop_stale(now);
            if member.adopted_until.is_none_or(|until| now >= until) {
                member.adopted_until = None;
                changes.extend(member.conclude(&self.own, key));
            }
        }
        changes
    }

    /// When [`Health::expire`] next has something to do, if nothing is observed until then.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.members.values().flat_map(MemberHealth::deadlines).min()
    }

    /// The verdicts on all members, for a snapshot.
    #[must_use]
    pub fn verdicts(&self) -> Verdicts {
        let mut verdicts = Verdicts::new();
        for ((pool, id), member) in &self.members {
            verdicts.entry(pool.clone()).or_default().insert(id.clone(), member.verdict);
        }
        verdicts
    }

    /// The opinions behind one verdict, by site.
    #[must_use]
    pub fn opinions(&self, pool: &PoolId, member: &MemberId) -> Option<&BTreeMap<SiteId, Opinion>> {
        self.members.get(&(pool.clone(), member.clone())).map(|m| &m.opinions)
    }

    /// Members that nobody has been heard on: while there are some, a fresh node has not finished its
    /// first round.
    #[must_use]
    pub fn unheard(&self) -> BTreeSet<(PoolId, MemberId)> {
        let unheard = self.members.iter().filter(|(_, m)| m.opinions.is_empty());
        unheard.map(|(key, _)| key.clone()).collect()
    }
}

impl MemberHealth {
    fn drop_stale(&mut self, now: Timestamp) {
        let freshness = self.check.freshness;
        self.opinions.retain(|_, o| now < o.at + freshness);
    }

    fn deadlines(&self) -> impl Iterator<Item = Timestamp> {
        self.opinions.values().map(|o| o.at + self.check.freshness).chain(self.adopted_until)
    }

    fn conclude(&mut self, own: &SiteId, key: &(PoolId, MemberId)) -> Option<VerdictChange> {
        let to = self.conclusion(own);
        if to == self.verdict {
            return None;
        }
        let from = std::mem::replace(&mut self.verdict, to);
        let (pool, member) = key.clone();
        Some(VerdictChange { pool, member, from, to, because: self.because() })
    }

    fn conclusion(&self, own: &SiteId) -> Verdict {
        let heard = self.opinions.len();
        let only = self.opinions.keys().next();
        match only {
            None => return UNKNOWN,
            // Another site that speaks for its own member alone is no quorum.
            Some(site) if heard == 1 && site != own && *site == self.check.site => return self.undecided(),
            Some(_) => {}
        }
        let majority = heard / 2 + 1;
        for state in [VerdictState::Up, VerdictState::Down] {
            if self.opinions.values().filter(|o| o.state == state).count() >= majority {
                return Verdict { state, probes_to_change: self.probes_to_change(state, majority) };
            }
        }
        self.undecided()
    }

    /// The verdict stays, and the next probe may settle it.
    fn undecided(&self) -> Verdict {
        Verdict { state: self.verdict.state, probes_to_change: 1 }
    }

    /// Rounds of contrary probes until the other side has the majority. Sites probe side by side, so the
    /// slowest of the quickest that are still missing counts.
    fn probes_to_change(&self, state: VerdictState, majority: usize) -> u32 {
        let mut needed: Vec<u32> = Vec::new();
        for opinion in self.opinions.values().filter(|o| o.state == state) {
            let threshold = if state == VerdictState::Up { self.check.fall } else { self.check.rise };
            needed.push(threshold.max(1).saturating_sub(opinion.contradictions).max(1));
        }
        needed.sort_unstable();
        let contrary = self.opinions.len() - needed.len();
        needed[majority - contrary - 1]
    }

    fn because(&self) -> String {
        if self.opinions.is_empty() {
            return "no site was heard lately".to_owned();
        }
        let say = |(site, o): (&SiteId, &Opinion)| match (o.state, &o.last_error) {
            (VerdictState::Up, _) => format!("{site} up"),
            (_, Some(error)) => format!("{site} down ({error})"),
            (_, None) => format!("{site} down"),
        };
        self.opinions.iter().map(say).collect::<Vec<_>>().join(", ")
    }
}

/// One site's opinion after one more observation.
fn judge(
    before: Option<&Opinion>,
    check: &MemberCheck,
    at: Timestamp,
    result: Result<u64, String>,
) -> Opinion {
    let seen = if result.is_ok() { VerdictState::Up } else { VerdictState::Down };
    let last_error = result.err().or_else(|| before.and_then(|o| o.last_error.clone()));
    let Some(before) = before else {
        return Opinion { state: seen, contradictions: 0, at, last_error };
    };
    if seen == before.state {
        return Opinion { state: seen, contradictions: 0, at, last_error };
    }
    let needed = if seen == VerdictState::Up { check.rise } else { check.fall };
    let contradictions = before.contradictions + 1;
    if contradictions >= needed {
        Opinion { state: seen, contradictions: 0, at, last_error }
    } else {
        Opinion { state: before.state, contradictions, at, last_error }
    }
}
