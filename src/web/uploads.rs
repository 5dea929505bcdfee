//! Uploads that can be continued, as tus 1.0.0 has them (creation, creation-with-upload, expiration, checksum, termination), for browsers
//! with their session and for programs with their token. An upload has the identifier of its image.
//!
//! A request with an `Authorization` header is a program's: its token alone counts, and no page of another site can make a browser send
//! one. All others are a browser's, and guarded as its forms are. `X-HTTP-Method-Override` is not read: what a request does stands in its
//! method, which the guards look at.

use std::{sync::Arc, time::Duration};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError,
    body::{BoxBody, MessageBody},
    cookie::Cookie,
    dev::{self, ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::{Next, from_fn},
    web::{self, Data, Path, Payload, ServiceConfig, resource, scope},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use super::{
    api::Bearer,
    error::Error,
    form::ARRIVES_WITHIN,
    head::{content_length, is_head_only},
    images::show::handed_over,
    page::with_cookie,
    session::SignedIn,
};
use crate::{
    authorize::Actor,
    clock::Timestamp,
    db::uploads::Upload,
    domain::{
        ids::ImageId,
        image::{Kind, Stored},
    },
    media::os_catalogue,
    operations::{
        Failure, Service,
        create_image::Answers,
        receive_file::read_head,
        resume_upload::{self, Checksum, Chunk, For, Reached, Shows},
        stop_upload,
        take_over_upload::{self, Handed, Proof},
    },
    secret,
    storage::Doing,
};

const VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "creation,creation-with-upload,expiration,checksum,termination";
const ALGORITHMS: &str = "sha256,sha1";
/// How the bytes of a chunk are called.
const CHUNK_TYPE: &str = "application/offset+octet-stream";
/// The longest header of metadata, in bytes: a note of the most characters fits.
const MOST_METADATA: usize = 32 * 1024;
/// Uploads in one list.
const MOST_LISTED: i64 = 50;
/// Bytes of a piece that the command for another machine sends: at first, and at least.
const PIECE: u64 = 16 * 1024 * 1024;
const PIECE_LEAST: u64 = 64 * 1024;
/// Bytes of a block of a proof: at least, at most, and how many blocks.
const BLOCK_LEAST: u64 = 64 * 1024;
const BLOCK_MOST: u64 = 64 * 1024 * 1024;
const MOST_BLOCKS: usize = 32 * 1024;
/// Bytes of a proof.
const MOST_PROOF: usize = 4 * 1024 * 1024;
const MOST_PROOF_WORDS: &str = "A proof has at most 4 MiB. Choose larger blocks.";

const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
/// The versions that are spoken.
pub const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
/// The most bytes that a file can have.
pub const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
const TUS_CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
const UPLOAD_CONCAT: HeaderName = HeaderName::from_static("upload-concat");
const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const UPLOAD_CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
/// How far an upload has come.
pub const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// Whether a path belongs to uploads.
pub fn is_here(path: &str) -> bool {
    path == "/uploads" || path.starts_with("/uploads/")
}

/// Whether a program asks: then its token counts, and cookies and origins do not.
pub fn shows_token(request: &ServiceRequest) -> bool {
    is_here(request.path()) && request.headers().contains_key(header::AUTHORIZATION)
}

/// Whether anybody may ask: what the protocol can do here is no secret.
pub fn is_open(request: &ServiceRequest) -> bool {
    is_here(request.path()) && *request.method() == Method::OPTIONS
}

/// Mounts every URL.
pub fn configure(app: &mut ServiceConfig) {
    app.service(
        scope("/uploads")
            .wrap(from_fn(speak))
            .service(resource("").route(web::method(Method::OPTIONS).to(options)).get(list).post(create))
            .service(resource("/{id}").get(show).patch(send).delete(terminate))
            .service(resource("/{id}/pause").post(pause))
            .service(resource("/{id}/proof").post(prove))
            .service(resource("/{id}/handover").post(hand_over)),
    );
}

/// The layer that speaks the protocol: its version with every answer, and no other one taken; errors as problems, for people's programs.
async fn speak(request: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let path = request.path();
    let spoken = match *request.method() {
        Method::PATCH | Method::DELETE => true,
        Method::POST => path == "/uploads",
        // What people look at is ours, and has no version.
        _ => is_head_only(request.request()) && path != "/uploads",
    };
    let versions: Vec<_> = request.headers().get_all(RESUMABLE).collect();
    let fits = versions.len() == 1 && versions.iter().all(|version| version.as_bytes() == VERSION.as_bytes());
    if spoken && !fits {
        let sentence = format!("Send Tus-Resumable: {VERSION}; this service speaks no other version.");
        let error = Error::new(StatusCode::PRECONDITION_FAILED, "upload.version", "Another version of the protocol", sentence);
        let mut answer = error.error_response();
        answer.headers_mut().insert(TUS_VERSION, HeaderValue::from_static(VERSION));
        return Ok(request.into_response(answer));
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

/// Puts what every answer of the protocol carries.
pub fn put_version(headers: &mut HeaderMap) {
    headers.insert(RESUMABLE, HeaderValue::from_static(VERSION));
}

/// Whoever sends: a person's browser or a program.
struct Sender {
    actor: Arc<Actor>,
    /// The long-lived cookie of a browser that had none.
    cookie: Option<Cookie<'static>>,
}

impl FromRequest for Sender {
    type Error = Error;
    type Future = std::future::Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        let bearer = request.extensions().get::<Bearer>().map(|bearer| bearer.0.clone());
        if let Some(actor) = bearer {
            return std::future::ready(Ok(Self { actor, cookie: None }));
        }
        let person = request.extensions().get::<SignedIn>().cloned();
        let service = request.app_data::<Data<Service>>();
        std::future::ready(match (person, service) {
            (Some(person), Some(service)) => {
                let (person, cookie) = person.with_device(&service.config);
                Ok(Self { actor: person.actor, cookie })
            }
            _ => Err(Error::not_signed_in()),
        })
    }
}

/// `OPTIONS /uploads`: what is spoken here.
async fn options(service: Data<Service>) -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((TUS_VERSION, VERSION))
        .insert_header((TUS_EXTENSION, EXTENSIONS))
        .insert_header((TUS_MAX_SIZE, service.config.max_upload.to_string()))
        .insert_header((TUS_CHECKSUM_ALGORITHM, ALGORITHMS))
        .finish()
}

/// `POST /uploads`: announces an upload, for an image that is Pending or one that is made now; its first bytes may come along.
async fn create(request: HttpRequest, service: Data<Service>, sender: Sender, mut payload: Payload) -> Result<HttpResponse, Error> {
    let headers = request.headers();
    for (name, what) in [(UPLOAD_DEFER_LENGTH, "Announce the length of the file"), (UPLOAD_CONCAT, "Send the file as one upload")] {
        if headers.contains_key(&name) {
            return Err(bad_header(format!("{} is not offered here. {what}.", title(&name))));
        }
    }
    let length = number(headers, &UPLOAD_LENGTH)?.ok_or_else(|| bad_header("Send Upload-Length: the bytes of the file.".to_owned()))?;
    if length > service.config.max_upload {
        let error = Error::from(Failure::from(crate::domain::upload::too_large(length, service.config.max_upload)));
        let mut answer = error.error_response();
        answer.headers_mut().insert(TUS_MAX_SIZE, HeaderValue::from(service.config.max_upload));
        return Ok(answer);
    }
    let asked = Asked::read(headers)?;
    let brings = brings_bytes(headers)?;
    if content_length(headers).is_some_and(|bytes| bytes > length) {
        return Err(Error::from(Failure::refused_at(0, "upload.beyond_length", "More bytes came along than Upload-Length announces.")));
    }
    let head = match brings {
        false => None,
        true => match timeout(service.config.client_silence, read_head(&mut payload)).await {
            Ok(Ok(head)) => Some(head),
            _ => return Err(Error::from(Failure::invalid("file", "upload.incomplete", "The beginning of the file did not arrive."))),
        },
    };
    if head.as_ref().is_some_and(|head| head.bytes.len() as u64 > length) {
        return Err(Error::from(Failure::refused_at(0, "upload.beyond_length", "More bytes came along than Upload-Length announces.")));
    }
    let first = head.as_ref().map(|head| head.bytes.clone());
    let id = resume_upload::create(&service, &sender.actor, asked.what, asked.file_name, length, first).await?;
    let reached = match head {
        None => resume_upload::state(&service, &sender.actor, id).await?.reached,
        Some(head) => {
            let before = [Some(head.bytes), head.rest].into_iter().flatten().map(Ok);
            let mut bytes = stream::iter(before).chain(payload);
            let chunk = Chunk { offset: 0, length: content_length(headers), checksum: checksum(headers)?, whole: None };
            Box::pin(resume_upload::send(&service, &sender.actor, id, chunk, &mut bytes)).await?
        }
    };
    let mut answer = HttpResponse::Created();
    answer.insert_header((header::LOCATION, address(&request, &service, id)));
    with_cookie(told(&mut answer, reached), sender.cookie.as_ref())
}

/// `GET /uploads`: the unfinished uploads that the viewer may see, those of the same device first.
async fn list(service: Data<Service>, sender: Sender) -> Result<HttpResponse, Error> {
    let all = resume_upload::unfinished(&service, &sender.actor, MOST_LISTED).await?;
    let expiry = service.config.upload_expiry;
    Ok(HttpResponse::Ok().json(all.iter().map(|shows| shown(shows, expiry)).collect::<Vec<_>>()))
}

/// `HEAD /uploads/{id}`: how far it has come. `GET`: the same and more, for people's scripts.
async fn show(request: HttpRequest, service: Data<Service>, sender: Sender, id: Path<ImageId>) -> Result<HttpResponse, Error> {
    if is_head_only(&request) {
        let state = resume_upload::state(&service, &sender.actor, *id).await?;
        let mut answer = HttpResponse::Ok();
        answer.insert_header((UPLOAD_LENGTH, state.length.to_string())).insert_header((header::CACHE_CONTROL, "no-store"));
        return Ok(told(&mut answer, state.reached));
    }
    let shows = resume_upload::show(&service, &sender.actor, *id).await?;
    Ok(HttpResponse::Ok().json(shown(&shows, service.config.upload_expiry)))
}

/// An upload for a script.
fn shown(shows: &Shows, expiry: Duration) -> serde_json::Value {
    let (image, upload) = (&shows.found.image, shows.found.upload.as_ref());
    let is_complete = image.status == Stored::Available;
    let stopped = upload.and_then(|upload| upload.stopped().map(|stopped| (stopped, upload)));
    let lease = upload.and_then(Upload::lease_until);
    let kept =
        upload.and_then(|upload| upload.expires_at().or_else(|| lease.filter(|_| upload.kept() > 0).map(|until| until.plus(expiry))));
    serde_json::json!({
        "id": image.id.to_string(),
        "image": format!("/images/{}", image.id),
        "name": image.name,
        "file": image.file_name,
        "status": image.status.as_str(),
        "shown": shows.found.shown().as_str(),
        "offset": if is_complete { image.size() } else { upload.map_or(0, Upload::kept) },
        "length": if is_complete { image.size() } else { upload.filter(|upload| upload.exact).map_or(0, Upload::declared) },
        "expires": kept.map(Timestamp::rfc3339),
        "lease_until": lease.map(Timestamp::rfc3339),
        "mine": shows.mine,
        "may_take_over": shows.may_take_over,
        "sender": upload.map(|upload| upload.user_name.as_str()),
        "moving": shows.doing.is_some(),
        "phase": if shows.doing == Some(Doing::Checks) { "checking" } else { "receiving" },
        "stopped": stopped.map(|(stopped, upload)| serde_json::json!({
            "code": stopped.as_str(),
            "sentence": format!("{} {}", stopped.words(), upload.stopped_detail).trim_end(),
        })),
    })
}

/// `POST /uploads/{id}/pause`: the sender lets go; the image is Pending at once.
async fn pause(service: Data<Service>, sender: Sender, id: Path<ImageId>) -> Result<HttpResponse, Error> {
    let offset = take_over_upload::pause(&service, &sender.actor, *id).await?;
    Ok(HttpResponse::NoContent().insert_header((UPLOAD_OFFSET, offset.to_string())).finish())
}

/// What a proof says.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Proving {
    block: u64,
    length: u64,
    #[serde(default)]
    offset: Option<u64>,
    /// For people who read along; names do not count.
    #[serde(default, rename = "name")]
    _name: String,
    digests: Vec<String>,
}

