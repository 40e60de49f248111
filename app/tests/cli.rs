//! What the command line says to mistakes: exit codes and next acts that need no cluster.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const TWOFOLD: &str = env!("CARGO_BIN_EXE_twofold");

fn sample() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/testdata/smallest.yaml").to_string_lossy().into_owned()
}

/// The smallest configuration in a folder of its own, every address on this host, and a CA.
fn alone() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let text = std::fs::read_to_string(sample()).expect("the sample");
    let text = text.replace("cluster: small", "cluster: small\ndata-dir: data");
    let file = folder.path().join("twofold.yaml");
    std::fs::write(&file, text).expect("written");
    (folder, file.to_string_lossy().into_owned())
}

fn twofold(args: &[&str]) -> Output {
    let mut command = Command::new(TWOFOLD);
    for variable in ["TWOFOLD_API", "TWOFOLD_CONFIG", "TWOFOLD_CLIENT", "TWOFOLD_LOG", "TWOFOLD_TOKEN"] {
        command.env_remove(variable);
    }
    command.args(args).output().expect("twofold runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn expect(args: &[&str], code: i32, words: &[&str]) {
    let output = twofold(args);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
    for word in words {
        assert!(told.contains(word), "{args:?} does not say {word:?}: {told}");
    }
}

#[test]
fn names_that_are_not_there_are_bad_input() {
    let config = sample();
    expect(&["serve", "--config", &config, "--node", "nope"], 2, &["add it under nodes", "known: east-1"]);
    expect(&["serve", "--config", &config, "--node", "nope", "--init"], 2, &["add it under nodes"]);
    expect(&["guard", "--config", &config, "--server", "nope"], 2, &["add it under databases", "east-db"]);
}

#[test]
fn an_api_that_is_no_address_is_bad_input() {
    let config = sample();
    for api in ["10.77.1.1:7443", "pdc-1", "", "http://10.77.1.1:7443", "https://10.77.1.1:7443,pdc-1"] {
        let words = ["write https://ADDRESS:PORT"];
        expect(&["status", "--config", &config, "--api", api], 2, &words);
        expect(&["explain", "group", "main", "--config", &config, "--api", api], 2, &words);
    }
}

#[test]
fn a_file_that_is_no_text_is_told_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("binary");
    std::fs::write(&file, [0xFF, 0xFE, 0x00, 0x80]).expect("written");
    expect(&["check", &file.to_string_lossy()], 2, &["it is not text", "name a configuration"]);
    expect(&["check", &folder.path().to_string_lossy()], 2, &["it is a folder"]);
    expect(&["check", "/nowhere/twofold.yaml"], 2, &["name an existing file"]);
}

#[test]
fn certificates_want_names_and_days_that_can_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("pki").to_string_lossy().into_owned();
    let place = ["--cluster", "small", "--dir", &dir];
    let with = |words: &[&'static str]| [words, &place].concat().into_iter().map(str::to_owned).collect();
    let run = |words: &[&'static str], code: i32, said: &[&str]| {
        let args: Vec<String> = with(words);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        expect(&args, code, said);
    };
    run(&["cert", "ca", "--days", "0"], 2, &["give it 1 to"]);
    run(&["cert", "ca"], 0, &["ca.pem"]);
    run(&["cert", "node"], 2, &["<NAME>"]);
    run(&["cert", "guard"], 2, &["<NAME>"]);
    run(&["cert", "node", "Not_A_Name"], 2, &["lower-case"]);
    run(&["cert", "node", "east-1", "--days", "0"], 2, &["give it 1 to"]);
    run(&["cert", "client"], 0, &["client.pem"]);
    run(&["cert", "client"], 1, &["never overwritten"]);
    let mistakes = sample().replace("smallest", "twenty-mistakes");
    expect(&["cert", "ca", "--config", &mistakes], 2, &["problems and nothing was done"]);
}

#[test]
fn a_client_without_certificate_is_bad_input() {
    let (_folder, config) = alone();
    expect(&["cert", "ca", "--config", &config], 0, &[]);
    let words = ["no certificate of client \"nobody\"", "twofold cert client nobody"];
    expect(&["status", "--config", &config, "--identity", "nobody"], 2, &words);
    let absent = ["status", "--config", &config, "--token-file", "/nowhere/token"];
    expect(&absent, 2, &["/nowhere/token", "name a file that holds one token"]);
    expect(&["status", "--config", &config, "--token-file", &config], 2, &["holds no token"]);
}

/// Goal: a reader that goes away is no failure. Method: the pipe's reading end is closed before the
/// command begins, so its first write meets a broken pipe.
#[test]
fn a_reader_that_went_away_changes_no_exit_code() {
    for (args, code) in [
        (vec!["check".to_owned(), sample(), "-o".into(), "json".into()], 0),
        (vec!["check".to_owned(), sample()], 0),
        (vec!["check".to_owned(), sample().replace("smallest", "twenty-mistakes")], 2),
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = Command::new(TWOFOLD)
            .args(&args)
            .stdout(Stdio::from(writer))
            .stderr(Stdio::piped())
            .output()
            .expect("twofold runs");
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", said(&output));
        assert_eq!(said(&output), "", "{args:?}");
    }
}

/// A first start without `--init`, and one of a node that lost its log and has nothing to answer from:
/// the node ends and says what can be done.
#[test]
fn a_node_without_a_log_and_without_a_snapshot_ends_with_what_can_be_done() {
    let (_folder, config) = alone();
    let text = std::fs::read_to_string(&config).expect("the configuration");
    // No DNS listener: port 53 is not for whoever runs tests.
    let text = text.replace(
        "east-1: {site: east, address: 192.0.2.1}",
        "east-1: {site: east, address: 127.0.0.1, dns: []}",
    );
    std::fs::write(&config, text).expect("written");
    let init = format!("twofold serve --config {config} --node east-1 --init");
    let words = ["raft.redb is missing", "the node ends", "is the disk of", &init, "never --init it"];
    expect(&["serve", "--config", &config, "--node", "east-1"], 1, &words);
    let store = PathBuf::from(&config).with_file_name("data").join("east-1");
    assert!(!store.join("raft.redb").exists(), "looking makes nothing");
}

#[test]
fn a_log_filter_that_is_none_is_told() {
    let (_folder, config) = alone();
    let output = Command::new(TWOFOLD)
        .args(["serve", "--config", &config, "--node", "east-1"])
        .env("TWOFOLD_LOG", "!!!")
        .output()
        .expect("twofold runs");
    assert!(said(&output).contains("TWOFOLD_LOG is no filter"), "{}", said(&output));
}

#[test]
fn help_states_exit_codes_where_they_matter() {
    for words in [
        &["status"][..],
        &["explain", "group"],
        &["failover"],
        &["token", "create"],
        &["check"],
        &["serve"],
        &["cert"],
    ] {
        let mut args = words.to_vec();
        args.push("--help");
        expect(&args, 0, &["Exit codes:"]);
    }
}

/// Goal: the schema that editors are given is what this build says. Method: print it and compare.
#[test]
fn the_schema_in_the_book_is_what_the_readers_say() {
    let output = Command::new(TWOFOLD).args(["config", "schema"]).output().expect("twofold runs");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/twofold.schema.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|v| v == "1") {
        std::fs::write(&path, &output.stdout).expect("written");
    }
    let book = std::fs::read_to_string(path).expect("the book");
    assert_eq!(book, String::from_utf8_lossy(&output.stdout), "UPDATE_GOLDEN=1 rewrites it");
}
