//! Accounts that clients may log in as from elsewhere, and that hold a right by which they could undo what twofold
//! proves (docs/design/0023).
//!
//! The server's own tables are read, all in one round trip, and roles are followed here: a role that is granted
//! counts, whether it is a default one or not, since its holder may set it at any time. Accounts that are
//! locked (the server's own, and roles) or bound to this host are nobody's from elsewhere.
//!
//! Deliberately absent: proxies (`GRANT PROXY`), partial revokes, and what an account may do by means of a
//! routine that others made.

use std::collections::{BTreeMap, BTreeSet};

use model::{AccountsReading, Flavour, PrivilegedAccount};

use crate::act::schema::SCHEMA;
use crate::deadline::Deadline;
use crate::read::ReadError;
use crate::row::Row;
use crate::session::Session;

mod rights;

use rights::{At, CONNECTION_ADMIN, On, WRITES};
pub use rights::{PRIVILEGED_RIGHTS, PrivilegedRight};

/// Accounts that are told one by one; a report goes out several times a second. An operator may except as many, so
/// of more at least one is not excepted.
const ACCOUNTS_MAX: usize = 32;
/// Rows of one table. With more the accounts count as unreadable: to leave some out would be to say that
/// they are harmless.
const ROWS_MAX: usize = 10_000;
/// Hosts from which nobody comes who is not on this one.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// Table, column and statement denied (MySQL and MariaDB error reference).
const DENIED: [u16; 4] = [1044, 1142, 1143, 1227];
/// MariaDB 10.11: what is granted to everybody.
const PUBLIC: &str = "PUBLIC";

/// Looks at them.
///
/// # Errors
/// When the server does not answer as it should. Where its account may not read them, that is no error.
pub async fn accounts(session: &mut Session, deadline: Deadline) -> Result<AccountsReading, ReadError> {
    let flavour = session.dialect().flavour();
    let sets = match session.ask("look for privileged accounts", &question(flavour), deadline).await {
        Err(error) if error.code().is_some_and(|code| DENIED.contains(&code)) => {
            return Ok(AccountsReading::Unreadable);
        }
        other => other?,
    };
    if sets.iter().any(|set| set.len() >= ROWS_MAX) {
        return Ok(AccountsReading::Unreadable);
    }
    let known = match flavour {
        Flavour::Mysql => Accounts::of_mysql(&sets)?,
        Flavour::Mariadb => Accounts::of_mariadb(&sets)?,
    };
    Ok(known.reading(flavour, session.replication_users()))
}

/// All of it in one round trip, the smallest answer last: it is never empty.
fn question(flavour: Flavour) -> String {
    let own = match flavour {
        Flavour::Mysql => "SELECT CURRENT_USER() AS own, @@GLOBAL.mandatory_roles AS mandatory",
        Flavour::Mariadb => "SELECT CURRENT_USER() AS own",
    };
    let tables = match flavour {
        Flavour::Mysql => {
            let columns: Vec<_> = columns().collect();
            let dynamic: Vec<_> = PRIVILEGED_RIGHTS.iter().filter(|r| r.at == At::Dynamic).collect();
            let names: Vec<_> = dynamic.iter().map(|right| format!("'{}'", right.name)).collect();
            format!(
                "SELECT Host, User, account_locked, {} FROM mysql.user LIMIT {ROWS_MAX}; \
                 SELECT FROM_USER AS role, FROM_HOST AS role_host, TO_USER AS User, TO_HOST AS Host \
                 FROM mysql.role_edges LIMIT {ROWS_MAX}; \
                 SELECT USER AS User, HOST AS Host, PRIV AS priv FROM mysql.global_grants WHERE PRIV IN ({}) \
                 LIMIT {ROWS_MAX}",
                columns.join(", "),
                names.join(", ")
            )
        }
        Flavour::Mariadb => format!(
            "SELECT Host, User, COALESCE(JSON_VALUE(Priv, '$.access'), 0) AS access, \
             COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0) AS locked, \
             COALESCE(JSON_VALUE(Priv, '$.is_role'), 0) AS is_role FROM mysql.global_priv LIMIT {ROWS_MAX}; \
             SELECT Role AS role, '' AS role_host, User, Host FROM mysql.roles_mapping LIMIT {ROWS_MAX}"
        ),
    };
    let writes: Vec<_> = WRITES.iter().map(|(column, ..)| *column).collect();
    // A schema's name is a pattern in mysql.db.
    format!(
        "{tables}; SELECT Host, User, 'mysql' LIKE Db AS on_mysql, '{SCHEMA}' LIKE Db AS on_twofold, {} \
         FROM mysql.db WHERE 'mysql' LIKE Db OR '{SCHEMA}' LIKE Db LIMIT {ROWS_MAX}; \
         SELECT Host, User, Db, CONCAT(Table_priv, ',', Column_priv) AS held FROM mysql.tables_priv \
         WHERE Db IN ('mysql', '{SCHEMA}') LIMIT {ROWS_MAX}; {own}",
        writes.join(", ")
    )
}

