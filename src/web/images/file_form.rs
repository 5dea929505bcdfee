//! The form that carries a file: everything before the file is small and bounded, the file is the last part, and its name is read as
//! browsers of all times have written it.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use actix_multipart::{Field, Multipart, MultipartError as Broken};
use actix_web::{
    HttpMessage, HttpRequest,
    error::PayloadError,
    http::header::{self, Charset, ContentDisposition, DispositionParam, ExtendedValue},
    web::{Bytes, Payload},
};
use futures_util::{Stream, StreamExt};
use tokio::time::timeout;

use crate::{
    config::Config,
    domain::upload,
    operations::{Failure, create_image::File, receive_file::read_head},
    web::head::content_length,
};

/// What a form may hold beside the file, in bytes.
pub const BESIDE_THE_FILE: u64 = 64 * 1024;
/// Parts that a form may have before the file.
const MOST_PARTS: usize = 32;
/// Longest boundary (RFC 2046).
const MOST_BOUNDARY: usize = 70;

/// A form on its way.
pub struct Form {
    parts: Multipart,
    length: Option<u64>,
    /// The most that a file may have.
    most: u64,
    /// How long a client may send nothing.
    silence: Duration,
    boundary_fits: bool,
    /// Bytes that may still come before the file; nothing is counted once it has begun.
    allowance: Rc<Cell<Option<u64>>>,
}

/// The start of the file part of a form: its name, and its first 64 KiB.
pub struct FilePart {
    pub file: File,
    /// What follows the first 64 KiB, where something does.
    pub field: Option<Field>,
    /// What came together with them.
    pub rest: Option<Bytes>,
}

/// The bytes of a form, of which only so many may come before the file.
struct Bounded {
    payload: Payload,
    allowance: Rc<Cell<Option<u64>>>,
}

impl Stream for Bounded {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.payload.poll_next_unpin(context);
        if let (Poll::Ready(Some(Ok(bytes))), Some(left)) = (&next, self.allowance.get()) {
            if left == 0 {
                return Poll::Ready(Some(Err(PayloadError::Overflow)));
            }
            // The piece in which the file begins may hold much of it.
            self.allowance.set(Some(left.saturating_sub(bytes.len() as u64)));
        }
        next
    }
}

impl Form {
    /// The form that this request carries.
    pub fn new(request: &HttpRequest, payload: Payload, config: &Config) -> Self {
        let allowance = Rc::new(Cell::new(Some(2 * BESIDE_THE_FILE)));
        let kind = request.mime_type().ok().flatten();
        let boundary = kind.as_ref().and_then(|kind| kind.get_param("boundary")).map_or(0, |boundary| boundary.as_str().len());
        Self {
            parts: Multipart::new(request.headers(), Bounded { payload, allowance: allowance.clone() }),
            length: content_length(request.headers()),
            boundary_fits: boundary <= MOST_BOUNDARY,
            most: config.max_upload,
            silence: config.client_silence,
            allowance,
        }
    }

    /// Finds the file part. Everything before it is small; the file comes last.
    pub async fn file_part(&mut self) -> Result<FilePart, Failure> {
        let too_slow = || Failure::invalid("file", "upload.incomplete", "The beginning of the file did not arrive in time. Try again.");
        timeout(self.silence, self.first_of_file()).await.map_err(|_| too_slow())?
    }

    async fn first_of_file(&mut self) -> Result<FilePart, Failure> {
        let Some(length) = self.length else {
            return Err(Failure::invalid("file", "upload.no_length", "The request does not say how long it is. Send a Content-Length."));
        };
        if length > self.most.saturating_add(BESIDE_THE_FILE) {
            return Err(upload::too_large(length, self.most).into());
        }
        if !self.boundary_fits {
            return Err(Failure::invalid(
                "file",
                "form.bad_boundary",
                format!("The form's boundary is longer than {MOST_BOUNDARY} characters."),
            ));
        }
        let mut skipped = 0_u64;
        for _ in 0..MOST_PARTS {
            let Some(field) = self.parts.next().await else { return Err(Failure::invalid("file", "file.none", "Choose a file.")) };
            let mut field = field.map_err(|broken| why_no_part(&broken))?;
            if is_ambiguous(&field) {
                return Err(Failure::invalid(
                    "file",
                    "form.malformed",
                    "A part of the form has two names. Try again from the page itself.",
                ));
            }
            // The library would believe such a length, and leave away what lies beyond it without a word.
            if field.headers().contains_key(header::CONTENT_LENGTH) {
                let sentence = "A part of the form states a length of its own (Content-Length). Send the form without it.";
                return Err(Failure::invalid("file", "form.part_length", sentence));
            }
            if field.name() != Some("file") {
                while let Some(chunk) = field.next().await {
                    skipped += chunk.map_err(|broken| why(&broken))?.len() as u64;
                    if skipped > BESIDE_THE_FILE {
                        return Err(too_much());
                    }
                }
                continue;
            }
            self.allowance.set(None);
            return self.begin(field, length).await;
        }
        Err(Failure::invalid("file", "form.too_many_parts", format!("The form has more than {MOST_PARTS} parts before the file.")))
    }

