//! Reads a JSON body strictly: the right type, not too large, in time, and every member known, single, and of the type that it should have.

use std::marker::PhantomData;

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::{
        StatusCode,
        header::{self, HeaderMap},
    },
    web::Bytes,
};
use futures_util::{StreamExt, future::LocalBoxFuture};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::web::{
    error::{Error, Fault},
    form::ARRIVES_WITHIN,
};

/// Largest body that is not the file of an image, in bytes.
pub const MOST_BYTES: usize = 64 * 1024;

/// A JSON body.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let checked = expect_json(request.headers());
        let mut payload = payload.take();
        Box::pin(async move {
            checked?;
            parse(&read(&mut payload).await?).map(Self)
        })
    }
}

/// Reads a small body whole.
pub async fn read(payload: &mut Payload) -> Result<Bytes, Error> {
    tokio::time::timeout(ARRIVES_WITHIN, read_all(payload)).await.map_err(|_| Error::too_slow())?
}

async fn read_all(payload: &mut Payload) -> Result<Bytes, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Error::bad_request("The body did not arrive whole. Send the request again."))?;
        if body.len() + chunk.len() > MOST_BYTES {
            let sentence = format!("The body is larger than {} KiB.", MOST_BYTES / 1024);
            return Err(Error::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "Too large", sentence));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// The type of a body, without parameters; empty if none is named.
pub fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The refusal of a body of another type.
pub fn wrong_type(sentence: &str) -> Error {
    Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "body.type", "The body has another type", sentence)
}

fn expect_json(headers: &HeaderMap) -> Result<(), Error> {
    if media_type(headers) == "application/json" { Ok(()) } else { Err(wrong_type("Send the body as application/json.")) }
}

/// Reads a body as an object of known members.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let parsed = serde_path_to_error::deserialize::<_, Object<T>>(&mut reader).map_err(|failed| {
        let pointer = pointer(failed.path());
        refusal(failed.inner(), pointer)
    })?;
    reader.end().map_err(|failed| refusal(&failed, String::new()))?;
    Ok(parsed.0)
}

/// Something that is written as an object. Without this a list of its members' values would do as well.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Self)
    }
}

/// Reads a member that is an object.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Members<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
        type Value = T;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(members))
        }
    }

    deserializer.deserialize_map(Members(PhantomData))
}

fn refusal(failed: &serde_json::Error, pointer: String) -> Error {
    if failed.is_data() {
        let fault = Fault { field: pointer, code: "body.member", message: format!("{failed}.") };
        let sentence = format!("The body cannot be taken: {failed}.");
        return Error::new(StatusCode::UNPROCESSABLE_ENTITY, "body.member", "A member cannot be taken", sentence).with_faults(vec![fault]);
    }
    Error::new(StatusCode::BAD_REQUEST, "body.syntax", "The body is not JSON", format!("The body cannot be read: {failed}."))
}

/// A path as a JSON pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        size: u64,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        name: String,
        note: Option<String>,
        file: Option<Inner>,
        #[serde(default, deserialize_with = "object")]
        must: Inner,
    }

    #[test]
    fn a_refusal_names_the_member() {
        let rows = [
            (r#"{"name":1}"#, 422, "/name", "invalid type: integer `1`, expected a string"),
            (r#"{"name":"a","nane":"b"}"#, 422, "/nane", "unknown field `nane`"),
            (r#"{"name":"a","name":"b"}"#, 422, "", "duplicate field `name`"),
            (r#"{"name":"a","file":{"size":-1}}"#, 422, "/file/size", "invalid value: integer `-1`, expected u64"),
            (r#"{"name":"a","file":{"size":1,"x/y":1}}"#, 422, "/file/x~1y", "unknown field `x/y`"),
            (r#"{"name":"a","file":{"size":1.5}}"#, 422, "/file/size", "invalid type: floating point"),
            (r#"{"note":null}"#, 422, "", "missing field `name`"),
            ("[]", 422, "", "invalid type: sequence, expected an object"),
            (r#"["a",null,null,{}]"#, 422, "", "invalid type: sequence, expected an object"),
            (r#"{"name":"a","must":[1]}"#, 422, "/must", "invalid type: sequence, expected an object"),
            (r#"{"name":"a","must":{"size":1,"size":2}}"#, 422, "/must", "duplicate field `size`"),
            ("", 400, "", "EOF"),
            ("{", 400, "", "EOF"),
            (r#"{"name":"a"} x"#, 400, "", "trailing characters"),
            ("{\"name\":\"\u{fffd}\u{0}\"}", 400, "", "control character"),
        ];
        for (body, status, pointer, words) in rows {
            let refused = parse::<Outer>(body.as_bytes()).unwrap_err();
            assert_eq!(refused.status.as_u16(), status, "{body}: {refused}");
            assert_eq!(refused.faults.first().map_or("", |fault| fault.field.as_str()), pointer, "{body}: {refused}");
            assert!(refused.sentence.contains(words), "{body}: {refused}");
        }
        assert_eq!(parse::<Outer>(b"{\"name\":\"\xff\"}").unwrap_err().status, 400);
        assert!(parse::<Outer>(format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000)).as_bytes()).is_err());
        assert_eq!(
            parse::<Outer>(br#" {"name":"a","note":null} "#).unwrap(),
            Outer { name: "a".into(), note: None, file: None, must: Inner::default() }
        );
    }
}