/// Columns of `mysql.user` that are looked at.
fn columns() -> impl Iterator<Item = &'static str> {
    let own = PRIVILEGED_RIGHTS.iter().filter_map(|right| match right.at {
        At::Column(column, _) => Some(column),
        _ => None,
    });
    own.chain(WRITES.iter().map(|(column, ..)| *column))
}

/// User and host; a role of MariaDB has no host.
type Name = (String, String);

/// What the tables say, by account and role.
#[derive(Debug, Default)]
struct Accounts {
    /// May be logged in as, from elsewhere.
    open: BTreeSet<Name>,
    /// Places in [`PRIVILEGED_RIGHTS`].
    held: BTreeMap<Name, BTreeSet<usize>>,
    /// Roles of each.
    roles: BTreeMap<Name, BTreeSet<Name>>,
    /// Roles of everybody.
    everybodys: BTreeSet<Name>,
    /// Whose session read all this, as `user@host`.
    own: String,
}

impl Accounts {
    fn of_mysql(sets: &[Vec<Row>]) -> Result<Self, ReadError> {
        let [users, edges, dynamic, schemas, tables, own] = sets else {
            return Err(ReadError::Short { what: "six results" });
        };
        let mut all = Self::default();
        for row in users {
            let name = name(row)?;
            for (place, right) in PRIVILEGED_RIGHTS.iter().enumerate() {
                let holds = match right.at {
                    At::Column(column, _) => yes(row, column)?,
                    At::Writes(On::Everything) => writes(row)?,
                    _ => false,
                };
                all.hold(&name, place, holds);
            }
            all.open_from_elsewhere(name, yes(row, "account_locked")?);
        }
        for row in dynamic {
            let held = row.text("priv")?;
            if let Some(place) = PRIVILEGED_RIGHTS.iter().position(|r| r.at == At::Dynamic && r.name == held)
            {
                all.hold(&name(row)?, place, true);
            }
        }
        all.on_schemas(edges, schemas, tables)?;
        let own = own.first().ok_or(ReadError::Short { what: "its own name" })?;
        all.own = own.text("own")?;
        all.everybodys = mandatory(&own.maybe("mandatory")?.unwrap_or_default());
        Ok(all)
    }

    fn of_mariadb(sets: &[Vec<Row>]) -> Result<Self, ReadError> {
        let [users, edges, schemas, tables, own] = sets else {
            return Err(ReadError::Short { what: "five results" });
        };
        let mut all = Self::default();
        for row in users {
            let name = name(row)?;
            let access: u64 = row.parse("access", "a number")?;
            let bit = |bit: u32| access & (1 << bit) != 0;
            for (place, right) in PRIVILEGED_RIGHTS.iter().enumerate() {
                let holds = match right.at {
                    At::Column(_, at) | At::Bit(at) => bit(at),
                    At::Writes(On::Everything) => WRITES.iter().any(|(.., at)| bit(*at)),
                    At::Dynamic | At::Writes(_) => false,
                };
                all.hold(&name, place, holds);
            }
            // JSON's true is the number 1 there, or the word.
            let set = |column| Ok::<_, ReadError>(!["0", "", "false"].contains(&row.text(column)?.as_str()));
            let shut = set("locked")? || set("is_role")? || name.1.is_empty() && name.0 == PUBLIC;
            all.open_from_elsewhere(name, shut);
        }
        all.on_schemas(edges, schemas, tables)?;
        all.own = own.first().ok_or(ReadError::Short { what: "its own name" })?.text("own")?;
        all.everybodys = [(PUBLIC.to_owned(), String::new())].into();
        Ok(all)
    }

