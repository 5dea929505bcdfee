//! Which virtual machines use which images.

use std::collections::HashMap;

use diesel::prelude::*;

use super::{
    Conn, DbResult,
    schema::{attachments, images, virtual_machines},
};
use crate::domain::ids::{ClusterId, ImageId, StorageId, VmId};

/// A machine that uses an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    pub id: VmId,
    pub name: String,
}

/// The machines that use each of these images; images that are not used are left out.
pub fn machines_of(conn: &mut Conn, images: &[ImageId]) -> DbResult<HashMap<ImageId, Vec<Machine>>> {
    let mut found: HashMap<ImageId, Vec<Machine>> = HashMap::new();
    if images.is_empty() {
        return Ok(found);
    }
    let rows: Vec<(String, String, String)> = attachments::table
        .inner_join(virtual_machines::table)
        .filter(attachments::image_id.eq_any(images.iter().map(ToString::to_string)))
        .order((virtual_machines::name, virtual_machines::id))
        .select((attachments::image_id, virtual_machines::id, virtual_machines::name))
        .load(conn)?;
    for (image, id, name) in rows {
        if let (Ok(image), Ok(id)) = (image.parse(), id.parse()) {
            found.entry(image).or_default().push(Machine { id, name });
        }
    }
    Ok(found)
}

/// The machines of a cluster that use an image on a storage; at most ten.
pub fn machines_between(conn: &mut Conn, storage: StorageId, cluster: ClusterId) -> DbResult<Vec<Machine>> {
    let there = images::table.filter(images::storage_id.eq(storage.to_string())).select(images::id);
    let rows: Vec<(String, String)> = attachments::table
        .inner_join(virtual_machines::table)
        .filter(virtual_machines::cluster_id.eq(cluster.to_string()).and(attachments::image_id.eq_any(there)))
        .order(virtual_machines::name)
        .limit(10)
        .select((virtual_machines::id, virtual_machines::name))
        .load(conn)?;
    Ok(rows.into_iter().filter_map(|(id, name)| Some(Machine { id: id.parse().ok()?, name })).collect())
}
