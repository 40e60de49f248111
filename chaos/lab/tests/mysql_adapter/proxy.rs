//! A relay between a replica and its source that can swallow what the replica says, the way an ack is
//! lost while the transaction arrived; or stand still in the middle of what the source says.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

pub struct Proxy {
    pub port: u16,
    swallow: Arc<AtomicBool>,
    /// Bytes of the source that still pass.
    left: Arc<AtomicI64>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// Listens on a free port and relays to `target`. Its threads end with their connections.
    pub fn to(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let swallow = Arc::new(AtomicBool::new(false));
        let streams: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let left = Arc::new(AtomicI64::new(i64::MAX));
        let (s, all, passes) = (swallow.clone(), streams.clone(), left.clone());
        std::thread::spawn(move || {
            for replica in listener.incoming() {
                let Ok(replica) = replica else { return };
                let Ok(source) = TcpStream::connect(target) else { continue };
                all.lock().unwrap().extend([replica.try_clone().unwrap(), source.try_clone().unwrap()]);
                let (from, to) = (source.try_clone().unwrap(), replica.try_clone().unwrap());
                pump(from, to, Arc::default(), passes.clone());
                pump(replica, source, s.clone(), Arc::new(AtomicI64::new(i64::MAX)));
            }
        });
        Proxy { port, swallow, left, streams }
    }

    /// So many bytes of the source pass from now on, and then none until it is cut.
    pub fn stand_still_after(&self, bytes: i64) {
        self.left.store(bytes, Ordering::SeqCst);
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

fn pump(mut from: TcpStream, mut to: TcpStream, swallow: Arc<AtomicBool>, left: Arc<AtomicI64>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        loop {
            match from.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(_) if swallow.load(Ordering::SeqCst) => {}
                Ok(n) => {
                    let before = left.fetch_sub(i64::try_from(n).unwrap(), Ordering::SeqCst);
                    let passes = n.min(usize::try_from(before.max(0)).unwrap());
                    if to.write_all(&buffer[..passes]).is_err() {
                        break;
                    }
                    if passes < n {
                        // Still, and not ended: whoever waits for the rest goes on waiting.
                        loop {
                            std::thread::park();
                        }
                    }
                }
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
