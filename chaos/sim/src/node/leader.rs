//! What a node does because it leads: founding, deciding, telling guards, seeing what sites hear.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use failover_core::{
    Change, Command, GroupSpec, Leases, Refusal, ServerSpec, Told, Vantage, decide, encode, loss_of,
    plan_switchover,
};
use model::{Incarnation, Timestamp, WallTime};

use crate::event::{Event, Message};
use crate::node::Purpose;
use crate::place::{HOST_SITES, HOSTS, NODE_SITES, NODES, Time};
use crate::world::World;

/// A guard that was not heard directly for this long is not heard: some renewals may be lost.
const HEARD_MAX: std::time::Duration = std::time::Duration::from_millis(700);

impl World {
    /// One turn of a leader: decide, then drive the execution.
    pub(crate) fn lead(&mut self, n: usize) {
        let clock = self.node_now(n);
        let Some(run) = self.nodes[n].run.as_mut() else { return };
        if run.leading.is_none() || !run.replica.is_current() {
            return;
        }
        if run.state.incarnation == Incarnation(0) {
            if !run.deciding {
                run.deciding = true;
                let command = self.found();
                self.propose(n, command, Purpose::Found);
            }
            return;
        }
        let version =
            run.state.groups.get(&self.names.group).and_then(|g| Some(g.authority.as_ref()?.version));
        if version != run.told {
            run.told = version;
            self.tell_guards(n);
        }
        self.heed_members(n);
        if self.nodes[n].run.as_ref().is_some_and(|r| !r.deciding) {
            self.decide_now(n, clock);
        }
        self.drive(n);
    }

    fn found(&self) -> Command {
        let servers = (0..self.hosts.len())
            .map(|h| {
                let site = self.names.sites[HOST_SITES[h]].clone();
                (self.names.servers[h].clone(), ServerSpec { site })
            })
            .collect();
        let leases = if self.two_sites() { Leases::Endless } else { Leases::Timed };
        let groups = BTreeMap::from([(self.names.group.clone(), GroupSpec { servers, leases })]);
        Command::Found { incarnation: Incarnation(1), groups }
    }

    fn decide_now(&mut self, n: usize, clock: Timestamp) {
        let run = self.nodes[n].run.as_mut().expect("it leads");
        let decision = decide(&run.state, run.desk.facts(), &self.policy, clock);
        let Some((group, explanation)) = decision.groups.into_iter().next() else { return };
        if let Some(why) = &explanation.holds {
            self.truth.held(why);
        }
        let Some(act) = explanation.act else { return };
        let begins = matches!(act.change, Change::Begin { .. });
        if begins {
            run.desk.withhold(&group);
        }
        run.deciding = true;
        let at = self.wall();
        self.note_node(
            n,
            format_args!(
                "decides {} because {:?} {:?}",
                change_name(&act.change),
                explanation.diagnosis,
                explanation.because
            ),
        );
        let command = Command::Change { group, expect: act.expect, change: act.change, at };
        self.propose(n, command, Purpose::Change);
    }

    /// A person asks this leader to move the group to the other site, or to another server of its own.
    pub(crate) fn order_switchover(&mut self, n: usize, within: bool) {
        let clock = self.node_now(n);
        self.heed_members(n);
        let Some(run) = self.nodes[n].run.as_mut().filter(|r| !r.deciding && r.replica.is_current()) else {
            return;
        };
        let Some(group) = run.state.groups.get(&self.names.group) else { return };
        let Some(authority) = &group.authority else { return };
        let here = &authority.primary.site;
        let beside = group.servers.values().filter(|s| s.site == *here).count() > 1;
        let other = group.servers.values().map(|s| &s.site).find(|s| (*s == here) == (within && beside));
        let Some(to) = other.cloned() else { return };
        let facts = run.desk.facts();
        let planned =
            plan_switchover(&run.state, facts, &self.policy, &self.names.group, &to, "a person", clock);
        let Ok(plan) = planned else { return };
        let Some(act) = plan.act else {
            self.truth.count("switchover-refused");
            return;
        };
        run.deciding = true;
        let command = Command::Change {
            group: self.names.group.clone(),
            expect: act.expect,
            change: act.change,
            at: self.wall(),
        };
        self.propose(n, command, Purpose::Change);
        self.pump(n);
    }

