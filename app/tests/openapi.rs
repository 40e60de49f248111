//! The API does what its description says, and bears what it does not: schemathesis (PyPI) makes requests
//! of the description, good and bad, against a node of a lab, and checks what comes back.
//!
//! Who it is when it asks decides what it can break. As a *viewer* (by a token) it asks everything, of the
//! real group too: failovers and switchovers are parsed, planned where they are dry, and refused. As an
//! *admin* (by a certificate, which no request can revoke) it begins and ends maintenance, and issues,
//! revokes and acknowledges tokens for real; failover and switchover are left out there, since a move in
//! the middle of it would be this test's own doing. It is deterministic: every run makes the same requests.
//!
//! Without Python or PyPI it says so and ends, but where CI is set it fails then.

mod lab;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use chaos_lab::packages::cache_dir;
use lab::{Lab, said};

/// Named by the pins, so that other pins get another folder.
const VERSION: &str = "4.32.5";
/// Requests made up for each operation in each phase.
const EXAMPLES: &str = "40";
/// A run takes half a minute; one that hangs is ended.
const RUN_WITHIN: &str = "150";
const NODE: &str = "https://10.77.1.1:7443";

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_api_is_as_it_is_described() {
    let schemathesis = match installed() {
        Ok(program) => program,
        Err(why) if std::env::var_os("CI").is_some() => panic!("schemathesis is not to be had: {why}"),
        Err(why) => return println!("skipped: schemathesis is not to be had: {why}"),
    };
    let lab = Lab::up();
    let epoch = lab.settled();
    let made = lab.twofold(&["cert", "client", "boss", "--role", "admin", "--config", &lab.config()], false);
    assert!(made.status.success(), "{}", said(&made));
    let viewer = ["token", "create", "viewer", "--role", "viewer", "--expires", "1d", "--identity", "boss"];
    let issued = lab.inside_cli(&viewer);
    assert_eq!(issued.status.code(), Some(0), "{}", said(&issued));
    let token = String::from_utf8(issued.stdout).expect("text").trim().to_owned();

    let authorization = format!("Authorization: Bearer {token}");
    runs_clean(&lab, &schemathesis, "viewer", &["--header", &authorization]);
    let pki = lab.dir().join("pki");
    let (certificate, key) = (pki.join("boss.pem"), pki.join("boss.key"));
    let admin = [
        "--request-cert",
        &certificate.to_string_lossy(),
        "--request-cert-key",
        &key.to_string_lossy(),
        // A certificate proves who asks whatever the header says.
        "--exclude-checks",
        "ignored_auth",
        "--exclude-operation-id",
        "failover",
        "--exclude-operation-id",
        "switchover",
    ];
    runs_clean(&lab, &schemathesis, "admin", &admin);

    assert_eq!(lab.settled(), epoch, "nothing moved");
    let told = said(&lab.inside_cli(&["audit"]));
    for event in ["  maintenance  ", "  token-issued  "] {
        let count = told.matches(event).count();
        assert!(count > 3, "requests got through: {count} times{event}in\n{told}");
    }
    let audit = lab.inside_cli(&["audit", "--verify"]);
    assert_eq!(audit.status.code(), Some(0), "{}", said(&audit));
}

fn runs_clean(lab: &Lab, schemathesis: &Path, who: &str, further: &[&str]) {
    let description = here().join("../docs/reference/openapi.json");
    let config = here().join("tests/schemathesis/schemathesis.toml");
    let ca = lab.dir().join("pki/ca.pem");
    let (program, config, ca, description) = (
        schemathesis.to_string_lossy(),
        config.to_string_lossy(),
        ca.to_string_lossy(),
        description.to_string_lossy(),
    );
    let mut words = vec![
        "timeout",
        RUN_WITHIN,
        &program,
        "--config-file",
        &config,
        "run",
        &description,
        "--url",
        NODE,
        "--tls-verify",
        &ca,
        "--max-examples",
        EXAMPLES,
    ];
    words.extend(further);
    let output = lab.inside("cli", &words);
    assert_eq!(output.status.code(), Some(0), "as {who}:\n{}", said(&output));
    println!("as {who}:\n{}", said(&output));
}

/// Its program, installed from the pins where it is not there yet.
fn installed() -> Result<PathBuf, String> {
    let home = cache_dir().join(format!("schemathesis-{VERSION}"));
    let (venv, whole) = (home.join("venv"), home.join("whole"));
    let program = venv.join("bin/schemathesis");
    if whole.exists() {
        return Ok(program);
    }
    // What an interrupted run left; a venv cannot be moved, so a file says that it is whole.
    let _ = std::fs::remove_dir_all(&home);
    std::fs::create_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
    done(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let pins = here().join("tests/schemathesis/requirements.txt");
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    done(Command::new(venv.join("bin/python")).args(pip).arg(pins))?;
    std::fs::write(&whole, "").map_err(|e| format!("{}: {e}", whole.display()))?;
    Ok(program)
}

fn done(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() { Ok(output) } else { Err(format!("{command:?}: {}", said(&output))) }
}
