//! Turns an actor, an action and a thing into a [`Granted`] value, or a denial; the only place that can make one.
//!
//! Whatever changes or reveals something takes a `Granted<…>` by value. Rights are looked up in the very transaction that acts, so a right
//! that was taken away a moment ago is gone, also for people who are signed in. Every refusal to somebody who is signed in is written into
//! the audit log.

use std::{fmt::Display, marker::PhantomData, sync::Arc};

use crate::{
    clock,
    db::{Conn, Db, Tx, counts::Counts, events, events::Author, people, tokens, uploads},
    domain::{
        access::{Denial, Holdings, Privilege, Role, Scope, Scopes},
        audit::{Action, Entry, Object, ObjectKind, Outcome},
        ids::{ClusterId, ImageId, StorageId, TokenId, UserId},
    },
    operations::Failure,
};

/// How an actor showed who they are.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A browser's session, by the digest of its token.
    Session(String),
    /// A program's token, and what it may be used for.
    Token {
        /// Which.
        id: TokenId,
        /// How far it reaches.
        scopes: Scopes,
    },
    /// A token that carries on one upload and does nothing else, by its digest.
    Upload(String),
}

/// Somebody who is signed in, or whose token a program shows, and asks for something.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The user.
    pub user: UserId,
    /// The name under which events keep what was done.
    pub name: String,
    /// The device: a digest of its long-lived cookie, or of the token's identifier.
    pub device: String,
    /// What was shown.
    pub credential: Credential,
    /// The client's address.
    pub address: String,
    /// The request, as its answer names it.
    pub request_id: String,
}

impl Actor {
    /// The actor as the audit log keeps it.
    pub fn author(&self) -> Author {
        Author { id: Some(self.user), name: self.name.clone(), address: self.address.clone(), request_id: self.request_id.clone() }
    }

    /// What the actor holds at this moment. A token that has ended meanwhile holds nothing at all.
    fn holdings(&self, conn: &mut Conn) -> Result<Holdings, Failure> {
        match &self.credential {
            Credential::Session(_) => Ok(Holdings { role: people::role_of(conn, self.user)?, scopes: None }),
            Credential::Token { id, scopes } => {
                let role = tokens::role_of(conn, *id, clock::now())?.ok_or(Failure::TokenEnded)?;
                Ok(Holdings { role, scopes: Some(scopes.clone()) })
            }
            // Which upload that is, and that only it is asked for, is looked at by who reads the token.
            Credential::Upload(hash) => {
                let (_, user) = uploads::handed_over(conn, hash, clock::now())?.ok_or(Failure::TokenEnded)?;
                Ok(Holdings { role: people::role_of(conn, user.id)?, scopes: Some(Scopes::of(Scope::Images)) })
            }
        }
    }
}

/// The whole service, as a thing to have rights on.
#[derive(Debug, Clone, Copy)]
pub struct Service;

impl Display for Service {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}

/// A right that an operation asks for: a privilege on a kind of thing, and what the audit log calls its use.
pub trait Right: Send + 'static {
    /// The thing's identifier.
    type On: Copy + Display + Send + 'static;
    /// The privilege.
    const PRIVILEGE: Privilege;
    /// What a refusal is recorded as.
    const ACTION: Action;
    /// The kind of thing.
    const KIND: ObjectKind;
}

/// The rights, one type each, so that a grant of one cannot be used for another.
pub mod right {
    use super::{Action, ClusterId, ImageId, ObjectKind, Privilege, Right, Service, StorageId};

    macro_rules! rights {
        ($($name:ident($on:ty, $kind:ident) = $action:ident),+ $(,)?) => {$(
            #[doc = concat!("The privilege `", stringify!($name), "`.")]
            #[derive(Debug)]
            pub struct $name;

            impl Right for $name {
                type On = $on;
                const PRIVILEGE: Privilege = Privilege::$name;
                const ACTION: Action = Action::$action;
                const KIND: ObjectKind = ObjectKind::$kind;
            }
        )+};
    }

