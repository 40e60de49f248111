//! `twofold dns serve`: the responder alone, without a cluster.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use gslb_core::{Freshness, Name, Snapshot, SnapshotSpec};
use gslb_dns::wire::{CookieSecret, NSID_MAX, Terms};
use gslb_dns::{Published, TcpLimits, TcpServer, TlsIdentity, UdpServer};
use model::Generation;
use tokio::signal::unix::{SignalKind, signal};

use super::screen::{err, out};
use super::{BadInput, runtime};
use crate::links::stop_signal;

/// Listeners end within this time.
const STOP_WITHIN: Duration = Duration::from_secs(2);
/// So many of what is hidden or left out are told.
const TOLD_MAX: usize = 20;

/// The DNS responder, by itself.
#[derive(Debug, Subcommand)]
pub enum DnsCommand {
    /// Answer for one zone from its master file (RFC 1035), over UDP, TCP and TLS.
    ///
    /// SIGHUP reads the file anew, and the certificate: while it is read the old zone is answered, and so it stays where the
    /// new one has mistakes.
    #[command(
        after_help = "Exit codes: 0 it was stopped (SIGINT, SIGTERM), 1 failed (an address is taken), 2 usage, or mistakes \
                      in the zone: all of them, by file and line."
    )]
    Serve(Serve),
}

/// Arguments of `dns serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// The master file; what it includes is looked for beside it.
    #[arg(long, value_name = "FILE")]
    zone_file: PathBuf,
    /// The zone's name: what names in the file without a last dot are below.
    #[arg(long, value_name = "NAME")]
    origin: String,
    /// Where to listen, by UDP and TCP; may be given several times.
    #[arg(long, value_name = "ADDR:PORT", required = true)]
    listen: Vec<SocketAddr>,
    /// Where to listen for DNS over TLS (RFC 7858), usually port 853; may be given several times.
    #[arg(long, value_name = "ADDR:PORT", requires = "certificate", requires = "key")]
    tls_listen: Vec<SocketAddr>,
    /// The certificate that is shown there (PEM), and behind it those that signed it.
    #[arg(long, value_name = "FILE", requires = "tls_listen")]
    certificate: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_listen")]
    key: Option<PathBuf>,
    /// Threads that answer UDP, on each address.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// What is said to whoever asks which server answers (NSID, RFC 5001); at most 64 octets.
    #[arg(long, value_name = "TEXT", value_parser = nsid)]
    nsid: Option<String>,
    /// Answers a second by UDP, from each thread, to a network (/24, /56) that has not shown a DNS cookie; without it as many
    /// as are asked for.
    #[arg(long, value_name = "N")]
    rate_limit: Option<NonZeroU32>,
}

fn nsid(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("it says nothing; leave the option out".into()),
        1..=NSID_MAX => Ok(text.to_owned()),
        length => Err(format!("it has {length} octets; {NSID_MAX} are the most")),
    }
}

/// Runs the command and gives its exit code.
pub fn run(command: &DnsCommand) -> Result<u8> {
    let DnsCommand::Serve(serve) = command;
    let began = Instant::now();
    let origin: Name = serve.origin.parse().map_err(|e| BadInput(format!("--origin: {e}")))?;
    let (snapshot, notes) = load(serve, &origin, Generation(1))?;
    tell(&notes);
    runtime()?.block_on(answer(serve, &origin, snapshot, began))
}

