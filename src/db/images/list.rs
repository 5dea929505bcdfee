//! The list of images: filters, search, order and pages, in one statement whatever the number of rows.
//!
//! A page is found by the place of its neighbour ([`crate::db::cursor`]), never by an offset, so that the last page costs what the first
//! does. The derived statuses are filtered by the same table as [`Shown::of`], written as SQL; a test compares the two for every
//! combination.

use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{BigInt, Bool, Integer, Text},
};

use super::{Found, Image, with_storage_and_upload};
use crate::{
    db::{
        Conn, DbResult,
        cursor::{Page, Place, Slice, Value},
        dialect,
        schema::{connections, hosts, images, storages},
        storages::Storage,
        uploads::Upload,
    },
    domain::{
        ids::{ClusterId, StorageId},
        image::{Kind, Shown},
    },
};

/// Which images to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Part of the name, folded; nothing if empty.
    pub search: String,
    pub kinds: Vec<Kind>,
    pub shown: Vec<Shown>,
    pub systems: Vec<String>,
    pub storages: Vec<StorageId>,
    pub clusters: Vec<ClusterId>,
}

/// What the list is ordered by; the identifier breaks ties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Name,
    Type,
    System,
    Size,
    Created,
}

crate::domain::codes::codes!(Sort { Name = "name", Type = "type", System = "os", Size = "size", Created = "created" });

impl Sort {
    /// The column, and whether it holds texts.
    const fn column(self) -> (&'static str, bool) {
        match self {
            Self::Name => ("images.search_key", true),
            Self::Type => ("images.kind", true),
            Self::System => ("images.os", true),
            Self::Size => ("images.size_bytes", false),
            Self::Created => ("images.created_at", false),
        }
    }

    /// Whether its column holds texts.
    pub const fn is_text(self) -> bool {
        self.column().1
    }
}

/// One row of the list.
#[derive(Debug, Clone)]
pub struct Row {
    pub found: Found,
    search_key: String,
}

impl Row {
    /// Its place in a list of this order.
    pub fn place(&self, sort: Sort) -> Place {
        let image = &self.found.image;
        let value = match sort {
            Sort::Name => Value::Text(self.search_key.clone()),
            Sort::Type => Value::Text(image.kind.as_str().to_owned()),
            Sort::System => Value::Text(image.os.clone()),
            Sort::Size => Value::Number(image.size_bytes),
            Sort::Created => Value::Number(image.created_at.micros()),
        };
        Place { value, id: image.id.to_string() }
    }
}

/// The condition under which an image has this shown status; the SQL twin of [`Shown::of`].
pub const fn shown_in_sql(shown: Shown) -> &'static str {
    match shown {
        Shown::Available => "(images.status = 'available' AND storages.health = 'healthy' AND images.file_state = 'sound')",
        Shown::Uploading => "(images.status = 'uploading' AND storages.health = 'healthy')",
        Shown::Creating => "(images.status = 'creating' AND storages.health = 'healthy')",
        Shown::Pending => "(images.status = 'pending' AND storages.health = 'healthy')",
        Shown::Degraded => "(storages.health = 'degraded')",
        Shown::FileUnavailable => {
            "(storages.health = 'removed' OR (images.status = 'available' AND storages.health = 'healthy' AND images.file_state <> 'sound'))"
        }
    }
}

/// Applies a filter to a boxed query over `images` joined with `storages`; a macro because the two queries have different types.
macro_rules! filtered {
    ($query:expr, $conn:expr, $filter:expr) => {{
        let filter: &Filter = $filter;
        let mut query = $query.filter(sql::<Bool>("images.status <> 'deleting'"));
        if !filter.search.is_empty() {
            if filter.search.chars().count() < 3 {
                // Too short for the trigram index: names that begin so, by the ordinary one.
                let end = format!("{}{}", filter.search, char::MAX);
                query = query.filter(images::search_key.ge(filter.search.clone()).and(images::search_key.lt(end)));
            } else {
                let dialect::Bound { before, text, after } = dialect::name_contains($conn, &filter.search);
                query = query.filter(sql::<Bool>(before).bind::<Text, _>(text).sql(after));
            }
        }
        if !filter.kinds.is_empty() {
            query = query.filter(images::kind.eq_any(filter.kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>()));
        }
        if !filter.shown.is_empty() {
            let conditions: Vec<_> = filter.shown.iter().map(|shown| shown_in_sql(*shown)).collect();
            query = query.filter(sql::<Bool>(&format!("({})", conditions.join(" OR "))));
        }
        if !filter.systems.is_empty() {
            query = query.filter(images::os.eq_any(filter.systems.clone()));
        }
        if !filter.storages.is_empty() {
            query = query.filter(images::storage_id.eq_any(filter.storages.iter().map(ToString::to_string).collect::<Vec<_>>()));
        }
        if !filter.clusters.is_empty() {
            let clusters: Vec<String> = filter.clusters.iter().map(ToString::to_string).collect();
            let connected = connections::table.filter(connections::cluster_id.eq_any(clusters.clone())).select(connections::storage_id);
            let of_hosts = hosts::table.filter(hosts::cluster_id.eq_any(clusters)).select(hosts::id.nullable());
            query = query.filter(images::storage_id.eq_any(connected).or(storages::host_id.eq_any(of_hosts).assume_not_null()));
        }
        query
    }};
}

/// Up to `size` images in the given order.
pub fn list(conn: &mut Conn, filter: &Filter, sort: Sort, descending: bool, page: &Page, size: usize) -> DbResult<Slice<Row>> {
    let query = with_storage_and_upload()
        .select((Image::as_select(), Storage::as_select(), Option::<Upload>::as_select(), images::search_key))
        .into_boxed();
    let mut query = filtered!(query, conn, filter);
    let (column, _) = sort.column();
    // Walking back to the previous page turns the order round.
    let downwards = descending != matches!(page, Page::Before(_));
    if let Page::After(place) | Page::Before(place) = page {
        let comparison = format!("({column}, images.id) {} (", if downwards { "<" } else { ">" });
        query = match &place.value {
            Value::Number(number) => {
                query.filter(sql::<Bool>(&comparison).bind::<BigInt, _>(*number).sql(", ").bind::<Text, _>(place.id.clone()).sql(")"))
            }
            Value::Text(text) => {
                query.filter(sql::<Bool>(&comparison).bind::<Text, _>(text.clone()).sql(", ").bind::<Text, _>(place.id.clone()).sql(")"))
            }
        };
    }
    let direction = if downwards { "DESC" } else { "ASC" };
    let order = sql::<Text>(&format!("{column} {direction}, images.id {direction}"));
    let limit = i64::try_from(size + 1).unwrap_or(i64::MAX);
    let rows: Vec<(Image, Storage, Option<Upload>, String)> = query.order(order).limit(limit).load(conn)?;
    let rows =
        rows.into_iter().map(|(image, storage, upload, search_key)| Row { found: Found { image, storage, upload }, search_key }).collect();
    Ok(Slice::cut(rows, page, size))
}

/// How many images the filter lets through, counted up to `most` and no further.
pub fn count(conn: &mut Conn, filter: &Filter, most: i64) -> DbResult<u64> {
    let query = images::table.inner_join(storages::table).select(sql::<Integer>("1")).into_boxed();
    // One small number a row up to the bound: diesel cannot count over a bounded sub-select of a boxed query.
    let ones: Vec<i32> = filtered!(query, conn, filter).limit(most).load(conn)?;
    Ok(u64::try_from(ones.len()).unwrap_or(u64::MAX))
}
