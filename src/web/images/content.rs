//! The file of an image, in and out: the look before it is sent, the stream of the form that sends it, and the download.

use std::sync::Arc;

use actix_files::NamedFile;
use actix_web::{
    HttpRequest, HttpResponse,
    body::{BodySize, MessageBody, SizedStream},
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    web::{Bytes, Data, Path, Payload},
};
use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use crate::{
    authorize::{self, Actor, right},
    domain::{
        ids::ImageId,
        text::FieldError,
        upload::{self, Stopped},
        version::Expected,
    },
    media::{HEAD_BYTES, Label},
    operations::{
        Failure, Service,
        create_image::{self, File},
        download_image, find_image, receive_file, same_content, upload_image,
    },
    secret,
    storage::{Buffer, Sender, StorageError},
    web::{
        error::Error,
        form::{ARRIVES_WITHIN, Fields},
        head::is_head_only,
        images::{
            file_form::{BESIDE_THE_FILE, FilePart, Form},
            show::name_of,
        },
        page::{Flash, see_other, with_cookie},
        request::wants_json,
        session::SignedIn,
    },
};

/// Reads name, size and the first 64 KiB of a file that a script looks at before it is sent.
pub async fn read_head(request: &HttpRequest, payload: Payload) -> Result<(File, Fields), Error> {
    timeout(ARRIVES_WITHIN, read_all_of_head(request, payload)).await.map_err(|_| Error::too_slow())?
}

async fn read_all_of_head(request: &HttpRequest, mut payload: Payload) -> Result<(File, Fields), Error> {
    let query = Fields::parse(request.query_string())?;
    let bytes: u64 = query.one("size")?.parse().map_err(|_| Error::bad_request("The file's size is missing."))?;
    let mut head = Buffer::default();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Error::bad_request("The first bytes of the file did not arrive whole. Try again."))?;
        if head.len() + chunk.len() > HEAD_BYTES {
            return Err(Error::new(StatusCode::PAYLOAD_TOO_LARGE, "file.head", "Too large", "Only the first 64 KiB are looked at here."));
        }
        head.append(&chunk, HEAD_BYTES);
    }
    let name = upload::base_name(query.one("name")?).to_owned();
    if (head.len() as u64) < bytes.min(HEAD_BYTES as u64) {
        return Err(Error::bad_request("The first bytes of the file did not arrive whole. Try again."));
    }
    Ok((File { name, bytes, exact: true, head: Bytes::from_owner(head), sha256: None }, query))
}

/// What is wrong, for a script.
pub fn faults_json(status: StatusCode, faults: &[FieldError]) -> HttpResponse {
    HttpResponse::build(status).json(serde_json::json!({ "ok": false, "errors": faults }))
}

/// What a file is that may be sent, for a script; with a link to the image that seems to have the same content.
pub async fn looked_json(service: &Service, actor: &Arc<Actor>, file: &File, label: &Label) -> Result<HttpResponse, Error> {
    let same = same_content::find(service, actor, file).await?;
    let warnings: Vec<_> = same
        .iter()
        .map(|found| serde_json::json!({ "message": same_content::words(found), "href": format!("/images/{}", found.image.id) }))
        .collect();
    Ok(HttpResponse::Ok().json(serde_json::json!({ "ok": true, "label": create_image::label_words(label), "warnings": warnings })))
}

/// `POST /images/{id}/preflight`: may this file be sent for this image?
pub async fn preflight(
    request: HttpRequest,
    service: Data<Service>,
    me: SignedIn,
    id: Path<ImageId>,
    payload: Payload,
) -> Result<HttpResponse, Error> {
    let (file, _) = read_head(&request, payload).await?;
    let label = match create_image::check_file(&file, service.config.max_upload) {
        Ok(label) => label,
        Err(fault) => return Ok(faults_json(StatusCode::OK, &[fault])),
    };
    let bytes = file.bytes;
    let checked = authorize::read::<right::UpdateImage, _>(&service.db, &me.actor, *id, move |conn, granted| {
        let found = find_image(conn, granted.on())?;
        upload_image::may_begin(&found)?;
        create_image::check_storage(conn, &found.storage.id.to_string(), Some(bytes))??;
        Ok(())
    })
    .await;
    Ok(match checked {
        Ok(()) => looked_json(&service, &me.actor, &file, &label).await?,
        Err(Failure::Invalid(faults)) => faults_json(StatusCode::OK, &faults),
        Err(Failure::Refused(refusal)) => faults_json(StatusCode::OK, &[FieldError::new("file", refusal.code, refusal.sentence)]),
        Err(other) => return Err(other.into()),
    })
}

