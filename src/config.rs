//! Settings: defaults, then a file, then the environment, then flags; each value knows where it came from.
//!
//! One table, [`KEYS`], says what can be set, what it means and what it is when nobody sets it; the file, the environment, `config show`
//! and the Settings page all read it. An unknown key is an error, because a misspelt setting that is ignored is worse than none.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{db::Address, domain::upload};

/// Where metrics are served unless somebody says otherwise.
const METRICS_LISTEN: &str = "127.0.0.1:9464";

/// One thing that can be set.
pub struct Key {
    /// Its name in the file; the environment has `VMIMG_` and the same in capitals.
    pub name: &'static str,
    /// What it means, in a sentence.
    pub meaning: &'static str,
    /// What it is when nobody sets it.
    pub default: &'static str,
    /// Whether its value must not be shown.
    pub secret: bool,
}

/// Everything that can be set.
pub const KEYS: &[Key] = &[
    key("data_dir", "Folder for everything that the service keeps for itself.", "./vmimg-data"),
    Key {
        name: "database_url",
        meaning: "Where the records are kept: sqlite:PATH, or postgres://USER:PASSWORD@HOST/NAME. Empty: SQLite in the data folder.",
        default: "",
        secret: true,
    },
    key("listen", "Address and port to listen on.", "127.0.0.1:8080"),
    key("metrics_listen", "Address and port on which /metrics is served to Prometheus, or off.", METRICS_LISTEN),
    key("public_url", "The address under which people reach the console, such as https://images.example.org. Empty: as they typed it.", ""),
    key("trusted_proxies", "Addresses of reverse proxies whose word about the client's address is taken, separated by commas.", ""),
    key("max_upload", "Largest file that an image can have.", "64 GiB"),
    key("storage_roots", "Folders below which storages may lie, separated by commas. The data folder is always one of them.", "/srv, /mnt"),
    key("max_unfinished", "How many unfinished images one person can have.", "1000"),
    key("client_silence", "Seconds for which a client may send or take nothing before its connection is given up.", "60"),
    key("client_rate", "Fewest bytes a second at which a client keeps its connection, seen over client_silence.", "1 KiB"),
    key("upload_expiry", "Days for which the bytes of an interrupted upload are kept, and its space stays reserved.", "7"),
    key("session_idle", "Minutes without a click after which a session ends.", "30"),
    key("session_longest", "Hours after which a session ends in any case.", "12"),
    key(
        "stop_delay",
        "Seconds that the service goes on taking requests, unready, after it was told to stop; a balancer needs them to notice.",
        "0",
    ),
    key(
        "security_contact",
        "Where to report a weakness: an e-mail address or an https address, shown in /.well-known/security.txt. Empty: not shown.",
        "",
    ),
    key("log", "What is logged: error, warn, info, debug, or per module as in vmimg=debug.", "info"),
    key("log_format", "How it is logged: text or json.", "text"),
];

const fn key(name: &'static str, meaning: &'static str, default: &'static str) -> Key {
    Key { name, meaning, default, secret: false }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// A line of this file.
    File(PathBuf),
    /// This environment variable.
    Environment(String),
    /// This flag of the command line.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A value as it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The text.
    pub value: String,
    /// Where it came from.
    pub source: Source,
}

/// What is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// The settings of the service, parsed.
#[derive(Debug, Clone)]
pub struct Config {
    pub data_dir: PathBuf,
    pub database: Address,
    pub listen: SocketAddr,
    /// Where metrics are served, if they are.
    pub metrics_listen: Option<SocketAddr>,
    pub public_url: Option<String>,
    pub trusted_proxies: Vec<IpAddr>,
    pub max_upload: u64,
    pub storage_roots: Vec<PathBuf>,
    pub max_unfinished: u64,
    pub client_silence: Duration,
    pub client_rate: u64,
    /// How long the bytes of an interrupted upload are kept.
    pub upload_expiry: Duration,
    pub session_idle: Duration,
    pub session_longest: Duration,
    /// How long requests are taken after the service was told to stop.
    pub stop_delay: Duration,
    /// An address with its scheme.
    pub security_contact: Option<String>,
    pub log: String,
    pub log_json: bool,
    raw: BTreeMap<&'static str, Setting>,
}

/// Where settings are read from.
#[derive(Debug, Default)]
pub struct Given {
    /// The file named on the command line.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// Flags of the command line: key, flag as typed, value.
    pub flags: Vec<(&'static str, String, String)>,
}

impl Config {
    /// Reads and checks all settings.
    pub fn load(given: &Given) -> Result<Self, ConfigError> {
        let mut raw: BTreeMap<&'static str, Setting> =
            KEYS.iter().map(|key| (key.name, Setting { value: key.default.to_owned(), source: Source::Default })).collect();
        if let Some(path) = file_to_read(given) {
            read_file(&path, &mut raw)?;
        }
        read_environment(&given.environment, &mut raw)?;
        for (key, flag, value) in &given.flags {
            raw.insert(key, Setting { value: value.clone(), source: Source::Flag(flag.clone()) });
        }
        Self::parse(raw)
    }

