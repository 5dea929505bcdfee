//! A filter taken apart into *legs*: disjoint parts of the table, each of which an index knows how to walk.
//!
//! Storages are few, so what depends on their health is settled before images are asked: *Available* is a condition on images of the
//! healthy storages, *Degraded* is all images of the degraded ones. A leg says which images in words of the images' table alone.

use std::collections::HashSet;

use super::{Filter, Sort};
use crate::{
    db::{
        Conn, DbResult,
        storages::{self, Storage},
    },
    domain::{
        image::{FileState, Kind, Shown, Stored},
        storage::Health,
    },
};

/// Most legs into which one filter is taken apart for the sake of their order.
const MOST_LEGS: usize = 24;

/// Which of the images on its storages a leg holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum State {
    /// All that are not being deleted.
    Any,
    /// Available, and the file is sound.
    Sound,
    /// Available, but the file was found so.
    Unsound(FileState),
    /// Not available, but so.
    Unsettled(Stored),
}

/// On which storages the images of a leg lie.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum On {
    All,
    /// On all but these. Databases look for no index by it, which is right where these are few.
    AllBut(Vec<String>),
    Only(Vec<String>),
}

/// One part of what a filter lets through. Everything is a condition on columns of `images`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Leg {
    pub state: State,
    pub storages: On,
    pub kinds: Vec<Kind>,
    pub systems: Vec<String>,
    pub search: String,
}

impl Leg {
    /// Its name, for remembering its number.
    pub fn name(&self) -> String {
        format!("{self:?}")
    }

    /// The one storage, if it is one.
    pub fn storage(&self) -> Option<&str> {
        if let On::Only(storages) = &self.storages { one(storages).map(String::as_str) } else { None }
    }

    /// The one operating system, if it is one.
    pub fn system(&self) -> Option<&str> {
        one(&self.systems).map(String::as_str)
    }

    /// The one type, if it is one.
    pub fn kind(&self) -> Option<Kind> {
        one(&self.kinds).copied()
    }

    /// Whether it is looked for at the beginning of names only: too short for the index of their parts.
    pub fn is_beginning(&self) -> bool {
        !self.search.is_empty() && self.search.chars().count() < 3
    }

    /// How many of the things that a leg can be narrowed by narrow it.
    pub fn narrowed(&self) -> usize {
        let rare = matches!(self.state, State::Unsound(_) | State::Unsettled(_));
        [rare, self.storages != On::All, !self.kinds.is_empty(), !self.systems.is_empty(), !self.search.is_empty()]
            .into_iter()
            .filter(|narrowed| *narrowed)
            .count()
    }
}

fn one<T>(all: &[T]) -> Option<&T> {
    if let [one] = all { Some(one) } else { None }
}

/// The legs of a filter over these storages, which are all there are; those of a list that is sorted so, or of a number.
pub(super) fn of(conn: &mut Conn, all: &[Storage], filter: &Filter, sort: Option<Sort>) -> DbResult<Vec<Leg>> {
    let connected: HashSet<String> = if filter.clusters.is_empty() {
        HashSet::new()
    } else {
        let clusters: Vec<String> = filter.clusters.iter().map(ToString::to_string).collect();
        storages::serving(conn, &clusters)?.into_iter().collect()
    };
    let chosen: Vec<&Storage> = all
        .iter()
        .filter(|storage| filter.storages.is_empty() || filter.storages.contains(&storage.id))
        .filter(|storage| filter.clusters.is_empty() || connected.contains(&storage.id.to_string()))
        .collect();
    Ok(take_apart(filter, &chosen, chosen.len() == all.len(), sort))
}

/// Takes a filter apart over the storages that it leaves; `everywhere` if these are all.
fn take_apart(filter: &Filter, chosen: &[&Storage], everywhere: bool, sort: Option<Sort>) -> Vec<Leg> {
    let with = |health: Health| -> Vec<String> {
        chosen.iter().filter(|storage| storage.health == health).map(|storage| storage.id.to_string()).collect()
    };
    let leg = |state, storages: On| Leg {
        state,
        storages,
        kinds: filter.kinds.clone(),
        systems: filter.systems.clone(),
        search: filter.search.clone(),
    };
    let mut legs = Vec::new();
    if filter.shown.is_empty() {
        let ids = || chosen.iter().map(|storage| storage.id.to_string()).collect();
        legs.push(leg(State::Any, if everywhere { On::All } else { On::Only(ids()) }));
    } else {
        let (healthy, degraded, removed) = (with(Health::Healthy), with(Health::Degraded), with(Health::Removed));
        let others: Vec<String> = degraded.iter().chain(&removed).cloned().collect();
        // Where every storage is healthy, nothing need be said of storages.
        let on_healthy = match (everywhere && !healthy.is_empty(), others.is_empty()) {
            (true, true) => On::All,
            (true, false) => On::AllBut(others),
            (false, _) => On::Only(healthy),
        };
        let mut whole = Vec::new();
        for shown in &filter.shown {
            let mut healthy = |state| legs.push(leg(state, on_healthy.clone()));
            match shown {
                Shown::Available => healthy(State::Sound),
                Shown::Uploading => healthy(State::Unsettled(Stored::Uploading)),
                Shown::Creating => healthy(State::Unsettled(Stored::Creating)),
                Shown::Pending => healthy(State::Unsettled(Stored::Pending)),
                Shown::Degraded => whole.extend(degraded.iter().cloned()),
                Shown::FileUnavailable => {
                    healthy(State::Unsound(FileState::Missing));
                    healthy(State::Unsound(FileState::Changed));
                    whole.extend(removed.iter().cloned());
                }
            }
        }
        legs.push(leg(State::Any, On::Only(whole)));
    }
    legs.retain(|leg| leg.storages != On::Only(Vec::new()));
    if sort == Some(Sort::Created) { legs.into_iter().flat_map(split).collect() } else { legs }
}

/// One leg for each storage, or else system, or else type: each of them has an index that is sorted by creation.
fn split(leg: Leg) -> Vec<Leg> {
    let few = |count: usize| (2..=MOST_LEGS).contains(&count);
    match &leg {
        Leg { state: State::Unsettled(_) | State::Unsound(_), .. } => vec![leg],
        Leg { search, .. } if !search.is_empty() => vec![leg],
        Leg { storages: On::Only(storages), .. } if few(storages.len()) && leg.state == State::Any => {
            storages.iter().map(|storage| Leg { storages: On::Only(vec![storage.clone()]), ..leg.clone() }).collect()
        }
        Leg { storages: On::All, systems, .. } if few(systems.len()) => {
            systems.iter().map(|system| Leg { systems: vec![system.clone()], ..leg.clone() }).collect()
        }
        Leg { storages: On::All, systems, kinds, .. } if systems.is_empty() && few(kinds.len()) => {
            kinds.iter().map(|kind| Leg { kinds: vec![*kind], ..leg.clone() }).collect()
        }
        _ => vec![leg],
    }
}
