//! Web clients enter a site through HAProxy, by a pooled name that is checked by HTTPS: in the lab, for real.

mod lab;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chaos_lab::layout::{Host, LabSite};
use chaos_lab::web::Served;
use lab::{Lab, PATIENCE, said};
use serde_json::Value;

const NAME: &str = "www.gslb.example.com";

/// A page through a site's entry, by HTTPS and verified.
fn page(lab: &Lab, site: LabSite) -> Result<Served, String> {
    let entry = Host::entry_of(site).expect("it has one");
    let lab = chaos_lab::layout::Lab::at(&lab.dir());
    chaos_lab::ready::through_entry(&lab, &entry).map_err(|e| format!("{e:#}"))
}

fn explained(lab: &Lab) -> Result<Value, String> {
    let output = lab.inside_cli(&["explain", "dns", NAME, "-o", "json"]);
    serde_json::from_slice(&output.stdout).map_err(|_| said(&output))
}

/// Waits until a node believes so many of the two entries, and gives its explanation.
fn until_up(lab: &Lab, count: u32) -> Value {
    let wanted = format!("{count} of 2 up");
    until(|| {
        let explained = explained(lab)?;
        if explained["because"].to_string().contains(&wanted) {
            Ok(explained)
        } else {
            Err(explained.to_string())
        }
    })
}

fn probe<'v>(explained: &'v Value, member: &str) -> &'v Value {
    let probes = explained["probes"].as_array().expect("a list");
    probes.iter().find(|p| p["member"] == member).unwrap_or_else(|| panic!("{member} in {explained:#}"))
}

/// Goal: an entry ends TLS, says who the client is, and serves from both of its web hosts; when these are
/// gone the check sees it and says why, the name leaves the site and comes back, and the database stays.
#[test]
fn a_pooled_name_leaves_an_entry_without_web_hosts_and_comes_back() {
    let lab = Lab::up();
    let epoch = lab.settled();
    let (_, active) = lab.leader_and_active();
    let client = Host::named("cli").expect("it is there").address().to_string();
    for site in [LabSite::Pdc, LabSite::Mdc] {
        let mut hosts = BTreeSet::new();
        until(|| {
            let served = page(&lab, site)?;
            assert_eq!(served.site, site.name());
            assert_eq!(served.forwarded_for.as_ref(), Some(&client));
            assert_eq!(served.forwarded_proto.as_deref(), Some("https"));
            assert_eq!(served.forwarded_port.as_deref(), Some("443"));
            hosts.insert(served.host);
            if hosts.len() == 2 { Ok(()) } else { Err(format!("only {hosts:?} served")) }
        });
    }
    let well = until_up(&lab, 2);
    for member in ["pdc-entry", "mdc-entry"] {
        let probe = probe(&well, member);
        assert!(probe["certificate-ends-ms"].is_number(), "{probe}");
        assert_eq!((&probe["certificate-ends-soon"], &probe["failure"]), (&Value::Bool(false), &Value::Null));
    }

    for web in ["pdc-web", "pdc-web-2"] {
        let held = lab.twofold(&["lab", "kill", web, "--hold"], true);
        assert!(said(&held).contains("held down until `lab heal`"), "{}", said(&held));
    }
    let struck = until_up(&lab, 1);
    let failure = probe(&struck, "pdc-entry")["failure"].as_str().expect("it fails");
    assert!(failure.contains("status 503"), "{failure}");
    let text = said(&lab.inside_cli(&["explain", "dns", NAME]));
    assert!(
        text.contains("probed web/pdc-entry from here") && text.contains("its certificate ends"),
        "{text}"
    );
    let other = Host::entry_of(LabSite::Mdc).expect("it has one").address().to_string();
    for client in ["198.18.0.1", "198.18.1.1", "198.18.2.1", "198.18.3.1", "198.18.4.1"] {
        let asked = lab.inside_cli(&["explain", "dns", NAME, "--client", client, "-o", "json"]);
        let answer: Value = serde_json::from_slice(&asked.stdout).expect("an explanation");
        assert!(answer["answers"].to_string().contains(&other), "everybody is sent to mdc: {answer:#}");
    }
    let healed = lab.twofold(&["lab", "heal"], true);
    assert!(said(&healed).contains("let go: pdc-web/web, pdc-web-2/web"), "{}", said(&healed));
    until_up(&lab, 2);
    until(|| page(&lab, LabSite::Pdc).map(drop));
    assert_eq!((lab.settled(), lab.leader_and_active().1), (epoch, active), "the database stayed");
}

/// Tries until it is so.
fn until<T>(mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(why) => assert!(Instant::now() < end, "{why}"),
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
}
