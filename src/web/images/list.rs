//! The list of images: filters, search, order and page stand in the URL, so that a bookmark or a link shows the same again.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use askama::Template;

use super::view::ImageView;
use crate::{
    authorize,
    db::{
        clusters,
        cursor::{Page, Place},
        images::{self, Filter, Sort},
        people, storages, usage,
    },
    domain::{
        access::Privilege,
        image::{Kind, Shown},
        size,
        text::fold,
    },
    media::os_catalogue,
    operations::{Failure, Service, system_name},
    web::{
        error::Error,
        form::{Fields, each_once},
        page::{Flash, Shell, html, local_path, see_other},
        session::SignedIn,
    },
};

/// Rows of a page, where nobody asks for another number.
const PAGE: usize = 50;
/// Sizes of a page that can be asked for.
pub const SIZES: [usize; 3] = [25, 50, 100];
/// Up to here images are counted exactly.
const COUNTED: i64 = 10_000;
/// Longest search, in characters.
pub const SEARCH_MAX: usize = 255;

/// Columns that can be hidden: key, words.
const COLUMNS: [(&str, &str); 7] = [
    ("type", "Type"),
    ("status", "Status"),
    ("os", "OS"),
    ("size", "Size"),
    ("storage", "Storage"),
    ("used", "Used by"),
    ("created", "Created"),
];

/// Which view of the list a URL asks for. Unknown values are ignored; a cursor that does not fit shows the first page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub filter: Filter,
    pub search: String,
    pub sort: Sort,
    pub descending: bool,
    pub page: Page,
    pub size: usize,
}

impl View {
    /// Reads the query of a URL.
    pub fn parse(query: &Fields) -> Self {
        let first = |name: &str| query.all(name).next().unwrap_or_default();
        let visible: String = first("q").chars().filter(|c| !c.is_control()).collect();
        // Trimmed again where the cut left a space at the end: the address that a page makes of its search must find the same.
        let search = visible.trim().chars().take(SEARCH_MAX).collect::<String>().trim_end().to_owned();
        let systems = |name: &str| query.all(name).filter(|os| os_catalogue::is_choice(os)).map(str::to_owned).collect();
        let filter = Filter {
            search: fold(&search),
            kinds: each_once(query.parsed("type")),
            shown: each_once(query.parsed("status")),
            systems: each_once(systems("os")),
            storages: each_once(query.parsed("storage")),
            clusters: each_once(query.parsed("cluster")),
        };
        let asked = first("sort");
        let (descending, key) = asked.strip_prefix('-').map_or((false, asked), |key| (true, key));
        let (sort, descending) = key.parse().map_or((Sort::Created, true), |sort| (sort, descending));
        let place = |name: &str| Place::parse(first(name), sort.as_str(), sort.is_text());
        let page = match (place("after"), place("before")) {
            (Some(place), _) => Page::After(place),
            (None, Some(place)) => Page::Before(place),
            (None, None) => Page::First,
        };
        let size = first("size").parse().ok().filter(|size| SIZES.contains(size)).unwrap_or(PAGE);
        Self { filter, search, sort, descending, page, size }
    }

