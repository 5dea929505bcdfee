//! The list of images: filters, search, order and pages, at a cost that does not grow with the number of images.
//!
//! A page is found by the place of its neighbour ([`crate::db::cursor`]), never by an offset, so that the last page costs what the first
//! does. A filter is taken apart into legs ([`super::legs`]), each of them is walked in an index that is sorted as the list is, and the
//! first rows of all legs are the page. Where an index knows nothing of a condition, its rows are passed over; that is quick where many
//! match. Where few match, all that match are fetched by the index that finds them and sorted; which of the two it is, a bounded count
//! says, and what was counted is remembered for a moment ([`crate::db::counts`]).

use std::{cmp::Ordering, collections::HashMap};

use diesel::{
    dsl::AsSelect,
    prelude::*,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{BigInt, Text},
};

use super::{
    Found, Image,
    legs::{self, Leg, On, State},
};
use crate::{
    db::{
        Conn, DbResult,
        counts::{Belief, Counts},
        cursor::{Page, Place, Slice, Value},
        dialect,
        storages::Storage,
        uploads::Upload,
    },
    domain::{
        ids::{ClusterId, StorageId},
        image::{Kind, Shown},
    },
};

/// Rows beyond which nothing is counted.
const COUNTED: i64 = 10_001;
/// Up to so many rows that match are fetched and sorted rather than looked for in a walk.
const FEW: i64 = 1_500;
/// A word with more hits than this is better met in passing than looked up.
const RARE: i64 = 20_000;
/// Lists of so many values make statements that are worth keeping; there is no end to the others.
const SEVERAL: usize = 4;
/// Entries of an index that are walked before it is asked whether fetching is the shorter way.
const STRETCH: i64 = 20_000;

/// Which images to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Part of the name, folded; nothing if empty. With fewer than three characters, its beginning.
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
    /// The column, and the index in which this order is walked.
    const fn column(self) -> (&'static str, &'static str) {
        match self {
            Self::Name => ("search_key", "images_walk_name"),
            Self::Type => ("kind", "images_walk_kind"),
            Self::System => ("os", "images_walk_os"),
            Self::Size => ("size_bytes", "images_walk_size"),
            Self::Created => ("created_at", "images_walk_created"),
        }
    }

    /// Whether its column holds texts.
    pub const fn is_text(self) -> bool {
        matches!(self, Self::Name | Self::Type | Self::System)
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
        Place { value: self.value(sort), id: self.found.image.id.to_string() }
    }

    fn value(&self, sort: Sort) -> Value {
        let image = &self.found.image;
        match sort {
            Sort::Name => Value::Text(self.search_key.clone()),
            Sort::Type => Value::Text(image.kind.as_str().to_owned()),
            Sort::System => Value::Text(image.os.clone()),
            Sort::Size => Value::Number(image.size_bytes),
            Sort::Created => Value::Number(image.created_at.micros()),
        }
    }

    /// As both databases sort: texts by their bytes.
    fn compare(&self, other: &Self, sort: Sort) -> Ordering {
        let (one, two) = (&self.found.image, &other.found.image);
        let values = match sort {
            Sort::Name => self.search_key.cmp(&other.search_key),
            Sort::Type => one.kind.as_str().cmp(two.kind.as_str()),
            Sort::System => one.os.cmp(&two.os),
            Sort::Size => one.size_bytes.cmp(&two.size_bytes),
            Sort::Created => one.created_at.cmp(&two.created_at),
        };
        values.then_with(|| one.id.cmp(&two.id))
    }
}

