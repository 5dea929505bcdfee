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

/// One part of what a filter lets through. Everything is a condition on columns of `images`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Leg {
    pub state: State,
    /// On these storages; on all if there is none.
    pub storages: Option<Vec<String>>,
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
        self.storages.as_deref().and_then(one).map(String::as_str)
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

    /// How many of the four things that a leg can be narrowed by narrow it.
    pub fn narrowed(&self) -> usize {
        let rare = matches!(self.state, State::Unsound(_) | State::Unsettled(_));
        [rare, self.storages.is_some(), !self.kinds.is_empty(), !self.systems.is_empty(), !self.search.is_empty()]
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
    let leg = |state, storages: Option<Vec<String>>| Leg {
        state,
        storages,
        kinds: filter.kinds.clone(),
        systems: filter.systems.clone(),
        search: filter.search.clone(),
    };
    let mut legs = Vec::new();
    if filter.shown.is_empty() {
        legs.push(leg(State::Any, (!everywhere).then(|| chosen.iter().map(|storage| storage.id.to_string()).collect())));
    } else {
        let healthy = with(Health::Healthy);
        // Where every storage is healthy, nothing need be said of storages.
        let on_healthy = (!everywhere || healthy.len() < chosen.len()).then_some(healthy);
        let mut whole = Vec::new();
        for shown in &filter.shown {
            let mut healthy = |state| legs.push(leg(state, on_healthy.clone()));
            match shown {
                Shown::Available => healthy(State::Sound),
                Shown::Uploading => healthy(State::Unsettled(Stored::Uploading)),
                Shown::Creating => healthy(State::Unsettled(Stored::Creating)),
                Shown::Pending => healthy(State::Unsettled(Stored::Pending)),
                Shown::Degraded => whole.extend(with(Health::Degraded)),
                Shown::FileUnavailable => {
                    healthy(State::Unsound(FileState::Missing));
                    healthy(State::Unsound(FileState::Changed));
                    whole.extend(with(Health::Removed));
                }
            }
        }
        legs.push(leg(State::Any, Some(whole)));
    }
    legs.retain(|leg| leg.storages.as_ref().is_none_or(|storages| !storages.is_empty()));
    if sort == Some(Sort::Created) { legs.into_iter().flat_map(split).collect() } else { legs }
}

/// One leg for each storage, or else system, or else type: each of them has an index that is sorted by creation.
fn split(leg: Leg) -> Vec<Leg> {
    let few = |count: usize| (2..=MOST_LEGS).contains(&count);
    match &leg {
        Leg { state: State::Unsettled(_) | State::Unsound(_), .. } => vec![leg],
        Leg { search, .. } if !search.is_empty() => vec![leg],
        Leg { storages: Some(storages), .. } if few(storages.len()) && leg.state == State::Any => {
            storages.iter().map(|storage| Leg { storages: Some(vec![storage.clone()]), ..leg.clone() }).collect()
        }
        Leg { storages: None, systems, .. } if few(systems.len()) => {
            systems.iter().map(|system| Leg { systems: vec![system.clone()], ..leg.clone() }).collect()
        }
        Leg { storages: None, systems, kinds, .. } if systems.is_empty() && few(kinds.len()) => {
            kinds.iter().map(|kind| Leg { kinds: vec![*kind], ..leg.clone() }).collect()
        }
        _ => vec![leg],
    }
}
