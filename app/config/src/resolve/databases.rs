//! Databases with their servers, and the groups that move them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{GroupId, ServerId};

use super::places::{Sites, Sockets};
use super::{or, path};
use crate::config::Role;
use crate::database::{
    AsyncFailover, Database, Failover, Fence, Flavour, Group, Promotion, Restart, Server, Watchdog,
};
use crate::fields::{At, quoted, suggest};
use crate::name::DatabaseId;
use crate::problem::Problems;
use crate::scalar::show;
use crate::secret::{Account, SecretSource};
use crate::timing::Timing;
use crate::tree::Place;
use crate::v1::{AccountFile, ConfigFile, DatabaseFile, FenceFile, GroupFile, ServerFile};

/// The client protocol of MySQL and MariaDB.
const PORT: u16 = 3306;

/// Debian's places of a server's files.
const SOCKET: &str = "/run/mysqld/mysqld.sock";
const PID_FILE: &str = "/run/mysqld/mysqld.pid";
const DATA_DIR: &str = "/var/lib/mysql";
const ERROR_LOG: &str = "/var/log/mysql/error.log";

/// Where guards keep their latches, each in a folder called as its server.
const GUARD_DIR: &str = "/var/lib/twofold-guard";

/// What the ladder takes at most (`F_max`): a second for each of its rungs before SIGKILL, and one
/// for that.
const LADDER_MAX: Duration = Duration::from_secs(3);

/// After this long on the ladder a guard feeds its watchdog no more: SIGKILL did not help.
const STARVE_AFTER: Duration = Duration::from_secs(1);

/// The watchdog's timeout behind a gate, whose own timeout shuts clients out: no promise rests on it.
const WATCHDOG_S: u8 = 5;

/// The longest ladder that is taken; a longer one would leave the group shut for a minute.
const LADDER_LIMIT: Duration = Duration::from_secs(60);

/// As many as a guard tells of, so that one more than are told is one that is not excepted.
const PRIVILEGED_ACCOUNTS_MAX: usize = 32;

/// All databases that could be read.
pub(crate) fn databases(
    file: &ConfigFile,
    sites: &Sites<'_>,
    folder: &Path,
    sockets: &mut Sockets,
    problems: &mut Problems,
) -> BTreeMap<DatabaseId, Database> {
    let mut databases = BTreeMap::new();
    let mut hosts = Hosts::default();
    for (id, written) in &file.databases {
        let mut reader = Reader { sites, folder, sockets, hosts: &mut hosts, problems };
        if let Some(database) = reader.database(id, written) {
            databases.insert(id.value.clone(), database);
        }
    }
    databases
}

/// The files of servers that share an address, and so a host.
#[derive(Default)]
struct Hosts {
    taken: BTreeMap<(std::net::IpAddr, PathBuf), String>,
}

struct Reader<'a, 'f> {
    sites: &'a Sites<'f>,
    folder: &'a Path,
    sockets: &'a mut Sockets,
    hosts: &'a mut Hosts,
    problems: &'a mut Problems,
}

impl Reader<'_, '_> {
    fn database(&mut self, id: &At<DatabaseId>, written: &DatabaseFile) -> Option<Database> {
        let flavour = or(&written.flavour, Flavour::Mysql);
        let mut servers = BTreeMap::new();
        for (id, server) in &written.servers {
            self.sockets.certify(id.value.as_str(), "server", &id.place, self.problems);
            if let Some(server) = self.server(id, server, flavour) {
                servers.insert(id.value.clone(), server);
            }
        }
        if servers.len() == written.servers.len() && self.sites.counted() {
            self.cover(id, &servers, &written.place);
            self.may_serve(id, &servers, written);
        }
        let admin = account(written.admin.as_ref(), self.folder);
        let replication = account(written.replication.as_ref(), self.folder);
        let replication_ca = written.replication_ca.as_ref().map(|at| self.folder.join(&at.value));
        Some(Database {
            id: id.value.clone(),
            flavour,
            admin: admin?,
            replication: replication?,
            replication_ca,
            kine: written.kine.as_ref().map(|at| at.value.clone()),
            privileged_accounts: self.excepted(written.privileged_accounts.as_ref()),
            servers,
        })
    }

