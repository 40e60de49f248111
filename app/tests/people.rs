//! Who may do what on a running cluster: tokens, roles, break-glass, and what the API says to bad input. One
//! lab serves all of it, in the order of the story.

mod lab;

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::path::Path;
use std::process::Output;
use std::time::Instant;

use app_api::openapi::OPERATIONS;
use chaos_lab::inside::{in_runtime, in_thread};
use chaos_lab::layout::{Host, Lab as Layout};
use lab::{Lab, PATIENCE, TWOFOLD, said};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

const PDC: &str = "https://10.77.1.1:7443";

#[test]
fn a_running_cluster_knows_who_may_do_what() {
    let lab = Lab::up();
    let epoch = lab.settled();
    certificate(&lab, "boss", "admin");
    certificate(&lab, "second", "approver");
    nobody_is_told_how_to_be_somebody(&lab);
    a_token_does_what_it_is_for_and_nothing_else(&lab);
    a_loss_is_accepted_by_an_approver(&lab);
    a_token_ends_with_its_time(&lab);
    breaking_the_glass_is_heard_until_somebody_looks(&lab);
    bad_input_has_one_form_and_a_stable_code(&lab);
    connections_have_an_end(&lab);
    a_revoked_token_orders_nothing_where_nobody_has_heard_of_it(&lab);
    assert_eq!(lab.settled(), epoch, "nothing moved");
}

fn certificate(lab: &Lab, name: &str, role: &str) {
    let made = lab.twofold(&["cert", "client", name, "--role", role, "--config", &lab.config()], false);
    assert!(made.status.success(), "{}", said(&made));
}

/// A command with a token at the operator's seat, where no client certificate is.
fn with_token(lab: &Lab, host: &str, token: &str, words: &[&str]) -> Output {
    let folder = lab.folder.path().join("no-certificate");
    let config = folder.join("twofold.yaml");
    if !folder.exists() {
        std::fs::create_dir(&folder).expect("a folder");
        let pki = lab.dir().join("pki");
        std::fs::copy(pki.join("ca.pem"), folder.join("ca.pem")).expect("the CA's certificate");
        let text = std::fs::read_to_string(lab.config()).expect("the configuration");
        let other = text.replace(&*pki.to_string_lossy(), &folder.to_string_lossy());
        assert_ne!(text, other, "the folder of certificates is another one");
        std::fs::write(&config, other).expect("written");
    }
    let variable = format!("TWOFOLD_TOKEN={token}");
    let mut all = vec!["env", &variable, TWOFOLD];
    all.extend(words);
    let config = config.to_string_lossy().into_owned();
    all.extend(["--config", &config]);
    lab.inside(host, &all)
}

