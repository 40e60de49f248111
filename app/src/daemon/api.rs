//! The HTTP API: HTTPS, client certificates of this cluster or tokens, JSON, problem+json (RFC 9457).

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use app_api::openapi;
use app_api::v1::{
    AcknowledgeRequest, Code, DnsExplanation, FailoverRequest, MaintenanceRequest, Problem, REASON_MAX,
    RebuildRequest, ReleaseRequest, SwitchoverRequest, TokenRequest,
};
use app_cert::{Callers, Kind, Role};
use app_config::{Config, Node};
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use tracing::{error, info};

use super::door::{self, Door, Shown};
use super::shared::Shared;
use super::{answer_api, audit_page, config_api, view};
use crate::caller::{Caller, Need, Rights, Scope};
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
    let router = routes()
        .fallback(nothing_here)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn_with_state(shared.clone(), door::enter))
        .with_state(shared.clone());
    listen(&shared.start, &shared.own, router)
}

fn routes() -> Router<Arc<Shared>> {
    Router::new()
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
        .route("/v1/groups/{group}/servers/{server}/rebuild", post(rebuild))
        .route("/v1/groups/{group}/servers/{server}/release", post(release))
        .route("/v1/groups/{group}/maintenance", post(maintain).delete(end_maintenance))
        .route("/v1/tokens", get(tokens).post(issue_token))
        .route("/v1/tokens/{token}", delete(revoke_token))
        .route("/v1/tokens/{token}/acknowledge", post(acknowledge))
        .route("/v1/openapi.json", get(describe))
}

/// The API of a node that can say no more than what is wrong with it. It knows no tokens, and tells the
/// paths of its files to nobody who shows no certificate.
pub fn start_with_one_answer(config: &Config, own: &Node, problem: &Problem) -> Result<Api> {
    let whole = problem.clone();
    let title = format!("node {} runs without consensus; it cannot tell who calls by a token", own.id);
    let detail = vec!["ask another node, or show a client certificate".into()];
    let part = Problem { code: problem.code, title, detail, loss: None };
    let router = Router::new()
        .fallback(move |Extension(shown): Extension<Shown>| {
            let response = refuse(if shown.certificate.is_some() { &whole } else { &part });
            async move { response }
        })
        .layer(DefaultBodyLimit::max(BODY_MAX));
    listen(config, own, router)
}

/// Listens on the node's API address.
fn listen(config: &Config, own: &Node, router: Router) -> Result<Api> {
    let trust = links::trust(config, Kind::Node, own.id.as_str())?;
    let mut tls = (*trust.server(&[Kind::Client], Callers::Anyone)?).clone();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let address = own.api();
    let listener = std::net::TcpListener::bind(address).with_context(|| {
        format!("api address {address} cannot be listened on; is another twofold running there?")
    })?;
    listener.set_nonblocking(true)?;
    let handle = Handle::new();
    let acceptor = Door::new(RustlsConfig::from_config(Arc::new(tls)), config.cluster().as_str());
    let mut server = axum_server::from_tcp(listener)?
        .acceptor(acceptor)
        .handle(handle.clone())
        .first_request_timeout(door::FIRST_REQUEST_WITHIN);
    server.http_builder().http1().header_read_timeout(door::NEXT_REQUEST_WITHIN);
    tokio::spawn(async move {
        if let Err(error) = server.serve(router.into_make_service()).await {
            error!(%error, "the api ended");
        }
    });
    info!(%address, "api listens");
    Ok(Api { handle })
}

type Known = (Extension<Caller>, Extension<Rights>);

/// A token for some groups is shown those.
async fn status(State(shared): State<Arc<Shared>>, known: Known) -> Response {
    let (Extension(caller), Extension(rights)) = known;
    let mut answered = answer_api::answer(&shared, &caller, ApiRequest::Status).await;
    show_only(&rights, &mut answered.body);
    respond_with(answered)
}

/// Leaves the groups that these rights reach.
fn show_only(rights: &Rights, status: &mut serde_json::Value) {
    if let (Some(own), Some(groups)) = (&rights.groups, status["groups"].as_array_mut()) {
        groups.retain(|g| own.iter().any(|name| g["name"] == name.as_str()));
    }
}

/// This node's own view, never the leader's: whoever scrapes, scrapes every node.
async fn metrics(State(shared): State<Arc<Shared>>, Extension(rights): Extension<Rights>) -> Response {
    let confirmed = shared.leading().is_some() && answer_api::confirmed(&shared).await;
    let probes = shared.readings.show(None, crate::clock::now(), crate::clock::wall());
    let steps = super::phases::steps(shared.applied.borrow().events.iter());
    let mut status = view::status(&shared, confirmed);
    if let Some(own) = &rights.groups {
        status.groups.retain(|g| own.contains(&g.name));
    }
    let text = super::metrics::render(&status, &steps, &probes, &shared.answers.tallies());
    ([(header::CONTENT_TYPE, super::metrics::CONTENT_TYPE)], text).into_response()
}