    fn excepted(&mut self, written: Option<&At<Vec<At<String>>>>) -> BTreeSet<String> {
        let Some(at) = written else { return BTreeSet::new() };
        if at.value.len() > PRIVILEGED_ACCOUNTS_MAX {
            self.problems.add(
                &at.place,
                format!("more than {PRIVILEGED_ACCOUNTS_MAX} accounts are excepted"),
                "take the rights from most of them: each could undo what twofold proves",
            );
        }
        at.value.iter().map(|account| account.value.clone()).collect()
    }

    fn cover(&mut self, id: &At<DatabaseId>, servers: &BTreeMap<ServerId, Server>, place: &Place) {
        for site in self.sites.data() {
            if !servers.values().any(|server| server.site == *site) {
                self.problems.add(
                    place,
                    format!(
                        "database {} has no server in site {}",
                        quoted(id.value.as_str()),
                        quoted(site.as_str())
                    ),
                    format!("add one under servers with `site: {site}`"),
                );
            }
        }
    }

    /// A site whose servers must all not be promoted could never take over, and nobody in it would acknowledge.
    fn may_serve(
        &mut self,
        id: &At<DatabaseId>,
        servers: &BTreeMap<ServerId, Server>,
        written: &DatabaseFile,
    ) {
        for site in self.sites.data() {
            let mut here = servers.values().filter(|server| server.site == *site).peekable();
            if here.peek().is_none() || here.any(|server| server.promotion != Promotion::MustNot) {
                continue;
            }
            let last = written.servers.iter().rev().find_map(|(_, server)| {
                let here = server.site.as_ref().is_some_and(|at| at.value == *site);
                server.promotion.as_ref().filter(|_| here)
            });
            self.problems.add(
                last.map_or(&written.place, |at| &at.place),
                format!(
                    "database {} has no server in site {} that may be promoted",
                    quoted(id.value.as_str()),
                    quoted(site.as_str())
                ),
                "write `promotion: neutral` at one of them",
            );
        }
    }

    fn server(&mut self, id: &At<ServerId>, written: &ServerFile, flavour: Flavour) -> Option<Server> {
        let name = id.value.as_str();
        let site = written.site.as_ref().and_then(|site| {
            let hint = "databases stand in data sites; put it into one";
            self.sites.refer(site, "a database server", &[Role::Data], hint, self.problems)
        });
        let fence = self.fence(written.fence.as_ref());
        let At { value: address, place } = written.address.as_ref()?;
        let port = or(&written.port, PORT);
        let port_place = written.port.as_ref().map_or(place, |at| &at.place);
        let what = format!("server {name:?}");
        self.sockets.claim(SocketAddr::new(*address, port), what.clone(), port_place, self.problems);
        let mut extra_ports = Vec::new();
        for extra in written.extra_ports.iter().flat_map(|at| &at.value) {
            self.sockets.claim(
                SocketAddr::new(*address, extra.value),
                what.clone(),
                &extra.place,
                self.problems,
            );
            extra_ports.push(extra.value);
        }
        let guard_dir = written
            .guard_dir
            .as_ref()
            .map_or_else(|| Path::new(GUARD_DIR).join(name), |at| self.folder.join(&at.value));
        let server = Server {
            id: id.value.clone(),
            site: site?,
            address: *address,
            port,
            extra_ports,
            socket: path(written.socket.as_ref(), SOCKET, self.folder),
            pid_file: path(written.pid_file.as_ref(), PID_FILE, self.folder),
            data_dir: path(written.data_dir.as_ref(), DATA_DIR, self.folder),
            error_log: path(written.error_log.as_ref(), ERROR_LOG, self.folder),
            mysqlbinlog: self.mysqlbinlog(written, flavour),
            fence: fence?,
            watchdog: self.watchdog(written.watchdog.as_ref(), fence?)?,
            guard_dir,
            restart: written.restart.as_ref().map_or(Restart::Supervisor, |at| at.value.clone()),
            promotion: or(&written.promotion, Promotion::Neutral),
        };
        self.own_files(&server, written, place);
        Some(server)
    }