/// Up to `size` images in the given order. `all` are all storages that there are.
#[expect(clippy::too_many_arguments, reason = "what a page of a list is")]
pub fn list(
    conn: &mut Conn,
    counts: &Counts,
    all: &[Storage],
    filter: &Filter,
    sort: Sort,
    descending: bool,
    page: &Page,
    size: usize,
) -> DbResult<Slice<Row>> {
    let legs = legs::of(conn, all, filter, Some(sort))?;
    // Walking back to the previous page turns the order round.
    let walk = Walk {
        sort,
        downwards: descending != matches!(page, Page::Before(_)),
        from: if let Page::After(place) | Page::Before(place) = page { Some(place) } else { None },
        most: size + 1,
    };
    let (mut some, mut ways) = (Vec::new(), Vec::new());
    for leg in legs {
        if let Some(way) = way(conn, counts, &leg, sort)? {
            some.push(leg);
            ways.push(way);
        }
    }
    let legs = some;
    let mut rows = fetch(conn, all, &legs, &ways, &walk)?;
    if rows.len() < walk.most {
        // One stretch held too little, and there is more somewhere.
        let mut longer = ways.clone();
        for (way, leg) in longer.iter_mut().zip(&legs) {
            if let Way::Stretch(_, matching) = *way
                && matching > signed(rows.len())
            {
                *way = if matching < COUNTED { Way::Sorted(finder(conn, counts, leg)?) } else { Way::Walk(walk_index(leg, sort)) };
            }
        }
        if longer != ways {
            rows = fetch(conn, all, &legs, &longer, &walk)?;
        }
    }
    Ok(Slice::cut(rows, page, size))
}

/// How many images the filter lets through, counted up to `most` and no further.
pub fn count(conn: &mut Conn, counts: &Counts, all: &[Storage], filter: &Filter, most: i64) -> DbResult<u64> {
    let mut total = 0;
    for leg in legs::of(conn, all, filter, None)? {
        if total < most {
            total += count_leg(conn, counts, &leg, most)?;
        }
    }
    Ok(u64::try_from(total.min(most)).unwrap_or(0))
}

fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// In which order, from where, how far.
struct Walk<'page> {
    sort: Sort,
    downwards: bool,
    from: Option<&'page Place>,
    most: usize,
}

/// How the rows of a leg are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Along an index that is sorted as the list is, for as long as it takes.
    Walk(&'static str),
    /// The same, but only [`STRETCH`] entries; so many rows match in all.
    Stretch(&'static str, i64),
    /// All that match, then sorted.
    Sorted(Finder),
}

/// What finds all rows of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finder {
    /// The index of parts of names.
    Search,
    /// An ordinary index, as SQLite is told; PostgreSQL chooses by itself.
    Index(&'static str),
}

/// The indexes of images that are not available, or whose files are not sound, in each order.
const UNSETTLED: [&str; 5] =
    ["images_unsettled_name", "images_unsettled_kind", "images_unsettled_os", "images_unsettled_size", "images_unsettled"];
const UNSOUND: [&str; 5] = ["images_unsound_name", "images_unsound_kind", "images_unsound_os", "images_unsound_size", "images_unsound"];

/// The index that is sorted as the list is and leads past the fewest rows that do not match.
fn walk_index(leg: &Leg, sort: Sort) -> &'static str {
    match (leg.state, sort) {
        (State::Unsettled(_), _) => UNSETTLED[sort as usize],
        (State::Unsound(_), _) => UNSOUND[sort as usize],
        (_, Sort::Created) if leg.storage().is_some() => "images_of_storage",
        (_, Sort::Created) if leg.system().is_some() && leg.search.is_empty() => "images_of_os",
        (_, Sort::Created) if leg.kind().is_some() && leg.search.is_empty() && leg.systems.is_empty() => "images_of_kind",
        _ => sort.column().1,
    }
}

