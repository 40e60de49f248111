//! `twofold cert ca|node|guard|client`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use app_cert::{CA_DAYS, CertError, Identity, IssuedFiles, Kind, LEAF_DAYS, Request, create_ca, issue};
use clap::{Args, Subcommand};

/// What to make.
#[derive(Debug, Subcommand)]
pub enum Cert {
    /// The CA of a cluster: DIR/ca.pem and DIR/ca.key.
    Ca(Ca),
    /// The certificate of a node, signed by the CA.
    Node(Leaf),
    /// The certificate of a guard, named as its database server.
    Guard(Leaf),
    /// The certificate of an operator or a program that speaks to the API.
    Client(Leaf),
}

/// Arguments of `cert ca`.
#[derive(Debug, Args)]
pub struct Ca {
    /// The cluster's name, as in the configuration.
    #[arg(long)]
    pub cluster: String,
    /// Where to put it; usually the folder `tls.dir` of the configuration.
    #[arg(long, default_value = "pki", value_name = "DIR")]
    pub dir: PathBuf,
    /// How many days it lives.
    #[arg(long, default_value_t = CA_DAYS)]
    pub days: u32,
}

/// Arguments of the others.
#[derive(Debug, Args)]
pub struct Leaf {
    /// The node's, server's or client's name.
    pub name: String,
    /// The cluster's name.
    #[arg(long)]
    pub cluster: String,
    /// Where the CA is.
    #[arg(long, default_value = "pki", value_name = "DIR")]
    pub ca_dir: PathBuf,
    /// Where to put NAME.pem and NAME.key; the CA's folder unless given.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// An address under which it is dialed, beside its name; may be repeated.
    #[arg(long, value_name = "IP")]
    pub address: Vec<IpAddr>,
    /// How many days it lives.
    #[arg(long, default_value_t = LEAF_DAYS)]
    pub days: u32,
}

/// Makes it and says where it is.
pub fn run(cert: &Cert) -> u8 {
    let now = SystemTime::now();
    let made = match cert {
        Cert::Ca(ca) => create_ca(&ca.dir, &ca.cluster, ca.days, now),
        Cert::Node(leaf) => make(Kind::Node, leaf, now),
        Cert::Guard(leaf) => make(Kind::Guard, leaf, now),
        Cert::Client(leaf) => make(Kind::Client, leaf, now),
    };
    match made {
        Ok(files) => {
            println!("{}\n{}", files.certificate.display(), files.key.display());
            0
        }
        Err(error) => {
            eprintln!("twofold: {:#}", anyhow::Error::from(error));
            2
        }
    }
}

fn make(kind: Kind, leaf: &Leaf, now: SystemTime) -> Result<IssuedFiles, CertError> {
    let holder = Identity { kind, name: leaf.name.clone(), cluster: leaf.cluster.clone() };
    let request = Request { holder, addresses: leaf.address.clone(), days: leaf.days };
    issue(&leaf.ca_dir, leaf.dir.as_ref().unwrap_or(&leaf.ca_dir), &request, now)
}
