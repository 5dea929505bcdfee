//! What the tests stand on: a service with everything of its own, a browser that fills forms, small images, and pages in short.

#[macro_use]
mod two_databases;

pub mod app;
pub mod browser;
pub mod fixtures;
pub mod journeys;
pub mod leftovers;
pub mod outline;
pub mod page;
pub mod program;
pub mod routes;
pub mod start;
pub mod statements;
pub mod tus;

pub use app::App;
pub use browser::{Answer, Browser};
pub use fixtures::{iso, iso_of, sha256};
pub use leftovers::Left;
pub use page::Page;

pub use start::Start;
pub use tus::Tus;