    /// A person looks at what a failover to the other site would lose, and orders it a while later.
    pub(crate) fn think_of_failover(&mut self, n: usize, thinks: Time) {
        let (clock, at) = (self.node_now(n), self.wall());
        let Some(run) = self.nodes[n].run.as_ref().filter(|r| r.replica.is_current()) else { return };
        let id = self.names.group.clone();
        let Some(group) = run.state.groups.get(&id) else { return };
        let Some(authority) = &group.authority else { return };
        let Some(to) = group.servers.values().map(|s| &s.site).find(|s| **s != authority.primary.site) else {
            return;
        };
        let facts = run.desk.facts();
        let Ok((loss, act)) =
            loss_of(&run.state, facts, &self.policy, &id, to, crate::fault::TOLD_OF_NO_LOSS, clock)
        else {
            return;
        };
        if loss.none {
            let command = Box::new(Command::Change { group: id, expect: act.expect, change: act.change, at });
            self.queue.push(self.now + thinks, Event::Person { command });
        }
    }

    /// The order comes to whoever leads now.
    pub(crate) fn person_orders(&mut self, command: Command) {
        let Some(n) = self.leader_node() else { return };
        let Some(run) = self.nodes[n].run.as_mut().filter(|r| !r.deciding && r.replica.is_current()) else {
            return;
        };
        run.desk.withhold(&self.names.group);
        run.deciding = true;
        self.truth.count("ordered-failover");
        self.note_node(n, format_args!("a person orders a failover"));
        self.propose(n, command, Purpose::Change);
        self.pump(n);
    }

    /// Queues a proposal for the raft thread.
    pub(crate) fn propose(&mut self, n: usize, command: Command, purpose: Purpose) {
        let run = self.nodes[n].run.as_mut().expect("it leads");
        run.to_propose.push_back((command, purpose));
    }

    /// The raft thread takes the proposals that wait.
    pub(crate) fn propose_waiting(&mut self, n: usize) {
        loop {
            let run = self.nodes[n].run.as_mut().expect("it runs");
            let Some((command, purpose)) = run.to_propose.pop_front() else { return };
            match run.replica.propose(encode(&command)) {
                Ok(position) => {
                    run.proposed.insert(position.index, (position.term, purpose));
                }
                Err(_) => self.settled(n, purpose, Err(None)),
            }
        }
    }

    /// What came of a proposal: applied, refused at apply, or surely dropped (`Err(None)`).
    pub(crate) fn settled(&mut self, n: usize, purpose: Purpose, outcome: Result<(), Option<Refusal>>) {
        if let Err(Some(refusal)) = &outcome {
            self.note_node(n, format_args!("{purpose:?} refused: {refusal}"));
        }
        let run = self.nodes[n].run.as_mut().expect("it runs");
        match purpose {
            Purpose::Found => run.deciding = false,
            Purpose::Change => {
                run.deciding = false;
                run.desk.resume(&self.names.group);
            }
            // What an execution that is over leaves behind is nothing to the one that runs now.
            Purpose::Started(execution, step)
            | Purpose::Ended(execution, step)
            | Purpose::Step(execution, step)
                if !run.tasks.iter().any(|t| t.execution == execution && t.step == step) => {}
            Purpose::Started(_, step) => self.step_started(n, &step, outcome.is_ok()),
            Purpose::Ended(_, step) => run.tasks.retain(|t| t.step != step),
            Purpose::Step(_, step) => self.step_proposed(n, &step, outcome),
        }
    }

    /// The leader tells all guards of the group at once.
    pub(crate) fn tell_guards(&mut self, n: usize) {
        let clock = self.node_now(n);
        for h in 0..self.hosts.len() {
            let run = self.nodes[n].run.as_ref().expect("it leads");
            let Some(group) = run.state.groups.get(&self.names.group) else { return };
            let Some(authority) = group.authority.clone() else { return };
            let peers = run.desk.peers(group, &self.names.servers[h], clock);
            self.send(n, NODES + h, Message::Told(Rc::new(Told { authority, peers })));
        }
    }