/// The largest number that every JSON reader takes exactly: 2^53 - 1.
const AFTER_MAX: u64 = (1 << 53) - 1;

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
    (Extension(caller), Extension(rights)): Known,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Response {
    let need = Need { role: Role::Viewer, scope: Scope::Cluster, what: "the audit log" };
    if let Err(problem) = caller.may(&rights, need) {
        return refuse(&problem);
    }
    let after = match query {
        Ok(Query(query)) if query.after > AFTER_MAX => {
            return bad_request(format!(
                "after={} is beyond every entry: the largest is {AFTER_MAX}",
                query.after
            ));
        }
        Ok(Query(query)) => query.after,
        Err(rejection) => return bad_request(rejection.body_text()),
    };
    let path = super::audit_path(&shared.start, &shared.own.id);
    let node = shared.own.id.to_string();
    // Before the file is read: it has at least this.
    let committed = shared.applied.borrow().audit.clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut page = audit_page::read(&path, &node, after)?;
        page.committed = (committed.entries > 0).then(|| audit_page::told(committed));
        std::io::Result::Ok(page)
    });
    match read.await {
        Ok(Ok(page)) => {
            let body = serde_json::to_value(page).expect("a page is representable");
            respond_with(ApiResponse { status: 200, body })
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
            respond_with(ApiResponse { status: 200, body })
        }
        Err((code, why)) => refuse(&Problem { code, title: why, detail: vec![], loss: None }),
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

async fn explain(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(group): Path<String>,
) -> Response {
    ask(&shared, &caller, ApiRequest::Explain { group }).await
}

async fn failover(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(group): Path<String>,
    body: Result<Json<FailoverRequest>, JsonRejection>,
) -> Response {
    match body {
        Ok(Json(body)) if too_long(body.reason.as_ref()) => long_reason(),
        Ok(Json(body)) => {
            let body = FailoverRequest { by: caller.for_person(&body.by), ..body };
            ask(&shared, &caller, ApiRequest::Failover { group, body }).await
        }
        Err(rejection) => wrong_body(&rejection),
    }
}

/// A dry run changes nothing, and any role may see one.
async fn switchover(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(group): Path<String>,
    body: Result<Json<SwitchoverRequest>, JsonRejection>,
) -> Response {
    match body {
        Ok(Json(body)) if too_long(body.reason.as_ref()) => long_reason(),
        Ok(Json(body)) => {
            let body = SwitchoverRequest { by: caller.for_person(&body.by), ..body };
            ask(&shared, &caller, ApiRequest::Switchover { group, body }).await
        }
        Err(rejection) => wrong_body(&rejection),
    }
}

async fn rebuild(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path((group, server)): Path<(String, String)>,
    body: Result<Json<RebuildRequest>, JsonRejection>,
) -> Response {
    match body {
        Ok(Json(body)) if too_long(body.reason.as_ref()) => long_reason(),
        Ok(Json(body)) => {
            let body = RebuildRequest { by: caller.for_person(&body.by), ..body };
            ask(&shared, &caller, ApiRequest::Rebuild { group, server, body }).await
        }
        Err(rejection) => wrong_body(&rejection),
    }
}

async fn release(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path((group, server)): Path<(String, String)>,
    body: Result<Json<ReleaseRequest>, JsonRejection>,
) -> Response {
    match body {
        Ok(Json(body)) if too_long(body.reason.as_ref()) => long_reason(),
        Ok(Json(body)) => {
            let body = ReleaseRequest { by: caller.for_person(&body.by), ..body };
            ask(&shared, &caller, ApiRequest::Release { group, server, body }).await
        }
        Err(rejection) => wrong_body(&rejection),
    }
}

async fn maintain(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(group): Path<String>,
    body: Result<Json<MaintenanceRequest>, JsonRejection>,
) -> Response {
    match body {
        Ok(Json(body)) => {
            let by = caller.for_person(&body.by);
            let request = ApiRequest::Maintain { group, body: Some(body), by, reason: None };
            ask(&shared, &caller, request).await
        }
        Err(rejection) => wrong_body(&rejection),
    }
}

/// Why, where there is no body.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ReasonQuery {
    reason: Option<String>,
}

async fn end_maintenance(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(group): Path<String>,
    query: Result<Query<ReasonQuery>, QueryRejection>,
) -> Response {
    match query {
        Ok(Query(ReasonQuery { reason })) if too_long(reason.as_ref()) => long_reason(),
        Ok(Query(ReasonQuery { reason })) => {
            let by = caller.proven();
            ask(&shared, &caller, ApiRequest::Maintain { group, body: None, by, reason }).await
        }
        Err(rejection) => bad_request(rejection.body_text()),
    }
}

