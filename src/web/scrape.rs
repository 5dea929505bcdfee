//! The page for Prometheus, on a listener of its own: whoever can reach the console cannot read it, and it is not behind a sign-in.

use actix_web::{
    App, HttpResponse,
    body::MessageBody,
    dev::{ServiceFactory, ServiceRequest, ServiceResponse},
    http::header,
    web::{Data, resource},
};

use crate::{
    meter::{self, Present},
    operations::Service,
};

/// Everything that the listener for metrics serves.
pub fn metrics_app(
    service: Service,
) -> App<
    impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse<impl MessageBody>, Error = actix_web::Error, InitError = ()>,
> {
    App::new().app_data(Data::new(service)).service(resource("/metrics").get(metrics))
}

/// `GET /metrics`. Nothing here waits for the database.
async fn metrics(service: Data<Service>) -> HttpResponse {
    let (used_connections, idle_connections) = service.db.connections();
    let present = Present { active_requests: service.life.active_requests(), used_connections, idle_connections };
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(meter::page(present))
}