    async fn begin(&mut self, mut field: Field, length: u64) -> Result<FilePart, Failure> {
        let name = file_name(&field);
        let head = read_head(&mut field).await.map_err(|broken| why(&broken))?;
        // The length of the whole form bounds the file's; where the head is all of it, its size is known, and so is what follows it.
        let exact = head.is_all();
        let mut field = Some(field);
        if exact {
            // The form moves on only when nobody holds the part any more.
            field = None;
            self.end().await?;
        }
        let bytes = if exact { head.bytes.len() as u64 } else { length };
        let name = upload::base_name(&name.unwrap_or_default()).to_owned();
        let file = File { name, bytes, exact, head: head.bytes, sha256: None };
        Ok(FilePart { file, field, rest: head.rest })
    }

    /// Waits for the end of the form, which must follow the file.
    pub async fn end(&mut self) -> Result<(), Failure> {
        match timeout(self.silence, self.parts.next()).await {
            Ok(None) => Ok(()),
            Ok(Some(Ok(field))) if field.name() == Some("file") => {
                Err(Failure::invalid("file", "form.two_files", "The form holds two files. Send one file per image."))
            }
            Ok(Some(Ok(_))) => {
                Err(Failure::invalid("file", "form.field_order", "The form goes on after the file. Send one file, as the last field."))
            }
            Ok(Some(Err(broken))) => Err(why(&broken)),
            Err(_) => Err(Failure::invalid("file", "upload.incomplete", "The end of the form did not arrive.")),
        }
    }
}

/// Whether the name of a part, or of its file, stands in it twice.
fn is_ambiguous(field: &Field) -> bool {
    let Some(disposition) = field.content_disposition() else { return false };
    let count = |what: fn(&DispositionParam) -> bool| disposition.parameters.iter().filter(|parameter| what(parameter)).count();
    count(DispositionParam::is_name) > 1 || count(DispositionParam::is_filename) > 1 || count(DispositionParam::is_filename_ext) > 1
}

fn too_much() -> Failure {
    let sentence = format!("The form holds more than {} KiB beside the file.", BESIDE_THE_FILE / 1024);
    Failure::invalid("file", "form.too_large", sentence)
}

/// The same where a part was expected and too much came instead.
fn why_no_part(broken: &Broken) -> Failure {
    match broken {
        Broken::Payload(PayloadError::Overflow) => {
            let sentence = format!(
                "No part of the form begins within {} KiB: its boundary is wrong, or a part's head is too long.",
                BESIDE_THE_FILE / 1024
            );
            Failure::invalid("file", "form.bad_boundary", sentence)
        }
        other => why(other),
    }
}

/// What is wrong with a form that cannot be read.
fn why(broken: &Broken) -> Failure {
    match broken {
        Broken::ContentTypeMissing | Broken::ContentTypeParse | Broken::ContentTypeIncompatible | Broken::BoundaryMissing => {
            let sentence = "The form's parts cannot be told from one another: the boundary is missing or is not where it must be.";
            Failure::invalid("file", "form.bad_boundary", sentence)
        }
        Broken::Payload(PayloadError::Overflow) => too_much(),
        Broken::Incomplete | Broken::Payload(_) => {
            Failure::invalid("file", "upload.incomplete", "The form did not arrive whole. Try again.")
        }
        _ => Failure::invalid(
            "file",
            "form.malformed",
            "A part of the form has no name, or its head cannot be read. Try again from the page itself.",
        ),
    }
}

