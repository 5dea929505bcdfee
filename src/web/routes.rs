//! Every URL of the console.

use actix_web::web::{ServiceConfig, get, post, resource};

use super::{account, assets, health, set_up, sign_in};

/// Mounts every URL.
pub fn configure(app: &mut ServiceConfig) {
    app.route("/livez", get().to(health::live));
    app.route("/readyz", get().to(health::ready));
    app.route("/assets/{digest}/{path:.*}", get().to(assets::serve));
    app.route("/.well-known/change-password", get().to(account::change_password_hint));
    app.service(resource("/setup").get(set_up::show).post(set_up::submit));
    app.service(resource("/sign-in").get(sign_in::show).post(sign_in::submit));
    app.route("/sign-out", post().to(sign_in::sign_out));
    app.route("/account", get().to(account::show));
    app.route("/account/password", post().to(account::set_password));
    app.route("/account/theme", post().to(account::set_theme));
    app.route("/account/preferences", post().to(account::set_preferences));
    app.route("/session/extension", post().to(account::extend_session));
}
