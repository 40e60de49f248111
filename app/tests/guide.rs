//! The operator's guide is true: each command in it is typed as it stands, in a lab.
//!
//! Goal: no command of the guide is misspelt, refused or forgotten, in either language. Method: the
//! commands are taken out of the guide's `sh` blocks; what stands before a command here brings the lab to
//! where the guide says that it helps. A command that this file does not know fails the test.

mod lab;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use lab::{Lab, PATIENCE, TWOFOLD, said};

const ENGLISH: &str = include_str!("../../docs/guide/operate.md");
const CHINESE: &str = include_str!("../../docs/guide/operate.zh-CN.md");

/// The commands of a page, without comments.
fn commands(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match line.trim() {
            "```sh" => inside = true,
            "```" => inside = false,
            command if inside && !command.is_empty() && !command.starts_with('#') => {
                let command = command.split("  #").next().unwrap_or_default();
                let command = command.split(" # ").next().unwrap_or_default();
                found.push(command.trim().to_owned());
            }
            _ => {}
        }
    }
    found
}

/// The operator's seat: an admin's, so that everything in the guide may be typed.
struct Seat {
    lab: Lab,
    /// What is typed now is typed with the token of the envelope.
    envelope: std::cell::Cell<bool>,
}

impl Seat {
    fn take() -> Self {
        let seat = Self { lab: Lab::up(), envelope: false.into() };
        let made = Command::new(TWOFOLD)
            .args(["cert", "client", "root", "--role", "admin", "--config", &seat.lab.config()])
            .output()
            .expect("twofold runs");
        assert!(made.status.success(), "{}", said(&made));
        seat
    }

    /// What is typed at the seat, by a shell, in the folder with `twofold.yaml`.
    fn types(&self, line: &str) -> Output {
        self.typing(line).output().expect("twofold runs")
    }

    fn typing(&self, line: &str) -> Command {
        let folder = Path::new(TWOFOLD).parent().expect("a folder");
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new(TWOFOLD);
        command
            .args(["lab", "exec", "--dir"])
            .arg(self.lab.dir())
            .args(["cli", "--", "sh", "-c", line])
            .current_dir(self.lab.dir())
            .env("PATH", path)
            .env("TWOFOLD_CLIENT", "root")
            .env("TERM", "xterm");
        if self.envelope.get() {
            let token = std::fs::read_to_string(self.lab.dir().join("envelope")).expect("the envelope");
            command.env("TWOFOLD_TOKEN", token.trim()).env_remove("TWOFOLD_CLIENT");
        }
        command
    }

    /// A command that needs a terminal and runs until q is pressed: once it shows the group.
    fn watches(&self, line: &str) {
        // script(1) gives it a terminal, and timeout(1) the deadline.
        let mut command =
            self.typing(&format!("timeout 60 script -qec 'stty rows 40 cols 120; {line}' /dev/null"));
        let mut watching =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("twofold runs");
        let mut screen = watching.stdout.take().expect("it is piped");
        let mut shown = Vec::new();
        let mut part = [0; 4096];
        while !String::from_utf8_lossy(&shown).contains("shop") {
            let n = screen.read(&mut part).expect("the screen");
            assert!(n > 0, "it ended: {}", String::from_utf8_lossy(&shown));
            shown.extend_from_slice(&part[..n]);
        }
        watching.stdin.take().expect("it is piped").write_all(b"q").expect("q is pressed");
        let _ = screen.read_to_end(&mut shown);
        assert!(watching.wait().expect("it ends").success(), "{}", String::from_utf8_lossy(&shown));
    }

    fn types_well(&self, line: &str) -> String {
        let output = self.types(line);
        assert!(output.status.success(), "{line}: exit {:?}: {}", output.status.code(), said(&output));
        said(&output)
    }

    /// Brings the group to a site, in `Sync`.
    fn home(&self, site: &str) {
        self.lab.settled();
        if self.lab.leader_and_active().1 != site {
            until(|| {
                let moved = self.types(&format!("twofold switchover shop --to {site}"));
                if moved.status.success() { Ok(()) } else { Err(said(&moved)) }
            });
            self.lab.settled();
        }
    }

    /// Writes `twofold.yaml` anew, and gives what stood in it.
    fn edit(&self, change: impl FnOnce(&str) -> String) -> String {
        let path = self.lab.config();
        let before = std::fs::read_to_string(&path).expect("the lab's configuration");
        let after = change(&before);
        assert_ne!(before, after, "the edit changes something");
        std::fs::write(path, after).expect("it is written");
        before
    }

    fn ttl(&self, seconds: u32) {
        self.edit(|text| {
            let at = text.find("    ttl: ").expect("the name's TTL") + "    ttl: ".len();
            let end = at + text[at..].find('s').expect("a unit");
            format!("{}{seconds}{}", &text[..at], &text[end..])
        });
    }
}

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