/// `POST /uploads/{id}/proof`: shows that the file is the one that was begun with, and is the sender from then on.
async fn prove(
    request: HttpRequest,
    service: Data<Service>,
    sender: Sender,
    id: Path<ImageId>,
    payload: Payload,
) -> Result<HttpResponse, Error> {
    if media_type(request.headers()) != "application/json" {
        return Err(Error::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "body.type",
            "The body has another type",
            "Send the proof as application/json.",
        ));
    }
    let body = timeout(ARRIVES_WITHIN, payload.to_bytes_limited(MOST_PROOF)).await.map_err(|_| Error::too_slow())?;
    let body = body.map_err(|_| Error::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "Too large", MOST_PROOF_WORDS))?;
    let body = body.map_err(|_| Error::bad_request("The proof did not arrive whole. Try again."))?;
    let proving: Proving = serde_json::from_slice(&body).map_err(|failed| {
        Error::new(StatusCode::BAD_REQUEST, "body.syntax", "The body cannot be read", format!("The proof cannot be read: {failed}."))
    })?;
    let fault = |field, sentence: String| Error::from(Failure::invalid(field, "upload.proof", sentence));
    if !(BLOCK_LEAST..=BLOCK_MOST).contains(&proving.block) {
        return Err(fault("block", format!("A block has from {BLOCK_LEAST} to {BLOCK_MOST} bytes.")));
    }
    if proving.digests.len() > MOST_BLOCKS {
        return Err(fault("digests", format!("A proof has at most {MOST_BLOCKS} digests. Choose larger blocks.")));
    }
    let digest = |text: &String| secret::unhex(text).and_then(|bytes| bytes.try_into().ok());
    let digests: Option<Vec<[u8; 32]>> = proving.digests.iter().map(digest).collect();
    let digests = digests.ok_or_else(|| fault("digests", "A digest is a SHA-256 in 64 hexadecimal digits.".to_owned()))?;
    let proof = Proof { block: proving.block, length: proving.length, offset: proving.offset, digests };
    let offset = Box::pin(take_over_upload::prove(&service, &sender.actor, *id, proof)).await?;
    let answer = HttpResponse::NoContent().insert_header((UPLOAD_OFFSET, offset.to_string())).finish();
    with_cookie(answer, sender.cookie.as_ref())
}