    /// What both flavours keep alike.
    fn on_schemas(&mut self, edges: &[Row], schemas: &[Row], tables: &[Row]) -> Result<(), ReadError> {
        for row in edges {
            let role = (row.text("role")?, row.text("role_host")?);
            self.roles.entry(name(row)?).or_default().insert(role);
        }
        for row in schemas.iter() {
            let writes = writes(row)?;
            self.hold(&name(row)?, writes_on(On::Mysql), writes && row.flag("on_mysql")?);
            self.hold(&name(row)?, writes_on(On::Twofold), writes && row.flag("on_twofold")?);
        }
        for row in tables {
            let held = row.text("held")?;
            let writes = held.split(',').any(|word| WRITES.iter().any(|(_, known, _)| *known == word));
            let on = if row.text("Db")? == SCHEMA { On::Twofold } else { On::Mysql };
            self.hold(&name(row)?, writes_on(on), writes);
        }
        Ok(())
    }

    fn hold(&mut self, name: &Name, place: usize, holds: bool) {
        if holds {
            self.held.entry(name.clone()).or_default().insert(place);
        }
    }

    fn open_from_elsewhere(&mut self, name: Name, shut: bool) {
        if !shut && !LOCAL.contains(&name.1.as_str()) {
            self.open.insert(name);
        }
    }

    /// Everything that an account holds by itself and by roles, of roles too.
    fn all_of(&self, name: &Name) -> BTreeSet<usize> {
        let mut seen: BTreeSet<&Name> = BTreeSet::new();
        let mut left: Vec<&Name> = self.everybodys.iter().chain([name]).collect();
        let mut held = BTreeSet::new();
        while let Some(next) = left.pop() {
            if seen.insert(next) {
                held.extend(self.held.get(next).into_iter().flatten());
                left.extend(self.roles.get(next).into_iter().flatten());
            }
        }
        held
    }

    fn reading(&self, flavour: Flavour, replication_users: &[String]) -> AccountsReading {
        let mut privileged = Vec::new();
        let mut more = 0;
        for name in &self.open {
            let replicates = flavour == Flavour::Mysql && replication_users.contains(&name.0);
            let held = self.all_of(name);
            let rights: Vec<String> = held
                .into_iter()
                .map(|place| PRIVILEGED_RIGHTS[place].name.to_owned())
                .filter(|right| !(replicates && right == CONNECTION_ADMIN))
                .collect();
            let account = format!("{}@{}", name.0, name.1);
            if rights.is_empty() || account == self.own {
                continue;
            }
            if privileged.len() < ACCOUNTS_MAX {
                privileged.push(PrivilegedAccount { account, rights });
            } else {
                more += 1;
            }
        }
        AccountsReading::Read { privileged, more }
    }
}

fn writes_on(on: On) -> usize {
    let place = PRIVILEGED_RIGHTS.iter().position(|right| right.at == At::Writes(on));
    place.expect("the table has a row for each")
}

fn name(row: &Row) -> Result<Name, ReadError> {
    Ok((row.text("User")?, row.text("Host")?))
}

fn yes(row: &Row, column: &str) -> Result<bool, ReadError> {
    Ok(row.text(column)? == "Y")
}

