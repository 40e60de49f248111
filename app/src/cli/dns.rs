//! `twofold dns serve`: the responder alone, without a cluster.

mod source;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use gslb_dns::wire::NSID_MAX;
use gslb_dns::{Published, TcpLimits, TcpServer, TlsIdentity, UdpServer};
use model::{Generation, GroupId, SiteId};
use tokio::signal::unix::{SignalKind, signal};

use self::source::Source;
use super::screen::{err, out};
use super::{BadInput, runtime};
use crate::links::stop_signal;

/// How often verdicts are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Listeners end within this time.
const STOP_WITHIN: Duration = Duration::from_secs(2);
/// So many of what is hidden or left out are told.
const TOLD_MAX: usize = 20;

/// The DNS responder, by itself.
#[derive(Debug, Subcommand)]
pub enum DnsCommand {
    /// Answer for one zone over UDP, TCP and TLS: from its master file (RFC 1035), or as a cluster's configuration steers it.
    ///
    /// With --config the pools are checked from here and their names follow, as on a node; bound names follow --active. Nobody
    /// votes, nothing is kept, and no port of the configuration is used. SIGHUP reads the file anew, and the certificate:
    /// while it is read the old zone is answered, and so it stays where the new one has mistakes.
    #[command(
        after_help = "Exit codes: 0 it was stopped (SIGINT, SIGTERM), 1 failed (an address is taken), 2 usage, or mistakes \
                      in the zone or the configuration: all of them, by file and line."
    )]
    Serve(Serve),
}

/// Arguments of `dns serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// The master file; what it includes is looked for beside it.
    #[arg(long, value_name = "FILE", required_unless_present = "config", requires = "origin")]
    zone_file: Option<PathBuf>,
    /// The zone's name: what names in the file without a last dot are below.
    #[arg(long, value_name = "NAME", requires = "zone_file", conflicts_with = "config")]
    origin: Option<String>,
    /// A cluster's configuration, for its zone and names.
    #[arg(long, value_name = "FILE", conflicts_with = "zone_file")]
    config: Option<PathBuf>,
    /// Where a group counts as active, for the names bound to it; they say SERVFAIL else. May be given several times.
    #[arg(long, value_name = "GROUP=SITE", value_parser = active, requires = "config")]
    active: Vec<(GroupId, SiteId)>,
    /// Where the checks count as seen from; the configuration's first data site unless given.
    #[arg(long, value_name = "SITE", requires = "config")]
    site: Option<SiteId>,
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
    runtime()?.block_on(answer(serve, began))
}

async fn answer(serve: &Serve, began: Instant) -> Result<u8> {
    let mut source = Source::of(serve)?;
    let (snapshot, notes) = source.read(Generation(1))?;
    tell(&notes);
    let names = snapshot.name_count();
    let published = Published::on(snapshot, source.terms(serve));
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
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut at = format!("{} (UDP and TCP)", places(&serve.listen));
    if tls.is_some() {
        at += &format!(", {} (TLS)", places(&serve.tls_listen));
    }
    let took = began.elapsed().as_millis();
    out(format_args!("ready in {took} ms: {} with {names} names, at {at}", source.title()));
    let mut generation = Generation(1);
    loop {
        tokio::select! {
            () = stop.recv() => break,
            _ = looks.tick(), if source.steers() => {
                if let Some(snapshot) = source.look(&published.load().snapshot) {
                    published.publish(snapshot)?;
                }
                continue;
            }
            _ = again.recv() => {}
        }
        if let Some((identity, certificate, key)) = &identity
            && let Err(error) = identity.read_again(certificate, key)
        {
            let error = anyhow::Error::from(error);
            err(format_args!("twofold: {error:#}\nthe certificate that was read before stays"));
        }
        let next = Generation(generation.0 + 1);
        // Reading takes a while; nobody waits for it.
        match tokio::task::block_in_place(|| source.read(next)) {
            Ok((snapshot, notes)) => {
                tell(&notes);
                let names = snapshot.name_count();
                published.publish(snapshot)?;
                generation = next;
                out(format_args!("read anew: {} with {names} names", source.title()));
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

fn active(text: &str) -> Result<(GroupId, SiteId), String> {
    let (group, site) = text.split_once('=').ok_or("write GROUP=SITE")?;
    let group = group.parse().map_err(|error| format!("group {group:?}: {error}"))?;
    Ok((group, site.parse().map_err(|error| format!("site {site:?}: {error}"))?))
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

fn tell(notes: &[String]) {
    for note in notes.iter().take(TOLD_MAX) {
        err(format_args!("twofold: {note}"));
    }
    if notes.len() > TOLD_MAX {
        err(format_args!("twofold: … and {} more", notes.len() - TOLD_MAX));
    }
}
