//! The lab's clients and web application against a real database in a site and DNS servers of the
//! test's own, before any cluster: what they measure must be what happened.
//!
//! Needs root and MySQL's packages, as the lab does. Run with --test-threads=1.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chaos_lab::clients::Event;
use chaos_lab::layout::{Host, HostKind, Lab, LabSite};
use chaos_lab::load::{self, Load};
use chaos_lab::measure::{self, Moments, Sides};
use chaos_lab::mysqld::{self, MysqlRoot};
use chaos_lab::wan::{self, WanRequest};
use chaos_lab::web::WebPlan;
use chaos_lab::{audit, clock, cluster, inside, packages, ready};
use common::{TestLab, eventually, process};
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record};
use mysql_async::prelude::Queryable;

/// DNS servers on all node hosts, which answer one address that the test may change.
struct Names {
    address: Arc<AtomicU32>,
}

impl Names {
    fn serve(up: &TestLab, address: Ipv4Addr) -> Names {
        let names = Names { address: Arc::new(AtomicU32::new(address.into())) };
        for host in Host::of_kind(HostKind::Node) {
            let socket = up
                .inside(host.name, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53)).unwrap())
                .join()
                .unwrap();
            let address = Arc::clone(&names.address);
            // Ends with the test's process; the socket holds the namespace until then.
            std::thread::spawn(move || answer(&socket, &address));
        }
        names
    }

    fn lead_to(&self, address: Ipv4Addr) {
        self.address.store(address.into(), Ordering::SeqCst);
    }
}

fn answer(socket: &UdpSocket, address: &AtomicU32) {
    let mut buffer = [0u8; 1232];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let question = Message::from_vec(&buffer[..length]).unwrap();
        let mut reply = Message::response(question.metadata.id, question.metadata.op_code);
        reply.metadata.message_type = MessageType::Response;
        reply.metadata.response_code = ResponseCode::NoError;
        let name = question.queries[0].name().clone();
        reply.add_query(question.queries[0].clone());
        let address = Ipv4Addr::from(address.load(Ordering::SeqCst));
        reply.add_answer(Record::from_rdata(name, 1, RData::A(A(address))));
        let _ = socket.send_to(&reply.to_vec().unwrap(), from);
    }
}

fn mysql() -> (MysqlRoot, std::path::PathBuf) {
    let cache = packages::cache_dir();
    let root = MysqlRoot::at(packages::mysql_root(&cache, &mut |line| eprintln!("{line}")).unwrap());
    (root, cache)
}

/// Lays a database of its own on both database hosts; they are copies of one template, so the same
/// accounts are on both.
fn lay(lab: &Lab, root: &MysqlRoot, cache: &std::path::Path) {
    for host in Host::databases(1) {
        let instance = cluster::instance(lab, &host);
        std::fs::create_dir_all(lab.host_dir(&host)).unwrap();
        root.lay_data(cache, &instance.data_dir, instance.server_id).unwrap();
        mysqld::write_cnf(root, &instance).unwrap();
    }
}

/// Opens a database as only its guard would: through its socket.
fn open(up: &TestLab, site: LabSite) {
    let host = Host::database_of(site).unwrap();
    let socket = cluster::instance(&up.lab, &host).socket.to_string_lossy().into_owned();
    let statements = [
        "SET GLOBAL super_read_only = OFF".to_owned(),
        "SET GLOBAL read_only = OFF".to_owned(),
        format!("USE {}", mysqld::APPLICATION_SCHEMA),
    ];
    let statements = [&statements[..], &ready::TABLES.map(str::to_owned)].concat();
    eventually("the database is open", || {
        let (socket, statements) = (socket.clone(), statements.clone());
        let opened = inside::in_runtime(&up.lab, &host, Duration::from_secs(5), async move {
            let options = mysql_async::OptsBuilder::default().socket(Some(socket)).user(Some("root"));
            let mut conn = mysql_async::Conn::new(options).await?;
            for statement in statements {
                conn.query_drop(statement).await?;
            }
            conn.disconnect().await?;
            Ok(())
        });
        opened.is_ok()
    });
}

fn lab_with_databases() -> TestLab {
    let (root, cache) = mysql();
    TestLab::prepared(|lab, program| {
        lay(lab, &root, &cache);
        let text = |p: &std::path::Path| p.to_string_lossy().into_owned();
        let mut all = Vec::new();
        for host in Host::databases(1) {
            let command = mysqld::command(&root, &cluster::instance(lab, &host));
            let words: Vec<_> = command.iter().map(String::as_str).collect();
            all.push(process(host.name, "mysqld", &words));
        }
        for host in Host::of_kind(HostKind::Web) {
            let plan = cluster::web_plan_file(lab, &host);
            std::fs::create_dir_all(plan.parent().unwrap()).unwrap();
            let access = cluster::access_from(&host);
            let (name, site) = (host.name.to_owned(), host.site.name().to_owned());
            let web = WebPlan { host: name, site, port: cluster::WEB_PORT, access };
            std::fs::write(&plan, serde_json::to_vec(&web).unwrap()).unwrap();
            all.push(process(host.name, "web", &[&text(program), "lab", "web", "--plan", &text(&plan)]));
        }
        all
    })
}

fn address_of(site: LabSite) -> Ipv4Addr {
    Host::database_of(site).unwrap().address()
}

