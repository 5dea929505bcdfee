//! Clients that ask before they send (`Expect: 100-continue`). Whoever may not send is told so at once, and sends nothing; the framework
//! underneath would say "go on" to everybody.

use std::{sync::Arc, time::Instant};

use actix_http::{Request, Response};
use actix_web::{
    HttpMessage,
    body::BoxBody,
    cookie::Cookie,
    http::{Method, StatusCode, header},
};

use super::{
    error::{self, Error},
    headers,
    request::{class_of, client_address, known_method, number_of, wants_json},
    same_origin,
    session::{SESSION, cookie_name, of_token},
};
use crate::{
    authorize::{self, Actor, Credential},
    domain::access::Privilege,
    meter,
    operations::{Failure, Service},
};

/// Lets a request go on to its handler, which is when the client is told to send; or answers it.
pub async fn permit(service: Service, request: Request) -> Result<Request, Response<BoxBody>> {
    let begun = Instant::now();
    let number = number_of(request.peer_addr(), request.headers(), &service.config.trusted_proxies);
    match check(&service, &request, &number).await {
        Ok(()) => Ok(request),
        Err(refused) => {
            tracing::info!(request_id = %number, method = %request.method(), path = request.uri().path(), status = refused.status.as_u16(), "refused before its body");
            meter::request(known_method(request.method()), "none".to_owned(), class_of(refused.status), begun.elapsed());
            let mut answer = error::answer_to(&refused, wants_json(request.headers()), &number);
            headers::put(answer.headers_mut(), service.config.is_secure());
            if let Ok(number) = header::HeaderValue::from_str(&number) {
                answer.headers_mut().insert(header::HeaderName::from_static("x-request-id"), number);
            }
            // The body that was announced may come nevertheless, and is no request.
            answer.head_mut().set_connection_type(actix_http::ConnectionType::Close);
            Err(answer.into())
        }
    }
}

async fn check(service: &Service, request: &Request, number: &str) -> Result<(), Error> {
    let expected = request.headers().get(header::EXPECT).and_then(|expected| expected.to_str().ok()).unwrap_or_default();
    if !expected.trim().eq_ignore_ascii_case("100-continue") {
        return Err(super::head::unknown_expectation());
    }
    // A program that shows a token is looked at by who handles tokens.
    if *request.method() != Method::POST || request.headers().contains_key(header::AUTHORIZATION) {
        return Ok(());
    }
    if let Some(refused) = same_origin::refusal(request.headers(), service.config.public_url.as_deref()) {
        return Err(refused);
    }
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.trim_start().to_ascii_lowercase().starts_with("multipart/") {
        return Ok(());
    }
    // Only who is signed in and may create images sends files.
    let name = cookie_name(&service.config, SESSION);
    let cookies = request.headers().get_all(header::COOKIE).filter_map(|line| line.to_str().ok());
    let token = cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| Cookie::parse_encoded(pair.trim()).ok())
        .find(|cookie| cookie.name() == name);
    let Some(token) = token else { return Err(Error::not_signed_in()) };
    let Some((session, found)) = of_token(service, token.value()).await? else { return Err(Error::not_signed_in()) };
    let actor = Arc::new(Actor {
        user: found.user.id,
        name: found.user.name,
        device: String::new(),
        credential: Credential::Session(session),
        address: client_address(request.peer_addr(), request.headers(), &service.config.trusted_proxies),
        request_id: number.to_owned(),
    });
    let permitted = authorize::look(&service.db, &actor, |conn, viewer| viewer.require(conn, Privilege::CreateImage));
    match permitted.await {
        Ok(()) => Ok(()),
        Err(failure @ Failure::Denied { .. }) => Err(Error { status: StatusCode::FORBIDDEN, ..Error::from(failure) }),
        Err(failure) => Err(failure.into()),
    }
}