    /// Tells the leader what this node hears.
    pub(crate) fn beat(&mut self, n: usize) {
        let clock = self.node_now(n);
        let run = self.nodes[n].run.as_mut().expect("it runs");
        let mut hears = 0;
        for h in 0..self.hosts.len() {
            if clock.since(run.heard[h]) <= HEARD_MAX {
                hears |= 1 << h;
            }
        }
        run.views[n] = (clock, hears);
        let life = run.state.incarnation;
        let leads = run.leading.is_some();
        let leader = run.leader.filter(|l| *l != n);
        if self.two_sites() {
            // What it heard of other lives is how everybody hears of them.
            for other in (0..self.nodes.len()).filter(|o| *o != n) {
                self.send(n, other, Message::Beat { node: n, hears, life });
            }
        }
        if leads {
            self.file_vantage(n, NODE_SITES[n]);
            self.hand_over(n, clock);
        } else if let Some(leader) = leader.filter(|_| !self.two_sites()) {
            self.send(n, leader, Message::Beat { node: n, hears, life });
        }
    }

    /// What a site hears is what any of its nodes hears.
    pub(crate) fn file_vantage(&mut self, n: usize, site: usize) {
        let clock = self.node_now(n);
        let run = self.nodes[n].run.as_mut().expect("it runs");
        let fresh = self.policy.timing.fresh();
        let mut heard = Timestamp(0);
        let mut mask = 0;
        for (node, (at, hears)) in run.views.iter().enumerate() {
            if NODE_SITES[node] == site && clock.since(*at) <= fresh {
                heard = heard.max(*at);
                mask |= hears;
            }
        }
        let hears: BTreeSet<_> =
            (0..HOSTS).filter(|h| mask & (1 << h) != 0).map(|h| self.names.servers[h].clone()).collect();
        run.desk.on_vantage(self.names.sites[site].clone(), Vantage { heard, hears });
    }

    /// A leader in the active site hands over to the standby site, so that losing the active site
    /// costs no election.
    fn hand_over(&mut self, n: usize, clock: Timestamp) {
        let run = self.nodes[n].run.as_mut().expect("it leads");
        if !run.ticks.is_multiple_of(100) || run.writing.is_some() || run.deciding || !run.tasks.is_empty() {
            return;
        }
        let Some(authority) = run.state.groups.get(&self.names.group).and_then(|g| g.authority.as_ref())
        else {
            return;
        };
        let active = authority.primary.site == self.names.sites[NODE_SITES[n]];
        if !active || run.desk.may_hand_over(&run.state, &self.policy.timing, clock).is_err() {
            return;
        }
        let standby = 1 - NODE_SITES[n].min(1);
        let voters = run.replica.members().voters;
        let votes = |m: usize| voters.contains(&(m as u64 + 1));
        let to = self.nodes_at(standby).find(|m| self.nodes[*m].run.is_some() && votes(*m));
        let run = self.nodes[n].run.as_mut().expect("it leads");
        if let Some(to) = to {
            // What came of it shows in who leads.
            let _ = run.replica.transfer_leader(to as u64 + 1);
        }
    }

    /// The wall clock of a run starts at a fixed day.
    pub(crate) fn wall(&self) -> WallTime {
        WallTime(1_800_000_000_000 + (self.now / 1_000) as i64)
    }
}

fn change_name(change: &Change) -> &'static str {
    match change {
        Change::Start { .. } => "start",
        Change::Begin { .. } => "begin",
        Change::Drain { .. } => "drain",
        Change::Handover { .. } => "handover",
        Change::Open { .. } => "open",
        Change::Abort { .. } => "abort",
        Change::Async { .. } => "async",
        Change::CatchUp { .. } => "catch-up",
        Change::Sync { .. } => "sync",
        Change::Route => "route",
        Change::Rejoin { .. } => "rejoin",
        Change::Rebuild { .. } => "rebuild",
        Change::Quarantine { .. } => "quarantine",
        Change::Discard { .. } => "discard",
        Change::Release { .. } => "release",
    }
}
