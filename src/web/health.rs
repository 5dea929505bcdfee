//! Is the process alive, and can it serve.

use actix_web::{HttpResponse, web::Data};

use crate::{
    db::people,
    operations::{Failure, Service},
};

/// `GET /livez`: the process answers.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n")
}

/// `GET /readyz`: the records can be read.
pub async fn ready(service: Data<Service>) -> HttpResponse {
    match service.db.read(|conn| Ok::<_, Failure>(people::anybody(conn)?)).await {
        Ok(_) => HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ready\n"),
        Err(failed) => {
            tracing::warn!(error = %failed, "not ready");
            HttpResponse::ServiceUnavailable().content_type("text/plain; charset=utf-8").body("the database does not answer\n")
        }
    }
}
