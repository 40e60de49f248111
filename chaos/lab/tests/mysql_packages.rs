//! The package cache: what was fetched once is used again without the network.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::Command;

use chaos_lab::mysqld::MysqlRoot;
use chaos_lab::packages::{cache_dir, mysql_root, pins};

/// Goal: a run that was interrupted while unpacking is repeated from the kept packages alone.
/// Method: a cache of its own that holds the packages, a half-unpacked folder, and nothing else; if it
/// asked apt for anything the progress lines would tell.
#[test]
fn a_run_that_was_interrupted_is_repeated_from_the_kept_packages() {
    let mut said = Vec::new();
    mysql_root(&cache_dir(), &mut |line| said.push(line.to_owned())).unwrap();
    let pinned = pins(&cache_dir()).unwrap();
    assert!(pinned.iter().any(|pin| pin.starts_with("mysql-server-core=")), "{pinned:?}");

    let own = tempfile::tempdir().unwrap();
    let home = own.path().join("mysql");
    fs::create_dir_all(home.join("root.part/usr/sbin")).unwrap();
    fs::create_dir_all(home.join("fetching/state")).unwrap();
    std::os::unix::fs::symlink(cache_dir().join("mysql/packages"), home.join("packages")).unwrap();
    let mut said = Vec::new();
    let root = mysql_root(own.path(), &mut |line| said.push(line.to_owned())).unwrap();
    assert_eq!(said.len(), 1, "only unpacking: {said:?}");
    assert!(!home.join("root.part").exists());

    let argv = MysqlRoot::at(&root).mysqld();
    let output = Command::new(&argv[0]).args(&argv[1..]).arg("--version").output().unwrap();
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(version.contains("Ver 9."), "{version}");

    let mut said = Vec::new();
    assert_eq!(mysql_root(own.path(), &mut |line| said.push(line.to_owned())).unwrap(), root);
    assert!(said.is_empty(), "{said:?}");
}
