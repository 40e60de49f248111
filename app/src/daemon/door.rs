//! The API's door: TLS, then who calls. A caller shows a client certificate in the handshake, or a token
//! in the request, or is told how to (401); nothing behind this asks again how it was proven.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use app_api::v1::{Code, Problem};
use app_cert::{identity, role};
use axum::Extension;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{AddExtension, Next};
use axum::response::Response;
use axum_server::accept::{Accept, DefaultAcceptor};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::server::TlsStream;
use tower_layer::Layer;
use tracing::error;

use super::answer_api;
use super::api::{refuse, respond_with};
use super::shared::Shared;
use crate::caller::{Caller, Proof, Rights, bearer};
use crate::clock;
use crate::wire::{ApiRequest, ApiResponse};

/// Connections at once. Operators, pipelines and Prometheus are a few dozen; since whoever reaches the port
/// may open one without showing anything, there is an end. The next one is closed.
const CONNECTIONS_MAX: usize = 512;
/// A connection that has sent no whole request by then is closed.
pub const FIRST_REQUEST_WITHIN: Duration = Duration::from_secs(10);
/// A connection that is silent for so long between requests is closed: longer than a scrape's interval.
pub const NEXT_REQUEST_WITHIN: Duration = Duration::from_secs(90);
/// What a 401 asks for (RFC 6750 §3).
const CHALLENGE: &str = "Bearer realm=\"twofold\"";
const CHALLENGE_INVALID: &str = "Bearer realm=\"twofold\", error=\"invalid_token\"";
/// Bytes of a library's own words about a bad request that are passed on.
const WORDS_MAX: usize = 2_048;

/// What a connection has shown.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Whoever its certificate names, if it has one.
    pub certificate: Option<Caller>,
    /// Its place among the connections; free when it ends.
    _place: Arc<OwnedSemaphorePermit>,
}

/// Accepts TLS and hands each request what its connection has shown.
#[derive(Clone)]
pub struct Door {
    inner: RustlsAcceptor<DefaultAcceptor>,
    cluster: Arc<str>,
    places: Arc<Semaphore>,
}

impl Door {
    /// Over the given TLS, which must ask for certificates and verify those that are shown.
    pub fn new(tls: RustlsConfig, cluster: &str) -> Self {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Self { inner: RustlsAcceptor::new(tls), cluster: cluster.into(), places }
    }
}

impl<I, S> Accept<I, S> for Door
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Send + 'static,
{
    type Stream = TlsStream<I>;
    type Service = AddExtension<<RustlsAcceptor<DefaultAcceptor> as Accept<I, S>>::Service, Shown>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let place = self.places.clone().try_acquire_owned();
        let accepting = self.inner.accept(stream, service);
        let cluster = self.cluster.clone();
        Box::pin(async move {
            let place = Arc::new(place.map_err(io::Error::other)?);
            let (stream, service) = accepting.await?;
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            // The handshake has verified it; without one a token may still speak for the caller.
            let certificate = match shown {
                Some(shown) => {
                    let name = identity(shown).map_err(io::Error::other)?.name;
                    let role = role(shown, &cluster);
                    Some(Caller { name, proof: Proof::Certificate { role } })
                }
                None => None,
            };
            Ok((stream, Extension(Shown { certificate, _place: place }).layer(service)))
        })
    }
}

/// Finds who calls, puts a break-glass token's use on record, and gives every error its form.
pub async fn enter(
    State(shared): State<Arc<Shared>>,
    Extension(shown): Extension<Shown>,
    mut request: Request,
    next: Next,
) -> Response {
    let (caller, rights) = match known(&shared, &shown, request.headers()) {
        Ok(known) => known,
        Err(problem) => return challenged(&problem, request.headers()),
    };
    let asked = format!("{} {}", request.method(), request.uri().path());
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if rights.break_glass
        && let Err(refusal) = on_record(&shared, &caller, &asked, reads).await
    {
        return respond_with(refusal);
    }
    request.extensions_mut().insert(caller);
    request.extensions_mut().insert(rights);
    as_problem(next.run(request).await, &asked).await
}

