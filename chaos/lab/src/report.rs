//! What a demo reports: DESIGN §7's document, and a table for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::cli::{Fence, Flavour};

/// When one wake in a hundred is later than this, the table says that the machine had too few processors:
/// a tenth of the shortest times that are measured. Two processors come to 30 ms with the lab (a debug
/// build) alone, to 40 and 50 beside builds, whom the lab goes before; neither is above.
const LATE_MS: f64 = 50.0;

/// The whole document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What was injected; several separated by commas.
    pub fault: String,
    /// The database.
    pub flavour: Flavour,
    /// Why it is MariaDB though nobody asked for it: MySQL could not be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// What kept clients from a database that may not write; none in a report that does not say.
    #[serde(default)]
    pub fence: Option<Fence>,
    /// Database servers in each data site.
    #[serde(default = "one")]
    pub servers: u32,
    /// Clients that wrote; none in a report that does not say.
    #[serde(default)]
    pub writers: Option<u32>,
    /// All runs, in order; none is left out.
    pub runs: Vec<Run>,
    /// How the numbers are to be read.
    pub notes: Vec<String>,
}

/// What a report of a version that knew no other number of servers had.
fn one() -> u32 {
    1
}

/// One run. Milliseconds throughout; null where it does not apply.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// From 1.
    pub run: u32,
    /// What was injected in it.
    #[serde(default)]
    pub fault: String,
    /// The site that was active when the fault was injected, and which it struck.
    pub active_site: String,
    /// The site that was active at the end.
    pub active_site_after: Option<String>,
    /// The server that was primary at the end, where it was not the one that the fault met.
    #[serde(default)]
    pub moved_to: Option<String>,
    /// From the fault until all reachable DNS servers of the zone answered the new primary.
    pub dns_flip_ms: Option<f64>,
    /// The same for a client that honours the TTL.
    pub dns_flip_client_ms: Option<f64>,
    /// Longest pause in acknowledged writes, over all writers, from the fault until healing began.
    pub db_write_gap_ms: Option<f64>,
    /// Not in this lab yet.
    pub mgmt_ready_ms: Option<f64>,
    /// Commits that returned.
    pub acked_writes: u64,
    /// Of those, not on the final primary.
    pub lost_acked_writes: Option<u64>,
    /// Transactions that a person was told would be lost at most, and accepted; `lost_acked_writes` must not be more.
    /// Null where nobody had to.
    #[serde(default)]
    pub stated_loss: Option<u64>,
    /// Of those, not on the standby after it came back to `Sync`.
    pub missing_on_standby: Option<u64>,
    /// Swaps of registers that returned.
    pub acked_swaps: Option<u64>,
    /// Observations of the registers that no single history explains.
    pub wrong_swaps: Option<u64>,
    /// K3s's newest revision on the primary before the fault.
    pub kine_before: Option<u64>,
    /// And at the end: beyond a gap when the group moved unplanned.
    pub kine_after: Option<u64>,
    /// Last commit on the old primary minus first on the new one.
    pub dual_writable_ms: Option<f64>,
    /// The group's epoch before the fault.
    pub epoch_before: Option<u64>,
    /// And at the end.
    pub epoch_after: Option<u64>,
    /// The group's durability just before the fault.
    pub durability_at_fault: Option<String>,
    /// DNS queries of all clients and pollers.
    pub dns_queries: u64,
    /// Of those, not answered with an address, those to dead servers too.
    pub dns_failures: u64,
    /// Of those, sent to servers that the fault left reachable.
    pub dns_failures_reachable: u64,
    /// The server that waits for a person, with the reason: on MariaDB extra transactions of the old
    /// primary always do. Then there is no way back to `Sync`, and `rejoin_ms` is null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<String>,
    /// From healing until the group was in `Sync` again.
    pub rejoin_ms: Option<f64>,
    /// Longest pause in acknowledged writes from healing to the end of the run.
    pub rejoin_write_gap_ms: Option<f64>,
    /// Not in this lab yet.
    pub images_missing_on_standby: Option<u64>,
    /// Processes that wanted a processor, for each there is, on average of the minute before the run's
    /// end: with what ran before it, and the lab's own.
    pub machine_busyness: Option<f64>,
    /// 99 of 100 wakes of an idle thread in the clients were late by no more than this.
    #[serde(default)]
    pub client_late_ms: Option<f64>,
    /// Commits a second just before the fault.
    pub commits_per_second: f64,
    /// Commits that a server refused.
    pub refused_writes: u64,
    /// Commits whose outcome no client learned.
    pub unknown_writes: u64,
    /// Pages that the users of the web application asked for, through the pooled name.
    #[serde(default)]
    pub web_requests: u64,
    /// Of those, not served.
    #[serde(default)]
    pub web_failures: u64,
    /// The longest time that a user was without a page, from the fault until healing began; users inside a
    /// site that the fault cut off are left out.
    #[serde(default)]
    pub web_outage_ms: Option<f64>,
    /// From the fault until the last of the users that the struck site served had a page from the other.
    #[serde(default)]
    pub web_move_ms: Option<f64>,
    /// From healing until the struck site served a page again.
    #[serde(default)]
    pub web_return_ms: Option<f64>,
    /// Why the run failed; empty if it did not.
    pub failures: Vec<String>,
    /// What happened, in order.
    pub timeline: Vec<Moment>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Milliseconds after the fault; negative before it.
    pub at_ms: f64,
    /// Who saw it: `lab`, `clients`, `dns`, or `status` (the cluster's own word).
    pub source: String,
    /// What.
    pub what: String,
}

