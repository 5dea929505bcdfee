//! The headers that every answer carries, errors included.

use actix_web::{
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{self, HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    web::Data,
};

use super::uploads;
use crate::operations::Service;

/// Nothing but our own files, nothing inline, nobody frames us. Images may be `data:` because browsers draw controls with them.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'; manifest-src 'self'";

const ALWAYS: [(&str, &str); 8] = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=(), screen-wake-lock=(self)"),
    ("x-permitted-cross-domain-policies", "none"),
];

/// The middleware. Pages are never kept by browsers or proxies unless a handler says otherwise.
pub async fn add(request: ServiceRequest, next: Next<impl MessageBody>) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let secure = request.app_data::<Data<Service>>().is_some_and(|service| service.config.is_secure());
    let upload = uploads::is_here(request.path());
    let mut response = next.call(request).await?;
    if upload {
        uploads::put_version(response.headers_mut());
    }
    put(response.headers_mut(), secure);
    Ok(response)
}

/// Puts them where they are missing.
pub fn put(headers: &mut HeaderMap, secure: bool) {
    for (name, value) in ALWAYS {
        let name = HeaderName::from_static(name);
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000; includeSubDomains"));
    }
}
