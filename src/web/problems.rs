//! Every way in which a request can be refused: its stable code, its status, a title, and what to do about it. Programs are told the code
//! and the address of its page (RFC 9457); people read the page. `tests/it/api/problems.rs` fails when the sources name a code that is not
//! here.

use actix_web::{HttpResponse, http::StatusCode, web::Path};
use askama::Template;

use super::{error::Error, page::bare_html};

/// One code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem {
    /// Stable, as in `name.taken`.
    pub code: &'static str,
    /// The status of an answer that this is the reason of; a fault of one field stands in an answer of 422.
    pub status: u16,
    /// A few words, the same for every occurrence.
    pub title: &'static str,
    /// What it means, and the way out.
    pub explanation: &'static str,
}

const fn of(code: &'static str, status: u16, title: &'static str, explanation: &'static str) -> Problem {
    Problem { code, status, title, explanation }
}

/// All of them, by code.
pub const ALL: &[Problem] = &[
    of(
        "bad_request",
        400,
        "The request cannot be understood",
        "The request breaks a rule of HTTP or of this address. The detail says which. Correct the request; sending it again as it is will not help.",
    ),
    of("body.encoding", 415, "Compressed bodies are not taken", "The request has a Content-Encoding. Send the body as it is, without one."),
    of(
        "body.member",
        422,
        "A member of the JSON body cannot be taken",
        "A member is unknown, comes twice, is missing, or has another type than the one that is described at /api. The errors name it.",
    ),
    of("body.syntax", 400, "The body is not JSON", "The body could not be read as JSON, or is not UTF-8. The detail says where."),
    of(
        "body.type",
        415,
        "The body has another type",
        "The Content-Type is not one that this address takes. JSON is sent as application/json, the file of an image as application/octet-stream.",
    ),
    of(
        "changed_meanwhile",
        412,
        "Changed meanwhile",
        "The thing does not have the version that If-Match names: somebody else changed it. Get it again, look at what changed, and send the request with the new ETag. Forms of the console answer 409 instead.",
    ),
    of(
        "cluster.in_use",
        409,
        "Something hangs on the cluster",
        "Hosts, storages or virtual machines still belong to the cluster. Remove or disconnect them first.",
    ),
    of(
        "cluster.none",
        422,
        "There is no such cluster",
        "The cluster that was named does not exist. List the clusters and choose one of them.",
    ),
    of("content.range", 400, "A file is sent whole", "A part of a file (Content-Range) cannot be put. Send the whole file."),
    of(
        "database_unavailable",
        503,
        "The records cannot be reached",
        "The database does not answer at the moment. Nothing that was acknowledged is lost. Try again after the seconds in Retry-After.",
    ),
    of(
        "datastore.in_use",
        409,
        "The datastore is in use",
        "Virtual machines of the cluster use images on the datastore. Detach the images first.",
    ),
    of(
        "digest.list",
        422,
        "The checksum list does not tell",
        "The list is too long, has no line for the file, or several that differ. Give the digest of the file alone, or the right list.",
    ),
    of(
        "digest.syntax",
        400,
        "The digest cannot be read",
        "Repr-Digest and Content-Digest are written as in RFC 9530: sha-256=:BASE64:, with 32 bytes in the base64.",
    ),
    of("email.shape", 422, "Not an e-mail address", "An e-mail address looks like name@example.org."),
    of("email.taken", 422, "The e-mail address is taken", "Somebody has this e-mail address already. Choose another one."),
    of("email.too_long", 422, "The e-mail address is too long", "An e-mail address has at most 254 bytes."),
    of(
        "expectation",
        417,
        "The expectation cannot be met",
        "The Expect header asks for something that the service does not do. Send the request without it, or with 100-continue.",
    ),
    of("file.extension", 422, "The file is not named as an ISO image", "Installation images are ISO images: the file's name ends in .iso."),
    of(
        "file.head",
        413,
        "Too much for a first look",
        "Only the first 64 KiB of a file are looked at before it is sent. Send no more of it here.",
    ),
    of("file.none", 422, "There is no file", "Name the file, and send it."),
    of("file.packed", 422, "The file is compressed", "Unpack the file first, and send the .iso file in it."),
    of(
        "file.too_large",
        413,
        "The file is too large",
        "The file is larger than the setting max_upload allows. Whoever runs the service can raise it.",
    ),
    of(
        "form.bad_boundary",
        400,
        "The form's boundary is missing or wrong",
        "The parts of the form cannot be told from one another. Send multipart/form-data with a boundary of at most 70 characters.",
    ),
    of("form.field_order", 400, "The form goes on after the file", "One file is sent with a form, as its last field."),
    of(
        "form.malformed",
        400,
        "A part of the form cannot be read",
        "A part has no name, two names, or a head that cannot be read. Send the form from the page itself.",
    ),
    of("form.part_length", 400, "A part of the form states its own length", "Send the form's parts without Content-Length headers."),
    of("form.too_large", 413, "The form is too large", "A form holds at most 256 KiB beside a file. Shorten what was typed."),
    of("form.too_many_parts", 400, "The form has too many parts", "Send only the form's own fields before the file."),
    of("form.two_files", 400, "The form holds two files", "Send one file per image."),
    of(
        "form.type",
        415,
        "Not a form",
        "This address of the console takes a form (application/x-www-form-urlencoded). Programs use /api/v1.",
    ),
    of(
        "idempotency.in_progress",
        409,
        "The same request is under way",
        "A request with this Idempotency-Key has not been answered yet. Send it again after the seconds in Retry-After to get its answer.",
    ),
    of(
        "idempotency.key",
        400,
        "The Idempotency-Key cannot be taken",
        "A key has 1 to 255 visible ASCII characters and comes once. A random UUID is a good one.",
    ),
    of(
        "idempotency.other_request",
        422,
        "The Idempotency-Key belongs to another request",
        "This key was sent with another method, address or body within the last 24 hours. Make a new key for a new request.",
    ),
    of(
        "image.complete",
        409,
        "The image has its file",
        "A complete image's file is never replaced. Create another image, and delete this one.",
    ),
    of(
        "image.file_missing",
        409,
        "The file is not there",
        "The file is not on its storage any more. Check the image: that records what is found.",
    ),
    of(
        "image.file_unavailable",
        409,
        "The file is unavailable",
        "The storage that held the file was removed, or the file was removed or changed by other hands. Add the storage again, put the right file back and check the image, or forget its record.",
    ),
    of(
        "image.in_use",
        409,
        "Virtual machines use the image",
        "An image that is attached to virtual machines cannot be deleted or forgotten. Detach it there first.",
    ),
    of(
        "image.incomplete",
        409,
        "The image has no complete file yet",
        "Only the file of a complete image can be checked. Send the file first.",
    ),
    of(
        "image.not_available",
        409,
        "The image is not Available",
        "Only an Available image can be downloaded. Its status says what it waits for.",
    ),
    of(
        "image.not_unavailable",
        409,
        "The file is not unavailable",
        "Only the record of an image whose file is unavailable can be forgotten. Delete the image instead: that removes its file as well.",
    ),
    of(
        "image.not_uploaded",
        409,
        "This kind of image is not uploaded",
        "Only installation images are uploaded. Base images and virtual disks come from virtual machines.",
    ),
    of(
        "image.other_device",
        409,
        "Another device is sending the file",
        "While a file is being sent, only the browser or the token that sends it may delete the image. 60 seconds after the last byte it is Pending, and anybody with the right may.",
    ),
    of(
        "image.virtual_disk",
        409,
        "A virtual disk goes with its machine",
        "A virtual disk has no actions of its own; it is managed with its virtual machine.",
    ),
    of(
        "images.too_many_unfinished",
        429,
        "Too many unfinished images",
        "One person can have only so many images without a file (the setting max_unfinished). Send the files of some, or delete some.",
    ),
    of(
        "invalid",
        422,
        "Several members cannot be taken",
        "Several things are wrong; the errors name each of them, with a code of its own.",
    ),
    of(
        "iso.compressed",
        422,
        "The file is compressed",
        "The content is compressed, whatever its name says. Unpack it, and send the ISO image inside.",
    ),
    of("iso.empty", 422, "The file is empty", "The file has no bytes. Choose another one."),
    of(
        "iso.inconsistent",
        422,
        "The file contradicts itself",
        "The image's descriptors do not agree with each other. Get the file again from its publisher.",
    ),
    of("iso.not_iso", 422, "Not an ISO image", "The content has no ISO 9660 or UDF descriptor. Only installation images can be uploaded."),
    of(
        "iso.polyglot",
        422,
        "The file is two things at once",
        "The file is an ISO image and also a disk image of another format, which could be used to read other files of a host. Get it from its publisher.",
    ),
    of(
        "iso.truncated",
        422,
        "The file was cut off",
        "The file is shorter than its own volume says. Get it again, and compare its digest with the publisher's.",
    ),
    of(
        "kind.no_machine",
        422,
        "There is no virtual machine",
        "A base image is made of a virtual machine that is shut down, and the service knows no virtual machines yet.",
    ),
    of("kind.none", 422, "No type of image", "Only images of the type installation can be created."),
    of("method_not_allowed", 405, "The address does not take this method", "The methods that the address takes are in the header Allow."),
    of(
        "name.control",
        422,
        "The name holds characters that cannot be seen",
        "Line breaks, control characters and text-direction marks are not part of a name. Remove them.",
    ),
    of("name.different", 422, "The name does not agree", "Type the image's name as it stands on the page."),
    of("name.empty", 422, "There is no name", "A name has 1 to 255 characters, of which at least one can be seen."),
    of(
        "name.taken",
        409,
        "The name is taken",
        "Images have different names on one storage, and so do all storages, and all clusters; case and composition of characters make no difference. Choose another name.",
    ),
    of("name.too_long", 422, "The name is too long", "A name has at most 255 characters."),
    of("not_allowed", 403, "Not allowed", "The right that the detail names is missing. It also says who can give it."),
    of("not_found", 404, "Not found", "There is nothing at this address, or nothing that you may see."),
    of("not_signed_in", 401, "Nobody is signed in", "The console's session has ended, or there was none. Sign in and try again."),
    of("note.control", 422, "The note holds control characters", "Remove the control characters; line breaks and tabs are taken."),
    of("note.too_long", 422, "The note is too long", "A note has at most 4,096 characters."),
    of("number.different", 422, "The number does not agree", "Type the number of images as it stands on the page."),
    of(
        "origin",
        403,
        "The request came from another site",
        "A change in the console must come from one of its own pages. If you reach it through a proxy, the proxy must pass on the Host header. Programs use /api/v1, where this does not apply.",
    ),
    of("os.none", 422, "No such operating system", "Choose one of /api/v1/operating-systems, or “other”."),
    of("password.common", 422, "The password is too common", "This password is among the first that anybody would try. Use another one."),
    of("password.too_long", 422, "The password is too long", "A password has at most 1,024 bytes."),
    of("password.too_short", 422, "The password is too short", "A password has at least 8 characters; several words make a good one."),
    of("password.wrong", 422, "Not the present password", "Type the password that you have now."),
    of(
        "precondition.missing",
        428,
        "If-Match is missing",
        "A change names the version that it is meant for. Get the thing, and send its ETag as If-Match; or send If-Match: * to change it as it is now.",
    ),
    of("precondition.syntax", 400, "If-Match cannot be read", "If-Match holds * or ETags between quotation marks, as they were given."),
    of(
        "query.cursor",
        400,
        "The cursor does not fit",
        "A cursor belongs to one list with one filter and one order. Take it from the answer before, unchanged, and keep the other parameters.",
    ),
    of(
        "query.invalid",
        400,
        "A parameter has a value that it cannot have",
        "The detail names the parameter. Its values are described at /api.",
    ),
    of(
        "query.unknown",
        400,
        "Unknown parameter",
        "The address does not take the parameter that the detail names. Those that it takes are described at /api.",
    ),
    of("range.unsatisfiable", 416, "The range lies outside of the file", "The header Content-Range says how long the file is."),
    of("requirements.number", 422, "Not a whole number", "Minimum requirements are whole numbers: processors, MiB of memory, GiB of disk."),
    of(
        "requirements.too_large",
        422,
        "The requirement is too large",
        "At most 4,096 processors, 64 TiB of memory and 1 PiB of disk can be required.",
    ),
    of(
        "requirements.too_small",
        422,
        "The requirement is too small",
        "The operating system's minimum requirements can be raised, not lowered.",
    ),
    of("seed.not_empty", 409, "The service is not empty", "Made-up images are added to an empty service, or with --add."),
    of(
        "storage.degraded",
        409,
        "The storage is degraded",
        "The storage does not answer or is not the right one; its own record has the cause. When it is healthy again, everything on it is what it was.",
    ),
    of(
        "storage.failed",
        503,
        "The storage cannot be used now",
        "The storage refused or did not answer. The detail has the cause. Try again after the seconds in Retry-After.",
    ),
    of(
        "storage.full",
        507,
        "The storage is full",
        "There is not enough space that is not promised to others. Choose another storage, or delete something.",
    ),
    of(
        "storage.kind",
        422,
        "The member does not fit the kind of storage",
        "A datastore is connected to clusters; a local storage belongs to a host.",
    ),
    of(
        "storage.known",
        422,
        "This storage is here already",
        "The folder carries the marker of a storage that the service has. If it moved, change that storage's path.",
    ),
    of(
        "storage.nested",
        422,
        "Two storages would lie in one another",
        "The folder lies in another storage's, or the other way round. Choose another folder.",
    ),
    of("storage.no_host", 422, "There is no such host", "A local storage belongs to a host. List the hosts and choose one of them."),
    of(
        "storage.none",
        422,
        "There is no such storage",
        "The storage that was named does not exist. List the storages and choose one of them.",
    ),
    of("storage.not_allowed", 422, "Storages may not lie there", "Storages lie below the folders that the setting storage_roots names."),
    of("storage.not_there", 422, "There is no such folder", "Create the folder first, on the machine that runs the service."),
    of("storage.other_medium", 422, "Another medium lies there", "A storage's new path must hold the same medium, with the same marker."),
    of("storage.path", 422, "Not a path", "A storage's path is absolute and has no “..” in it."),
    of(
        "storage.removed",
        409,
        "The storage has been removed",
        "Nothing can be done with a removed storage but to add it again; then its images are what they were.",
    ),
    of(
        "storage.unusable",
        422,
        "The folder cannot become a storage",
        "The folder cannot be read, written or flushed. The detail has the cause.",
    ),
    of(
        "token.by_token",
        409,
        "A token makes no tokens",
        "Tokens are made in the console, by somebody who is signed in, or on the service's command line.",
    ),
    of("token.days", 422, "Not a lifetime", "A token lives from 1 to 365 whole days."),
    of(
        "token.invalid",
        401,
        "The token is not valid",
        "The token is misspelt, has expired or was revoked, or its owner is disabled. Make a new one at /account/tokens.",
    ),
    of(
        "token.missing",
        401,
        "There is no token",
        "Send a token with each request: Authorization: Bearer vmi_…. Tokens are made at /account/tokens.",
    ),
    of(
        "token.scope",
        403,
        "The token was not made for this",
        "The token's scopes do not include what was asked for. Make one with a wider scope at /account/tokens.",
    ),
    of("token.scopes", 422, "No such scope", "A token has at least one of the scopes read, download, images, storages, all."),
    of("tokens.too_many", 409, "Too many tokens", "One person can have 100 tokens. Revoke some that are not used any more."),
    of(
        "too_large",
        413,
        "Too large",
        "The body is larger than this address takes: 64 KiB of JSON. Only the file of an image may be larger.",
    ),
    of("too_often", 429, "Too many attempts", "Wait for the seconds in Retry-After, then try again."),
    of("too_slow", 408, "Too slow", "The request did not arrive in time. Try again."),
    of(
        "unexpected",
        500,
        "Something went wrong",
        "The service met an error that it does not know. Nothing that was acknowledged is lost. Try again; if it stays, give the request's number to whoever runs the service.",
    ),
    of(
        "upload.beyond_length",
        413,
        "The chunk runs past the end",
        "The upload was announced with fewer bytes than have come now. Nothing beyond its length was stored. Ask how far it has come, and send what is missing.",
    ),
    of(
        "upload.bytes_lost",
        409,
        "What had been sent is gone",
        "The storage does not have the beginning of the file any more. Send the file from its beginning; Upload-Offset says so.",
    ),
    of(
        "upload.checksum",
        460,
        "The chunk has another checksum",
        "The bytes of the chunk do not have the SHA-256 in Upload-Checksum. None of them counts, and the upload is where it was. Send the chunk again.",
    ),
    of("upload.ending", 409, "An earlier upload is still ending", "Try again in a few seconds."),
    of(
        "upload.gone",
        410,
        "The upload is over",
        "It was cancelled, its file was refused, nobody went on with it in time, or its image was deleted. Begin anew: POST to /uploads, with the image in the metadata if it is still there.",
    ),
    of(
        "upload.has_bytes",
        409,
        "Another file is kept for the image",
        "Much of another file has been sent for this image and is kept. Go on with that file, or give it up first (DELETE).",
    ),
    of(
        "upload.hash_mismatch",
        422,
        "The file has another digest",
        "The file that arrived does not have the announced SHA-256. Nothing of it was kept. Compare the file with its publisher's digest, and send it again.",
    ),
    of(
        "upload.header",
        400,
        "A header of the upload cannot be read",
        "The detail says which header, and how it is written. See the protocol, tus 1.0.0.",
    ),
    of(
        "upload.incomplete",
        400,
        "The file did not arrive whole",
        "The connection was lost, fell silent, or ended early. What arrived is kept where the length of the file is known: an upload goes on from there (tus). A file that is sent whole is sent again.",
    ),
    of(
        "upload.length",
        400,
        "The length of the file cannot change",
        "The upload was announced with another Upload-Length. Begin anew for another file.",
    ),
    of(
        "upload.locked",
        423,
        "An earlier request is still at it",
        "Another request of the same upload is being answered, or its connection is not known to be dead yet. Try again after the seconds in Retry-After.",
    ),
    of("upload.no_length", 411, "The request does not say how long it is", "Send a form with a file with a Content-Length."),
    of(
        "upload.offset",
        409,
        "The upload is elsewhere",
        "The chunk does not begin where the upload has come to. Upload-Offset says where that is; go on from there.",
    ),
    of(
        "upload.other_device",
        423,
        "Another device sends",
        "Another device sends this file. 60 seconds after its last byte the image is Pending, and whoever has the right may go on.",
    ),
    of(
        "upload.other_file",
        409,
        "The chosen file is another one",
        "The file that was shown differs from what was sent before; `differs_at` says from which byte on. Choose the file with which the upload was begun, or give the upload up and begin anew.",
    ),
    of(
        "upload.proof",
        422,
        "The proof cannot be read",
        "A proof holds the SHA-256 of each block of what was sent before. The detail says what is wrong with it.",
    ),
    of(
        "upload.proof_needed",
        409,
        "Another device sent the beginning",
        "Before another device goes on, it must be shown that its file is the same: choose the file on the image's page, or POST the digests of its blocks to the upload's address with /proof.",
    ),
    of(
        "upload.right_lost",
        409,
        "The right was withdrawn during the upload",
        "Whoever sent the file was signed out, or lost the right, or the token ended. What arrived is kept for some days: whoever has the right may go on.",
    ),
    of("upload.session_ended", 401, "The session ended during the upload", "Sign in again, then send the file from the image's page."),
    of(
        "upload.superseded",
        409,
        "Something else came in between",
        "The image was deleted, its storage removed, or its upload cancelled or continued by another request while the file arrived. Ask how far the upload has come.",
    ),
    of(
        "upload.too_long",
        422,
        "More arrived than was announced",
        "The file is longer than was announced when the image was created. Send the Content-Length, or announce the right size.",
    ),
    of("upload.under_way", 409, "The file is being sent already", "Wait until that ends, or cancel it."),
    of("upload.version", 412, "Another version of the protocol", "Uploads speak tus 1.0.0. Send Tus-Resumable: 1.0.0."),
    of("url.too_long", 414, "The address is too long", "An address has at most 16 KiB. Search or filter for less at once."),
];

