//! The OpenAPI document, made from the route table and the types on the wire.

use axum::{Json, response::IntoResponse};
use cattle_schemas::problem::{ErrorCode, Problem};
use schemars::{Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::routes::{Access, Gives, ROUTES, Route, Takes, Verb, Waits};

/// What may go wrong with every call.
const EVERYWHERE: &[ErrorCode] = &[
    ErrorCode::BadRequest,
    ErrorCode::Forbidden,
    ErrorCode::TooManyRequests,
    ErrorCode::Internal,
    ErrorCode::Unavailable,
];

/// The document, as `/openapi.json` serves it and `schemas/openapi.json` keeps it.
#[must_use]
pub fn openapi() -> Value {
    let mut generator = SchemaSettings::openapi3().into_generator();
    generator.subschema_for::<Problem>();
    let mut paths = Map::new();
    for route in ROUTES {
        let operation = operation(route, &mut generator);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.verb.as_str().to_ascii_lowercase()] = operation;
    }
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.0.4",
        "info": {
            "title": "clawdlets cattle: socket API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "HTTP over a Unix socket. Who calls is known from the socket (SO_PEERCRED): operators may do all, bots only what concerns what their own uid asked for. Every error is RFC 9457 problem+json with a stable `code`.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "http://localhost", "description": "over the socket" }],
        "paths": paths,
        "components": { "schemas": schemas },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.summary,
        "responses": responses(route, generator),
    });
    if route.access == Access::Operators {
        operation["description"] = json!("For operators.");
    }
    let parameters = parameters(route, generator);
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    let json_body = |shape: Schema, required: bool| json!({ "required": required, "content": { "application/json": { "schema": shape } } });
    match route.takes {
        Takes::Nothing => {}
        Takes::Spec => {
            operation["requestBody"] = json!({
                "required": true,
                "description": "A spec file, its task inline; see cattle.schema.json.",
                "content": {
                    "application/yaml": { "schema": { "type": "string" } },
                    "application/json": { "schema": { "type": "object" } },
                },
            });
        }
        Takes::Json(shape) => operation["requestBody"] = json_body(shape(generator), true),
        Takes::MaybeJson(shape) => operation["requestBody"] = json_body(shape(generator), false),
    }
    operation
}

fn parameters(route: &Route, generator: &mut SchemaGenerator) -> Vec<Value> {
    let text = json!({ "type": "string" });
    let header = |name: &str, description: &str| json!({ "name": name, "in": "header", "required": false, "description": description, "schema": text });
    let mut parameters = Vec::new();
    for part in route.path.split('/') {
        if let Some(name) = part
            .strip_prefix('{')
            .and_then(|part| part.strip_suffix('}'))
        {
            parameters
                .push(json!({ "name": name, "in": "path", "required": true, "schema": text }));
        }
    }
    if let Some(shape) = route.query {
        parameters.extend(query_parameters(&shape(generator)));
    }
    if route.verb == Verb::Put {
        parameters.push(header(
            "If-Match",
            "Refuse unless the spec has this version.",
        ));
    }
    if route.once {
        parameters.push(header(
            "Idempotency-Key",
            "Carry the request out once, answer it again.",
        ));
    }
    if matches!(route.gives, Gives::Events(_)) {
        parameters.push(header("Last-Event-ID", "Resume a stream after this event."));
    }
    parameters
}

fn query_parameters(shape: &Schema) -> Vec<Value> {
    let properties = shape.get("properties").and_then(Value::as_object);
    properties
        .into_iter()
        .flatten()
        .map(|(name, schema)| {
            let mut schema = schema.clone();
            let description = schema
                .as_object_mut()
                .and_then(|it| it.remove("description"));
            let mut parameter =
                json!({ "name": name, "in": "query", "required": false, "schema": schema });
            if let Some(description) = description {
                parameter["description"] = description;
            }
            parameter
        })
        .collect()
}

fn responses(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    let any = json!({ "type": "string" });
    let content = match route.gives {
        Gives::Json(shape) => json!({ "application/json": { "schema": shape(generator) } }),
        Gives::Events(shape) => json!({
            "application/json": { "schema": shape(generator) },
            "text/event-stream": { "schema": any },
        }),
        Gives::Bytes(media_type) => json!({ media_type: { "schema": any } }),
        Gives::AnyJson => json!({ "application/json": { "schema": { "type": "object" } } }),
    };
    let description = match route.waits {
        Waits::Stream => "Done, or as it happens",
        Waits::Poll => "It holds, or the time is over",
        Waits::Pass | Waits::Hetzner => "Done",
    };
    responses.insert(
        "200".to_owned(),
        json!({ "description": description, "content": content }),
    );
    let mut problems: Vec<ErrorCode> = route.problems.to_vec();
    problems.extend(EVERYWHERE);
    if route.once {
        problems.push(ErrorCode::IdempotencyConflict);
    }
    for code in problems {
        let (status, title) = code.status_and_title();
        let word = serde_json::to_value(code).unwrap_or_default();
        let line = format!("{title} (`{}`)", word.as_str().unwrap_or_default());
        let content = json!({
            "application/problem+json": { "schema": generator.subschema_for::<Problem>() },
        });
        match responses.get_mut(&status.to_string()) {
            Some(response) => {
                let before = response["description"].as_str().unwrap_or_default();
                if !before.contains(&line) {
                    response["description"] = json!(format!("{before}; {line}"));
                }
            }
            None => {
                responses.insert(
                    status.to_string(),
                    json!({ "description": line, "content": content }),
                );
            }
        }
    }
    Value::Object(responses)
}

/// `GET /openapi.json`.
pub(super) async fn get() -> impl IntoResponse {
    Json(openapi())
}