/// `POST /uploads/{id}/handover`: a token for just this upload, and the command that goes on with it elsewhere.
async fn hand_over(request: HttpRequest, service: Data<Service>, sender: Sender, id: Path<ImageId>) -> Result<HttpResponse, Error> {
    let handed = take_over_upload::hand_over(&service, &sender.actor, *id).await?;
    let url = address(&request, &service, *id);
    let command = command(&handed, &url);
    // The plain form of the image's page.
    let is_form = request.headers().get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/html"));
    let person = request.extensions().get::<SignedIn>().cloned();
    if let Some(me) = person.filter(|_| is_form) {
        return handed_over(&request, &service, &me, *id, (command, url), handed.until.into()).await;
    }
    Ok(HttpResponse::Ok().json(serde_json::json!({
        "command": command,
        "token": handed.token,
        "expires": handed.until.rfc3339(),
        "offset": handed.offset,
        "url": url,
    })))
}

/// Compares the beginning of the file with what was sent before, and sends the rest: in pieces, smaller ones where a proxy lets no larger
/// through, and on from what has arrived after anything that may pass. For any shell of POSIX, which is left as it was.
fn command(handed: &Handed, url: &str) -> String {
    let file = handed.file_name.replace('\'', "'\\''");
    let Handed { token, offset, length, .. } = handed;
    let digest = secret::hex(&handed.sha256);
    format!(
        r#"(f='{file}' u='{url}' t='{token}' o={offset} p={PIECE}
c() {{ curl -sS -H "Authorization: Bearer $t" -H 'Tus-Resumable: {VERSION}' "$@" "$u"; }}
[ "$(head -c "$o" <"$f" | sha256sum | cut -c -64)" = {digest} ] || {{ echo "$f is another file" >&2; exit 1; }}
while [ "$o" -lt {length} ]; do
  printf '\r%s %% ' $((o * 100 / {length})) >&2
  a=$(tail -c +$((o + 1)) <"$f" | head -c "$p" | c -X PATCH --data-binary @- -w ' %{{http_code}}' -H "Upload-Offset: $o" -H 'Content-Type: {CHUNK_TYPE}')
  case $a in
    *' 204') o=$((o + p)) ;;
    *' 413') p=$((p / 2)); [ "$p" -ge {PIECE_LEAST} ] || {{ echo "$a" >&2; exit 1; }} ;;
    *' 000' | *' 40'[89] | *' 42'[39] | *' 5'??) echo "$a" >&2; sleep 5
      n=$(c -I | tr -d '\r' | awk 'tolower($1) == "upload-offset:" {{ print $2 }}'); o=${{n:-$o}} ;;
    *) echo "$a" >&2; exit 1 ;;
  esac
