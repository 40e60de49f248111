//! A relay between a replica and its source that can swallow what the replica says: the way an ack is
//! lost while the transaction arrived.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

pub struct Proxy {
    pub port: u16,
    swallow: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// Listens on a free port and relays to `target`. Its threads end with their connections.
    pub fn to(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let swallow = Arc::new(AtomicBool::new(false));
        let streams: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let (s, all) = (swallow.clone(), streams.clone());
        std::thread::spawn(move || {
            for replica in listener.incoming() {
                let Ok(replica) = replica else { return };
                let Ok(source) = TcpStream::connect(target) else { continue };
                all.lock().unwrap().extend([replica.try_clone().unwrap(), source.try_clone().unwrap()]);
                pump(source.try_clone().unwrap(), replica.try_clone().unwrap(), Arc::default());
                pump(replica, source, s.clone());
            }
        });
        Proxy { port, swallow, streams }
    }

    /// From now on what the replica says does not arrive.
    pub fn swallow_acks(&self) {
        self.swallow.store(true, Ordering::SeqCst);
    }

    /// Cuts what is connected; new connections pass whole.
    pub fn cut_and_heal(&self) {
        self.swallow.store(false, Ordering::SeqCst);
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, swallow: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        loop {
            match from.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(_) if swallow.load(Ordering::SeqCst) => {}
                Ok(n) => {
                    if to.write_all(&buffer[..n]).is_err() {
                        break;
                    }
                }
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