    rights! {
        ViewEvents(Service, Service) = Other,
        ViewSettings(Service, Service) = Other,
        CreateCluster(Service, Service) = AddCluster,
        CreateDatastore(Service, Service) = AddStorage,
        ReadCluster(ClusterId, Cluster) = Other,
        ReadHost(ClusterId, Cluster) = Other,
        CreateLocalStorage(ClusterId, Cluster) = AddStorage,
        UpdateCluster(ClusterId, Cluster) = EditCluster,
        DeleteCluster(ClusterId, Cluster) = RemoveCluster,
        ConnectDatastore(StorageId, Storage) = ConnectDatastore,
        DisconnectDatastore(StorageId, Storage) = DisconnectDatastore,
        ReadStorage(StorageId, Storage) = Other,
        CreateImage(StorageId, Storage) = CreateImage,
        UpdateStorage(StorageId, Storage) = EditStorage,
        DeleteStorage(StorageId, Storage) = RemoveStorage,
        ReadImage(ImageId, Image) = Other,
        DownloadImage(ImageId, Image) = DownloadImage,
        UpdateImage(ImageId, Image) = EditImage,
        DeleteImage(ImageId, Image) = DeleteImage,
        ForgetImage(ImageId, Image) = ForgetImage,
    }
}

/// Proof that an actor holds a right on a thing, in the transaction at hand.
#[derive(Debug)]
pub struct Granted<R: Right> {
    actor: Arc<Actor>,
    on: R::On,
    right: PhantomData<R>,
}

impl<R: Right> Granted<R> {
    /// Who holds it.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// On what.
    pub fn on(&self) -> R::On {
        self.on
    }

    /// Looks up a second right of the same actor, for what needs rights on both sides.
    pub fn also<S: Right>(&self, conn: &mut Conn, on: S::On) -> Result<Granted<S>, Failure> {
        grant(conn, &self.actor, on)
    }

    /// Writes a line into the audit log, as part of the change.
    pub fn record(&self, tx: &mut Tx<'_>, entry: &Entry) -> Result<(), Failure> {
        Ok(events::insert(tx, &self.actor.author(), entry, clock::now())?)
    }
}

/// What somebody may see of lists: everything or nothing, until roles say more. Lists are queried through it.
#[derive(Debug, Clone)]
pub struct Viewer {
    actor: Arc<Actor>,
    holdings: Holdings,
    counts: Counts,
}

impl Viewer {
    /// Who looks.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// What was counted a moment ago.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether things with this privilege are shown.
    pub fn sees(&self, privilege: Privilege) -> bool {
        self.holdings.hold(privilege)
    }

    /// The same for a program, which is told when it is its token that does not reach so far.
    pub fn reads(&self, privilege: Privilege) -> Result<bool, Failure> {
        match self.holdings.decide(privilege) {
            Err(Denial::OutOfScope(privilege)) => Err(out_of_scope(&self.holdings, privilege)),
            other => Ok(other.is_ok()),
        }
    }

    /// Refuses who holds a privilege nowhere.
    pub fn require(&self, conn: &mut Conn, privilege: Privilege) -> Result<(), Failure> {
        if self.reads(privilege)? { Ok(()) } else { Err(denied(conn, privilege)?) }
    }
}

/// Reads something that needs a right.
pub async fn read<R: Right, T: Send + 'static>(
    db: &Db,
    actor: &Arc<Actor>,
    on: R::On,
    reveal: impl FnOnce(&mut Conn, Granted<R>) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let reader = actor.clone();
    let read = db.read(move |conn| {
        let granted = grant::<R>(conn, &reader, on)?;
        reveal(conn, granted)
    });
    let answer = read.await;
    record_refusal::<R, T>(db, actor, on, &answer).await?;
    answer
}

/// Changes something that needs a right: the right, the change and its record in one transaction.
pub async fn write<R: Right, T: Send + 'static>(
    db: &Db,
    actor: &Arc<Actor>,
    on: R::On,
    change: impl FnOnce(&mut Tx<'_>, Granted<R>) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let writer = actor.clone();
    let write = db.write(move |tx| {
        let granted = grant::<R>(tx.conn(), &writer, on)?;
        change(tx, granted)
    });
    let answer = write.await;
    record_refusal::<R, T>(db, actor, on, &answer).await?;
    answer
}

/// Reads lists, as far as the actor may see them.
pub async fn look<T: Send + 'static>(
    db: &Db,
    actor: &Arc<Actor>,
    query: impl FnOnce(&mut Conn, &Viewer) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (viewer, counts) = (actor.clone(), db.counts().clone());
    let read = db.read(move |conn| {
        let holdings = viewer.holdings(conn)?;
        query(conn, &Viewer { actor: viewer, holdings, counts })
    });
    let answer = read.await;
    record(db, actor, &answer, Action::Other, ObjectKind::Service, String::new()).await?;
    answer
}

