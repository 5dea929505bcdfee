//! What is known of a request before anything else: its number, who sent it, and a line in the log when it is answered.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Instant,
};

use actix_web::{
    HttpMessage,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{self, HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    web::Data,
};
use tracing::Instrument;

use super::connection::{self, Answering, Occupation, UnderWay};
use crate::{operations::Service, secret};

/// The number of a request, which also stands on error pages and in events.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// The client's address.
#[derive(Debug, Clone)]
pub struct ClientAddress(pub String);

/// Numbers a request, finds out whose it is, and logs it.
pub async fn number(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let id = new_number();
    let trusted = request.app_data::<Data<Service>>().map(|service| service.config.trusted_proxies.clone()).unwrap_or_default();
    let address = client_address(request.peer_addr(), request.headers(), &trusted);
    let (method, path, start) = (request.method().clone(), request.path().to_owned(), Instant::now());
    request.extensions_mut().insert(RequestId(id.clone()));
    request.extensions_mut().insert(ClientAddress(address.clone()));
    let occupation = request.request().conn_data::<Rc<Occupation>>().cloned();
    let under_way = occupation.as_ref().map(UnderWay::on);
    if let Some(occupation) = &occupation {
        connection::count_body(&mut request, occupation);
    }
    let span = tracing::info_span!("request", id = %id);
    let mut response = next.call(request).instrument(span).await?;
    let milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(request = %id, %method, %path, status = response.status().as_u16(), milliseconds, %address, "answered");
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), value);
    }
    Ok(response.map_body(|_, body| Answering::new(body, under_way)))
}

/// The number of another request.
pub fn new_number() -> String {
    secret::token().get(..16).unwrap_or_default().to_owned()
}

/// Whether a script of the console asks, which wants JSON; people's browsers want a page.
pub fn wants_json(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"application/json"))
}

/// The address of the connection's other end or, where that is a proxy that the settings trust, the last address in `X-Forwarded-For` that
/// is not one.
pub fn client_address(peer: Option<SocketAddr>, headers: &HeaderMap, trusted: &[IpAddr]) -> String {
    let Some(peer) = peer.map(|address| address.ip()) else { return String::new() };
    if !trusted.contains(&peer) {
        return peer.to_string();
    }
    let forwarded = headers.get_all("x-forwarded-for").filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",");
    let hops = forwarded.rsplit(',').filter_map(|hop| hop.trim().parse::<IpAddr>().ok());
    hops.into_iter().find(|hop| !trusted.contains(hop)).unwrap_or(peer).to_string()
}
