//! Somebody says what the digest of an image's file is: before it arrives, or afterwards. A file that arrives with another one is refused; of
//! one that is there the image says whether it agrees.

use std::sync::Arc;

use super::{Failure, Service, find_image, image_object};
use crate::{
    authorize::{self, Actor, right},
    clock,
    db::{images, jobs},
    domain::{
        audit::{Action, Entry},
        digest::{Expected, Verdict},
        ids::ImageId,
        image::{Kind, Stored},
        text::FieldError,
    },
};

/// Sets the expected digest of an image, from a text with the digest alone or a whole checksum list; nothing takes it away. Answers the
/// image's name, and whether the file has it, where that is known already.
pub async fn run(service: &Service, actor: &Arc<Actor>, id: ImageId, text: String) -> Result<(String, Option<Verdict>), Failure> {
    let answer = authorize::write::<right::UpdateImage, _>(&service.db, actor, id, move |tx, granted| {
        let found = find_image(tx.conn(), granted.on())?;
        if found.image.kind != Kind::Installation {
            return Err(FieldError::new("digest", "image.not_uploaded", "Only installation images have a digest to compare with.").into());
        }
        let expected = Expected::parse("digest", &text, &found.image.file_name)?;
        let available = found.image.status == Stored::Available;
        let verdict = match (&expected, &found.image.sha256) {
            (Some(Expected::Sha256(digits)), Some(has)) if available => {
                Some(if digits == has { Verdict::Verified } else { Verdict::Mismatch })
            }
            _ => None,
        };
        images::expect_digest(tx, id, expected.as_ref(), verdict)?;
        if available && matches!(expected, Some(Expected::Sha512(_))) {
            // The file is read once more for it.
            jobs::enqueue(tx, jobs::Kind::VerifyImage, found.storage.id, id, clock::now())?;
        }
        let detail = match (&expected, verdict) {
            (None, _) => "No digest is expected any more.".to_owned(),
            (Some(expected), None) => format!("Expected {} {}.", expected.algorithm(), expected.digits()),
            (Some(expected), Some(Verdict::Verified)) => {
                format!("Expected {} {}: the file has it.", expected.algorithm(), expected.digits())
            }
            (Some(expected), Some(Verdict::Mismatch)) => {
                format!("Expected {} {}: the file has another one.", expected.algorithm(), expected.digits())
            }
        };
        granted.record(tx, &Entry::done(Action::EditImage, image_object(&found)).with(detail))?;
        Ok((found.image.name, verdict))
    })
    .await?;
    service.wake.notify_one();
    Ok(answer)
}
