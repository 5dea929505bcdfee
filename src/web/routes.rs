//! Every URL of the console.

use actix_web::{
    HttpResponse,
    http::header,
    web::{Data, Path, ServiceConfig, resource},
};

use super::{
    account, assets, clusters,
    error::Error,
    events, health,
    images::{content, deletion, edit, export, list, selection, show},
    new_image, problems,
    session::SignedIn,
    set_up, settings, sign_in, storages, tokens,
};
use crate::{
    authorize::{self, right},
    domain::ids::StorageId,
    operations::{Failure, Service},
};

/// Mounts every URL.
pub fn configure(app: &mut ServiceConfig) {
    app.service(resource("/").get(home));
    app.service(resource("/livez").get(health::live));
    app.service(resource("/readyz").get(health::ready));
    app.service(resource("/healthz").get(health::ready));
    app.service(resource("/version").get(health::version));
    app.service(resource("/.well-known/security.txt").get(health::security));
    app.service(resource("/assets/{digest}/{path:.*}").get(assets::serve));
    app.service(resource("/.well-known/change-password").get(account::change_password_hint));
    app.service(resource("/setup").get(set_up::show).post(set_up::submit));
    app.service(resource("/sign-in").get(sign_in::show).post(sign_in::submit));
    app.service(resource("/sign-out").post(sign_in::sign_out));
    app.service(resource("/account").get(account::show));
    app.service(resource("/account/password").post(account::set_password));
    app.service(resource("/account/theme").post(account::set_theme));
    app.service(resource("/account/preferences").post(account::set_preferences));
    app.service(resource("/account/tokens").get(tokens::list).post(tokens::create));
    app.service(resource("/account/tokens/{id}/revocation").get(tokens::show_revocation).post(tokens::revoke));
    app.service(resource("/docs/problems").get(problems::list));
    app.service(resource("/docs/problems/{code}").get(problems::show));
    app.service(resource("/session/extension").post(account::extend_session));

    app.service(resource("/images").get(list::show));
    app.service(resource("/images.csv").get(export::show));
    app.service(resource("/images/columns").post(list::set_columns));
    app.service(resource("/images/selection").post(selection::show));
    app.service(resource("/images/selection/deletion").post(selection::delete));
    app.service(resource("/images/new").get(new_image::begin));
    app.service(resource("/images/new/{draft}/general").get(new_image::general).post(new_image::submit_general));
    app.service(resource("/images/new/{draft}/configuration").get(new_image::configuration).post(new_image::submit_configuration));
    app.service(resource("/images/new/{draft}/summary").get(new_image::summary));
    app.service(resource("/images/new/{draft}/preflight").post(new_image::preflight));
    app.service(resource("/images/new/{draft}/image").post(new_image::create));
    app.service(resource("/images/new/{draft}/create").post(new_image::create_with_file));
    app.service(resource("/images/new/{draft}/cancel").get(new_image::show_cancel).post(new_image::cancel));
    app.service(resource("/images/{id}").get(show::overview));
    app.service(resource("/images/{id}/access").get(show::access));
    app.service(resource("/images/{id}/vms").get(show::vms));
    app.service(resource("/images/{id}/events").get(show::events));
    app.service(resource("/images/{id}/edit").get(edit::show).post(edit::submit));
    app.service(resource("/images/{id}/deletion").get(deletion::show).post(deletion::submit));
    app.service(resource("/images/{id}/forgetting").get(deletion::show_forgetting).post(deletion::forget));
    app.service(resource("/images/{id}/check").post(show::check));
    app.service(resource("/images/{id}/preflight").post(content::preflight));
    app.service(resource("/images/{id}/content").get(content::show).post(content::submit));
    app.service(resource("/images/{id}/digest").post(edit::expected_digest));
    app.service(resource("/images/{id}/upload/cancel").post(show::cancel_upload));
    app.service(resource("/images/{id}/download").get(content::download));

    app.service(resource("/clusters").get(clusters::list));
    app.service(resource("/clusters/new").get(clusters::show_add).post(clusters::add));
    app.service(resource("/clusters/{id}").get(clusters::show));
    app.service(resource("/clusters/{id}/edit").get(clusters::show_edit).post(clusters::edit));
    app.service(resource("/clusters/{id}/removal").get(clusters::show_removal).post(clusters::remove));
    app.service(resource("/hosts").get(clusters::hosts));
    app.service(resource("/hosts/{id}").get(clusters::host));
    app.service(resource("/storages/{id}").get(storage_of_any_kind));
    for section in ["/datastores", "/local-storages"] {
        let at = |rest: &str| format!("{section}{rest}");
        app.service(resource(at("")).get(storages::list));
        app.service(resource(at("/new")).get(storages::show_add).post(storages::add));
        app.service(resource(at("/{id}")).get(storages::show));
        app.service(resource(at("/{id}/edit")).get(storages::show_edit).post(storages::edit));
        app.service(resource(at("/{id}/check")).post(storages::check));
        app.service(resource(at("/{id}/removal")).get(storages::show_removal).post(storages::remove));
    }
    app.service(resource("/datastores/{id}/connections").post(storages::connect));
    app.service(resource("/datastores/{id}/connections/{cluster}/removal").post(storages::disconnect));

    app.service(resource("/events").get(events::list));
    app.service(resource("/events.csv").get(events::export));
    app.service(resource("/settings").get(settings::show));
}

/// `GET /`: the first page after sign-in is the list of images.
async fn home() -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, "/images")).finish()
}

/// `GET /storages/{id}`: leads to the page of the storage, whatever its kind is now.
async fn storage_of_any_kind(service: Data<Service>, me: SignedIn, id: Path<StorageId>) -> Result<HttpResponse, Error> {
    let found = authorize::read::<right::ReadStorage, _>(&service.db, &me.actor, *id, |conn, granted| {
        crate::db::storages::by_id(conn, granted.on())?.ok_or(Failure::NotFound)
    });
    let location = format!("/{}/{id}", found.await?.kind.section());
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, location)).finish())
}
