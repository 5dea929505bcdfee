//! Styles, scripts and icons: in the binary, served under a folder whose name is their digest, so that browsers keep them for ever and
//! relative imports between modules go on working.

use std::sync::LazyLock;

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

use crate::secret;

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/static"]
struct Static;

static PREFIX: LazyLock<String> = LazyLock::new(|| {
    let mut names: Vec<_> = Static::iter().collect();
    names.sort();
    let mut hash = Sha256::new();
    for file in names.iter().filter_map(|name| Some((name, Static::get(name)?))) {
        hash.update(file.0.as_bytes());
        hash.update(file.1.metadata.sha256_hash());
    }
    format!("/assets/{}", secret::hex(&hash.finalize()[..8]))
});

/// Where the present assets lie.
pub fn prefix() -> &'static str {
    &PREFIX
}

/// `GET /assets/{digest}/{path}`. An old digest is answered with what is there now, but not to be kept.
pub async fn serve(request: HttpRequest, path: web::Path<(String, String)>) -> HttpResponse {
    let (digest, name) = path.into_inner();
    let Some(file) = Static::get(&name) else { return HttpResponse::NotFound().finish() };
    let etag = format!("\"{}\"", secret::hex(&file.metadata.sha256_hash()[..8]));
    let present = prefix().ends_with(&digest);
    let caching = if present { "public, max-age=31536000, immutable" } else { "no-cache" };
    let known = request.headers().get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == etag.as_bytes());
    if known {
        return HttpResponse::NotModified().insert_header((header::ETAG, etag)).finish();
    }
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, caching))
        .insert_header((header::ETAG, etag))
        .content_type(content_type(&name))
        .body(file.data)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
