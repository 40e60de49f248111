//! The HTTP API: HTTPS, client certificates of this cluster only, JSON, problem+json (RFC 9457).

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use app_api::v1::{Code, DnsExplanation, FailoverRequest, MaintenanceRequest, Problem, SwitchoverRequest};
use app_cert::{Callers, Kind, Role};
use app_config::{Config, Node};
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use tracing::{error, info};

use super::caller::{Caller, KnowsCallers};
use super::shared::Shared;
use super::{answer_api, audit_page, config_api, view};
use crate::links;
use crate::wire::{ApiRequest, ApiResponse};

/// The longest body that is read; requests are a line or two.
const BODY_MAX: usize = 64 * 1024;

/// The running API.
pub struct Api {
    handle: Handle<std::net::SocketAddr>,
}

impl Api {
    /// Ends it; requests under way get a moment.
    pub fn stop(&self) {
        self.handle.graceful_shutdown(Some(Duration::from_millis(500)));
    }
}

/// The API of a node.
pub fn start(shared: &Arc<Shared>) -> Result<Api> {
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/metrics", get(metrics))
        .route(
            "/v1/config",
            get(config_api::show)
                .post(config_api::apply)
                .layer(DefaultBodyLimit::max(app_api::v1::CONFIG_BODY_MAX)),
        )
        .route("/v1/audit", get(audit))
        .route("/v1/dns/explain", get(explain_dns))
        .route("/v1/groups/{group}/explain", get(explain))
        .route("/v1/groups/{group}/failover", post(failover))
        .route("/v1/groups/{group}/switchover", post(switchover))
        .route("/v1/groups/{group}/maintenance", post(maintain).delete(end_maintenance))
        .fallback(nothing_here)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(shared.clone());
    listen(&shared.start, &shared.own, router)
}

/// The API of a node that can say no more than what is wrong with it.
pub fn start_with_one_answer(config: &Config, own: &Node, problem: &Problem) -> Result<Api> {
    let body = serde_json::to_value(problem).expect("a problem is representable");
    let status = problem.code.http_status();
    let router = Router::new()
        .fallback(move || {
            let body = body.clone();
            async move { respond(ApiResponse { status, body }) }
        })
        .layer(DefaultBodyLimit::max(BODY_MAX));
    listen(config, own, router)
}

/// Listens on the node's API address.
fn listen(config: &Config, own: &Node, router: Router) -> Result<Api> {
    let trust = links::trust(config, Kind::Node, own.id.as_str())?;
    let mut tls = (*trust.server(&[Kind::Client], Callers::Known)?).clone();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let address = own.api();
    let listener = std::net::TcpListener::bind(address).with_context(|| {
        format!("api address {address} cannot be listened on; is another twofold running there?")
    })?;
    listener.set_nonblocking(true)?;
    let handle = Handle::new();
    let acceptor = KnowsCallers::new(RustlsConfig::from_config(Arc::new(tls)), config.cluster().as_str());
    let server = axum_server::from_tcp(listener)?.acceptor(acceptor).handle(handle.clone());
    tokio::spawn(async move {
        if let Err(error) = server.serve(router.into_make_service()).await {
            error!(%error, "the api ended");
        }
    });
    info!(%address, "api listens");
    Ok(Api { handle })
}

async fn status(State(shared): State<Arc<Shared>>) -> Response {
    respond(answer_api::answer(&shared, ApiRequest::Status).await)
}

/// This node's own view, never the leader's: whoever scrapes, scrapes every node.
async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let confirmed = shared.leading().is_some() && answer_api::confirmed(&shared).await;
    let probes = shared.readings.show(None, crate::clock::now(), crate::clock::wall());
    let status = view::status(&shared, confirmed);
    let text = super::metrics::render(&status, &probes, &shared.answers.tallies());
    ([(header::CONTENT_TYPE, super::metrics::CONTENT_TYPE)], text).into_response()
}

/// Where to go on.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    #[serde(default)]
    after: u64,
}

/// This node's own log, never another's: they are held against each other.
async fn audit(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Response {
    let after = match query {
        Ok(Query(query)) => query.after,
        Err(rejection) => return bad_request(rejection.body_text()),
    };
    let path = super::audit_path(&shared.start, &shared.own.id);
    let node = shared.own.id.to_string();
    let read = tokio::task::spawn_blocking(move || audit_page::read(&path, &node, after));
    match read.await {
        Ok(Ok(page)) => {
            let body = serde_json::to_value(page).expect("a page is representable");
            respond(ApiResponse { status: 200, body })
        }
        Ok(Err(error)) => failed(format!("the audit log cannot be read: {error}")),
        Err(error) => failed(format!("the audit log was not read: {error}")),
    }
}

/// What is asked.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct DnsQuery {
    name: String,
    #[serde(rename = "type", default = "a_record")]
    record_type: String,
    client: Option<std::net::IpAddr>,
}

fn a_record() -> String {
    "A".to_owned()
}

/// This node's responder, never another's: what is explained is what it would send.
async fn explain_dns(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<DnsQuery>, QueryRejection>,
) -> Response {
    let asked = match query {
        Ok(Query(asked)) => asked,
        Err(rejection) => return bad_request(rejection.body_text()),
    };
    match dns_explanation(&shared, &asked) {
        Ok(explanation) => {
            let body = serde_json::to_value(explanation).expect("an explanation is representable");
            respond(ApiResponse { status: 200, body })
        }
        Err((code, why)) => refuse(code, why),
    }
}

