//! Who stands where: sites, hosts, addresses, and the names a lab has on the machine.
//!
//! Pure but for one look at a path. Every name that is visible on the machine (namespace, control
//! group, lock) carries the lab's id, which is derived from its directory, so that labs in
//! different directories never meet.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A place with a WAN port of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabSite {
    /// The primary datacentre.
    Pdc,
    /// The second datacentre.
    Mdc,
    /// The witness.
    Wit,
    /// Clients outside.
    Cli,
}

impl LabSite {
    /// All of them, in the order of their WAN ports.
    pub const ALL: [LabSite; 4] = [LabSite::Pdc, LabSite::Mdc, LabSite::Wit, LabSite::Cli];

    /// The name that operators type and the configuration carries.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            LabSite::Pdc => "pdc",
            LabSite::Mdc => "mdc",
            LabSite::Wit => "wit",
            LabSite::Cli => "cli",
        }
    }

    /// The third byte of the site's addresses (10.77.NET.x).
    #[must_use]
    pub fn net(self) -> u8 {
        match self {
            LabSite::Pdc => 1,
            LabSite::Mdc => 2,
            LabSite::Wit => 3,
            LabSite::Cli => 9,
        }
    }

    /// The site whose addresses have this third byte.
    #[must_use]
    pub fn of_net(net: u8) -> Option<LabSite> {
        LabSite::ALL.into_iter().find(|s| s.net() == net)
    }

    /// The other datacentre; none for witness and clients.
    #[must_use]
    pub fn peer(self) -> Option<LabSite> {
        match self {
            LabSite::Pdc => Some(LabSite::Mdc),
            LabSite::Mdc => Some(LabSite::Pdc),
            LabSite::Wit | LabSite::Cli => None,
        }
    }
}

impl fmt::Display for LabSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no site of the lab.
#[derive(Debug, thiserror::Error)]
#[error("site {0:?} is not in the lab; its sites are pdc, mdc, wit and cli")]
pub struct UnknownSite(pub String);

impl FromStr for LabSite {
    type Err = UnknownSite;
    fn from_str(s: &str) -> Result<Self, UnknownSite> {
        LabSite::ALL.into_iter().find(|x| x.name() == s).ok_or_else(|| UnknownSite(s.to_owned()))
    }
}

/// What a host is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKind {
    /// Runs `twofold serve`.
    Node,
    /// Runs the database and `twofold guard`.
    Database,
    /// Runs the small web application, behind its site's entry.
    Web,
    /// Runs HAProxy, by which web clients enter the site.
    Entry,
    /// Runs measuring clients: an instrument, so it is not killed with its site.
    Client,
}

impl HostKind {
    /// What runs on such a host, by the names that `lab kill` takes.
    #[must_use]
    pub fn processes(self) -> &'static [&'static str] {
        match self {
            HostKind::Node => &["node"],
            HostKind::Database => &["mysqld", "guard"],
            HostKind::Web => &["web"],
            HostKind::Entry => &["haproxy"],
            HostKind::Client => &[],
        }
    }
}

/// One host, which is one network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub site: LabSite,
    /// The last byte of its address.
    pub last: u8,
    /// What it is for.
    pub kind: HostKind,
}

const fn host(name: &'static str, site: LabSite, last: u8, kind: HostKind) -> Host {
    Host { name, site, last, kind }
}

/// The last byte of the address of a site's first database host; the second one's is the next.
const DATABASE_LAST: u8 = 10;

/// All hosts that a lab can have; which of them it has, [`Host::stands`] says.
pub const HOSTS: [Host; 18] = [
    host("pdc-1", LabSite::Pdc, 1, HostKind::Node),
    host("pdc-2", LabSite::Pdc, 2, HostKind::Node),
    host("mdc-1", LabSite::Mdc, 1, HostKind::Node),
    host("mdc-2", LabSite::Mdc, 2, HostKind::Node),
    host("wit-1", LabSite::Wit, 1, HostKind::Node),
    host("pdc-db", LabSite::Pdc, DATABASE_LAST, HostKind::Database),
    host("pdc-db-2", LabSite::Pdc, DATABASE_LAST + 1, HostKind::Database),
    host("mdc-db", LabSite::Mdc, DATABASE_LAST, HostKind::Database),
    host("mdc-db-2", LabSite::Mdc, DATABASE_LAST + 1, HostKind::Database),
    host("pdc-web", LabSite::Pdc, 20, HostKind::Web),
    host("pdc-web-2", LabSite::Pdc, 21, HostKind::Web),
    host("mdc-web", LabSite::Mdc, 20, HostKind::Web),
    host("mdc-web-2", LabSite::Mdc, 21, HostKind::Web),
    host("pdc-entry", LabSite::Pdc, 40, HostKind::Entry),
    host("mdc-entry", LabSite::Mdc, 40, HostKind::Entry),
    host("pdc-cli", LabSite::Pdc, 30, HostKind::Client),
    host("mdc-cli", LabSite::Mdc, 30, HostKind::Client),
    host("cli", LabSite::Cli, 1, HostKind::Client),
];