/// The name of the file: what stands in `filename*` where it can be read, else what stands in `filename`.
fn file_name(field: &Field) -> Option<String> {
    let raw = field.headers().get(header::CONTENT_DISPOSITION).and_then(|raw| std::str::from_utf8(raw.as_bytes()).ok());
    stated_name(field.content_disposition(), raw)
}

/// The same of a header, as the library reads it and as it was sent.
pub fn stated_name(disposition: Option<&ContentDisposition>, raw: Option<&str>) -> Option<String> {
    let extended = disposition.and_then(ContentDisposition::get_filename_ext).and_then(decoded);
    extended.or_else(|| quoted(raw?, "filename"))
}

/// The name in `filename*=UTF-8''…`. In a character set that nobody uses it counts as not given.
fn decoded(value: &ExtendedValue) -> Option<String> {
    match value.charset {
        Charset::Iso_8859_1 => Some(value.value.iter().map(|byte| char::from(*byte)).collect()),
        Charset::Us_Ascii => String::from_utf8(value.value.clone()).ok(),
        Charset::Ext(ref name) if name.eq_ignore_ascii_case("utf-8") => String::from_utf8(value.value.clone()).ok(),
        _ => None,
    }
}

/// A parameter of a `Content-Disposition`. Old browsers send a whole path and leave its backslashes as they are, so that a backslash takes
/// its special meaning only before a quotation mark.
fn quoted(header: &str, wanted: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (name, value) = rest.split_once('=')?;
        let value = value.trim_start();
        let (text, after) = match value.strip_prefix('"') {
            None => value.split_once(';').unwrap_or((value, "")),
            Some(inside) => {
                let end = closing_quote(inside)?;
                (&inside[..end], inside[end + 1..].split_once(';').map_or("", |(_, after)| after))
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(text.trim().replace("\\\"", "\""));
        }
        rest = after;
    }
}

/// Where a quoted text ends: at a quotation mark with no backslash before it, or with one that ends the header's last path.
fn closing_quote(inside: &str) -> Option<usize> {
    let mut marks = inside.match_indices('"').map(|(at, _)| at).peekable();
    while let Some(at) = marks.next() {
        if !inside[..at].ends_with('\\') || marks.peek().is_none() {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_is_read_as_browsers_write_it() {
        let rows = [
            (r#"form-data; name="file"; filename="x.iso""#, Some("x.iso")),
            (r#"form-data; name="file"; filename="C:\isos\new\x.iso""#, Some(r"C:\isos\new\x.iso")),
            (r#"form-data; name="file"; filename="\\server\share\x.iso""#, Some(r"\\server\share\x.iso")),
            (r#"form-data; name="file"; filename="a \"b\"; c.iso""#, Some(r#"a "b"; c.iso"#)),
            (r#"form-data; filename="x;y=z.iso"; name="file""#, Some("x;y=z.iso")),
            (r"form-data; name=file; filename=x.iso", Some("x.iso")),
            (r#"form-data; name="file"; filename="Größe №1.iso""#, Some("Größe №1.iso")),
            (r#"form-data; name="file"; FILENAME = "x.iso" ; a=b"#, Some("x.iso")),
            (r#"form-data; name="file"; filename="C:\isos\""#, Some(r"C:\isos\")),
            (r#"form-data; name="file"; filename="""#, Some("")),
            (r#"form-data; name="file""#, None),
            (r#"form-data; name="file"; filename="x.iso"#, None),
            ("form-data", None),
        ];
        for (header, name) in rows {
            assert_eq!(quoted(header, "filename").as_deref(), name, "{header}");
        }
    }

    #[test]
    fn a_name_in_another_character_set_is_read_or_not_given() {
        let value = |charset, bytes: &[u8]| ExtendedValue { charset, language_tag: None, value: bytes.to_vec() };
        let utf8 = || Charset::Ext("UTF-8".to_owned());
        assert_eq!(decoded(&value(utf8(), "€.iso".as_bytes())).as_deref(), Some("€.iso"));
        assert_eq!(decoded(&value(utf8(), b"\xff")), None);
        assert_eq!(decoded(&value(Charset::Iso_8859_1, b"\xe9.iso")).as_deref(), Some("é.iso"));
        assert_eq!(decoded(&value(Charset::Ext("KLINGON".to_owned()), b"x")), None);
    }
}