/// Goal: what clients acknowledge is there, at the rate the demo needs; when the name moves they
/// follow, and the measures say when.
/// Method: two databases that know nothing of each other, so that each row's server is known.
#[test]
fn clients_follow_the_name_and_every_acknowledged_row_is_where_it_was_acknowledged() {
    let up = lab_with_databases();
    open(&up, LabSite::Pdc);
    open(&up, LabSite::Mdc);
    let names = Names::serve(&up, address_of(LabSite::Pdc));
    let mut load = Load::start(&up.lab, &up.spec, 7, load::WRITERS).unwrap();
    let second = Duration::from_secs(1);
    eventually("the load has its rate", || {
        measure::rate(&measure::acks(load.events()), clock::now(), second) >= 100.0
    });
    let fault = clock::now();
    names.lead_to(address_of(LabSite::Mdc));
    let sides = Sides { old: address_of(LabSite::Pdc), new: BTreeSet::from([address_of(LabSite::Mdc)]) };
    let servers: BTreeSet<String> = cluster::name_servers().into_iter().map(|s| s.name).collect();
    eventually("all have followed", || {
        let now = Moments { fault, until: clock::now() };
        let events = load.events();
        let recent: Vec<_> = measure::acks(events).into_iter().rev().take(50).collect();
        recent.iter().all(|a| sides.new.contains(&a.address))
            && measure::dns_flip_ms(events, &servers, &sides, now).is_some()
            && measure::client_flip_ms(events, &sides, now).is_some()
    });
    let events = load.stop().unwrap();
    let acks = measure::acks(&events);
    let connected: BTreeSet<_> = events
        .iter()
        .filter_map(|e| if let Event::Connected { writer, .. } = e { Some(*writer) } else { None })
        .collect();
    assert!(connected.len() >= 8, "at least 8 writers");
    for site in [LabSite::Pdc, LabSite::Mdc] {
        let rows = audit::rows_on_host(&up.lab, &Host::database_of(site).unwrap(), 7).unwrap();
        let acked: BTreeSet<_> =
            acks.iter().filter(|a| a.address == address_of(site)).map(|a| a.row).collect();
        assert!(!acked.is_empty());
        assert_eq!(measure::lost(&acked, &rows), [], "rows acknowledged in {site} are there");
    }
    // Two open databases behind a name with a TTL of a second: for up to a second both took writes,
    // and the measure must not be blind to it.
    assert!(measure::dual_writable_ms(&acks, &sides) > 0.0);
    let primary = audit::rows_on_primary(&up.lab, 7).unwrap();
    let there = audit::rows_on_host(&up.lab, &Host::database_of(LabSite::Mdc).unwrap(), 7).unwrap();
    assert_eq!(primary, there);
}

/// Goal: a cut is seen by the clients outside as a pause of its length, and the clients inside the
/// cut site go on.
#[test]
fn a_cut_site_pauses_the_clients_outside_and_not_those_inside() {
    let up = lab_with_databases();
    open(&up, LabSite::Pdc);
    let _names = Names::serve(&up, address_of(LabSite::Pdc));
    let mut load = Load::start(&up.lab, &up.spec, 8, load::WRITERS).unwrap();
    let outside = |events: &[Event]| -> Vec<measure::Ack> {
        // Writers 0..=2 stand in pdc, as the table of hosts has its client host first.
        measure::acks(events).into_iter().filter(|a| a.row.0 > 2).collect()
    };
    eventually("all write", || {
        let acks = measure::acks(load.events());
        acks.iter().map(|a| a.row.0).collect::<BTreeSet<_>>().len() == 10
    });
    let fault = wan::tell(&up.lab, &WanRequest::Cut { directions: wan::all_of(LabSite::Pdc) }).unwrap();
    eventually("the clients outside have given up a commit", || {
        load.events()
            .iter()
            .any(|e| matches!(e, Event::WriteFailed { writer, at, .. } if *writer > 2 && *at > fault))
    });
    let healed = wan::tell(&up.lab, &WanRequest::Heal).unwrap();
    eventually("the clients outside write again", || outside(load.events()).iter().any(|a| a.at > healed));
    let events = load.stop().unwrap();
    // An answer that had crossed before the cut may be read behind it: what was sent behind it counts.
    let through = events.iter().filter(|e| {
        matches!(e, Event::Ack { writer, began, at, .. } if *writer > 2 && *began > fault && *at < healed)
    });
    assert_eq!(through.count(), 0, "a commit went through a cut");
    let during = |a: &&measure::Ack| a.at > fault && a.at < healed;
    assert!(measure::acks(&events).iter().filter(during).count() > 0, "clients inside the site went on");
    let rows = audit::rows_on_primary(&up.lab, 8).unwrap();
    let acked: BTreeSet<_> = measure::acks(&events).iter().map(|a| a.row).collect();
    assert_eq!(measure::lost(&acked, &rows), []);
}

/// Goal: the web application says which site served, and reads and writes through the name.
#[test]
fn the_web_application_says_which_site_served_and_which_database() {
    let up = lab_with_databases();
    open(&up, LabSite::Mdc);
    let _names = Names::serve(&up, address_of(LabSite::Mdc));
    let web = Host::named("pdc-web").unwrap();
    eventually("it serves", || ready::page(&up.lab, &web, "/health").is_ok_and(|t| t == "ok"));
    let who: serde_json::Value = serde_json::from_str(&ready::page(&up.lab, &web, "/").unwrap()).unwrap();
    assert_eq!((&who["site"], &who["host"]), (&"pdc".into(), &"pdc-web".into()));
    eventually("a visit is written", || ready::page(&up.lab, &web, "/visit").is_ok());
    let visit: serde_json::Value =
        serde_json::from_str(&ready::page(&up.lab, &web, "/visit").unwrap()).unwrap();
    assert_eq!(visit["visits"], 2);
    assert_eq!(visit["database"].as_str().unwrap().len(), 36, "the server's uuid");
}