/// Moves the file part of a form into the storage, and publishes it. A client that falls silent or drips is given up.
pub async fn receive(service: &Service, actor: &Arc<Actor>, image: ImageId, mut part: FilePart, form: &mut Form) -> Result<(), Failure> {
    // A script announced the exact size when the image was made; then the file must have it.
    if !part.file.exact {
        let announced = Box::pin(service.db.read(move |conn| find_image(conn, image))).await?;
        let upload = announced
            .upload
            .filter(|upload| upload.stopped().is_none() && announced.image.file_name == upload::clean_name(&part.file.name));
        let announced = upload.map_or(0, |upload| upload.declared());
        // Unless it is another file of that name: one that says itself that it is longer.
        let says = crate::media::look_at_head(&part.file.head, None).ok().and_then(|label| label.declared_bytes).unwrap_or(0);
        if announced > 0 && announced < part.file.bytes && part.file.bytes - announced <= BESIDE_THE_FILE && says <= announced {
            (part.file.bytes, part.file.exact) = (announced, true);
        }
    }
    let mut transfer = Box::pin(upload_image::begin(service, actor, image, Expected::Any, &part.file)).await?;
    transfer.push(std::mem::take(&mut part.file.head)).await?;
    if let Some(rest) = part.rest.take() {
        transfer.push(rest).await?;
    }
    if let Some(mut field) = part.field.take() {
        transfer = receive_file::pump(transfer, &mut field, &service.config).await?;
    }
    match form.end().await {
        Ok(()) => {}
        Err(failure) if failure.code() == Some("upload.incomplete") => {
            return Err(receive_file::interrupted(transfer, "The end of the form did not arrive.".to_owned()).await);
        }
        Err(failure) => return Err(Box::pin(transfer.stop(Stopped::Refused, failure.to_string(), failure)).await),
    }
    receive_file::publish(transfer).await
}

/// `GET /images/{id}/content`: the form stands on the image's page.
pub async fn show(id: Path<ImageId>) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, format!("/images/{id}"))).finish()
}

/// `POST /images/{id}/content`: the file of an image that waits for it.
pub async fn submit(
    request: HttpRequest,
    service: Data<Service>,
    me: SignedIn,
    id: Path<ImageId>,
    payload: Payload,
) -> Result<HttpResponse, Error> {
    let (me, cookie) = me.with_device(&service.config);
    let mut form = Form::new(&request, payload, &service.config);
    let received = match form.file_part().await {
        // Apart from the request's own task, which very many have that never come so far.
        Ok(part) => Box::pin(receive(&service, &me.actor, *id, part, &mut form)).await,
        Err(failed) => Err(failed),
    };
    let here = format!("/images/{id}");
    let wants_json = wants_json(request.headers());
    let answer = match (received, wants_json) {
        (Ok(()), true) => HttpResponse::Ok().json(serde_json::json!({ "image": here })),
        (Ok(()), false) => {
            let flash = Flash::about("The file of ", here.clone(), &name_of(&service, *id).await?, " is complete. The image is Available.");
            see_other(&service.config, &here, Some(&flash))
        }
        (Err(Failure::NotFound | Failure::Unseen), _) => return Err(Error::not_found()),
        (Err(failed), true) => {
            let error = Error::from(failed);
            let fault = FieldError::new("file", error.code, error.sentence);
            HttpResponse::build(error.status).json(serde_json::json!({ "errors": [fault], "image": here }))
        }
        (Err(failed), false) => {
            let error = Error::from(failed);
            if error.status.is_server_error() && error.status != StatusCode::INSUFFICIENT_STORAGE {
                return Err(error);
            }
            see_other(&service.config, &here, Some(&Flash::plain(&error.sentence, "", "").bad()))
        }
    };
    with_cookie(answer, cookie.as_ref())
}

/// `GET /images/{id}/download`
pub async fn download(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<ImageId>) -> Result<HttpResponse, Error> {
    file(&request, &service, &me.actor, *id).await
}

