//! The first run: the administrator and the first storage, behind a one-time code. Afterwards it never comes back.

use std::path::PathBuf;

use super::{Failure, Service, add_storage, manage_people, off_thread};
use crate::{
    clock,
    db::{clusters, events, events::Author, people},
    domain::{
        access::Role,
        audit::{Action, Entry, Object, ObjectKind},
        ids::{ClusterId, HostId, UserId},
        storage::Kind,
        text::Name,
    },
    secret,
};

/// The cluster that exists from the beginning.
const CLUSTER: &str = "Default";
/// The host that exists from the beginning.
pub const HOST: &str = "this machine";

/// What the set-up page asks for.
#[derive(Debug, Clone)]
pub struct Answers {
    pub code: String,
    pub name: String,
    pub email: String,
    pub password: String,
    pub storage_name: String,
    pub storage_path: String,
}

/// Where the first storage is proposed.
pub fn proposed_path(service: &Service) -> PathBuf {
    service.config.data_dir.join("storage")
}

/// Makes a new code while nobody has been created, and answers it; none once the service is set up. Also makes cluster *Default* and host
/// *this machine*.
pub fn prepare(service: &Service) -> Result<Option<String>, Failure> {
    let code = secret::token().get(..32).unwrap_or_default().to_owned();
    service.db.write_now(|tx| {
        let now = clock::now();
        if clusters::all_hosts(tx.conn())?.is_empty() && clusters::all(tx.conn())?.is_empty() {
            let cluster = ClusterId::new();
            clusters::insert(tx, cluster, &Name::parse("name", CLUSTER)?, "", now)?;
            clusters::insert_host(tx, HostId::new(), cluster, HOST, now)?;
        }
        if people::anybody(tx.conn())? {
            return Ok(None);
        }
        people::set_setup_code(tx, &secret::digest(&code), now)?;
        Ok(Some(code))
    })
}

/// Whether a code opens the set-up page: there is nobody yet, and it is the one.
pub async fn is_open(service: &Service, code: String) -> Result<bool, Failure> {
    service.db.read(move |conn| Ok(!people::anybody(conn)? && people::is_setup_code(conn, &secret::digest(&code))?)).await
}

/// Makes the administrator and the first storage. Everything is checked first; a fault leaves nothing behind but, at most, an empty folder
/// in the data folder.
pub async fn run(service: &Service, answers: Answers, address: String, request_id: String) -> Result<UserId, Failure> {
    if !is_open(service, answers.code.clone()).await? {
        return Err(Failure::NotFound);
    }
    let (person, mut faults) = manage_people::check(&answers.name, &answers.email, &answers.password);
    let proposed = proposed_path(service);
    if std::path::Path::new(answers.storage_path.trim()) == proposed {
        // Only the folder that the page proposes is made for them.
        off_thread(move || std::fs::create_dir_all(&proposed)).await?.ok();
    }
    let asked = add_storage::Asked {
        kind: Kind::Local,
        name: answers.storage_name.clone(),
        path: answers.storage_path.clone(),
        cluster: None,
        clusters: Vec::new(),
    };
    let inspected = match add_storage::inspect(service, &asked, "storage_name", "storage_path").await {
        Ok(inspected) => Some(inspected),
        Err(Failure::Invalid(more)) => {
            faults.extend(more);
            None
        }
        Err(other) => return Err(other),
    };
    let (Some(person), Some(inspected)) = (person.filter(|_| faults.is_empty()), inspected) else { return Err(Failure::Invalid(faults)) };
    let password = answers.password.clone();
    let hash = off_thread(move || secret::hash_password(&password)).await?.map_err(Failure::Broken)?;
    let marked = inspected.mark(service).await?;
    let user = UserId::new();
    service
        .db
        .write(move |tx| {
            let now = clock::now();
            if !people::use_setup_code(tx, &secret::digest(&answers.code))? {
                return Err(Failure::NotFound);
            }
            people::insert(tx, user, &person.email, person.name.as_str(), &hash, Role::Administrator, now)?;
            let author = Author { id: Some(user), name: person.name.as_str().to_owned(), address, request_id };
            let host = clusters::all_hosts(tx.conn())?.into_iter().next().map(|(host, _)| host.id);
            let set_up = Entry::done(Action::SetUp, Object::new(ObjectKind::User, user, person.name.as_str()));
            events::insert(tx, &author, &set_up, now)?;
            marked.insert(tx, host, &author, now)?;
            Ok(user)
        })
        .await
}