/// How the rows of a leg are found; not at all where there are none.
fn way(conn: &mut Conn, counts: &Counts, leg: &Leg, sort: Sort) -> DbResult<Option<Way>> {
    let index = walk_index(leg, sort);
    // What the index itself picks out leaves nothing to pass over but what is being deleted.
    let picked = match index {
        // The few that are walked there are few in any case.
        _ if matches!(leg.state, State::Unsettled(_) | State::Unsound(_)) => true,
        "images_of_storage" | "images_of_os" | "images_of_kind" => leg.state == State::Any && leg.narrowed() == 1,
        "images_walk_os" => leg.state == State::Any && leg.narrowed() == usize::from(leg.system().is_some()),
        "images_walk_kind" => leg.state == State::Any && leg.narrowed() == usize::from(leg.kind().is_some()),
        "images_walk_name" => leg.state == State::Any && leg.narrowed() == usize::from(leg.is_beginning()),
        _ => leg.state == State::Any && leg.narrowed() == 0,
    };
    if picked {
        return Ok(Some(Way::Walk(index)));
    }
    Ok(match count_leg(conn, counts, leg, COUNTED)? {
        0 => None,
        few if few <= FEW => Some(Way::Sorted(finder(conn, counts, leg)?)),
        matching => Some(Way::Stretch(index, matching)),
    })
}

fn finder(conn: &mut Conn, counts: &Counts, leg: &Leg) -> DbResult<Finder> {
    Ok(Finder::Index(match leg.state {
        State::Unsettled(_) => "images_unsettled",
        State::Unsound(_) => "images_unsound",
        _ if leg.is_beginning() => "images_walk_name",
        _ if !leg.search.is_empty() && hits(conn, counts, &leg.search)? <= RARE => return Ok(Finder::Search),
        _ if !leg.systems.is_empty() => "images_walk_os",
        _ if matches!(leg.storages, On::Only(_)) => "images_of_storage",
        _ if !leg.kinds.is_empty() => "images_walk_kind",
        _ => "images_walk_created",
    }))
}

/// How often a part of a name is found, in whatever images.
fn hits(conn: &mut Conn, counts: &Counts, search: &str) -> DbResult<i64> {
    counts.of(format!("hits {search}"), RARE + 1, Belief::Hint, || {
        let mut words = Words::default();
        match conn {
            Conn::Sqlite(_) => {
                words.push("SELECT count(*) FROM (SELECT 1 FROM image_search WHERE image_search MATCH ").text(dialect::phrase(search));
            }
            Conn::Postgres(_) => {
                words.push("SELECT count(*) FROM (SELECT 1 FROM images WHERE images.search_key LIKE ").text(dialect::pattern(search));
            }
        }
        words.push(" LIMIT ").number(RARE + 1).push(") AS hits").once();
        Ok(words.get_result(conn)?)
    })
}

fn count_leg(conn: &mut Conn, counts: &Counts, leg: &Leg, most: i64) -> DbResult<i64> {
    let finder = finder(conn, counts, leg)?;
    // Names of very many images must be looked at to count those with a frequent word.
    let frequent = !leg.search.is_empty() && !leg.is_beginning() && finder != Finder::Search;
    counts.of(
        leg.name(),
        most,
        if frequent {
            Belief::Costly
        } else if leg.search.is_empty() {
            Belief::Exact
        } else {
            Belief::Search
        },
        || {
            let mut words = Words::default();
            words.push("SELECT count(*) FROM (SELECT 1 FROM ");
            source(&mut words, conn, finder);
            conditions(&mut words, conn, leg, finder == Finder::Search);
            words.push(" LIMIT ").number(most).push(") AS counted");
            Ok(words.get_result(conn)?)
        },
    )
}

/// The tables in which a finder looks.
fn source(words: &mut Words, conn: &Conn, finder: Finder) {
    match (conn, finder) {
        (Conn::Postgres(_), _) => words.push("images"),
        (Conn::Sqlite(_), Finder::Search) => words.push("image_search CROSS JOIN images ON images.seq = image_search.rowid"),
        (Conn::Sqlite(_), Finder::Index(index)) => words.push("images INDEXED BY ").push(index),
    };
}

