//! Every rule, broken once. Method: one edit to a good file each; exactly one problem must come of
//! it, at the place of the edit, so that no rule breeds a second complaint.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use app_config::{
    Checked, Config, Failover, Fence, Follows, NoQuorum, Promotion, Role, SecretSource, Timing, check,
};

const GOOD: &str = "\
version: 1
cluster: retail
timing: metro
sites: {pdc: {role: data}, mdc: {role: data}, wit: {role: witness}, aks: {role: burst}}
nodes:
  pdc-1: {site: pdc, address: 10.77.1.11}
  pdc-2: {site: pdc, address: 10.77.1.12}
  mdc-1: {site: mdc, address: 10.77.2.11}
  mdc-2: {site: mdc, address: 10.77.2.12}
  wit-1: {site: wit, address: 10.77.3.11}
databases:
  orders:
    admin: {user: twofold, password-file: secrets/admin}
    replication: {user: repl, password-env: TWOFOLD_REPL}
    servers:
      pdc-db: {site: pdc, address: 10.77.1.21}
      mdc-db: {site: mdc, address: 10.77.2.21}
groups:
  shop: {database: orders}
zone:
  origin: gslb.example.com
  records:
    - {name: mail, type: A, data: 10.77.1.41}
    - {name: sub, type: NS, data: ns.sub}
    - {name: ns.sub, type: A, data: 10.77.1.42}
checks:
  web-http: {http: {port: 8080}}
pools:
  web:
    check: web-http
    members:
      pdc-web: {site: pdc, address: 10.77.1.31}
      mdc-web: {site: mdc, address: 10.77.2.31}
names:
  db: {bound: shop}
  www: {pooled: {pools: [web]}}
";

fn checked(text: &str) -> Checked {
    check(text, Path::new("/etc/twofold"))
}

fn edited(from: &str, to: &str) -> String {
    assert_eq!(GOOD.matches(from).count(), 1, "{from:?} does not stand once in the file");
    GOOD.replace(from, to)
}

fn accepted(from: &str, to: &str) -> Config {
    let checked = checked(&edited(from, to));
    assert_eq!(checked.problems, [], "{to:?} was refused");
    checked.config.unwrap()
}

/// Each case: what is replaced, by what, and what is said of it.
fn refused(cases: &[(&str, &str, &str)]) {
    for (from, to, told) in cases {
        let text = edited(from, to);
        let problems = checked(&text).problems;
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 1, "{to:?} should be one problem:\n{}", shown.join("\n"));
        assert!(problems[0].message.contains(told), "{to:?}: {told:?} is not in\n{}", shown[0]);
        assert!(problems[0].hint.is_some(), "{to:?} has no next act:\n{}", shown[0]);
        let (line, column) = (problems[0].line, problems[0].column);
        let pointed = text.lines().nth(line - 1).and_then(|line| line.chars().nth(column - 1));
        assert!(pointed.is_some_and(|c| !c.is_whitespace()), "{to:?}: {line}:{column} points at nothing");
    }
}

#[test]
fn the_good_file_is_good() {
    assert_eq!(checked(GOOD).problems, []);
}

#[test]
fn who_is_promoted_is_one_of_three_words_and_a_site_keeps_somebody() {
    let server = "mdc-db: {site: mdc, address: 10.77.2.21}";
    let with = |word: &str| format!("mdc-db: {{site: mdc, address: 10.77.2.21, promotion: {word}}}");
    refused(&[
        (server, &with("never"), "never"),
        (server, &with("must-not"), "has no server in site \"mdc\" that may be promoted"),
    ]);
    let two =
        format!("mdc-db2: {{site: mdc, address: 10.77.2.22, promotion: must-not}}\n      {}", with("prefer"));
    let config = accepted(server, &two);
    let database = config.databases().values().next().unwrap();
    let wanted: Vec<_> = database.servers.values().map(|s| (s.id.as_str(), s.promotion)).collect();
    assert_eq!(
        wanted,
        [("mdc-db", Promotion::Prefer), ("mdc-db2", Promotion::MustNot), ("pdc-db", Promotion::Neutral)]
    );
}