/// A token decides where one is given: it was named in the request itself.
fn known(shared: &Shared, shown: &Shown, headers: &HeaderMap) -> Result<(Caller, Rights), Box<Problem>> {
    let state = shared.state();
    let caller = match (secret(headers)?, &shown.certificate) {
        (Some(secret), _) => {
            // A node that was confirmed by nobody since its start may not have heard of the token yet.
            bearer(&state, secret).map_err(|unknown| match shared.answers.confirmed_ago(clock::now()) {
                Some(_) => unknown,
                None => Box::new(Problem {
                    code: Code::NoQuorum,
                    title: format!("node {} has not heard from a quorum since its start", shared.own.id),
                    detail: vec!["it cannot know tokens yet: ask another node, or show a certificate".into()],
                    loss: None,
                }),
            })?
        }
        (None, Some(certificate)) => certificate.clone(),
        (None, None) => {
            return Err(unauthenticated("the caller shows neither a client certificate nor a token"));
        }
    };
    let rights = caller.rights(&state, clock::wall())?;
    Ok((caller, rights))
}

/// The secret of the header `Authorization`, if there is one.
fn secret(headers: &HeaderMap) -> Result<Option<&str>, Box<Problem>> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().ok().and_then(|text| text.split_once(' '));
    match text {
        Some((scheme, secret)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(secret.trim())),
        _ => Err(unauthenticated("the header Authorization has another form than \"Bearer TOKEN\"")),
    }
}

fn unauthenticated(title: &str) -> Box<Problem> {
    let detail = vec![
        "show a certificate of this cluster (twofold cert client NAME), or send \"Authorization: Bearer tf_…\" \
         (twofold token create NAME)"
            .into(),
    ];
    Box::new(Problem { code: Code::Unauthenticated, title: title.to_owned(), detail, loss: None })
}

/// The refusal, and how to do better (RFC 9110 §11.6.1).
fn challenged(problem: &Problem, headers: &HeaderMap) -> Response {
    let mut response = refuse(problem);
    if response.status() == StatusCode::UNAUTHORIZED {
        let offered = headers.contains_key(header::AUTHORIZATION);
        let challenge = if offered { CHALLENGE_INVALID } else { CHALLENGE };
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}

/// The use of a break-glass token is committed before anything is done with it. What only reads is
/// answered also where it cannot be: it changes nothing, and this node's log has it.
async fn on_record(
    shared: &Arc<Shared>,
    caller: &Caller,
    what: &str,
    reads: bool,
) -> Result<(), ApiResponse> {
    error!(token = caller.name, what, "a break-glass token is used");
    let record = ApiRequest::BreakGlass { what: what.to_owned(), reads };
    let answered = answer_api::answer(shared, caller, record).await;
    if reads || answered.status == 200 { Ok(()) } else { Err(answered) }
}

/// Whatever an error came from (a wrong method, a path that does not parse), it has the one form.
async fn as_problem(response: Response, asked: &str) -> Response {
    let status = response.status();
    let formed = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM);
    if formed || status.is_success() {
        return response;
    }
    let (parts, body) = response.into_parts();
    let words = to_bytes(body, WORDS_MAX).await.unwrap_or_default();
    let words = String::from_utf8_lossy(&words).trim().to_owned();
    let code = match status {
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
        StatusCode::NOT_FOUND => Code::NotFound,
        status if status.is_client_error() => Code::BadRequest,
        _ => Code::Failed,
    };
    let allow = parts.headers.get(header::ALLOW).cloned();
    let title = match (code, allow.as_ref().and_then(|a| a.to_str().ok())) {
        (Code::MethodNotAllowed, Some(allow)) => format!("{asked}: the path takes {allow} only"),
        _ if words.is_empty() => format!("{asked}: {status}"),
        _ => words,
    };
    let mut response = refuse(&Problem { code, title, detail: vec![], loss: None });
    response.headers_mut().extend(allow.map(|allow| (header::ALLOW, allow)));
    response
}

/// The media type of refusals (RFC 9457).
pub const PROBLEM: &str = "application/problem+json";
