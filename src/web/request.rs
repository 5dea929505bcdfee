//! What is known of a request before anything else: its number, who sent it; and what is said of it when its answer is out, in a line of
//! the log and in the metrics.

use std::{
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use actix_web::{
    HttpMessage, HttpRequest,
    body::{BodySize, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        ConnectionType, Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::{Bytes, Data},
};
use tracing::{Instrument, Span};

use super::{
    connection::{self, Answering, Occupation, UnderWay},
    head,
};
use crate::{
    domain::ids::UserId,
    meter,
    operations::{Service, readiness::Life},
    secret,
};

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// The longest number that is taken from a proxy.
const LONGEST_ID: usize = 64;
/// Characters of a path that the log keeps.
const LONGEST_PATH: usize = 500;

/// The number of a request, which also stands on error pages, in the log and in events.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// The client's address.
#[derive(Debug, Clone)]
pub struct ClientAddress(pub String);

/// Whose request it is, for the log; set by whoever finds that out.
#[derive(Debug, Clone, Copy)]
pub struct Asker(pub UserId);

/// Numbers a request, finds out whose it is, and tells of it when its answer has gone out.
pub async fn number(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    head::hold_little(&mut request);
    let service = request.app_data::<Data<Service>>().cloned();
    let trusted = service.as_ref().map(|service| service.config.trusted_proxies.as_slice()).unwrap_or_default();
    let address = client_address(request.peer_addr(), request.headers(), trusted);
    let id = number_of(request.peer_addr(), request.headers(), trusted);
    request.extensions_mut().insert(RequestId(id.clone()));
    request.extensions_mut().insert(ClientAddress(address.clone()));
    let occupation = request.request().conn_data::<Rc<Occupation>>().cloned();
    let under_way = occupation.as_ref().map(UnderWay::on);
    if let Some(occupation) = &occupation {
        connection::count_body(&mut request, occupation);
    }
    let span = tracing::info_span!("request", request_id = %id);
    let life = service.as_ref().map(|service| service.life.clone());
    let mut told = Told::begin(request.request(), address, span.clone(), life);
    let mut response = match next.call(request).instrument(span).await {
        Ok(response) => response,
        Err(failed) => {
            told.status = Some(failed.as_response_error().status_code());
            return Err(failed);
        }
    };
    told.status = Some(response.status());
    told.asker = response.request().extensions().get::<Asker>().map(|asker| asker.0);
    if let Some(pattern) = response.request().match_pattern() {
        told.route = Some(pattern);
    }
    let head = response.response_mut().head_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        head.headers_mut().insert(HEADER, value);
    }
    if service.is_some_and(|service| service.life.is_stopping()) {
        // What keeps its connection would go on asking a process that is about to end.
        head.set_connection_type(ConnectionType::Close);
    }
    Ok(response.map_body(|_, body| {
        told.size = body.size();
        Counted { body: Answering::new(body, under_way), told }
    }))
}

/// A request from its head to the end of its answer. What is to be said of it is said when it is dropped, whatever became of it.
struct Told {
    begun: Instant,
    method: Method,
    path: String,
    route: Option<String>,
    address: String,
    asker: Option<UserId>,
    status: Option<StatusCode>,
    size: BodySize,
    sent: u64,
    ended: bool,
    span: Span,
    life: Option<Arc<Life>>,
}

impl Told {
    fn begin(request: &HttpRequest, address: String, span: Span, life: Option<Arc<Life>>) -> Self {
        if let Some(life) = &life {
            life.begin_request();
        }
        Self {
            begun: Instant::now(),
            method: request.method().clone(),
            // As it was sent, with its escapes.
            path: request.uri().path().chars().take(LONGEST_PATH).collect(),
            // The router has not been asked yet, and is not when the request is refused or given up before.
            route: request.resource_map().match_pattern(request.path()),
            address,
            asker: None,
            status: None,
            size: BodySize::None,
            sent: 0,
            ended: false,
            span,
            life,
        }
    }

    /// Whether all of the answer went out.
    fn is_whole(&self) -> bool {
        match self.size {
            BodySize::None => true,
            BodySize::Sized(size) => self.sent == size || self.method == Method::HEAD,
            BodySize::Stream => self.ended || self.method == Method::HEAD,
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let took = self.begun.elapsed();
        if let Some(life) = &self.life {
            life.end_request();
        }
        let class = self.status.map_or("aborted", class_of);
        let route = self.route.take().unwrap_or_else(|| "none".to_owned());
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let user = self.asker.map(|user| user.to_string());
        self.span.in_scope(|| match self.status {
            Some(status) => tracing::info!(
                method = %self.method, route, path = self.path, status = status.as_u16(), milliseconds, bytes = self.sent, user,
                address = self.address, whole = self.is_whole(), "answered"
            ),
            None => tracing::info!(method = %self.method, route, path = self.path, milliseconds, address = self.address, "given up by the client"),
        });
        meter::request(known_method(&self.method), route, class, took);
    }
}

/// Methods are words of the client's: those that nobody knows share one label.
pub fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

pub fn class_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    }
}

