//! Who may do what: privileges, roles, and the decision.
//!
//! For now there is one role that permits, *Administrator*, and the lack of one. Every operation already names the privilege that it
//! needs and every answer comes from [`Holdings::decide`], so that more roles and entries change this file and what it is asked with, not
//! the operations.
//!
//! A program that shows a token holds what the token's owner holds, as far as the token's scopes reach.

use super::{
    codes::{UnknownCode, codes},
    text::FieldError,
};

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

/// What a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Seeing everything but the bytes of images.
    Read,
    /// The bytes of images, and nothing else.
    Download,
    /// Whatever is done with images but downloading, and seeing.
    Images,
    /// Whatever is done with storages and clusters, and seeing.
    Storages,
    /// All that the owner may do.
    All,
}

codes!(Scope { Read = "read", Download = "download", Images = "images", Storages = "storages", All = "all" });

impl Scope {
    /// What the scope permits, to follow its name.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Read => "see images, storages, clusters, events and settings",
            Self::Download => "download the files of images",
            Self::Images => "create, change, upload, delete and forget images, and see everything",
            Self::Storages => "add, change and remove storages, clusters and connections, and see everything",
            Self::All => "everything that you may do",
        }
    }

    /// Whether the scope reaches a privilege.
    pub const fn reaches(self, privilege: Privilege) -> bool {
        match privilege {
            Privilege::ViewEvents
            | Privilege::ViewSettings
            | Privilege::ReadCluster
            | Privilege::ReadHost
            | Privilege::ReadStorage
            | Privilege::ReadImage => !matches!(self, Self::Download),
            Privilege::DownloadImage => matches!(self, Self::Download | Self::All),
            Privilege::CreateImage | Privilege::UpdateImage | Privilege::DeleteImage | Privilege::ForgetImage => {
                matches!(self, Self::Images | Self::All)
            }
            Privilege::CreateCluster
            | Privilege::CreateDatastore
            | Privilege::CreateLocalStorage
            | Privilege::UpdateCluster
            | Privilege::DeleteCluster
            | Privilege::ConnectDatastore
            | Privilege::DisconnectDatastore
            | Privilege::UpdateStorage
            | Privilege::DeleteStorage => matches!(self, Self::Storages | Self::All),
        }
    }
}

/// The scopes of one token: at least one, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// Parses the words that were chosen in `field`.
    pub fn parse<'word>(field: &'static str, words: impl IntoIterator<Item = &'word str>) -> Result<Self, FieldError> {
        let mut scopes = Vec::new();
        for word in words {
            let scope = word.parse().map_err(|_| {
                let known: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
                FieldError::new(field, "token.scopes", format!("“{word}” is no scope. There are {}.", known.join(", ")))
            })?;
            scopes.push(scope);
        }
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.is_empty() {
            return Err(FieldError::new(field, "token.scopes", "Choose what the token may be used for."));
        }
        Ok(Self(scopes))
    }

    /// This one alone.
    pub fn of(scope: Scope) -> Self {
        Self(vec![scope])
    }

    /// Whether any of them reaches a privilege.
    pub fn reach(&self, privilege: Privilege) -> bool {
        self.0.iter().any(|scope| scope.reaches(privilege))
    }

    /// Each of them.
    pub fn each(&self) -> impl Iterator<Item = Scope> {
        self.0.iter().copied()
    }
}

impl std::fmt::Display for Scopes {
    /// As a column holds them: `read download`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<&str> = self.0.iter().map(|scope| scope.as_str()).collect();
        f.write_str(&words.join(" "))
    }
}

impl TryFrom<String> for Scopes {
    type Error = UnknownCode;

    fn try_from(column: String) -> Result<Self, UnknownCode> {
        Self::parse("scope", column.split(' ').filter(|word| !word.is_empty())).map_err(|_| UnknownCode(column))
    }
}

