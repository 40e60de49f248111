//! The guide to two sites without a witness, walked through in the lab: every command of it, in order, with
//! what it says that is printed. Beside it clients write to both sites all the while.

mod lab;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chaos_lab::layout::Host;
use chaos_lab::{cluster, inside};
use lab::{Lab, PATIENCE, TWOFOLD};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

const GUIDE: &str = include_str!("../../docs/guide/two-sites.md");
const GUIDE_ZH: &str = include_str!("../../docs/guide/two-sites.zh-CN.md");

/// What a command is to print, and how it is to end.
#[derive(Debug, Clone, PartialEq)]
struct Expected {
    /// One of these, where the guide has ` | ` between them.
    text: Vec<String>,
    code: i32,
    /// It is asked again until it is so.
    until: bool,
}

impl Expected {
    fn says(&self, said: &str) -> bool {
        self.text.iter().any(|text| said.contains(text))
    }
}

/// The lines of the guide's `sh` blocks: the first block is what the others are said in.
fn blocks(guide: &str) -> Vec<Vec<String>> {
    let mut blocks = Vec::new();
    let mut open: Option<Vec<String>> = None;
    for line in guide.lines() {
        match (line.trim_end(), &mut open) {
            ("```sh", None) => open = Some(Vec::new()),
            ("```", Some(_)) => blocks.extend(open.take()),
            (line, Some(block)) => block.push(line.to_owned()),
            _ => {}
        }
    }
    blocks
}

fn expected(line: &str) -> Option<Expected> {
    let said = line.strip_prefix("# ")?;
    let of = |text: &str, code, until| {
        let text = text.split(" | ").map(|t| t.trim().to_owned()).collect();
        Some(Expected { text, code, until })
    };
    if let Some(text) = said.strip_prefix("=>") {
        return of(text, 0, false);
    }
    if let Some(text) = said.strip_prefix("until:") {
        return of(text, -1, true);
    }
    let (until, rest) = match said.strip_prefix("until exit ") {
        Some(rest) => (true, rest),
        None => (false, said.strip_prefix("exit ").expect("=>, until: or exit N")),
    };
    let (code, text) = rest.split_once(':').unwrap_or((rest, ""));
    of(text, code.trim().parse().expect("an exit code"), until)
}

/// Runs one command as a person would who has the guide's first block in a shell.
fn run(lab: &Lab, prelude: &str, command: &str) -> (i32, String) {
    let script = format!(
        "twofold() {{ if [ \"$1\" = lab ]; then w=$2; shift 2; \"$T\" lab \"$w\" --dir \"$D\" \"$@\"; \
         else \"$T\" \"$@\"; fi; }}\n{prelude}\n{command}\n"
    );
    let script = script
        .replace("/var/lib/twofold-lab", &lab.dir().to_string_lossy())
        .replace("$PWD/target/release/twofold", TWOFOLD);
    let output = Command::new("bash").args(["-c", &script]).output().expect("bash runs");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap_or(-1), text)
}

/// A write that returned to its client.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Acked {
    n: u64,
    site: &'static str,
}

/// Writes to both sites' servers through their gates, one after the other, until it is told to stop.
struct Writer {
    stop: Arc<AtomicBool>,
    acked: Arc<Mutex<Vec<Acked>>>,
    thread: Option<JoinHandle<()>>,
}

/// The deadline of one write.
const WRITE_WITHIN: Duration = Duration::from_millis(700);

async fn write(host: Host, n: u64) -> Result<(), mysql_async::Error> {
    let options = OptsBuilder::default()
        .ip_or_hostname(host.address().to_string())
        .tcp_port(cluster::DATABASE_PORT)
        .user(Some(chaos_lab::mysqld::APPLICATION_USER))
        .pass(Some(chaos_lab::mysqld::PASSWORD))
        .db_name(Some(chaos_lab::mysqld::APPLICATION_SCHEMA))
        .prefer_socket(false)
        .stmt_cache_size(0);
    let mut conn = Conn::new(options).await?;
    conn.query_drop("CREATE TABLE IF NOT EXISTS walked (n BIGINT PRIMARY KEY)").await?;
    conn.query_drop(format!("INSERT INTO walked VALUES ({n})")).await?;
    // From here on the client knows of it.
    let _ = conn.disconnect().await;
    Ok(())
}

