//! `twofold failover` and `twofold db rebuild`, as a person orders them: with the loss stated and accepted, and with a
//! word for a fence that nobody else can confirm.

use failover_core::{Act, Change, Command, Phase, discard_of, fenced_by_hand, loss_of};

use super::{Back, Doing, PATIENCE};
use crate::node::Purpose;
use crate::place::{HOST_SITES, NODES, SECOND, Time};
use crate::world::World;

/// The word for a fence.
const SEEN: &str = "its host has no power: I stood before it";
/// A move within which nothing came to pass is left.
const GIVES_UP: Time = 60 * SECOND;

impl World {
    /// There is a quorum, and the primary is silent or shut: it is fenced by hand where it does not answer, and the
    /// group goes elsewhere.
    pub(super) fn person_leaves_the_primary(&mut self) -> Doing {
        let Some(primary) = self.primary_host() else { return Doing::Watching };
        let from = HOST_SITES[primary];
        let beside = self.hosts_at(from).count() > 1 && self.chance.one_in(3);
        let site = if beside { from } else { 1 - from };
        let back = self.back_of(&Default::default(), false);
        if !self.is_heard(primary) && self.now < self.plan.heals {
            self.truth.count("host-fenced");
            self.power_off(NODES + primary);
        }
        Doing::Moving { site, until: self.now + GIVES_UP, back }
    }

    /// Orders the failover again and again until it has come to pass, or is not called for any more.
    pub(super) fn person_moves(&mut self, site: usize, until: Time, back: Back) -> Doing {
        let Some(primary) = self.primary_host() else { return Doing::BringingBack(back) };
        let off = self.person.holds.contains(&(NODES + primary));
        let serves = self.can_acknowledge(primary) && self.is_heard(primary);
        if (serves && !off) || self.now > until {
            return Doing::BringingBack(back);
        }
        let serving =
            self.group().and_then(|g| g.authority.as_ref()).is_some_and(|a| a.phase == Phase::Serving);
        if serving && let Some(leader) = self.leader_node() {
            self.order_failover(leader, site, off);
        }
        Doing::Moving { site, until, back }
    }

    fn order_failover(&mut self, n: usize, site: usize, off: bool) {
        let clock = self.node_now(n);
        self.heed_members(n);
        let (group, to) = (&self.names.group, &self.names.sites[site]);
        let Some(run) = self.nodes[n].run.as_mut().filter(|r| !r.deciding && r.replica.is_current()) else {
            return;
        };
        let (state, facts) = (&run.state, run.desk.facts());
        let stated = loss_of(state, facts, &self.policy, group, to, "a person", clock);
        let word = fenced_by_hand(state, facts, &self.policy, group, "a person", off.then_some(SEEN), clock);
        let (mut act, word) = match (stated, word) {
            (Ok((_, act)), Ok(word)) => (act, word),
            (Err(why), _) | (_, Err(why)) => {
                self.truth.count("failover-refused");
                return self.truth.held(&why);
            }
        };
        if let Change::Begin { fenced, .. } = &mut act.change {
            self.truth.count(if word.is_some() { "failover-by-word" } else { "failover-by-person" });
            *fenced = word;
        }
        run.desk.withhold(group);
        self.propose_for_a_person(n, act);
    }

    fn propose_for_a_person(&mut self, n: usize, act: Act) {
        let group = self.names.group.clone();
        let command = Command::Change { group, expect: act.expect, change: act.change, at: self.wall() };
        let run = self.nodes[n].run.as_mut().expect("the caller saw it");
        run.deciding = true;
        self.propose(n, command, Purpose::Change);
        self.pump(n);
    }

    /// What waits in quarantine is copied anew after a while, and with that given up: where nobody's disk lied, what
    /// is given up was so when the group moved.
    pub(super) fn person_tidies_up(&mut self) {
        let waiting = self.group().and_then(|g| g.returns.keys().next().cloned());
        let lied = self.truth.counts.contains_key("disk-lied");
        let (Some(server), false) = (waiting, lied) else {
            self.person.tidies = self.now + self.chance.between(PATIENCE.0, PATIENCE.1 * 2);
            return;
        };
        let Some(n) = self.leader_node().filter(|_| self.now >= self.person.tidies) else { return };
        let clock = self.node_now(n);
        let Some(run) = self.nodes[n].run.as_ref().filter(|r| !r.deciding && r.replica.is_current()) else {
            return;
        };
        let group = &self.names.group;
        let given_up =
            discard_of(&run.state, run.desk.facts(), &self.policy, group, &server, "a person", clock);
        if let Ok((_, act)) = given_up {
            self.truth.count("discarded");
            self.propose_for_a_person(n, act);
        }
        self.person.tidies = self.now + PATIENCE.1;
    }
}
