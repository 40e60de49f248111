//! Real servers for the tests, alone or as source and replica.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chaos_lab::cli::Flavour;
use chaos_lab::mysqld::{
    ADMIN_USER, APPLICATION_SCHEMA, APPLICATION_USER, InstanceSpec, MysqlRoot, PASSWORD, REPLICATION_USER,
    TlsFiles, command, write_cnf,
};
use chaos_lab::packages;
use chaos_lab::pki::{self, Authority};
use model::{DatabaseReading, GtidSet, ReplicaThread, ServerUuid};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use replication_mysql::{
    Deadline, Endpoint, Outcome, RelayLog, ServerFiles, Session, Source, SourceTls, Switch, ensure_schema,
    point_at_source, read, replica_semi_sync, set_super_read_only, start_replica,
};

/// Longest wait for anything that must happen, on a machine that builds beside it.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// How long something that must not happen is given.
pub const SHORT: Duration = Duration::from_millis(1500);

pub fn patience() -> Deadline {
    Deadline::after(PATIENCE)
}

pub fn short() -> Deadline {
    Deadline::after(SHORT)
}

/// The packages, fetched once a run.
pub fn root() -> &'static MysqlRoot {
    static ROOT: OnceLock<MysqlRoot> = OnceLock::new();
    ROOT.get_or_init(|| {
        let mut say = |line: &str| eprintln!("packages: {line}");
        MysqlRoot::at(packages::mysql_root(&packages::cache_dir(), &mut say).expect("MySQL can be had"))
    })
}

/// The same of MariaDB.
pub fn mariadb_root() -> &'static MysqlRoot {
    static ROOT: OnceLock<MysqlRoot> = OnceLock::new();
    ROOT.get_or_init(|| {
        let mut say = |line: &str| eprintln!("packages: {line}");
        let folder = packages::mariadb_root(&packages::cache_dir(), &mut say).expect("MariaDB can be had");
        MysqlRoot::mariadb(folder)
    })
}

pub struct Server {
    pub root: &'static MysqlRoot,
    pub spec: InstanceSpec,
    pub uuid: ServerUuid,
    child: Option<Child>,
    _folder: tempfile::TempDir,
}

impl Server {
    /// A new server, not started.
    pub fn lay() -> Server {
        Server::lay_of(root())
    }

    pub fn lay_of(root: &'static MysqlRoot) -> Server {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let server_id = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = tempfile::Builder::new().prefix("twofold-mysql-").tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let spec = InstanceSpec {
            name: format!("db-{server_id}"),
            server_id,
            data_dir: at("data"),
            cnf: at("my.cnf"),
            socket: at("s"),
            pid_file: at("pid"),
            error_log: at("error.log"),
            bind_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: free_port(),
            report_host: "127.0.0.1".into(),
            offline: false,
            admin: None,
            tls: None,
        };
        let uuid = root.lay_data(&packages::cache_dir(), &spec.data_dir, server_id).unwrap().parse().unwrap();
        write_cnf(root, &spec).unwrap();
        Server { root, spec, uuid, child: None, _folder: folder }
    }

    /// Proves itself by a certificate for `address` from the next start on, and returns who signed it.
    pub fn certify(&mut self, address: &str) -> String {
        let at = |name: &str| self._folder.path().join(name);
        let authority = Authority::new(&format!("who signs {}", self.spec.name)).unwrap();
        let leaf = authority.sign(vec![address.to_owned()], &self.spec.name).unwrap();
        let files = TlsFiles { ca: at("ca.pem"), certificate: at("cert.pem"), key: at("key.pem") };
        std::fs::write(&files.ca, authority.pem()).unwrap();
        pki::secret(&files.certificate, &leaf.certificate).unwrap();
        pki::secret(&files.key, &leaf.key).unwrap();
        let ca = files.ca.display().to_string();
        self.spec.tls = Some(files);
        write_cnf(self.root, &self.spec).unwrap();
        ca
    }

    /// A new server that answers.
    pub async fn started() -> Server {
        Server::started_of(root()).await
    }

    pub async fn started_of(root: &'static MysqlRoot) -> Server {
        let mut server = Server::lay_of(root);
        server.start().await;
        server
    }

    pub async fn start(&mut self) {
        self.spawn();
        self.admin().await;
    }

    fn spawn(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.spec.name);
        // Killed with this thread, so that a test that is killed leaves no server behind.
        let mut command_line = Command::new("setpriv");
        command_line.args(["--pdeathsig", "KILL", "--"]).args(command(self.root, &self.spec));
        self.child = Some(command_line.stdin(Stdio::null()).spawn().unwrap());
    }

    /// A session of the agent's, as soon as there is one.
    pub async fn admin(&self) -> Session {
        eventually("the server answers", || async { Session::connect(&self.endpoint(), short()).await.ok() })
            .await
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::socket(&self.spec.socket, ADMIN_USER, PASSWORD)
            .with_replication_users(&[REPLICATION_USER])
            .with_flavour(match self.root.flavour() {
                Flavour::Mysql => model::Flavour::Mysql,
                Flavour::Mariadb => model::Flavour::Mariadb,
            })
    }

    pub fn files(&self) -> ServerFiles {
        ServerFiles { pid_file: self.spec.pid_file.clone(), data_dir: self.spec.data_dir.clone() }
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.spec.bind_address, self.spec.port)
    }

    /// An application's connection.
    pub async fn app(&self) -> Conn {
        self.try_app().await.unwrap()
    }

    pub async fn try_app(&self) -> mysql_async::Result<Conn> {
        let opts = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.spec.port)
            .user(Some(APPLICATION_USER))
            .pass(Some(PASSWORD))
            .db_name(Some(APPLICATION_SCHEMA))
            .prefer_socket(false);
        Conn::new(opts).await
    }

    /// A connection of the agent's account for statements the adapter has no act for.
    pub async fn admin_conn(&self) -> Conn {
        let opts = OptsBuilder::default()
            .socket(Some(self.spec.socket.display().to_string()))
            .user(Some(ADMIN_USER))
            .pass(Some(PASSWORD));
        Conn::new(opts).await.unwrap()
    }

    /// A connection with every right.
    pub async fn root_conn(&self) -> Conn {
        let socket = Some(self.spec.socket.display().to_string());
        Conn::new(OptsBuilder::default().socket(socket).user(Some("root"))).await.unwrap()
    }

    pub async fn reading(&self) -> DatabaseReading {
        read(&mut self.admin().await, patience()).await.unwrap()
    }

    pub async fn executed(&self) -> GtidSet {
        self.reading().await.gtid_executed
    }

    /// Takes writes, with the applications' table and the adapter's schema in it.
    pub async fn open(&self) {
        let mut admin = self.admin().await;
        assert_done(set_super_read_only(&mut admin, Switch::Off, patience()).await);
        assert_done(ensure_schema(&mut admin, patience()).await);
        self.app().await.query_drop(TABLE).await.unwrap();
    }

    pub fn source(&self) -> Source {
        self.source_at(self.spec.port)
    }

    pub fn source_at(&self, port: u16) -> Source {
        Source {
            host: "127.0.0.1".into(),
            port,
            user: REPLICATION_USER.into(),
            password: PASSWORD.into(),
            tls: SourceTls::PublicKey,
        }
    }

    /// SIGKILL, as a crash would.
    pub fn crash(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, as a supervisor's stop would, and its end.
    pub async fn stop(&mut self) {
        let child = self.child.as_ref().unwrap();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.ended().await;
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Waits until it ended by itself; its exit code, none for a signal.
    pub async fn ended(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        let status = eventually("the server ends", || {
            let status = child.try_wait().unwrap();
            async move { status }
        })
        .await;
        assert!(status.code().is_some() || status.signal().is_some());
        status.code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.spec.error_log).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(15)..].join("\n");
            eprintln!("--- the log of {} ends:\n{end}", self.spec.name);
        }
    }
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS t (id BIGINT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(64))";