    /// The pairs of the query that stand for the filter, without order and page.
    fn filter_pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        if !self.search.is_empty() {
            pairs.push(("q", self.search.clone()));
        }
        pairs.extend(self.filter.kinds.iter().map(|kind| ("type", kind.as_str().to_owned())));
        pairs.extend(self.filter.shown.iter().map(|shown| ("status", shown.as_str().to_owned())));
        pairs.extend(self.filter.systems.iter().map(|os| ("os", os.clone())));
        pairs.extend(self.filter.storages.iter().map(|id| ("storage", id.to_string())));
        pairs.extend(self.filter.clusters.iter().map(|id| ("cluster", id.to_string())));
        pairs
    }

    fn order_pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        if (self.sort, self.descending) != (Sort::Created, true) {
            pairs.push(("sort", format!("{}{}", if self.descending { "-" } else { "" }, self.sort.as_str())));
        }
        if self.size != PAGE {
            pairs.push(("size", self.size.to_string()));
        }
        pairs
    }

    /// The query of the same filter and order with these pairs more.
    pub fn query(&self, more: &[(&'static str, String)]) -> String {
        let pairs: Vec<_> = self.filter_pairs().into_iter().chain(self.order_pairs()).chain(more.iter().cloned()).collect();
        serde_html_form::to_string(&pairs).unwrap_or_default()
    }

    fn without(&self, gone: &(&'static str, String)) -> String {
        let pairs: Vec<_> = self.filter_pairs().into_iter().filter(|pair| pair != gone).chain(self.order_pairs()).collect();
        link(&serde_html_form::to_string(&pairs).unwrap_or_default())
    }
}

fn link(query: &str) -> String {
    if query.is_empty() { "/images".to_owned() } else { format!("/images?{query}") }
}

/// One box of a filter.
struct Choice {
    value: String,
    words: String,
    checked: bool,
}

/// One filter of the toolbar.
struct Menu {
    field: &'static str,
    words: &'static str,
    choices: Vec<Choice>,
}

/// One active filter.
struct Chip {
    group: &'static str,
    words: String,
    without: String,
}

/// One column's head: by name, type, system, size, creation.
struct Head {
    href: String,
    /// `ascending`, `descending`, or nothing.
    order: &'static str,
}

impl Head {
    fn is_sorted(&self) -> bool {
        !self.order.is_empty()
    }
}

struct Column {
    key: &'static str,
    words: &'static str,
    shown: bool,
}

#[derive(Template)]
#[template(path = "images/list.html")]
struct ListPage {
    shell: Shell,
    search: String,
    menus: Vec<Menu>,
    chips: Vec<Chip>,
    keep: Vec<(&'static str, String)>,
    columns: Vec<Column>,
    heads: Vec<Head>,
    rows: Vec<ImageView>,
    count: String,
    matching: u64,
    counted: bool,
    filter_query: String,
    here: String,
    previous: Option<String>,
    next: Option<String>,
    /// Nothing at all, nothing matching, or nothing that this person may see.
    empty: Option<Empty>,
    started: Started,
    /// Something is moving: the page looks again sooner.
    busy: bool,
}

enum Empty {
    Nothing,
    NothingMatching,
    NothingVisible,
}

/// What somebody who has just begun can do next.
struct Started {
    show: bool,
    image: bool,
    other_storage: bool,
}

impl ListPage {
    fn shows(&self, key: &str) -> bool {
        self.columns.iter().any(|column| column.key == key && column.shown)
    }
}

/// `GET /images`
pub async fn show(request: HttpRequest, service: Data<Service>, me: SignedIn) -> Result<HttpResponse, Error> {
    let view = View::parse(&Fields::parse(request.query_string())?);
    let device = me.actor.device.clone();
    let asked = view.clone();
    let (rows, matching, all_storages, all_clusters, visible) = authorize::look(&service.db, &me.actor, move |conn, viewer| {
        let all_storages = storages::all(conn, None)?;
        let all_clusters = if viewer.sees(Privilege::ReadCluster) { clusters::all(conn)? } else { Vec::new() };
        let visible = viewer.sees(Privilege::ReadImage);
        let filter = if visible { asked.filter } else { Filter::default() };
        let (counts, most) = (viewer.counts(), if visible { asked.size } else { 0 });
        let slice = images::list(conn, counts, &all_storages, &filter, asked.sort, asked.descending, &asked.page, most)?;
        let ids: Vec<_> = slice.rows.iter().map(|row| row.found.image.id).collect();
        let machines = usage::machines_of(conn, &ids)?;
        let matching = if visible { images::count(conn, counts, &all_storages, &filter, COUNTED + 1)? } else { 0 };
        // Another process may have added rows since they were counted.
        let matching = matching.max(slice.rows.len() as u64);
        let named = if viewer.sees(Privilege::ReadStorage) { all_storages } else { Vec::new() };
        Ok(((slice, machines), matching, named, all_clusters, visible))
    })
    .await?;
    let (slice, machines) = rows;
    if slice.rows.is_empty() && view.page != Page::First {
        // The rows beyond the border are gone meanwhile.
        return Ok(see_other(&service.config, &link(&view.query(&[])), None));
    }
    let place = |row: Option<&images::Row>| row.map(|row| row.place(view.sort).token(view.sort.as_str()));
    let previous = place(slice.rows.first()).filter(|_| slice.has_previous).map(|token| link(&view.query(&[("before", token)])));
    let next = place(slice.rows.last()).filter(|_| slice.has_next).map(|token| link(&view.query(&[("after", token)])));
    let rows: Vec<ImageView> = slice
        .rows
        .iter()
        .map(|row| ImageView::new(&row.found, machines.get(&row.found.image.id).map_or(&[], Vec::as_slice), &device))
        .collect();
    let filtered = !view.filter_pairs().is_empty();
    let empty = match (visible, rows.is_empty(), filtered) {
        (false, ..) => Some(Empty::NothingVisible),
        (true, true, true) => Some(Empty::NothingMatching),
        (true, true, false) => Some(Empty::Nothing),
        _ => None,
    };
    let counted = matching <= COUNTED.unsigned_abs();
    let matching_words = if counted { size::counted(matching, "image", "images") } else { "10,000+ images".to_owned() };
    let present = all_storages.iter().filter(|storage| storage.health != crate::domain::storage::Health::Removed).count();
    let hidden: Vec<&str> = me.user.list_columns.split(',').collect();
    let columns = COLUMNS.map(|(key, words)| Column { key, words, shown: !hidden.contains(&key) });
    let here = link(&view.query(&[]));
    let page = ListPage {
        shell: Shell::new(&request, &service.config, &me, "images", "Images"),
        search: view.search.clone(),
        menus: menus(&view, &all_storages, &all_clusters),
        chips: chips(&view, &all_storages, &all_clusters),
        keep: view.order_pairs(),
        heads: heads(&view).into_iter().collect(),
        columns: columns.into_iter().collect(),
        count: if rows.len() as u64 == matching { matching_words } else { format!("{} of {matching_words}", rows.len()) },
        matching,
        counted,
        filter_query: serde_html_form::to_string(view.filter_pairs()).unwrap_or_default(),
        here,
        previous,
        next,
        started: Started {
            image: !rows.is_empty(),
            other_storage: present > 1,
            show: visible && !filtered && (rows.is_empty() || present < 2),
        },
        busy: rows.iter().any(|image| image.progress.is_some()),
        empty,
        rows,
    };
    html(&page.shell, &page)
}

fn menus(view: &View, all_storages: &[storages::Storage], all_clusters: &[clusters::Cluster]) -> Vec<Menu> {
    let filter = &view.filter;
    let choice = |value: String, words: &str, checked| Choice { value, words: words.to_owned(), checked };
    let kinds = Kind::ALL.iter().map(|kind| choice(kind.as_str().to_owned(), kind.words(), filter.kinds.contains(kind))).collect();
    let statuses = Shown::ALL.iter().map(|shown| choice(shown.as_str().to_owned(), shown.words(), filter.shown.contains(shown))).collect();
    let mut systems: Vec<Choice> = os_catalogue::all()
        .iter()
        .map(|system| choice(system.id.to_owned(), system.name, filter.systems.iter().any(|os| os == system.id)))
        .collect();
    systems.push(choice(os_catalogue::OTHER.to_owned(), "Other", filter.systems.iter().any(|os| os == os_catalogue::OTHER)));
    let storages =
        all_storages.iter().map(|storage| choice(storage.id.to_string(), &storage.name, filter.storages.contains(&storage.id))).collect();
    let clusters =
        all_clusters.iter().map(|cluster| choice(cluster.id.to_string(), &cluster.name, filter.clusters.contains(&cluster.id))).collect();
    vec![
        Menu { field: "type", words: "Type", choices: kinds },
        Menu { field: "status", words: "Status", choices: statuses },
        Menu { field: "os", words: "Operating system", choices: systems },
        Menu { field: "storage", words: "Storage", choices: storages },
        Menu { field: "cluster", words: "Cluster", choices: clusters },
    ]
}

fn chips(view: &View, all_storages: &[storages::Storage], all_clusters: &[clusters::Cluster]) -> Vec<Chip> {
    view.filter_pairs()
        .into_iter()
        .map(|pair| {
            let without = view.without(&pair);
            let (field, value) = pair;
            let (group, words) = match field {
                "q" => ("Search", value),
                "type" => ("Type", value.parse::<Kind>().map(|kind| kind.words().to_owned()).unwrap_or(value)),
                "status" => ("Status", value.parse::<Shown>().map(|shown| shown.words().to_owned()).unwrap_or(value)),
                "os" => ("Operating system", system_name(&value).to_owned()),
                "storage" => {
                    let found = all_storages.iter().find(|storage| storage.id.to_string() == value);
                    ("Storage", found.map_or_else(|| "unknown".to_owned(), |storage| storage.name.clone()))
                }
                _ => {
                    let found = all_clusters.iter().find(|cluster| cluster.id.to_string() == value);
                    ("Cluster", found.map_or_else(|| "unknown".to_owned(), |cluster| cluster.name.clone()))
                }
            };
            Chip { group, words, without }
        })
        .collect()
}

fn heads(view: &View) -> [Head; 5] {
    [Sort::Name, Sort::Type, Sort::System, Sort::Size, Sort::Created].map(|sort| {
        let present = view.sort == sort;
        let descending = if present { !view.descending } else { matches!(sort, Sort::Size | Sort::Created) };
        let sorted = View { sort, descending, ..view.clone() };
        let order = match (present, view.descending) {
            (false, _) => "",
            (true, true) => "descending",
            (true, false) => "ascending",
        };
        Head { href: link(&sorted.query(&[])), order }
    })
}

/// `POST /images/columns`: which columns somebody wants to see; kept for them.
pub async fn set_columns(service: Data<Service>, me: SignedIn, fields: Fields) -> Result<HttpResponse, Error> {
    let wanted: Vec<&str> = fields.all("column").collect();
    let hidden: Vec<&str> = COLUMNS.iter().map(|(key, _)| *key).filter(|key| !wanted.contains(key)).collect();
    let (user, hidden) = (me.user.id, hidden.join(","));
    service.db.write(move |tx| Ok::<_, Failure>(people::set_preferences(tx, user, None, None, Some(&hidden))?)).await?;
    Ok(see_other(&service.config, local_path(fields.one("back")?), Some(&Flash::plain("The columns are kept.", "", ""))))
}
