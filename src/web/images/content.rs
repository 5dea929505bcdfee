//! The file of an image, in and out: the look before it is sent, the stream of the form that sends it, and the download.

use std::sync::Arc;

use actix_files::NamedFile;
use actix_multipart::{Field, Multipart};
use actix_web::{
    HttpRequest, HttpResponse,
    body::{BodySize, MessageBody, SizedStream},
    http::{
        StatusCode,
        header::{self, ContentDisposition, DispositionParam, DispositionType, ExtendedValue, HeaderName, HeaderValue},
    },
    web::{Bytes, Data, Path, Payload},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use crate::{
    authorize::{self, Actor, right},
    config::Config,
    domain::{
        ids::ImageId,
        text::FieldError,
        upload::{self, Stopped},
        version::Expected,
    },
    media::HEAD_BYTES,
    operations::{
        Failure, Service,
        create_image::{self, File},
        download_image, find_image, receive_file, upload_image,
    },
    secret,
    storage::{Sender, StorageError},
    web::{
        error::Error,
        form::{ARRIVES_WITHIN, Fields},
        images::show::name_of,
        page::{Flash, see_other, with_cookie},
        request::wants_json,
        session::SignedIn,
    },
};

/// What a form may hold beside the file, in bytes.
const BESIDE_THE_FILE: u64 = 64 * 1024;
/// Parts that a form may have before the file.
const MOST_PARTS: usize = 32;

/// Reads name, size and the first 64 KiB of a file that a script looks at before it is sent.
pub async fn read_head(request: &HttpRequest, payload: Payload) -> Result<(File, Fields), Error> {
    timeout(ARRIVES_WITHIN, read_all_of_head(request, payload)).await.map_err(|_| Error::too_slow())?
}

async fn read_all_of_head(request: &HttpRequest, mut payload: Payload) -> Result<(File, Fields), Error> {
    let query = Fields::parse(request.query_string())?;
    let bytes: u64 = query.one("size")?.parse().map_err(|_| Error::bad_request("The file's size is missing."))?;
    let mut head = Vec::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Error::bad_request("The first bytes of the file did not arrive whole. Try again."))?;
        if head.len() + chunk.len() > HEAD_BYTES {
            return Err(Error::new(StatusCode::PAYLOAD_TOO_LARGE, "file.head", "Too large", "Only the first 64 KiB are looked at here."));
        }
        head.extend_from_slice(&chunk);
    }
    let name = upload::base_name(query.one("name")?).to_owned();
    if (head.len() as u64) < bytes.min(HEAD_BYTES as u64) {
        return Err(Error::bad_request("The first bytes of the file did not arrive whole. Try again."));
    }
    Ok((File { name, bytes, exact: true, head, sha256: None }, query))
}

/// What is wrong, for a script.
pub fn faults_json(status: StatusCode, faults: &[FieldError]) -> HttpResponse {
    HttpResponse::build(status).json(serde_json::json!({ "ok": false, "errors": faults }))
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
        Ok(()) => HttpResponse::Ok().json(serde_json::json!({ "ok": true, "label": create_image::label_words(&label) })),
        Err(Failure::Invalid(faults)) => faults_json(StatusCode::OK, &faults),
        Err(Failure::Refused(refusal)) => faults_json(StatusCode::OK, &[FieldError::new("file", refusal.code, refusal.sentence)]),
        Err(other) => return Err(other.into()),
    })
}

/// The start of the file part of a form: its name, and its first 64 KiB.
pub struct FilePart {
    pub file: File,
    field: Field,
    rest: Option<Bytes>,
}

/// Finds the file part of a form. Everything before it is small; the file comes last.
pub async fn file_part(request: &HttpRequest, form: &mut Multipart, config: &Config) -> Result<FilePart, Failure> {
    let too_slow = || Failure::invalid("file", "upload.incomplete", "The beginning of the file did not arrive in time. Try again.");
    timeout(config.client_silence, first_of_file(request, form, config.max_upload)).await.map_err(|_| too_slow())?
}

async fn first_of_file(request: &HttpRequest, form: &mut Multipart, most: u64) -> Result<FilePart, Failure> {
    let length: Option<u64> = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let Some(length) = length else {
        return Err(Failure::invalid("file", "upload.no_length", "The request does not say how long it is. Send a Content-Length."));
    };
    if length > most.saturating_add(BESIDE_THE_FILE) {
        return Err(upload::too_large(length, most).into());
    }
    let broken = || Failure::invalid("file", "upload.incomplete", "The form did not arrive whole. Try again.");
    for _ in 0..MOST_PARTS {
        let next = form.next().await;
        let Some(field) = next else { return Err(Failure::invalid("file", "file.none", "Choose a file.")) };
        let mut field = field.map_err(|_| broken())?;
        let disposition = field.content_disposition().cloned();
        if field.name() != Some("file") {
            let mut skipped = 0_u64;
            while let Some(chunk) = field.next().await {
                skipped += chunk.map_err(|_| broken())?.len() as u64;
                if skipped > BESIDE_THE_FILE {
                    return Err(Failure::invalid("file", "form.too_large", "The form holds more than a file beside the file."));
                }
            }
            continue;
        }
        let name = disposition.as_ref().and_then(|disposition| {
            disposition.get_filename_ext().and_then(extended).or_else(|| disposition.get_filename().map(str::to_owned))
        });
        let head = receive_file::read_head(&mut field).await.map_err(|_| broken())?;
        // The length of the whole form bounds the file's; where the head is all of it, its size is known.
        let exact = head.is_all();
        let bytes = if exact { head.bytes.len() as u64 } else { length };
        let name = name.as_deref().map(upload::base_name).unwrap_or_default().to_owned();
        return Ok(FilePart { file: File { name, bytes, exact, head: head.bytes, sha256: None }, field, rest: head.rest });
    }
    Err(Failure::invalid("file", "form.too_many_parts", format!("The form has more than {MOST_PARTS} parts before the file.")))
}

