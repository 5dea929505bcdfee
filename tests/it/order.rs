//! The list of images in every order, forwards and backwards, alike on both databases.

use std::collections::BTreeSet;

use super::{
    list::{copies, link, list, names},
    support::{App, Left, Start, iso},
};

/// All pages of a list in one direction.
async fn walk(app: &App, query: &str) -> Vec<String> {
    let (mut page, mut seen, mut pages) = (list(app, query).await, Vec::new(), 0);
    loop {
        seen.extend(names(&page));
        pages += 1;
        assert!(pages <= 10, "{query} has no end");
        match link(&page, "next") {
            Some(next) => page = app.admin().open(&next).await,
            None => break,
        }
    }
    assert_eq!(pages, 5, "{query}");
    // And back again.
    let mut back = names(&page);
    while let Some(previous) = link(&page, "prev") {
        page = app.admin().open(&previous).await;
        let mut names = names(&page);
        names.extend(back);
        back = names;
    }
    assert_eq!(back, seen, "{query} is the same backwards");
    seen
}

#[actix_web::test]
async fn every_order_walks_every_row_once_in_both_directions_and_alike_on_both_databases() {
    let starts = [Start::sqlite(), Start::postgres()];
    let mut walks: Vec<Vec<Vec<String>>> = Vec::new();
    for start in &starts {
        start.leaves(Left::Records).leaves(Left::Files);
        let app = start.ready().await;
        app.image("Copy 000", iso("COPY")).await;
        app.sql("UPDATE images SET search_key = 'same', id = '01900000-0000-7000-8000-000000000000', created_at = 5");
        copies(&app, 118);
        app.sql("UPDATE images SET search_key = name_key WHERE id > '01900000-0000-7000-8000-000000000100'");
        app.sql("UPDATE images SET search_key = 'é.t:b. c' WHERE id = '01900000-0000-7000-8000-000000000100'");
        let mut here = Vec::new();
        for sort in ["name", "type", "os", "size", "created"] {
            for direction in ["", "-"] {
                let seen = walk(&app, &format!("sort={direction}{sort}&size=25")).await;
                assert_eq!(seen.len(), 119, "{direction}{sort}");
                assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 119, "{direction}{sort} shows each row once");
                here.push(seen);
            }
            let [.., upwards, downwards] = here.as_slice() else { panic!() };
            assert!(upwards.iter().eq(downwards.iter().rev()), "{sort}");
        }
        let filtered = walk(&app, "sort=-size&size=25&type=base&type=installation&q=").await;
        assert_eq!(filtered, here[7]);
        walks.push(here);
    }
    assert_eq!(walks[0], walks[1], "both databases sort alike");
    for start in starts {
        start.finish().await;
    }
}
