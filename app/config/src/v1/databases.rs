//! Databases, servers and groups, as written.

use std::net::IpAddr;
use std::time::Duration;

use model::{ServerId, SiteId};

use super::{Keyed, section};
use crate::database::{AsyncFailover, Failover, Flavour, Promotion, Restart};
use crate::fields::{At, Fields, keyed, list, quoted};
use crate::name::DatabaseId;
use crate::problem::Problems;
use crate::scalar::{address, choice, duration, name, port, text, word};
use crate::secret::SecretSource;
use crate::tree::{Kind, Node, Place};

/// MariaDB's longest user and host, 128 and 255 characters, and the `@`.
const ACCOUNT_MAX: usize = 128 + 1 + 255;

/// What is wanted of a server when a primary is chosen.
const PROMOTIONS: [(&str, Promotion); 3] =
    [("prefer", Promotion::Prefer), ("neutral", Promotion::Neutral), ("must-not", Promotion::MustNot)];

/// A database.
#[derive(Debug)]
pub(crate) struct DatabaseFile {
    pub flavour: Option<At<Flavour>>,
    pub admin: Option<AccountFile>,
    pub replication: Option<AccountFile>,
    pub replication_ca: Option<At<String>>,
    pub kine: Option<At<String>>,
    pub privileged_accounts: Option<At<Vec<At<String>>>>,
    pub servers: Keyed<ServerId, ServerFile>,
    /// Where its name stands.
    pub place: Place,
}

/// An account: a user and where the password is.
#[derive(Debug)]
pub(crate) struct AccountFile {
    pub user: Option<At<String>>,
    /// The path of a file is not joined to the folder yet.
    pub password: Option<At<SecretSource>>,
}

/// A server.
#[derive(Debug)]
pub(crate) struct ServerFile {
    pub site: Option<At<SiteId>>,
    pub address: Option<At<IpAddr>>,
    pub port: Option<At<u16>>,
    pub extra_ports: Option<At<Vec<At<u16>>>>,
    pub socket: Option<At<String>>,
    pub pid_file: Option<At<String>>,
    pub data_dir: Option<At<String>>,
    pub error_log: Option<At<String>>,
    pub mysqlbinlog: Option<At<Vec<String>>>,
    pub fence: Option<At<FenceFile>>,
    pub watchdog: Option<At<String>>,
    pub guard_dir: Option<At<String>>,
    pub restart: Option<At<Restart>>,
    pub promotion: Option<At<Promotion>>,
}

/// `nftables`, `ladder`, or `{ladder: 3s}`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FenceFile {
    Nftables,
    Ladder(Option<Duration>),
}

/// A group.
#[derive(Debug)]
pub(crate) struct GroupFile {
    pub database: Option<At<DatabaseId>>,
    pub failover: Option<At<Failover>>,
    pub rto: Option<At<Duration>>,
    pub rpo: Option<At<Duration>>,
    pub prefer: Option<At<SiteId>>,
    pub async_failover: Option<At<AsyncFailover>>,
}

impl DatabaseFile {
    pub fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let read = Self {
            flavour: fields.optional("flavour", |node, problems| {
                choice(node, problems, &[("mysql", Flavour::Mysql), ("mariadb", Flavour::Mariadb)])
            }),
            admin: fields
                .required("admin", "{user: twofold, password-file: secrets/admin}", AccountFile::read)
                .map(|at| at.value),
            replication: fields
                .required("replication", "{user: repl, password-file: secrets/repl}", AccountFile::read)
                .map(|at| at.value),
            replication_ca: fields.optional("replication-ca", text),
            kine: fields.optional("kine", schema_name),
            privileged_accounts: fields.optional("privileged-accounts", |n, p| list(n, p, account_name)),
            servers: section(&mut fields, "servers", |n, p| keyed(n, p, ServerFile::read))
                .unwrap_or_default(),
            place: fields.place().clone(),
        };
        fields.close();
        Some(read)
    }
}

/// A schema's name that needs no quoting beyond backticks and fits into MySQL's 64 characters.
fn schema_name(node: &Node, problems: &mut Problems) -> Option<String> {
    let name = text(node, problems)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        let what = format!("{} is no name of a schema here", quoted(&name));
        problems.add(&node.place, what, "write letters, digits, _ and -, as in K3s's datastore endpoint");
        return None;
    }
    Some(name)
}

/// An account as the server names it: `user@host`, without quotes.
fn account_name(node: &Node, problems: &mut Problems) -> Option<String> {
    let name = text(node, problems)?;
    let odd = |c: char| c.is_control() || matches!(c, '\'' | '`' | '"');
    let parts = name.rsplit_once('@').filter(|(_, host)| !host.is_empty());
    if parts.is_none() || name.len() > ACCOUNT_MAX || name.chars().any(odd) {
        let what = format!("{} is no account of a database server", quoted(&name));
        problems.add(&node.place, what, "write USER@HOST without quotes, as in dba@10.0.0.%");
        return None;
    }
    Some(name)
}

