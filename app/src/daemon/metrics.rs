//! `GET /metrics`: one node's view in OpenMetrics form (Prometheus scrapes it over HTTPS with a client
//! certificate of the cluster). Names and units follow Prometheus' conventions; docs/reference/metrics.md
//! lists them.
//!
//! Everything is derived from the status view at the scrape: nothing is counted twice, and a number
//! that is not known is not there.

use app_api::v1::{GroupStatus, ProbeStatus, Status};
use gslb_dns::Tally;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

use super::phases::StepTime;

/// OpenMetrics 1.0.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;
type Reals = Family<Labels, Gauge<f64, AtomicU64>>;

/// The families of one scrape, each made when it is first written.
struct Page {
    registry: Registry,
}

impl Page {
    fn gauge(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (Labels, Option<f64>)>) {
        let family = Reals::default();
        for (labels, value) in samples {
            if let Some(value) = value {
                family.get_or_create(&labels).set(value);
            }
        }
        self.registry.register(name, help, family);
    }

    fn counter(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (Labels, u64)>) {
        let family = Family::<Labels, Counter>::default();
        for (labels, value) in samples {
            family.get_or_create(&labels).inc_by(value);
        }
        self.registry.register(name, help, family);
    }
}

/// The page. `probes` are this node's own; `dns` has the responder's numbers by transport.
pub fn render(
    status: &Status,
    steps: &[StepTime],
    probes: &[ProbeStatus],
    dns: &[(&'static str, Tally)],
) -> String {
    let mut page = Page { registry: Registry::with_prefix("twofold") };
    node(&mut page, status);
    configuration(&mut page, status);
    for_groups(&mut page, status);
    step_times(&mut page, status, steps);
    servers(&mut page, status);
    checks(&mut page, probes);
    people(&mut page, status);
    responder(&mut page, dns);
    let mut text = String::new();
    encode(&mut text, &page.registry).expect("a String takes what is written");
    text
}

fn node(page: &mut Page, status: &Status) {
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    page.gauge("build_info", "This program; always 1", [(version, Some(1.0))]);
    let leads = status.leader.as_deref() == Some(status.answered_by.as_str());
    page.gauge("raft_leader", "1 on the node that leads", [(vec![], Some(flag(leads)))]);
    page.gauge("raft_term", "Raft's term", [(vec![], Some(real(status.term)))]);
    page.gauge("raft_applied_index", "Last applied entry", [(vec![], Some(real(status.applied)))]);
    let age = status.confirmed_ms.map(seconds);
    page.gauge(
        "quorum_confirmed_age_seconds",
        "How long ago a quorum last confirmed what this node shows; absent when it never did",
        [(vec![], age)],
    );
    let nodes = status.nodes.iter();
    page.gauge(
        "node_up",
        "1 for each node that this one hears, directly or through another",
        nodes.map(|n| (vec![("node", n.name.clone()), ("node_site", n.site.clone())], Some(flag(n.up)))),
    );
}

fn configuration(page: &mut Page, status: &Status) {
    let members = status.nodes.iter().map(|n| {
        let labels =
            vec![("node", n.name.clone()), ("node_site", n.site.clone()), ("member", n.member.clone())];
        (labels, Some(1.0))
    });
    page.gauge("node_member", "What each node is: voter, learner, leaving or joins; always 1", members);
    let own = status.nodes.iter().find(|n| n.name == status.answered_by);
    page.gauge(
        "configuration_generation",
        "The generation of the configuration in force on this node; 0 before the first",
        [(vec![], own.and_then(|n| n.generation).map(real))],
    );
    page.gauge(
        "configuration_drift",
        "1 when the file on this node's disk differs from the configuration in force",
        [(vec![], own.map(|n| flag(n.drift.is_some())))],
    );
}

fn for_groups(page: &mut Page, status: &Status) {
    let mut each = |name: &str, help: &str, value: &dyn Fn(&GroupStatus) -> Option<f64>| {
        let groups = status.groups.iter();
        page.gauge(name, help, groups.map(|g| (vec![("group", g.name.clone())], value(g))));
    };
    each("group_epoch", "Fencing token; it rises with every move", &|g| Some(real(g.epoch)));
    each("group_open", "1 while the primary is open for clients", &|g| Some(flag(g.open)));
    each("group_sync", "1 while every acknowledged write is on both sites", &|g| {
        g.durability.as_ref().map(|d| flag(d == "sync"))
    });
    each(
        "group_unprotected_seconds",
        "For how long acknowledged writes have been on one site only; 0 in sync",
        &|g| g.exposure.as_ref().map(|e| seconds(e.unprotected_ms)),
    );
    each(
        "group_exposed_transactions",
        "Acknowledged transactions that the other site is not known to hold; 0 in sync, absent when not known",
        &|g| g.exposure.as_ref()?.transactions.map(real),
    );
    each(
        "group_lease_left_seconds",
        "What was left of the primary's lease when its guard last reported",
        &|g| g.lease_left_ms.map(seconds),
    );
    each("group_failover_ready", "1 when a failover would work by itself now", &|g| {
        status.quorum.then(|| flag(g.failover.automatic))
    });
    each("group_maintenance", "1 while somebody works at it and it does not move by itself", &|g| {
        Some(flag(g.maintenance.is_some()))
    });
    each("group_well", "1 when nothing is the matter", &|g| {
        status.quorum.then(|| flag(g.diagnosis == "well"))
    });
    let sites = status.groups.iter().filter_map(|g| {
        let labels = vec![("group", g.name.clone()), ("active_site", g.active_site.clone()?)];
        Some((labels, Some(1.0)))
    });
    page.gauge("group_active", "The site that is active; always 1", sites);
    let last = status.groups.iter().flat_map(|g| {
        let mut seen: Vec<&str> = Vec::new();
        let newest = g.finished.iter().filter(move |e| {
            let new = !seen.contains(&e.runbook.as_str());
            seen.push(&e.runbook);
            new
        });
        newest.map(|e| {
            let labels =
                vec![("group", g.name.clone()), ("runbook", e.runbook.clone()), ("status", e.status.clone())];
            (labels, Some(seconds(u64::try_from(e.ended_ms - e.started_ms).unwrap_or(0))))
        })
    });
    page.gauge("execution_last_duration_seconds", "How long the last run of each runbook took", last);
}

/// A gauge of the newest run and no histogram: failovers are too few for quantiles, every node applies the
/// same events and would count each again, and after a restart nobody could say which counts are missing.
fn step_times(page: &mut Page, status: &Status, steps: &[StepTime]) {
    let shown = steps.iter().filter(|s| status.groups.iter().any(|g| g.name == s.group));
    let labelled = shown.map(|s| {
        let labels =
            vec![("group", s.group.clone()), ("runbook", s.runbook.clone()), ("step", s.step.clone())];
        (labels, Some(seconds(s.millis)))
    });
    page.gauge(
        "execution_last_step_seconds",
        "How long each step of the last run of each runbook took",
        labelled,
    );
}

fn servers(page: &mut Page, status: &Status) {
    let mut each = |name: &str, help: &str, value: &dyn Fn(&app_api::v1::ServerStatus) -> Option<f64>| {
        let all = status.groups.iter().flat_map(|g| g.servers.iter().map(move |s| (g, s)));
        let labelled = all.map(|(g, s)| {
            let labels =
                vec![("group", g.name.clone()), ("server", s.name.clone()), ("server_site", s.site.clone())];
            (labels, value(s))
        });
        page.gauge(name, help, labelled);
    };
    each("server_heard_age_seconds", "How long ago its guard was heard; absent when never", &|s| {
        s.heard_ms.map(seconds)
    });
    each("server_running", "1 while its database process runs", &|s| Some(flag(s.process == "running")));
    each("server_quarantined", "1 while it waits for a person", &|s| Some(flag(s.role == "quarantined")));
    each("server_behind_transactions", "What the primary has and it does not hold", &|s| s.behind.map(real));
    each("server_unapplied_transactions", "Received and not applied", &|s| s.unapplied.map(real));
    each("server_kine_revision", "Newest revision of K3s's objects there; absent without kine", &|s| {
        s.kine_revision.map(real)
    });
    each("server_privileged_account", "1 while a client's account could undo what is proven there", &|s| {
        status.quorum.then(|| flag(s.diagnoses.iter().any(|d| d.name == "privileged-account")))
    });
}

fn checks(page: &mut Page, probes: &[ProbeStatus]) {
    let mut each = |name: &str, help: &str, value: &dyn Fn(&ProbeStatus) -> Option<f64>| {
        let labelled = probes.iter().map(|p| {
            let labels = vec![("pool", p.pool.clone()), ("member", p.member.clone())];
            (labels, value(p))
        });
        page.gauge(name, help, labelled);
    };
    each("check_success", "1 when this node's last probe of the member succeeded", &|p| {
        Some(flag(p.failure.is_none()))
    });
    each(
        "check_duration_seconds",
        "How long this node's last good probe took; absent after a failed one",
        &|p| p.latency_us.map(|us| real(us) / 1_000_000.0),
    );
    each(
        "check_certificate_expiry_timestamp_seconds",
        "When the certificate ends that the member last presented to an https check, in Unix time",
        &|p| p.certificate_ends_ms.and_then(|ms| u64::try_from(ms).ok()).map(seconds),
    );
    each("check_certificate_expires_soon", "1 when that is sooner than the check's expiry-warning", &|p| {
        p.certificate_ends_ms.map(|_| flag(p.certificate_ends_soon))
    });
    let counted = probes.iter().flat_map(|p| {
        let of = |result: &str, count: u64| {
            let labels =
                vec![("pool", p.pool.clone()), ("member", p.member.clone()), ("result", result.to_owned())];
            (labels, count)
        };
        [of("success", p.probes.saturating_sub(p.failures)), of("failure", p.failures)]
    });
    page.counter("check_probes", "Probes of the member that have ended since this node started", counted);
}

fn people(page: &mut Page, status: &Status) {
    page.counter(
        "break_glass_uses",
        "Uses of break-glass tokens on record since the cluster was founded",
        [(vec![], status.break_glass_uses)],
    );
    let waiting: u64 = status.break_glass.iter().map(|alarm| alarm.uses).sum();
    page.gauge(
        "break_glass_unacknowledged",
        "Uses of break-glass tokens that no admin has acknowledged",
        [(vec![], Some(real(waiting)))],
    );
}

/// RCODEs by name (RFC 1035 §4.1.1, RFC 6895), as a tally has them; others by number.
fn rcode(code: usize) -> String {
    const NAMES: [&str; 7] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN"];
    match code {
        16 => "BADVERS".into(),
        17 => "BADCOOKIE".into(),
        code => NAMES.get(code).map_or_else(|| code.to_string(), |name| (*name).to_owned()),
    }
}

fn responder(page: &mut Page, dns: &[(&'static str, Tally)]) {
    let mut each = |name: &str, help: &str, value: &dyn Fn(&Tally) -> u64| {
        page.counter(
            name,
            help,
            dns.iter().map(|(t, tally)| (vec![("transport", (*t).to_owned())], value(tally))),
        );
    };
    each("dns_queries", "Packets that came in", &|t| t.queries);
    each("dns_dropped", "Packets answered by silence", &|t| t.dropped);
    each("dns_limited", "Packets of networks that had got as much as they may, answered by silence", &|t| {
        t.limited
    });
    each("dns_truncated", "Responses sent empty with TC", &|t| t.truncated);
    each("dns_all_down_open", "Answers with all members because no pool was up", &|t| t.all_down_open);
    let responses = dns.iter().flat_map(|(transport, tally)| {
        tally.rcodes.iter().enumerate().filter(|(_, count)| **count > 0).map(|(code, count)| {
            (vec![("transport", (*transport).to_owned()), ("rcode", rcode(code))], *count)
        })
    });
    page.counter("dns_responses", "Responses by RCODE", responses);
}

fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53; beyond, the last digits are noise")]
fn real(count: u64) -> f64 {
    count as f64
}

fn seconds(ms: u64) -> f64 {
    real(ms) / 1_000.0
}

#[cfg(test)]
mod tests {
    use app_api::v1::{
        BreakGlassStatus, ExposureStatus, FailoverStatus, FinishedExecution, NodeStatus, ServerStatus,
    };

    use super::*;

    fn view() -> Status {
        let group = GroupStatus {
            name: "shop".into(),
            incarnation: 1,
            epoch: 7,
            version: 30,
            phase: "serving".into(),
            since_ms: 0,
            active_site: Some("mdc".into()),
            primary: Some("mdc-db".into()),
            open: true,
            shut_because: None,
            lease_left_ms: Some(1_500),
            lease_endless: false,
            durability: Some("async".into()),
            durability_since_ms: Some(40_000),
            ackers: vec![],
            exposure: Some(ExposureStatus {
                transactions: Some(12),
                unprotected_ms: 60_000,
                server: Some("pdc-db".into()),
            }),
            except: None,
            route: Some("mdc".into()),
            names: vec![],
            servers: vec![ServerStatus {
                name: "pdc-db".into(),
                site: "pdc".into(),
                role: "quarantined".into(),
                heard_ms: Some(250),
                process: "running".into(),
                uuid: None,
                gtid_executed: None,
                behind: Some(12),
                unapplied: Some(4),
                note: None,
                promotion: None,
                writable: None,
                connections: None,
                max_connections: None,
                kine_revision: Some(1_000_120),
                accounts: Some("read".into()),
                copy: None,
                replication: None,
                diagnoses: vec![],
            }],
            maintenance: None,
            failover: FailoverStatus { automatic: false, to: None, against: vec![] },
            diagnosis: "replica-missing".into(),
            because: vec![],
            holds: None,
            execution: None,
            finished: [("failover", 700), ("rejoin", 90), ("failover", 9_000)]
                .map(|(runbook, took)| FinishedExecution {
                    id: 1,
                    runbook: runbook.into(),
                    subject: "mdc-db".into(),
                    reason: "site-dead".into(),
                    status: "succeeded".into(),
                    started_ms: 1_000,
                    ended_ms: 1_000 + took,
                })
                .into(),
        };
        Status {
            cluster: "lab".into(),
            answered_by: "mdc-1".into(),
            at_ms: 100_000,
            leader: Some("mdc-1".into()),
            quorum: true,
            confirmed_ms: Some(0),
            incarnation: 1,
            log_end: (1, 1),
            term: 3,
            applied: 40,
            trouble: None,
            nodes: [("mdc-1", "mdc", true), ("pdc-1", "pdc", false)]
                .map(|(name, site, up)| NodeStatus {
                    name: name.into(),
                    site: site.into(),
                    up,
                    leader: false,
                    via: None,
                    heard_ms: None,
                    member: "voter".into(),
                    generation: Some(3),
                    drift: None,
                })
                .into(),
            groups: vec![group],
            break_glass: vec![BreakGlassStatus {
                token: "night".into(),
                uses: 2,
                since_ms: 1,
                last_ms: 2,
                what: "GET /v1/status".into(),
            }],
            break_glass_uses: 5,
        }
    }

    fn page(status: &Status) -> String {
        let mut tally = Tally { queries: 9, dropped: 1, ..Tally::default() };
        tally.rcodes[0] = 6;
        tally.rcodes[3] = 2;
        let probe = |member: &str, failure: Option<String>, soon| ProbeStatus {
            pool: "web".into(),
            member: member.into(),
            age_ms: 100,
            latency_us: failure.is_none().then_some(2_500),
            failure,
            certificate_ends_ms: Some(1_800_000_000_000),
            certificate_ends_soon: soon,
            probes: 7,
            failures: 3,
        };
        let probes = [probe("pdc-entry", None, true), probe("mdc-entry", Some("status 503".into()), false)];
        let step = |group: &str, step: &str, millis| StepTime {
            group: group.into(),
            runbook: "failover".into(),
            step: step.into(),
            millis,
        };
        let steps = [step("shop", "fence", 450), step("hidden", "fence", 1)];
        render(status, &steps, &probes, &[("udp", tally)])
    }

    /// Goal: what a person would alert on is there, with its value; what is not known is absent.
    #[test]
    fn a_page_tells_the_view() {
        let mut view = view();
        let page = page(&view);
        for line in [
            "twofold_group_epoch{group=\"shop\"} 7.0",
            "twofold_group_open{group=\"shop\"} 1.0",
            "twofold_group_unprotected_seconds{group=\"shop\"} 60.0",
            "twofold_group_exposed_transactions{group=\"shop\"} 12.0",
            "twofold_group_active{group=\"shop\",active_site=\"mdc\"} 1.0",
            "twofold_server_quarantined{group=\"shop\",server=\"pdc-db\",server_site=\"pdc\"} 1.0",
            "twofold_server_behind_transactions{group=\"shop\",server=\"pdc-db\",server_site=\"pdc\"} 12.0",
            "twofold_execution_last_duration_seconds{group=\"shop\",runbook=\"failover\",status=\"succeeded\"} 0.7",
            "twofold_execution_last_step_seconds{group=\"shop\",runbook=\"failover\",step=\"fence\"} 0.45",
            "twofold_node_up{node=\"pdc-1\",node_site=\"pdc\"} 0.0",
            "twofold_raft_leader{} 1.0",
            "twofold_quorum_confirmed_age_seconds{} 0.0",
            "twofold_check_success{pool=\"web\",member=\"pdc-entry\"} 1.0",
            "twofold_check_success{pool=\"web\",member=\"mdc-entry\"} 0.0",
            "twofold_check_probes_total{pool=\"web\",member=\"pdc-entry\",result=\"success\"} 4",
            "twofold_check_probes_total{pool=\"web\",member=\"pdc-entry\",result=\"failure\"} 3",
            "twofold_check_duration_seconds{pool=\"web\",member=\"pdc-entry\"} 0.0025",
            "twofold_check_certificate_expiry_timestamp_seconds{pool=\"web\",member=\"mdc-entry\"} 1800000000.0",
            "twofold_check_certificate_expires_soon{pool=\"web\",member=\"pdc-entry\"} 1.0",
            "twofold_break_glass_uses_total{} 5",
            "twofold_break_glass_unacknowledged{} 2.0",
            "twofold_dns_queries_total{transport=\"udp\"} 9",
            "twofold_dns_responses_total{transport=\"udp\",rcode=\"NXDOMAIN\"} 2",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
        assert!(page.ends_with("# EOF\n"));
        assert!(!page.contains("hidden"), "a group that the caller may not see");
        assert!(!page.contains("twofold_check_duration_seconds{pool=\"web\",member=\"mdc-entry\"}"));
        view.groups[0].lease_left_ms = None;
        view.quorum = false;
        for name in ["lease_left_seconds", "failover_ready", "well"] {
            assert!(
                !self::page(&view).contains(&format!("twofold_group_{name}")),
                "{name}: not known, so absent"
            );
        }
    }

    /// Goal: the alert rules and the reference speak of metrics that exist, and of nothing else.
    #[test]
    fn alerts_and_reference_name_metrics_that_exist() {
        let page = page(&view());
        for text in [
            include_str!("../../../deploy/prometheus/twofold.rules.yml"),
            include_str!("../../../deploy/grafana/twofold.json"),
            include_str!("../../../docs/reference/metrics.md"),
        ] {
            let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let mut named = 0;
            for word in words.filter(|w| w.starts_with("twofold_")) {
                named += 1;
                let family = word.strip_suffix("_total").unwrap_or(word);
                assert!(page.contains(&format!("# TYPE {family} ")), "{word} is no metric");
            }
            assert!(named > 5);
        }
    }
}