#[test]
fn both_languages_have_the_same_commands() {
    let plain = |page| commands(page).iter().map(|c| c.replace('…', "")).collect::<Vec<_>>();
    assert!(commands(ENGLISH).len() > 15, "the commands are found");
    assert_eq!(plain(ENGLISH), plain(CHINESE));
}

#[test]
fn every_command_of_the_operators_guide_does_what_it_says() {
    let seat = Seat::take();
    seat.lab.settled();
    // The envelope of the guide, made beforehand.
    let made =
        seat.types_well("twofold token create night --role admin --break-glass --expires 366d -o json");
    let made: serde_json::Value = serde_json::from_str(&made).expect("a token");
    let envelope = made["secret"].as_str().expect("its secret").to_owned();
    std::fs::write(seat.lab.dir().join("envelope"), envelope).expect("it is written");
    for written in commands(ENGLISH) {
        let line = written.replace('…', "a reason");
        run(&seat, &line);
    }
}

/// Brings the lab to where the guide is, and types the line.
fn run(seat: &Seat, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        // What these say to the shell is said to the next line's: see `typing`.
        ["export", variable] => {
            assert!(variable.starts_with("TWOFOLD_CONFIG="));
        }
        ["read", "-rs", "TWOFOLD_TOKEN", ..] => seat.envelope.set(true),
        ["unset", "TWOFOLD_TOKEN"] => seat.envelope.set(false),
        ["twofold", "token", ..] => {
            seat.types_well(line);
        }
        ["twofold", "status", "--watch"] => {
            seat.watches(line);
        }
        ["twofold", "maintenance", "begin", ..] => {
            seat.types_well(line);
            seat.types_well("twofold maintenance end shop");
        }
        ["twofold", "status" | "explain" | "audit" | "db", ..] => {
            assert!(!seat.types_well(line).is_empty() || line.contains('>'), "{line} says something");
        }
        ["twofold", "apply", "twofold.yaml", "--dry-run"] => {
            seat.ttl(2);
            assert!(seat.types_well(line).contains("-> 2s"));
        }
        ["twofold", "apply", "twofold.yaml", ..] => {
            assert!(seat.types_well(line).contains("is in force"));
        }
        ["twofold", "config", "rollback", generation, ..] => {
            let wanted: u32 = generation.parse().expect("a number");
            for seconds in (3..).take(wanted as usize) {
                seat.ttl(seconds);
                seat.types_well("twofold apply twofold.yaml");
            }
            assert!(seat.types_well(line).contains("is in force"));
            seat.types_well("twofold config get > next.yaml && mv next.yaml twofold.yaml");
        }
        ["twofold", "config", ..] => {
            seat.types_well(line);
        }
        ["twofold", "serve", .., "--node", node, "--join"] => {
            let entry = format!(
                "nodes:\n  {node}: {{site: mdc, address: 10.77.2.2, peer-port: 7401, api-port: 7444}}\n"
            );
            let before = seat.edit(|text| {
                let old = text.lines().find(|l| l.starts_with("  mdc-2: ")).expect("the node").to_owned();
                text.replace(&format!("{old}\n"), "").replace("nodes:\n", &entry)
            });
            assert!(seat.types_well(line).contains("a new log at"));
            seat.edit(|_| before);
        }
        // No systemd in a lab: that the unit is there, and verified by systemd-analyze, is another test's.
        ["systemctl", "start", unit] => {
            let name = unit.split('@').next().expect("a name");
            let path =
                Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../deploy/systemd/{name}@.service"));
            assert!(path.exists(), "{}", path.display());
        }
        ["twofold", "switchover", "shop", "--to", site, rest @ ..] => {
            seat.home(if *site == "mdc" { "pdc" } else { "mdc" });
            let typed = until(|| {
                let typed = seat.types(line);
                if typed.status.success() { Ok(typed) } else { Err(said(&typed)) }
            });
            assert_eq!(said(&typed).contains("nothing was begun"), rest.contains(&"--dry-run"));
            seat.lab.settled();
        }
        ["twofold", "failover", "shop", "--to", site, rest @ ..] => {
            seat.home(if *site == "mdc" { "pdc" } else { "mdc" });
            let mut typed = line.to_owned();
            if rest.contains(&"--accept-loss") {
                // The loss is stated with its id, which is read and typed.
                let stated = seat.types(&format!("{} -o json", line.replace(" ID", " none")));
                assert_eq!(stated.status.code(), Some(3), "{}", said(&stated));
                let stated: serde_json::Value =
                    serde_json::from_slice(&stated.stdout).expect("a problem document");
                typed = line.replace(" ID", &format!(" {}", stated["loss"]["id"].as_str().expect("an id")));
            }
            seat.types_well(&typed);
            until(|| {
                let (_, active) = seat.lab.leader_and_active();
                if active == *site { Ok(()) } else { Err(format!("the group is in {active}")) }
            });
            seat.lab.settled();
        }
        _ => panic!("the guide says {line:?}, which this test does not know: bring the lab there and run it"),
    }
}