/// A body that counts its bytes.
struct Counted {
    body: Answering,
    told: Told,
}

impl MessageBody for Counted {
    type Error = <Answering as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        let next = Pin::new(&mut this.body).poll_next(context);
        match &next {
            Poll::Ready(Some(Ok(bytes))) => this.told.sent += bytes.len() as u64,
            Poll::Ready(None) => this.told.ended = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        next
    }
}

/// The number of a request: the one that a trusted proxy gave it, or a new one.
pub fn number_of(peer: Option<SocketAddr>, headers: &HeaderMap, trusted: &[IpAddr]) -> String {
    let given = given_id(peer.map(|address| address.ip()), headers, trusted);
    given.unwrap_or_else(|| secret::token().get(..16).unwrap_or_default().to_owned())
}

/// Whether a script of the console asks, which wants JSON; people's browsers want a page.
pub fn wants_json(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"application/json"))
}

/// The number that a trusted proxy gave the request; whoever else sends one could make two requests look like one.
fn given_id(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[IpAddr]) -> Option<String> {
    peer.filter(|peer| trusted.contains(peer))?;
    let mut given = headers.get_all(HEADER);
    let id = given.next()?.to_str().ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (given.next().is_none() && (8..=LONGEST_ID).contains(&id.len()) && id.bytes().all(is_plain)).then(|| id.to_owned())
}

/// The client's address as text; nothing where there is no connection, as in tests.
pub fn client_address(peer: Option<SocketAddr>, headers: &HeaderMap, trusted: &[IpAddr]) -> String {
    let Some(peer) = peer.map(|address| address.ip()) else { return String::new() };
    let forwarded = headers.get_all("x-forwarded-for").filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",");
    sender(peer, &forwarded, trusted).to_string()
}

/// The address of the connection's other end or, where that is a proxy that the settings trust, the one that it names in
/// `X-Forwarded-For`, and so on from right to left. What stands beyond an address that is not trusted, or beyond what is no address, was
/// written by anybody.
pub fn sender(peer: IpAddr, forwarded: &str, trusted: &[IpAddr]) -> IpAddr {
    let mut known = peer.to_canonical();
    let mut hops = forwarded.rsplit(',').map(hop);
    while trusted.iter().any(|proxy| proxy.to_canonical() == known) {
        let Some(next) = hops.next().flatten() else { break };
        known = next;
    }
    known
}

/// An address as proxies write it: alone, in brackets, or with a port.
fn hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let alone = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = alone.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_believed_only_as_far_as_trust_goes() {
        let trusted = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().unwrap());
        let rows = [
            ("192.0.2.7", "198.51.100.1", "192.0.2.7"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "203.0.113.9, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
            ("10.0.0.1", "10.0.0.2", "10.0.0.2"),
            // What a proxy writes for a client that it does not know must not lead to what the client wrote itself.
            ("10.0.0.1", "203.0.113.9, unknown", "10.0.0.1"),
            ("10.0.0.1", "203.0.113.9,", "10.0.0.1"),
            ("10.0.0.1", "203.0.113.9, 198.51.100.1:4711", "198.51.100.1"),
            ("10.0.0.1", "203.0.113.9, [2001:db8::1]:4711", "2001:db8::1"),
            ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
            ("::ffff:10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ];
        for (peer, forwarded, expected) in rows {
            assert_eq!(sender(peer.parse().unwrap(), forwarded, &trusted).to_string(), expected, "{peer} {forwarded}");
        }
    }

    #[test]
    fn a_number_is_taken_from_trusted_proxies_only_and_must_be_plain() {
        let (proxy, other): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let given = |peer, ids: &[&str]| {
            let mut headers = HeaderMap::new();
            ids.iter().for_each(|id| headers.append(HEADER, HeaderValue::from_str(id).unwrap()));
            given_id(Some(peer), &headers, &[proxy])
        };
        assert_eq!(given(proxy, &["3f2a-91.c:D_"]).as_deref(), Some("3f2a-91.c:D_"));
        assert_eq!(given(other, &["3f2a-91.c:D_"]), None);
        for ids in [vec![], vec![""], vec!["short"], vec!["a b c d e f"], vec!["aaaaaaaa\""], vec!["aaaaaaaa", "bbbbbbbb"]] {
            assert_eq!(given(proxy, &ids), None, "{ids:?}");
        }
        assert_eq!(given(proxy, &[&"a".repeat(65)]), None);
    }

    #[test]
    fn labels_are_words_of_closed_sets() {
        assert_eq!(known_method(&Method::GET), "GET");
        assert_eq!(known_method(&"BREW".parse().unwrap()), "other");
        let classes = [101, 204, 303, 404, 503, 999].map(|status| class_of(StatusCode::from_u16(status).unwrap()));
        assert_eq!(classes, ["1xx", "2xx", "3xx", "4xx", "5xx", "5xx"]);
    }
}
