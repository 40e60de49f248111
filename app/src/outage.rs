//! What does not work is told once, and once again when it works: no node reached, no database
//! answering. A moment's failure is not told: processes restart, connections take a handshake.

use std::collections::BTreeMap;
use std::time::Duration;

use app_config::Config;
use app_link::{Endpoint, LinkStatus, LinkView, Links};
use model::Timestamp;
use tracing::{info, warn};

use crate::clock;

/// A failure is told when it has lasted for so long: mysqld and a node need a second to start.
const TELL_AFTER: Duration = Duration::from_secs(2);
/// Between two looks at the links.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// One thing that may fail.
#[derive(Debug, Default)]
pub struct Outage {
    since: Option<Timestamp>,
    told: bool,
}

impl Outage {
    /// It fails now; true when that is to be told.
    pub fn fails(&mut self, now: Timestamp) -> bool {
        let since = *self.since.get_or_insert(now);
        let tell = !self.told && now.since(since) >= TELL_AFTER;
        self.told |= tell;
        tell
    }

    /// It works now; true when that is to be told, since its failure was.
    pub fn works(&mut self) -> bool {
        std::mem::take(self).told
    }
}

/// Something to tell of a link.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Lost(Endpoint),
    Back(Endpoint),
}

#[derive(Default)]
struct LinkOutages(BTreeMap<Endpoint, Outage>);

impl LinkOutages {
    fn look<'a>(
        &mut self,
        links: impl Iterator<Item = (&'a Endpoint, &'a LinkStatus)>,
        now: Timestamp,
    ) -> Vec<News> {
        let mut news = Vec::new();
        for (peer, status) in links {
            let outage = self.0.entry(peer.clone()).or_default();
            if status.up {
                if outage.works() {
                    news.push(News::Back(peer.clone()));
                }
            } else if outage.fails(now) {
                news.push(News::Lost(peer.clone()));
            }
        }
        news
    }
}

/// Looks at the links as long as the process lives.
pub async fn tell_links(links: Links, config: std::sync::Arc<Config>) {
    let mut outages = LinkOutages::default();
    let mut every = tokio::time::interval(LOOK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let view = links.view();
        for news in outages.look(view.links.iter(), clock::now()) {
            match news {
                News::Back(peer) => info!(peer = %peer, "link is up again"),
                News::Lost(peer) => tell_lost(&peer, &view, &config),
            }
        }
    }
}

fn tell_lost(peer: &Endpoint, view: &LinkView, config: &Config) {
    let status = view.links.get(peer);
    let why = status.and_then(|s| s.last_problem.clone()).unwrap_or_else(|| "nothing was heard".into());
    let through = status.and_then(|s| s.relay.as_ref()).map_or("nobody".into(), ToString::to_string);
    let next = match peer {
        Endpoint::Node(node) => match config.nodes().get(node) {
            Some(node) => format!("is it running, and can this host reach {}?", node.peer()),
            None => "it is not in this configuration".into(),
        },
        Endpoint::Guard(_) => "is the guard running on its host, and can that reach this node?".into(),
    };
    warn!(peer = %peer, why, reached_through = through, next, "link is down");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp(ms * 1_000)
    }

    #[test]
    fn a_failure_that_lasts_is_told_once_and_so_is_its_end() {
        let mut outage = Outage::default();
        assert!(!outage.works(), "what never failed has not come back");
        assert!(!outage.fails(at(1_000)));
        assert!(!outage.works(), "a moment is not told");
        assert!(!outage.fails(at(2_000)), "it counts anew");
        assert!(outage.fails(at(4_000)));
        assert!(!outage.fails(at(5_000)), "once");
        assert!(outage.works());
        assert!(!outage.works(), "once");
    }

    #[test]
    fn each_link_is_told_by_itself() {
        let (near, far): (Endpoint, Endpoint) =
            (Endpoint::Node("pdc-1".parse().unwrap()), Endpoint::Node("mdc-1".parse().unwrap()));
        let up = LinkStatus { up: true, ..LinkStatus::default() };
        let down = LinkStatus::default();
        let mut outages = LinkOutages::default();
        let first = [(&near, &up), (&far, &down)];
        assert_eq!(outages.look(first.into_iter(), at(0)), []);
        assert_eq!(outages.look(first.into_iter(), at(2_000)), [News::Lost(far.clone())]);
        assert_eq!(outages.look(first.into_iter(), at(9_000)), []);
        let then = [(&near, &down), (&far, &up)];
        assert_eq!(outages.look(then.into_iter(), at(9_500)), [News::Back(far.clone())]);
        assert_eq!(outages.look(then.into_iter(), at(11_500)), [News::Lost(near.clone())]);
    }
}