impl Host {
    /// The host of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Host> {
        HOSTS.into_iter().find(|h| h.name == name)
    }

    /// Whether it stands in a lab with so many database servers in each data site; all but the second
    /// database hosts do in every lab.
    #[must_use]
    pub fn stands(&self, servers: u32) -> bool {
        self.kind != HostKind::Database || u32::from(self.last - DATABASE_LAST) < servers
    }

    /// The hosts of a lab with so many database servers in each data site, in the order of the table.
    pub fn all(servers: u32) -> impl Iterator<Item = Host> {
        HOSTS.into_iter().filter(move |h| h.stands(servers))
    }

    /// The database hosts of such a lab.
    pub fn databases(servers: u32) -> impl Iterator<Item = Host> {
        Host::all(servers).filter(|h| h.kind == HostKind::Database)
    }

    /// Those of a site.
    pub fn databases_of(site: LabSite, servers: u32) -> impl Iterator<Item = Host> {
        Host::databases(servers).filter(move |h| h.site == site)
    }

    /// The other database host of its site, in such a lab.
    #[must_use]
    pub fn mate(&self, servers: u32) -> Option<Host> {
        let name = self.name;
        Host::databases_of(self.site, servers).find(|h| h.name != name)
    }

    /// The hosts of a kind that a lab can have, in the order of the table.
    pub fn of_kind(kind: HostKind) -> impl Iterator<Item = Host> {
        HOSTS.into_iter().filter(move |h| h.kind == kind)
    }

    /// The first database host of a site, which every lab has.
    #[must_use]
    pub fn database_of(site: LabSite) -> Option<Host> {
        HOSTS.into_iter().find(|h| h.kind == HostKind::Database && h.site == site)
    }

    /// The first of the hosts of a site that run its web application.
    #[must_use]
    pub fn web_of(site: LabSite) -> Option<Host> {
        HOSTS.into_iter().find(|h| h.kind == HostKind::Web && h.site == site)
    }

    /// The host by which web clients enter a site.
    #[must_use]
    pub fn entry_of(site: LabSite) -> Option<Host> {
        HOSTS.into_iter().find(|h| h.kind == HostKind::Entry && h.site == site)
    }

    /// The host that has this address.
    #[must_use]
    pub fn at(address: Ipv4Addr) -> Option<Host> {
        HOSTS.into_iter().find(|h| h.address() == address)
    }

    /// Its address, 10.77.SITE.HOST.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.site.net(), self.last)
    }

    /// Its hardware address, which spells its address, so that the hub knows the site of a frame's
    /// destination without learning.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        let [a, b, c, d] = self.address().octets();
        [0x02, 0x54, a, b, c, d]
    }

    /// The hardware address as ip(8) writes it.
    #[must_use]
    pub fn mac_text(&self) -> String {
        let m = self.mac();
        format!("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", m[0], m[1], m[2], m[3], m[4], m[5])
    }
}

/// One lab on this machine: its directory and the id that goes into all of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lab {
    dir: PathBuf,
    id: String,
}

impl Lab {
    /// The lab of this directory, which need not exist yet. A relative path is taken from the
    /// current directory.
    #[must_use]
    pub fn at(dir: &Path) -> Lab {
        // A path that cannot be made absolute (no current directory) is used as it stands.
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
        let id = format!("{:06x}", fnv1a(dir.as_os_str().as_encoded_bytes()) & 0xff_ffff);
        Lab { dir, id }
    }

    /// The lab's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Six hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the names of all of this lab's namespaces begin with.
    #[must_use]
    pub fn netns_prefix(&self) -> String {
        format!("tfl-{}-", self.id)
    }