/// Changes something of the actor's own that makes sense only for who holds a privilege somewhere.
pub async fn anywhere<T: Send + 'static>(
    db: &Db,
    actor: &Arc<Actor>,
    privilege: Privilege,
    change: impl FnOnce(&mut Tx<'_>, &Viewer) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (writer, counts) = (actor.clone(), db.counts().clone());
    let write = db.write(move |tx| {
        let holdings = writer.holdings(tx.conn())?;
        let viewer = Viewer { actor: writer, holdings, counts };
        viewer.require(tx.conn(), privilege)?;
        change(tx, &viewer)
    });
    let answer = write.await;
    record(db, actor, &answer, Action::Other, ObjectKind::Service, String::new()).await?;
    answer
}

fn grant<R: Right>(conn: &mut Conn, actor: &Arc<Actor>, on: R::On) -> Result<Granted<R>, Failure> {
    let holdings = actor.holdings(conn)?;
    match holdings.decide(R::PRIVILEGE) {
        Ok(()) => Ok(Granted { actor: actor.clone(), on, right: PhantomData }),
        Err(Denial::Unseen) => Err(Failure::Unseen),
        Err(Denial::Lacks(privilege)) => Err(denied(conn, privilege)?),
        Err(Denial::OutOfScope(privilege)) => Err(out_of_scope(&holdings, privilege)),
    }
}

/// Whether the session of whoever began something long goes on. Going on is a sign of life. A token has no session.
pub fn is_signed_in(tx: &mut Tx<'_>, actor: &Actor) -> Result<bool, Failure> {
    match &actor.credential {
        Credential::Session(session) => Ok(people::touch_session(tx, session, clock::now())?),
        Credential::Token { .. } | Credential::Upload(_) => Ok(true),
    }
}

/// Whether whoever began something long may go on with it: still signed in, and still holding all of these.
pub fn may_go_on(tx: &mut Tx<'_>, actor: &Actor, privileges: &[Privilege]) -> Result<bool, Failure> {
    if !is_signed_in(tx, actor)? {
        return Ok(false);
    }
    match actor.holdings(tx.conn()) {
        Ok(holdings) => Ok(privileges.iter().all(|privilege| holdings.hold(*privilege))),
        Err(Failure::TokenEnded) => Ok(false),
        Err(failed) => Err(failed),
    }
}

/// The answer to a token that was not made for this: what it was made for.
fn out_of_scope(holdings: &Holdings, privilege: Privilege) -> Failure {
    Failure::OutOfScope { privilege, scopes: holdings.scopes.as_ref().map(ToString::to_string).unwrap_or_default() }
}

/// The answer to who lacks a privilege: which, and who can give it.
fn denied(conn: &mut Conn, privilege: Privilege) -> Result<Failure, Failure> {
    Ok(Failure::Denied { privilege, who_can_grant: people::some_with_role(conn, Role::Administrator)? })
}

/// Writes a refusal by a right or a rule into the log.
async fn record_refusal<R: Right, T>(db: &Db, actor: &Arc<Actor>, on: R::On, answer: &Result<T, Failure>) -> Result<(), Failure> {
    record(db, actor, answer, R::ACTION, R::KIND, on.to_string()).await
}

/// In a transaction of its own, because the one that the refusal ended was undone.
async fn record<T>(
    db: &Db,
    actor: &Arc<Actor>,
    answer: &Result<T, Failure>,
    action: Action,
    kind: ObjectKind,
    id: String,
) -> Result<(), Failure> {
    let (outcome, detail) = match answer {
        Err(Failure::Unseen) => (Outcome::Denied, "The right to see it is missing.".to_owned()),
        Err(Failure::Denied { privilege, .. }) => (Outcome::Denied, format!("The right to {} is missing.", privilege.words())),
        Err(Failure::OutOfScope { privilege, .. }) => {
            (Outcome::Denied, format!("The token was not made for it: the right to {} is missing.", privilege.words()))
        }
        Err(Failure::Refused(refusal)) => (Outcome::Refused, refusal.sentence.clone()),
        _ => return Ok(()),
    };
    let author = actor.author();
    db.write(move |tx| {
        let name = crate::db::name_of(tx.conn(), kind, &id)?;
        let object = if id.is_empty() { Object::service() } else { Object::new(kind, id, name) };
        let entry = Entry::done(action, object).ended(outcome).with(detail);
        Ok::<(), Failure>(events::insert(tx, &author, &entry, clock::now())?)
    })
    .await
}
