//! Which database a lab runs: the one that was asked for, or MySQL, and MariaDB where MySQL cannot be
//! had. The second is said loudly: a report of MariaDB must not be taken for one of MySQL.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::Flavour;
use crate::mysqld::MysqlRoot;
use crate::packages;

/// The database of a lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Its files.
    pub root: MysqlRoot,
    /// Why it is not MySQL though nobody asked for another.
    pub fallback: Option<String>,
}

/// Fetches what is missing of the flavour that was asked for; without a word of that, of MySQL, else of
/// MariaDB.
///
/// # Errors
/// When what was asked for cannot be had, or neither of the two.
pub fn choose(
    asked: Option<Flavour>,
    cache: &Path,
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<Chosen> {
    pick(asked, progress, |flavour, progress| {
        let fetched = match flavour {
            Flavour::Mysql => packages::mysql_root(cache, progress).context("MySQL's packages"),
            Flavour::Mariadb => packages::mariadb_root(cache, progress).context("MariaDB's packages"),
        };
        fetched.map(|folder| root_of(flavour, folder))
    })
}

fn root_of(flavour: Flavour, folder: PathBuf) -> MysqlRoot {
    match flavour {
        Flavour::Mysql => MysqlRoot::at(folder),
        Flavour::Mariadb => MysqlRoot::mariadb(folder),
    }
}

fn pick(
    asked: Option<Flavour>,
    progress: &mut dyn FnMut(&str),
    mut fetch: impl FnMut(Flavour, &mut dyn FnMut(&str)) -> anyhow::Result<MysqlRoot>,
) -> anyhow::Result<Chosen> {
    if let Some(flavour) = asked {
        return Ok(Chosen { root: fetch(flavour, progress)?, fallback: None });
    }
    let error = match fetch(Flavour::Mysql, progress) {
        Ok(root) => return Ok(Chosen { root, fallback: None }),
        Err(error) => error,
    };
    let reason = format!("{error:#}");
    for line in words(&reason) {
        progress(&line);
    }
    let root =
        fetch(Flavour::Mariadb, progress).with_context(|| format!("MySQL cannot be had ({reason})"))?;
    Ok(Chosen { root, fallback: Some(reason) })
}

/// What is said at the start of a lab that fell back.
fn words(reason: &str) -> [String; 4] {
    [
        "**** MySQL CANNOT BE HAD: THIS LAB RUNS MARIADB INSTEAD ****".to_owned(),
        format!("because: {reason}"),
        "what is measured holds for MariaDB: a server with extra transactions waits in quarantine, and an \
         acknowledgement does not outlive the acker's process"
            .to_owned(),
        "`--flavour mysql` fails instead of falling back; `--flavour mariadb` asks for this".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that has some of the two.
    fn on(
        has: &'static [Flavour],
        asked: Option<Flavour>,
    ) -> (anyhow::Result<(Flavour, Option<String>)>, String) {
        let mut said = String::new();
        let chosen = pick(asked, &mut |line| said += &format!("{line}\n"), |flavour, _| {
            anyhow::ensure!(has.contains(&flavour), "no mirror carries {flavour:?}");
            Ok(root_of(flavour, "/r".into()))
        });
        (chosen.map(|c| (c.root.flavour(), c.fallback)), said)
    }

    #[test]
    fn mysql_is_taken_else_mariadb_with_loud_words_and_what_is_asked_for_never_falls_back() {
        use Flavour::{Mariadb, Mysql};
        let both: &[Flavour] = &[Mysql, Mariadb];
        assert_eq!(on(both, None).0.unwrap(), (Mysql, None));
        assert_eq!(on(both, Some(Mariadb)).0.unwrap(), (Mariadb, None));
        let (chosen, said) = on(&[Mariadb], None);
        let (flavour, fallback) = chosen.unwrap();
        assert_eq!((flavour, fallback.as_deref()), (Mariadb, Some("no mirror carries Mysql")));
        assert!(said.contains("RUNS MARIADB INSTEAD") && said.contains("no mirror carries Mysql"), "{said}");
        let (refused, said) = on(&[Mariadb], Some(Mysql));
        assert!(refused.unwrap_err().to_string().contains("no mirror carries Mysql"));
        assert!(said.is_empty(), "{said}");
        let neither = format!("{:#}", on(&[], None).0.unwrap_err());
        assert!(neither.contains("Mysql") && neither.contains("Mariadb"), "{neither}");
    }
}
