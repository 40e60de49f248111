//! A real MySQL 9.x, or MariaDB 10.11, HAProxy, promtool and three name servers on a machine that carries none: Debian's
//! packages unpacked into a folder of their own, run through the folder's own loader, beside the system and never into it.
//! MySQL is in sid only; MariaDB 10.11, HAProxy 2.6, Prometheus 2.42, NSD 4.6, Knot 3.2 and BIND 9.18 are in bookworm.
//!
//! apt resolves the whole closure against an empty package status, with its own state, cache and
//! source list, so neither the machine's packages nor its lists are touched. The suite's Release file is
//! verified with Debian's archive keyring. Suites move, so what was resolved is pinned: the packages and
//! a pin file stay in the cache, and later runs need no network.
//!
//! Invariants: a folder in the cache is complete when it has its final name (written beside it and
//! renamed); one run at a time works in the cache (a lock).
//!
//! Deliberately absent: a choice. `flavour.rs` says which of the two, and what when one cannot be had.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What is fetched for one flavour.
struct Wanted {
    /// Its name, and its folder in the cache.
    name: &'static str,
    /// The suite that carries it.
    suite: &'static str,
    /// What is installed; everything else follows from it.
    packages: &'static [&'static str],
    /// What must be among the files.
    server: &'static str,
    /// What must be there too, and is not in a folder that an older twofold filled.
    also: &'static [&'static str],
    /// How much is fetched, for people.
    size: &'static str,
}

const MYSQL: Wanted = Wanted {
    name: "mysql",
    suite: "sid",
    packages: &["mysql-server-core", "mysql-client-core"],
    server: "usr/sbin/mysqld",
    also: &[],
    size: "66 MB",
};

const MARIADB: Wanted = Wanted {
    name: "mariadb",
    suite: "bookworm",
    packages: &["mariadb-server-core", "mariadb-client-core", "mariadb-backup"],
    server: "usr/sbin/mariadbd",
    also: &["usr/bin/mariadb-backup", "usr/bin/mbstream"],
    size: "25 MB",
};

const HAPROXY: Wanted = Wanted {
    name: "haproxy",
    suite: "bookworm",
    packages: &["haproxy"],
    server: "usr/sbin/haproxy",
    also: &[],
    size: "24 MB",
};

const PROMETHEUS: Wanted = Wanted {
    name: "prometheus",
    suite: "bookworm",
    packages: &["prometheus"],
    server: "usr/bin/promtool",
    also: &[],
    size: "30 MB",
};

const FAKETIME: Wanted = Wanted {
    name: "faketime",
    suite: "bookworm",
    packages: &["libfaketime"],
    server: if cfg!(target_arch = "aarch64") {
        "usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"
    } else {
        "usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
    },
    also: &[],
    size: "8 MB",
};

const NAME_SERVERS: Wanted = Wanted {
    name: "name-servers",
    suite: "bookworm",
    packages: &["nsd", "knot", "bind9"],
    server: "usr/sbin/nsd",
    also: &["usr/sbin/knotd", "usr/sbin/named"],
    size: "40 MB",
};

/// Verifies the suite's Release file. From the package `debian-archive-keyring`.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Names the mirror when the machine's own apt sources have none.
const MIRROR_VARIABLE: &str = "TWOFOLD_DEBIAN_MIRROR";
/// How long to wait for another run that works in the cache. Fetching 66 MB and unpacking takes 15 s
/// on a fast network; on one a hundred times slower it still fits.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(30 * 60);
/// Between two tries to get the lock.
const LOCK_RETRY: Duration = Duration::from_millis(200);
/// Parts of the packages that nothing here reads; they are a quarter of the size.
const UNWANTED: [&str; 4] = ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/perl"];

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A file or folder of the cache.
    #[error("{doing} {path:?}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another run has the cache.
    #[error("the package cache {path:?} is in use since {waited:?}; end the other run, then try again")]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long this run waited.
        waited: Duration,
    },
    /// The machine's apt has no Debian mirror.
    #[error("no Debian mirror in this machine's apt sources; set {MIRROR_VARIABLE} to one's address")]
    NoMirror,
    /// No keyring to verify with.
    #[error("{KEYRING} is missing; install the package debian-archive-keyring")]
    NoKeyring,
    /// A command that could not be run.
    #[error("run {program:?}; it comes with Debian's apt and dpkg")]
    Run {
        /// Its name.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A command that failed.
    #[error("{doing}: {program} ended with {status}: {message}; {hint}")]
    Command {
        /// What was being done.
        doing: &'static str,
        /// Its name.
        program: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// The end of what it said.
        message: String,
        /// The next act.
        hint: &'static str,
    },
    /// The packages were unpacked and the server is not among them.
    #[error("{path:?} is not in the unpacked packages; remove the cache folder and try again")]
    Incomplete {
        /// What is missing.
        path: PathBuf,
    },
}

