//! The hub's process: a reader thread a port, a writer thread a link, and the control socket.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::link::Link;
use super::{Direction, LinkStatus, WanReply, WanRequest, directions, port};
use crate::clock;
use crate::control;
use crate::layout::{Lab, LabSite};

/// The largest frame: an MTU of 1500, Ethernet's header and a VLAN tag, rounded up.
const FRAME_BYTES_MAX: usize = 2048;

/// Runs the hub until standard input ends (its supervisor is gone) or the control socket fails.
///
/// # Errors
/// When a port or the control socket cannot be made.
pub fn run(lab: &Lab) -> anyhow::Result<()> {
    let mut ports = BTreeMap::new();
    for site in LabSite::ALL {
        let port = port::open(lab, site).with_context(|| format!("WAN port of site {site}"))?;
        ports.insert(site, Arc::new(port));
    }
    let mut links = Vec::new();
    for direction in directions() {
        let (link, far) = Link::new(direction);
        links.push(link);
        let out = Arc::clone(&ports[&direction.to]);
        // A frame that cannot be written (the bridge is being taken away) is lost, as on any wire.
        std::thread::spawn(move || far.run(|frame| drop((&*out).write(frame))));
    }
    for (site, port) in ports {
        let outgoing: Vec<_> = links.iter().filter(|l| l.direction().from == site).cloned().collect();
        std::thread::spawn(move || read_port(&port, &outgoing));
    }
    std::thread::spawn(|| {
        // Ends when the supervisor's end of the pipe closes, whatever closed it.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    let socket = lab.wan_socket();
    control::serve(&socket, move |request| answer(&links, &request))
        .with_context(|| format!("control socket {socket:?}"))
}

/// Reads a port's frames and hands each to the links it must take.
fn read_port(mut port: &File, outgoing: &[Arc<Link>]) {
    let mut buffer = [0u8; FRAME_BYTES_MAX];
    loop {
        let length = match port.read(&mut buffer) {
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            // The interface is gone with its namespace: `lab down` is under way.
            Err(_) => return,
        };
        let now = Instant::now();
        let frame: Arc<[u8]> = Arc::from(&buffer[..length]);
        match port::destination(&frame) {
            Some(site) => {
                outgoing.iter().filter(|l| l.direction().to == site).for_each(|l| l.carry(&frame, now))
            }
            None => outgoing.iter().for_each(|l| l.carry(&frame, now)),
        }
    }
}

/// Does what the control socket asks.
fn answer(links: &[Arc<Link>], request: &WanRequest) -> WanReply {
    let of = |directions: &[Direction], act: &dyn Fn(&Link)| {
        links.iter().filter(|l| directions.contains(&l.direction())).for_each(|l| act(l));
    };
    match request {
        WanRequest::Cut { directions } => of(directions, &|l| l.set_cut(true)),
        WanRequest::Mend { directions } => of(directions, &|l| l.set_cut(false)),
        WanRequest::Heal => links.iter().for_each(|l| l.heal()),
        WanRequest::Delay { directions, micros } => {
            of(directions, &|l| l.set_delay(Duration::from_micros(*micros)))
        }
        WanRequest::Loss { directions, percent } => of(directions, &|l| l.set_loss(*percent)),
        WanRequest::Status => {
            return WanReply::Links(links.iter().map(|l| l.status()).collect::<Vec<LinkStatus>>());
        }
    }
    WanReply::Done(clock::now())
}
