//! The console: pages, forms, and the little JSON that the console's own scripts need; and [`api`], the same operations for programs.
//!
//! A handler reads the request, calls one operation, and answers; a POST ends in a redirect. [`routes`] names every URL. The layers around
//! every request stand in one place, [`app`], from the outside in: number and log, headers, words for errors, same origin, session.

pub mod api;
pub mod assets;
pub mod connection;
pub mod problems;

#[cfg(any(test, fuzzing))]
pub mod fuzzing;

mod account;
mod clusters;
mod error;
mod events;
mod expect;
mod form;
mod head;
mod headers;
mod health;
mod images;
mod new_image;
mod page;
mod request;
mod routes;
mod same_origin;
mod scrape;
mod session;
mod set_up;
mod settings;
mod sign_in;
mod storages;
mod systems;
mod tokens;
mod uploads;

use actix_web::{
    App,
    body::MessageBody,
    dev::{ServiceFactory, ServiceRequest, ServiceResponse},
    middleware::{Compress, from_fn},
    web::{Data, PayloadConfig},
};

pub use scrape::metrics_app;

use crate::operations::Service;

/// The whole console, for a server or for a test.
pub fn app(
    service: Service,
) -> App<
    impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse<impl MessageBody>, Error = actix_web::Error, InitError = ()>,
> {
    App::new()
        .app_data(Data::new(service))
        .app_data(PayloadConfig::new(form::MOST_BYTES))
        .configure(api::configure)
        .configure(uploads::configure)
        .configure(routes::configure)
        .wrap(from_fn(session::require))
        .wrap(from_fn(same_origin::check))
        .wrap(from_fn(head::check))
        .wrap(from_fn(error::render))
        .wrap(from_fn(headers::add))
        .wrap(Compress::default())
        .wrap(from_fn(head::as_get))
        .wrap(from_fn(request::number))
}
