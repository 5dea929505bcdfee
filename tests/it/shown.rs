//! The status that is filtered in SQL is the one that is shown.

use vmimg::{
    db::{
        counts::Counts,
        images::{self, Filter},
        storages,
    },
    domain::{
        image::{FileState, Shown, Stored},
        storage::Health,
    },
    operations::Failure,
};

use super::support::{Left, iso};

two_databases! {
    async fn filter_and_page_agree_on_every_combination(start: Start) {
        start.leaves(Left::Records).leaves(Left::Files);
        let app = start.ready().await;
        let id = app.image("one", iso("ONE")).await;
        for stored in Stored::ALL.iter().copied() {
            for health in Health::ALL.iter().copied() {
                for file in FileState::ALL.iter().copied() {
                    let key = if stored == Stored::Deleting { "NULL" } else { "'one'" };
                    app.sql(&format!("UPDATE images SET status = '{}', file_state = '{}', name_key = {key}", stored.as_str(), file.as_str()));
                    app.sql(&format!("UPDATE storages SET health = '{}'", health.as_str()));
                    let shown = Shown::of(stored, health, file);
                    let combination = format!("{stored:?} {health:?} {file:?}");
                    for asked in Shown::ALL.iter().copied() {
                        let filter = Filter { shown: vec![asked], ..Filter::default() };
                        let found: Result<u64, Failure> = app.service.db.read_now(|conn| {
                            let all = storages::all(conn, None)?;
                            Ok(images::count(conn, &Counts::default(), &all, &filter, 10)?)
                        });
                        let found = found.unwrap();
                        assert_eq!(found == 1, shown == Some(asked), "{combination} as {asked:?}");
                        let page = app.admin().get(&format!("/images?status={}", asked.as_str())).await.expect(200);
                        assert_eq!(page.text().contains(&id), shown == Some(asked), "{combination} as {asked:?} on the page");
                    }
                    match shown {
                        None => drop(app.admin().get(&format!("/images/{id}")).await.expect(404)),
                        Some(shown) => {
                            app.admin().open(&format!("/images/{id}")).await.expect(&format!("one {}", shown.words()));
                        }
                    }
                }
            }
        }
        app.sql("UPDATE images SET status = 'available', file_state = 'sound', name_key = 'one'");
        app.sql("UPDATE storages SET health = 'healthy'");
    }
}