    /// Each setting as it was given, in the order of [`KEYS`].
    pub fn settings(&self) -> impl Iterator<Item = (&'static Key, &Setting)> {
        KEYS.iter().filter_map(|key| Some((key, self.raw.get(key.name)?)))
    }

    /// Whether somebody asked for metrics; if not, the service does without them where it must.
    pub fn metrics_were_asked_for(&self) -> bool {
        self.raw.get("metrics_listen").is_some_and(|setting| setting.source != Source::Default)
    }

    /// Whether cookies can be kept to encrypted connections.
    pub fn is_secure(&self) -> bool {
        self.public_url.as_deref().is_some_and(|url| url.starts_with("https://"))
    }

    fn parse(raw: BTreeMap<&'static str, Setting>) -> Result<Self, ConfigError> {
        let text = |key: &'static str| raw.get(key).map(|setting| setting.value.trim().to_owned()).unwrap_or_default();
        let fault = |key: &str, why: &str| {
            let source = raw.get(key).map(|setting| setting.source.to_string()).unwrap_or_default();
            ConfigError(format!("setting {key} ({source}): {why}"))
        };
        let number = |key: &'static str, least: u64, most: u64| {
            let in_range = |number: &u64| (least..=most).contains(number);
            text(key).parse().ok().filter(in_range).ok_or_else(|| fault(key, &format!("give a whole number from {least} to {most}")))
        };
        let size = |key: &'static str, least: u64| {
            text(key).parse::<bytesize::ByteSize>().map(|size| size.as_u64()).ok().filter(|bytes| *bytes >= least)
        };
        let data_dir = std::path::absolute(text("data_dir")).map_err(|failed| fault("data_dir", &failed.to_string()))?;
        let database = match text("database_url").as_str() {
            "" => Address::Sqlite(data_dir.join("vmimg.db")),
            url => Address::parse(url).map_err(|why| fault("database_url", &why))?,
        };
        let public_url = match text("public_url").trim_end_matches('/') {
            "" => None,
            url if is_origin(url) => Some(url.to_owned()),
            _ => return Err(fault("public_url", "give scheme and host only, as in https://images.example.org")),
        };
        let mut storage_roots = vec![data_dir.clone()];
        for root in listed(&text("storage_roots")) {
            let root = PathBuf::from(root);
            if !root.is_absolute() {
                return Err(fault("storage_roots", "give absolute paths"));
            }
            storage_roots.push(root);
        }
        let trusted_proxies = listed(&text("trusted_proxies"))
            .map(|address| address.parse().map_err(|_| fault("trusted_proxies", &format!("“{address}” is not an IP address"))))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            database,
            listen: text("listen").parse().map_err(|_| fault("listen", "give an address and a port, as in 127.0.0.1:8080"))?,
            metrics_listen: match text("metrics_listen").as_str() {
                "off" => None,
                address => {
                    Some(address.parse().map_err(|_| fault("metrics_listen", "give an address and a port, as in 127.0.0.1:9464, or off"))?)
                }
            },
            public_url,
            trusted_proxies,
            max_upload: size("max_upload", 1).ok_or_else(|| fault("max_upload", "give a size such as 64 GiB"))?,
            storage_roots,
            max_unfinished: number("max_unfinished", 1, 1_000_000)?,
            // A lease is renewed by what arrives; a longer silence would outlast it.
            client_silence: Duration::from_secs(number("client_silence", 1, upload::LEASE.as_secs())?),
            client_rate: size("client_rate", 0).ok_or_else(|| fault("client_rate", "give a size such as 1 KiB, or 0"))?,
            upload_expiry: Duration::from_secs(24 * 3_600 * number("upload_expiry", 1, 365)?),
            session_idle: Duration::from_secs(60 * number("session_idle", 5, 1_440)?),
            session_longest: Duration::from_secs(3_600 * number("session_longest", 1, 720)?),
            stop_delay: Duration::from_secs(number("stop_delay", 0, 300)?),
            security_contact: contact(&text("security_contact")).map_err(|why| fault("security_contact", why))?,
            log: text("log"),
            log_json: match text("log_format").as_str() {
                "json" => true,
                "text" => false,
                _ => return Err(fault("log_format", "give text or json")),
            },
            data_dir,
            raw,
        })
    }
}

/// `http://host` or `https://host:port`, with nothing behind.
fn is_origin(url: &str) -> bool {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte)))
}

/// An e-mail address or a URI as RFC 9116 wants it; nothing for nothing.
fn contact(text: &str) -> Result<Option<String>, &'static str> {
    const WRONG: &str = "give an e-mail address, or an address that begins with https:, mailto: or tel:";
    if text.is_empty() {
        return Ok(None);
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(WRONG);
    }
    match text.split_once(':') {
        Some(("https" | "mailto" | "tel", rest)) if !rest.is_empty() => Ok(Some(text.to_owned())),
        None if text.contains('@') => Ok(Some(format!("mailto:{text}"))),
        _ => Err(WRONG),
    }
}

fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn file_to_read(given: &Given) -> Option<PathBuf> {
    let from_environment = given.environment.iter().find(|(name, _)| name == "VMIMG_CONFIG").map(|(_, path)| PathBuf::from(path));
    given
        .file
        .clone()
        .or(from_environment)
        .or_else(|| ["./vmimg.toml", "/etc/vmimg/vmimg.toml"].into_iter().map(PathBuf::from).find(|path| path.exists()))
}

fn read_file(path: &Path, raw: &mut BTreeMap<&'static str, Setting>) -> Result<(), ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|failed| ConfigError(format!("{}: {failed}", path.display())))?;
    let table: toml::Table = text.parse().map_err(|failed| ConfigError(format!("{}: {failed}", path.display())))?;
    for (name, value) in table {
        let key = known(&name).ok_or_else(|| ConfigError(format!("{}: there is no setting “{name}”{}", path.display(), hint(&name))))?;
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Array(parts) => parts.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(","),
            _ => return Err(ConfigError(format!("{}: setting {name} must be a text or a number", path.display()))),
        };
        raw.insert(key, Setting { value, source: Source::File(path.to_owned()) });
    }
    Ok(())
}

fn read_environment(environment: &[(String, String)], raw: &mut BTreeMap<&'static str, Setting>) -> Result<(), ConfigError> {
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix("VMIMG_").filter(|rest| *rest != "CONFIG") else { continue };
        let lower = rest.to_lowercase();
        // A secret can stand in a file of its own.
        let (lower, value) = match lower.strip_suffix("_file").filter(|key| known(key).is_some()) {
            Some(key) => {
                let text = std::fs::read_to_string(value).map_err(|failed| ConfigError(format!("{name}: {value}: {failed}")))?;
                (key.to_owned(), text.trim_end().to_owned())
            }
            None => (lower, value.clone()),
        };
        let key = known(&lower).ok_or_else(|| ConfigError(format!("environment {name}: there is no setting “{lower}”{}", hint(&lower))))?;
        raw.insert(key, Setting { value, source: Source::Environment(name.clone()) });
    }
    Ok(())
}

fn known(name: &str) -> Option<&'static str> {
    KEYS.iter().map(|key| key.name).find(|known| *known == name)
}

fn hint(name: &str) -> String {
    let alike = |key: &&Key| key.name.contains(name) || name.contains(key.name) || key.name.as_bytes().first() == name.as_bytes().first();
    let names: Vec<&str> = KEYS.iter().filter(alike).map(|key| key.name).collect();
    if names.is_empty() { String::new() } else { format!("; there is {}", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(environment: &[(&str, &str)]) -> Given {
        Given { environment: environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(), ..Given::default() }
    }

    #[test]
    fn a_later_source_wins_and_is_remembered() {
        let mut all = given(&[("VMIMG_LISTEN", "127.0.0.1:9000"), ("VMIMG_MAX_UPLOAD", "2 GiB"), ("OTHER", "x")]);
        all.flags.push(("listen", "--listen".into(), "127.0.0.1:9100".into()));
        let config = Config::load(&all).unwrap();
        assert_eq!((config.listen.port(), config.max_upload), (9100, 2 << 30));
        let sources: Vec<String> = config.settings().map(|(key, setting)| format!("{} {}", key.name, setting.source)).collect();
        assert!(sources.contains(&"listen flag --listen".to_owned()));
        assert!(sources.contains(&"max_upload environment VMIMG_MAX_UPLOAD".to_owned()));
        assert!(sources.contains(&"log default".to_owned()));
    }

    #[test]
    fn contacts_get_their_scheme() {
        let contact = |text: &str| Config::load(&given(&[("VMIMG_SECURITY_CONTACT", text)])).unwrap().security_contact;
        assert_eq!(contact(""), None);
        assert_eq!(contact("security@example.org").as_deref(), Some("mailto:security@example.org"));
        assert_eq!(contact("https://example.org/security").as_deref(), Some("https://example.org/security"));
    }

    #[test]
    fn unknown_keys_and_bad_values_are_named() {
        let rows = [
            (("VMIMG_LISTN", "x"), "no setting “listn”"),
            (("VMIMG_LISTEN", "everywhere"), "setting listen (environment VMIMG_LISTEN)"),
            (("VMIMG_MAX_UPLOAD", "much"), "setting max_upload"),
            (("VMIMG_SESSION_IDLE", "1"), "from 5 to 1440"),
            (("VMIMG_CLIENT_SILENCE", "61"), "from 1 to 60"),
            (("VMIMG_CLIENT_RATE", "slow"), "setting client_rate"),
            (("VMIMG_PUBLIC_URL", "https://a/b"), "scheme and host only"),
            (("VMIMG_STORAGE_ROOTS", "here"), "absolute"),
            (("VMIMG_DATABASE_URL", "mysql://x"), "must begin with sqlite:"),
            (("VMIMG_METRICS_LISTEN", "no"), "or off"),
            (("VMIMG_SECURITY_CONTACT", "http://example.org"), "begins with https:"),
            (("VMIMG_SECURITY_CONTACT", "a@example.org\nCanonical:"), "give an e-mail address"),
        ];
        for (pair, words) in rows {
            let message = Config::load(&given(&[pair])).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}