done; echo "$f has arrived")"#
    )
}

/// The whole address of an upload: some clients do not take a path. As people reach the console, or as this request did.
fn address(request: &HttpRequest, service: &Service, id: ImageId) -> String {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let base = service.config.public_url.clone().or_else(|| {
        // Compared with the host before, where it counts; elsewhere it leads nobody but who sent it astray.
        let is_secure = header("x-forwarded-proto").is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
            || header("origin").is_some_and(|origin| origin.starts_with("https://"));
        header("host").map(|host| format!("{}://{host}", if is_secure { "https" } else { "http" }))
    });
    format!("{}/uploads/{id}", base.unwrap_or_default())
}

/// `PATCH /uploads/{id}`: the next bytes.
async fn send(
    request: HttpRequest,
    service: Data<Service>,
    sender: Sender,
    id: Path<ImageId>,
    mut payload: Payload,
) -> Result<HttpResponse, Error> {
    let headers = request.headers();
    if media_type(headers) != CHUNK_TYPE {
        let sentence = format!("Send the bytes as {CHUNK_TYPE}.");
        return Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "body.type", "The body has another type", sentence));
    }
    let offset = number(headers, &UPLOAD_OFFSET)?.ok_or_else(|| bad_header("Send Upload-Offset: where these bytes begin.".to_owned()))?;
    let chunk = Chunk { offset, length: content_length(headers), whole: number(headers, &UPLOAD_LENGTH)?, checksum: checksum(headers)? };
    // Apart from the request's own task, which very many have that never come so far.
    let reached = Box::pin(resume_upload::send(&service, &sender.actor, *id, chunk, &mut payload)).await?;
    with_cookie(told(&mut HttpResponse::NoContent(), reached), sender.cookie.as_ref())
}

