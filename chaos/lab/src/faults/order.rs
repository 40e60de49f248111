//! What a person orders: no fault, but measured as one is.

use std::time::Duration;

use super::{FaultError, Healed, Injected};
use crate::clock;
use crate::cluster;
use crate::inside;
use crate::layout::{Host, Lab, LabSite};
use crate::spec::LabSpec;

/// The command has deadlines of its own; this one only bounds a broken binary.
const DEADLINE: Duration = Duration::from_secs(20);

/// `twofold switchover GROUP --to SITE`, from the outside client host.
pub fn switchover(lab: &Lab, spec: &LabSpec, active: LabSite) -> Result<Injected, FaultError> {
    let text = |p: &std::path::Path| p.to_string_lossy().into_owned();
    let to = active.peer().expect("groups are active in data sites alone");
    let mut command = vec![text(&spec.twofold)];
    command.extend(
        ["switchover", cluster::GROUP, "--to", to.name(), "--no-wait", "--config"].map(str::to_owned),
    );
    command.push(text(&lab.config_file()));
    command.extend(["--api".to_owned(), cluster::apis()]);
    let host = Host::named("cli").expect("the table of hosts has it");
    let began = clock::now();
    let output = inside::output(lab, spec, &host, &command, DEADLINE)
        .map_err(|e| FaultError::Ordered(format!("{e:#}")))?;
    if !output.status.success() {
        return Err(FaultError::Ordered(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(Injected::new(began, clock::now(), format!("a person switches over to {to}")))
}

/// Nothing is broken.
pub fn nothing_to_heal(injected: &Injected) -> Healed {
    Healed { at: injected.ended, what: "nothing is broken".to_owned() }
}