    /// The namespace of a host.
    #[must_use]
    pub fn netns(&self, host: &Host) -> String {
        format!("{}{}", self.netns_prefix(), host.name)
    }

    /// The file that stands for a host's namespace (ip-netns(8)).
    #[must_use]
    pub fn netns_file(&self, host: &Host) -> PathBuf {
        Path::new("/run/netns").join(self.netns(host))
    }

    /// The namespace that holds a site's bridge and WAN port.
    #[must_use]
    pub fn bridge_netns(&self, site: LabSite) -> String {
        format!("{}lan-{}", self.netns_prefix(), site.name())
    }

    /// The name of the lab's control group.
    #[must_use]
    pub fn cgroup_name(&self) -> String {
        format!("twofold-lab-{}", self.id)
    }

    /// Held by whoever changes the lab. Outside the lab's directory, which comes and goes.
    #[must_use]
    pub fn lock_file(&self) -> PathBuf {
        PathBuf::from(format!("/run/twofold-lab-{}.lock", self.id))
    }

    /// The description of the lab that `up` writes.
    #[must_use]
    pub fn spec_file(&self) -> PathBuf {
        self.dir.join("lab.json")
    }

    /// Says that the directory is a lab's, also when its description is lost: made first, removed last.
    #[must_use]
    pub fn marker_file(&self) -> PathBuf {
        self.dir.join(".twofold-lab")
    }

    /// The hub's control socket.
    #[must_use]
    pub fn wan_socket(&self) -> PathBuf {
        self.dir.join("wan.sock")
    }

    /// The supervisor's control socket.
    #[must_use]
    pub fn supervisor_socket(&self) -> PathBuf {
        self.dir.join("supervisor.sock")
    }

    /// Where the supervisor notes what runs.
    #[must_use]
    pub fn state_file(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    /// Logs of all processes.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// A host's own disk.
    #[must_use]
    pub fn host_dir(&self, host: &Host) -> PathBuf {
        self.dir.join("hosts").join(host.name)
    }

    /// The disk of a database host's data: a folder, or a file system of its own.
    #[must_use]
    pub fn disk_dir(&self, host: &Host) -> PathBuf {
        self.host_dir(host).join("disk")
    }

    /// The cluster's configuration.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.dir.join("twofold.yaml")
    }

    /// The cluster's certificates.
    #[must_use]
    pub fn pki_dir(&self) -> PathBuf {
        self.dir.join("pki")
    }

    /// Passwords, one a file.
    #[must_use]
    pub fn secrets_dir(&self) -> PathBuf {
        self.dir.join("secrets")
    }
}

/// FNV-1a, 32 bits: a short, stable name for a path; nothing rests on its strength.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_has_an_address_and_a_name_of_its_own() {
        let mut addresses: Vec<_> = HOSTS.iter().map(Host::address).collect();
        let mut names: Vec<_> = HOSTS.iter().map(|h| h.name).collect();
        addresses.sort_unstable();
        addresses.dedup();
        names.sort_unstable();
        names.dedup();
        assert_eq!((addresses.len(), names.len()), (HOSTS.len(), HOSTS.len()));
    }

    #[test]
    fn a_lab_with_one_server_a_site_has_no_second_database_host() {
        let names = |servers| Host::databases(servers).map(|h| h.name).collect::<Vec<_>>();
        assert_eq!(names(1), ["pdc-db", "mdc-db"]);
        assert_eq!(names(2), ["pdc-db", "pdc-db-2", "mdc-db", "mdc-db-2"]);
        assert_eq!((Host::all(1).count(), Host::all(2).count()), (16, 18));
        let second = Host::named("mdc-db-2").unwrap();
        assert_eq!(second.address(), Ipv4Addr::new(10, 77, 2, 11));
        let first = Host::database_of(LabSite::Mdc).unwrap();
        assert_eq!((first.mate(2), second.mate(2), first.mate(1)), (Some(second), Some(first), None));
    }

    #[test]
    fn a_hardware_address_names_the_site_of_its_host() {
        for h in HOSTS {
            assert_eq!(LabSite::of_net(h.mac()[4]), Some(h.site));
        }
    }

    #[test]
    fn labs_in_different_directories_have_different_ids() {
        assert_ne!(Lab::at(Path::new("/a")).id(), Lab::at(Path::new("/b")).id());
        assert_eq!(Lab::at(Path::new("/a")).netns_prefix().len(), "tfl-000000-".len());
    }
}
