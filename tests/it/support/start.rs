//! The beginning of a test: a folder and a database of its own, from which the service can be opened, also again.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use diesel::{Connection, PgConnection, connection::SimpleConnection};
use tempfile::TempDir;
use vmimg::{
    config::{Config, Given},
    operations::Service,
};

use super::{App, Left, leftovers};

/// Where a test begins. Cheap to clone.
#[derive(Clone)]
pub struct Start(Rc<Inner>);

struct Inner {
    dir: TempDir,
    database: Database,
    environment: RefCell<Vec<(String, String)>>,
    app: RefCell<Option<App>>,
    left: RefCell<Vec<Left>>,
}

enum Database {
    Sqlite,
    Postgres { server: String, name: String },
}

impl Start {
    /// On SQLite, in a file of the test's own.
    pub fn sqlite() -> Self {
        Self::on(Database::Sqlite)
    }

    /// On PostgreSQL, in a database of the test's own.
    pub fn postgres() -> Self {
        let server = std::env::var("VMIMG_TEST_POSTGRES").unwrap_or_else(|_| {
            panic!("VMIMG_TEST_POSTGRES names no server, as in postgres://app@127.0.0.1:5432/ – see tests/tools/postgres")
        });
        let name = format!("vmimg_{}", vmimg::domain::ids::JobId::new().as_uuid().simple());
        run_on(&server, &format!("CREATE DATABASE {name}"));
        Self::on(Database::Postgres { server, name })
    }

    fn on(database: Database) -> Self {
        super::statements::count_from_now_on();
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("media")).unwrap();
        let (environment, app, left) = (RefCell::default(), RefCell::default(), RefCell::default());
        Self(Rc::new(Inner { dir, database, environment, app, left }))
    }

    /// Sets a setting before the service is opened.
    pub fn with(&self, setting: &str, value: &str) -> &Self {
        self.0.environment.borrow_mut().push((format!("VMIMG_{}", setting.to_uppercase()), value.to_owned()));
        self
    }

    /// Says that this test leaves something on purpose.
    pub fn leaves(&self, what: Left) -> &Self {
        self.0.left.borrow_mut().push(what);
        self
    }

    /// The URL of the database, as diesel connects to it.
    pub fn database_url(&self) -> String {
        match &self.0.database {
            Database::Sqlite => self.0.dir.path().join("data/vmimg.db").display().to_string(),
            Database::Postgres { server, name } => format!("{server}{name}"),
        }
    }

    /// The settings of this test, as a process finds them in its environment.
    pub fn environment(&self) -> Vec<(String, String)> {
        let path = |name: &str| self.0.dir.path().join(name).display().to_string();
        let mut environment = vec![
            ("VMIMG_DATA_DIR".to_owned(), path("data")),
            ("VMIMG_STORAGE_ROOTS".to_owned(), path("media")),
            ("VMIMG_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
            ("VMIMG_METRICS_LISTEN".to_owned(), "off".to_owned()),
        ];
        if let Database::Postgres { .. } = self.0.database {
            environment.push(("VMIMG_DATABASE_URL".to_owned(), self.database_url()));
        }
        environment.extend(self.0.environment.borrow().iter().cloned());
        environment
    }

    /// The settings of this test.
    pub fn config(&self) -> Config {
        let environment = self.environment();
        // A file of settings that lies about must not change a test.
        let none = self.0.dir.path().join("vmimg.toml");
        std::fs::write(&none, "").unwrap();
        Config::load(&Given { file: Some(none), environment, flags: Vec::new() }).unwrap()
    }

    /// The service as one process has it; the data folder is made first, as `serve` does.
    pub fn service(&self) -> Service {
        let config = Arc::new(self.config());
        drop(vmimg::app::take_data_dir(&config.data_dir).unwrap());
        vmimg::app::open(config).unwrap()
    }

    /// Opens the service: nobody has set it up yet. Called again, it is opened as after a restart.
    pub async fn open(&self) -> App {
        let app = App::over(self.service(), self.0.dir.path().to_owned(), self.database_url()).await;
        self.0.app.replace(Some(app.clone()));
        app
    }

    /// Opens the service and sets it up through its page: an administrator, and the storage “local”.
    pub async fn ready(&self) -> App {
        let app = self.open().await;
        app.set_up().await;
        app
    }

    /// Fails the test if it left something behind that it did not name.
    pub async fn finish(self) {
        if let Some(app) = self.0.app.take() {
            let left = self.0.left.take();
            leftovers::look(&app, &left).await;
        }
        if let Database::Postgres { server, name } = &self.0.database {
            run_on(server, &format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

fn run_on(server: &str, statement: &str) {
    let mut connection = PgConnection::establish(&format!("{server}postgres")).expect("VMIMG_TEST_POSTGRES names a server that answers");
    connection.batch_execute(statement).unwrap();
}
