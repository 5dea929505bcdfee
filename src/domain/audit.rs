//! What the audit log can say: actions, results, and the kinds of things that they are done to.

use super::codes::codes;

/// What somebody did or tried to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the words of each action say what was done")]
pub enum Action {
    SetUp,
    SignIn,
    SignOut,
    ChangePassword,
    ResetPassword,
    CreateUser,
    CreateToken,
    RevokeToken,
    CreateImage,
    BeginUpload,
    ContinueUpload,
    TakeOverUpload,
    HandOverUpload,
    CompleteUpload,
    StopUpload,
    RefuseFile,
    EditImage,
    DeleteImage,
    RemoveFile,
    ForgetImage,
    DownloadImage,
    CheckImage,
    FileLost,
    FileFound,
    AddStorage,
    ReturnStorage,
    EditStorage,
    RemoveStorage,
    CheckStorage,
    StorageDegraded,
    StorageHealthy,
    AddCluster,
    EditCluster,
    RemoveCluster,
    ConnectDatastore,
    DisconnectDatastore,
    Other,
}

codes!(Action {
    SetUp = "set_up",
    SignIn = "sign_in",
    SignOut = "sign_out",
    ChangePassword = "change_password",
    ResetPassword = "reset_password",
    CreateUser = "create_user",
    CreateToken = "create_token",
    RevokeToken = "revoke_token",
    CreateImage = "create_image",
    BeginUpload = "begin_upload",
    ContinueUpload = "continue_upload",
    TakeOverUpload = "take_over_upload",
    HandOverUpload = "hand_over_upload",
    CompleteUpload = "complete_upload",
    StopUpload = "stop_upload",
    RefuseFile = "refuse_file",
    EditImage = "edit_image",
    DeleteImage = "delete_image",
    RemoveFile = "remove_file",
    ForgetImage = "forget_image",
    DownloadImage = "download_image",
    CheckImage = "check_image",
    FileLost = "file_lost",
    FileFound = "file_found",
    AddStorage = "add_storage",
    ReturnStorage = "return_storage",
    EditStorage = "edit_storage",
    RemoveStorage = "remove_storage",
    CheckStorage = "check_storage",
    StorageDegraded = "storage_degraded",
    StorageHealthy = "storage_healthy",
    AddCluster = "add_cluster",
    EditCluster = "edit_cluster",
    RemoveCluster = "remove_cluster",
    ConnectDatastore = "connect_datastore",
    DisconnectDatastore = "disconnect_datastore",
    Other = "other",
});

impl Action {
    /// The action in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::SetUp => "Set up the service",
            Self::SignIn => "Sign in",
            Self::SignOut => "Sign out",
            Self::ChangePassword => "Change password",
            Self::ResetPassword => "Reset password",
            Self::CreateUser => "Create user",
            Self::CreateToken => "Create token",
            Self::RevokeToken => "Revoke token",
            Self::CreateImage => "Create image",
            Self::BeginUpload => "Begin upload",
            Self::ContinueUpload => "Continue upload",
            Self::TakeOverUpload => "Take upload over",
            Self::HandOverUpload => "Hand upload over",
            Self::CompleteUpload => "Complete upload",
            Self::StopUpload => "Upload stopped",
            Self::RefuseFile => "File refused",
            Self::EditImage => "Edit image",
            Self::DeleteImage => "Delete image",
            Self::RemoveFile => "Remove file",
            Self::ForgetImage => "Forget image",
            Self::DownloadImage => "Download image",
            Self::CheckImage => "Check image",
            Self::FileLost => "File lost",
            Self::FileFound => "File found",
            Self::AddStorage => "Add storage",
            Self::ReturnStorage => "Bring storage back",
            Self::EditStorage => "Edit storage",
            Self::RemoveStorage => "Remove storage",
            Self::CheckStorage => "Check storage",
            Self::StorageDegraded => "Storage degraded",
            Self::StorageHealthy => "Storage healthy",
            Self::AddCluster => "Add cluster",
            Self::EditCluster => "Edit cluster",
            Self::RemoveCluster => "Remove cluster",
            Self::ConnectDatastore => "Connect datastore",
            Self::DisconnectDatastore => "Disconnect datastore",
            Self::Other => "Other",
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done.
    Done,
    /// A rule stood against it.
    Refused,
    /// The right to it was missing.
    Denied,
    /// It went wrong.
    Failed,
}

codes!(Outcome { Done = "done", Refused = "refused", Denied = "denied", Failed = "failed" });

impl Outcome {
    /// The result in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Done => "Done",
            Self::Refused => "Refused",
            Self::Denied => "Denied",
            Self::Failed => "Failed",
        }
    }

    /// One of the five tones of the console.
    pub const fn tone(self) -> &'static str {
        match self {
            Self::Done => "good",
            Self::Refused | Self::Denied => "warn",
            Self::Failed => "bad",
        }
    }

    /// The icon whose shape tells the result without colour.
    pub const fn icon(self) -> &'static str {
        match self {
            Self::Done => "check",
            Self::Refused | Self::Denied => "blocked",
            Self::Failed => "warning",
        }
    }
}

/// What kind of thing it was done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the kinds of PRODUCT.md section 1")]
pub enum ObjectKind {
    Service,
    User,
    Cluster,
    Host,
    Storage,
    Image,
    Token,
}

codes!(ObjectKind {
    Service = "service",
    User = "user",
    Cluster = "cluster",
    Host = "host",
    Storage = "storage",
    Image = "image",
    Token = "token",
});

/// A thing as an event names it. The name is kept as it was then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What kind of thing.
    pub kind: ObjectKind,
    /// Its identifier; none for the service itself.
    pub id: Option<String>,
    /// Its name at that moment.
    pub name: String,
}

impl Object {
    /// The service as a whole.
    pub fn service() -> Self {
        Self { kind: ObjectKind::Service, id: None, name: String::new() }
    }

    /// A thing with an identifier and a name.
    pub fn new(kind: ObjectKind, id: impl ToString, name: impl Into<String>) -> Self {
        Self { kind, id: Some(id.to_string()), name: name.into() }
    }
}

/// One line to write into the audit log; who and when are added where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What was done.
    pub action: Action,
    /// To what.
    pub object: Object,
    /// How it ended.
    pub outcome: Outcome,
    /// What else there is to say, in words; empty if nothing.
    pub detail: String,
}

impl Entry {
    /// Something that was done.
    pub fn done(action: Action, object: Object) -> Self {
        Self { action, object, outcome: Outcome::Done, detail: String::new() }
    }

    /// The same with more to say.
    pub fn with(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The same with another result.
    pub fn ended(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }
}
