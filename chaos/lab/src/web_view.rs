//! What the users of the web application saw of a fault: pure, so that every definition stands here once and
//! is tested on made-up events.

use std::collections::{BTreeMap, BTreeSet};

use model::Timestamp;

use crate::clients::Event;
use crate::clock::millis_between;
use crate::measure::Moments;

/// What one user saw, in order of time.
type Story = Vec<(Timestamp, Seen)>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// A page, served by this site.
    Page(String),
    Failure,
}

/// What all users saw.
#[derive(Debug, Default)]
pub struct WebView {
    users: BTreeMap<u32, Story>,
}

impl WebView {
    /// Sorts the users' events.
    #[must_use]
    pub fn of(events: &[Event]) -> WebView {
        let mut users: BTreeMap<u32, Story> = BTreeMap::new();
        for event in events {
            let (user, at, seen) = match event {
                Event::Page { user, at, site, .. } => (user, at, Seen::Page(site.clone())),
                Event::PageFailed { user, at, .. } => (user, at, Seen::Failure),
                _ => continue,
            };
            users.entry(*user).or_default().push((*at, seen));
        }
        users.values_mut().for_each(|story| story.sort_by_key(|(at, _)| *at));
        WebView { users }
    }

    /// The same without some users, such as those whose host a fault cut off.
    #[must_use]
    pub fn without(mut self, left_out: impl Fn(u32) -> bool) -> WebView {
        self.users.retain(|user, _| !left_out(*user));
        self
    }

    /// Pages asked for, and those that were not served.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let all = self.users.values().flatten();
        let failed = all.clone().filter(|(_, seen)| *seen == Seen::Failure).count();
        (all.count() as u64, failed as u64)
    }

    /// Users that ever had a page.
    #[must_use]
    pub fn served(&self) -> BTreeSet<u32> {
        let has_page = |story: &&Story| story.iter().any(|(_, seen)| matches!(seen, Seen::Page(_)));
        self.users.iter().filter(|(_, story)| has_page(story)).map(|(user, _)| *user).collect()
    }

    /// Milliseconds for which any one user went without a page at the longest: from its last page before a
    /// failure to its next, between the fault and the end of observation. A pause without a failure is the
    /// user's own. None where nobody had a page before the fault.
    #[must_use]
    pub fn outage_ms(&self, moments: Moments) -> Option<f64> {
        self.users.values().filter_map(|story| outage(story, moments)).max_by(f64::total_cmp)
    }

    /// The users that `site` served last before the fault.
    #[must_use]
    pub fn served_by(&self, site: &str, fault: Timestamp) -> Vec<u32> {
        let last = |story: &Story| {
            story.iter().rev().find_map(|(at, seen)| match seen {
                Seen::Page(by) if *at <= fault => Some(by.clone()),
                _ => None,
            })
        };
        let there = self.users.iter().filter(|(_, story)| last(story).as_deref() == Some(site));
        there.map(|(user, _)| *user).collect()
    }

    /// Milliseconds from the fault until the last of the users that `site` served had its first page from
    /// another site. None where there was no such user, or one had none.
    #[must_use]
    pub fn move_ms(&self, site: &str, moments: Moments) -> Option<f64> {
        let mut latest: Option<f64> = None;
        for user in self.served_by(site, moments.fault) {
            let first = self.users[&user].iter().find_map(|(at, seen)| match seen {
                Seen::Page(by) if *at > moments.fault && *at <= moments.until && by != site => Some(*at),
                _ => None,
            })?;
            let ms = millis_between(moments.fault, first);
            latest = Some(latest.map_or(ms, |l| l.max(ms)));
        }
        latest
    }

    /// Milliseconds from `healed` until `site` served a page again.
    #[must_use]
    pub fn return_ms(&self, site: &str, healed: Timestamp) -> Option<f64> {
        let pages = self.users.values().flatten().filter_map(|(at, seen)| match seen {
            Seen::Page(by) if *at > healed && by == site => Some(*at),
            _ => None,
        });
        pages.min().map(|at| millis_between(healed, at))
    }
}

