//! NSD, Knot and BIND on the loopback, from Debian's packages, and our own responder beside them.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chaos_lab::packages::{bookworm_command, cache_dir, name_servers_root};
use gslb_core::{Freshness, Name, Snapshot, SnapshotSpec};
use gslb_dns::{Published, TcpLimits, TcpServer, UdpServer};
use model::Generation;

/// Reading a hundred small zones takes them a second or two.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// An answer on the loopback; a loaded machine is slow.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// One name server that can be asked.
pub struct Server {
    pub name: &'static str,
    socket: UdpSocket,
    address: SocketAddr,
    child: Option<Child>,
}

impl Server {
    fn new(name: &'static str, address: SocketAddr, child: Option<Child>) -> Server {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(address).unwrap();
        socket.set_read_timeout(Some(ANSWER_WITHIN)).unwrap();
        Server { name, socket, address, child }
    }

    /// Its answer by UDP, or by TCP where that was truncated.
    pub fn ask(&self, query: &[u8]) -> Vec<u8> {
        let mut buffer = [0; 4_096];
        self.socket.send(query).unwrap();
        loop {
            let length =
                self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{}: {error}", self.name));
            // Of an earlier question that was asked twice.
            if buffer[..2] != query[..2] {
                continue;
            }
            let truncated = buffer[2] & 0x02 != 0;
            return if truncated { self.ask_by_tcp(query) } else { buffer[..length].to_vec() };
        }
    }

    fn ask_by_tcp(&self, query: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(ANSWER_WITHIN)).unwrap();
        let mut framed = u16::try_from(query.len()).unwrap().to_be_bytes().to_vec();
        framed.extend_from_slice(query);
        stream.write_all(&framed).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).unwrap();
        answer
    }

    /// Waits until it answers `query` without an error.
    fn ready(mut self, query: &[u8], log: &Path) -> Server {
        let began = Instant::now();
        self.socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut buffer = [0; 4_096];
        loop {
            // Refused while nobody listens yet.
            let answered = self.socket.send(query).and_then(|_| self.socket.recv(&mut buffer));
            if answered.is_ok_and(|length| length > 12 && buffer[3] & 0x0f == 0) {
                break;
            }
            let ended = self.child.as_mut().and_then(|c| c.try_wait().unwrap());
            let said = || fs::read_to_string(log).unwrap_or_default();
            assert!(ended.is_none(), "{} ended: {}", self.name, said());
            assert!(began.elapsed() < READY_WITHIN, "{} does not answer: {}", self.name, said());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.socket.set_read_timeout(Some(ANSWER_WITHIN)).unwrap();
        self
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // NSD's children end with it.
            let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            let _ = child.wait();
        }
    }
}

/// A port of the loopback that is free for UDP and TCP.
fn free_port() -> u16 {
    for _ in 0..100 {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address.port();
        }
    }
    panic!("no port is free for both UDP and TCP");
}

