//! Whose token it is, and giving it up.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Data};
use serde::Serialize;
use utoipa::ToSchema;

use super::{query::Query, token::Caller};
use crate::{
    operations::{Service, manage_tokens},
    web::error::Error,
};

/// Who asks, with which token.
#[derive(Debug, Serialize, ToSchema)]
pub struct Account {
    user: User,
    token: TokenInUse,
}

/// The token's owner.
#[derive(Debug, Serialize, ToSchema)]
pub struct User {
    #[schema(format = "uuid")]
    id: String,
    name: String,
    email: String,
}

/// The token that was shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenInUse {
    #[schema(format = "uuid")]
    id: String,
    name: String,
    /// `read`, `download`, `images`, `storages`, `all`.
    scopes: Vec<&'static str>,
    #[schema(format = "date-time")]
    expires_at: String,
}

/// Who am I?
#[utoipa::path(get, path = "/account", tag = "account", responses((status = 200, body = Account)))]
pub async fn account(request: HttpRequest, caller: Caller) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    let Caller { user, token, .. } = caller;
    Ok(HttpResponse::Ok().json(Account {
        user: User { id: user.id.to_string(), name: user.name, email: user.email },
        token: TokenInUse {
            id: token.id.to_string(),
            name: token.name,
            scopes: token.scopes.each().map(|scope| scope.as_str()).collect(),
            expires_at: token.expires_at.rfc3339(),
        },
    }))
}

/// Revoke the token that is shown. It needs no If-Match.
#[utoipa::path(delete, path = "/token", tag = "account", responses((status = 204, description = "The token is revoked.")))]
pub async fn revoke_token(request: HttpRequest, service: Data<Service>, caller: Caller) -> Result<HttpResponse, Error> {
    Query::parse(&request, &[])?;
    manage_tokens::revoke(&service, &caller.actor, caller.token.id).await?;
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}