/// ` WHERE` and all that a leg asks of a row; a part of a name by its index or by looking at the name.
fn conditions(words: &mut Words, conn: &Conn, leg: &Leg, by_index: bool) {
    let sqlite = matches!(conn, Conn::Sqlite(_));
    words.push(" WHERE ");
    // SQLite sees that an index of some rows can be used where its very condition is repeated; PostgreSQL sees it by itself, and takes what
    // is said twice for two reasons why there are few rows.
    match leg.state {
        State::Any => words.push("images.status <> 'deleting'"),
        State::Sound => words.push("images.status = 'available' AND images.file_state = 'sound'"),
        State::Unsound(state) => words
            .push(if sqlite { "images.file_state <> 'sound' AND " } else { "" })
            .push("images.status = 'available' AND images.file_state = '")
            .push(state.as_str())
            .push("'"),
        State::Unsettled(status) => words
            .push(if sqlite { "images.status <> 'available' AND " } else { "" })
            .push("images.status = '")
            .push(status.as_str())
            .push("'"),
    };
    match &leg.storages {
        On::All => {}
        On::Only(storages) => {
            words.push(" AND images.storage_id").among(storages);
        }
        On::AllBut(storages) => {
            words.push(" AND NOT (images.storage_id").among(storages).push(")");
        }
    }
    if !leg.systems.is_empty() {
        words.push(" AND images.os").among(&leg.systems);
    }
    if let Some(kind) = leg.kind() {
        words.push(" AND images.kind = '").push(kind.as_str()).push("'");
    } else if !leg.kinds.is_empty() {
        let kinds: Vec<&str> = leg.kinds.iter().map(|kind| kind.as_str()).collect();
        words.push(" AND images.kind IN ('").push(&kinds.join("', '")).push("')");
    }
    if leg.is_beginning() {
        words.push(" AND images.search_key >= ").text(leg.search.clone());
        words.push(" AND images.search_key < ").text(format!("{}{}", leg.search, char::MAX));
    } else if !leg.search.is_empty() {
        match (conn, by_index) {
            (Conn::Sqlite(_), true) => words.push(" AND image_search MATCH ").text(dialect::phrase(&leg.search)),
            (Conn::Sqlite(_), false) => words.push(" AND instr(images.search_key, ").text(leg.search.clone()).push(") > 0"),
            (Conn::Postgres(_), true) => words.push(" AND images.search_key LIKE ").text(dialect::pattern(&leg.search)).once(),
            // PostgreSQL would take a pattern to its index of parts of names, whatever it costs.
            (Conn::Postgres(_), false) => words.push(" AND strpos(images.search_key, ").text(leg.search.clone()).push(") > 0"),
        };
    }
}

/// What the index of a walk picks out, where more is asked afterwards.
fn picked_out(words: &mut Words, leg: &Leg, index: &str) {
    match (index, leg.storage(), leg.system(), leg.kind()) {
        ("images_of_storage", Some(storage), ..) => words.push(" WHERE images.storage_id = ").text(storage.to_owned()),
        ("images_of_os" | "images_walk_os", _, Some(system), _) => words.push(" WHERE images.os = ").text(system.to_owned()),
        ("images_of_kind" | "images_walk_kind", .., Some(kind)) => words.push(" WHERE images.kind = '").push(kind.as_str()).push("'"),
        _ => words.push(" WHERE images.status <> 'deleting'"),
    };
}