#[test]
fn excepted_accounts_are_named_as_the_server_does() {
    let with = |list: &str| format!("orders:\n    privileged-accounts: {list}");
    let many: Vec<_> = (0..33).map(|n| format!("u{n}@%")).collect();
    let cases = [
        ("[dba]", "\"dba\" is no account"),
        ("[\"dba@\"]", "is no account"),
        ("[\"'dba'@'%'\"]", "is no account"),
        ("dba@%", "a list is wanted here"),
        (&format!("[{}]", many.join(", ")), "more than 32 accounts"),
    ];
    for (list, told) in cases {
        refused(&[("orders:", &with(list), told)]);
    }
    let config = accepted("orders:", &with("[dba@10.0.0.%, \"@%\"]"));
    let database = config.databases().values().next().unwrap();
    assert!(database.privileged_accounts.iter().eq(["@%", "dba@10.0.0.%"]));
}

#[test]
fn the_shape_of_the_file_is_held() {
    refused(&[
        ("version: 1", "version: 2", "version \"2\" is not known"),
        ("version: 1\n", "", "field \"version\" is missing"),
        ("cluster: retail", "cluster: [a]", "a single value is wanted"),
        ("cluster: retail", "cluster:", "a value is missing here"),
        ("cluster: retail", "cluster: retail\nnode: {}", "field \"node\" is unknown"),
        ("cluster: retail", "cluster: retail\ndata-dir: \"\"", "a text of one line is wanted"),
        ("timing: metro", "timing: fast", "\"fast\" is not a choice"),
        ("timing: metro", "timing: {renw: 1s}", "field \"renw\" is unknown"),
        ("timing: metro", "timing: {election: [1s]}", "an election has two bounds"),
        ("timing: metro", "timing: {drift: 0.5}", "\"0.5\" is not a drift"),
        ("timing: metro", "timing: {drift: 0.00000001}", "is not a drift"),
        ("timing: metro", "timing: {dwell: 400d}", "is longer than a year"),
        ("10.77.1.12}", "10.77.1.12, peer-port: \"7400\"}", "\"7400\" is not a number"),
        ("10.77.1.12}", "10.77.1.12, peer-port: 0}", "0 is out of range"),
        ("10.77.1.12}", "10.77.1.12, dns: [\"10.77.1.12:0\"]}", "is not an address with a port"),
        ("10.77.1.12}", "10.77.1.12, dns: \"10.77.1.12:53\"}", "a list is wanted"),
        ("address: 10.77.1.12", "address: 0.0.0.0", "0.0.0.0 is no host's address"),
        ("address: 10.77.1.12", "address: pdc-2.example.com", "is not an IP address"),
    ]);
}

#[test]
fn sites_nodes_and_votes_are_counted() {
    refused(&[
        ("mdc: {role: data}", "mdc: {role: data}, xdc: {role: data}", "is a third with role data"),
        ("wit: {role: witness}", "wit: {role: witness}, wi2: {role: witness}", "is a second witness"),
        ("aks: {role: burst}", "aks: {}", "field \"role\" is missing"),
        (
            "pdc-2: {site: pdc",
            "pdc-2: {site: aks",
            "a node may not stand in site \"aks\", whose role is burst",
        ),
        ("pdc-2: {site: pdc", "pdc-2: {site: pdx", "site \"pdx\" is not there"),
        ("  pdc-2: {site: pdc, address: 10.77.1.12}\n", "", "4 nodes vote, and an even number"),
        ("pdc-2: {site: pdc", "pdc-2: {site: mdc", "without site \"mdc\" only 2 of 5 votes are left"),
        ("wit-1: {site: wit", "wit-1: {site: mdc", "site \"wit\" has no node"),
        ("pdc-2: ", "client: ", "node may not be called \"client\""),
        ("pdc-2: ", "pdc-db: ", "server \"pdc-db\" has the name of a node"),
        (
            "address: 10.77.1.12}",
            "address: 10.77.1.11, peer-port: 1, api-port: 2}",
            "10.77.1.11:53 is taken by the DNS of node",
        ),
        (
            "address: 10.77.1.12}",
            "address: 10.77.1.12, peer-port: 7443}",
            "10.77.1.12:7443 is taken by the peer port",
        ),
        (
            "address: 10.77.1.12}",
            "address: 10.77.1.12, dns: [\"0.0.0.0:7443\"]}",
            "10.77.1.12:7443 is taken by the API",
        ),
    ]);
    let none = checked(&edited("mdc: {role: data}", "mdc: {role: burst}")).problems;
    assert!(none[0].message.contains("there are 1 sites with role data, two are wanted"), "{}", none[0]);
}

