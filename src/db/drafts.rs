//! Creation wizards that were begun, and forms that are sent at most once.

use diesel::prelude::*;

use super::{
    Conn, DbResult, Tx,
    schema::{drafts, submissions},
};
use crate::{
    clock::Timestamp,
    domain::ids::{DraftId, ImageId, SubmissionId, UserId},
};

/// A wizard that was begun: its answers as JSON, and the image once it is made.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = drafts)]
pub struct Draft {
    #[diesel(deserialize_as = String)]
    pub id: DraftId,
    pub answers: String,
    pub image_id: Option<String>,
}

/// Begins a wizard.
pub fn insert(tx: &mut Tx<'_>, id: DraftId, user: UserId, answers: &str, now: Timestamp) -> DbResult<()> {
    diesel::insert_into(drafts::table)
        .values((
            drafts::id.eq(id.to_string()),
            drafts::user_id.eq(user.to_string()),
            drafts::answers.eq(answers),
            drafts::created_at.eq(now.micros()),
            drafts::updated_at.eq(now.micros()),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// A user's own wizard.
pub fn by_id(conn: &mut Conn, id: DraftId, user: UserId) -> DbResult<Option<Draft>> {
    let own = drafts::id.eq(id.to_string()).and(drafts::user_id.eq(user.to_string()));
    Ok(drafts::table.filter(own).select(Draft::as_select()).first(conn).optional()?)
}

/// Keeps the answers of a wizard that has made no image yet.
pub fn set_answers(tx: &mut Tx<'_>, id: DraftId, answers: &str, now: Timestamp) -> DbResult<bool> {
    let open = drafts::id.eq(id.to_string()).and(drafts::image_id.is_null());
    let changed = diesel::update(drafts::table.filter(open))
        .set((drafts::answers.eq(answers), drafts::updated_at.eq(now.micros())))
        .execute(tx.conn())?;
    Ok(changed == 1)
}

/// Notes the image that a wizard made; false if it made one before: a form sent twice makes one image.
pub fn set_image(tx: &mut Tx<'_>, id: DraftId, image: ImageId) -> DbResult<bool> {
    let open = drafts::id.eq(id.to_string()).and(drafts::image_id.is_null());
    Ok(diesel::update(drafts::table.filter(open)).set(drafts::image_id.eq(image.to_string())).execute(tx.conn())? == 1)
}

/// Forgets a wizard.
pub fn delete(tx: &mut Tx<'_>, id: DraftId) -> DbResult<()> {
    diesel::delete(drafts::table.find(id.to_string())).execute(tx.conn())?;
    Ok(())
}

/// Forgets wizards and submissions from before these moments.
pub fn sweep(tx: &mut Tx<'_>, drafts_before: Timestamp, submissions_before: Timestamp) -> DbResult<()> {
    diesel::delete(drafts::table.filter(drafts::updated_at.lt(drafts_before.micros()))).execute(tx.conn())?;
    diesel::delete(submissions::table.filter(submissions::created_at.lt(submissions_before.micros()))).execute(tx.conn())?;
    Ok(())
}

/// Where a form that was sent before led to.
pub fn submitted(conn: &mut Conn, id: SubmissionId, user: UserId) -> DbResult<Option<String>> {
    let own = submissions::id.eq(id.to_string()).and(submissions::user_id.eq(user.to_string()));
    Ok(submissions::table.filter(own).select(submissions::location).first(conn).optional()?)
}

/// Notes where a form leads to; [`super::DbError::Taken`] if the same form was sent before.
pub fn submit(tx: &mut Tx<'_>, id: SubmissionId, user: UserId, location: &str, now: Timestamp) -> DbResult<()> {
    diesel::insert_into(submissions::table)
        .values((
            submissions::id.eq(id.to_string()),
            submissions::user_id.eq(user.to_string()),
            submissions::location.eq(location),
            submissions::created_at.eq(now.micros()),
        ))
        .execute(tx.conn())?;
    Ok(())
}