/// Where packages and templates are kept: `$XDG_CACHE_HOME/twofold`, else `/var/cache/twofold`.
#[must_use]
pub fn cache_dir() -> PathBuf {
    match std::env::var_os("XDG_CACHE_HOME").filter(|v| Path::new(v).is_absolute()) {
        Some(home) => Path::new(&home).join("twofold"),
        None => PathBuf::from("/var/cache/twofold"),
    }
}

/// Returns the folder that holds MySQL's files as below `/`, fetching and unpacking what is missing.
///
/// Blocking: seconds when it has to fetch, milliseconds when the cache is full. `progress` is told
/// each step in a line for people.
pub fn mysql_root(cache: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, PackageError> {
    root_of(&MYSQL, cache, progress)
}

/// The same for MariaDB.
pub fn mariadb_root(cache: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, PackageError> {
    root_of(&MARIADB, cache, progress)
}

/// The same for HAProxy: installed into the system it would be started there, which the lab never wants.
pub fn haproxy_root(cache: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, PackageError> {
    root_of(&HAPROXY, cache, progress)
}

/// Prometheus' own tool, which checks rules and queries: the words that run it.
pub fn promtool(cache: &Path, progress: &mut dyn FnMut(&str)) -> Result<Vec<String>, PackageError> {
    let root = root_of(&PROMETHEUS, cache, progress)?;
    Ok(bookworm_command(&root, PROMETHEUS.server))
}

/// The library that gives a process another wall clock (libfaketime).
pub fn faketime(cache: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, PackageError> {
    Ok(root_of(&FAKETIME, cache, progress)?.join(FAKETIME.server))
}

/// NSD, Knot and BIND: the folder that holds their files as below `/`.
pub fn name_servers_root(cache: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, PackageError> {
    root_of(&NAME_SERVERS, cache, progress)
}

/// The words that run a program of a root of bookworm.
pub fn bookworm_command(root: &Path, program: &str) -> Vec<String> {
    let text = |p: &Path| p.display().to_string();
    let (loader, libraries) = bookworm_loader(root);
    let program = text(&root.join(program));
    let own = |word: &str| word.to_owned();
    vec![text(&root.join(loader)), own("--argv0"), program.clone(), own("--library-path"), libraries, program]
}

/// The own loader of a root of bookworm, and where it finds libraries. Its packages lie below both `/lib` and
/// `/usr/lib`, and the links at `/lib64` lead out of the folder.
pub(crate) fn bookworm_loader(root: &Path) -> (&'static str, String) {
    let (loader, triplet) = if cfg!(target_arch = "aarch64") {
        ("lib/aarch64-linux-gnu/ld-linux-aarch64.so.1", "aarch64-linux-gnu")
    } else {
        ("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "x86_64-linux-gnu")
    };
    let at = |below: &str| root.join(below).join(triplet).display().to_string();
    (loader, format!("{}:{}", at("lib"), at("usr/lib")))
}

fn root_of(wanted: &Wanted, cache: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, PackageError> {
    let home = cache.join(wanted.name);
    let root = home.join("root");
    // Complete by its name: no lock is needed to use it.
    if root.is_dir() && !outgrown(wanted, &root) {
        return checked(wanted, root);
    }
    let _lock = lock(&home, progress)?;
    let debs = home.join("packages");
    if outgrown(wanted, &root) {
        progress(&format!("the {} in the cache lacks what is needed by now", wanted.name));
        remove(&debs)?;
        remove(&root)?;
    }
    if root.is_dir() {
        return checked(wanted, root);
    }
    if !debs.is_dir() {
        fetch(wanted, &home, &debs, progress)?;
    }
    unpack(&home, &debs, &root, progress)?;
    checked(wanted, root)
}

/// The `name=version` lines of the MySQL that is unpacked.
pub fn pins(cache: &Path) -> Result<Vec<String>, PackageError> {
    let path = cache.join("mysql/packages").join(PIN_FILE);
    let text = fs::read_to_string(&path).map_err(|e| file("read", &path, e))?;
    Ok(text.lines().map(str::to_owned).collect())
}

const PIN_FILE: &str = "pins.txt";

fn checked(wanted: &Wanted, root: PathBuf) -> Result<PathBuf, PackageError> {
    let missing = missing(wanted, &root).map(|path| PackageError::Incomplete { path });
    missing.map_or(Ok(root), Err)
}

fn missing(wanted: &Wanted, root: &Path) -> Option<PathBuf> {
    let all = std::iter::once(&wanted.server).chain(wanted.also);
    all.map(|file| root.join(file)).find(|path| !path.is_file())
}

/// A whole folder of the time when less was fetched.
fn outgrown(wanted: &Wanted, root: &Path) -> bool {
    root.join(wanted.server).is_file() && missing(wanted, root).is_some()
}

/// Holds the cache until the file is dropped; the kernel lets go of it when the process dies.
fn lock(home: &Path, progress: &mut dyn FnMut(&str)) -> Result<File, PackageError> {
    fs::create_dir_all(home).map_err(|e| file("create", home, e))?;
    let path = home.join("lock");
    let handle = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| file("open", &path, e))?;
    let began = Instant::now();
    let mut told = false;
    loop {
        match handle.try_lock() {
            Ok(()) => return Ok(handle),
            Err(fs::TryLockError::Error(e)) => return Err(file("lock", &path, e)),
            Err(fs::TryLockError::WouldBlock) if began.elapsed() >= LOCK_WAIT_MAX => {
                return Err(PackageError::Locked { path, waited: began.elapsed() });
            }
            Err(fs::TryLockError::WouldBlock) => {
                if !std::mem::replace(&mut told, true) {
                    progress("waiting for another run that fetches the packages");
                }
                std::thread::sleep(LOCK_RETRY);
            }
        }
    }
}

/// Resolves and downloads the closure into `debs`, with its pins.
fn fetch(
    wanted: &Wanted,
    home: &Path,
    debs: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<(), PackageError> {
    if !Path::new(KEYRING).is_file() {
        return Err(PackageError::NoKeyring);
    }
    let Wanted { suite, packages, size, .. } = wanted;
    let apt = Apt::lay(home, &mirror()?, suite)?;
    progress(&format!("reading the package lists of Debian {suite}"));
    apt.get("read the package lists", &["update"])?;
    progress(&format!("fetching {} and all they need (about {size})", packages.join(", ")));
    let mut arguments = vec!["--download-only", "--no-install-recommends", "install"];
    arguments.extend(*packages);
    apt.get("fetch the packages", &arguments)?;
    let archives = apt.folder.join("cache/archives");
    let pins = pin(&archives)?;
    fs::write(archives.join(PIN_FILE), pins.join("\n") + "\n").map_err(|e| file("write", &archives, e))?;
    for leftover in ["lock", "partial"] {
        remove(&archives.join(leftover))?;
    }
    fs::rename(&archives, debs).map_err(|e| file("rename", &archives, e))?;
    remove(&apt.folder)?;
    progress(&format!("pinned {} packages", pins.len()));
    Ok(())
}

/// apt with folders of its own and no package installed.
struct Apt {
    folder: PathBuf,
    options: Vec<String>,
}

impl Apt {
    fn lay(home: &Path, mirror: &str, suite: &str) -> Result<Apt, PackageError> {
        let folder = home.join("fetching");
        // What an interrupted run left is of no use: its lists are older than ours.
        remove(&folder)?;
        for below in ["state/lists/partial", "cache/archives/partial"] {
            let path = folder.join(below);
            fs::create_dir_all(&path).map_err(|e| file("create", &path, e))?;
        }
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|e| file("write", &path, e))
        };
        write("status", "")?;
        write("sources.list", &format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n"))?;
        let at = |name: &str| folder.join(name).display().to_string();
        let options = [
            format!("Dir::State={}", at("state")),
            format!("Dir::State::status={}", at("status")),
            format!("Dir::Cache={}", at("cache")),
            format!("Dir::Etc::SourceList={}", at("sources.list")),
            "Dir::Etc::SourceParts=-".to_owned(),
            "Dir::Etc::Preferences=/dev/null".to_owned(),
            "Dir::Etc::PreferencesParts=/dev/null".to_owned(),
            // The folder is this run's own; a helper account could not write there.
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            "Acquire::Retries=3".to_owned(),
            "Acquire::http::Timeout=30".to_owned(),
            "DPkg::Lock::Timeout=60".to_owned(),
        ]
        .into_iter()
        .flat_map(|option| ["-o".to_owned(), option])
        .collect();
        Ok(Apt { folder, options })
    }

    fn get(&self, doing: &'static str, arguments: &[&str]) -> Result<(), PackageError> {
        let mut command = Command::new("apt-get");
        command.args(&self.options).args(["-q", "-y"]).args(arguments);
        command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
        run(doing, command, "check the network and the machine's apt sources").map(drop)
    }
}

/// The mirror this machine itself uses for Debian.
fn mirror() -> Result<String, PackageError> {
    if let Ok(given) = std::env::var(MIRROR_VARIABLE)
        && !given.is_empty()
    {
        return Ok(given);
    }
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]);
    let output = run("read the machine's apt sources", command, "repair them")?;
    choose_mirror(&String::from_utf8_lossy(&output.stdout)).ok_or(PackageError::NoMirror)
}

/// The first archive whose path is `…/debian`: security and third-party archives have no sid.
fn choose_mirror(targets: &str) -> Option<String> {
    targets
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let (uri, _release, component) = (fields.next()?, fields.next()?, fields.next()?);
            (component == "main").then(|| uri.trim_end_matches('/'))
        })
        .find(|uri| uri.ends_with("/debian"))
        .map(str::to_owned)
}

/// `name=version` of each package in the folder, sorted.
fn pin(archives: &Path) -> Result<Vec<String>, PackageError> {
    let mut pins = Vec::new();
    for deb in debs_in(archives)? {
        let mut command = Command::new("dpkg-deb");
        command.args(["--show", "--showformat=${Package}=${Version}"]).arg(&deb);
        let output = run("read a package", command, DAMAGED)?;
        pins.push(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    pins.sort();
    Ok(pins)
}

const DAMAGED: &str = "remove the cache folder and try again";

fn debs_in(folder: &Path) -> Result<Vec<PathBuf>, PackageError> {
    let entries = fs::read_dir(folder).map_err(|e| file("read", folder, e))?;
    let mut debs: Vec<_> =
        entries.flatten().map(|e| e.path()).filter(|p| p.extension() == Some(OsStr::new("deb"))).collect();
    debs.sort();
    Ok(debs)
}

fn unpack(home: &Path, debs: &Path, root: &Path, progress: &mut dyn FnMut(&str)) -> Result<(), PackageError> {
    let part = home.join("root.part");
    remove(&part)?;
    fs::create_dir_all(&part).map_err(|e| file("create", &part, e))?;
    let debs = debs_in(debs)?;
    progress(&format!("unpacking {} packages", debs.len()));
    for deb in &debs {
        let mut command = Command::new("dpkg-deb");
        command.arg("--extract").arg(deb).arg(&part);
        run("unpack a package", command, DAMAGED)?;
    }
    for unwanted in UNWANTED {
        remove(&part.join(unwanted))?;
    }
    fs::rename(&part, root).map_err(|e| file("rename", &part, e))
}

/// Bytes of a failed command's last words that are told.
const MESSAGE_BYTES_MAX: usize = 1500;

fn run(doing: &'static str, mut command: Command, hint: &'static str) -> Result<Output, PackageError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| PackageError::Run { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let start = said.char_indices().map(|(i, _)| i).find(|i| said.len() - i <= MESSAGE_BYTES_MAX);
    let message = said[start.unwrap_or(0)..].to_owned();
    Err(PackageError::Command { doing, program, status: output.status, message, hint })
}

fn remove(path: &Path) -> Result<(), PackageError> {
    let gone = match fs::symlink_metadata(path) {
        Ok(m) if m.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match gone {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(file("remove", path, e)),
        _ => Ok(()),
    }
}

fn file(doing: &'static str, path: &Path, source: io::Error) -> PackageError {
    PackageError::File { doing, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_machines_own_debian_archive() {
        let targets = "http://a.example/debian-security/ bookworm-security main\n\
            https://b.example/tool/ stable main\n\
            http://a.example/mirror/debian/ bookworm contrib\n\
            http://a.example/mirror/debian/ bookworm main\n";
        assert_eq!(choose_mirror(targets).as_deref(), Some("http://a.example/mirror/debian"));
        assert_eq!(choose_mirror("http://a.example/ubuntu/ noble main\n"), None);
    }

    #[test]
    fn two_runs_do_not_work_in_one_cache() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path(), &mut |_| {}).unwrap();
        let home = dir.path().to_owned();
        let (tell, told) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || lock(&home, &mut |line| tell.send(line.to_owned()).unwrap()));
        assert!(told.recv_timeout(Duration::from_secs(20)).unwrap().contains("waiting"));
        drop(held);
        other.join().unwrap().unwrap();
    }

    #[test]
    fn a_folder_without_a_server_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("mysql/root")).unwrap();
        let error = mysql_root(dir.path(), &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("usr/sbin/mysqld"), "{error}");
    }
}
