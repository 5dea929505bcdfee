//! What all pages share: the frame around them, the message after a redirect, and the small things that templates show.

use actix_web::{
    HttpRequest, HttpResponse,
    cookie::{Cookie, time::Duration as CookieAge},
    http::{StatusCode, header},
};
use askama::Template;
use serde::{Deserialize, Serialize};

use super::{
    error::{Error, status_of},
    session::{SignedIn, cookie, cookie_name},
};
use crate::{
    clock::{self, Timestamp},
    config::Config,
    domain::{
        ids::SubmissionId,
        text::{FieldError, is_noncharacter},
    },
    secret,
};

const FLASH: &str = "flash";
/// Characters of a name that a message repeats.
const FLASH_NAME: usize = 80;

/// The frame around a page for somebody who is signed in.
#[derive(Debug, Clone)]
pub struct Shell {
    /// `Page – Section`.
    pub title: String,
    /// Which entry of the navigation is the present one.
    pub section: &'static str,
    pub theme: String,
    pub shortcuts: bool,
    pub user_name: String,
    pub initial: String,
    pub session_ends: i64,
    pub now: i64,
    pub flash: Option<Flash>,
    flash_cookie: Option<String>,
}

impl Shell {
    /// The frame of a page. `section` is the last part of the entry's address in the navigation.
    pub fn new(request: &HttpRequest, config: &Config, me: &SignedIn, section: &'static str, title: impl Into<String>) -> Self {
        let name = cookie_name(config, FLASH);
        let background = request.headers().contains_key("x-background");
        let flash = request.cookie(&name).filter(|_| !background).and_then(|cookie| Flash::from_cookie(cookie.value()));
        Self {
            title: title.into(),
            section,
            theme: me.user.theme.clone(),
            shortcuts: me.user.shortcuts,
            user_name: me.user.name.clone(),
            initial: me.user.name.chars().next().map(|first| first.to_uppercase().collect()).unwrap_or_default(),
            session_ends: me.ends.millis(),
            now: clock::now().millis(),
            flash_cookie: flash.as_ref().map(|_| name),
            flash,
        }
    }

    /// Whether an entry of the navigation is the present one.
    pub fn is(&self, section: &str) -> bool {
        self.section == section
    }
}

/// The message that follows a redirect: it names the thing and links to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flash {
    /// `good` or `bad`.
    pub tone: String,
    pub before: String,
    pub href: String,
    pub link: String,
    pub after: String,
}

impl Flash {
    /// `before`, a link, `after`.
    pub fn about(before: &str, href: impl Into<String>, name: &str, after: impl Into<String>) -> Self {
        Self { tone: "good".to_owned(), before: before.to_owned(), href: href.into(), link: shorten(name), after: after.into() }
    }

    /// A message without a link; a name in it stands between quotation marks.
    pub fn plain(before: &str, name: &str, after: impl Into<String>) -> Self {
        Self { tone: "good".to_owned(), before: before.to_owned(), href: String::new(), link: shorten(name), after: after.into() }
    }

    /// The same as bad news.
    pub fn bad(mut self) -> Self {
        self.tone = "bad".to_owned();
        self
    }

    pub fn to_cookie(&self) -> String {
        secret::hex(serde_json::to_string(self).unwrap_or_default().as_bytes())
    }

    pub fn from_cookie(value: &str) -> Option<Self> {
        let bytes: Option<Vec<u8>> =
            value.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
        let flash: Self = serde_json::from_slice(&bytes?).ok()?;
        // A cookie can be planted: a link leads nowhere but into the console.
        (flash.href.is_empty() || local_path(&flash.href) == flash.href).then_some(flash)
    }
}

fn shorten(name: &str) -> String {
    if name.chars().count() <= FLASH_NAME { name.to_owned() } else { format!("{}…", name.chars().take(FLASH_NAME).collect::<String>()) }
}

/// A page with status 200.
pub fn html(shell: &Shell, template: &impl Template) -> Result<HttpResponse, Error> {
    html_with(StatusCode::OK, shell, template)
}

/// A page with another status.
pub fn html_with(status: StatusCode, shell: &Shell, template: &impl Template) -> Result<HttpResponse, Error> {
    let mut answer = HttpResponse::build(status);
    if let Some(name) = &shell.flash_cookie {
        answer.cookie(Cookie::build(name.clone(), "").path("/").max_age(CookieAge::ZERO).finish());
    }
    Ok(answer.content_type("text/html; charset=utf-8").body(well_formed(template.render()?)))
}

/// A page for nobody in particular.
pub fn bare_html(status: StatusCode, template: &impl Template) -> Result<HttpResponse, Error> {
    Ok(HttpResponse::build(status).content_type("text/html; charset=utf-8").body(well_formed(template.render()?)))
}

