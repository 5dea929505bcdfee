//! The description of the API agrees with the router, and its pages are open and complete.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::support::{App, Start, routes};

const BASE: &str = "/api/v1";

async fn document(app: &App) -> Value {
    app.browser().get("/api/v1/openapi.json").await.expect(200).json()
}

#[actix_web::test]
async fn the_document_names_every_route_and_no_other() {
    let start = Start::sqlite();
    let app = start.open().await;
    let document = document(&app).await;
    assert_eq!((document["openapi"].as_str(), document["servers"][0]["url"].as_str()), (Some("3.1.0"), Some(BASE)));
    let described: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| format!("{} {BASE}{path}", method.to_uppercase()))
        })
        .collect();
    let routed: BTreeSet<String> = routes::all()
        .into_iter()
        .filter(|route| route.path.starts_with("/api/"))
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    assert!(routed.len() > 40, "{routed:?}");
    assert_eq!(described, routed);
    start.finish().await;
}

#[actix_web::test]
async fn every_operation_says_what_it_does_takes_and_answers() {
    let start = Start::sqlite();
    let app = start.open().await;
    let document = document(&app).await;
    let mut ids = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let name = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{name}: its id is taken");
            assert!(operation["summary"].as_str().is_some_and(|words| words.ends_with(['.', '?'])), "{name}: {}", operation["summary"]);
            let parameters = operation["parameters"].as_array().unwrap();
            let has = |place: &str, name: &str| parameters.iter().any(|parameter| parameter["in"] == place && parameter["name"] == name);
            for part in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                assert!(has("path", part), "{name}: {part}");
            }
            assert_eq!(has("header", "Idempotency-Key"), method == "post", "{name}");
            let answers = operation["responses"].as_object().unwrap();
            assert_eq!(answers.contains_key("428"), has("header", "If-Match"), "{name}");
            assert!(answers.keys().any(|status| status.starts_with('2')), "{name}");
            for (status, answer) in answers.iter().filter(|(status, _)| status.as_str() >= "400") {
                assert!(!answer["description"].as_str().unwrap().is_empty(), "{name} {status}");
                let problem = &answer["content"]["application/problem+json"]["schema"]["$ref"];
                assert!(method == "head" || problem == "#/components/schemas/Problem", "{name} {status}");
            }
            let references = serde_json::to_string(operation).unwrap();
            for reference in references.split("\"$ref\":\"#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
                assert!(document["components"]["schemas"][reference].is_object(), "{name}: nothing is called {reference}");
            }
        }
    }
    for required in
        ["PATCH /images/{id}", "DELETE /images/{id}", "PUT /images/{id}/content", "DELETE /storages/{id}", "PATCH /clusters/{id}"]
    {
        let (method, path) = required.split_once(' ').unwrap();
        assert!(document["paths"][path][method.to_lowercase()]["responses"]["412"].is_object(), "{required}");
    }
    start.finish().await;
}

#[actix_web::test]
async fn the_page_shows_every_operation_to_everybody() {
    let start = Start::sqlite();
    let app = start.ready().await;
    let document = document(&app).await;
    let page = app.browser().open("/api").await;
    page.expect_status(200);
    let text = page.answer.text();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys().filter(|method| *method != "head") {
            assert!(text.contains(&format!("<code>{} {path}</code>", method.to_uppercase())), "{method} {path}");
        }
    }
    for name in
        document["components"]["schemas"].as_object().unwrap().keys().filter(|name| !name.contains("All_") && !name.contains("Paged_"))
    {
        assert!(text.contains(&format!("id=\"schema-{name}\"")), "{name}");
    }
    page.expect("curl -H \"Authorization: Bearer $TOKEN\"");
    app.admin().open("/account/tokens").await.click("What programs can do").await.expect("The API");
    start.finish().await;
}
