//! The description of the API: OpenAPI 3.1, made of the handlers' own annotations, and a page that shows it to people.
//!
//! What is the same for every operation is not written at each of them but added here: the token, the ways to be refused, the headers of
//! preconditions and of requests that are sent again, and HEAD beside GET. A test compares the operations with the router's.

use std::sync::LazyLock;

use actix_web::{HttpResponse, http::StatusCode};
use askama::Template;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use super::{BASE, Problem, clusters, content, events, images, own, storages, system};
use crate::{
    db::images::Sort,
    domain::{audit, image, storage},
    media::os_catalogue,
    web::{error::Error, page::bare_html, problems},
};

#[derive(OpenApi)]
#[openapi(
    info(title = "vmimg", description = "An image service for virtual machines. Each request shows a token: `Authorization: Bearer vmi_…`."),
    paths(
        own::account, own::revoke_token,
        images::list, images::create, images::show, images::change, images::delete, images::cancel_upload, images::check, images::forget,
        content::get, content::put, events::of_image,
        storages::list, storages::add, storages::show, storages::change, storages::remove, storages::check, storages::connect,
        storages::disconnect,
        clusters::list, clusters::add, clusters::show, clusters::change, clusters::remove, clusters::hosts, clusters::host,
        events::list, system::operating_systems, system::settings, openapi,
    ),
    components(schemas(Problem)),
    tags(
        (name = "account", description = "Whose token it is."),
        (name = "images", description = "Images and their files."),
        (name = "storages", description = "Storages of both kinds, and the connections of datastores to clusters."),
        (name = "clusters", description = "Clusters and their hosts."),
        (name = "service", description = "What the service knows, and what was done."),
    ),
)]
struct Annotated;

/// The whole document.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document = serde_json::to_value(Annotated::openapi()).unwrap_or_default();
    complete(&mut document);
    document
});

/// Adds what is the same for every operation.
fn complete(document: &mut Value) {
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    document["info"]["license"] = json!({ "name": "Apache-2.0", "identifier": "Apache-2.0" });
    document["servers"] = json!([{ "url": BASE }]);
    document["components"]["securitySchemes"] = json!({ "token": { "type": "http", "scheme": "bearer" } });
    document["security"] = json!([{ "token": [] }]);
    let Some(paths) = document["paths"].as_object_mut() else { return };
    for (path, methods) in paths.iter_mut() {
        let Some(methods) = methods.as_object_mut() else { continue };
        for (method, operation) in methods.iter_mut() {
            operation["operationId"] = json!(operation_id(method, path));
            complete_operation(method, operation);
        }
        if let Some(get) = methods.get("get") {
            let head = head_of(get);
            methods.insert("head".to_owned(), head);
        }
    }
}

/// The name of an operation: `patch_images_id`.
fn operation_id(method: &str, path: &str) -> String {
    let words = path.split(['/', '-', '.']).map(|part| part.trim_matches(['{', '}'])).filter(|part| !part.is_empty());
    [method].into_iter().chain(words).collect::<Vec<_>>().join("_")
}

fn complete_operation(method: &str, operation: &mut Value) {
    let open = operation["security"].as_array().is_some_and(Vec::is_empty);
    if !operation["parameters"].is_array() {
        operation["parameters"] = json!([]);
    }
    operation["parameters"].as_array_mut().into_iter().flatten().for_each(complete_parameter);
    let sends = !operation["requestBody"].is_null();
    let sends_json = !operation["requestBody"]["content"]["application/json"].is_null();
    let conditional = operation["parameters"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == "If-Match"));
    let mut refusals: Vec<(u16, &str)> = vec![
        (400, "The request or its query cannot be understood."),
        (414, "The address is longer than 16 KiB."),
        (417, "The Expect header asks for something that the service does not do."),
        (500, "The service met an error that it does not know."),
    ];
    if !open {
        refusals.extend([
            (401, "There is no token, or one that is not valid."),
            (403, "A right is missing, or the token was not made for this."),
            (404, "There is nothing here, or nothing that you may see."),
            (503, "The records or the storage cannot be reached now."),
        ]);
    }
    if sends || method == "post" {
        refusals.extend([(408, "The body did not arrive in time."), (413, "The body is too large."), (415, "The body has another type.")]);
    }
    if sends || sends_json || method == "post" {
        refusals.push((422, "What was sent cannot be taken; the errors say what is wrong."));
    }
    if method != "get" {
        refusals.push((409, "A rule stands against it."));
    }
    if matches!(method, "post" | "put") {
        refusals.push((507, "The storage is full."));
    }
    if conditional {
        refusals.extend([(412, "It does not have the version that If-Match names."), (428, "If-Match is missing.")]);
    }
    if method == "post"
        && let Some(parameters) = operation["parameters"].as_array_mut()
    {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "A name for this request, as a random UUID. Sent again with the same key within 24 hours, it gets the same answer, marked Idempotency-Replayed, and nothing is done twice.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
        }));
    }
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for (status, description) in refusals {
        responses.entry(status.to_string()).or_insert_with(|| json!({ "description": description }));
    }
    for (status, response) in responses.iter_mut().filter(|(status, _)| status.as_str() >= "400") {
        response["content"] = json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
        if status == "401" {
            response["headers"] = json!({ "WWW-Authenticate": { "schema": { "type": "string" } } });
        }
    }
}

