//! Who may do what: privileges, roles, and the decision.
//!
//! For now there is one role that permits, *Administrator*, and the lack of one. Every operation already names the privilege that it
//! needs and every answer comes from [`decide`], so that more roles and entries change this file and what it is asked with, not the
//! operations.

use super::codes::codes;

/// One permitted action on one kind of thing (PRODUCT.md section 5). The text is `kind.action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the words of each privilege say what it permits")]
pub enum Privilege {
    ViewEvents,
    ViewSettings,
    CreateCluster,
    CreateDatastore,
    ReadCluster,
    ReadHost,
    CreateLocalStorage,
    UpdateCluster,
    DeleteCluster,
    ConnectDatastore,
    DisconnectDatastore,
    ReadStorage,
    CreateImage,
    UpdateStorage,
    DeleteStorage,
    ReadImage,
    DownloadImage,
    UpdateImage,
    DeleteImage,
    ForgetImage,
}

codes!(Privilege {
    ViewEvents = "global.view_events",
    ViewSettings = "global.view_settings",
    CreateCluster = "global.create_cluster",
    CreateDatastore = "global.create_datastore",
    ReadCluster = "cluster.read",
    ReadHost = "cluster.read_host",
    CreateLocalStorage = "cluster.create_local_storage",
    UpdateCluster = "cluster.update_cluster",
    DeleteCluster = "cluster.delete_cluster",
    ConnectDatastore = "datastore.create_cluster_datastore_connection",
    DisconnectDatastore = "datastore.delete_cluster_datastore_connection",
    ReadStorage = "storage.read",
    CreateImage = "storage.create_image",
    UpdateStorage = "storage.update",
    DeleteStorage = "storage.delete",
    ReadImage = "image.read",
    DownloadImage = "image.download_image",
    UpdateImage = "image.update_image",
    DeleteImage = "image.delete_image",
    ForgetImage = "image.forget_image",
});

impl Privilege {
    /// What it permits, to follow "the right to".
    pub const fn words(self) -> &'static str {
        match self {
            Self::ViewEvents => "see the events",
            Self::ViewSettings => "see the settings",
            Self::CreateCluster => "add clusters",
            Self::CreateDatastore => "add datastores",
            Self::ReadCluster => "see this cluster",
            Self::ReadHost => "see the hosts of this cluster",
            Self::CreateLocalStorage => "add local storages to this cluster",
            Self::UpdateCluster => "change this cluster",
            Self::DeleteCluster => "remove this cluster",
            Self::ConnectDatastore => "connect datastores to clusters",
            Self::DisconnectDatastore => "disconnect datastores from clusters",
            Self::ReadStorage => "see this storage",
            Self::CreateImage => "create images on this storage",
            Self::UpdateStorage => "change this storage",
            Self::DeleteStorage => "remove this storage",
            Self::ReadImage => "see this image",
            Self::DownloadImage => "download this image",
            Self::UpdateImage => "change this image",
            Self::DeleteImage => "delete this image",
            Self::ForgetImage => "forget this image's record",
        }
    }

    /// The privilege without which the thing that this one is on cannot be seen at all; none for what stands on no thing.
    pub const fn sight(self) -> Option<Self> {
        match self {
            Self::ViewEvents | Self::ViewSettings | Self::CreateCluster | Self::CreateDatastore => None,
            Self::ReadCluster | Self::ReadHost | Self::CreateLocalStorage | Self::UpdateCluster | Self::DeleteCluster => {
                Some(Self::ReadCluster)
            }
            Self::ConnectDatastore
            | Self::DisconnectDatastore
            | Self::ReadStorage
            | Self::CreateImage
            | Self::UpdateStorage
            | Self::DeleteStorage => Some(Self::ReadStorage),
            Self::ReadImage | Self::DownloadImage | Self::UpdateImage | Self::DeleteImage | Self::ForgetImage => Some(Self::ReadImage),
        }
    }
}

/// A named set of privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Every privilege.
    Administrator,
    /// None.
    NoAccess,
}

codes!(Role { Administrator = "administrator", NoAccess = "no_access" });

impl Role {
    /// The role in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Administrator => "Administrator",
            Self::NoAccess => "No access",
        }
    }

    /// Whether the role holds the privilege.
    pub const fn holds(self, _privilege: Privilege) -> bool {
        match self {
            Self::Administrator => true,
            Self::NoAccess => false,
        }
    }
}

/// Why something is not permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// The viewer may not even see the thing: it is answered like one that does not exist.
    Unseen,
    /// The viewer sees it, but lacks this privilege.
    Lacks(Privilege),
}

/// Whether whoever has `role` may do what needs `privilege`.
pub const fn decide(role: Role, privilege: Privilege) -> Result<(), Denial> {
    if role.holds(privilege) {
        return Ok(());
    }
    match privilege.sight() {
        Some(sight) if !role.holds(sight) => Err(Denial::Unseen),
        _ => Err(Denial::Lacks(privilege)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_administrator_may_do_everything_and_others_nothing() {
        for privilege in Privilege::ALL {
            assert_eq!(decide(Role::Administrator, *privilege), Ok(()));
            let denial = if privilege.sight().is_some() { Denial::Unseen } else { Denial::Lacks(*privilege) };
            assert_eq!(decide(Role::NoAccess, *privilege), Err(denial), "{privilege:?}");
        }
    }
}
