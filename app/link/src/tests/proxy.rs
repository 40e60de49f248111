//! A TCP proxy that can lose what passes through it in either direction, or hold it, without either
//! end being told: what a cut WAN does.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Bytes go through.
    Through,
    /// Bytes are taken and lost, and so is the end of the stream.
    Swallow,
    /// Bytes are not taken, so that they pile up at the sender.
    Hold,
}

#[derive(Debug, Clone, Copy)]
struct Setting {
    target: Option<SocketAddr>,
    out: Pass,
    back: Pass,
}

pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    setting: Arc<watch::Sender<Setting>>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let setting =
            Arc::new(watch::Sender::new(Setting { target: None, out: Pass::Through, back: Pass::Through }));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, setting.clone()));
        Self { address, setting, _tasks: tasks }
    }

    pub(super) fn lead_to(&self, target: SocketAddr) {
        self.setting.send_modify(|s| s.target = Some(target));
    }

    /// What becomes of bytes from the dialer, and of bytes to it.
    pub(super) fn set(&self, out: Pass, back: Pass) {
        self.setting.send_modify(|s| (s.out, s.back) = (out, back));
    }
}

async fn serve(listener: TcpListener, setting: Arc<watch::Sender<Setting>>) {
    let mut connections = JoinSet::new();
    loop {
        let (near, _) = listener.accept().await.unwrap();
        let Some(target) = setting.borrow().target else { continue };
        let watch = setting.subscribe();
        connections.spawn(async move {
            // A peer that is down refuses; the dialer sees its connection closed.
            let Ok(far) = TcpStream::connect(target).await else { return };
            let (near_in, near_out) = near.into_split();
            let (far_in, far_out) = far.into_split();
            tokio::join!(
                pump(near_in, far_out, watch.clone(), |s| s.out),
                pump(far_in, near_out, watch, |s| s.back),
            );
        });
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut setting: watch::Receiver<Setting>,
    direction: fn(&Setting) -> Pass,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        if setting.wait_for(|s| direction(s) != Pass::Hold).await.is_err() {
            return;
        }
        let count = tokio::select! {
            count = from.read(&mut buffer) => count.unwrap_or(0),
            changed = setting.changed() => if changed.is_ok() { continue } else { return },
        };
        let swallow = direction(&setting.borrow()) == Pass::Swallow;
        if count == 0 {
            // The end of the stream is lost as long as the cut lasts.
            let _ = setting.wait_for(|s| direction(s) == Pass::Through).await;
            return;
        }
        if !swallow && to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