/// Lists the words that a parameter of a query can have, from where they are defined.
fn complete_parameter(parameter: &mut Value) {
    let schema = match (parameter["in"].as_str(), parameter["name"].as_str()) {
        (Some("header"), Some("If-Match")) => {
            parameter["schema"]["pattern"] = json!(r#"^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$"#);
            return;
        }
        (Some("query"), Some(name)) => match name {
            "type" => words(image::Kind::ALL.iter().map(|kind| kind.as_str())),
            "status" => words(image::Shown::ALL.iter().map(|shown| shown.as_str())),
            "os" => words(os_catalogue::all().iter().map(|system| system.id).chain([os_catalogue::OTHER])),
            "sort" => {
                let both = Sort::ALL.iter().flat_map(|sort| [sort.as_str().to_owned(), format!("-{}", sort.as_str())]);
                json!({ "type": "string", "enum": both.collect::<Vec<_>>() })
            }
            "kind" => words(storage::Kind::ALL.iter().map(|kind| kind.as_str())),
            "action" => words(audit::Action::ALL.iter().map(|action| action.as_str())),
            "outcome" => words(audit::Outcome::ALL.iter().map(|outcome| outcome.as_str())),
            "storage" | "cluster" | "object" | "actor" => json!({ "type": "string", "format": "uuid" }),
            _ => return,
        },
        _ => return,
    };
    let several = parameter["schema"]["items"].is_object();
    parameter["schema"] = if several { json!({ "type": "array", "items": schema }) } else { schema };
}

fn words<'word>(words: impl Iterator<Item = &'word str>) -> Value {
    json!({ "type": "string", "enum": words.collect::<Vec<_>>() })
}

/// HEAD is GET without the body.
fn head_of(get: &Value) -> Value {
    let mut head = get.clone();
    head["operationId"] = json!(format!("{}_head", get["operationId"].as_str().unwrap_or_default()));
    head["summary"] = json!("As GET, without the body.");
    if let Some(head) = head.as_object_mut() {
        head.remove("description");
    }
    for response in head["responses"].as_object_mut().into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
        response.remove("content");
    }
    head
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "service", security(()), responses((status = 200, body = Value)))]
async fn openapi() -> HttpResponse {
    HttpResponse::Ok().json(&*DOCUMENT)
}

/// `GET /api/v1/openapi.json`
pub async fn json() -> HttpResponse {
    openapi().await
}

/// One row of a table of parameters or members.
struct Row {
    name: String,
    place: String,
    kind: String,
    required: bool,
    words: String,
}

/// One answer of an operation.
struct AnswerView {
    status: String,
    words: String,
    body: String,
}

/// One operation.
struct OperationView {
    anchor: String,
    method: String,
    path: String,
    summary: String,
    words: String,
    parameters: Vec<Row>,
    body_type: String,
    body: Vec<Row>,
    answers: Vec<AnswerView>,
    curl: String,
}

/// Operations that belong together.
struct Section {
    id: String,
    words: String,
    operations: Vec<OperationView>,
}

/// What a thing looks like.
struct SchemaView {
    name: String,
    words: String,
    members: Vec<Row>,
}

#[derive(Template)]
#[template(path = "docs/api.html")]
struct ApiPage {
    base: &'static str,
    sections: Vec<Section>,
    schemas: Vec<SchemaView>,
    problems: usize,
}

/// `GET /api`
pub async fn page() -> Result<HttpResponse, Error> {
    let document = &*DOCUMENT;
    let page = ApiPage { base: BASE, sections: sections(document), schemas: schemas(document), problems: problems::ALL.len() };
    bare_html(StatusCode::OK, &page)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn schema_name(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

fn resolve<'document>(document: &'document Value, schema: &'document Value) -> &'document Value {
    schema_name(schema).map_or(schema, |name| &document["components"]["schemas"][name])
}

/// A type in words: `string (uuid)`, `list of Image`, `integer or null`.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema_name(schema) {
        return name.to_owned();
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        if let Some(all) = schema[several].as_array() {
            return all.iter().map(kind).collect::<Vec<_>>().join(" or ");
        }
    }
    let named = |kind: &str| match (kind, schema["format"].as_str()) {
        ("array", _) => format!("list of {}", self::kind(&schema["items"])),
        ("null", _) => "null".to_owned(),
        (kind, Some(format)) => format!("{kind} ({format})"),
        (kind, None) => kind.to_owned(),
    };
    match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).map(named).collect::<Vec<_>>().join(" or "),
        one => one.as_str().map_or_else(|| "any".to_owned(), named),
    }
}

