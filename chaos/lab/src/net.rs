//! The lab's network: one namespace a host, and one a site that holds the site's bridge.
//!
//! Interfaces are made inside namespaces from the start, so none of the lab's interfaces ever
//! exists in the machine's own namespace and labs cannot collide there. All hosts share one flat
//! 10.77.0.0/16; neighbour entries are permanent, so that a dead host is a black hole, as it is
//! behind a router, and not an unreachable-host error.
//!
//! All work goes through ip(8) in batches; a half-made network is removed by [`remove`], which
//! needs nothing but the lab's name prefix.
//!
//! Deliberately absent: the links between sites (the hub makes its own ports).

use std::io::Write;
use std::process::{Command, Stdio};

use crate::layout::{HOSTS, Host, HostKind, Lab, LabSite};

/// The interface that joins a site's bridge to the hub.
pub const WAN_PORT: &str = "wan";

/// Why the network could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// ip(8) cannot be run.
    #[error("ip(8) cannot be run; install iproute2")]
    Tool(#[source] std::io::Error),
    /// ip(8) refused.
    #[error("ip {arguments} failed: {stderr}")]
    Refused {
        /// What it was told.
        arguments: String,
        /// What it said.
        stderr: String,
    },
}

/// Makes all namespaces of a lab with so many database servers a site. There must be none yet.
///
/// # Errors
/// When ip(8) is missing or refuses; what was made until then stays for [`remove`].
pub fn create(lab: &Lab, servers: u32) -> Result<(), NetError> {
    for site in LabSite::ALL {
        let ns = lab.bridge_netns(site);
        batch(None, &[format!("netns add {ns}")])?;
        let lines = [
            "link set lo up".to_owned(),
            // No spanning tree: the sites form a star around the hub, and a port must forward at once.
            "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0".to_owned(),
            "link set br0 up".to_owned(),
        ];
        batch(Some(&ns), &lines)?;
    }
    Host::all(servers).try_for_each(|h| create_host(lab, &h))
}

/// Makes the namespace of one host and plugs it into its site's bridge. It knows the hardware address of
/// every host that a lab can have: one that this lab has not is the same black hole as a dead one.
///
/// # Errors
/// When ip(8) is missing or refuses.
pub fn create_host(lab: &Lab, host: &Host) -> Result<(), NetError> {
    let (ns, lan) = (lab.netns(host), lab.bridge_netns(host.site));
    batch(None, &[format!("netns add {ns}")])?;
    quiet_ipv6(&ns)?;
    let port = bridge_port(host);
    let mut lines = vec![
        "link set lo up".to_owned(),
        format!("link add eth0 address {} type veth peer name {port} netns {lan}", host.mac_text()),
        format!("addr add {}/16 dev eth0", host.address()),
        "link set eth0 up".to_owned(),
    ];
    lines.extend(HOSTS.iter().filter(|other| other.name != host.name).map(|other| {
        format!("neigh replace {} lladdr {} dev eth0 nud permanent", other.address(), other.mac_text())
    }));
    batch(Some(&ns), &lines)?;
    batch(Some(&lan), &[format!("link set {port} master br0 up")])
}

/// Takes a host's namespace away and makes it anew, as a reboot would: sockets, what they still
/// had queued, and packet filters are gone. All of the host's processes must be dead.
///
/// # Errors
/// When ip(8) is missing or refuses.
pub fn reboot_host(lab: &Lab, host: &Host) -> Result<(), NetError> {
    // The veth pair goes first and from its bridge end, because a namespace is taken apart later
    // by the kernel, at its leisure, and the name must be free now.
    let lan = lab.bridge_netns(host.site);
    batch(Some(&lan), &[format!("link del {}", bridge_port(host))])?;
    batch(None, &[format!("netns del {}", lab.netns(host))])?;
    create_host(lab, host)
}

/// Nothing that a host sends arrives any more, and nothing reaches it, until [`reboot_host`].
///
/// # Errors
/// When ip(8) is missing or refuses.
pub fn silence_host(lab: &Lab, host: &Host) -> Result<(), NetError> {
    batch(Some(&lab.bridge_netns(host.site)), &[format!("link set {} down", bridge_port(host))])
}

/// The hosts whose power a site's power switch cuts: all but the measuring clients, which are
/// instruments and not part of the site.
pub fn powered_hosts(site: LabSite, servers: u32) -> impl Iterator<Item = Host> {
    Host::all(servers).filter(move |h| h.site == site && h.kind != HostKind::Client)
}

/// Removes every namespace of the lab, whole or half-made. Processes inside must be dead.
///
/// # Errors
/// When ip(8) is missing or refuses.
pub fn remove(lab: &Lab) -> Result<(), NetError> {
    existing(lab)?.iter().try_for_each(|ns| batch(None, &[format!("netns del {ns}")]))
}

/// The namespaces of the lab that exist now.
///
/// # Errors
/// When ip(8) is missing or refuses.
pub fn existing(lab: &Lab) -> Result<Vec<String>, NetError> {
    let prefix = lab.netns_prefix();
    let listed = run(&["netns", "list"])?;
    let names = listed.lines().filter_map(|l| l.split_whitespace().next());
    Ok(names.filter(|n| n.starts_with(&prefix)).map(str::to_owned).collect())
}

/// The processes inside a namespace of the lab.
///
/// # Errors
/// When ip(8) is missing or refuses, as for a namespace that does not exist.
pub fn processes_in(netns: &str) -> Result<Vec<i32>, NetError> {
    let listed = run(&["netns", "pids", netns])?;
    Ok(listed.split_whitespace().filter_map(|p| p.parse().ok()).collect())
}

/// Plugs the hub's port of a site, which exists, into the site's bridge.
///
/// # Errors
/// When ip(8) is missing or refuses.
pub fn plug_wan_port(lab: &Lab, site: LabSite) -> Result<(), NetError> {
    batch(Some(&lab.bridge_netns(site)), &[format!("link set {WAN_PORT} master br0 up")])
}

/// The bridge's end of a host's cable. Fifteen bytes at most.
fn bridge_port(host: &Host) -> String {
    format!("v-{}", host.name)
}

/// The lab speaks IPv4 alone; without this every interface sends IPv6 discovery into the WAN.
fn quiet_ipv6(netns: &str) -> Result<(), NetError> {
    // A kernel without IPv6 has no such key, which is as good.
    let keys = "[ ! -d /proc/sys/net/ipv6 ] || echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6";
    run(&["netns", "exec", netns, "sh", "-c", keys]).map(|_| ())
}

/// Runs lines through one `ip -batch`, inside a namespace or in the machine's own.
fn batch(netns: Option<&str>, lines: &[String]) -> Result<(), NetError> {
    let mut arguments = Vec::new();
    if let Some(ns) = netns {
        arguments.extend(["-n", ns]);
    }
    arguments.extend(["-batch", "-"]);
    let mut child = Command::new("ip")
        .args(&arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(NetError::Tool)?;
    let mut stdin = child.stdin.take().expect("stdin was asked for");
    // An ip that ended early says why on stderr, which is read below.
    let _ = stdin.write_all((lines.join("\n") + "\n").as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(NetError::Tool)?;
    if output.status.success() {
        return Ok(());
    }
    Err(NetError::Refused {
        arguments: format!("{} <<< {}", arguments.join(" "), lines.join("; ")),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// Runs `ip` with arguments and gives its standard output.
fn run(arguments: &[&str]) -> Result<String, NetError> {
    let output = Command::new("ip").args(arguments).output().map_err(NetError::Tool)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(NetError::Refused {
        arguments: arguments.join(" "),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
