//! Refuses every change that another site asks a person's browser for, before a byte of the body is read.
//!
//! Browsers say where a request comes from in headers that no page can set: `Sec-Fetch-Site` and `Origin`. A change must come from our own
//! origin by all of them that are there, and at least one must be. Over plain HTTP the former is absent, so that `Origin` decides. This
//! needs no token in the form, which would have to precede a file of many gigabytes.

use actix_web::{
    ResponseError,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, StatusCode, header},
    middleware::Next,
    web::Data,
};

use super::{api, error::Error, uploads};
use crate::operations::Service;

/// The middleware.
pub async fn check(request: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    // A program's token is sent by nobody but the program: no site can make a browser send it.
    if !safe && !api::is_api(request.path()) && !uploads::shows_token(&request) {
        let public_url = request.app_data::<Data<Service>>().and_then(|service| service.config.public_url.clone());
        if let Some(error) = refusal(request.headers(), public_url.as_deref()) {
            return Ok(request.into_response(error.error_response()));
        }
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

/// Why a change with these headers is refused, if it is.
pub fn refusal(headers: &header::HeaderMap, public_url: Option<&str>) -> Option<Error> {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?").to_owned());
    let host = header(header::HOST.as_str()).unwrap_or_default();
    if is_ours(header("sec-fetch-site").as_deref(), header(header::ORIGIN.as_str()).as_deref(), &host, public_url) {
        return None;
    }
    let sentence = "The request did not come from a page of this console. Open the console in a tab of its own and try again from there. \
                    If you reach it through a proxy, the proxy must pass on the Host header, or the setting public_url must name the \
                    address that people type.";
    Some(Error::new(StatusCode::FORBIDDEN, "origin", "Refused for safety", sentence))
}

/// Whether a change comes from a page of our own.
pub fn is_ours(fetch_site: Option<&str>, origin: Option<&str>, host: &str, public_url: Option<&str>) -> bool {
    let by_site = fetch_site.map(|site| matches!(site, "same-origin" | "none"));
    let by_origin = origin.map(|origin| match public_url {
        Some(url) => origin.eq_ignore_ascii_case(url),
        None => {
            let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            !host.is_empty() && authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
        }
    });
    match (by_site, by_origin) {
        (None, None) => false,
        (site, origin) => site.unwrap_or(true) && origin.unwrap_or(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_comes_from_our_own_pages() {
        let rows = [
            (Some("same-origin"), Some("http://a:80"), None, true),
            (Some("same-origin"), None, None, true),
            (Some("none"), None, None, true),
            (None, Some("http://a:80"), None, true),
            (None, Some("HTTP://A:80"), None, false),
            (None, Some("http://A:80"), None, true),
            (None, None, None, false),
            (Some("cross-site"), None, None, false),
            (Some("same-site"), Some("http://a:80"), None, false),
            (Some("same-origin"), Some("http://b"), None, false),
            (None, Some("null"), None, false),
            (None, Some("http://a:81"), None, false),
            (None, Some("http://x.a:80"), None, false),
            (None, Some("http://a:80"), Some("https://images.example.org"), false),
            (None, Some("https://images.example.org"), Some("https://images.example.org"), true),
        ];
        for (site, origin, public_url, ours) in rows {
            assert_eq!(is_ours(site, origin, "a:80", public_url), ours, "{site:?} {origin:?} {public_url:?}");
        }
    }
}
