//! `/v1/config`: the configuration by generation.

use std::sync::Arc;

use app_api::v1::ConfigRequest;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::Response;
use axum::{Extension, Json};

use super::api::{ask, wrong_body};
use super::shared::Shared;
use crate::caller::Caller;
use crate::wire::ApiRequest;

/// `GET`: what is in force, and what was.
pub async fn show(State(shared): State<Arc<Shared>>, Extension(caller): Extension<Caller>) -> Response {
    ask(&shared, &caller, ApiRequest::Config).await
}

/// `POST`: a dry run changes nothing, and any role may see one.
pub async fn apply(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    body: Result<Json<ConfigRequest>, JsonRejection>,
) -> Response {
    match body {
        Ok(Json(body)) => {
            let body = ConfigRequest { by: caller.for_person(&body.by), ..body };
            ask(&shared, &caller, ApiRequest::Configure { body }).await
        }
        Err(rejection) => wrong_body(&rejection),
    }
}
