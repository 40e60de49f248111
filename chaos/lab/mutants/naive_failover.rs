//! A failover tool as one writes it in an afternoon, with twofold's command line: the lab's own
//! mutant. It has no lease, no fence and no replication, and it always claims to be in `Sync`. A
//! lab that does not show what it loses measures nothing (tests/demo.rs).
//!
//! The active site stands in one file that all hosts share: a consensus that never fails. A guard
//! whose peer's database cannot be connected to for a second makes its own site active. A DNS node
//! answers its own site while that site's database takes connections.

#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chaos_lab::cluster;
use chaos_lab::layout::{Host, Lab, LabSite};
use hickory_proto::op::Message;
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record};
use mysql_async::prelude::Queryable;

const CONNECT_DEADLINE: Duration = Duration::from_millis(200);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Looks without a peer before its place is taken.
const PATIENCE: u32 = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["check", ..] | ["cert", ..] => {}
        ["serve", .., "--init"] => {}
        ["serve", "--config", config, "--node", node] => serve(&lab_of(config), node),
        ["guard", "--config", config, "--server", server] => guard(&lab_of(config), server),
        ["status", "-o", "json", "--config", config, ..] => status(&lab_of(config)),
        // It keeps no log of what it did.
        ["audit", ..] => {}
        other => panic!("{other:?} is nothing this tool does"),
    }
}

fn lab_of(config: &str) -> Lab {
    Lab::at(Path::new(config).parent().unwrap())
}

/// `EPOCH SITE` in the shared file.
fn active(lab: &Lab) -> (u64, LabSite) {
    let text = std::fs::read_to_string(state_file(lab)).unwrap_or_default();
    let parsed = text.split_once(' ').and_then(|(e, s)| Some((e.parse().ok()?, s.parse().ok()?)));
    parsed.unwrap_or((1, LabSite::Pdc))
}

fn state_file(lab: &Lab) -> PathBuf {
    lab.dir().join("run")
}

fn takes_connections(host: &Host) -> bool {
    let to = SocketAddr::from((host.address(), cluster::DATABASE_PORT));
    TcpStream::connect_timeout(&to, CONNECT_DEADLINE).is_ok()
}

fn status(lab: &Lab) {
    let (epoch, site) = active(lab);
    println!(
        "{}",
        serde_json::json!({
            "leader": "wit-1",
            "nodes": [{"name": "wit-1", "up": true, "leader": true}],
            "groups": [{"name": cluster::GROUP, "epoch": epoch, "phase": "serving", "durability": "sync",
                        "active-site": site, "open": true}],
        })
    );
}

fn serve(lab: &Lab, node: &str) {
    let own = Host::named(node).unwrap();
    let socket = UdpSocket::bind((own.address(), cluster::DNS_PORT)).unwrap();
    let answer = std::sync::Arc::new(std::sync::Mutex::new(None));
    let shared = std::sync::Arc::clone(&answer);
    let lab = lab.clone();
    std::thread::spawn(move || {
        loop {
            let (_, site) = active(&lab);
            // While its own site's database takes connections, a node of a data site believes in it,
            // if it was ever active: nobody can tell it otherwise when its links are cut.
            let home = Host::database_of(own.site).filter(|h| was_opened(&lab, h) && takes_connections(h));
            let host = home.or_else(|| Host::database_of(site)).unwrap();
            *shared.lock().unwrap() = Some(host.site);
            std::thread::sleep(LOOK_EVERY);
        }
    });
    let mut buffer = [0u8; 1232];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
        let mut reply = Message::response(question.metadata.id, question.metadata.op_code);
        reply.add_query(question.queries[0].clone());
        let Some(site) = *answer.lock().unwrap() else { continue };
        let name = question.queries[0].name().clone();
        let web = name.to_string() == cluster::WEB_NAME;
        let host = if web { Host::entry_of(site) } else { Host::database_of(site) };
        let address: Ipv4Addr = host.unwrap().address();
        reply.add_answer(Record::from_rdata(name, 1, RData::A(A(address))));
        let _ = socket.send_to(&reply.to_vec().unwrap(), from);
    }
}

fn opened_mark(lab: &Lab, host: &Host) -> PathBuf {
    lab.host_dir(host).join("opened")
}

fn was_opened(lab: &Lab, host: &Host) -> bool {
    opened_mark(lab, host).exists()
}

fn guard(lab: &Lab, server: &str) {
    let own = Host::named(server).unwrap();
    let peer = Host::database_of(own.site.peer().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut without_peer = 0;
    loop {
        let (epoch, site) = active(lab);
        if site == own.site {
            // Done again and again: after a restart the server is closed.
            let _ = runtime.block_on(open(lab, &own));
        } else {
            without_peer = if takes_connections(&peer) { 0 } else { without_peer + 1 };
            if without_peer >= PATIENCE && runtime.block_on(open(lab, &own)).is_ok() {
                std::fs::write(state_file(lab), format!("{} {}", epoch + 1, own.site)).unwrap();
                without_peer = 0;
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

async fn open(lab: &Lab, host: &Host) -> Result<(), mysql_async::Error> {
    let socket = cluster::instance(lab, host).socket.to_string_lossy().into_owned();
    let options = mysql_async::OptsBuilder::default().socket(Some(socket)).user(Some("root"));
    let mut conn = mysql_async::Conn::new(options).await?;
    conn.query_drop("SET GLOBAL super_read_only = OFF").await?;
    conn.query_drop("SET GLOBAL read_only = OFF").await?;
    // There is no replication, so the other side lacks the tables too.
    for statement in chaos_lab::ready::TABLES {
        conn.query_drop(format!("USE {}", chaos_lab::mysqld::APPLICATION_SCHEMA)).await?;
        conn.query_drop(statement).await?;
    }
    conn.disconnect().await?;
    std::fs::write(opened_mark(lab, host), "").unwrap();
    Ok(())
}
