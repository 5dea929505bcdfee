//! Whether a file that somebody is about to send seems to be here already. A hint and no more: what is certain is known when all of it has
//! arrived.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{Failure, Service, create_image::File};
use crate::{
    authorize::{self, Actor},
    db::{images, images::Found},
    domain::{access::Privilege, image::Shown},
};

/// How many images of the same size are looked at.
const MOST: i64 = 4;
/// How long that may take: it is on the way of every upload, and its storages may be slow.
const WITHIN: Duration = Duration::from_secs(2);

/// The newest image, of those that the actor may see, that has the size of the file and begins with the same 64 KiB. Discs of installers
/// have the second they were made in there.
///
/// # Errors
/// Only those of the records: a storage that does not answer has no say.
pub async fn find(service: &Service, actor: &Arc<Actor>, file: &File) -> Result<Option<Found>, Failure> {
    if !file.exact {
        return Ok(None);
    }
    let bytes = file.bytes;
    let alike = authorize::look(&service.db, actor, move |conn, viewer| {
        if viewer.sees(Privilege::ReadImage) { Ok(images::of_size(conn, bytes, MOST)?) } else { Ok(Vec::new()) }
    })
    .await?;
    let first_same = async {
        for found in alike.into_iter().filter(|found| found.shown() == Shown::Available) {
            let (image, most) = (found.image.id, file.head.len());
            let beginning = service.handle(&found.storage).run(move |directory| directory.read_beginning(image, most)).await;
            if beginning.is_ok_and(|beginning| beginning == file.head) {
                return Some(found);
            }
        }
        None
    };
    Ok(timeout(WITHIN, first_same).await.unwrap_or(None))
}

/// Says so, for the page.
pub fn words(found: &Found) -> String {
    let (image, storage) = (&found.image.name, &found.storage.name);
    format!("This seems to be here already: “{image}” on “{storage}” has the same size and begins with the same bytes.")
}
