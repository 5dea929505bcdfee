//! The file of an image: up as it is, without a form around it, and down, whole or in ranges.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Data, Path, Payload},
};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use super::{
    body,
    etag::{IfMatch, IfMatchHeader},
    images,
    query::Query,
    token::Caller,
    view::Image,
};
use crate::{
    domain::ids::ImageId,
    operations::{
        Service,
        receive_file::{self, Sent},
    },
    web::{error::Error, head::content_length, images::content},
};

/// What a file can be called.
const TYPES: [&str; 5] =
    ["", "application/octet-stream", "application/x-iso9660-image", "application/x-cd-image", "application/vnd.efi.iso"];

/// Download the file of an image, whole or a range of it.
#[utoipa::path(get, path = "/images/{id}/content", tag = "images", params(
        ("id" = String, Path, format = "uuid"),
        ("Range" = Option<String>, Header, description = "As in `bytes=0-1023`.")),
    responses(
        (status = 200, description = "The file.", content_type = "application/octet-stream", body = [u8],
            headers(("Repr-Digest" = String, description = "The SHA-256 of the whole file (RFC 9530)."), ("Content-Disposition" = String))),
        (status = 206, description = "The range.", content_type = "application/octet-stream", body = [u8],
            headers(("Repr-Digest" = String, description = "The SHA-256 of the whole file (RFC 9530)."), ("Content-Range" = String))),
        (status = 304, description = "It is the file that If-None-Match or If-Modified-Since means."),
        (status = 409, description = "The image is not Available."),
        (status = 412, description = "It is not the file that If-Match or If-Unmodified-Since means."),
        (status = 416, description = "The range lies outside of the file.")))]
pub async fn get(request: HttpRequest, service: Data<Service>, caller: Caller, id: Path<ImageId>) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    content::file(&request, &service, &caller.actor, *id).await
}

/// What downloading would answer, without the bytes.
pub async fn head(request: HttpRequest, service: Data<Service>, caller: Caller, id: Path<ImageId>) -> Result<HttpResponse, Error> {
    get(request, service, caller, id).await
}

/// Send the file of an image. The first 64 KiB are looked at before the rest is read; the answer comes when the file is durable and the
/// image Available. A stream of unknown length must have the size that was announced with the image.
#[utoipa::path(put, path = "/images/{id}/content", tag = "images", params(
        ("id" = String, Path, format = "uuid"), IfMatchHeader,
        ("Repr-Digest" = Option<String>, Header, description = "`sha-256=:BASE64:`, compared when the file has arrived (RFC 9530). `Content-Digest` does the same.")),
    request_body(content = [u8], content_type = "application/octet-stream"),
    responses((status = 200, body = Image, headers(("ETag" = String))), (status = 409, description = "A rule stands against it."),
        (status = 507, description = "The storage is full.")))]
pub async fn put(
    request: HttpRequest,
    service: Data<Service>,
    caller: Caller,
    id: Path<ImageId>,
    expected: IfMatch,
    mut payload: Payload,
) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    let headers = request.headers();
    if !TYPES.contains(&body::media_type(headers).as_str()) {
        return Err(body::wrong_type("Send the file as it is, as application/octet-stream."));
    }
    if headers.contains_key(header::CONTENT_RANGE) {
        let sentence = "A part of a file cannot be put. Send the whole file, without a Content-Range.";
        return Err(Error::new(StatusCode::BAD_REQUEST, "content.range", "A file is sent whole", sentence));
    }
    let sent = Sent { length: content_length(headers), sha256: announced_digest(&request)? };
    Box::pin(receive_file::run(&service, &caller.actor, *id, expected.0, sent, &mut payload)).await?;
    images::answer(&service, *id).await
}

/// The SHA-256 that a request announces, if it does. Digests by other algorithms are ignored (RFC 9530).
fn announced_digest(request: &HttpRequest) -> Result<Option<[u8; 32]>, Error> {
    let mut announced: Option<[u8; 32]> = None;
    for name in ["repr-digest", "content-digest"] {
        let lines: Option<Vec<&str>> = request.headers().get_all(name).map(|line| line.to_str().ok()).collect();
        let lines = lines.ok_or_else(misspelt)?;
        if lines.is_empty() {
            continue;
        }
        if let Some(digest) = sha256_of(&lines.join(",")).ok_or_else(misspelt)? {
            if announced.is_some_and(|other| other != digest) {
                return Err(misspelt());
            }
            announced = Some(digest);
        }
    }
    Ok(announced)
}

fn misspelt() -> Error {
    let sentence = "Write a digest as sha-256=:BASE64:, with 32 bytes in the base64, the same in every header.";
    Error::new(StatusCode::BAD_REQUEST, "digest.syntax", "The digest cannot be read", sentence)
}

/// Parses a dictionary of digests; none if it is malformed.
pub fn sha256_of(text: &str) -> Option<Option<[u8; 32]>> {
    let digests: Dictionary = Parser::new(text).parse().ok()?;
    match digests.get("sha-256") {
        None => Some(None),
        Some(ListEntry::Item(item)) => match &item.bare_item {
            BareItem::ByteSequence(bytes) => Some(Some(bytes.as_slice().try_into().ok()?)),
            _ => None,
        },
        Some(ListEntry::InnerList(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_as_they_are_specified() {
        let zeros = format!("sha-256=:{}=:", "A".repeat(43));
        assert_eq!(sha256_of(&zeros), Some(Some([0; 32])));
        assert_eq!(sha256_of(&format!("sha-512=:AAAA:, {zeros}")), Some(Some([0; 32])));
        assert_eq!(sha256_of("sha-512=:AAAA:"), Some(None));
        for broken in
            ["sha-256", "sha-256=", "sha-256=abc", "sha-256=:AAAA:", "sha-256=:A%:", "sha-256=(:AAAA:)", "SHA-256=:AAAA:", ":AAAA:", "é"]
        {
            assert_eq!(sha256_of(broken), None, "{broken}");
        }
    }
}
