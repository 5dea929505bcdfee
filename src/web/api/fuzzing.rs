//! What must hold for any header, cursor and body that a program sends.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{
    body, content, etag,
    images::{ImageChanges, NewImage},
    query,
};
use crate::domain::version::Expected;

/// Reads an input as If-Match, as a digest, as a cursor and as bodies.
pub fn check(data: &[u8]) {
    bodies(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    versions(text);
    match content::sha256_of(text) {
        Some(Some(digest)) => {
            assert!(text.contains("sha-256"), "{text:?}");
            let written = format!("sha-256=:{}:", BASE64_STANDARD.encode(digest));
            assert_eq!(content::sha256_of(&written), Some(Some(digest)));
            assert_eq!(content::sha256_of(&format!("md5=:AAAA:, {written}")), Some(Some(digest)));
        }
        Some(None) => assert!(!text.starts_with("sha-256="), "{text:?} says nothing"),
        None => {}
    }
    let sealed = query::seal(text, "/images q=a");
    assert_eq!(query::open(&sealed, "/images q=a").as_deref(), Some(text));
    assert_eq!(query::open(&sealed, "/images q=b"), None);
    assert_eq!(query::open(&format!("{sealed}A"), "/images q=a"), None);
    assert_eq!(query::open(text, "/images q=a"), None, "a cursor that nobody made");
}

fn versions(text: &str) {
    match etag::parse(text) {
        Some(Expected::OneOf(versions)) => {
            for version in &versions {
                assert!(text.contains(&format!("\"{version}\"")), "{text:?} holds no {version}");
            }
            let more = etag::parse(&format!("{text} , \"-7\""));
            assert!(versions.len() > 100 || more.is_some_and(|more| more.admits(-7)), "{text:?} cannot go on");
            assert_eq!(etag::parse(&format!("{text},*")), None);
        }
        Some(Expected::Any) => assert_eq!(text.trim(), "*"),
        None => assert!(text.parse::<i64>().is_ok() || etag::parse(&format!("\"1\",{text}")).is_none(), "{text:?}"),
    }
}

fn bodies(data: &[u8]) {
    let value = serde_json::from_slice::<serde_json::Value>(data);
    let known = |names: &[&str]| {
        let members = value.as_ref().ok().and_then(|value| value.as_object());
        assert!(members.is_some_and(|members| members.keys().all(|name| names.contains(&name.as_str()))), "{}", data.escape_ascii());
    };
    let problems = [
        body::parse::<NewImage>(data).map(|_| {
            known(&["name", "note", "type", "storage", "os", "min_vcpu", "min_memory_mib", "min_disk_gib", "file"]);
        }),
        body::parse::<ImageChanges>(data).map(|_| known(&["name", "note", "os", "min_vcpu", "min_memory_mib", "min_disk_gib"])),
    ];
    for error in problems.into_iter().filter_map(Result::err) {
        assert!(matches!((error.status.as_u16(), error.code), (400, "body.syntax") | (422, "body.member")), "{error}");
        for fault in &error.faults {
            assert!(fault.field.is_empty() || fault.field.starts_with('/'), "{:?}", fault.field);
        }
        assert!(value.is_ok() || error.code == "body.syntax" || error.code == "body.member");
    }
}

#[cfg(test)]
mod tests {
    use crate::fuzzing::short::seed;

    #[test]
    fn the_seeds_of_the_api_are_there() {
        let zeros = "A".repeat(43);
        let digest = format!("sha-512=:AAAA:, sha-256=:{zeros}=:;a=\"b\"");
        let whole = r#"{"name":"Debian 13","note":"\u00e9\n","type":"installation","storage":"018f4f6e-7d3a-7000-8000-000000000001","os":"debian-13","min_vcpu":1,"min_memory_mib":512,"min_disk_gib":4,"file":{"name":"d.iso","size":1000}}"#;
        let seeds = [
            ("etag", "\"3\", W/\"4\" ,\"a,b\""),
            ("any", "*"),
            ("digest", &digest),
            ("digest-list", "sha-256=(:AAAA:), a;b=1.5"),
            ("image", whole),
            ("changes", r#"{"name":"x","min_vcpu":null}"#),
            ("twice", r#"{"name":"x","name":"y","a":[1e999,-0,{"":true}]}"#),
            ("list", r#"["x","y"]"#),
        ];
        for (name, text) in seeds {
            seed("api", name, text.as_bytes());
        }
    }
}
