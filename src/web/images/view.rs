//! What pages show of an image, worked out once for the list and for its own page.

use crate::{
    db::{images::Found, usage::Machine},
    domain::{
        deletion,
        image::{Kind, Shown},
        size,
    },
    operations::{deletion_facts, system_name},
    web::page::{Moment, Pill},
};

/// How far a transfer is.
#[derive(Debug, Clone)]
pub struct Progress {
    pub percent: u64,
    /// `3.2 of 4.7 GiB`
    pub words: String,
}

/// An image, as pages show it.
#[derive(Debug, Clone)]
pub struct ImageView {
    pub id: String,
    pub name: String,
    pub kind: &'static str,
    pub kind_icon: &'static str,
    pub is_disk: bool,
    pub is_base: bool,
    /// What the file is: `ISO 9660, bootable by BIOS and UEFI`.
    pub format: String,
    /// The same, shorter: `BIOS, UEFI`.
    pub boot: String,
    pub status: Pill,
    pub progress: Option<Progress>,
    /// What an upload that stopped has left: `68 % received`.
    pub received: Option<String>,
    pub system: String,
    pub needs: String,
    pub size: String,
    pub size_exact: String,
    pub storage: String,
    pub storage_kind: &'static str,
    pub storage_href: String,
    pub storage_removed: bool,
    /// `web-07, +3`
    pub used_by: String,
    pub machines: Vec<String>,
    pub created: Moment,
    pub created_by: String,
    pub version: i64,
    /// Why it cannot be deleted, if so.
    pub delete_refusal: Option<String>,
    /// Why its record cannot be forgotten, if so.
    pub forget_refusal: Option<String>,
    pub can_download: bool,
    pub can_check: bool,
}

impl ImageView {
    /// Works out everything for somebody on `device`.
    pub fn new(found: &Found, machines: &[Machine], device: &str) -> Self {
        let (image, storage, shown) = (&found.image, &found.storage, found.shown());
        let facts = deletion_facts(found, machines, device);
        let progress = found.upload.as_ref().filter(|_| matches!(shown, Shown::Uploading)).map(|upload| Progress {
            percent: upload.percent().unwrap_or(0),
            words: if upload.declared() > 0 { size::part(upload.offset(), upload.declared()) } else { size::words(upload.offset()) },
        });
        let stopped = found.upload.as_ref().filter(|upload| shown == Shown::Pending && upload.kept() > 0);
        let received = stopped.and_then(crate::db::uploads::Upload::percent).map(|percent| format!("{percent} % received"));
        let words = match &progress {
            Some(progress) => format!("{} {} %", shown.words(), progress.percent),
            None => shown.words().to_owned(),
        };
        let boot = boot_words(image.boot.as_deref().unwrap_or_default());
        let format = image.format.as_deref().and_then(crate::media::Format::parse).map(|format| format.to_string()).unwrap_or_default();
        let used_by = match machines {
            [] => String::new(),
            [one] => one.name.clone(),
            [one, others @ ..] => format!("{}, +{}", one.name, others.len()),
        };
        Self {
            id: image.id.to_string(),
            name: image.name.clone(),
            kind: image.kind.words(),
            kind_icon: image.kind.icon(),
            is_disk: image.kind == Kind::VirtualDisk,
            is_base: image.kind == Kind::Base,
            format,
            boot,
            status: Pill { tone: shown.tone(), icon: shown.icon(), words, meaning: shown.meaning().to_owned() },
            progress,
            received,
            system: system_name(&image.os).to_owned(),
            needs: image.requirements().words(),
            size: if image.size() == 0 { "–".to_owned() } else { size::words(image.size()) },
            size_exact: size::exact(image.size()),
            storage: storage.name.clone(),
            storage_kind: storage.kind.words(),
            storage_href: format!("/{}/{}", storage.kind.section(), storage.id),
            storage_removed: storage.health == crate::domain::storage::Health::Removed,
            used_by,
            machines: machines.iter().map(|machine| machine.name.clone()).collect(),
            created: image.created_at.into(),
            created_by: image.created_by_name.clone(),
            version: image.version,
            delete_refusal: deletion::may_delete(&facts).err().map(|reason| reason.sentence()),
            forget_refusal: deletion::may_forget(&facts).err().map(|reason| reason.sentence()),
            can_download: shown == Shown::Available,
            can_check: shown == Shown::FileUnavailable && storage.health == crate::domain::storage::Health::Healthy,
        }
    }
}

fn boot_words(boot: &str) -> String {
    match boot {
        "bios,uefi" => "BIOS, UEFI",
        "bios" => "BIOS",
        "uefi" => "UEFI",
        _ => "",
    }
    .to_owned()
}
