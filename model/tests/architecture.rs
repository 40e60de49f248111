//! Holds the boundaries of STYLE §2 (S8), §3 and §6: who may know whom, what a pure crate may name,
//! and that no code is unsafe but for one named file.
//!
//! Method: the workspace as `cargo metadata` tells it, against a table; the sources as tokens,
//! without comments, texts and what only tests compile. A new crate fails here until it has a row,
//! which is the moment to think about its place.
//!
//! Deliberately absent: anything a compiler or clippy sees by itself. Each pure crate's clippy.toml
//! holds most of S8 a second time, with types resolved; this also sees what clippy is not asked for.
// A test looks at files and runs cargo; the crate it stands beside may not.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Every crate and the crates of ours it may use. Tests of a crate may use the further ones.
const MAY_USE: &[(&str, &[&str], &[&str])] = &[
    ("model", &[], &[]),
    ("gslb-core", &["model"], &[]),
    ("gslb-dns", &["model", "gslb-core", "gslb-master"], &[]),
    ("gslb-master", &["gslb-core"], &[]),
    ("failover-core", &["model", "runbooks-core"], &[]),
    ("failover-raft", &["model"], &[]),
    ("runbooks-core", &["model"], &[]),
    ("replication-mysql", &["model"], &[]),
    ("chaos-sim", &["model", "gslb-core", "failover-core", "failover-raft", "runbooks-core"], &[]),
    // The adapter is tried against a real server in the lab's own room.
    (
        "chaos-lab",
        &["model", "app-api", "app-syscalls"],
        &["replication-mysql", "gslb-core", "gslb-dns", "gslb-master"],
    ),
    // Written from the design, not from the cores: it shares no code with what it judges.
    ("chaos-model", &[], &[]),
    ("app-api", &["model"], &[]),
    ("app-cert", &["model"], &[]),
    ("app-config", &["model"], &[]),
    ("app-link", &["model"], &[]),
    ("app-syscalls", &[], &[]),
    // The only composition root.
    (
        "twofold",
        &[
            "model",
            "gslb-core",
            "gslb-dns",
            "gslb-master",
            "failover-core",
            "failover-raft",
            "runbooks-core",
            "replication-mysql",
            "chaos-sim",
            "chaos-lab",
            "app-api",
            "app-cert",
            "app-config",
            "app-link",
            "app-syscalls",
        ],
        &[],
    ),
];

/// Crates that name no I/O (S8), and outside crates that they may use.
const PURE: &[&str] = &["model", "gslb-core", "gslb-master", "failover-core", "runbooks-core", "app-config"];
const PURE_MAY_USE: &[&str] = &["serde", "serde_json", "thiserror", "saphyr-parser", "data-encoding"];

/// Paths that a pure crate does not name. Addresses and durations are values, and fine.
const FORBIDDEN_PATHS: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::os",
    "std::process",
    "std::thread",
    "std::sync::mpsc",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::time::UNIX_EPOCH",
];

/// Words that a pure crate does not name, wherever they come from.
const FORBIDDEN_WORDS: &[&str] = &[
    "tokio",
    "Instant",
    "SystemTime",
    "thread_rng",
    "ThreadRng",
    "OsRng",
    "getrandom",
    "async",
    "await",
    "println",
    "eprintln",
];

/// Crates whose result must be the same on every node: no hash order (S5).
const ORDERED: &[&str] = &["failover-core", "runbooks-core"];
const UNORDERED_WORDS: &[&str] = &["HashMap", "HashSet", "RandomState"];

/// The one file of system calls.
const MAY_BE_UNSAFE: &str = "app/syscalls/src/lib.rs";

/// A file that passes this asks to be split (STYLE §6 says 500 without tests); it is told, not refused.
const LINES_TOLD: usize = 800;

struct Package {
    name: String,
    dir: PathBuf,
    /// Names of what it uses: for its product, and for its tests only.
    uses: BTreeSet<String>,
    tests_use: BTreeSet<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn packages() -> BTreeMap<String, Package> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs, since it runs this test");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut packages = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let (mut uses, mut tests_use) = (BTreeSet::new(), BTreeSet::new());
        for dependency in package["dependencies"].as_array().unwrap() {
            let into = if dependency["kind"] == "dev" { &mut tests_use } else { &mut uses };
            into.insert(text(&dependency["name"]));
        }
        let name = text(&package["name"]);
        let dir = Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned();
        packages.insert(name.clone(), Package { name, dir, uses, tests_use });
    }
    packages
}

