//! `vmimg admin`: for whoever has the machine, also when nobody can sign in.

use std::{
    io::{IsTerminal, Read},
    path::PathBuf,
    sync::Arc,
};

use clap::{Args, Subcommand};

use super::Outcome;
use crate::{
    app,
    config::Config,
    domain::access::Role,
    operations::{Failure, manage_people, manage_tokens},
};

#[derive(Debug, Subcommand)]
pub enum Admin {
    /// Make a user
    CreateUser {
        /// E-mail address, the name to sign in with
        email: String,
        /// Name, as others see it
        #[arg(long)]
        name: String,
        /// Make the user without any right
        #[arg(long)]
        no_access: bool,
        #[command(flatten)]
        password: Password,
    },
    /// Set a new password and end the user's sessions
    ResetPassword {
        /// E-mail address
        email: String,
        #[command(flatten)]
        password: Password,
    },
    /// Make a token for a program, and print it
    CreateToken {
        /// E-mail address of the user whose rights it has
        email: String,
        /// What it is for
        #[arg(long)]
        name: String,
        /// What it may be used for: read, download, images, storages or all; can be given several times
        #[arg(long = "scope", required = true, value_name = "SCOPE")]
        scopes: Vec<String>,
        /// How long it lives, in days, up to 365
        #[arg(long, default_value = "90")]
        days: String,
    },
}

/// Where the password comes from: a prompt, or standard input, or a file; never the command line, which others can see.
#[derive(Debug, Args)]
pub struct Password {
    /// Read the password from this file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

pub fn run(config: Arc<Config>, command: Admin) -> Outcome {
    // No lock: this works beside a running service, and the database keeps them apart.
    if !config.data_dir.is_dir() {
        drop(app::take_data_dir(&config.data_dir)?);
    }
    let service = app::open(config)?;
    let done = match command {
        Admin::CreateUser { email, name, no_access, password } => {
            let role = if no_access { Role::NoAccess } else { Role::Administrator };
            manage_people::create_user(&service, &name, &email, &password.read()?, role).map(|id| println!("created user {id}"))
        }
        Admin::CreateToken { email, name, scopes, days } => {
            let asked = manage_tokens::Asked { name, scopes, days };
            manage_tokens::create_for(&service, &email, &asked).map(|made| {
                eprintln!("The token is shown this once; keep it like a password.");
                println!("{}", made.token);
            })
        }
        Admin::ResetPassword { email, password } => {
            manage_people::reset_password(&service, &email, &password.read()?).map(|()| println!("the password is set"))
        }
    };
    Ok(done.map_err(|failed| match failed {
        Failure::NotFound => "there is no user with this e-mail address".to_owned(),
        other => other.to_string(),
    })?)
}

impl Password {
    fn read(&self) -> Result<String, Box<dyn std::error::Error>> {
        if let Some(path) = &self.password_file {
            return Ok(std::fs::read_to_string(path)?.trim_end_matches(['\r', '\n']).to_owned());
        }
        if std::io::stdin().is_terminal() {
            return Ok(rpassword::prompt_password("Password: ")?);
        }
        let mut typed = String::new();
        std::io::stdin().take(4_096).read_to_string(&mut typed)?;
        Ok(typed.trim_end_matches(['\r', '\n']).to_owned())
    }
}