/// A source that takes writes and a replica that follows it.
pub struct Pair {
    pub source: Server,
    pub replica: Server,
}

impl Pair {
    pub async fn up() -> Pair {
        Pair::up_of(root()).await
    }

    pub async fn up_of(root: &'static MysqlRoot) -> Pair {
        let (source, replica) = (Server::started_of(root).await, Server::started_of(root).await);
        let pair = Pair { source, replica };
        pair.source.open().await;
        pair.follow(&pair.source.source()).await;
        pair.caught_up().await;
        pair
    }

    /// The same, with the replica an acker and semi-sync armed.
    pub async fn up_in_sync() -> Pair {
        let pair = Pair::up().await;
        pair.arm().await;
        pair
    }

    pub async fn follow(&self, source: &Source) {
        let mut admin = self.replica.admin().await;
        assert_done(point_at_source(&mut admin, source, RelayLog::MustBeDrained, patience()).await);
        assert_done(start_replica(&mut admin, patience()).await);
    }

    pub async fn arm(&self) {
        let mut admin = self.replica.admin().await;
        assert_done(replica_semi_sync(&mut admin, Switch::On, patience()).await);
        self.attached().await;
        let mut admin = self.source.admin().await;
        assert_done(replication_mysql::arm_source_semi_sync(&mut admin, 1, patience()).await);
    }

    /// Waits until the replica is attached as an acker.
    pub async fn attached(&self) {
        let mut admin = self.source.admin().await;
        eventually_session("the acker attaches", &mut admin, async |s| {
            let now = replication_mysql::semi_sync_reading(s, patience()).await.unwrap();
            (now.clients == 1).then_some(())
        })
        .await;
    }

    /// Waits until the replica runs and has executed all that the source has.
    pub async fn caught_up(&self) {
        let wanted = self.source.executed().await;
        let mut admin = self.replica.admin().await;
        eventually_session("the replica catches up", &mut admin, async |s| {
            let now = read(s, patience()).await.unwrap();
            let runs = now.replica.as_ref().is_some_and(|r| r.io == ReplicaThread::Running);
            (runs && now.gtid_executed.contains(&wanted)).then_some(())
        })
        .await;
    }
}

pub fn assert_done<T>(outcome: Outcome<T>) -> T {
    let text = outcome.to_string();
    outcome.done().unwrap_or_else(|| panic!("not done, but {text}"))
}

/// Asks until there is an answer. Between two tries it lets the server work.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = patience();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(!deadline.left().is_zero(), "in {PATIENCE:?} it was never so that {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn eventually_session<T>(
    what: &str,
    session: &mut Session,
    mut ask: impl AsyncFnMut(&mut Session) -> Option<T>,
) -> T {
    let deadline = patience();
    loop {
        if let Some(answer) = ask(session).await {
            return answer;
        }
        assert!(!deadline.left().is_zero(), "in {PATIENCE:?} it was never so that {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Inserts a row and returns once its commit did.
pub async fn insert(conn: &mut Conn, value: &str) -> mysql_async::Result<()> {
    conn.exec_drop("INSERT INTO t (v) VALUES (?)", (value,)).await
}

pub async fn count(conn: &mut Conn, value: &str) -> u64 {
    conn.exec_first("SELECT COUNT(*) FROM t WHERE v = ?", (value,)).await.unwrap().unwrap()
}