impl Run {
    /// Whether nothing is held against it.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

impl Report {
    /// Whether every run passed, which includes that nothing was lost and nothing was writable
    /// twice.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.runs.iter().all(Run::passed)
    }

    /// The table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |l: std::fmt::Arguments<'_>| writeln!(text, "{l}").expect("a String takes all");
        line(format_args!("\nfault {}, flavour {}, {} run(s)\n", self.fault, self.flavour, self.runs.len()));
        if let Some(reason) = &self.fallback {
            line(format_args!("MYSQL COULD NOT BE HAD; THIS IS MARIADB: {reason}\n"));
        }
        line(format_args!(
            "{:>4}  {:<17} {:<9} {:>9} {:>10} {:>10} {:>7} {:>5} {:>6} {:>9} {:>11} {:>9}  {}",
            "run",
            "fault",
            "active",
            "DNS flip",
            "client DNS",
            "write gap",
            "acked",
            "lost",
            "dual",
            "rejoin",
            "rejoin gap",
            "epoch",
            "",
        ));
        for run in &self.runs {
            let after = run.active_site_after.as_deref().unwrap_or("?");
            let moved = if after == run.active_site {
                after.to_owned()
            } else {
                format!("{}→{after}", run.active_site)
            };
            let epochs = format!("{}→{}", number(run.epoch_before), number(run.epoch_after));
            line(format_args!(
                "{:>4}  {:<17} {moved:<9} {:>9} {:>10} {:>10} {:>7} {:>5} {:>6} {:>9} {:>11} {epochs:>9}  {}",
                run.run,
                run.fault,
                seconds(run.dns_flip_ms),
                seconds(run.dns_flip_client_ms),
                seconds(run.db_write_gap_ms),
                run.acked_writes,
                number(run.lost_acked_writes),
                run.dual_writable_ms.map_or("?".to_owned(), |v| format!("{v:.0} ms")),
                seconds(run.rejoin_ms),
                seconds(run.rejoin_write_gap_ms),
                if run.passed() { "ok" } else { "FAILED" },
            ));
            if let Some(server) = run.moved_to.as_ref().filter(|_| after == run.active_site) {
                line(format_args!("      moved within {after}, to {server}"));
            }
            if let Some(what) = &run.quarantined {
                line(format_args!("      not in Sync again, in quarantine until a person decides: {what}"));
            }
            for failure in &run.failures {
                line(format_args!("      {failure}"));
            }
        }
        line(format_args!(""));
        for (what, values) in self.columns() {
            if let Some((median, worst)) = median_and_worst(&values) {
                line(format_args!(
                    "{what:<12} median {:>9}   worst {:>9}",
                    seconds(Some(median)),
                    seconds(Some(worst))
                ));
            }
        }
        let crowded = |r: &&Run| r.client_late_ms.is_some_and(|ms| ms > LATE_MS);
        let crowded: Vec<_> = self.runs.iter().filter(crowded).map(|r| r.run.to_string()).collect();
        if !crowded.is_empty() {
            line(format_args!(
                "the machine had too few processors in run {}: the times are its as much as the lab's",
                crowded.join(", ")
            ));
        }
        let lost: u64 = self.runs.iter().filter_map(|r| r.lost_acked_writes).sum();
        let acked: u64 = self.runs.iter().map(|r| r.acked_writes).sum();
        line(format_args!("acknowledged writes: {acked}, lost: {lost}"));
        let pages: u64 = self.runs.iter().map(|r| r.web_requests).sum();
        let missed: u64 = self.runs.iter().map(|r| r.web_failures).sum();
        line(format_args!("pages asked for by HTTPS: {pages}, not served: {missed}"));
        text
    }

    fn columns(&self) -> BTreeMap<&'static str, Vec<f64>> {
        let of = |pick: fn(&Run) -> Option<f64>| self.runs.iter().filter_map(pick).collect();
        BTreeMap::from([
            ("DNS flip", of(|r| r.dns_flip_ms)),
            ("client DNS", of(|r| r.dns_flip_client_ms)),
            ("rejoin", of(|r| r.rejoin_ms)),
            ("rejoin gap", of(|r| r.rejoin_write_gap_ms)),
            ("write gap", of(|r| r.db_write_gap_ms)),
            ("web outage", of(|r| r.web_outage_ms)),
            ("web move", of(|r| r.web_move_ms)),
            ("web return", of(|r| r.web_return_ms)),
        ])
    }
}

