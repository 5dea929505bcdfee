//! Where a page of a sorted list begins or ends: the sort value and the identifier of one row, so that a page costs the same wherever in
//! the list it lies, and rows that come and go elsewhere shift nothing.

/// One row's place in a sorted list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The value that the list is sorted by.
    pub value: Value,
    /// The identifier, which breaks ties.
    pub id: String,
}

/// A value to sort by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A number or a moment.
    Number(i64),
    /// A text.
    Text(String),
}

/// Which page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Page {
    /// The first.
    #[default]
    First,
    /// The one that follows this row.
    After(Place),
    /// The one that precedes this row.
    Before(Place),
}

/// One page of rows, and whether there are more on either side.
#[derive(Debug, Clone)]
pub struct Slice<T> {
    /// The rows, in the order of the list.
    pub rows: Vec<T>,
    /// Whether a page precedes.
    pub has_previous: bool,
    /// Whether a page follows.
    pub has_next: bool,
}

impl Place {
    /// The place as it stands in a URL: `created.1795462200000000.ID` or `name.t:debian.ID`.
    pub fn token(&self, sort: &str) -> String {
        match &self.value {
            Value::Number(number) => format!("{sort}.{number}.{}", self.id),
            Value::Text(text) => format!("{sort}.t:{text}.{}", self.id),
        }
    }

    /// Parses a place in a list sorted by `sort`, of whose values `text` says whether they are texts. A place in a list sorted otherwise
    /// does not fit.
    pub fn parse(token: &str, sort: &str, text: bool) -> Option<Self> {
        let rest = token.strip_prefix(sort)?.strip_prefix('.')?;
        let (value, id) = rest.rsplit_once('.')?;
        let id = id.parse::<crate::domain::ids::ImageId>().ok()?.to_string();
        let value = match (value.strip_prefix("t:"), text) {
            (Some(value), true) if !value.contains('\0') => Value::Text(value.to_owned()),
            (None, false) => Value::Number(value.parse().ok()?),
            _ => return None,
        };
        Some(Self { value, id })
    }
}

impl<T> Slice<T> {
    /// Makes a page of up to `size` rows out of the up to `size + 1` that a query found walking away from `page`'s border.
    pub fn cut(mut rows: Vec<T>, page: &Page, size: usize) -> Self {
        let more = rows.len() > size;
        rows.truncate(size);
        match page {
            Page::First => Self { rows, has_previous: false, has_next: more },
            Page::After(_) => Self { rows, has_previous: true, has_next: more },
            Page::Before(_) => {
                rows.reverse();
                Self { rows, has_previous: more, has_next: true }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::ImageId;

    #[test]
    fn a_place_survives_the_url_and_fits_only_its_list() {
        let id = ImageId::new().to_string();
        for value in [Value::Number(-7), Value::Text("a.b t:c".into()), Value::Text(String::new())] {
            let place = Place { value: value.clone(), id: id.clone() };
            let text = matches!(value, Value::Text(_));
            assert_eq!(Place::parse(&place.token("name"), "name", text), Some(place.clone()));
            assert_eq!(Place::parse(&place.token("name"), "size", text), None);
            assert_eq!(Place::parse(&place.token("name"), "name", !text), None);
        }
        for token in ["", "name", "name.", "name.t:x", "name.t:x.nonsense", "name.99999999999999999999.x"] {
            assert_eq!(Place::parse(token, "name", true), None, "{token}");
        }
    }

    #[test]
    fn a_page_knows_its_neighbours() {
        let place = Place { value: Value::Number(1), id: String::new() };
        let first = Slice::cut(vec![1, 2, 3], &Page::First, 2);
        assert_eq!((first.rows, first.has_previous, first.has_next), (vec![1, 2], false, true));
        let last = Slice::cut(vec![1, 2], &Page::After(place.clone()), 2);
        assert_eq!((last.rows, last.has_previous, last.has_next), (vec![1, 2], true, false));
        let back = Slice::cut(vec![3, 2, 1], &Page::Before(place), 2);
        assert_eq!((back.rows, back.has_previous, back.has_next), (vec![2, 3], true, true));
    }
}