/// NSD, Knot and BIND with `zones`, each a name and the file of it in `dir`.
pub fn others(dir: &Path, zones: &[(String, String)], first: &[u8]) -> Vec<Server> {
    let root = name_servers_root(&cache_dir(), &mut |line| eprintln!("{line}")).unwrap();
    let start = |name: &'static str, program: &str, config: &str, arguments: &[&str], port: u16| {
        let home = dir.join(name);
        fs::create_dir_all(&home).unwrap();
        let file = home.join("conf");
        fs::write(&file, config.replace("HOME", &home.display().to_string())).unwrap();
        let log = home.join("log");
        let output = fs::File::create(&log).unwrap();
        let argv = bookworm_command(&root, program);
        let child = Command::new(&argv[0])
            .args(&argv[1..])
            .args(arguments)
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Server::new(name, SocketAddr::from(([127, 0, 0, 1], port)), Some(child)).ready(first, &log)
    };
    let path = |file: &str| dir.join(file).display().to_string();
    let port = free_port();
    let mut nsd = format!(
        "server:\n ip-address: 127.0.0.1@{port}\n username: \"\"\n zonesdir: HOME\n chroot: \"\"\n database: \"\"\n pidfile: HOME/pid\n \
         xfrdfile: HOME/xfrd\n zonelistfile: HOME/zones\n xfrdir: HOME\n server-count: 1\n minimal-responses: yes\n \
         rrl-ratelimit: 0\nremote-control:\n control-enable: no\n"
    );
    for (zone, file) in zones {
        nsd += &format!("zone:\n name: {zone}\n zonefile: {}\n", path(file));
    }
    let nsd = start("nsd", "usr/sbin/nsd", &nsd, &["-d"], port);
    let port = free_port();
    let mut knot = format!(
        "server:\n    rundir: HOME\n    listen: 127.0.0.1@{port}\n    udp-workers: 1\n    tcp-workers: 1\n    \
         background-workers: 1\ndatabase:\n    storage: HOME\nlog:\n  - target: stderr\n    any: warning\ntemplate:\n  \
         - id: default\n    zonefile-sync: -1\n    semantic-checks: off\n    journal-content: none\nzone:\n"
    );
    for (zone, file) in zones {
        knot += &format!("  - domain: {zone}\n    file: {}\n", path(file));
    }
    let knot = start("knot", "usr/sbin/knotd", &knot, &[], port);
    let port = free_port();
    let mut bind = format!(
        "options {{ directory \"HOME\"; pid-file \"HOME/pid\"; session-keyfile \"HOME/session\"; managed-keys-directory \
         \"HOME\"; lock-file none; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; \
         minimal-responses yes; check-names primary ignore; check-integrity no; check-wildcard no; check-mx ignore; \
         check-mx-cname ignore; check-srv-cname ignore; check-dup-records ignore; check-sibling no; notify no; \
         dnssec-validation no; empty-zones-enable no; max-records-per-type 0; max-types-per-name 0; }};\ncontrols {{ }};\n"
    );
    for (zone, file) in zones {
        bind += &format!("zone \"{zone}\" {{ type primary; file \"{}\"; }};\n", path(file));
    }
    let bind = start("bind", "usr/sbin/named", &bind, &["-g", "-n", "1"], port);
    vec![nsd, knot, bind]
}

/// Our responder with the same files.
pub struct Ours {
    pub server: Server,
    _udp: UdpServer,
    _tcp: TcpServer,
    _runtime: tokio::runtime::Runtime,
}

/// Reads them as `twofold dns serve` does.
pub fn ours(dir: &Path, zones: &[(String, String)]) -> Ours {
    let read = |(zone, file): &(String, String)| {
        let origin: Name = zone.parse().unwrap();
        let text = fs::read(dir.join(file)).unwrap();
        let read =
            gslb_master::read(Path::new(file), &text, &origin, &mut |_| Err("nothing is included".into()));
        assert!(read.faults.is_empty(), "{file}: {:?}", read.faults);
        gslb_master::zone(&origin, &read.records).unwrap_or_else(|faults| panic!("{file}: {faults:?}")).0
    };
    let spec = SnapshotSpec {
        generation: Generation(1),
        freshness: Freshness::Fresh,
        zones: zones.iter().map(read).collect(),
        pools: Default::default(),
        names: Vec::new(),
        verdicts: Default::default(),
    };
    let (snapshot, _) = Snapshot::build_tolerant(spec).unwrap_or_else(|problems| panic!("{problems:?}"));
    let published = Published::new(snapshot);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let udp = UdpServer::start(&[address], 1, &published).unwrap();
    let tcp =
        runtime.block_on(async { TcpServer::start(&[address], TcpLimits::default(), &published).unwrap() });
    Ours { server: Server::new("twofold", address, None), _udp: udp, _tcp: tcp, _runtime: runtime }
}
