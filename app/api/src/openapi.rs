//! The API's description in OpenAPI 3.1, made of the types in [`v1`](crate::v1) and of the table of
//! operations ([`OPERATIONS`]).
//!
//! The schemas are derived; only what no type says (paths, roles, codes) stands in the table. The
//! daemon's router is held against it by a test, so neither has a path that the other lacks.

use std::collections::BTreeMap;

use schemars::generate::{Contract, SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::operations::{Answer, Operation, Parameter};
use crate::v1::{Code, Problem};

pub use crate::operations::OPERATIONS;

/// Where schemas stand in the document.
const SCHEMAS: &str = "/components/schemas";

/// The document.
#[must_use]
pub fn document() -> Value {
    let settings = |contract| {
        SchemaSettings::draft2020_12().with(|s| {
            s.definitions_path = SCHEMAS.into();
            s.contract = contract;
            s.meta_schema = None;
        })
    };
    // What is asked may leave out what has a default; what is answered has it.
    let mut asked = settings(Contract::Deserialize).into_generator();
    let mut answered = settings(Contract::Serialize).into_generator();
    let problem = schema::<Problem>(&mut answered);
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for operation in OPERATIONS {
        let described = describe(operation, &problem, &mut asked, &mut answered);
        paths.entry(operation.path).or_default().insert(operation.method.to_lowercase(), described);
    }
    let mut schemas = asked.take_definitions(true);
    for (name, schema) in answered.take_definitions(true) {
        let other = schemas.insert(name.clone(), schema.clone());
        assert!(other.is_none_or(|o| o == schema), "{name} is both asked and answered, in two forms");
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "twofold",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": "What operators and programs say to a node. Every node answers; what needs the \
                            leader is passed on to it. Refusals are application/problem+json with a stable \
                            `code`.",
        },
        "servers": [{
            "url": "https://{node}:{port}",
            "variables": { "node": { "default": "127.0.0.1" }, "port": { "default": "7443" } },
        }],
        // Either suffices.
        "security": [{ "token": [] }, { "certificate": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http", "scheme": "bearer",
                    "description": "An API token: twofold token create NAME --role ROLE --expires 30d",
                },
                "certificate": {
                    "type": "mutualTLS",
                    "description": "A client certificate of this cluster: twofold cert client NAME --role ROLE",
                },
            },
            "schemas": schemas,
        },
    })
}

fn describe(
    operation: &Operation,
    problem: &Value,
    asked: &mut SchemaGenerator,
    answered: &mut SchemaGenerator,
) -> Value {
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "description": format!("Needs the role `{}`. {}", operation.role, operation.note).trim(),
        "responses": responses(operation, problem, answered),
    });
    let parameters: Vec<Value> = operation.parameters.iter().map(parameter).collect();
    if !parameters.is_empty() {
        described["parameters"] = json!(parameters);
    }
    if let Some(body) = operation.body {
        let schema = body(asked);
        described["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    described
}

fn parameter(parameter: &Parameter) -> Value {
    let schema: Value = serde_json::from_str(parameter.schema).expect("the table's schemas are JSON");
    json!({
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
        "description": parameter.is,
        "schema": schema,
    })
}

fn responses(operation: &Operation, problem: &Value, answered: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    let content = match operation.answer {
        Answer::Json(schema) => json!({ "application/json": { "schema": schema(answered) } }),
        Answer::Text(kind) => json!({ kind: { "schema": { "type": "string" } } }),
    };
    responses.insert("200".into(), json!({ "description": "Done.", "content": content }));
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in operation.codes() {
        by_status.entry(code.http_status()).or_default().push(code);
    }
    for (status, codes) in by_status {
        let words: Vec<String> = codes.iter().map(|c| format!("`{}`", c.as_str())).collect();
        let mut response = json!({
            "description": format!("Code {}.", words.join(" or ")),
            "content": { "application/problem+json": { "schema": problem } },
        });
        if status == 401 {
            let is = "How to prove who asks (RFC 6750).";
            response["headers"] = json!({ "WWW-Authenticate": { "description": is, "required": true, "schema": { "type": "string" } } });
        }
        responses.insert(status.to_string(), response);
    }
    Value::Object(responses)
}

/// A reference to the type's schema, which the generator keeps.
pub(crate) fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    let schema: Schema = generator.subschema_for::<T>();
    schema.to_value()
}