impl Writer {
    fn start(lab: &Lab) -> Self {
        let (stop, acked) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopping, told) = (stop.clone(), acked.clone());
        let place = chaos_lab::layout::Lab::at(&lab.dir());
        let thread = std::thread::spawn(move || {
            let cli = Host::named("cli").expect("it is in the table");
            let act = move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let mut n = 0;
                while !stopping.load(Ordering::Relaxed) {
                    for site in ["pdc", "mdc"] {
                        n += 1;
                        let host = Host::named(if site == "pdc" { "pdc-db" } else { "mdc-db" });
                        let host = host.expect("it is in the table");
                        let tried = async { tokio::time::timeout(WRITE_WITHIN, write(host, n)).await };
                        if let Ok(Ok(())) = runtime.block_on(tried) {
                            told.lock().expect("no holder panics").push(Acked { n, site });
                        }
                    }
                    // A pace, so that the machine has time for the servers.
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                Ok(())
            };
            let _ = inside::in_thread(&place, &cli, act);
        });
        Self { stop, acked, thread: Some(thread) }
    }

    fn acked(&self) -> Vec<Acked> {
        self.acked.lock().expect("no holder panics").clone()
    }

    /// A write is acknowledged that began after this was asked.
    fn writes_on(&self) {
        let before = self.acked().len();
        let end = Instant::now() + PATIENCE;
        while self.acked().len() < before + 3 {
            assert!(Instant::now() < end, "nobody acknowledges a write");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn end(mut self) -> Vec<Acked> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it runs").join().expect("it does not panic");
        self.acked()
    }
}

/// What a site's server has, read through its socket.
fn rows(lab: &Lab, site: &str) -> BTreeSet<u64> {
    let socket = lab.dir().join(format!("hosts/{site}-db/mysqld.sock"));
    let options = OptsBuilder::default()
        .socket(Some(socket.to_string_lossy()))
        .user(Some(chaos_lab::mysqld::APPLICATION_USER))
        .pass(Some(chaos_lab::mysqld::PASSWORD))
        .db_name(Some(chaos_lab::mysqld::APPLICATION_SCHEMA))
        .stmt_cache_size(0);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut conn = Conn::new(options).await.expect("the server is up");
        let rows: Vec<u64> = conn.query("SELECT n FROM walked").await.expect("the table is there");
        rows.into_iter().collect()
    })
}