impl AccountFile {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let user = fields.required("user", "NAME", text);
        let from_file = fields.optional("password-file", text);
        let from_env = fields.optional("password-env", variable);
        let named = ["password-file", "password-env"].map(|key| fields.key_place(key));
        let literal = fields.node("password");
        if let Some(literal) = literal {
            fields.problems.add(
                &literal.place,
                "a password does not stand in this file",
                "put it into a file of its own and name that in `password-file`, or a variable in `password-env`",
            );
        }
        match named {
            [Some(_), Some(second)] => {
                fields.problems.add(
                    second,
                    "the password has two sources",
                    "keep password-file or password-env",
                );
            }
            [None, None] if literal.is_none() => {
                let place = fields.place();
                fields.problems.add(place, "the password has no source", "add `password-file: secrets/NAME`");
            }
            _ => {}
        }
        fields.close();
        let file = from_file.map(|at| At { value: SecretSource::File(at.value.into()), place: at.place });
        let env = from_env.map(|at| At { value: SecretSource::Env(at.value), place: at.place });
        Some(Self { user, password: file.or(env) })
    }
}

impl ServerFile {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let read = Self {
            site: fields.required("site", "SITE", name),
            address: fields.required("address", "192.0.2.20", address),
            port: fields.optional("port", port),
            extra_ports: fields.optional("extra-ports", |node, problems| list(node, problems, port)),
            socket: fields.optional("socket", text),
            pid_file: fields.optional("pid-file", text),
            data_dir: fields.optional("data-dir", text),
            error_log: fields.optional("error-log", text),
            mysqlbinlog: fields.optional("mysqlbinlog", command),
            fence: fields.optional("fence", fence),
            watchdog: fields.optional("watchdog", text),
            guard_dir: fields.optional("guard-dir", text),
            restart: fields.optional("restart", restart),
            promotion: fields.optional("promotion", |node, problems| choice(node, problems, &PROMOTIONS)),
        };
        fields.close();
        Some(read)
    }
}

impl GroupFile {
    pub fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let read = Self {
            database: fields.required("database", "NAME", name),
            failover: fields.optional("failover", |node, problems| {
                choice(node, problems, &[("automatic", Failover::Automatic), ("manual", Failover::Manual)])
            }),
            rto: fields.optional("rto", duration),
            rpo: fields.optional("rpo", duration),
            prefer: fields.optional("prefer", name),
            async_failover: fields.optional("async-failover", |node, problems| {
                choice(node, problems, &[("refuse", AsyncFailover::Refuse), ("allow", AsyncFailover::Allow)])
            }),
        };
        fields.close();
        Some(read)
    }
}

/// The name of an environment variable (POSIX.1-2017 §8.1).
fn variable(node: &Node, problems: &mut Problems) -> Option<String> {
    let name = text(node, problems)?;
    let first = name.bytes().next().is_some_and(|c| !c.is_ascii_digit());
    if first && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_') {
        return Some(name);
    }
    problems.add(
        &node.place,
        format!("{} is not a variable's name", quoted(&name)),
        "write it as in TWOFOLD_ADMIN",
    );
    None
}

/// A command: a list of words, or a line that is split at its spaces.
fn command(node: &Node, problems: &mut Problems) -> Option<Vec<String>> {
    let words: Vec<String> = if let Kind::List(_) = node.kind {
        list(node, problems, text)?.into_iter().map(|at| at.value).collect()
    } else {
        text(node, problems)?.split_whitespace().map(str::to_owned).collect()
    };
    if words.is_empty() {
        problems.add(&node.place, "a command needs at least one word", "write the program's path");
        return None;
    }
    Some(words)
}

fn fence(node: &Node, problems: &mut Problems) -> Option<FenceFile> {
    if let Kind::Map(_) = node.kind {
        let mut fields = Fields::open(node, problems)?;
        let ladder = fields.required("ladder", "3s", duration);
        fields.close();
        return ladder.map(|at| FenceFile::Ladder(Some(at.value)));
    }
    choice(node, problems, &[("nftables", FenceFile::Nftables), ("ladder", FenceFile::Ladder(None))])
}

fn restart(node: &Node, problems: &mut Problems) -> Option<Restart> {
    if let Kind::Map(_) = node.kind {
        let mut fields = Fields::open(node, problems)?;
        let unit = fields.optional("systemd", text);
        let start = fields.optional("command", command);
        let named = ["systemd", "command"].map(|key| fields.key_place(key).is_some());
        if named[0] == named[1] {
            let place = fields.place();
            fields.problems.add(
                place,
                "one of systemd and command is wanted",
                "write `restart: {systemd: UNIT}`",
            );
        }
        fields.close();
        return match (unit, start) {
            (Some(unit), None) => Some(Restart::Systemd { unit: unit.value }),
            (None, Some(start)) => Some(Restart::Command(start.value)),
            _ => None,
        };
    }
    if problems.describes(node, || serde_json::json!({ "const": "supervisor" })) {
        return None;
    }
    let (text, _) = word(node, problems)?;
    if text == "supervisor" {
        return Some(Restart::Supervisor);
    }
    problems.add(
        &node.place,
        format!("{} does not restart a server", quoted(text)),
        "write supervisor, {systemd: UNIT} or {command: [PROGRAM, …]}",
    );
    None
}