/// Every `.rs` file beneath `dir`.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                // Crates inside this crate's folder, and data, are not its sources.
                if !path.join("Cargo.toml").exists() && !path.ends_with("testdata") {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Sources of the product: a module `tests` is compiled for tests only.
fn product_sources(package: &Package) -> Vec<PathBuf> {
    let src = package.dir.join("src");
    let is_test = |path: &PathBuf| {
        let inside = path.strip_prefix(&src).unwrap();
        inside.file_name().is_some_and(|name| name == "tests.rs")
            || inside.components().any(|part| part.as_os_str() == "tests")
    };
    sources(&src).into_iter().filter(|path| !is_test(path)).collect()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn assert_none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn every_crate_uses_only_the_crates_it_may() {
    let packages = packages();
    let rows: BTreeMap<&str, (&[&str], &[&str])> =
        MAY_USE.iter().map(|(name, uses, tests)| (*name, (*uses, *tests))).collect();
    let mut found = Vec::new();
    for package in packages.values() {
        let Some((uses, tests)) = rows.get(package.name.as_str()) else {
            found
                .push(format!("{} has no row in MAY_USE; say which crates of ours it may use", package.name));
            continue;
        };
        let ours = |name: &&String| packages.contains_key(*name);
        for used in package.uses.iter().filter(ours).filter(|name| !uses.contains(&name.as_str())) {
            found.push(format!("{} uses {used}", package.name));
        }
        let may_test = |name: &&String| !uses.contains(&name.as_str()) && !tests.contains(&name.as_str());
        for used in package.tests_use.iter().filter(ours).filter(may_test) {
            found.push(format!("{}'s tests use {used}", package.name));
        }
    }
    assert_none(&found, "adapters -> cores -> model, and only `twofold` sees all (STYLE §3)");
}

#[test]
fn gslb_and_failover_do_not_know_each_other() {
    let packages = packages();
    let mut found = Vec::new();
    for package in packages.values() {
        let other = match package.name.split_once('-') {
            Some(("gslb", _)) => "failover-",
            Some(("failover", _)) => "gslb-",
            _ => continue,
        };
        // What it reaches, not only what it names.
        let mut open: Vec<&str> = vec![&package.name];
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        while let Some(next) = open.pop().and_then(|name| packages.get(name)) {
            open.extend(next.uses.iter().map(String::as_str).filter(|name| seen.insert(name)));
        }
        found.extend(
            seen.iter()
                .filter(|name| name.starts_with(other))
                .map(|name| format!("{} reaches {name}", package.name)),
        );
    }
    assert_none(
        &found,
        "the daemon turns committed state into a snapshot; neither folder knows the other (STYLE §3)",
    );
}

#[test]
fn a_pure_crate_uses_no_crate_that_does_io() {
    let packages = packages();
    let mut found = Vec::new();
    for name in PURE {
        let package = packages.get(*name).unwrap_or_else(|| panic!("there is no crate {name}"));
        let foreign =
            |used: &&String| !packages.contains_key(*used) && !PURE_MAY_USE.contains(&used.as_str());
        found.extend(package.uses.iter().filter(foreign).map(|used| format!("{name} uses {used}")));
    }
    assert_none(&found, "a core names no runtime, socket, file, thread, clock or random source (STYLE S8)");
}

#[test]
fn a_pure_crate_names_no_io_clock_thread_or_random_source() {
    let packages = packages();
    let mut found = Vec::new();
    for name in PURE {
        for path in product_sources(&packages[*name]) {
            let source = source::Source::of(&std::fs::read_to_string(&path).unwrap());
            let mut tell = |line: usize, what: &str| found.push(format!("{}:{line}: {what}", shown(&path)));
            for (line, named) in source.paths() {
                // `core` and `alloc` have nothing of this but by way of `std`.
                let within = |forbidden: &&&str| {
                    named
                        .strip_prefix(**forbidden)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
                };
                if let Some(forbidden) = FORBIDDEN_PATHS.iter().find(within) {
                    tell(line, forbidden);
                }
            }
            let unordered = if ORDERED.contains(name) { UNORDERED_WORDS } else { &[] };
            for (line, word) in source.words() {
                if FORBIDDEN_WORDS.contains(&word) || unordered.contains(&word) {
                    tell(line, word);
                }
            }
        }
    }
    assert_none(
        &found,
        "a core names no runtime, socket, file, thread, clock, random source or hash order (STYLE S5, S8)",
    );
}

#[test]
fn every_crate_forbids_unsafe_code_but_for_one_file() {
    let mut found = Vec::new();
    for package in packages().values() {
        let lib = package.dir.join("src/lib.rs");
        let exempt = root().join(MAY_BE_UNSAFE).starts_with(&package.dir);
        if !exempt
            && let Ok(text) = std::fs::read_to_string(&lib)
            && !text.contains("#![forbid(unsafe_code)]")
        {
            found.push(format!("{} does not say #![forbid(unsafe_code)]", shown(&lib)));
        }
        for path in sources(&package.dir).into_iter().filter(|path| !path.ends_with(MAY_BE_UNSAFE)) {
            let source = source::Source::of_all(&std::fs::read_to_string(&path).unwrap());
            found.extend(
                source
                    .words()
                    .filter(|(_, word)| *word == "unsafe")
                    .map(|(line, _)| format!("{}:{line}: unsafe", shown(&path))),
            );
        }
    }
    assert_none(&found, "unsafe code stands in app/syscalls alone (STYLE §6)");
}

/// Told only, with `--nocapture`: how to split a file is a person's thought.
#[test]
fn long_files_are_told() {
    for package in packages().values() {
        for path in sources(&package.dir) {
            let lines = std::fs::read_to_string(&path).unwrap().lines().count();
            if lines > LINES_TOLD {
                println!(
                    "warning: {} has {lines} lines, more than {LINES_TOLD}; split it by concern",
                    shown(&path)
                );
            }
        }
    }
}