/// `DELETE /uploads/{id}`: gives the upload up; the image stays, as never sent.
async fn terminate(service: Data<Service>, sender: Sender, id: Path<ImageId>) -> Result<HttpResponse, Error> {
    let state = resume_upload::state(&service, &sender.actor, *id).await?;
    if state.reached.offset == state.length {
        let sentence = "The upload is complete. To remove its file, delete the image.";
        return Err(Error::from(Failure::refused_at(state.length, "image.complete", sentence)));
    }
    stop_upload::cancel(&service, &sender.actor, *id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// An answer with how far the upload has come, and until when it is kept.
fn told(answer: &mut actix_web::HttpResponseBuilder, reached: Reached) -> HttpResponse {
    answer.insert_header((UPLOAD_OFFSET, reached.offset.to_string()));
    if let Some(expires) = reached.expires {
        answer.insert_header((UPLOAD_EXPIRES, expires.http()));
    }
    answer.finish()
}

/// What metadata asks for.
struct Asked {
    what: For,
    file_name: Option<String>,
}

impl Asked {
    fn read(headers: &HeaderMap) -> Result<Self, Error> {
        let mut lines = headers.get_all(UPLOAD_METADATA);
        let (line, None) = (lines.next(), lines.next()) else { return Err(bad_header("Upload-Metadata came twice.".to_owned())) };
        let text = line.map(HeaderValue::to_str).transpose().map_err(|_| misspelt())?.unwrap_or_default();
        let mut pairs = metadata(text).ok_or_else(misspelt)?;
        let mut take = |name: &str| pairs.iter().position(|(key, _)| key == name).map(|at| pairs.swap_remove(at).1);
        let file_name = take("filename");
        let what = match take("image") {
            Some(id) => For::Image(id.parse().map_err(|_| Error::not_found())?),
            None => {
                let mut text = |name: &str| take(name).unwrap_or_default();
                let os = text("os");
                let digest =
                    [text("digest"), text("sha256"), text("sha512")].into_iter().find(|digest| !digest.is_empty()).unwrap_or_default();
                For::New(Box::new(Answers {
                    name: text("name"),
                    note: text("note"),
                    kind: Kind::Installation.as_str().to_owned(),
                    storage: text("storage"),
                    os: if os.is_empty() { os_catalogue::OTHER.to_owned() } else { os },
                    min_vcpu: text("min_vcpu"),
                    min_memory_mib: text("min_memory_mib"),
                    min_disk_gib: text("min_disk_gib"),
                    digest,
                    ..Answers::default()
                }))
            }
        };
        let what = match what {
            // Without a name of its own the image is called as its file.
            For::New(mut answers) if answers.name.is_empty() => {
                answers.name = crate::domain::upload::base_name(file_name.as_deref().unwrap_or_default()).to_owned();
                For::New(answers)
            }
            other => other,
        };
        Ok(Self { what, file_name })
    }
}

fn misspelt() -> Error {
    bad_header(format!(
        "Upload-Metadata is a list of key and base64 of UTF-8 text, with commas between the pairs, each key once, {} KiB at most.",
        MOST_METADATA / 1024
    ))
}

/// Parses `key base64,key base64`; none if it is malformed. What nobody here knows is left alone.
pub fn metadata(text: &str) -> Option<Vec<(String, String)>> {
    if text.len() > MOST_METADATA {
        return None;
    }
    let mut pairs: Vec<(String, String)> = Vec::new();
    for pair in text.split(',').filter(|_| !text.trim().is_empty()) {
        let mut words = pair.trim().split(' ');
        let (key, value, None) = (words.next()?, words.next().unwrap_or_default(), words.next()) else { return None };
        let is_plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain || pairs.iter().any(|(other, _)| other == key) {
            return None;
        }
        pairs.push((key.to_owned(), String::from_utf8(BASE64_STANDARD.decode(value).ok()?).ok()?));
    }
    Some(pairs)
}

/// Whether the request has bytes of the file in it.
fn brings_bytes(headers: &HeaderMap) -> Result<bool, Error> {
    let has_body = headers.contains_key(header::TRANSFER_ENCODING) || content_length(headers).is_some_and(|length| length > 0);
    if has_body && media_type(headers) != CHUNK_TYPE {
        let sentence = format!("Send the first bytes of the file as {CHUNK_TYPE}, or none.");
        return Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "body.type", "The body has another type", sentence));
    }
    Ok(has_body)
}

fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// A header that is a number of bytes: digits and nothing else, as far as files go.
fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, Error> {
    let mut values = headers.get_all(name);
    let (first, more) = (values.next(), values.next());
    let Some(first) = first else { return Ok(None) };
    let parsed = first.to_str().ok().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    match parsed.and_then(|text| text.parse::<u64>().ok()).filter(|number| i64::try_from(*number).is_ok()) {
        Some(number) if more.is_none() => Ok(Some(number)),
        _ => Err(bad_header(format!("{} is a whole number of bytes, in digits, once.", title(name)))),
    }
}

/// The checksum of the body, if the request tells it.
fn checksum(headers: &HeaderMap) -> Result<Option<Checksum>, Error> {
    let mut values = headers.get_all(UPLOAD_CHECKSUM);
    let (first, more) = (values.next(), values.next());
    let Some(first) = first else { return Ok(None) };
    let (algorithm, digest) = first.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
    let digest = BASE64_STANDARD.decode(digest).unwrap_or_default();
    let checksum = match algorithm {
        "sha256" => digest.try_into().ok().map(Checksum::Sha256),
        "sha1" => digest.try_into().ok().map(Checksum::Sha1),
        _ => None,
    };
    match checksum {
        Some(checksum) if more.is_none() => Ok(Some(checksum)),
        _ => Err(bad_header(format!("Upload-Checksum is one of {ALGORITHMS}, and the base64 of the digest, once."))),
    }
}