/// The median (the mean of the two middle ones of an even number) and the greatest.
fn median_and_worst(values: &[f64]) -> Option<(f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let worst = *sorted.last()?;
    let middle = sorted.len() / 2;
    let median = if sorted.len().is_multiple_of(2) {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    } else {
        sorted[middle]
    };
    Some((median, worst))
}

/// Milliseconds as seconds for people.
fn seconds(ms: Option<f64>) -> String {
    ms.map_or("-".to_owned(), |ms| format!("{:.2} s", ms / 1_000.0))
}

fn number(value: Option<u64>) -> String {
    value.map_or("?".to_owned(), |v| v.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_the_middle_two() {
        assert_eq!(median_and_worst(&[4.0, 1.0, 3.0, 2.0]), Some((2.5, 4.0)));
        assert_eq!(median_and_worst(&[3.0, 1.0, 2.0]), Some((2.0, 3.0)));
        assert_eq!(median_and_worst(&[]), None);
    }

    fn report(run: Run) -> String {
        made(run, None).table()
    }

    fn made(run: Run, fallback: Option<String>) -> Report {
        let flavour = if fallback.is_some() { Flavour::Mariadb } else { Flavour::Mysql };
        Report {
            fault: "kill-site".to_owned(),
            flavour,
            fallback,
            fence: Some(Fence::Nftables),
            servers: 1,
            writers: Some(10),
            runs: vec![run],
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_report_of_a_lab_that_fell_back_says_so() {
        let table = made(Run::default(), Some("no mirror".into())).table();
        assert!(table.contains("flavour mariadb") && table.contains("THIS IS MARIADB: no mirror"), "{table}");
        assert!(!report(Run::default()).contains("MARIADB"));
    }

    /// Goal: what the healing cost the writers is no secret of the JSON document.
    #[test]
    fn the_table_shows_the_write_gap_of_the_rejoin() {
        let table = report(Run { run: 1, rejoin_write_gap_ms: Some(1_230.0), ..Run::default() });
        assert!(table.contains("rejoin gap") && table.contains("1.23 s"), "{table}");
    }

    #[test]
    fn only_a_crowded_run_is_called_so_and_not_a_busy_minute_before_it() {
        let said = |client_late_ms, machine_busyness| {
            let run = Run { run: 7, client_late_ms, machine_busyness, ..Run::default() };
            report(run).contains("too few processors in run 7")
        };
        assert!(said(Some(LATE_MS + 1.0), Some(0.1)));
        assert!(!said(Some(LATE_MS), Some(5.0)) && !said(None, Some(5.0)));
    }

    /// Goal: the records of earlier versions are read by this one. Method: all that are kept.
    #[test]
    fn every_report_that_is_kept_is_still_read() {
        let records = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/records");
        let days = std::fs::read_dir(records).unwrap().map(|day| day.unwrap().path());
        let files = days.filter(|day| day.is_dir()).flat_map(|day| std::fs::read_dir(day).unwrap());
        let demos = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
        // What else is kept there says no flavour of a lab.
        let demos = demos.filter(|text| text.contains("\"lost_acked_writes\""));
        let read: Vec<Report> = demos.map(|text| serde_json::from_str(&text).unwrap()).collect();
        assert!(!read.is_empty() && read.iter().all(|r| r.servers >= 1 && !r.runs.is_empty()));
    }

    /// Goal: the document keeps the field names that DESIGN §7 promises.
    #[test]
    fn a_run_has_all_promised_fields_and_null_where_they_do_not_apply() {
        let run = serde_json::to_value(Run::default()).unwrap();
        for field in [
            "dns_flip_ms",
            "db_write_gap_ms",
            "mgmt_ready_ms",
            "acked_writes",
            "lost_acked_writes",
            "dual_writable_ms",
            "epoch_before",
            "epoch_after",
            "durability_at_fault",
            "dns_queries",
            "dns_failures",
            "rejoin_ms",
            "images_missing_on_standby",
            "timeline",
            "dns_flip_client_ms",
            "rejoin_write_gap_ms",
            "web_requests",
            "web_failures",
            "web_outage_ms",
            "web_move_ms",
            "web_return_ms",
        ] {
            assert!(run.get(field).is_some(), "{field}");
        }
        assert!(run["mgmt_ready_ms"].is_null());
    }
}
