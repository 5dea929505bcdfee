//! The list as CSV: the same filter, all of it, a thousand rows at a time.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Bytes, Data},
};
use futures_util::stream;

use super::list::View;
use crate::{
    authorize,
    db::{cursor::Page, images, storages, usage},
    domain::access::Privilege,
    operations::{Failure, Service, system_name},
    web::{error::Error, form::Fields, session::SignedIn},
};

const BATCH: usize = 1_000;
const HEAD: &str = "id,name,type,status,operating system,size in bytes,sha256,storage,used by,created,created by,note\r\n";

/// `GET /images.csv`
pub async fn show(request: HttpRequest, service: Data<Service>, me: SignedIn) -> Result<HttpResponse, Error> {
    let view = View { page: Page::First, ..View::parse(&Fields::parse(request.query_string())?) };
    let rows = stream::try_unfold(Some((view, true)), move |state| {
        let (service, me) = (service.clone(), me.clone());
        async move {
            let Some((view, first)) = state else { return Ok::<_, Error>(None) };
            let asked = view.clone();
            let (slice, machines) = authorize::look(&service.db, &me.actor, move |conn, viewer| {
                let most = if viewer.sees(Privilege::ReadImage) { BATCH } else { 0 };
                let all = storages::all(conn, None)?;
                let slice = images::list(conn, viewer.counts(), &all, &asked.filter, asked.sort, asked.descending, &asked.page, most)?;
                let ids: Vec<_> = slice.rows.iter().map(|row| row.found.image.id).collect();
                let machines = usage::machines_of(conn, &ids)?;
                Ok::<_, Failure>((slice, machines))
            })
            .await?;
            let mut text = if first { HEAD.to_owned() } else { String::new() };
            for row in &slice.rows {
                let image = &row.found.image;
                let used_by: Vec<&str> =
                    machines.get(&image.id).map(|found| found.iter().map(|machine| machine.name.as_str()).collect()).unwrap_or_default();
                let cells = [
                    image.id.to_string(),
                    image.name.clone(),
                    image.kind.words().to_owned(),
                    row.found.shown().words().to_owned(),
                    system_name(&image.os).to_owned(),
                    image.size().to_string(),
                    image.sha256.clone().unwrap_or_default(),
                    row.found.storage.name.clone(),
                    used_by.join(" "),
                    image.created_at.rfc3339(),
                    image.created_by_name.clone(),
                    image.note.clone(),
                ];
                text.push_str(&line(&cells));
            }
            let next = slice.rows.last().filter(|_| slice.has_next).map(|row| {
                let page = Page::After(row.place(view.sort));
                (View { page, ..view.clone() }, false)
            });
            Ok(Some((Bytes::from(text), next)))
        }
    });
    Ok(csv("images.csv").streaming(rows))
}

/// The head of an answer with a CSV file.
pub fn csv(name: &str) -> actix_web::HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    answer.content_type("text/csv; charset=utf-8").insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")));
    answer
}

/// One line; a cell that a spreadsheet would take for a formula is made a text by an apostrophe.
pub fn line(cells: &[String]) -> String {
    let quoted: Vec<String> = cells
        .iter()
        .map(|cell| {
            let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
            format!("\"{}{}\"", if formula { "'" } else { "" }, cell.replace('"', "\"\""))
        })
        .collect();
    format!("{}\r\n", quoted.join(","))
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_cell_is_never_a_formula() {
        let cells = ["a\"b", "=cmd()", "+1", "-1", "@x", "\tx", "1,2"].map(str::to_owned);
        assert_eq!(line(&cells), "\"a\"\"b\",\"'=cmd()\",\"'+1\",\"'-1\",\"'@x\",\"'\tx\",\"1,2\"\r\n");
    }
}