impl Walk<'_> {
    /// ` AND` what lies beyond the border, in the order, so many.
    fn bounds(&self, words: &mut Words, most: i64) {
        let (column, _) = self.sort.column();
        let (than, direction) = if self.downwards { ("<", "DESC") } else { (">", "ASC") };
        if let Some(place) = self.from {
            words.push(" AND (images.").push(column).push(", images.id) ").push(than).push(" (");
            match &place.value {
                Value::Number(number) => words.number(*number),
                Value::Text(text) => words.text(text.clone()),
            };
            words.push(", ").text(place.id.clone()).push(")");
        }
        words.push(" ORDER BY images.").push(column).push(" ").push(direction).push(", images.id ").push(direction);
        words.push(" LIMIT ").number(most);
    }

    /// The rows of one leg: what finds them again, their value, their identifier.
    fn leg(&self, words: &mut Words, conn: &Conn, leg: &Leg, way: Way) {
        let (column, _) = self.sort.column();
        let row = match conn {
            Conn::Sqlite(_) => "images.seq AS place",
            Conn::Postgres(_) => "images.id AS place",
        };
        words.push("SELECT ").push(row).push(", images.").push(column).push(" AS value, images.id AS id FROM ");
        match way {
            Way::Walk(index) => {
                source(words, conn, Finder::Index(index));
                conditions(words, conn, leg, false);
                self.bounds(words, signed(self.most));
            }
            Way::Stretch(index, _) => {
                // Rows come out of the inner query in its order, and the outer one stops at the first so many that match.
                words.push("(SELECT ").push(if matches!(conn, Conn::Sqlite(_)) { "images.seq, " } else { "" });
                // What stands in every index of a walk and nothing more: one column that does not, and each entry costs a row.
                words.push("images.id, images.search_key, images.kind, images.os, images.storage_id, images.status, images.file_state");
                if !self.sort.is_text() {
                    words.push(", images.").push(column);
                }
                words.push(" FROM ");
                source(words, conn, Finder::Index(index));
                picked_out(words, leg, index);
                self.bounds(words, STRETCH);
                words.push(") AS images");
                conditions(words, conn, leg, false);
                words.push(" LIMIT ").number(signed(self.most));
            }
            Way::Sorted(finder) => match conn {
                Conn::Sqlite(_) => {
                    source(words, conn, finder);
                    conditions(words, conn, leg, finder == Finder::Search);
                    self.bounds(words, signed(self.most));
                }
                Conn::Postgres(_) => {
                    // In two steps, so that few rows are sorted, whatever the statistics expect.
                    words.push("(WITH found AS MATERIALIZED (SELECT images.id, images.status, images.").push(column).push(" FROM ");
                    source(words, conn, finder);
                    conditions(words, conn, leg, finder == Finder::Search);
                    words.push(") SELECT * FROM found) AS images WHERE images.status <> 'deleting'");
                    self.bounds(words, signed(self.most));
                }
            },
        }
    }
}

/// The first rows of all legs together, in the order of the walk.
fn fetch(conn: &mut Conn, all: &[Storage], legs: &[Leg], ways: &[Way], walk: &Walk<'_>) -> DbResult<Vec<Row>> {
    if legs.is_empty() {
        return Ok(Vec::new());
    }
    let mut words = Words::default();
    words.push(", images.search_key FROM (");
    if let ([leg], [way]) = (legs, ways) {
        walk.leg(&mut words, conn, leg, *way);
    } else {
        words.push("SELECT place FROM (");
        for (n, (leg, way)) in legs.iter().zip(ways).enumerate() {
            words.push(if n == 0 { "SELECT * FROM (" } else { " UNION ALL SELECT * FROM (" });
            walk.leg(&mut words, conn, leg, *way);
            words.push(&format!(") AS leg{n}"));
        }
        let direction = if walk.downwards { "DESC" } else { "ASC" };
        words.push(") AS legs ORDER BY value ").push(direction).push(", id ").push(direction).push(" LIMIT ").number(signed(walk.most));
        words.once();
    }
    words.push(match conn {
        Conn::Sqlite(_) => ") AS found CROSS JOIN images ON images.seq = found.place",
        Conn::Postgres(_) => ") AS found JOIN images ON images.id = found.place",
    });
    words.push(" LEFT JOIN uploads ON uploads.image_id = images.id");
    let query = Rows { columns: (Image::as_select(), Option::<Upload>::as_select()), words };
    let found: Vec<(Image, Option<Upload>, String)> = query.load(conn)?;
    let by_id: HashMap<StorageId, &Storage> = all.iter().map(|storage| (storage.id, storage)).collect();
    let mut rows = Vec::with_capacity(found.len());
    for (image, upload, search_key) in found {
        // A storage that was added since they were read: the next look shows its images.
        let Some(storage) = by_id.get(&image.storage_id) else { continue };
        rows.push(Row { found: Found { image, storage: (*storage).clone(), upload }, search_key });
    }
    rows.sort_by(|one, other| if walk.downwards { other.compare(one, walk.sort) } else { one.compare(other, walk.sort) });
    Ok(rows)
}

