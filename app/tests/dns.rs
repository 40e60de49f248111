//! `twofold dns serve` as its user has it: a file, an address, `dig`.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Nobody else listens there.
const LISTEN: &str = "127.77.53.1:5377";
const PATIENCE: Duration = Duration::from_secs(20);

const ZONE: &str = r#"$TTL 1h
@        IN SOA ns1 Host.Master ( 1 2h 15m 4w 60 )
         NS  ns1
ns1      A   192.0.2.53
Www      300 A 192.0.2.1
         AAAA 2001:db8::1
alias    CNAME WWW.example.com.
*.wild   TXT "any thing"
old      DNAME new
www.new  A   192.0.2.2
child    NS  ns.child
ns.child A   192.0.2.54
hidden.child TXT "never answered"
odd      TYPE65400 \# 3 0102ff
here     LOC 52 22 23.000 N 4 53 32.000 E -2.00m
www.elsewhere.test. A 192.0.2.9
$INCLUDE more sub
"#;

struct Served {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Served {
    fn start(file: &Path) -> Self {
        Self::start_with(file, &[])
    }

    fn start_with(file: &Path, more: &[&str]) -> Self {
        let zone = ["--origin", "example.com", "--zone-file", file.to_str().unwrap()];
        Self::of(&[&zone, more].concat())
    }

    fn of(words: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_twofold"))
            .args(["dns", "serve", "--listen", LISTEN])
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, lines) = mpsc::channel();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        for pipe in [Box::new(out) as Box<dyn std::io::Read + Send>, Box::new(err)] {
            let tell = tell.clone();
            std::thread::spawn(move || {
                BufReader::new(pipe).lines().map_while(Result::ok).for_each(|line| _ = tell.send(line));
            });
        }
        Self { child, lines }
    }