/// The file of an image, whole or in ranges, with its digest (RFC 9530).
pub async fn file(request: &HttpRequest, service: &Service, actor: &Arc<Actor>, id: ImageId) -> Result<HttpResponse, Error> {
    let range = request.headers().get(header::RANGE).and_then(|range| range.to_str().ok());
    let first = !is_head_only(request) && range.is_none_or(|range| range.starts_with("bytes=0-"));
    let (found, file) = download_image::run(service, actor, id, first).await?;
    let name = download_name(&found.image.name);
    let same_file = file.try_clone().map_err(Error::unexpected)?;
    let named = NamedFile::from_file(file, "image.iso").map_err(Error::unexpected)?;
    let mut answer = named.set_content_type("application/octet-stream".parse().map_err(Error::unexpected)?).into_response(request);
    if let Some((at, end)) = bytes_of(&answer) {
        // Which bytes are asked for, and whether, is settled; they are read in our own way.
        let handle = service.handle(&found.storage);
        let sender = Sender::new(handle.directory, handle.workers, id, same_file, (at, end)).map_err(Error::unexpected)?;
        let pieces =
            stream::try_unfold(sender, async |mut sender| Ok::<_, StorageError>(sender.next().await?.map(|piece| (piece, sender))));
        answer = answer.map_body(|_, _| SizedStream::new(end - at, Box::pin(pieces)).boxed());
    }
    let kept = if answer.status().is_success() || answer.status() == StatusCode::NOT_MODIFIED { "private, no-cache" } else { "no-store" };
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_str(&saved_as(&name)).map_err(Error::unexpected)?);
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    if let Some(digest) = found.image.sha256.as_deref().and_then(secret::unhex) {
        let value = secret::digest_field(&digest);
        headers.insert(HeaderName::from_static("repr-digest"), HeaderValue::from_str(&value).map_err(Error::unexpected)?);
    }
    // Bytes of images are not compressed on the way: they would lose their ranges and their length.
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("identity"));
    Ok(answer)
}

/// Which bytes of the file an answer carries: from, and before. None where it carries no file, or not one stretch of it.
fn bytes_of(answer: &HttpResponse) -> Option<(u64, u64)> {
    let BodySize::Sized(length) = answer.body().size() else { return None };
    let at = match answer.status() {
        StatusCode::OK => 0,
        StatusCode::PARTIAL_CONTENT => {
            let range = answer.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
            range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()?
        }
        _ => return None,
    };
    Some((at, at + length))
}

/// Says under which name a download is saved (RFC 6266). Letters and digits of ASCII stay, all else is escaped.
pub fn saved_as(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_');
    let escaped: String =
        name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect();
    format!("attachment; filename*=UTF-8''{escaped}")
}

/// The image's name as a file's name: what no file system takes is replaced, and a name that means a device on Windows is none here.
pub fn download_name(name: &str) -> String {
    let safe: String = name.chars().map(|c| if c.is_control() || "/\\:*?\"<>|".contains(c) { '_' } else { c }).collect();
    let safe = safe.trim().trim_end_matches(['.', ' ']).to_owned();
    let stem = safe.split('.').next().unwrap_or_default().trim_end().to_uppercase();
    let numbered = |device| stem.strip_prefix(device).is_some_and(|rest| "123456789¹²³".contains(rest) && rest.chars().count() == 1);
    let device = matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") || numbered("COM") || numbered("LPT");
    let safe = if device || safe.is_empty() { format!("_{safe}") } else { safe };
    if safe.to_lowercase().ends_with(".iso") { safe } else { format!("{safe}.iso") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_saved_under_a_name_that_every_system_takes() {
        let rows = [
            ("Debian 13", "Debian 13.iso"),
            ("Debian.ISO", "Debian.ISO"),
            ("a/b\\c:d", "a_b_c_d.iso"),
            ("../../etc/passwd", ".._.._etc_passwd.iso"),
            ("name. . ", "name.iso"),
            ("CON", "_CON.iso"),
            ("con.iso", "_con.iso"),
            ("Lpt1 .txt", "_Lpt1 .txt.iso"),
            ("COM10", "COM10.iso"),
            ("...", "_.iso"),
            (".iso", ".iso"),
        ];
        for (name, file) in rows {
            assert_eq!(download_name(name), file, "{name}");
        }
    }
}