type Backend = <Conn as diesel::Connection>::Backend;

/// A statement in pieces, with what is bound between them.
#[derive(Default)]
struct Words {
    pieces: Vec<Piece>,
    once: bool,
}

enum Piece {
    Plain(String),
    Text(String),
    Number(i64),
}

impl Words {
    fn push(&mut self, plain: &str) -> &mut Self {
        match self.pieces.last_mut() {
            Some(Piece::Plain(before)) => before.push_str(plain),
            _ => self.pieces.push(Piece::Plain(plain.to_owned())),
        }
        self
    }

    fn text(&mut self, text: String) -> &mut Self {
        self.pieces.push(Piece::Text(text));
        self
    }

    fn number(&mut self, number: i64) -> &mut Self {
        self.pieces.push(Piece::Number(number));
        self
    }

    /// ` = ` the one, or ` IN (` all of them `)`.
    fn among(&mut self, all: &[String]) -> &mut Self {
        if let [one] = all {
            return self.push(" = ").text(one.clone());
        }
        if all.len() > SEVERAL {
            self.once();
        }
        for (n, one) in all.iter().enumerate() {
            self.push(if n == 0 { " IN (" } else { ", " }).text(one.clone());
        }
        self.push(")")
    }

    /// Not worth keeping for the next time: there are too many such statements, or the way to the rows depends on what is bound.
    fn once(&mut self) -> &mut Self {
        self.once = true;
        self
    }

    fn get_result(self, conn: &mut Conn) -> QueryResult<i64> {
        RunQueryDsl::get_result(Number(self), conn)
    }
}

impl QueryFragment<Backend> for Words {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Backend>) -> QueryResult<()> {
        if self.once {
            pass.unsafe_to_cache_prepared();
        }
        for piece in &self.pieces {
            match piece {
                Piece::Plain(plain) => pass.push_sql(plain),
                Piece::Text(text) => pass.push_bind_param::<Text, String>(text)?,
                Piece::Number(number) => pass.push_bind_param::<BigInt, i64>(number)?,
            }
        }
        Ok(())
    }
}

/// A statement that answers one number.
struct Number(Words);

impl QueryFragment<Backend> for Number {
    fn walk_ast<'b>(&'b self, pass: AstPass<'_, 'b, Backend>) -> QueryResult<()> {
        self.0.walk_ast(pass)
    }
}

impl QueryId for Number {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Number {
    type SqlType = BigInt;
}

impl RunQueryDsl<Conn> for Number {}

/// A statement that answers images with their transfers and sort keys.
struct Rows {
    columns: (AsSelect<Image, Backend>, AsSelect<Option<Upload>, Backend>),
    words: Words,
}

impl QueryFragment<Backend> for Rows {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Backend>) -> QueryResult<()> {
        pass.push_sql("SELECT ");
        self.columns.0.walk_ast(pass.reborrow())?;
        pass.push_sql(", ");
        self.columns.1.walk_ast(pass.reborrow())?;
        self.words.walk_ast(pass)
    }
}

impl QueryId for Rows {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Rows {
    type SqlType = (diesel::dsl::SqlTypeOf<AsSelect<Image, Backend>>, diesel::dsl::SqlTypeOf<AsSelect<Option<Upload>, Backend>>, Text);
}

impl RunQueryDsl<Conn> for Rows {}