/// What was typed comes back as it was typed, but for what no page may hold: control characters and code points that are no characters are
/// shown as the replacement character.
fn well_formed(page: String) -> String {
    let foreign = |c: char| c.is_control() && !matches!(c, '\n' | '\t' | '\r') || is_noncharacter(c);
    if !page.contains(foreign) {
        return page;
    }
    page.replace(foreign, "\u{fffd}")
}

/// The end of every change: on to another page, with a message.
pub fn see_other(config: &Config, location: &str, flash: Option<&Flash>) -> HttpResponse {
    let mut answer = HttpResponse::SeeOther();
    answer.insert_header((header::LOCATION, location));
    if let Some(flash) = flash {
        answer.cookie(cookie(config, FLASH, flash.to_cookie()).max_age(CookieAge::minutes(10)).finish());
    }
    answer.finish()
}

/// The same answer with a cookie, if there is one to give.
pub fn with_cookie(mut answer: HttpResponse, cookie: Option<&Cookie<'_>>) -> Result<HttpResponse, Error> {
    if let Some(cookie) = cookie {
        answer.add_cookie(cookie).map_err(Error::unexpected)?;
    }
    Ok(answer)
}

/// A path within the console, or the list of images: where people are led must not be decided by a link from elsewhere.
pub fn local_path(path: &str) -> &str {
    let mut start = path.chars();
    let local = start.next() == Some('/') && !matches!(start.next(), Some('/' | '\\'));
    if local && path.len() <= 2_048 && !path.chars().any(|c| c.is_control() || c == '\\') { path } else { "/images" }
}

/// A number for a form, so that sending it twice makes one thing.
pub fn new_key() -> String {
    SubmissionId::new().to_string()
}

/// What is wrong with a form.
#[derive(Debug, Clone, Default)]
pub struct Faults(pub Vec<FieldError>);

impl Faults {
    /// The fault of one field.
    pub fn of(&self, field: &str) -> Option<&FieldError> {
        self.0.iter().find(|fault| fault.field == field)
    }

    /// Nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `Error: ` before the title of a page whose form came back.
    pub fn title(&self, title: &str) -> String {
        if self.is_empty() { title.to_owned() } else { format!("Error: {title}") }
    }

    /// 422 for a form that came back; where one fault is all there is, what its code says.
    pub fn status(&self) -> StatusCode {
        match self.0.as_slice() {
            [] => StatusCode::OK,
            [one] => status_of(one.code),
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }
}

/// A moment, for machines and for people.
#[derive(Debug, Clone)]
pub struct Moment {
    pub iso: String,
    pub words: String,
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Self { iso: at.rfc3339(), words: at.words() }
    }
}

/// A status as icon and word, with its explanation.
#[derive(Debug, Clone)]
pub struct Pill {
    pub tone: &'static str,
    pub icon: &'static str,
    pub words: String,
    pub meaning: String,
}

impl From<crate::domain::storage::Health> for Pill {
    fn from(health: crate::domain::storage::Health) -> Self {
        Self { tone: health.tone(), icon: health.icon(), words: health.words().to_owned(), meaning: String::new() }
    }
}

/// How full a storage is.
#[derive(Debug, Clone)]
pub struct Capacity {
    pub percent: u64,
    pub words: String,
    pub exact: String,
}

impl Capacity {
    /// From bytes.
    pub fn new(capacity: u64, free: u64) -> Self {
        use crate::domain::size;
        let used = capacity.saturating_sub(free);
        let percent = if capacity == 0 { 0 } else { (u128::from(used) * 100 / u128::from(capacity)).try_into().unwrap_or(100) };
        Self {
            percent,
            words: format!("{} of {} free", size::words(free), size::words(capacity)),
            exact: format!("{} free of {}", size::exact(free), size::exact(capacity)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_led_into_the_console_only() {
        for fine in ["/images", "/images?q=a%20b", "/"] {
            assert_eq!(local_path(fine), fine);
        }
        for evil in ["//evil", "/\\evil", "https:evil", "evil", "", "/a\r\nSet-Cookie: x", "/a\\b"] {
            assert_eq!(local_path(evil), "/images", "{evil:?}");
        }
    }

    #[test]
    fn a_page_holds_nothing_that_no_page_may_hold() {
        assert_eq!(well_formed("a\0b\u{1b}c\u{fffe}d\n\té".to_owned()), "a\u{fffd}b\u{fffd}c\u{fffd}d\n\té");
    }

    #[test]
    fn a_message_survives_its_cookie_and_a_planted_one_leads_nowhere() {
        let flash = Flash::about("Image ", "/images/x", &"é".repeat(200), " was renamed.");
        assert_eq!(Flash::from_cookie(&flash.to_cookie()), Some(flash));
        assert_eq!(Flash::from_cookie(&Flash::about("", "https://evil", "x", "").to_cookie()), None);
        assert_eq!(Flash::from_cookie("zz"), None);
    }
}
