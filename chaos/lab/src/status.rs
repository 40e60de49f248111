//! `lab status`: hosts, processes, links, and the cluster's own word.

use serde_json::json;

use crate::cli::{Exit, Format, StatusArgs};
use crate::commands;
use crate::layout::{Host, Lab};
use crate::ready;
use crate::spec::LabSpec;
use crate::status_view::{ClusterStatus, NoQuorum};
use crate::supervisor::SupervisorStatus;
use crate::wan::{self, LinkStatus};

/// `lab status`.
///
/// # Errors
/// When the lab is not up. A cluster that does not answer is part of the status.
pub fn run(args: &StatusArgs) -> anyhow::Result<Exit> {
    let lab = Lab::at(&args.lab.dir);
    let spec = LabSpec::read(&lab)?;
    let processes = commands::standing(&lab)?;
    // A hub that died is shown as such, not as an error.
    let links = wan::status(&lab).unwrap_or_default();
    let cluster = ClusterStatus::ask(&lab, &spec);
    match args.output {
        Format::Json => {
            let cluster = match &cluster {
                Ok(status) => status.document().clone(),
                Err(e) => match e.downcast_ref::<NoQuorum>().and_then(|n| n.view.as_ref()) {
                    Some(view) => view.document().clone(),
                    None => json!({ "error": format!("{e:#}") }),
                },
            };
            let document = json!({
                "dir": lab.dir(),
                "flavour": spec.flavour,
                "fallback": spec.fallback,
                "hosts": Host::all(spec.servers).map(|h| json!({
                    "name": h.name, "site": h.site, "address": h.address(), "netns": lab.netns(&h),
                })).collect::<Vec<_>>(),
                "processes": processes.processes,
                "powered-off": processes.powered_off,
                "hosts-off": processes.hosts_off,
                "hub-alive": processes.hub_alive,
                "links": links,
                "cluster": cluster,
            });
            println!("{}", serde_json::to_string_pretty(&document)?);
        }
        Format::Text => {
            println!("database {}", spec.flavour);
            if let Some(reason) = &spec.fallback {
                println!("         MYSQL COULD NOT BE HAD: {reason}");
            }
            print_processes(&spec, &processes);
            print_links(&processes, &links);
            match cluster {
                Ok(status) => println!("cluster  {}", ready::describe(&status)),
                Err(e) => println!("cluster  {e:#}"),
            }
        }
    }
    Ok(Exit::Done)
}

fn print_processes(spec: &LabSpec, status: &SupervisorStatus) {
    for host in Host::all(spec.servers) {
        let is_off =
            status.powered_off.contains(&host.site) || status.hosts_off.iter().any(|h| h == host.name);
        let own: Vec<_> = status
            .processes
            .iter()
            .filter_map(|p| Some((p, p.label.strip_prefix(host.name)?.strip_prefix('/')?)))
            .map(|(p, name)| match p.pid {
                Some(pid) if p.paused => format!("{name} {pid} PAUSED (start {})", p.starts),
                Some(pid) => format!("{name} {pid} (start {})", p.starts),
                None if p.held && !is_off => {
                    format!("{name} HELD DOWN until `lab heal`")
                }
                None => format!("{name} DOWN ({})", p.last_exit.as_deref().unwrap_or("not started yet")),
            })
            .collect();
        let power = if is_off { "  no power" } else { "" };
        println!("{:<8} {:<3} {:<12} {}{power}", host.name, host.site, host.address(), own.join(", "));
    }
}

fn print_links(status: &SupervisorStatus, links: &[LinkStatus]) {
    if !status.hub_alive {
        println!("wan      the hub is DEAD: every link is cut; `lab down` and `lab up`");
    }
    for link in links {
        let state = if link.cut { "CUT".to_owned() } else { format!("{} µs", link.delay_micros) };
        let loss =
            if link.loss_percent > 0.0 { format!(", {} % loss", link.loss_percent) } else { String::new() };
        let over =
            if link.overflowed > 0 { format!(", {} overflowed", link.overflowed) } else { String::new() };
        println!("wan      {}→{} {state}{loss}{over}", link.direction.from, link.direction.to);
    }
}
