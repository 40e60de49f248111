//! The model as stateright takes it: where it starts, what can happen, and what comes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use stateright::{Model, Property};

use crate::action::Action;
use crate::bounds::Bounds;
use crate::mutant::Mutant;
use crate::property::Invariant;
use crate::state::{ERRANT, State};

/// The authority protocol, within bounds, with rules taken out or none.
#[derive(Debug, Clone)]
pub struct Protocol {
    pub bounds: Bounds,
    pub mutants: Vec<Mutant>,
    /// Invariants that are not looked at, to see which others stand behind them.
    pub unseen: Vec<Invariant>,
    /// Nothing more is looked at from then on; stateright's own limit does not stop a busy thread.
    pub(crate) until: Option<Instant>,
    /// The walk is over: ways are being told, and time does not matter any more.
    pub(crate) over: Arc<AtomicBool>,
}

impl Protocol {
    /// Within these bounds, with these rules taken out.
    #[must_use]
    pub fn new(bounds: Bounds, mutants: &[Mutant]) -> Self {
        Protocol { bounds, mutants: mutants.to_vec(), unseen: vec![], until: None, over: Arc::default() }
    }

    /// The rule is taken out.
    pub(crate) fn lacks(&self, mutant: Mutant) -> bool {
        self.mutants.contains(&mutant)
    }

    /// False when it cannot happen now; the state is of no use then.
    fn perform(&self, s: &mut State, action: Action) -> bool {
        use Action as A;
        match action {
            A::Commit(change) => self.commit(s, change),
            A::Decide(change) => self.decide_late(s, change) && self.may(s),
            A::Order => self.order(s),
            A::Block => self.block(s),
            A::StopAcker => self.stop_acker(s),
            A::FenceSoftly => self.fence_softly(s),
            A::FenceByKill => self.fence_by_kill(s),
            A::BelieveReport => self.believe_report(s),
            A::Outwait => self.outwait(s),
            A::Drain => self.drain(s),
            A::Compare => self.compare(s),
            A::Promoting => self.promoting(s),
            A::Promote => self.promote(s),
            A::Renew(site) => self.renew(s, site),
            A::Hear(site) => self.hear(s, site),
            A::LeaseEnds(site) => Self::lease_ends(s, site),
            A::Delay(site) => Self::delay(s, site) && self.may(s),
            A::Deliver => self.deliver(s),
            A::MailEnds => Self::mail_ends(s),
            A::Open(site) => self.open(s, site),
            A::BeginOpen(site) => self.begin_open(s, site) && self.may(s),
            A::GateLands(site) => self.gate_lands(s, site),
            A::GateShuts(site) => Self::gate_shuts(s, site),
            A::Arm(site) => Self::arm(s, site),
            A::Disarm(site) => self.disarm(s, site),
            A::DisarmUnasked(site) => self.disarm_unasked(s, site),
            A::Sentinel(site) => Self::sentinel(s, site),
            A::SemiOn(site) => Self::semi_on(s, site),
            A::StartReceiver(site) => Self::start_receiver(s, site),
            A::Rejoin(site) => Self::rejoin(s, site),
            A::Write(site) => self.write(s, site),
            A::Tell(site) => Self::tell(s, site),
            A::Receive(site) => Self::receive(s, site),
            A::Apply(site) => Self::apply_relay(s, site),
            A::Crash(site) => self.crash(s, site),
            A::Reboot(site) => self.reboot(s, site),
            A::Start(site) => self.start(s, site, false),
            A::StartForgetting(site) => self.start(s, site, true),
            A::Pause(site) => self.pause(s, site),
            A::Wake(site) => Self::wake(s, site),
        }
    }
}

/// I8: nothing that only grows went down in this step.
fn grew(before: &State, after: &State) -> bool {
    let authority = |s: &State| (s.authority.epoch, s.authority.version, s.authority.g);
    let (a, b) = (authority(before), authority(after));
    a.0 <= b.0
        && a.1 <= b.1
        && a.2 <= b.2
        && before.servers.iter().zip(&after.servers).all(|(a, b)| {
            a.seen <= b.seen
                && a.fenced_through <= b.fenced_through
                && a.no_source <= b.no_source
                && a.g <= b.g
        })
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::started(0), State::started(ERRANT)]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        if self.until.is_none_or(|until| Instant::now() < until || self.over.load(Ordering::Relaxed)) {
            Action::all(actions);
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut after = *before;
        if !self.perform(&mut after, action) || after == *before {
            return None;
        }
        if !grew(before, &after) {
            after.breaks(Invariant::I8);
        }
        self.forget(before, &mut after);
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        Self::properties_of_all()
    }

    fn format_action(&self, action: &Action) -> String {
        action.to_string()
    }
}