fn outage(story: &Story, moments: Moments) -> Option<f64> {
    let mut last = story.iter().rev().find_map(|(at, seen)| match seen {
        Seen::Page(_) if *at <= moments.fault => Some(*at),
        _ => None,
    })?;
    let (mut longest, mut failed) = (0.0_f64, false);
    let begin = last;
    for (at, seen) in story.iter().filter(|(at, _)| *at > begin && *at <= moments.until) {
        match seen {
            Seen::Failure => failed = true,
            Seen::Page(_) => {
                if failed {
                    longest = longest.max(millis_between(last, *at));
                }
                (last, failed) = (*at, false);
            }
        }
    }
    // Pages that never came back are missed until the end.
    Some(if failed { longest.max(millis_between(last, moments.until)) } else { longest })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn t(ms: u64) -> Timestamp {
        Timestamp(ms * 1_000)
    }

    fn page(user: u32, ms: u64, site: &str) -> Event {
        let address = Ipv4Addr::LOCALHOST;
        Event::Page { user, began: t(ms), at: t(ms), address, site: site.into(), host: "web".into() }
    }

    fn failed(user: u32, ms: u64) -> Event {
        Event::PageFailed { user, began: t(ms), at: t(ms), address: None, why: String::new() }
    }

    const MOMENTS: Moments = Moments { fault: Timestamp(1_000_000), until: Timestamp(9_000_000) };

    /// Users 1 and 2 were in pdc and followed, 3 was in mdc all the time; out of order, as events are.
    fn followed() -> Vec<Event> {
        vec![
            page(1, 800, "pdc"),
            page(1, 3_000, "mdc"),
            failed(1, 1_400),
            page(2, 900, "pdc"),
            failed(2, 2_000),
            page(2, 2_500, "mdc"),
            page(3, 700, "mdc"),
            page(3, 8_000, "mdc"),
        ]
    }

    #[test]
    fn users_have_moved_when_the_last_of_them_had_a_page_from_elsewhere() {
        let view = WebView::of(&followed());
        assert_eq!(view.counts(), (8, 2));
        assert_eq!(view.served_by("pdc", MOMENTS.fault), [1, 2]);
        assert_eq!(view.move_ms("pdc", MOMENTS), Some(2_000.0));
        assert_eq!(view.move_ms("pdc", Moments { until: t(2_700), ..MOMENTS }), None, "user 1 had none yet");
        assert_eq!(view.move_ms("wit", MOMENTS), None, "it served nobody");
        assert_eq!(WebView::of(&followed()).without(|u| u == 1).move_ms("pdc", MOMENTS), Some(1_500.0));
    }

    #[test]
    fn an_outage_is_the_longest_time_of_one_user_without_a_page_and_a_pause_is_none() {
        let view = WebView::of(&followed());
        assert_eq!(view.outage_ms(MOMENTS), Some(2_200.0), "user 3 only paused");
        let never = WebView::of(&[page(1, 900, "pdc"), failed(1, 1_500)]);
        assert_eq!(never.outage_ms(MOMENTS), Some(8_100.0));
        assert_eq!(WebView::of(&[page(1, 900, "pdc")]).outage_ms(MOMENTS), Some(0.0));
        assert_eq!(WebView::of(&[failed(1, 1_500)]).outage_ms(MOMENTS), None, "there was nothing to lose");
    }

    #[test]
    fn a_site_is_back_when_anybody_has_a_page_from_it() {
        let view = WebView::of(&[page(1, 800, "pdc"), page(1, 5_000, "mdc"), page(2, 6_500, "pdc")]);
        assert_eq!(view.return_ms("pdc", t(5_500)), Some(1_000.0));
        assert_eq!(view.return_ms("pdc", t(7_000)), None);
    }
}