/// What an actor holds at this moment: the user's role, and the scopes of the token that was shown, if it was one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdings {
    /// The user's role.
    pub role: Role,
    /// How far the token reaches; none for somebody who is signed in, who may do all that the role holds.
    pub scopes: Option<Scopes>,
}

/// Why something is not permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// The viewer may not even see the thing: it is answered like one that does not exist.
    Unseen,
    /// The viewer sees it, but lacks this privilege.
    Lacks(Privilege),
    /// The user has the privilege, but the token was not made for it.
    OutOfScope(Privilege),
}

impl Holdings {
    /// Whether the privilege is held, by role and scopes.
    pub fn hold(&self, privilege: Privilege) -> bool {
        self.decide(privilege).is_ok()
    }

    /// Whether what needs `privilege` may be done.
    pub fn decide(&self, privilege: Privilege) -> Result<(), Denial> {
        if self.role.holds(privilege) {
            let reached = self.scopes.as_ref().is_none_or(|scopes| scopes.reach(privilege));
            return if reached { Ok(()) } else { Err(Denial::OutOfScope(privilege)) };
        }
        match privilege.sight() {
            Some(sight) if !self.role.holds(sight) => Err(Denial::Unseen),
            _ => Err(Denial::Lacks(privilege)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_administrator_may_do_everything_and_others_nothing() {
        for privilege in Privilege::ALL {
            assert_eq!(Holdings { role: Role::Administrator, scopes: None }.decide(*privilege), Ok(()));
            let denial = if privilege.sight().is_some() { Denial::Unseen } else { Denial::Lacks(*privilege) };
            for scopes in [None, Some(Scopes::parse("scope", ["all"]).unwrap())] {
                assert_eq!(Holdings { role: Role::NoAccess, scopes }.decide(*privilege), Err(denial), "{privilege:?}");
            }
        }
    }

    #[test]
    fn a_token_reaches_as_far_as_its_scopes() {
        let reached = |scope: Scope| -> Vec<&str> {
            Privilege::ALL.iter().filter(|privilege| scope.reaches(**privilege)).map(|privilege| privilege.as_str()).collect()
        };
        let read = ["global.view_events", "global.view_settings", "cluster.read", "cluster.read_host", "storage.read", "image.read"];
        assert_eq!(reached(Scope::Read), read);
        assert_eq!(reached(Scope::Download), ["image.download_image"]);
        let beyond = |scope: Scope| -> Vec<&str> { reached(scope).into_iter().filter(|word| !read.contains(word)).collect() };
        assert_eq!(beyond(Scope::Images), ["storage.create_image", "image.update_image", "image.delete_image", "image.forget_image"]);
        assert_eq!(reached(Scope::Images).len(), read.len() + 4);
        assert_eq!(reached(Scope::Storages).len(), Privilege::ALL.len() - 4 - 1);
        assert!(!Scope::Storages.reaches(Privilege::DownloadImage) && !Scope::Storages.reaches(Privilege::CreateImage));
        assert_eq!(reached(Scope::All).len(), Privilege::ALL.len());
    }

    #[test]
    fn a_scope_gives_nothing_that_the_owner_lacks_and_says_what_it_lacks_itself() {
        let narrow = Holdings { role: Role::Administrator, scopes: Some(Scopes::parse("scope", ["read"]).unwrap()) };
        assert_eq!(narrow.decide(Privilege::ReadImage), Ok(()));
        assert_eq!(narrow.decide(Privilege::DeleteImage), Err(Denial::OutOfScope(Privilege::DeleteImage)));
        assert!(!narrow.hold(Privilege::DownloadImage));
        let both = Scopes::parse("scope", ["download", "read", "read"]).unwrap();
        assert_eq!(both.to_string(), "read download");
        assert_eq!(Scopes::try_from("read download".to_owned()), Ok(both));
        assert_eq!(Scopes::parse("scope", []).unwrap_err().code, "token.scopes");
        assert_eq!(Scopes::parse("scope", ["write"]).unwrap_err().code, "token.scopes");
    }
}