#[test]
fn databases_and_groups_are_held() {
    refused(&[
        ("password-file: secrets/admin", "password: x", "a password does not stand in this file"),
        ("password-file: secrets/admin", "password-file: a, password-env: B", "the password has two sources"),
        (", password-file: secrets/admin", "", "the password has no source"),
        ("TWOFOLD_REPL", "2-x", "is not a variable's name"),
        (
            "      mdc-db: {site: mdc, address: 10.77.2.21}\n",
            "",
            "database \"orders\" has no server in site \"mdc\"",
        ),
        ("mdc-db: {site: mdc", "mdc-db: {site: wit", "a database server may not stand in site \"wit\""),
        ("address: 10.77.2.21", "address: 10.77.2.21, port: 70000", "70000 is out of range"),
        (
            "address: 10.77.2.21",
            "address: 10.77.2.21, extra-ports: [3306]",
            "10.77.2.21:3306 is taken by server \"mdc-db\"",
        ),
        (
            "address: 10.77.2.21",
            "address: 10.77.2.11, port: 7443",
            "10.77.2.11:7443 is taken by the API of node",
        ),
        ("address: 10.77.2.21", "address: 10.77.2.21, fence: {ladder: 0s}", "a ladder of 0s is not between"),
        (
            "address: 10.77.2.21",
            "address: 10.77.2.21, fence: {ladder: 5s}",
            "behind the ladder W is 6.713214s",
        ),
        (
            "address: 10.77.2.21",
            "address: 10.77.2.21, fence: {ladder: 1s}, watchdog: /dev/watchdog",
            "the ladder leaves no whole second for the watchdog",
        ),
        (
            "address: 10.77.2.21",
            "address: 10.77.2.21, restart: {systemd: a, command: b}",
            "one of systemd and command",
        ),
        (
            "address: 10.77.2.21",
            "address: 10.77.2.21, restart: always",
            "\"always\" does not restart a server",
        ),
        ("address: 10.77.2.21", "address: 10.77.2.21, mysqlbinlog: []", "a command needs at least one word"),
        (
            "shop: {database: orders}",
            "shop: {database: orders, rto: 3s}",
            "rto 3s is shorter than what this timing can promise",
        ),
        (
            "shop: {database: orders}",
            "shop: {database: orders, prefer: wit}",
            "the preferred primary may not stand in site \"wit\"",
        ),
        (
            "shop: {database: orders}",
            "shop: {database: orders, async-failover: allow}",
            "accepts a loss, and `rpo` 0s accepts none",
        ),
        (
            "shop: {database: orders}",
            "shop: {database: orders}\n  mall: {database: orders}",
            "moves with group \"shop\" already",
        ),
    ]);
    let same_host = edited(
        "mdc-db: {site: mdc, address: 10.77.2.21}",
        "mdc-db: {site: mdc, address: 10.77.1.21, port: 3307}",
    );
    let problems = checked(&same_host).problems;
    let told: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(told.len(), 3, "socket, pid-file and data-dir: {told:?}");
    assert!(
        told.iter().all(|message| message.contains("is taken by server \"pdc-db\" at the same address")),
        "{told:?}"
    );
}