/// A header's name as people write it.
fn title(name: &HeaderName) -> String {
    let word = |word: &str| word.get(..1).map(|first| first.to_ascii_uppercase() + word.get(1..).unwrap_or_default()).unwrap_or_default();
    name.as_str().split('-').map(word).collect::<Vec<_>>().join("-")
}

fn bad_header(sentence: String) -> Error {
    Error::new(StatusCode::BAD_REQUEST, "upload.header", "A header cannot be read", sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_as_the_protocol_writes_it() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(metadata(""), Some(Vec::new()));
        assert_eq!(metadata("filename YS5pc28=,is_confidential"), Some(vec![pair("filename", "a.iso"), pair("is_confidential", "")]));
        assert_eq!(metadata("filename YS5pc28=, name w6k="), Some(vec![pair("filename", "a.iso"), pair("name", "é")]));
        let long = format!("a {}", "A".repeat(MOST_METADATA));
        for broken in [",", "a,,b", "filename YS5pc28", "filename !", "a YQ==,a YQ==", "a YQ== YQ==", "\u{e9} YQ==", "a /w==", &*long] {
            assert_eq!(metadata(broken), None, "{broken:.40}");
        }
    }

    #[test]
    fn the_command_takes_any_name_and_compares_first() {
        let handed = Handed {
            token: "vmu_x".into(),
            until: Timestamp::from_micros(0),
            offset: 7,
            length: 9,
            sha256: [0; 32],
            file_name: "it's.iso".into(),
        };
        let command = command(&handed, "http://a/uploads/1");
        assert!(command.starts_with(r"(f='it'\''s.iso' u='http://a/uploads/1' t='vmu_x' o=7 p="), "{command}");
        assert!(command.contains(&format!("= {} ]", "0".repeat(64))) && command.contains(r#"while [ "$o" -lt 9 ]"#), "{command}");
    }

    #[test]
    fn numbers_are_digits_once() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            values.iter().for_each(|value| headers.append(UPLOAD_LENGTH, HeaderValue::from_bytes(value.as_bytes()).unwrap()));
            number(&headers, &UPLOAD_LENGTH).ok()
        };
        assert_eq!(read(&[]), Some(None));
        assert_eq!(read(&["0"]), Some(Some(0)));
        assert_eq!(read(&["9223372036854775807"]), Some(Some(i64::MAX.unsigned_abs())));
        for broken in
            [&["-1"][..], &["+1"], &["1e9"], &["9223372036854775808"], &["18446744073709551616"], &[""], &["１"], &["1", "1"], &["1, 1"]]
        {
            assert_eq!(read(broken), None, "{broken:?}");
        }
    }
}
