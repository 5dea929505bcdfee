//! When an image may be deleted, and when its record may be forgotten.
//!
//! The rule (PRODUCT.md section 4): an installation or base image may be deleted only if it is attached to no virtual machine at that
//! moment **and** its shown status is Available, or Pending, or Uploading or Creating from the same device. A record whose file is
//! unavailable may be forgotten instead. The page that disables a button, the operation that refuses and the test table all ask here.

use super::image::{Kind, Shown};

/// What the rule looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The type of the image.
    pub kind: Kind,
    /// Its shown status.
    pub shown: Shown,
    /// Names of the machines that use it, as far as the viewer may read them.
    pub machines: Vec<String>,
    /// How many more machines use it.
    pub more_machines: usize,
    /// Whether the bytes that are moving come from the device that asks.
    pub same_device: bool,
    /// The name of its storage.
    pub storage: String,
}

/// Why an image may not be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It is a machine's disk.
    VirtualDisk,
    /// Machines use it.
    InUse {
        /// Their names, as far as the viewer may read them.
        machines: Vec<String>,
        /// How many more.
        more: usize,
    },
    /// Another device is sending it.
    OtherDevice,
    /// Another device has it copied.
    OtherDeviceCopies,
    /// Its storage is degraded.
    StorageDegraded {
        /// The storage's name.
        storage: String,
    },
    /// Its file is not there.
    FileUnavailable,
    /// Only a record whose file is unavailable can be forgotten.
    NotUnavailable,
}

/// Whether the image may be deleted now.
pub fn may_delete(facts: &Facts) -> Result<(), Reason> {
    if facts.kind == Kind::VirtualDisk {
        return Err(Reason::VirtualDisk);
    }
    unused(facts)?;
    match facts.shown {
        Shown::Available | Shown::Pending => Ok(()),
        Shown::Uploading if facts.same_device => Ok(()),
        Shown::Creating if facts.same_device => Ok(()),
        Shown::Uploading => Err(Reason::OtherDevice),
        Shown::Creating => Err(Reason::OtherDeviceCopies),
        Shown::Degraded => Err(Reason::StorageDegraded { storage: facts.storage.clone() }),
        Shown::FileUnavailable => Err(Reason::FileUnavailable),
    }
}

/// Whether the record may be forgotten now.
pub fn may_forget(facts: &Facts) -> Result<(), Reason> {
    if facts.kind == Kind::VirtualDisk {
        return Err(Reason::VirtualDisk);
    }
    unused(facts)?;
    if facts.shown == Shown::FileUnavailable { Ok(()) } else { Err(Reason::NotUnavailable) }
}

fn unused(facts: &Facts) -> Result<(), Reason> {
    if facts.machines.is_empty() && facts.more_machines == 0 {
        Ok(())
    } else {
        Err(Reason::InUse { machines: facts.machines.clone(), more: facts.more_machines })
    }
}

impl Reason {
    /// A stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::VirtualDisk => "image.virtual_disk",
            Self::InUse { .. } => "image.in_use",
            Self::OtherDevice | Self::OtherDeviceCopies => "image.other_device",
            Self::StorageDegraded { .. } => "storage.degraded",
            Self::FileUnavailable => "image.file_unavailable",
            Self::NotUnavailable => "image.not_unavailable",
        }
    }

    /// The rule and the way out, in a sentence or two.
    pub fn sentence(&self) -> String {
        match self {
            Self::VirtualDisk => "A virtual disk goes with its virtual machine; it has no actions of its own.".to_owned(),
            Self::InUse { machines, more } => {
                format!("It is attached to {}. Detach it there first.", list_machines(machines, *more))
            }
            Self::OtherDevice => {
                "It is being uploaded from another device. Only that device may delete it now; 60 seconds after its last byte the image \
                 is Pending and anybody with the right may."
                    .to_owned()
            }
            Self::OtherDeviceCopies => {
                "It is being copied on behalf of another device. Only that device may delete it until the copy ends.".to_owned()
            }
            Self::StorageDegraded { storage } => {
                format!("Its storage “{storage}” is degraded. When the storage is healthy again, the image can be deleted.")
            }
            Self::FileUnavailable => {
                "Its file is unavailable, so nothing could be removed from the storage. If the file is gone for good, forget the record."
                    .to_owned()
            }
            Self::NotUnavailable => "Its file is not unavailable. Delete the image instead: that removes the file as well.".to_owned(),
        }
    }
}

fn list_machines(machines: &[String], more: usize) -> String {
    let mut words: Vec<String> = machines.iter().map(|name| format!("“{name}”")).collect();
    match (words.len(), more) {
        (_, 0) => {}
        (0, 1) => words.push("a virtual machine that you may not see".to_owned()),
        (0, n) => words.push(format!("{n} virtual machines that you may not see")),
        (_, n) => words.push(format!("{n} more")),
    }
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(kind: Kind, shown: Shown) -> Facts {
        Facts { kind, shown, machines: Vec::new(), more_machines: 0, same_device: false, storage: "nas".to_owned() }
    }

    /// The rows are the sentences of PRODUCT.md section 4, over every type, status, device and use.
    #[test]
    fn deletion_follows_the_table() {
        for kind in Kind::ALL {
            for shown in Shown::ALL {
                for same_device in [false, true] {
                    for used in [false, true] {
                        let mut facts = facts(*kind, *shown);
                        facts.same_device = same_device;
                        if used {
                            facts.machines.push("web-07".to_owned());
                        }
                        let allowed = *kind != Kind::VirtualDisk
                            && !used
                            && match shown {
                                Shown::Available | Shown::Pending => true,
                                Shown::Uploading | Shown::Creating => same_device,
                                Shown::Degraded | Shown::FileUnavailable => false,
                            };
                        assert_eq!(may_delete(&facts).is_ok(), allowed, "{facts:?}");
                        let forgettable = *kind != Kind::VirtualDisk && !used && *shown == Shown::FileUnavailable;
                        assert_eq!(may_forget(&facts).is_ok(), forgettable, "{facts:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_refusal_names_what_stands_in_the_way() {
        let used = Facts { machines: vec!["web-07".into(), "db-01".into()], more_machines: 3, ..facts(Kind::Base, Shown::Available) };
        let sentence = may_delete(&used).unwrap_err().sentence();
        assert_eq!(sentence, "It is attached to “web-07”, “db-01” and 3 more. Detach it there first.");
        let hidden = Facts { more_machines: 1, ..facts(Kind::Base, Shown::Available) };
        assert!(may_delete(&hidden).unwrap_err().sentence().contains("a virtual machine that you may not see"));
        let degraded = may_delete(&facts(Kind::Installation, Shown::Degraded)).unwrap_err();
        assert_eq!((degraded.code(), degraded.sentence().contains("“nas”")), ("storage.degraded", true));
    }
}
