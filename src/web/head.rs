//! What is looked at in the head of a request before anything else: whether it asks for something that HTTP knows and this service does
//! not do, and `HEAD`, which is `GET` without the body.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    HttpMessage, HttpRequest, ResponseError,
    body::{BodySize, BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Bytes,
};

use super::error::Error;

/// From how many bytes on a body takes a while to arrive.
const LONG_BODY: u64 = 64 * 1024;
/// Longest path and query, in bytes. A filter that names two hundred things fits.
const MOST_URL: usize = 16 * 1024;

/// Marks a request that asked for the head alone.
#[derive(Debug, Clone, Copy)]
struct HeadOnly;

/// Whether only the head of the answer is asked for.
pub fn is_head_only(request: &HttpRequest) -> bool {
    request.extensions().get::<HeadOnly>().is_some()
}

/// The middleware that answers `HEAD` by whatever answers `GET`. What has no `GET` has no `HEAD` either.
pub async fn as_get(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let head_only = *request.method() == Method::HEAD;
    if head_only {
        request.head_mut().method = Method::GET;
        request.extensions_mut().insert(HeadOnly);
    }
    let response = next.call(request).await?.map_into_boxed_body();
    if !head_only {
        return Ok(response);
    }
    // The length is told; the bytes are not even read.
    Ok(response.map_body(|_, body| BoxBody::new(Unsent(body.size()))))
}

/// A body of which only the size is told.
struct Unsent(BodySize);

impl MessageBody for Unsent {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        self.0
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(None)
    }
}

/// How many bytes a request says that its body has.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Headers that browsers send at length, and that nobody here needs of a request with a long body: the short answer to it is sent as it is.
const IDLE: [&str; 13] = [
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "dnt",
    "pragma",
    "priority",
    "referer",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-user",
    "upgrade-insecure-requests",
    "user-agent",
];

/// Copies what is needed of the head of a request with a long body. Every value of a head keeps the connection's whole first buffer, and
/// the table is made for 28 of them: ten thousand clients that are silent in the middle of a file would hold 120 MiB by that alone.
pub fn hold_little(request: &mut ServiceRequest) {
    if content_length(request.headers()).unwrap_or(0) < LONG_BODY && !request.headers().contains_key(header::TRANSFER_ENCODING) {
        return;
    }
    let is_kept = |name: &HeaderName| !IDLE.contains(&name.as_str()) && !name.as_str().starts_with("sec-ch-");
    let kept: Vec<_> = request.headers().iter().filter(|(name, _)| is_kept(name)).collect();
    let mut few = HeaderMap::with_capacity(kept.len());
    for (name, value) in kept {
        let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) else { return };
        few.append(name.clone(), value);
    }
    request.head_mut().headers = few;
}

/// The middleware that refuses what the service does not do, before a byte of the body is read.
pub async fn check(request: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    match fault(&request) {
        Some(error) => {
            let mut answer = error.error_response();
            if error.status == StatusCode::METHOD_NOT_ALLOWED {
                answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
            }
            Ok(request.into_response(answer))
        }
        None => Ok(next.call(request).await?.map_into_boxed_body()),
    }
}

fn fault(request: &ServiceRequest) -> Option<Error> {
    let text = |name: HeaderName| request.headers().get(name).map(|value| value.to_str().unwrap_or("?").trim());
    let uri = request.uri();
    if *request.method() == Method::CONNECT {
        let sentence = "This is no proxy. Open the console's own address.";
        return Some(Error::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This cannot be done here", sentence));
    }
    if uri.path_and_query().is_some_and(|path| path.as_str().len() > MOST_URL) {
        let sentence = format!("The address is longer than {} KiB. Search or filter for less at once.", MOST_URL / 1024);
        return Some(Error::new(StatusCode::URI_TOO_LONG, "url.too_long", "Too long", sentence));
    }
    let host = text(header::HOST);
    if host.is_some_and(|host| !is_host(host)) {
        return Some(Error::bad_request("The Host header names no host."));
    }
    // A request to a proxy names its target twice; where the two differ, it was meant for somebody else.
    if let Some(authority) = uri.authority()
        && !host.is_some_and(|host| host.eq_ignore_ascii_case(authority.as_str()))
    {
        return Some(Error::bad_request("The address and the Host header name different hosts."));
    }
    if text(header::EXPECT).is_some_and(|expected| !expected.eq_ignore_ascii_case("100-continue")) {
        return Some(unknown_expectation());
    }
    let mut encodings = request.headers().get_all(header::CONTENT_ENCODING);
    if *request.method() != Method::GET && encodings.any(|encoding| !encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity")) {
        let sentence = "Requests are not unpacked here. Send it without Content-Encoding.";
        return Some(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "body.encoding", "This cannot be understood", sentence));
    }
    None
}

/// 417.
pub fn unknown_expectation() -> Error {
    let sentence = "The request expects something that this service does not do. Send it without the Expect header.";
    Error::new(StatusCode::EXPECTATION_FAILED, "expectation", "This cannot be met", sentence)
}

/// A name or an address, with a port or without.
fn is_host(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]%".contains(&byte))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_long_body_has_a_small_head_with_all_that_is_read() {
        let rows = [("content-length", "65536", true), ("transfer-encoding", "chunked", true), ("content-length", "65535", false)];
        for (name, value, is_small) in rows {
            let request = TestRequest::post().insert_header((name, value)).insert_header(("user-agent", "Mozilla/5.0"));
            let request = request.append_header(("cookie", "a=1")).append_header(("cookie", "b=2")).append_header(("sec-ch-ua", "x"));
            let mut request = request.to_srv_request();
            hold_little(&mut request);
            let headers = request.headers();
            assert_eq!(headers.get(name).unwrap(), value);
            assert_eq!(headers.get_all("cookie").map(HeaderValue::as_bytes).collect::<Vec<_>>(), [b"a=1", b"b=2"]);
            for idle in ["user-agent", "sec-ch-ua"] {
                assert_eq!(headers.contains_key(idle), !is_small, "{idle}, {value}");
            }
        }
    }

    #[test]
    fn what_the_service_does_not_do_is_told_by_the_head() {
        let long = format!("/images?q={}", "a".repeat(MOST_URL));
        let rows = [
            ("/images", "host", "a:80", None),
            ("/images", "expect", "100-Continue", None),
            ("/images", "content-encoding", "identity", None),
            ("http://a:80/images", "host", "A:80", None),
            ("/images", "host", "[::1]:80", None),
            (&*long, "host", "a", Some(414)),
            ("/images", "expect", "200-maybe", Some(417)),
            ("/images", "content-encoding", "gzip", Some(415)),
            ("/images", "host", "", Some(400)),
            ("/images", "host", "a/b@c", Some(400)),
            ("http://b/images", "host", "a", Some(400)),
        ];
        for (uri, name, value, status) in rows {
            let request = TestRequest::with_uri(uri).method(Method::POST).insert_header((name, value)).to_srv_request();
            assert_eq!(fault(&request).map(|error| error.status.as_u16()), status, "{name}: {value}");
        }
    }
}