#[test]
fn records_are_held() {
    let record = "- {name: mail, type: A, data: 10.77.1.41}";
    let with = |more: &str| format!("{record}\n    - {more}");
    let cases = [
        ("{name: mail, type: A, data: 10.77.1.41}", "has the A record 10.77.1.41 twice"),
        ("{name: mail, type: A, ttl: 1s, data: 10.77.1.43}", "different TTLs (RFC 2181"),
        ("{name: mail, type: CNAME, data: www}", "other records beside its CNAME"),
        ("{name: \"@\", type: CNAME, data: www}", "a CNAME stands alone (RFC 1034"),
        ("{name: \"@\", type: NS, data: mail}", "name servers stand in `ns`"),
        ("{name: \"*\", type: NS, data: mail}", "a wildcard cannot be delegated"),
        ("{name: www, type: AAAA, data: \"2001:db8::1\"}", "is a virtual name, and has a static AAAA"),
        ("{name: x, type: A, data: \"2001:db8::1\"}", "is no data of type A"),
        ("{name: x, type: A, data: 10.0.0.1 10.0.0.2}", "is no data of type A"),
        ("{name: x, type: a, data: 10.0.0.1}", "record type \"a\" is not known"),
        ("{name: x, type: SPF, data: x}", "record type \"SPF\" is not known"),
        ("{name: x, type: A, data: []}", "a record needs data"),
        ("{name: x, type: A, ttl: 1500ms, data: 10.0.0.1}", "whole seconds"),
        ("{name: x..y, type: A, data: 10.0.0.1}", "has an empty label"),
        ("{name: x, type: CNAME, data: nowhere}", "nowhere.gslb.example.com. is not there"),
        ("{name: x, type: CNAME, data: x}", "leads back to itself"),
        ("{name: x, type: MX, data: 10 nowhere}", "mail server nowhere.gslb.example.com. has no address"),
        ("{name: x, type: MX, data: mail}", "is no data of type MX"),
        (
            "{name: x, type: SRV, data: 0 5 3306 nowhere}",
            "service host nowhere.gslb.example.com. has no address",
        ),
        ("{name: x, type: CAA, data: 1 issue x}", "is no data of type CAA"),
        ("{name: x.example.org., type: A, data: 10.0.0.1}", "is not in the zone"),
        ("{name: x.sub, type: TXT, data: x}", "is delegated, so that its TXT records"),
        ("{name: sub, type: A, data: 10.0.0.1}", "is delegated, so that its A records"),
    ];
    for (more, told) in cases {
        refused(&[(record, &with(more), told)]);
    }
    let loops = with("{name: x, type: CNAME, data: y}\n    - {name: y, type: CNAME, data: x}");
    assert_eq!(checked(&edited(record, &loops)).problems.len(), 2, "one for each of the loop");
    let alias = with("{name: x, type: MX, data: 10 y}\n    - {name: y, type: CNAME, data: mail}");
    refused(&[(record, &alias, "mail server y.gslb.example.com. is a CNAME")]);
    refused(&[
        ("origin: gslb.example.com", "origin: gslb.example.com\n  ns: [mail, mail]", "stands here twice"),
        (
            "origin: gslb.example.com",
            "origin: gslb.example.com\n  ns: [nowhere]",
            "name server nowhere.gslb.example.com. has no address",
        ),
        ("origin: gslb.example.com", "origin: gslb.example.com\n  soa: {expire: 1h}", "expire is not longer"),
        (
            "origin: gslb.example.com",
            "origin: gslb.example.com\n  soa: {rname: a.b@example.com}",
            "a mailbox with a dot",
        ),
        ("origin: gslb.example.com", "origin: \"*.example.com\"", "a wildcard is no zone"),
        ("    - {name: mail, type: A, data: 10.77.1.41}", "    - mail", "a mapping is wanted"),
    ]);
}