fn members(document: &Value, schema: &Value) -> Vec<Row> {
    let schema = resolve(document, schema);
    let required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
    let members = schema["properties"].as_object();
    members
        .into_iter()
        .flatten()
        .map(|(name, member)| Row {
            name: name.clone(),
            place: String::new(),
            kind: kind(member),
            required: required(name),
            words: text(&member["description"]),
        })
        .collect()
}

fn sections(document: &Value) -> Vec<Section> {
    let mut sections: Vec<Section> = document["tags"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|tag| Section { id: text(&tag["name"]), words: text(&tag["description"]), operations: Vec::new() })
        .collect();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for method in ["get", "post", "put", "patch", "delete"] {
            let operation = &methods[method];
            if operation.is_null() {
                continue;
            }
            if let Some(section) = sections.iter_mut().find(|section| operation["tags"][0] == section.id) {
                section.operations.push(view(document, path, method, operation));
            }
        }
    }
    sections
}

fn view(document: &Value, path: &str, method: &str, operation: &Value) -> OperationView {
    let parameters = operation["parameters"].as_array().into_iter().flatten().map(|parameter| Row {
        name: text(&parameter["name"]),
        place: text(&parameter["in"]),
        kind: kind(&parameter["schema"]),
        required: parameter["required"] == true,
        words: text(&parameter["description"]),
    });
    let body = operation["requestBody"]["content"].as_object().and_then(|content| content.iter().next());
    let answers = operation["responses"].as_object().into_iter().flatten().map(|(status, answer)| AnswerView {
        status: status.clone(),
        words: text(&answer["description"]),
        body: answer["content"].as_object().into_iter().flatten().map(|(kind_of, body)| words_of(kind_of, &body["schema"])).collect(),
    });
    OperationView {
        anchor: text(&operation["operationId"]),
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: text(&operation["summary"]),
        words: text(&operation["description"]),
        parameters: parameters.collect(),
        body_type: body.map(|(kind_of, body)| words_of(kind_of, &body["schema"])).unwrap_or_default(),
        body: body.map(|(_, body)| members(document, &body["schema"])).unwrap_or_default(),
        answers: answers.collect(),
        curl: curl(document, path, method, operation),
    }
}

fn words_of(kind_of: &str, schema: &Value) -> String {
    match schema_name(schema) {
        Some(name) => format!("{name} ({kind_of})"),
        None => kind_of.to_owned(),
    }
}

/// A call that can be copied.
fn curl(document: &Value, path: &str, method: &str, operation: &Value) -> String {
    let mut words = vec!["curl".to_owned()];
    if !operation["security"].is_array() {
        words.push("-H \"Authorization: Bearer $TOKEN\"".to_owned());
    }
    if method != "get" {
        words.push(format!("-X {}", method.to_uppercase()));
    }
    let parameters = operation["parameters"].as_array();
    if parameters.is_some_and(|all| all.iter().any(|one| one["name"] == "If-Match")) {
        words.push("-H 'If-Match: \"1\"'".to_owned());
    }
    let content = &operation["requestBody"]["content"];
    if !content["application/json"].is_null() {
        let example = example(document, &content["application/json"]["schema"]);
        words.push(format!("--json '{example}'"));
    } else if !content["application/octet-stream"].is_null() {
        words.push("-H 'Content-Type: application/octet-stream' -T image.iso".to_owned());
    } else if path.ends_with("/content") {
        words.push("-o image.iso".to_owned());
    }
    let address = path.replace("{id}", "$ID").replace("{cluster}", "$CLUSTER");
    words.push(format!("\"$URL{BASE}{address}\""));
    words.join(" ")
}

/// What a body can look like: its required members, or all where none is.
fn example(document: &Value, schema: &Value) -> Value {
    let schema = resolve(document, schema);
    if !schema["example"].is_null() {
        return schema["example"].clone();
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or_default(),
        one => one.as_str().unwrap_or_default(),
    };
    match kind {
        "integer" | "number" => json!(1),
        "array" => json!([]),
        "object" => {
            let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let members = schema["properties"].as_object().into_iter().flatten();
            let shown = members.filter(|(name, _)| required.is_empty() || required.contains(&name.as_str()));
            Value::Object(shown.map(|(name, member)| (name.clone(), example(document, member))).collect())
        }
        _ => json!("…"),
    }
}

fn schemas(document: &Value) -> Vec<SchemaView> {
    let all = document["components"]["schemas"].as_object().into_iter().flatten();
    all.filter(|(_, schema)| schema["properties"].is_object())
        .map(|(name, schema)| SchemaView { name: name.clone(), words: text(&schema["description"]), members: members(document, schema) })
        .collect()
}