/// Issues a token by the admin's certificate; its secret.
fn issue(lab: &Lab, words: &[&str]) -> String {
    let output =
        lab.inside_cli(&[&["token", "create"], words, &["--expires", "30d", "--identity", "boss"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let secret = String::from_utf8(output.stdout).expect("text").trim().to_owned();
    assert!(secret.starts_with("tf_") && secret.len() == 67, "the secret alone: {secret}");
    secret
}

/// One request from the operator's seat, as the API answers it.
fn http(lab: &Lab, make: impl FnOnce(&Client) -> RequestBuilder + Send + 'static) -> Answered {
    let layout = Layout::at(&lab.dir());
    let host = Host::named("cli").expect("the operator's seat");
    let ca = std::fs::read(lab.dir().join("pki/ca.pem")).expect("the CA's certificate");
    in_runtime(&layout, &host, PATIENCE, async move {
        // Other programs than ours may already have chosen a provider in this process.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca = reqwest::Certificate::from_pem(&ca)?;
        let client = Client::builder().tls_certs_only([ca]).no_proxy().build()?;
        let response = make(&client).send().await?;
        let status = response.status();
        let header = |name: &str| {
            response.headers().get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
        };
        let (kind, challenge, allow) = (header("content-type"), header("www-authenticate"), header("allow"));
        let text = response.text().await?;
        Ok(Answered { status, kind, challenge, allow, text })
    })
    .expect("the API answers")
}

struct Answered {
    status: StatusCode,
    kind: Option<String>,
    challenge: Option<String>,
    allow: Option<String>,
    text: String,
}

impl Answered {
    /// It is a problem document with this status and code.
    fn expect(&self, status: u16, code: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.kind.as_deref(), Some("application/problem+json"), "{}", self.text);
        let body: Value = serde_json::from_str(&self.text).expect("a document");
        assert_eq!(body["code"], code, "{}", self.text);
        assert!(body["title"].as_str().is_some_and(|t| !t.is_empty()), "{}", self.text);
        assert!(body["detail"].is_null() || body["detail"].is_string(), "{}", self.text);
    }
}

/// Goal: no operation answers anything to whoever proves nothing, and 401 says how to prove it.
fn nobody_is_told_how_to_be_somebody(lab: &Lab) {
    for operation in OPERATIONS {
        let path = operation.path.replace("{group}", "shop").replace("{token}", "ci");
        let method: Method = operation.method.parse().expect("a method");
        let answered = http(lab, move |c| c.request(method, format!("{PDC}{path}")));
        answered.expect(401, "unauthenticated");
        assert_eq!(answered.challenge.as_deref(), Some("Bearer realm=\"twofold\""));
    }
    http(lab, |c| c.get(format!("{PDC}/nowhere"))).expect(401, "unauthenticated");
    for wrong in ["Basic YTpi", "Bearer", "tf_0", "Bearer tf_0", "Bearer \u{e9}"] {
        let answered = http(lab, move |c| c.get(format!("{PDC}/v1/status")).header("authorization", wrong));
        answered.expect(401, "unauthenticated");
        let challenge = answered.challenge.expect("a challenge");
        assert!(challenge.contains("invalid_token"), "{wrong}: {challenge}");
    }
    let output = with_token(lab, "cli", &format!("tf_{}", "0".repeat(64)), &["status"]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("no such token stands"), "{}", said(&output));
    let output = with_token(lab, "cli", "hunter2", &["status"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("TWOFOLD_TOKEN holds no token"), "{}", said(&output));
    assert!(!said(&output).contains("hunter2"), "{}", said(&output));
}

fn a_token_does_what_it_is_for_and_nothing_else(lab: &Lab) {
    let create = ["token", "create", "ci", "--role", "operator", "--expires", "30d"];
    let by_operator = lab.inside_cli(&create);
    assert_eq!(by_operator.status.code(), Some(3), "{}", said(&by_operator));
    assert!(said(&by_operator).contains("issuing a token needs admin"), "{}", said(&by_operator));
    for (words, code, text) in [
        (&["--expires", "2y"][..], 2, "write a number and s, m, h or d"),
        (&["--expires", "400d"], 2, "between 1 s and 366 days"),
        (&["--expires", "1d", "--group", "bank"], 2, "no group \"bank\""),
        (&["--expires", "1d", "--break-glass"], 3, "has the role admin"),
    ] {
        let words = [&["token", "create", "x", "--role", "operator", "--identity", "boss"], words].concat();
        let output = lab.inside_cli(&words);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains(text), "{}", said(&output));
    }
    let ci = issue(lab, &["ci", "--role", "operator", "--group", "shop", "--reason", "the release pipeline"]);
    let again = lab.inside_cli(&[&create[..], &["--identity", "boss"]].concat());
    assert_eq!(again.status.code(), Some(3), "{}", said(&again));
    assert!(said(&again).contains("was issued already"), "{}", said(&again));

    // Every node knows it, with or without leading.
    for node in ["10.77.1.1", "10.77.1.2", "10.77.2.1", "10.77.2.2", "10.77.3.1"] {
        let api = format!("https://{node}:7443");
        settles(|| with_token(lab, "cli", &ci, &["status", "--api", &api]), 0, "group shop");
    }
    let file = lab.folder.path().join("token");
    std::fs::write(&file, format!("{ci}\n")).expect("written");
    let shown = lab.inside_cli(&["status", "--token-file", &file.to_string_lossy()]);
    assert_eq!(shown.status.code(), Some(0), "{}", said(&shown));
    assert!(said(&shown).contains("can be read by other accounts"), "{}", said(&shown));

    let begun =
        with_token(lab, "cli", &ci, &["maintenance", "begin", "shop", "--for", "1h", "--reason", "x"]);
    assert_eq!(begun.status.code(), Some(0), "{}", said(&begun));
    let ended =
        with_token(lab, "cli", &ci, &["maintenance", "end", "shop", "--reason", "the release is out"]);
    assert_eq!(ended.status.code(), Some(0), "{}", said(&ended));
    for (words, text) in [
        (&["failover", "bank", "--to", "mdc"][..], "token \"ci\" is for group shop"),
        (&["audit"], "about the whole cluster"),
        (&["token", "list"], "about the whole cluster"),
        (&["token", "revoke", "ci"], "needs admin"),
    ] {
        let output = with_token(lab, "cli", &ci, words);
        assert_eq!(output.status.code(), Some(3), "{words:?}: {}", said(&output));
        assert!(said(&output).contains(text), "{words:?}: {}", said(&output));
    }

    let list = lab.inside_cli(&["token", "list"]);
    assert_eq!(list.status.code(), Some(0), "{}", said(&list));
    assert!(said(&list).contains("ci ") && !said(&list).contains(&ci), "{}", said(&list));
    let revoked =
        lab.inside_cli(&["token", "revoke", "ci", "--reason", "the pipeline is gone", "--identity", "boss"]);
    assert_eq!(revoked.status.code(), Some(0), "{}", said(&revoked));
    settles(|| with_token(lab, "cli", &ci, &["status"]), 3, "no such token stands");
    let audit = said(&lab.inside_cli(&["audit"]));
    for word in [
        "token-issued",
        "token=ci",
        "role=operator",
        "\"the release pipeline\"",
        "by=boss",
        "\"token ci",
        "\"the release is out\"",
        "before=",
        "token-revoked",
        "\"the pipeline is gone\"",
    ] {
        assert!(audit.contains(word), "{word} is not in\n{audit}");
    }
    assert!(!audit.contains(&ci), "the secret is nowhere");
}

/// Accepting a stated loss is more than an operator's act.
fn a_loss_is_accepted_by_an_approver(lab: &Lab) {
    let accept = ["failover", "shop", "--to", "mdc", "--accept-loss", "junk"];
    let operator = lab.inside_cli(&accept);
    assert_eq!(operator.status.code(), Some(3), "{}", said(&operator));
    assert!(said(&operator).contains("accepting a loss needs approver"), "{}", said(&operator));
    let approver = lab.inside_cli(&[&accept[..], &["--identity", "second"]].concat());
    assert_eq!(approver.status.code(), Some(3), "{}", said(&approver));
    assert!(said(&approver).contains("never stated"), "{}", said(&approver));
}

fn a_token_ends_with_its_time(lab: &Lab) {
    let words = ["token", "create", "short", "--role", "viewer", "--expires", "2s", "--identity", "boss"];
    let output = lab.inside_cli(&words);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let secret = String::from_utf8(output.stdout).expect("text").trim().to_owned();
    settles(|| with_token(lab, "cli", &secret, &["status"]), 3, "token \"short\" has expired");
    let bearer = secret.clone();
    let answered = http(lab, move |c| c.get(format!("{PDC}/v1/status")).bearer_auth(bearer));
    answered.expect(401, "token-expired");
    assert!(said(&lab.inside_cli(&["token", "list"])).contains("EXPIRED"));
}

fn breaking_the_glass_is_heard_until_somebody_looks(lab: &Lab) {
    let night = issue(lab, &["night", "--role", "admin", "--break-glass"]);
    assert!(!said(&lab.inside_cli(&["status"])).contains("break-glass"), "it lies in its envelope");
    // Against a node that may not lead; and what changes something, too.
    settles(
        || with_token(lab, "cli", &night, &["status", "--api", "https://10.77.3.1:7443"]),
        0,
        "group shop",
    );
    let begin = ["maintenance", "begin", "shop", "--for", "1h", "--reason", "at night"];
    let begun = with_token(lab, "cli", &night, &begin);
    assert_eq!(begun.status.code(), Some(0), "{}", said(&begun));
    let ended = with_token(lab, "cli", &night, &["maintenance", "end", "shop"]);
    assert_eq!(ended.status.code(), Some(0), "{}", said(&ended));

    let status = said(&lab.inside_cli(&["status"]));
    assert!(status.contains("!! break-glass token night was used 3 times since"), "{status}");
    assert!(status.contains("last") && status.contains("DELETE /v1/groups/shop/maintenance"), "{status}");
    let mut page = String::new();
    let end = Instant::now() + PATIENCE;
    while !page.contains("twofold_break_glass_unacknowledged{} 3.0") && Instant::now() < end {
        let bearer = night.clone();
        page = http(lab, move |c| c.get(format!("{PDC}/metrics")).bearer_auth(bearer)).text;
    }
    assert!(page.contains("twofold_break_glass_uses_total{} 3"), "a read once a minute: {page}");
    // What a node tells is in the book, family by family.
    let book = include_str!("../../docs/reference/metrics.md");
    let families = page.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next());
    let missing: Vec<&str> = families.filter(|f| !in_book(book, f)).collect();
    assert!(missing.is_empty(), "metrics.md does not say what these are: {missing:?}");
    let audit = said(&lab.inside_cli(&["audit"]));
    assert_eq!(audit.matches("break-glass-used").count(), 3, "{audit}");

    let own = with_token(lab, "cli", &night, &["token", "acknowledge", "night"]);
    assert_eq!(own.status.code(), Some(3), "{}", said(&own));
    assert!(said(&own).contains("acknowledges nothing"), "{}", said(&own));
    let revoked = lab.inside_cli(&["token", "revoke", "night", "--identity", "boss"]);
    assert_eq!(revoked.status.code(), Some(0), "{}", said(&revoked));
    assert!(said(&lab.inside_cli(&["status"])).contains("was used 4 times"), "it outlives the token");
    let seen = ["token", "acknowledge", "night", "--reason", "the site was dark", "--identity", "boss"];
    let acknowledged = lab.inside_cli(&seen);
    assert_eq!(acknowledged.status.code(), Some(0), "{}", said(&acknowledged));
    assert!(!said(&lab.inside_cli(&["status"])).contains("break-glass"));
    let again = lab.inside_cli(&seen);
    assert_eq!(again.status.code(), Some(2), "neither token nor alarm: {}", said(&again));
}

/// A row names a family once, and its further members by their ends.
fn in_book(book: &str, family: &str) -> bool {
    let end = family.rsplit_once('_').map_or(family, |(_, end)| end);
    [format!("`{family}`"), format!("`{family}_total`"), format!("`_{end}_total`")]
        .iter()
        .any(|name| book.contains(name))
        || family.match_indices('_').any(|(at, _)| book.contains(&format!("`{}_total`", &family[at..])))
}

fn bad_input_has_one_form_and_a_stable_code(lab: &Lab) {
    let token = issue(lab, &["operators", "--role", "operator"]);
    let ask = |method: Method, path: &str| {
        let (token, url) = (token.clone(), format!("{PDC}{path}"));
        move |c: &Client| c.request(method, url).bearer_auth(token)
    };
    let post = |path: &str, kind: &'static str, body: String| {
        let make = ask(Method::POST, path);
        http(lab, move |c| make(c).header("content-type", kind).body(body))
    };
    let (path, json_kind) = ("/v1/groups/shop/switchover", "application/json");
    post(path, json_kind, format!("{{\"to\": \"{}\"}}", "m".repeat(70_000))).expect(413, "too-large");
    for body in [
        "",
        "{",
        "nonsense",
        "[]",
        "{}",
        "{\"to\": 5}",
        "{\"to\": \"mdc\", \"too\": 1}",
        "{\"to\": \"mdc\", \"dry-run\": \"yes\"}",
        "\u{feff}{\"to\": \"mdc\"}",
        &"[".repeat(30_000),
        &format!("{{\"to\": \"mdc\", \"reason\": \"{}\"}}", "x".repeat(501)),
    ] {
        post(path, json_kind, body.to_owned()).expect(400, "bad-request");
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/xml"] {
        post(path, kind, "{\"to\": \"mdc\"}".to_owned()).expect(415, "unsupported-media-type");
    }
    post("/v1/groups/shop/failover", json_kind, "{\"to\": \"mars\"}".into()).expect(404, "not-found");
    post("/v1/groups/no_group/failover", json_kind, "{\"to\": \"mdc\"}".into()).expect(404, "not-found");
    let issue = json!({ "name": "x", "role": "viewer", "expires-s": 60 }).to_string();
    post("/v1/tokens", json_kind, issue).expect(403, "forbidden");
    for (path, status, code) in [
        ("/v1/nowhere", 404, "not-found"),
        ("/", 404, "not-found"),
        ("/v1/groups/shop", 404, "not-found"),
        ("/v1/groups/nobody/explain", 404, "not-found"),
        ("/v1/groups/%FF/explain", 400, "bad-request"),
        ("/v1/audit?after=first", 400, "bad-request"),
        ("/v1/audit?before=1", 400, "bad-request"),
        ("/v1/dns/explain?name=no..name", 400, "bad-request"),
        ("/v1/dns/explain", 400, "bad-request"),
    ] {
        http(lab, ask(Method::GET, path)).expect(status, code);
    }
    // Each path takes the methods that the description lists, and says which those are.
    for operation in OPERATIONS {
        let mut methods: Vec<&str> =
            OPERATIONS.iter().filter(|o| o.path == operation.path).map(|o| o.method).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.sort_unstable();
        let path = operation.path.replace("{group}", "shop").replace("{token}", "x");
        let answered = http(lab, ask(Method::PATCH, &path));
        answered.expect(405, "method-not-allowed");
        let allow = answered.allow.expect("405 says what is allowed");
        let mut allowed: Vec<&str> = allow.split(',').map(str::trim).collect();
        allowed.sort_unstable();
        assert_eq!(allowed, methods, "{path}");
    }
    let served = http(lab, ask(Method::GET, "/v1/openapi.json"));
    let kept =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/openapi.json"));
    let parsed = |text: &str| serde_json::from_str::<Value>(text).expect("a document");
    assert_eq!(parsed(&served.text), parsed(&kept.expect("the checked-in description")));
}