    fn mysqlbinlog(&self, written: &ServerFile, flavour: Flavour) -> Vec<String> {
        let Some(at) = &written.mysqlbinlog else {
            return vec![match flavour {
                Flavour::Mysql => "mysqlbinlog".to_owned(),
                Flavour::Mariadb => "mariadb-binlog".to_owned(),
            }];
        };
        let mut command = at.value.clone();
        // A bare word is looked for in PATH; one with a slash is a path like any other here.
        if let Some(program) = command.first_mut().filter(|program| program.contains('/')) {
            *program = self.folder.join(&*program).display().to_string();
        }
        command
    }

    fn fence(&mut self, written: Option<&At<FenceFile>>) -> Option<Fence> {
        let Some(at) = written else { return Some(Fence::Nftables) };
        let max = match at.value {
            FenceFile::Nftables => return Some(Fence::Nftables),
            FenceFile::Ladder(max) => max.unwrap_or(LADDER_MAX),
        };
        if max.is_zero() || max > LADDER_LIMIT {
            self.problems.add(
                &at.place,
                format!("a ladder of {} is not between 0s and {}", show(max), show(LADDER_LIMIT)),
                "write what its four rungs take at most; the default is 3s",
            );
            return None;
        }
        Some(Fence::Ladder { max })
    }

    /// Its timeout follows from the ladder: the guard starves it a second after the ladder began, and
    /// the host must be reset before the ladder's time is over.
    fn watchdog(&mut self, written: Option<&At<String>>, fence: Fence) -> Option<Option<Watchdog>> {
        let Some(at) = written else { return Some(None) };
        let timeout_s = match fence {
            Fence::Nftables => WATCHDOG_S,
            Fence::Ladder { max } => {
                let left = max.saturating_sub(STARVE_AFTER).as_secs();
                u8::try_from(left).unwrap_or(u8::MAX)
            }
        };
        if timeout_s == 0 {
            self.problems.add(
                &at.place,
                "the ladder leaves no whole second for the watchdog",
                format!(
                    "write a ladder of {} or more, or leave the watchdog out",
                    show(STARVE_AFTER + Duration::from_secs(1))
                ),
            );
            return None;
        }
        Some(Some(Watchdog { device: self.folder.join(&at.value), timeout_s }))
    }

    fn own_files(&mut self, server: &Server, written: &ServerFile, place: &Place) {
        let files = [
            (&server.socket, &written.socket),
            (&server.pid_file, &written.pid_file),
            (&server.data_dir, &written.data_dir),
            (&server.guard_dir, &written.guard_dir),
        ];
        for (file, at) in files {
            let key = (server.address, file.clone());
            match self.hosts.taken.get(&key) {
                Some(earlier) => self.problems.add(
                    at.as_ref().map_or(place, |at| &at.place),
                    format!("{} is taken by server {earlier:?} at the same address", file.display()),
                    "give each server on a host its own socket, pid-file, data-dir and guard-dir",
                ),
                None => {
                    self.hosts.taken.insert(key, server.id.to_string());
                }
            }
        }
    }
}

fn account(written: Option<&AccountFile>, folder: &Path) -> Option<Account> {
    let written = written?;
    let password = match &written.password.as_ref()?.value {
        SecretSource::File(file) => SecretSource::File(folder.join(file)),
        SecretSource::Env(name) => SecretSource::Env(name.clone()),
    };
    Some(Account { user: written.user.as_ref()?.value.clone(), password })
}