#[test]
fn pools_checks_and_virtual_names_are_held() {
    refused(&[
        (
            "{http: {port: 8080}}",
            "{http: {port: 8080}, timeout: 1s}",
            "timeout 1s is not shorter than interval 1s",
        ),
        (
            "{http: {port: 8080}}",
            "{http: {port: 8080}, interval: 10ms}",
            "interval 10ms is shorter than 100ms",
        ),
        (
            "{http: {port: 8080}}",
            "{http: {port: 8080}, tcp: {port: 1}}",
            "a check probes by tcp, by http or by https",
        ),
        (
            "{http: {port: 8080}}",
            "{http: {port: 8080}, https: {port: 443}}",
            "a check probes by tcp, by http or by https",
        ),
        ("{http: {port: 8080}}", "{rise: 3}", "a check probes by tcp, by http or by https"),
        ("{http: {port: 8080}}", "{https: {path: /health}}", "\"port\" is missing"),
        ("{http: {port: 8080}}", "{https: {port: 443, sni: 192.0.2.1}}", "is not a server name"),
        ("{http: {port: 8080}}", "{https: {port: 443, sni: a..b}}", "is not a server name"),
        ("{http: {port: 8080}}", "{https: {port: 443, host: \"a..b:1\"}}", "cannot stand in a certificate"),
        ("{http: {port: 8080}}", "{https: {port: 443, expiry-warning: 14}}", "is not a length of time"),
        ("{http: {port: 8080}}", "{http: {port: 8080, sni: a.example}}", "sni"),
        ("{http: {port: 8080}}", "{http: {port: 8080}, fall: 0}", "0 is out of range"),
        ("{http: {port: 8080}}", "{http: {port: 8080, path: \"/a b\"}}", "is not a path"),
        ("{http: {port: 8080}}", "{http: {port: 8080, host: \"a b\"}}", "is not a host"),
        ("{http: {port: 8080}}", "{http: {port: 8080, expect-status: [20]}}", "\"20\" is no status"),
        (
            "{http: {port: 8080}}",
            "{http: {port: 8080, expect-status: [200-600]}}",
            "\"200-600\" is no status",
        ),
        ("{http: {port: 8080}}", "{http: {port: 8080, expect-status: 399-200}}", "ends before it begins"),
        ("{http: {port: 8080}}", "{http: {port: 8080, expect-status: []}}", "no status counts as success"),
        ("mdc-web: {site: mdc", "mdc-web: {site: wit", "a pool's member may not stand in site \"wit\""),
        ("address: 10.77.2.31", "address: 10.77.1.31", "is the address of member \"pdc-web\" already"),
        ("address: 10.77.2.31", "address: 10.77.2.31, weight: -1", "\"-1\" is not a number"),
        ("check: web-http\n", "check: web-http\n    min-up: 3\n", "min-up 3 is more than its 2 members"),
        ("check: web-http\n", "check: web-tcp\n", "check \"web-tcp\" is not there"),
        ("pools: [web]", "pools: [web, web]", "pool \"web\" stands here twice"),
        ("pools: [web]", "pools: []", "a pooled name needs a pool"),
        ("pools: [web]", "pools: {web: 0}, policy: weighted", "all shares are 0"),
        ("pools: [web]", "pools: [wbe]", "pool \"wbe\" is not there"),
        (
            "{pools: [web]}",
            "{pools: [web]}, ttl-min: 40s, ttl-max: 30s",
            "ttl-min 40s is longer than ttl-max 30s",
        ),
        ("{pools: [web]}", "{pools: [web]}, ttl-max: 1d", "ttl 1d of a virtual name is longer than 1h"),
        ("db: {bound: shop}", "db: {bound: mall}", "group \"mall\" is not there"),
        (
            "db: {bound: shop}",
            "db: {bound: shop, pooled: {pools: [web]}}",
            "a virtual name is bound or pooled",
        ),
        ("db: {bound: shop}", "db: {bound: shop, all-down: open}", "field \"all-down\" is unknown"),
        (
            "db: {bound: shop}",
            "db: {bound: shop, endpoints: {pdc: [10.0.0.1]}}",
            "site \"mdc\" has no endpoint",
        ),
        (
            "db: {bound: shop}",
            "db: {bound: shop, endpoints: {pdc: [10.0.0.1], mdc: []}}",
            "a site without an address",
        ),
        (
            "db: {bound: shop}",
            "db: {bound: shop, endpoints: {pdc: [10.0.0.1], mdc: [10.0.0.2], aks: [10.0.0.3]}}",
            "may not stand in site \"aks\"",
        ),
        (
            "db: {bound: shop}",
            "db: {bound: shop, endpoints: {pdc: [10.0.0.1, 10.0.0.1], mdc: [10.0.0.2]}}",
            "stands here twice",
        ),
        (
            "db: {bound: shop}",
            "db: {bound: shop, servers: {pdc-bd: [10.0.0.1]}}",
            "the group's database has no server \"pdc-bd\"",
        ),
        ("db: {bound: shop}", "db: {bound: shop, servers: {pdc-db: []}}", "a server without an address"),
        ("db: {bound: shop}", "www.gslb.example.com.: {bound: shop}", "is virtual already, on line 35"),
        ("db: {bound: shop}", "x.sub: {bound: shop}", "lies in sub.gslb.example.com., which is delegated"),
        ("db: {bound: shop}", "db.example.org.: {bound: shop}", "is not in the zone"),
        ("db: {bound: shop}", "d b: {bound: shop}", "may hold only letters"),
    ]);
    let no_zone = GOOD.split("zone:").next().unwrap().to_owned() + "names:\n  db: {bound: shop}\n";
    assert_eq!(checked(&no_zone).problems.len(), 1);
}

