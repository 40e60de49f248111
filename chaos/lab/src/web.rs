//! The small web application of a site: it says which site served, and reads and writes its
//! database through the published name.
//!
//! `GET /health` is what a balancer checks: the process serves. `GET /` says who serves, and what the
//! entry said of the client; it neither reads nor writes anything. `POST /visit` (and GET, for people) writes one row and says how many there are.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::clients::event::Events;
use crate::clients::resolver::Resolver;
use crate::clients::{DatabaseAccess, plan, writer};

/// The application's table.
pub const TABLE: &str = "lab_visits";

/// A visitor waits no longer.
const VISIT_DEADLINE: Duration = Duration::from_millis(1500);

/// Which web application this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebPlan {
    /// Its host.
    pub host: String,
    /// Its site.
    pub site: String,
    /// Where it listens.
    pub port: u16,
    /// How it reaches its database.
    pub access: DatabaseAccess,
}

/// Who served, and what the site's entry said of the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The site.
    pub site: String,
    /// The web host.
    pub host: String,
    /// `X-Forwarded-For`: the client's address.
    pub forwarded_for: Option<String>,
    /// `X-Forwarded-Proto`: what the client spoke.
    pub forwarded_proto: Option<String>,
    /// `X-Forwarded-Port`: where the client connected.
    pub forwarded_port: Option<String>,
}

/// A visit that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visit {
    /// Whose application served.
    pub site: String,
    /// The application's host.
    pub host: String,
    /// The identity of the database that took it (`@@server_uuid`).
    pub database: String,
    /// Where the database's name led.
    pub address: Ipv4Addr,
    /// Rows in the table, with this one.
    pub visits: u64,
}

#[derive(Clone)]
struct Shop {
    plan: WebPlan,
    address: watch::Receiver<Option<Ipv4Addr>>,
}

/// Serves until killed.
///
/// # Errors
/// When the plan cannot be read or the port is taken.
pub fn run(plan: &Path) -> anyhow::Result<()> {
    let plan: WebPlan = plan::read(plan)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(plan))
}

async fn serve(plan: WebPlan) -> anyhow::Result<()> {
    let (held, address) = watch::channel(None);
    let resolver = Resolver::new(plan.access.name.clone(), plan.access.servers.clone());
    // Nobody measures by this resolver.
    let (events, _writing) = Events::into_writer(std::io::sink());
    tokio::spawn(resolver.keep(plan.host.clone(), held, events));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, plan.port)).await?;
    let routes = Router::new()
        .route("/health", get(|| async { "ok" }))
        .route("/", get(served))
        .route("/visit", get(visit).post(visit))
        .with_state(Shop { plan, address });
    axum::serve(listener, routes).await?;
    Ok(())
}

async fn served(State(shop): State<Shop>, headers: HeaderMap) -> Json<Served> {
    let said = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    Json(Served {
        site: shop.plan.site,
        host: shop.plan.host,
        forwarded_for: said("x-forwarded-for"),
        forwarded_proto: said("x-forwarded-proto"),
        forwarded_port: said("x-forwarded-port"),
    })
}

async fn visit(State(shop): State<Shop>) -> Result<Json<Visit>, (StatusCode, String)> {
    let unavailable = |why: String| (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"));
    let address = *shop.address.borrow();
    let Some(address) = address else {
        return Err(unavailable("the database's name has no address now".to_owned()));
    };
    match tokio::time::timeout(VISIT_DEADLINE, write_visit(&shop.plan, address)).await {
        Err(_) => Err(unavailable("the database does not answer in time".to_owned())),
        Ok(Err(e)) => Err(unavailable(e.to_string())),
        Ok(Ok(visit)) => Ok(Json(visit)),
    }
}

async fn write_visit(plan: &WebPlan, address: Ipv4Addr) -> Result<Visit, mysql_async::Error> {
    let mut conn = Conn::new(writer::options(&plan.access, address)).await?;
    conn.exec_drop(format!("INSERT INTO {TABLE} (site) VALUES (?)"), (&plan.site,)).await?;
    let visits: Option<u64> = conn.query_first(format!("SELECT COUNT(*) FROM {TABLE}")).await?;
    let visits = visits.unwrap_or_default();
    let database = writer::server_of(&mut conn).await?;
    conn.disconnect().await?;
    Ok(Visit { site: plan.site.clone(), host: plan.host.clone(), database, address, visits })
}
