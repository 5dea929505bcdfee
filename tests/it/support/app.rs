//! The service of one test, with its records and files, and short ways to what many tests do.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    rc::Rc,
};

use actix_web::{
    body::BoxBody,
    dev::{Service as _, ServiceResponse},
    test::{self, TestRequest},
};
use diesel::{QueryableByName, RunQueryDsl, sql_query, sql_types};
use futures_util::future::LocalBoxFuture;
use vmimg::{
    jobs,
    operations::{Failure, Service, seed, set_up},
};

use super::Browser;

type Call = Rc<dyn Fn(TestRequest) -> LocalBoxFuture<'static, ServiceResponse<BoxBody>>>;

/// The e-mail address and the password of the administrator.
pub const ADMIN: (&str, &str) = ("ada@example.org", "correct horse battery");

/// A service that answers requests without a socket. Nothing runs in the background: tests call the rounds when they want them.
#[derive(Clone)]
pub struct App {
    pub service: Service,
    /// The one-time code of the set-up page, while nobody has been created.
    pub code: Option<String>,
    pub database_url: String,
    call: Call,
    dir: PathBuf,
    admin: Rc<std::cell::RefCell<Option<Browser>>>,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = sql_types::BigInt)]
    n: i64,
}

#[derive(QueryableByName)]
struct Text {
    #[diesel(sql_type = sql_types::Text)]
    t: String,
}

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = sql_types::Text)]
    detail: String,
}

impl App {
    /// Serves `service`, whose files lie below `dir`.
    pub async fn over(service: Service, dir: PathBuf, database_url: String) -> Self {
        let code = set_up::prepare(&service).unwrap();
        let app = Rc::new(test::init_service(vmimg::web::app(service.clone())).await);
        let call: Call = Rc::new(move |request: TestRequest| {
            let app = app.clone();
            Box::pin(async move {
                match app.call(request.to_request()).await {
                    Ok(answer) => answer.map_into_boxed_body(),
                    Err(failed) => panic!("the outermost layer answers every error: {failed}"),
                }
            })
        });
        Self { service, code, database_url, call, dir, admin: Rc::default() }
    }

    /// Sends a request.
    pub async fn call(&self, request: TestRequest) -> ServiceResponse<BoxBody> {
        (self.call)(request).await
    }

    /// A browser that nobody has used yet.
    pub fn browser(&self) -> Browser {
        Browser::new(self.clone())
    }

    /// The administrator's browser.
    pub fn admin(&self) -> Browser {
        self.admin.borrow().clone().expect("the service is set up")
    }

    /// Another browser in which the administrator has signed in.
    pub async fn second_admin(&self) -> Browser {
        let browser = self.browser();
        browser.sign_in(ADMIN.0, ADMIN.1).await.expect_path("/images");
        browser
    }

    /// Fills the set-up page.
    pub async fn set_up(&self) {
        let browser = self.browser();
        let page = browser.open(&format!("/setup?code={}", self.code.as_deref().unwrap())).await;
        let form = page.form("Set up").fill("name", "Ada").fill("email", ADMIN.0).fill("password", ADMIN.1);
        form.submit().await.expect_path("/images");
        self.admin.replace(Some(browser));
    }

    /// Makes a user with this role (`administrator` or `no_access`) and signs in as them.
    pub async fn user(&self, email: &str, role: &str) -> Browser {
        let name = email.split('@').next().unwrap();
        vmimg::operations::manage_people::create_user(&self.service, name, email, ADMIN.1, role.parse().unwrap()).unwrap();
        let browser = self.browser();
        browser.sign_in(email, ADMIN.1).await.expect_path("/images");
        browser
    }

    /// Below the folder in which storages may lie, a new empty folder of this name.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.dir.join("media").join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// The folder of all that this test has.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Adds a datastore in a folder of the same name, connected to *Default*; answers its identifier.
    pub async fn datastore(&self, name: &str) -> String {
        let path = self.folder(name);
        let page = self.admin().open("/datastores/new").await;
        let page = page.form("Add datastore").fill("name", name).fill("path", path.to_str().unwrap()).submit().await;
        page.expect_status(200);
        page.path().strip_prefix("/datastores/").unwrap_or_else(|| panic!("added: {page}")).to_owned()
    }

    /// The identifier of the storage with this name.
    pub fn storage(&self, name: &str) -> String {
        self.text(&format!("SELECT id AS t FROM storages WHERE name = '{name}'"))
    }

    /// The folder of the storage with this name.
    pub fn path_of(&self, storage: &str) -> PathBuf {
        self.text(&format!("SELECT path AS t FROM storages WHERE name = '{storage}'")).into()
    }

    /// The file of an image.
    pub fn file_of(&self, image: &str) -> PathBuf {
        let path = format!("SELECT storages.path AS t FROM images JOIN storages ON storages.id = storage_id WHERE images.id = '{image}'");
        Path::new(&self.text(&path)).join("images").join(format!("{image}.iso"))
    }