    /// Waits for lines that have these in them, in whichever order: two pipes bring them.
    fn until(&self, wanted: &[&str]) {
        let mut seen: Vec<String> = Vec::new();
        while !wanted.iter().all(|w| seen.iter().any(|line| line.contains(w))) {
            let line =
                self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {wanted:?} in {seen:#?}"));
            seen.push(line);
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// What should end at once, and is ended where it serves instead.
fn refused() -> Command {
    let mut command = Command::new("timeout");
    command.args(["20", env!("CARGO_BIN_EXE_twofold")]);
    command
}

/// Status and the records of all sections, as dig prints them.
fn dig(words: &[&str]) -> Vec<String> {
    let (host, port) = LISTEN.split_once(':').unwrap();
    let all = [
        "+noall",
        "+comments",
        "+answer",
        "+authority",
        "+norecurse",
        "+nocookie",
        "+time=5",
        "+tries=2",
        "-p",
        port,
    ];
    let server = format!("@{host}");
    let out = Command::new("dig").args(all).arg(server).args(words).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let status = text.split("status: ").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or("none");
    let records = text.lines().filter(|l| !l.starts_with(';') && !l.is_empty());
    let spaced = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    std::iter::once(status.to_owned()).chain(records.map(spaced)).collect()
}

/// Goal: a master file is served as written, its case kept; a reload loses nothing; a file with mistakes changes nothing.
#[test]
fn a_master_file_is_served_and_read_anew() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("zone");
    std::fs::write(&file, ZONE).unwrap();
    std::fs::write(dir.path().join("more"), "a A 192.0.2.77\n").unwrap();
    let served = Served::start(&file);
    served.until(&["ready in", ":16: not in zone example.com., and left out"]);
    let soa = "example.com. 60 IN SOA ns1.example.com. host.master.example.com. 1 7200 900 2419200 60";
    for (question, wanted) in [
        (vec!["wWw.example.com", "A"], vec!["NOERROR", "wWw.example.com. 300 IN A 192.0.2.1"]),
        (
            vec!["www.example.com", "AAAA", "+tcp"],
            vec!["NOERROR", "www.example.com. 3600 IN AAAA 2001:db8::1"],
        ),
        (
            vec!["alias.example.com", "A"],
            vec![
                "NOERROR",
                "alias.example.com. 3600 IN CNAME WWW.example.com.",
                "WWW.example.com. 300 IN A 192.0.2.1",
            ],
        ),
        (
            vec!["x.y.wild.example.com", "TXT"],
            vec!["NOERROR", "x.y.wild.example.com. 3600 IN TXT \"any thing\""],
        ),
        (
            vec!["www.old.example.com", "A"],
            vec![
                "NOERROR",
                "old.example.com. 3600 IN DNAME new.example.com.",
                "www.old.example.com. 3600 IN CNAME www.new.example.com.",
                "www.new.example.com. 3600 IN A 192.0.2.2",
            ],
        ),
        (
            vec!["hidden.child.example.com", "TXT"],
            vec!["NOERROR", "child.example.com. 3600 IN NS ns.child.example.com."],
        ),
        (
            vec!["odd.example.com", "TYPE65400"],
            vec!["NOERROR", "odd.example.com. 3600 IN TYPE65400 \\# 3 0102FF"],
        ),
        (
            vec!["here.example.com", "LOC"],
            vec![
                "NOERROR",
                "here.example.com. 3600 IN LOC 52 22 23.000 N 4 53 32.000 E -2.00m 1m 10000m 10m",
            ],
        ),
        (vec!["a.sub.example.com", "A"], vec!["NOERROR", "a.sub.example.com. 3600 IN A 192.0.2.77"]),
        (vec!["nothing.example.com", "A"], vec!["NXDOMAIN", soa]),
        (vec!["wild.example.com", "A"], vec!["NOERROR", soa]),
        (vec!["www.elsewhere.test", "A"], vec!["REFUSED"]),
    ] {
        assert_eq!(dig(&question), wanted, "{question:?}");
    }

    std::fs::write(&file, ZONE.replace("192.0.2.1\n", "192.0.2.100\n").replace("( 1 2h", "( 2 2h")).unwrap();
    served.signal("-HUP");
    served.until(&["read anew"]);
    assert_eq!(dig(&["www.example.com", "A"])[1..], ["www.example.com. 300 IN A 192.0.2.100"]);

    std::fs::write(&file, format!("{ZONE}bad A 1.2.3\nworse NOSUCH\n")).unwrap();
    served.signal("-HUP");
    served.until(&[
        "has 2 mistakes",
        "zone:18: A of bad.example.com.",
        "the zone that was read before stays",
    ]);
    assert_eq!(dig(&["www.example.com", "A"])[1..], ["www.example.com. 300 IN A 192.0.2.100"]);

    served.signal("-TERM");
    let mut served = served;
    assert!(served.child.wait().unwrap().success());
}

/// Goal: what cannot be served is told, with exit code 2.
#[test]
fn what_is_no_zone_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("zone");
    for (text, origin, wanted) in [
        (None, "example.com", "name a master file"),
        (Some("@ NS ns\n"), "example.com", "has no SOA record"),
        (
            Some("@ SOA a b 1 2 3 4 5\n@ NS ns\na CNAME b\na A 192.0.2.1\n"),
            "example.com",
            "a CNAME stands alone",
        ),
        (Some("@ SOA a b 1 2 3 4 5\n"), "example.com", "has no name server"),
        (Some(ZONE), "exam..ple", "--origin: name \"exam..ple\" has an empty label"),
    ] {
        match text {
            Some(text) => std::fs::write(&file, text).unwrap(),
            None => assert!(!file.exists()),
        }
        let out = refused()
            .args(["dns", "serve", "--origin", origin, "--listen", LISTEN, "--zone-file"])
            .arg(&file)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{told}");
        assert!(told.contains(wanted), "{told}");
    }
}

/// The name in a certificate, its file and its key's, signed by a CA of its own in `ca.pem`.
fn certificate(dir: &Path, name: &str) {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "a CA of the test");
    let ca = rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
    std::fs::write(dir.join("ca.pem"), ca.pem()).unwrap();
    std::fs::write(dir.join("cert.pem"), leaf.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
}

/// Goal: within TLS the same is answered, padded for whoever pads, and only by whom the certificate names; another
/// certificate is shown after SIGHUP, and one that cannot be used changes nothing.
#[test]
fn a_zone_is_served_within_tls() {
    const TLS: &str = "127.77.53.1:8853";
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(at("zone"), ZONE).unwrap();
    std::fs::write(at("more"), "").unwrap();
    certificate(dir.path(), "ns1.example.com");
    let options =
        ["--tls-listen", TLS, "--certificate", &at("cert.pem"), "--key", &at("key.pem"), "--nsid", "pdc-1"];
    let served = Served::start_with(&dir.path().join("zone"), &options);
    served.until(&["ready in", "127.77.53.1:8853 (TLS)"]);
    let ask = |name: &str, question: &[&str]| {
        let (host, port) = TLS.split_once(':').unwrap();
        let (ca, name) = (format!("+tls-ca={}", at("ca.pem")), format!("+tls-hostname={name}"));
        let server = format!("@{host}");
        let words = [
            "+tls",
            ca.as_str(),
            name.as_str(),
            "+nsid",
            "+padding=128",
            "+tries=1",
            "-p",
            port,
            server.as_str(),
        ];
        let out = Command::new("dig").args(words).args(question).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    let said = ask("ns1.example.com", &["www.example.com", "A"]);
    for wanted in ["192.0.2.1", "(\"pdc-1\")", "PAD: ", "SIZE  rcvd: 468", "(good)"] {
        assert!(said.contains(wanted), "no {wanted:?} in {said}");
    }
    assert!(!ask("other.example.com", &["www.example.com", "A"]).contains("192.0.2.1"));
    // A key of another certificate.
    let before = std::fs::read(at("key.pem")).unwrap();
    std::fs::write(at("key.pem"), rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    served.signal("-HUP");
    served.until(&["cannot be used together", "the certificate that was read before stays", "read anew"]);
    std::fs::write(at("key.pem"), before).unwrap();
    assert!(ask("ns1.example.com", &["www.example.com", "A"]).contains("192.0.2.1"));
    certificate(dir.path(), "other.example.com");
    served.signal("-HUP");
    served.until(&["read anew"]);
    assert!(ask("other.example.com", &["www.example.com", "A"]).contains("192.0.2.1"));
    // Without TLS nobody pads.
    assert!(
        !dig(&["+padding=100", "+comments", "www.example.com", "A"]).iter().any(|line| line.contains("PAD"))
    );
    drop(served);
    for (options, wanted) in [
        (["--certificate", &at("none"), "--key", &at("key.pem")], "none\" cannot be read"),
        (["--certificate", &at("key.pem"), "--key", &at("key.pem")], "has no certificate in it"),
        (["--certificate", &at("cert.pem"), "--key", &at("cert.pem")], "has no private key in it"),
    ] {
        let out = refused()
            .args([
                "dns",
                "serve",
                "--origin",
                "example.com",
                "--listen",
                LISTEN,
                "--tls-listen",
                TLS,
                "--zone-file",
            ])
            .arg(at("zone"))
            .args(options)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{told}");
        assert!(told.contains(wanted), "{told}");
    }
}

/// Two sites, a pool of one member in each, and a group.
const CONFIG: &str = "
version: 1
cluster: alone
sites: {east: {role: data}, west: {role: data}, third: {role: witness}}
nodes:
  east-1: {site: east, address: 192.0.2.1}
  west-1: {site: west, address: 192.0.2.2}
  third-1: {site: third, address: 192.0.2.3}
databases:
  main:
    admin: {user: twofold, password-file: secrets/admin}
    replication: {user: repl, password-file: secrets/repl}
    servers:
      east-db: {site: east, address: 192.0.2.11}
      west-db: {site: west, address: 192.0.2.12}
groups:
  main: {database: main}
zone: {origin: db.example.com}
checks:
  port: {tcp: {port: 5380}, interval: 100ms, timeout: 90ms, rise: 1, fall: 1}
pools:
  east: {check: port, members: {east-web: {site: east, address: 127.77.53.11}}}
  west: {check: port, members: {west-web: {site: west, address: 127.77.53.12}}}
names:
  main: {bound: main}
  www: {pooled: {policy: order, pools: [east, west]}, all-down: nodata, ttl-min: 1s}
";

/// Asks again until that is the answer.
fn until_dig(words: &[&str], wanted: &[&str]) {
    let began = std::time::Instant::now();
    loop {
        let said = dig(words);
        if said == wanted {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{words:?}: {said:?} instead of {wanted:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Goal: steering can be tried without a cluster: pooled names follow what is found from here, bound ones the command line;
/// another configuration is taken over, and one with mistakes is not.
#[test]
fn a_configuration_is_steered_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("twofold.yaml");
    std::fs::write(&file, CONFIG).unwrap();
    let path = file.to_str().unwrap();
    let listen = |host: &str| std::net::TcpListener::bind((host, 5380)).unwrap();
    let (east, west) = (listen("127.77.53.11"), listen("127.77.53.12"));
    let served = Served::of(&["--config", path, "--active", "main=west"]);
    served.until(&["ready in", "zone db.example.com., checked from east,"]);
    let www = ["www.db.example.com", "A"];
    until_dig(&["+nottlid", www[0], www[1]], &["NOERROR", "www.db.example.com. IN A 127.77.53.11"]);
    let main = ["NOERROR", "main.db.example.com. IN A 192.0.2.12"];
    until_dig(&["+nottlid", "main.db.example.com", "A"], &main);
    drop(east);
    until_dig(&["+nottlid", www[0], www[1]], &["NOERROR", "www.db.example.com. IN A 127.77.53.12"]);
    drop(west);
    until_dig(&["+noauthority", www[0], www[1]], &["NOERROR"]);
    // Nothing changes by a file with a mistake; then the order is another one.
    std::fs::write(&file, CONFIG.replace("pools: [east, west]", "pools: [north]")).unwrap();
    served.signal("-HUP");
    served.until(&["north", "the zone that was read before stays"]);
    std::fs::write(&file, CONFIG.replace("pools: [east, west]", "pools: [west, east]")).unwrap();
    served.signal("-HUP");
    served.until(&["read anew"]);
    let _both = (listen("127.77.53.11"), listen("127.77.53.12"));
    until_dig(&["+nottlid", www[0], www[1]], &["NOERROR", "www.db.example.com. IN A 127.77.53.12"]);
    until_dig(&["+nottlid", "main.db.example.com", "A"], &main);
    drop(served);
    for (words, wanted) in [
        (&["--config", path, "--active", "other=west"][..], "it has no group \"other\"; its groups: main"),
        (
            &["--config", path, "--active", "main=north"],
            "it has no site \"north\"; its sites: east, third, west",
        ),
        (&["--config", path, "--active", "main"], "write GROUP=SITE"),
        (&["--config", path, "--origin", "example.com"], "cannot be used with"),
        (&["--active", "main=west"], "--config"),
        (&[], "--zone-file"),
    ] {
        let out = refused().args(["dns", "serve", "--listen", LISTEN]).args(words).output().unwrap();
        let told = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{words:?}: {told}");
        assert!(told.contains(wanted), "{words:?}: {told}");
    }
}