async fn answer(serve: &Serve, origin: &Name, snapshot: Snapshot, began: Instant) -> Result<u8> {
    let names = snapshot.name_count();
    let terms = Terms {
        nsid: serve.nsid.clone().unwrap_or_default(),
        cookies: Some(CookieSecret::drawn()),
        rate_limit: serve.rate_limit,
    };
    let published = Published::on(snapshot, terms);
    let udp = UdpServer::start(&serve.listen, usize::from(serve.threads), &published)?;
    let tcp = TcpServer::start(&serve.listen, TcpLimits::default(), &published)?;
    let identity = serve.identity()?;
    let tls = match &identity {
        Some((identity, ..)) => {
            Some(TcpServer::start_tls(&serve.tls_listen, TcpLimits::default(), &published, identity)?)
        }
        None => None,
    };
    let mut stop = stop_signal()?;
    let mut again = signal(SignalKind::hangup()).context("wait for SIGHUP")?;
    let mut at = format!("{} (UDP and TCP)", places(&serve.listen));
    if tls.is_some() {
        at += &format!(", {} (TLS)", places(&serve.tls_listen));
    }
    out(format_args!(
        "ready in {} ms: zone {origin} with {names} names, at {at}",
        began.elapsed().as_millis()
    ));
    let mut generation = Generation(1);
    loop {
        tokio::select! {
            () = stop.recv() => break,
            _ = again.recv() => {}
        }
        if let Some((identity, certificate, key)) = &identity
            && let Err(error) = identity.read_again(certificate, key)
        {
            err(format_args!(
                "twofold: {:#}\nthe certificate that was read before stays",
                anyhow::Error::from(error)
            ));
        }
        let next = Generation(generation.0 + 1);
        // Reading takes a while; nobody waits for it.
        match tokio::task::block_in_place(|| load(serve, origin, next)) {
            Ok((snapshot, notes)) => {
                tell(&notes);
                let names = snapshot.name_count();
                published.publish(snapshot)?;
                generation = next;
                out(format_args!("read anew: zone {origin} with {names} names"));
            }
            Err(error) => err(format_args!("twofold: {error:#}\nthe zone that was read before stays")),
        }
    }
    if let Some(tls) = tls {
        tls.stop(STOP_WITHIN).await;
    }
    tcp.stop(STOP_WITHIN).await;
    tokio::task::spawn_blocking(move || udp.stop(STOP_WITHIN)).await.context("end the listeners")??;
    Ok(0)
}

fn places(at: &[SocketAddr]) -> String {
    at.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Serve {
    /// What is shown within TLS, and where it came from.
    fn identity(&self) -> Result<Option<(TlsIdentity, &Path, &Path)>> {
        let (Some(certificate), Some(key)) = (self.certificate.as_deref(), self.key.as_deref()) else {
            return Ok(None);
        };
        let identity = TlsIdentity::read(certificate, key);
        let identity = identity.map_err(|error| BadInput(format!("{:#}", anyhow::Error::from(error))))?;
        Ok(Some((identity, certificate, key)))
    }
}

/// The zone as it is answered, and what is not.
fn load(serve: &Serve, origin: &Name, generation: Generation) -> Result<(Snapshot, Vec<String>)> {
    let file = &serve.zone_file;
    let text = std::fs::read(file)
        .map_err(|error| BadInput(format!("{}: {error}; name a master file", file.display())))?;
    let read = gslb_master::read(file, &text, origin, &mut |path: &Path| {
        std::fs::read(path).map_err(|error| error.to_string())
    });
    let faults = read.faults.iter().map(ToString::to_string);
    refuse(file, faults.collect())?;
    let (zone, outside) = match gslb_master::zone(origin, &read.records) {
        Ok(made) => made,
        Err(faults) => return Err(mistakes(file, faults.iter().map(ToString::to_string).collect())),
    };
    let spec = SnapshotSpec {
        generation,
        freshness: Freshness::Fresh,
        zones: vec![zone],
        pools: Default::default(),
        names: Vec::new(),
        verdicts: Default::default(),
    };
    let (snapshot, problems) = Snapshot::build_tolerant(spec)
        .map_err(|problems| mistakes(file, problems.iter().map(ToString::to_string).collect()))?;
    let mut notes: Vec<String> =
        outside.iter().map(|place| format!("{place}: not in zone {origin}, and left out")).collect();
    notes.extend(problems.iter().map(|p| format!("{}: {p}", file.display())));
    Ok((snapshot, notes))
}

fn refuse(file: &Path, faults: Vec<String>) -> Result<()> {
    if faults.is_empty() { Ok(()) } else { Err(mistakes(file, faults)) }
}

fn mistakes(file: &Path, told: Vec<String>) -> anyhow::Error {
    let s = if told.len() == 1 { "" } else { "s" };
    BadInput(format!("{} has {} mistake{s}:\n{}", file.display(), told.len(), told.join("\n"))).into()
}

fn tell(notes: &[String]) {
    for note in notes.iter().take(TOLD_MAX) {
        err(format_args!("twofold: {note}"));
    }
    if notes.len() > TOLD_MAX {
        err(format_args!("twofold: … and {} more", notes.len() - TOLD_MAX));
    }
}