async fn tokens(State(shared): State<Arc<Shared>>, Extension(caller): Extension<Caller>) -> Response {
    ask(&shared, &caller, ApiRequest::Tokens).await
}

async fn issue_token(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    body: Result<Json<TokenRequest>, JsonRejection>,
) -> Response {
    match body {
        Ok(Json(body)) if too_long(body.reason.as_ref()) => long_reason(),
        Ok(Json(body)) => {
            let by = caller.for_person(&body.by);
            ask(&shared, &caller, ApiRequest::IssueToken { body, by }).await
        }
        Err(rejection) => wrong_body(&rejection),
    }
}

async fn revoke_token(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(token): Path<String>,
    query: Result<Query<ReasonQuery>, QueryRejection>,
) -> Response {
    match query {
        Ok(Query(ReasonQuery { reason })) if too_long(reason.as_ref()) => long_reason(),
        Ok(Query(ReasonQuery { reason })) => {
            let by = caller.proven();
            ask(&shared, &caller, ApiRequest::RevokeToken { token, by, reason }).await
        }
        Err(rejection) => bad_request(rejection.body_text()),
    }
}

async fn acknowledge(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(token): Path<String>,
    body: Result<Json<AcknowledgeRequest>, JsonRejection>,
) -> Response {
    match body {
        Ok(Json(body)) if too_long(body.reason.as_ref()) => long_reason(),
        Ok(Json(AcknowledgeRequest { reason, by })) => {
            let by = caller.for_person(&by);
            ask(&shared, &caller, ApiRequest::Acknowledge { token, by, reason }).await
        }
        Err(rejection) => wrong_body(&rejection),
    }
}

async fn describe() -> Response {
    respond_with(ApiResponse { status: 200, body: openapi::document() })
}

async fn nothing_here() -> Response {
    let mut paths: Vec<&str> = openapi::OPERATIONS.iter().map(|o| o.path).collect();
    paths.dedup();
    let detail = vec![format!("paths: {}", paths.join(", "))];
    refuse(&Problem { code: Code::NotFound, title: "there is no such path".into(), detail, loss: None })
}

pub async fn ask(shared: &Arc<Shared>, caller: &Caller, request: ApiRequest) -> Response {
    respond_with(answer_api::answer(shared, caller, request).await)
}

fn too_long(reason: Option<&String>) -> bool {
    reason.is_some_and(|text| text.chars().count() > REASON_MAX)
}

fn long_reason() -> Response {
    bad_request(format!("a reason has {REASON_MAX} characters at most"))
}

/// A body that is too long, of another kind, no JSON, or not what is asked for.
pub fn wrong_body(rejection: &JsonRejection) -> Response {
    let code = match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
        _ => Code::BadRequest,
    };
    let title = match code {
        Code::TooLarge => "the body is longer than any request of this path".to_owned(),
        _ => rejection.body_text(),
    };
    refuse(&Problem { code, title, detail: vec![], loss: None })
}

fn bad_request(title: String) -> Response {
    refuse(&Problem { code: Code::BadRequest, title, detail: vec![], loss: None })
}

fn failed(title: String) -> Response {
    refuse(&Problem { code: Code::Failed, title, detail: vec![], loss: None })
}

pub fn refuse(problem: &Problem) -> Response {
    let body = serde_json::to_value(problem).expect("a problem is representable");
    respond_with(ApiResponse { status: problem.code.http_status(), body })
}

pub fn respond_with(response: ApiResponse) -> Response {
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if status.is_success() { "application/json" } else { door::PROBLEM };
    (status, [(header::CONTENT_TYPE, kind)], response.body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_for_some_groups_is_shown_those() {
        let rights = |groups: Option<&[&str]>| Rights {
            role: Role::Viewer,
            groups: groups.map(|g| g.iter().map(|name| (*name).to_owned()).collect()),
            break_glass: false,
        };
        let all = json!({ "groups": [{ "name": "shop" }, { "name": "bank" }] });
        for (groups, shown) in [
            (None, json!([{ "name": "shop" }, { "name": "bank" }])),
            (Some(&["bank", "gone"][..]), json!([{ "name": "bank" }])),
            (Some(&["gone"]), json!([])),
        ] {
            let mut status = all.clone();
            show_only(&rights(groups), &mut status);
            assert_eq!(status["groups"], shown);
        }
        let mut problem = json!({ "code": "no-quorum" });
        show_only(&rights(Some(&["bank"])), &mut problem);
        assert_eq!(problem["code"], "no-quorum", "a problem has no groups");
    }
}