/// Waits until all of `acked` is on the site's server.
fn replicated(lab: &Lab, site: &str, acked: &[Acked]) {
    let end = Instant::now() + PATIENCE;
    loop {
        let have = rows(lab, site);
        if acked.iter().all(|a| have.contains(&a.n)) {
            return;
        }
        assert!(Instant::now() < end, "{site} does not catch up");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// The sites that acknowledged, in order; two in a row that are one count once.
fn moves(acked: &[Acked]) -> Vec<&'static str> {
    let mut sites: Vec<&'static str> = acked.iter().map(|a| a.site).collect();
    sites.dedup();
    sites
}

/// The first word of this form in `text`.
fn found(text: &str, is: impl Fn(&str) -> bool) -> Option<String> {
    text.split_whitespace().map(|w| w.trim_end_matches(':')).find(|w| is(w)).map(str::to_owned)
}

/// Goal: a node that joins under a number that never was says so, and the cluster goes on. Method: its own log
/// tells that it heard the others, and so that they heard it.
fn a_wrong_incarnation_ends_nobody(lab: &Lab, prelude: &str) {
    let typed = |command: &str| {
        let (code, said) = run(lab, prelude, command);
        assert_eq!(code, 0, "{command}: {said}");
        said
    };
    assert!(typed("join pdc-1 --incarnation 9-00000000").contains("a new log"));
    typed("twofold lab start pdc-1/node");
    let log = lab.dir().join("log/pdc-1.node.log");
    let end = Instant::now() + PATIENCE;
    while !std::fs::read_to_string(&log).is_ok_and(|l| l.contains("that the cluster is not of")) {
        assert!(Instant::now() < end, "it does not say that its incarnation is wrong: {}", log.display());
        std::thread::park_timeout(Duration::from_millis(50));
    }
    // Two confirmed views: what it told in between did not end the nodes that confirm them.
    for _ in 0..2 {
        let said = typed("ask status");
        assert!(said.contains("quorum   nodes") && !said.contains("NO QUORUM"), "{said}");
    }
    typed("twofold lab stop pdc-1/node");
    typed("rm -r $D/hosts/nodes/pdc-1");
}

/// Goal: the guide is true, to the letter; and while a person follows it, no two servers acknowledge
/// writes in turn, nothing is lost that was acknowledged and had left its site before that was killed, and
/// a lost standby costs no write. Method: every `sh` block, in order, in a lab whose site is really killed.
#[test]
fn the_guide_is_walked_through() {
    let lab = Lab::absent();
    let mut all = blocks(GUIDE).into_iter();
    let prelude = all.next().expect("the guide begins with what it is said in").join("\n");
    let (mut seed, mut loss, mut life) = (String::new(), String::new(), String::new());
    let mut writer: Option<Writer> = None;
    let (mut safe, mut expected_moves) = (Vec::new(), ["pdc", "mdc", "pdc", "mdc"].as_slice());
    let lines: Vec<String> = all.flatten().collect();
    for pair in lines.chunks(2) {
        let [command, says] = pair else { panic!("a command without what it prints: {pair:?}") };
        let wanted = expected(says).unwrap_or_else(|| panic!("{command}: not understood: {says}"));
        let command = command.replace("SEED", &seed).replace("LOSS", &loss).replace("LIFE", &life);
        if let (Some(writer), true) = (&writer, command.contains("lab kill pdc")) {
            writer.writes_on();
            safe = writer.acked();
            replicated(&lab, "mdc", &safe);
        }
        if command == "twofold lab down"
            && let Some(writer) = writer.take()
        {
            writer.writes_on();
            let acked = writer.end();
            assert_eq!(moves(&acked), expected_moves, "no two servers acknowledge in turn");
            let last = *expected_moves.last().expect("somebody serves");
            let have = rows(&lab, last);
            let first_here = acked.iter().rposition(|a| a.site != last).map_or(0, |at| at + 1);
            for write in safe.iter().chain(&acked[first_here..]) {
                assert!(have.contains(&write.n), "{write:?} was acknowledged and is lost");
            }
            expected_moves = &["pdc"];
            safe.clear();
        }
        if command.starts_with("join pdc-1") {
            a_wrong_incarnation_ends_nobody(&lab, &prelude);
        }
        let end = Instant::now() + PATIENCE;
        let said = loop {
            let (code, said) = run(&lab, &prelude, &command);
            let so = wanted.says(&said) && (wanted.code == -1 || wanted.code == code);
            if so {
                break said;
            }
            assert!(
                wanted.until && Instant::now() < end,
                "{command}\nended with {code}:\n{said}\nwanted {wanted:?}"
            );
            std::thread::park_timeout(Duration::from_millis(200));
        };
        if let Some(path) = found(&said, |w| w.ends_with(".seed")) {
            seed = path;
        }
        if let Some((_, rest)) = said.split_once("--incarnation ") {
            life = rest.split([',', ' ']).next().expect("an incarnation").to_owned();
        }
        if let Some(at) = said.find("  loss ") {
            loss = said[at + 7..].split(':').next().expect("an id").to_owned();
        }
        if command.starts_with("twofold lab up") {
            let begun = Writer::start(&lab);
            begun.writes_on();
            writer = Some(begun);
        }
        if let Some(writer) = &writer
            && (wanted.text[0].contains("OPEN   active")
                || said.contains("group shop is served by")
                || command.contains("lab kill mdc"))
        {
            writer.writes_on();
        }
    }
}

/// Goal: both languages say the same commands, with the same words expected.
#[test]
fn the_chinese_guide_has_the_same_commands() {
    assert_eq!(blocks(GUIDE), blocks(GUIDE_ZH));
}