/// The name in `filename*=UTF-8''…`.
fn extended(value: &ExtendedValue) -> Option<String> {
    String::from_utf8(value.value.clone()).ok()
}

/// Moves the file part of a form into the storage, and publishes it. A client that falls silent or drips is given up.
pub async fn receive(
    service: &Service,
    actor: &Arc<Actor>,
    image: ImageId,
    mut part: FilePart,
    form: &mut Multipart,
) -> Result<(), Failure> {
    // A script announced the exact size when the image was made; then the file must have it.
    if !part.file.exact {
        let announced = service.db.read(move |conn| find_image(conn, image)).await?;
        let upload = announced
            .upload
            .filter(|upload| upload.stopped().is_none() && announced.image.file_name == upload::clean_name(&part.file.name));
        let announced = upload.map_or(0, |upload| upload.declared());
        if announced > 0 && announced < part.file.bytes && part.file.bytes - announced <= BESIDE_THE_FILE {
            (part.file.bytes, part.file.exact) = (announced, true);
        }
    }
    let mut transfer = upload_image::begin(service, actor, image, Expected::Any, &part.file).await?;
    transfer.push(Bytes::from(std::mem::take(&mut part.file.head))).await?;
    if let Some(rest) = part.rest.take() {
        transfer.push(rest).await?;
    }
    let transfer = receive_file::pump(transfer, &mut part.field, &service.config).await?;
    drop(part);
    match timeout(service.config.client_silence, form.next()).await {
        Ok(None) => {}
        Ok(Some(Ok(_))) => {
            let failure =
                Failure::invalid("file", "form.field_order", "The form goes on after the file. Send one file, as the last field.");
            return Err(transfer.stop(Stopped::Refused, failure.to_string(), failure).await);
        }
        _ => return Err(receive_file::interrupted(transfer, "The end of the form did not arrive.".to_owned()).await),
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
    mut form: Multipart,
) -> Result<HttpResponse, Error> {
    let (me, cookie) = me.with_device(&service.config);
    let received = match file_part(&request, &mut form, &service.config).await {
        Ok(part) => receive(&service, &me.actor, *id, part, &mut form).await,
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
    let first = request.method() == actix_web::http::Method::GET && range.is_none_or(|range| range.starts_with("bytes=0-"));
    let (found, file) = download_image::run(service, actor, id, first).await?;
    let name = download_name(&found.image.name);
    let same_file = file.try_clone().map_err(Error::unexpected)?;
    let named = NamedFile::from_file(file, "image.iso").map_err(Error::unexpected)?;
    let mut answer = named
        .set_content_type("application/octet-stream".parse().map_err(Error::unexpected)?)
        .set_content_disposition(ContentDisposition {
            disposition: DispositionType::Attachment,
            parameters: vec![DispositionParam::FilenameExt(ExtendedValue {
                charset: header::Charset::Ext("UTF-8".to_owned()),
                language_tag: None,
                value: name.into_bytes(),
            })],
        })
        .into_response(request);
    if let Some((at, end)) = bytes_of(&answer) {
        // Which bytes are asked for, and whether, is settled; they are read in our own way.
        let handle = service.handle(&found.storage);
        let sender = Sender::new(handle.directory, handle.workers, id, same_file, (at, end)).map_err(Error::unexpected)?;
        let pieces =
            stream::try_unfold(sender, async |mut sender| Ok::<_, StorageError>(sender.next().await?.map(|piece| (piece, sender))));
        answer = answer.map_body(|_, _| SizedStream::new(end - at, Box::pin(pieces)).boxed());
    }
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    if let Some(digest) = found.image.sha256.as_deref().and_then(secret::unhex) {
        let value = format!("sha-256=:{}:", BASE64_STANDARD.encode(digest));
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

/// The image's name as a file's name: what no file system takes is replaced.
fn download_name(name: &str) -> String {
    let safe: String = name.chars().map(|c| if c.is_control() || "/\\:*?\"<>|".contains(c) { '_' } else { c }).collect();
    let safe = safe.trim().trim_end_matches('.').to_owned();
    if safe.to_lowercase().ends_with(".iso") { safe } else { format!("{safe}.iso") }
}