/// The inequalities of DESIGN §4, each just broken and just kept.
#[test]
fn timing_that_breaks_an_inequality_is_refused_with_the_numbers() {
    let timing = |text: &'static str| format!("timing: {{{text}}}");
    for (text, told) in [
        ("renew: 540ms, election: [250ms, 450ms]", "renew 540ms is not shorter than a third of lease 1.6s"),
        ("rtt: 44ms", "3·fsync 10ms = 1.3s, which is not under lease 1.6s − renew 300ms = 1.3s"),
        ("wait: 1703203us", "= 1.703204s: two servers could take writes"),
        ("dwell: 349ms", "dwell 349ms is shorter than renew + tick = 350ms"),
        ("sync-timeout: 1700ms", "sync-timeout 1.7s is not longer than the wait 1.703204s"),
        ("election: [250ms, 520ms]", "is not whole ticks of 50ms"),
        ("election: [500ms, 500ms]", "is not at least one tick of 50ms wide"),
        ("election: [100ms, 500ms]", "under 3 ticks = 150ms"),
        ("tick: 5ms", "tick 5ms is shorter than 10ms"),
        ("margin: 10ms", "shorter than two jiffies"),
        ("renew: 40ms", "renew 40ms is shorter than tick 50ms"),
        ("profile: wide, rtt: 500ms, lease: 8s", "not longer than 2·rtt + tick = 1.05s"),
        ("lease: 301s, sync-timeout: 600s", "lease 301s is longer than 5m"),
    ] {
        refused(&[("timing: metro", &timing(text), told)]);
    }
    for text in [
        "rtt: 43900us",
        "wait: 1703204us",
        "dwell: 350ms",
        "profile: wide",
        "renew: 490ms, election: [250ms, 450ms]",
        "lease: 300s, sync-timeout: 600s",
    ] {
        accepted("timing: metro", &timing(text));
    }
}

#[test]
fn profiles_and_their_waits_are_those_of_the_design() {
    let metro = accepted("timing: metro\n", "").timing();
    assert_eq!(metro, Timing::METRO);
    assert_eq!(metro.wait(), Duration::from_micros(1_703_204));
    assert_eq!(metro.election_bound(), Duration::from_millis(1105));
    let wide = accepted("timing: metro", "timing: wide").timing();
    assert_eq!(wide, Timing::WIDE);
    // 5 s · 1.001 / 0.999, rounded up, and the margin.
    assert_eq!(wide.wait(), Duration::from_micros(5_110_011));
    assert!(wide.election_bound() < wide.lease - wide.renew);
    assert!(metro.rto_bound().worst() < Duration::from_secs(4), "DESIGN §5's worst of ten");
    assert!(metro.rto_bound().process < Duration::from_millis(1500), "DESIGN §5's process crash");
}

