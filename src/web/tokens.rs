//! One's own tokens, for programs: what there is, making one, which is shown once, and revoking.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use askama::Template;

use super::{
    error::Error,
    form::Fields,
    page::{Faults, Flash, Moment, Shell, html_with, new_key, see_other},
    session::SignedIn,
};
use crate::{
    clock::{self, Timestamp},
    db::{DbError, tokens::Token},
    domain::{access::Scope, ids::TokenId},
    operations::{
        Failure, Service,
        manage_tokens::{self, Asked, MOST_DAYS, Made},
    },
};

const HERE: &str = "/account/tokens";

struct TokenView {
    id: String,
    name: String,
    scopes: String,
    created: Moment,
    expires: Moment,
    expired: bool,
    used: Option<Moment>,
}

impl TokenView {
    fn new(token: &Token) -> Self {
        let scopes: Vec<&str> = token.scopes.each().map(|scope| scope.as_str()).collect();
        Self {
            id: token.id.to_string(),
            name: token.name.clone(),
            scopes: scopes.join(", "),
            created: token.created_at.into(),
            expires: token.expires_at.into(),
            expired: token.expires_at <= clock::now(),
            used: token.last_used_at.map(|at| Timestamp::from_micros(at).into()),
        }
    }
}

struct ScopeChoice {
    value: &'static str,
    words: &'static str,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "tokens/list.html")]
struct ListPage {
    shell: Shell,
    tokens: Vec<TokenView>,
    made: Option<Made>,
    key: String,
    name: String,
    days: String,
    most_days: u64,
    scopes: Vec<ScopeChoice>,
    faults: Faults,
}

#[derive(Template)]
#[template(path = "tokens/revocation.html")]
struct RevocationPage {
    shell: Shell,
    token: TokenView,
}

async fn page(
    request: &HttpRequest,
    service: &Service,
    me: &SignedIn,
    typed: Asked,
    key: String,
    faults: Faults,
    made: Option<Made>,
) -> Result<HttpResponse, Error> {
    let tokens = manage_tokens::list(service, &me.actor).await?;
    let status = if made.is_some() { StatusCode::CREATED } else { faults.status() };
    let page = ListPage {
        shell: Shell::new(request, &service.config, me, "account", faults.title("Tokens – Account")),
        tokens: tokens.iter().map(TokenView::new).collect(),
        made,
        key,
        name: typed.name,
        days: typed.days,
        most_days: MOST_DAYS,
        scopes: Scope::ALL
            .iter()
            .map(|scope| ScopeChoice {
                value: scope.as_str(),
                words: scope.words(),
                chosen: typed.scopes.iter().any(|word| word == scope.as_str()),
            })
            .collect(),
        faults,
    };
    html_with(status, &page.shell, &page)
}

/// What the form holds before anything is typed.
fn blank() -> Asked {
    Asked { name: String::new(), scopes: vec![Scope::Read.as_str().to_owned()], days: "90".to_owned() }
}

/// `GET /account/tokens`
pub async fn list(request: HttpRequest, service: Data<Service>, me: SignedIn) -> Result<HttpResponse, Error> {
    page(&request, &service, &me, blank(), new_key(), Faults::default(), None).await
}

/// `POST /account/tokens`: the one form that does not end in a redirect, for the token is shown in this answer and never again.
pub async fn create(request: HttpRequest, service: Data<Service>, me: SignedIn, fields: Fields) -> Result<HttpResponse, Error> {
    let key = fields.key()?;
    let asked = Asked {
        name: fields.one("name")?.to_owned(),
        scopes: fields.all("scope").map(str::to_owned).collect(),
        days: fields.one("days")?.to_owned(),
    };
    match manage_tokens::create(&service, &me.actor, &asked, key).await {
        Ok(made) => page(&request, &service, &me, blank(), new_key(), Faults::default(), Some(made)).await,
        Err(Failure::Invalid(faults)) => page(&request, &service, &me, asked, key.to_string(), Faults(faults), None).await,
        Err(Failure::Db(DbError::Taken(_))) => {
            let words = "The token was made when the form was sent first, and is not shown again. Revoke it if nobody has copied it.";
            Ok(see_other(&service.config, HERE, Some(&Flash::plain(words, "", "").bad())))
        }
        Err(other) => Err(other.into()),
    }
}

/// `GET /account/tokens/{id}/revocation`
pub async fn show_revocation(request: HttpRequest, service: Data<Service>, me: SignedIn, id: Path<TokenId>) -> Result<HttpResponse, Error> {
    let token = TokenView::new(&manage_tokens::find(&service, &me.actor, *id).await?);
    let title = format!("Revoke {} – Account", token.name);
    let page = RevocationPage { shell: Shell::new(&request, &service.config, &me, "account", title), token };
    html_with(StatusCode::OK, &page.shell, &page)
}

/// `POST /account/tokens/{id}/revocation`
pub async fn revoke(service: Data<Service>, me: SignedIn, id: Path<TokenId>) -> Result<HttpResponse, Error> {
    let name = manage_tokens::revoke(&service, &me.actor, *id).await?;
    Ok(see_other(&service.config, HERE, Some(&Flash::plain("Token ", &name, " is revoked."))))
}