    /// Runs a statement.
    #[track_caller]
    pub fn sql(&self, statement: &str) -> usize {
        self.try_sql(statement).unwrap_or_else(|failed| panic!("{statement}: {failed}"))
    }

    /// Runs a statement that may fail.
    pub fn try_sql(&self, statement: &str) -> Result<usize, Failure> {
        self.service.db.write_now(|tx| Ok(sql_query(statement).execute(tx.conn()).map_err(vmimg::db::DbError::from)?))
    }

    /// The one number that a statement selects as `n`.
    #[track_caller]
    pub fn number(&self, statement: &str) -> i64 {
        let found: Result<Number, Failure> =
            self.service.db.read_now(|conn| Ok(sql_query(statement).get_result(conn).map_err(vmimg::db::DbError::from)?));
        found.unwrap_or_else(|failed| panic!("{statement}: {failed}")).n
    }

    /// How many rows a table has, with a condition or without.
    pub fn count(&self, table_where: &str) -> i64 {
        self.number(&format!("SELECT COUNT(*) AS n FROM {table_where}"))
    }

    /// The texts that a statement selects as `t`.
    #[track_caller]
    pub fn texts(&self, statement: &str) -> Vec<String> {
        let found: Result<Vec<Text>, Failure> =
            self.service.db.read_now(|conn| Ok(sql_query(statement).load(conn).map_err(vmimg::db::DbError::from)?));
        found.unwrap_or_else(|failed| panic!("{statement}: {failed}")).into_iter().map(|row| row.t).collect()
    }

    /// How the database goes about a statement: SQLite's intentions, or what PostgreSQL did.
    #[track_caller]
    pub fn plan_of(&self, statement: &str) -> Vec<String> {
        if !self.database_url.ends_with(".db") {
            self.sql(
                "CREATE OR REPLACE FUNCTION plan_of(asked text) RETURNS SETOF text LANGUAGE plpgsql AS \
                 $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, COSTS OFF) ' || asked; END $$",
            );
            return self.texts(&format!("SELECT t FROM plan_of('{}') AS t", statement.replace('\'', "''")));
        }
        let explained = format!("EXPLAIN QUERY PLAN {statement}");
        let found: Result<Vec<Step>, Failure> =
            self.service.db.read_now(|conn| Ok(sql_query(explained).load(conn).map_err(vmimg::db::DbError::from)?));
        found.unwrap_or_else(|failed| panic!("{statement}: {failed}")).into_iter().map(|step| step.detail).collect()
    }

    /// So many images that nobody uploaded, without files.
    pub fn seed(&self, images: u64) {
        let password = ADMIN.1.to_owned();
        let plan = seed::Plan { images, storages: 12, administrators: 1, seed: 7, password, files: false, add: true };
        seed::run(&self.service, &plan, |_| {}).unwrap();
    }

    /// The one text that a statement selects as `t`.
    #[track_caller]
    pub fn text(&self, statement: &str) -> String {
        let mut found = self.texts(statement);
        assert_eq!(found.len(), 1, "{statement}: {found:?}");
        found.remove(0)
    }

    /// The audit log, oldest first: `who action result object – detail`.
    pub fn events(&self) -> Vec<String> {
        self.texts(
            "SELECT actor_name || ' ' || action || ' ' || outcome || ' ' || object_name || ' – ' || detail AS t FROM events ORDER BY seq",
        )
    }

    /// Lines that `work` added to the audit log.
    pub async fn events_of<T>(&self, work: impl Future<Output = T>) -> (T, Vec<String>) {
        let before = self.events().len();
        let done = work.await;
        (done, self.events().split_off(before))
    }

    /// Does everything that is queued.
    pub async fn work(&self) {
        jobs::work_off(&self.service).await.unwrap();
    }

    /// Looks at every storage once.
    pub async fn watch(&self) {
        jobs::watch_storages(&self.service).await.unwrap();
    }

    /// Every table's number of rows: what a request that must leave nothing behind is compared by.
    pub fn rows(&self) -> BTreeMap<&'static str, i64> {
        const TABLES: [&str; 14] = [
            "users",
            "sessions",
            "tokens",
            "requests",
            "clusters",
            "hosts",
            "storages",
            "connections",
            "images",
            "uploads",
            "drafts",
            "submissions",
            "jobs",
            "events",
        ];
        TABLES.into_iter().map(|table| (table, self.count(table))).collect()
    }

    /// All files below the folders in which storages lie, with their sizes.
    pub fn files(&self) -> BTreeMap<String, u64> {
        let mut found = BTreeMap::new();
        for root in [self.dir.join("media"), self.dir.join("data/storage")] {
            walk(&root, &mut |path, bytes| {
                found.insert(path.strip_prefix(&self.dir).unwrap().display().to_string(), bytes);
            });
        }
        found
    }
}

fn walk(folder: &Path, found: &mut impl FnMut(&Path, u64)) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.map(Result::unwrap) {
        let about = entry.metadata().unwrap();
        if about.is_dir() {
            walk(&entry.path(), found);
        } else {
            found(&entry.path(), about.len());
        }
    }
}
