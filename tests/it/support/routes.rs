//! The routes of the real router, as the framework itself reports them.

use actix_web::{introspection::IntrospectionTree, test, web::Data};

use super::Start;

/// A method and a pattern.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    pub path: String,
    pub method: String,
}

/// All routes, sorted.
pub fn all() -> Vec<Route> {
    static ALL: std::sync::OnceLock<Vec<Route>> = std::sync::OnceLock::new();
    let read = || std::thread::spawn(|| actix_web::rt::System::new().block_on(read())).join().unwrap();
    ALL.get_or_init(read).clone()
}

async fn read() -> Vec<Route> {
    let start = Start::sqlite();
    let app = test::init_service(vmimg::web::app(start.service())).await;
    let answer = test::call_service(&app, test::TestRequest::get().uri("/livez").to_request()).await;
    let tree = answer.request().app_data::<Data<IntrospectionTree>>().expect("the framework knows its routes").clone();
    let report: serde_json::Value = serde_json::from_str(&tree.report_as_json()).unwrap();
    let mut all: Vec<Route> = report
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|item| {
            let path = item["full_path"].as_str().unwrap().to_owned();
            let methods = item["methods"].as_array().unwrap().iter().map(|method| method.as_str().unwrap().to_owned()).collect::<Vec<_>>();
            methods.into_iter().map(move |method| Route { path: path.clone(), method })
        })
        .collect();
    all.sort();
    all.dedup();
    all
}
