//! `twofold cert ca|node|guard|client`: names, folders and addresses come from the configuration, or
//! are given where there is none yet.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result};
use app_cert::{CA_DAYS, CertError, Identity, IssuedFiles, Kind, LEAF_DAYS, Request, Role, create_ca, issue};
use app_config::Config;
use clap::{Args, Subcommand};
use model::NodeId;

use super::screen::out;
use super::{BadInput, load};

/// What to make.
#[derive(Debug, Subcommand)]
pub enum Cert {
    /// The CA of a cluster: ca.pem and ca.key.
    Ca(Ca),
    /// The certificate of a node, signed by the CA.
    Node(Named),
    /// The certificate of a guard, named as its database server.
    Guard(Named),
    /// The certificate of an operator or a program that speaks to the API.
    Client(Client),
}

/// Where, and for which cluster.
#[derive(Debug, Args)]
pub struct Place {
    /// The configuration: gives the cluster's name, `tls.dir` and the nodes' addresses.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The cluster's name, where no configuration is given.
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// The folder for certificates and keys, where no configuration is given.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Arguments of `cert ca`.
#[derive(Debug, Args)]
pub struct Ca {
    #[command(flatten)]
    pub place: Place,
    /// How many days it lives.
    #[arg(long, default_value_t = CA_DAYS)]
    pub days: u32,
}

/// Arguments of `cert node` and `cert guard`.
#[derive(Debug, Args)]
pub struct Named {
    /// The node's, or the database server's, name.
    pub name: String,
    #[command(flatten)]
    pub leaf: Leaf,
}

/// Arguments of `cert client`.
#[derive(Debug, Args)]
pub struct Client {
    /// The client's name.
    #[arg(default_value = "client")]
    pub name: String,
    /// What its holder may do: viewer reads, operator starts failovers, approver and admin are for what
    /// is to come; each may do all that those before it may.
    #[arg(long, default_value = "operator", value_name = "ROLE")]
    pub role: Role,
    #[command(flatten)]
    pub leaf: Leaf,
}

/// What all but the CA have.
#[derive(Debug, Args)]
pub struct Leaf {
    #[command(flatten)]
    pub place: Place,
    /// Where the CA is, when not in the same folder.
    #[arg(long, value_name = "DIR")]
    pub ca_dir: Option<PathBuf>,
    /// A further address under which it is dialed; may be repeated.
    #[arg(long, value_name = "IP")]
    pub address: Vec<IpAddr>,
    /// How many days it lives.
    #[arg(long, default_value_t = LEAF_DAYS)]
    pub days: u32,
}

/// What a place comes to.
struct Settled {
    cluster: String,
    dir: PathBuf,
    config: Option<Config>,
}

/// Makes it and says where it is.
pub fn run(cert: &Cert) -> Result<u8> {
    let now = SystemTime::now();
    let files = match cert {
        Cert::Ca(ca) => {
            let settled = settle(&ca.place)?;
            create_ca(&settled.dir, &settled.cluster, ca.days, now).map_err(mistake)
        }
        Cert::Node(node) => make(Kind::Node, &node.name, None, &node.leaf, now),
        Cert::Guard(guard) => make(Kind::Guard, &guard.name, None, &guard.leaf, now),
        Cert::Client(client) => make(Kind::Client, &client.name, Some(client.role), &client.leaf, now),
    }?;
    out(format_args!("{}\n{}", files.certificate.display(), files.key.display()));
    Ok(0)
}

/// A name or a number of days that no certificate has is the caller's mistake.
fn mistake(error: CertError) -> anyhow::Error {
    match error {
        CertError::Name { .. } | CertError::Days { .. } => BadInput(error.to_string()).into(),
        other => other.into(),
    }
}

fn settle(place: &Place) -> Result<Settled> {
    let config = place.config.as_deref().map(load).transpose()?;
    let cluster = place.cluster.clone().or_else(|| config.as_ref().map(|c| c.cluster().to_string()));
    let dir = place.dir.clone().or_else(|| config.as_ref().map(|c| c.tls().dir.clone()));
    let cluster =
        cluster.ok_or_else(|| BadInput("which cluster? give --config FILE or --cluster NAME".into()))?;
    Ok(Settled { cluster, dir: dir.unwrap_or_else(|| "pki".into()), config })
}

fn make(kind: Kind, name: &str, role: Option<Role>, leaf: &Leaf, now: SystemTime) -> Result<IssuedFiles> {
    let settled = settle(&leaf.place)?;
    let mut addresses = leaf.address.clone();
    if let Some(config) = &settled.config {
        addresses.extend(known_address(config, kind, name)?);
    }
    let holder = Identity { kind, name: name.to_owned(), cluster: settled.cluster };
    let request = Request { holder, addresses, days: leaf.days, role };
    let ca_dir = leaf.ca_dir.as_ref().unwrap_or(&settled.dir);
    issue(ca_dir, &settled.dir, &request, now).map_err(mistake).context("no certificate was made")
}

/// The address that the configuration gives; a name that is not in it is a mistake.
fn known_address(config: &Config, kind: Kind, name: &str) -> Result<Option<IpAddr>> {
    let unknown = |list: &str| {
        BadInput(format!("{kind} {name:?} is not in the configuration; add it under {list} or mend the name"))
    };
    match kind {
        Kind::Client => Ok(None),
        Kind::Node => {
            let id: Option<NodeId> = name.parse().ok();
            let node = id.and_then(|id| config.nodes().get(&id)).ok_or_else(|| unknown("nodes"))?;
            Ok(Some(node.address))
        }
        Kind::Guard => {
            let (_, server) = config.server(name).ok_or_else(|| unknown("databases"))?;
            Ok(Some(server.address))
        }
    }
}
