//! Counts the SQL statements that one database is asked, by its URL, so that tests that run beside each other do not mix.

use std::{collections::HashMap, sync::Mutex};

use diesel::connection::{Instrumentation, InstrumentationEvent, set_default_instrumentation};

static SEEN: Mutex<Option<HashMap<String, Vec<String>>>> = Mutex::new(None);

struct Counter(String);

impl Instrumentation for Counter {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartEstablishConnection { url, .. } => url.clone_into(&mut self.0),
            InstrumentationEvent::StartQuery { query, .. } => {
                let query = query.to_string();
                // What a connection is set up and tried with belongs to no page.
                let upkeep = ["SET ", "PRAGMA", "SELECT j.journal_mode", "SELECT 1"];
                if upkeep.iter().all(|start| !query.starts_with(start))
                    && let Some(counts) = SEEN.lock().unwrap().as_mut().and_then(|seen| seen.get_mut(&self.0))
                {
                    counts.push(query);
                }
            }
            _ => {}
        }
    }
}

/// Connections that are made from now on are counted, where somebody asks for it.
pub fn count_from_now_on() {
    set_default_instrumentation(|| Some(Box::new(Counter(String::new())))).unwrap();
}

/// The statements that `work` asked of this database.
pub async fn of(url: &str, work: impl Future<Output = ()>) -> Vec<String> {
    SEEN.lock().unwrap().get_or_insert_default().insert(url.to_owned(), Vec::new());
    work.await;
    SEEN.lock().unwrap().as_mut().and_then(|seen| seen.remove(url)).unwrap_or_default()
}