fn dns_explanation(shared: &Shared, asked: &DnsQuery) -> Result<DnsExplanation, (Code, String)> {
    let bad = |why: String| (Code::BadRequest, why);
    let name: gslb_core::Name =
        asked.name.parse().map_err(|e| bad(format!("{:?} is no domain name: {e}", asked.name)))?;
    let record_type: gslb_core::RecordType = asked
        .record_type
        .to_ascii_uppercase()
        .parse()
        .map_err(|e| bad(format!("{:?} is no record type: {e}", asked.record_type)))?;
    let client = asked.client.unwrap_or(std::net::Ipv4Addr::LOCALHOST.into());
    let question = gslb_core::Question {
        name: gslb_core::NameBuf::from(&name),
        record_type,
        class: gslb_core::CLASS_IN,
        client: gslb_core::Client::sender(client),
    };
    let Some((generation, why)) = shared.answers.explain(&question) else {
        let node = shared.own.id.as_str();
        return Err((
            Code::NotFound,
            format!("node {node} serves no DNS; ask another: --api https://ADDRESS:PORT"),
        ));
    };
    let now = crate::clock::now();
    let confirmed = shared.answers.confirmed_ago(now);
    Ok(DnsExplanation {
        answered_by: shared.own.id.to_string(),
        name: name.to_string(),
        record_type: record_type.to_string(),
        client: client.to_string(),
        generation: generation.0,
        confirmed_ms: confirmed.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        rcode: format!("{:?}", why.rcode).to_uppercase(),
        answers: why.answers,
        because: why.because,
        probes: shared.readings.show(Some(&why.pools), now, crate::clock::wall()),
    })
}

async fn explain(State(shared): State<Arc<Shared>>, Path(group): Path<String>) -> Response {
    respond(answer_api::answer(&shared, ApiRequest::Explain { group }).await)
}

async fn failover(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(group): Path<String>,
    body: Result<Json<FailoverRequest>, JsonRejection>,
) -> Response {
    if let Some(refusal) = needs(Role::Operator, &caller, "a failover") {
        return refusal;
    }
    match body.map(|Json(body)| FailoverRequest { by: caller.for_person(&body.by), ..body }) {
        Ok(body) => respond(answer_api::answer(&shared, ApiRequest::Failover { group, body }).await),
        Err(rejection) => bad_request(rejection.body_text()),
    }
}

/// A dry run changes nothing, and any role may see one.
async fn switchover(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(group): Path<String>,
    body: Result<Json<SwitchoverRequest>, JsonRejection>,
) -> Response {
    let body = match body {
        Ok(Json(body)) => SwitchoverRequest { by: caller.for_person(&body.by), ..body },
        Err(rejection) => return bad_request(rejection.body_text()),
    };
    if !body.dry_run
        && let Some(refusal) = needs(Role::Operator, &caller, "a switchover")
    {
        return refusal;
    }
    respond(answer_api::answer(&shared, ApiRequest::Switchover { group, body }).await)
}

async fn maintain(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(group): Path<String>,
    body: Result<Json<MaintenanceRequest>, JsonRejection>,
) -> Response {
    if let Some(refusal) = needs(Role::Operator, &caller, "maintenance") {
        return refusal;
    }
    match body {
        Ok(Json(body)) => {
            let by = caller.for_person(&body.by);
            respond(answer_api::answer(&shared, ApiRequest::Maintain { group, body: Some(body), by }).await)
        }
        Err(rejection) => bad_request(rejection.body_text()),
    }
}

async fn end_maintenance(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(group): Path<String>,
) -> Response {
    if let Some(refusal) = needs(Role::Operator, &caller, "ending maintenance") {
        return refusal;
    }
    respond(answer_api::answer(&shared, ApiRequest::Maintain { group, body: None, by: caller.name }).await)
}

/// A refusal when the caller may not; none when it may.
pub fn needs(role: Role, caller: &Caller, what: &str) -> Option<Response> {
    if caller.role >= role {
        return None;
    }
    let problem = Problem {
        code: Code::Forbidden,
        title: format!("client {:?} has the role {}, and {what} needs {role}", caller.name, caller.role),
        detail: vec![format!("an admin issues one: twofold cert client NAME --role {role}")],
        loss: None,
    };
    let body = serde_json::to_value(&problem).expect("a problem is representable");
    Some(respond(ApiResponse { status: problem.code.http_status(), body }))
}

async fn nothing_here() -> Response {
    let problem = Problem {
        code: Code::NotFound,
        title: "there is no such path".into(),
        detail: vec![
            "paths: /metrics, /v1/status, /v1/config, /v1/audit, /v1/dns/explain, /v1/groups/{group}/explain, /v1/groups/{group}/failover, /v1/groups/{group}/switchover, /v1/groups/{group}/maintenance"
                .into(),
        ],
        loss: None,
    };
    let body = serde_json::to_value(problem).expect("a problem is representable");
    respond(ApiResponse { status: 404, body })
}

pub fn bad_request(title: String) -> Response {
    refuse(Code::BadRequest, title)
}

fn failed(title: String) -> Response {
    refuse(Code::Failed, title)
}

fn refuse(code: Code, title: String) -> Response {
    let problem = Problem { code, title, detail: vec![], loss: None };
    let body = serde_json::to_value(problem).expect("a problem is representable");
    respond(ApiResponse { status: code.http_status(), body })
}

pub fn respond(response: ApiResponse) -> Response {
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
    (status, [(header::CONTENT_TYPE, kind)], response.body.to_string()).into_response()
}
