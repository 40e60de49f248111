//! `/v1/config`: the configuration by generation.

use std::sync::Arc;

use app_api::v1::ConfigRequest;
use app_cert::Role;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::Response;
use axum::{Extension, Json};

use super::answer_api;
use super::api::{bad_request, needs, respond};
use super::caller::Caller;
use super::shared::Shared;
use crate::wire::ApiRequest;

/// `GET`: what is in force, and what was.
pub async fn show(State(shared): State<Arc<Shared>>) -> Response {
    respond(answer_api::answer(&shared, ApiRequest::Config).await)
}

/// `POST`: a dry run changes nothing, and any role may see one.
pub async fn apply(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    body: Result<Json<ConfigRequest>, JsonRejection>,
) -> Response {
    let body = match body {
        Ok(Json(body)) => ConfigRequest { by: caller.for_person(&body.by), ..body },
        Err(rejection) => return bad_request(rejection.body_text()),
    };
    if !body.dry_run
        && let Some(refusal) = needs(Role::Admin, &caller, "another configuration")
    {
        return refusal;
    }
    respond(answer_api::answer(&shared, ApiRequest::Configure { body }).await)
}