#[test]
fn the_ladder_lengthens_the_hold_the_wait_and_the_bound_of_its_group() {
    let config = accepted("address: 10.77.2.21", "address: 10.77.2.21, fence: ladder");
    let group = config.groups().values().next().unwrap();
    let (_, server) = config.server("mdc-db").unwrap();
    assert_eq!(server.fence, Fence::Ladder { max: Duration::from_secs(3) });
    assert_eq!(group.timing.hold(), Duration::from_millis(4600));
    assert_eq!(group.timing.wait(), group.timing.least_wait());
    assert_eq!(config.timing().hold(), Duration::from_millis(1600));
    assert!(group.timing.rto_bound().site > config.timing().rto_bound().site + Duration::from_secs(3));
    // A wait that was written longer than it need be stays longer by as much.
    let text = edited("timing: metro", "timing: {wait: 2s}")
        .replace("10.77.2.21}", "10.77.2.21, fence: {ladder: 1s}}");
    let config = checked(&text).config.expect("a longer wait is safe");
    let timing = config.groups().values().next().unwrap().timing;
    assert_eq!(timing.wait() - timing.least_wait(), Duration::from_secs(2) - Timing::METRO.wait());
}

#[test]
fn without_a_witness_everything_is_manual() {
    let text =
        edited("  wit-1: {site: wit, address: 10.77.3.11}\n", "").replace(", wit: {role: witness}", "");
    let config = checked(&text).config.expect("two sites and manual mode are a cluster");
    assert_eq!(config.witness(), None);
    assert_eq!(config.groups().values().next().unwrap().failover, Failover::Manual);
    let shown = config.to_string();
    assert!(shown.contains("# no RTO bound: a person confirms the fence"), "{shown}");
    assert!(shown.contains("never outwaited") && !shown.contains("; W "), "{shown}");
    let names = || config.names().values().map(|n| &n.follows);
    assert!(names().any(|f| matches!(f, Follows::Bound(b) if b.no_quorum == NoQuorum::Last)));
    let automatic = text.replace("{database: orders}", "{database: orders, failover: automatic}");
    let problems = checked(&automatic).problems;
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("without a witness"), "{}", problems[0]);
}

#[test]
fn paths_are_joined_to_the_files_folder_and_secrets_are_looked_up_by_the_caller() {
    let config = accepted("cluster: retail", "cluster: retail\ndata-dir: var\ntls: {dir: /secure/pki}");
    assert_eq!(config.data_dir(), Path::new("/etc/twofold/var"));
    assert_eq!(config.tls().ca, Path::new("/etc/twofold/pki/ca.pem"));
    assert_eq!(config.tls().identity("pdc-1").key, Path::new("/secure/pki/pdc-1.key"));
    let database = config.databases().values().next().unwrap();
    let file = SecretSource::File("/etc/twofold/secrets/admin".into());
    assert_eq!(database.admin.password, file);
    let credentials = database.admin.unlock(|source| {
        assert_eq!(*source, file);
        Ok("hunter2\n".to_owned())
    });
    let credentials = credentials.unwrap();
    assert_eq!((credentials.user.as_str(), credentials.password.reveal()), ("twofold", "hunter2"));
    assert!(!format!("{credentials:?}").contains("hunter2"), "a password is in a log");
    let absent = database.replication.unlock(|_| Err("it is not set".to_owned())).unwrap_err();
    assert!(absent.to_string().contains("variable TWOFOLD_REPL: it is not set"), "{absent}");
    assert!(database.admin.unlock(|_| Ok("\n".to_owned())).is_err());
}

