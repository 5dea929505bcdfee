//! One test body, two tests.

/// Makes `sqlite_<name>` and `postgres_<name>` of each `async fn <name>(start: Start)`. After the body, what it left behind is looked at.
macro_rules! two_databases {
    ($($(#[$meta:meta])* async fn $name:ident($start:ident: Start) $body:block)+) => { pastey::paste! {$(
        $(#[$meta])*
        async fn $name($start: $crate::support::Start) $body

        #[actix_web::test]
        async fn [<sqlite_ $name>]() {
            let start = $crate::support::Start::sqlite();
            $name(start.clone()).await;
            start.finish().await;
        }

        #[actix_web::test]
        async fn [<postgres_ $name>]() {
            let start = $crate::support::Start::postgres();
            $name(start.clone()).await;
            start.finish().await;
        }
    )+}};
}