/// The text of a code.
pub fn find(code: &str) -> Option<&'static Problem> {
    ALL.iter().find(|problem| problem.code == code)
}

/// The address of a code's page.
pub fn address(code: &str) -> String {
    format!("/docs/problems/{code}")
}

#[derive(Template)]
#[template(path = "docs/problems.html")]
struct ListPage {
    problems: &'static [Problem],
}

#[derive(Template)]
#[template(path = "docs/problem.html")]
struct ProblemPage {
    problem: &'static Problem,
    status: String,
}

/// `GET /docs/problems`
pub async fn list() -> Result<HttpResponse, Error> {
    bare_html(StatusCode::OK, &ListPage { problems: ALL })
}

/// `GET /docs/problems/{code}`
pub async fn show(code: Path<String>) -> Result<HttpResponse, Error> {
    let problem = find(&code).ok_or_else(Error::not_found)?;
    let reason = StatusCode::from_u16(problem.status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
    bare_html(StatusCode::OK, &ProblemPage { problem, status: format!("{} {reason}", problem.status) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_unique_and_explained() {
        for pair in ALL.windows(2) {
            assert!(pair[0].code < pair[1].code, "{} comes before {}", pair[0].code, pair[1].code);
        }
        for problem in ALL {
            assert!(problem.explanation.ends_with('.') && !problem.title.is_empty() && !problem.title.ends_with('.'), "{}", problem.code);
            // 460 is the uploads' protocol's own.
            let known = StatusCode::from_u16(problem.status).unwrap().canonical_reason().is_some() || problem.status == 460;
            assert!(known, "{}", problem.code);
        }
    }
}