#[test]
fn what_is_not_written_follows_from_what_is() {
    let config = accepted("version: 1", "version: 1");
    assert_eq!(config.data_sites().map(|site| site.as_str()).collect::<Vec<_>>(), ["mdc", "pdc"]);
    let pdc = "pdc".parse().unwrap();
    assert_eq!(config.other_data_site(&pdc).map(|site| site.as_str()), Some("mdc"));
    assert_eq!(config.other_data_site(&"wit".parse().unwrap()), None);
    assert_eq!(config.sites().values().filter(|site| site.role == Role::Data).count(), 2);
    // The first data site in the file, not in the alphabet.
    assert_eq!(config.groups().values().next().unwrap().prefer, pdc);
    let db = config.names().get(&"db.gslb.example.com".parse().unwrap()).unwrap();
    let Follows::Bound(bound) = &db.follows else { panic!("db is bound") };
    assert_eq!(bound.endpoints[&pdc], ["10.77.1.21".parse::<std::net::IpAddr>().unwrap()]);
    assert!(bound.servers.is_empty());
    assert_eq!(config.zone().unwrap().name_servers.len(), 5);
}

/// Goal: with several servers in a site a name leads to whichever is the primary, and what is written for a server
/// stands. Method: a third server, alone and with an address written for it.
#[test]
fn several_servers_of_a_site_are_answered_by_their_own_addresses() {
    let ip = |text: &str| vec![text.parse::<std::net::IpAddr>().unwrap()];
    let several = GOOD.replacen(
        "mdc-db: {site: mdc, address: 10.77.2.21}",
        "mdc-db: {site: mdc, address: 10.77.2.21}\n      mdc-d2: {site: mdc, address: 10.77.2.22}",
        1,
    );
    for (written, expected) in [
        ("db: {bound: shop}", "10.77.2.22"),
        ("db: {bound: shop, servers: {mdc-d2: [10.0.0.9]}}", "10.0.0.9"),
    ] {
        let config = checked(&several.replacen("db: {bound: shop}", written, 1)).config.unwrap();
        let db = config.names().get(&"db.gslb.example.com".parse().unwrap()).unwrap();
        let Follows::Bound(bound) = &db.follows else { panic!("db is bound") };
        assert_eq!(bound.servers[&"mdc-d2".parse().unwrap()], ip(expected));
        assert_eq!(bound.servers[&"mdc-db".parse().unwrap()], ip("10.77.2.21"));
        assert_eq!(bound.servers.len(), 3);
        assert!(bound.endpoints[&"mdc".parse().unwrap()] == ip(expected), "{:?}", bound.endpoints);
    }
}

/// Goal: what an https check asks when little is said, and when all is said; one status, a range and a
/// list of both are taken as they are written.
#[test]
fn an_https_check_says_what_is_verified() {
    let check = |written: &str| {
        let config = checked(&GOOD.replace("{http: {port: 8080}}", written)).config.expect("it is well");
        let check = config.checks().values().next().expect("it has a check").clone();
        match check.probe {
            app_config::Probe::Https { http, tls } => (http, tls),
            other => panic!("{other:?}"),
        }
    };
    let day = std::time::Duration::from_secs(86_400);
    let (http, tls) = check("{https: {port: 443}}");
    assert_eq!((http.port, http.path.as_str(), http.host), (443, "/", None));
    assert_eq!(http.expect_status, [200..=200]);
    assert_eq!((tls.sni, tls.ca, tls.expiry_warning), (None, None, day * 14));
    for (host, sni) in [
        ("shop.example.com", Some("shop.example.com")),
        ("\"shop.example.com:8443\"", Some("shop.example.com")),
        ("192.0.2.1", None),
        ("\"192.0.2.1:8443\"", None),
        ("\"[2001:db8::1]:8443\"", None),
    ] {
        let (_, tls) = check(&format!("{{https: {{port: 443, host: {host}}}}}"));
        assert_eq!(tls.sni.as_deref(), sni, "{host}");
    }
    let (http, tls) = check(
        "{https: {port: 443, host: shop.example.com, sni: entry.example.com, ca: pki/web.pem, \
         expect-status: [200-299, 401], expiry-warning: 30d}}",
    );
    assert_eq!(http.expect_status, [200..=299, 401..=401]);
    assert_eq!((tls.sni.as_deref(), tls.expiry_warning), (Some("entry.example.com"), day * 30));
    assert!(tls.ca.expect("it is written").is_absolute(), "relative to the file's folder");
    assert_eq!(check("{https: {port: 443, expect-status: 200-399}}").0.expect_status, [200..=399]);
}