fn writes(row: &Row) -> Result<bool, ReadError> {
    for (column, ..) in WRITES {
        if yes(row, column)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `mandatory_roles`: names with or without quotes and hosts, between commas (MySQL manual, "Server System
/// Variables"). A comma or an `@` inside a name is not understood.
fn mandatory(text: &str) -> BTreeSet<Name> {
    let bare = |part: &str| part.trim().trim_matches(['`', '\'', '"']).to_owned();
    let roles = text.split(',').map(str::trim).filter(|role| !role.is_empty());
    roles
        .map(|role| match role.rsplit_once('@') {
            Some((user, host)) => (bare(user), bare(host)),
            None => (bare(role), "%".to_owned()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(user: &str, host: &str) -> Name {
        (user.into(), host.into())
    }

    fn place(right: &str) -> usize {
        PRIVILEGED_RIGHTS.iter().position(|r| r.name == right).unwrap()
    }

    fn told(known: &Accounts, flavour: Flavour) -> Vec<String> {
        let AccountsReading::Read { privileged, more } = known.reading(flavour, &["repl".to_owned()]) else {
            panic!("it was read");
        };
        assert_eq!(more, 0);
        privileged.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_role_of_a_role_counts_and_so_does_everybodys() {
        let mut known = Accounts::default();
        for (user, host) in [("app", "%"), ("web", "10.%"), ("ops", "localhost")] {
            known.open_from_elsewhere(named(user, host), false);
        }
        known.open_from_elsewhere(named("locked", "%"), true);
        known.hold(&named("ops", "localhost"), place("SUPER"), true);
        known.hold(&named("locked", "%"), place("SUPER"), true);
        known.hold(&named("inner", "%"), place("SHUTDOWN"), true);
        known.roles.insert(named("app", "%"), [named("outer", "%")].into());
        // In a ring, which MySQL refuses and nobody may hang on.
        known.roles.insert(named("outer", "%"), [named("inner", "%"), named("app", "%")].into());
        assert_eq!(told(&known, Flavour::Mysql), ["app@%: SHUTDOWN"]);
        known.hold(&named("all", "%"), place("RELOAD"), true);
        known.everybodys = mandatory(" `all`@`%`");
        assert_eq!(told(&known, Flavour::Mysql), ["app@%: SHUTDOWN, RELOAD", "web@10.%: RELOAD"]);
    }

    #[test]
    fn twofolds_own_accounts_may_hold_what_they_need_and_no_more() {
        let mut known = Accounts { own: "twofold@10.0.0.1".into(), ..Accounts::default() };
        for (user, host) in [("twofold", "10.0.0.1"), ("twofold", "%"), ("repl", "%")] {
            known.open_from_elsewhere(named(user, host), false);
            known.hold(&named(user, host), place(CONNECTION_ADMIN), true);
        }
        assert_eq!(told(&known, Flavour::Mysql), ["twofold@%: CONNECTION_ADMIN"]);
        known.hold(&named("repl", "%"), place("SUPER"), true);
        assert_eq!(told(&known, Flavour::Mysql), ["repl@%: SUPER", "twofold@%: CONNECTION_ADMIN"]);
    }

    #[test]
    fn no_more_are_told_than_a_report_may_hold() {
        let mut known = Accounts::default();
        for number in 0..ACCOUNTS_MAX + 3 {
            let name = named(&format!("u{number}"), "%");
            known.hold(&name, place("SUPER"), true);
            known.open_from_elsewhere(name, false);
        }
        let AccountsReading::Read { privileged, more } = known.reading(Flavour::Mysql, &[]) else {
            panic!("it was read");
        };
        assert_eq!((privileged.len(), more), (ACCOUNTS_MAX, 3));
    }

    #[test]
    fn mandatory_roles_are_read_as_people_write_them() {
        assert_eq!(mandatory(""), BTreeSet::new());
        assert_eq!(
            mandatory("`a`@`%`, b ,'c'@localhost"),
            [named("a", "%"), named("b", "%"), named("c", "localhost")].into()
        );
    }

    #[test]
    fn every_column_that_is_asked_for_is_granted() {
        let grants = crate::grants::grants().join("\n");
        for column in columns() {
            assert!(grants.contains(column), "{column}");
        }
    }

    /// Goal: the note gives each right and its reason. Method: a row of its table for each.
    #[test]
    fn the_note_has_the_table() {
        let page = include_str!("../../../docs/design/0023-privileged-accounts.md");
        for right in PRIVILEGED_RIGHTS {
            let whose = right.flavour.map_or("both".to_owned(), |flavour| flavour.to_string());
            let row = format!("| `{}` | {whose} | {} |", right.name, right.why);
            assert!(page.contains(&row), "{row}");
        }
    }
}