/// Goal: whoever reaches the port and says nothing takes places, not memory without end, and gives them back.
fn connections_have_an_end(lab: &Lab) {
    /// As many as the API has places, and some.
    const MANY: usize = 520;
    let layout = Layout::at(&lab.dir());
    let host = Host::named("cli").expect("the operator's seat");
    let refused = in_thread(&layout, &host, move || {
        let address = "10.77.2.2:7443".parse()?;
        let mut open = Vec::new();
        for _ in 0..MANY {
            open.push(TcpStream::connect_timeout(&address, PATIENCE)?);
        }
        // The last one found no place: it is closed without a word, while the first one still may speak.
        let last = open.last_mut().expect("there are many");
        last.set_read_timeout(Some(PATIENCE))?;
        let closed = last.read(&mut [0; 1]).map_or(true, |length| length == 0);
        let first = open.first_mut().expect("there are many");
        first.set_nonblocking(true)?;
        let waits = first.read(&mut [0; 1]).is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
        Ok((closed, waits))
    });
    assert_eq!(refused.expect("the port is there"), (true, true), "the last is closed, the first is not");
    let api = ["status", "--api", "https://10.77.2.2:7443"];
    settles(|| lab.inside_cli(&api), 0, "group shop");
}

/// A node that is cut off goes on showing its own view to whoever it knew, and orders nothing.
fn a_revoked_token_orders_nothing_where_nobody_has_heard_of_it(lab: &Lab) {
    let token = issue(lab, &["cut-off", "--role", "operator"]);
    let own = ["--api", "https://10.77.3.1:7443"];
    let status = [&["status"][..], &own].concat();
    settles(|| with_token(lab, "wit-1", &token, &status), 0, "group shop");
    let cut = lab.twofold(&["lab", "cut", "wit"], true);
    assert!(cut.status.success(), "{}", said(&cut));
    let revoked = lab.inside_cli(&["token", "revoke", "cut-off", "--identity", "boss"]);
    assert_eq!(revoked.status.code(), Some(0), "{}", said(&revoked));
    settles(|| with_token(lab, "wit-1", &token, &status), 4, "last known, ");
    let begin = ["maintenance", "begin", "shop", "--for", "1h", "--reason", "x"];
    let begun = with_token(lab, "wit-1", &token, &[&begin[..], &own].concat());
    assert_eq!(begun.status.code(), Some(4), "{}", said(&begun));
    let healed = lab.twofold(&["lab", "heal"], true);
    assert!(healed.status.success(), "{}", said(&healed));
    settles(|| with_token(lab, "wit-1", &token, &status), 3, "no such token stands");
    assert!(!said(&lab.inside_cli(&["status"])).contains("maintenance"), "nothing was begun");
}

/// Asks until the answer is as it must become; what a node has not applied yet it applies soon.
fn settles(mut ask: impl FnMut() -> Output, code: i32, words: &str) {
    let end = Instant::now() + PATIENCE;
    loop {
        let output = ask();
        if output.status.code() == Some(code) && said(&output).contains(words) {
            return;
        }
        assert!(Instant::now() < end, "not {code} with {words:?}: {}", said(&output));
    }
}
