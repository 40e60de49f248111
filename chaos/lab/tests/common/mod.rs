//! A lab of the test's own: a temporary directory (and so an id) of its own, removed on drop, also
//! when the test fails.

#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chaos_lab::cli::Flavour;
use chaos_lab::layout::{Host, Lab};
use chaos_lab::spec::{LabSpec, Maker, ProcessSpec};
use chaos_lab::{enter, lifecycle};

/// Far more than anything here takes on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// So long a datagram is waited for where it must not come, or may be lost.
pub const SHORT: Duration = Duration::from_millis(300);

pub struct TestLab {
    pub lab: Lab,
    pub spec: LabSpec,
    lock: Option<lifecycle::LabLock>,
    _dir: tempfile::TempDir,
}

impl TestLab {
    pub fn up(processes: Vec<ProcessSpec>) -> TestLab {
        TestLab::prepared(|_, _| processes)
    }

    /// A lab whose processes need files in its directory: `prepare` makes them.
    pub fn prepared(prepare: impl FnOnce(&Lab, &Path) -> Vec<ProcessSpec>) -> TestLab {
        let dir = tempfile::tempdir().unwrap();
        let lab = Lab::at(&dir.path().join("lab"));
        let program = PathBuf::from(env!("CARGO_BIN_EXE_chaos-lab"));
        let spec = LabSpec {
            twofold: program.clone(),
            program,
            flavour: Flavour::Mysql,
            fallback: None,
            shape: Default::default(),
            servers: 1,
            maker: Maker::Up,
            equipment: Default::default(),
            processes: vec![],
        };
        let lock = lifecycle::lock(&lab).expect("lab tests run as root");
        let mut up = TestLab { lab, spec, lock: Some(lock), _dir: dir };
        lifecycle::make_directory(&up.lab, &up.spec).unwrap();
        up.spec.processes = prepare(&up.lab, &up.spec.program);
        lifecycle::start(&up.lab, &up.spec, up.lock.as_ref().unwrap()).unwrap();
        up
    }

    /// Lets go of the lab's lock, so that other processes may change it; still removed on drop.
    pub fn release(mut self) -> TestLab {
        drop(self.lock.take());
        self
    }

    pub fn down(&self) {
        lifecycle::tear_down(&self.lab, self.lock.as_ref().unwrap()).unwrap();
    }

    /// Runs `act` in a thread inside a host's namespace.
    pub fn inside<T: Send + 'static>(
        &self,
        host: &str,
        act: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        let netns = self.lab.netns_file(&Host::named(host).unwrap());
        std::thread::spawn(move || {
            enter::join_netns(&netns).unwrap();
            act()
        })
    }

    /// A socket that was made inside a host's namespace and stays there.
    pub fn udp(&self, host: &str) -> UdpSocket {
        let socket =
            self.inside(host, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 7777)).unwrap()).join().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    pub fn listen(&self, host: &str, port: u16) -> TcpListener {
        self.inside(host, move || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap()).join().unwrap()
    }

    pub fn connect(&self, from: &str, to: SocketAddr) -> TcpStream {
        let stream =
            self.inside(from, move || TcpStream::connect_timeout(&to, PATIENCE).unwrap()).join().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        let lock = self.lock.take().map_or_else(|| lifecycle::lock(&self.lab), Ok);
        if let Ok(lock) = lock {
            let removed = lifecycle::tear_down(&self.lab, &lock);
            drop(lock);
            if let Err(e) = removed {
                eprintln!("test lab was not removed: {e}");
            }
        }
    }
}

pub fn address(host: &str, port: u16) -> SocketAddr {
    SocketAddr::from((Host::named(host).unwrap().address(), port))
}

/// Waits until `what` holds, looking again and again; panics after [`PATIENCE`].
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "it never came about that {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends one byte and says whether it arrived.
pub fn reaches(from: &UdpSocket, to: &UdpSocket, to_host: &str, byte: u8) -> bool {
    to.set_read_timeout(Some(SHORT)).unwrap();
    from.send_to(&[byte], address(to_host, 7777)).unwrap();
    let mut got = [0u8; 1];
    // What an earlier, slower datagram left behind is not ours.
    while let Ok((1, _)) = to.recv_from(&mut got) {
        if got[0] == byte {
            return true;
        }
    }
    false
}

pub fn process(host: &str, name: &str, command: &[&str]) -> ProcessSpec {
    ProcessSpec {
        host: host.to_owned(),
        name: name.to_owned(),
        command: command.iter().map(|s| (*s).to_owned()).collect(),
        environment: Default::default(),
        restart_after_ms: 100,
    }
}

pub fn echo_one(listener: TcpListener) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut byte = [0u8; 1];
        while let Ok(1) = stream.read(&mut byte) {
            if stream.write_all(&byte).is_err() {
                return;
            }
        }
    })
}