/// All groups that could be read.
pub(crate) fn groups(
    file: &ConfigFile,
    sites: &Sites<'_>,
    databases: &BTreeMap<DatabaseId, Database>,
    timing: Option<Timing>,
    problems: &mut Problems,
) -> BTreeMap<GroupId, Group> {
    let mut groups: BTreeMap<GroupId, Group> = BTreeMap::new();
    let mut moved: BTreeMap<&DatabaseId, &GroupId> = BTreeMap::new();
    for (id, written) in &file.groups {
        if let Some(database) = &written.database {
            refer_database(database, file, problems);
            if let Some(earlier) = moved.insert(&database.value, &id.value) {
                problems.add(
                    &database.place,
                    format!(
                        "database {} moves with group {} already",
                        quoted(database.value.as_str()),
                        quoted(earlier.as_str())
                    ),
                    "keep one group for a database",
                );
            }
        }
        if let Some(group) = group(id, written, sites, databases, timing, problems) {
            groups.insert(id.value.clone(), group);
        }
    }
    groups
}

fn refer_database(at: &At<DatabaseId>, file: &ConfigFile, problems: &mut Problems) {
    if !file.databases.iter().any(|(id, _)| id.value == at.value) {
        let names = file.databases.iter().map(|(id, _)| id.value.as_str());
        problems.add(
            &at.place,
            format!("database {} is not there", quoted(at.value.as_str())),
            suggest(at.value.as_str(), names),
        );
    }
}

fn group(
    id: &At<GroupId>,
    written: &GroupFile,
    sites: &Sites<'_>,
    databases: &BTreeMap<DatabaseId, Database>,
    timing: Option<Timing>,
    problems: &mut Problems,
) -> Option<Group> {
    let prefer = match &written.prefer {
        Some(at) => {
            let hint = "write one of the two data sites";
            sites.refer(at, "the preferred primary", &[Role::Data], hint, problems)
        }
        None => sites.data().next().cloned(),
    };
    let default = if sites.has_witness() { Failover::Automatic } else { Failover::Manual };
    let failover = or(&written.failover, default);
    if let Some(at) = &written.failover
        && at.value == Failover::Automatic
        && sites.counted()
        && !sites.has_witness()
    {
        problems.add(
            &at.place,
            "without a witness no site can tell a dead peer from a cut link, so nothing may fail over by itself",
            "add a third site with `role: witness` and a node in it, or write `failover: manual`",
        );
    }
    let rpo = or(&written.rpo, Duration::ZERO);
    let async_failover = or(&written.async_failover, AsyncFailover::Refuse);
    if let Some(at) = &written.async_failover
        && at.value == AsyncFailover::Allow
        && rpo.is_zero()
    {
        problems.add(
            &at.place,
            "`async-failover: allow` accepts a loss, and `rpo` 0s accepts none",
            "write the loss that is accepted as rpo, or `async-failover: refuse`",
        );
    }
    let database = databases.get(&written.database.as_ref()?.value)?;
    let timing = timing?.behind_ladder(database.fence_max());
    if timing.sync_timeout <= timing.wait() {
        problems.add(
            &id.place,
            format!(
                "behind the ladder W is {}, and sync-timeout {} is not longer: durability would weaken before a failover could",
                show(timing.wait()),
                show(timing.sync_timeout)
            ),
            format!("lengthen timing.sync-timeout beyond {}, or shorten the ladder", show(timing.wait())),
        );
    }
    if let Some(rto) = &written.rto
        && failover == Failover::Automatic
        && rto.value < timing.rto_bound().worst()
    {
        problems.add(
            &rto.place,
            format!(
                "rto {} is shorter than what this timing can promise: {}",
                show(rto.value),
                timing.rto_bound()
            ),
            "write a longer rto, or shorten lease, dwell or the ladder",
        );
    }
    Some(Group {
        id: id.value.clone(),
        database: database.id.clone(),
        failover,
        rto: written.rto.as_ref().map(|at| at.value),
        rpo,
        prefer: prefer?,
        async_failover,
        timing,
    })
}
