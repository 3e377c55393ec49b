//! `server.json`, schema 1, both ways.
//!
//! Reading is strict about what makes a record (JSON, no duplicate keys, the types of known fields) and indifferent to
//! what it doesn't know. It allocates no more than the input's own size calls for, and the input is bounded by the caller.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use chrono::{DateTime, NaiveDateTime, SecondsFormat};
use daymark_core::clock::Timestamp;
use daymark_core::record::{AppInfo, Endpoint, HeldBy, Name, Origin, ServerRecord, Token};
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The schema that is written. A larger one is read as far as it is understood.
pub const SCHEMA: u64 = 1;

/// The record as one line of JSON, with a line feed.
#[must_use]
pub fn write(record: &ServerRecord) -> Vec<u8> {
    let mut line = to_text(record, true).into_bytes();
    line.push(b'\n');
    line
}

/// The record as a line of JSON for people and scripts to look at: everything but the token.
#[must_use]
pub fn without_token(record: &ServerRecord) -> String {
    to_text(record, false)
}

/// The fields as they are written, in this order. A key that isn't known is left out.
#[derive(Serialize)]
struct Written<'a> {
    schema: u64,
    port: u16,
    pid: u32,
    started_at: String,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_id: Option<String>,
    listener: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    restarts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    net_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<WrittenApp<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

#[derive(Serialize)]
struct WrittenApp<'a> {
    name: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dir: Option<&'a str>,
}

fn to_text(record: &ServerRecord, with_token: bool) -> String {
    let written = Written {
        schema: SCHEMA,
        port: record.endpoint.port().get(),
        pid: record.pid,
        started_at: write_time(record.started_at),
        url: record.endpoint.url(),
        name: record.name.as_ref().map(Name::as_str),
        instance_id: record.instance_id.map(|id| id.to_string()),
        listener: match record.held_by {
            HeldBy::Owner => "owner",
            HeldBy::Child => "child",
        },
        restarts: record.restarts,
        boot_id: record.origin.boot_id.as_deref(),
        pid_ns: record.origin.pid_ns,
        net_ns: record.origin.net_ns,
        app: record.app.as_ref().map(|app| WrittenApp {
            name: &app.name,
            version: &app.version,
            dir: app.dir.as_deref(),
        }),
        token: record
            .token
            .as_ref()
            .filter(|_| with_token)
            .map(Token::reveal),
    };
    // Strings and numbers under fixed keys: nothing in there can fail to serialize.
    serde_json::to_string(&written).unwrap_or_default()
}

/// The points in time that RFC 3339 can write: the years 0000 to 9999, in microseconds.
const WRITABLE_TIMES: RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;

/// A point in time as RFC 3339 text in UTC, with microseconds. What that can't write becomes the nearest that it can.
#[must_use]
pub fn write_time(time: Timestamp) -> String {
    let (first, last) = WRITABLE_TIMES.into_inner();
    DateTime::from_timestamp_micros(time.unix_micros().clamp(first, last))
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Reads a record.
///
/// # Errors
///
/// What keeps the bytes from being a record, as a sentence fragment.
pub fn read(bytes: &[u8]) -> Result<ServerRecord, String> {
    parse(bytes).map_err(|reason| match reason.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason,
    })
}

/// What is quoted of a record in a reason for its rejection may be as long as that.
const LONGEST_REASON: usize = 200;

fn parse(bytes: &[u8]) -> Result<ServerRecord, String> {
    let value: Json<'_> = serde_json::from_slice(bytes).map_err(|e| match e.is_data() {
        true => e.to_string(),
        false => format!("not valid JSON: {e}"),
    })?;
    let Json::Object(fields) = value else {
        return Err("not a JSON object".to_owned());
    };

    let port = fields
        .required("port", Json::number)?
        .try_into()
        .ok()
        .and_then(std::num::NonZeroU16::new)
        .ok_or("\"port\" is not a port number")?;
    let pid = fields
        .required("pid", Json::number)?
        .try_into()
        .ok()
        .filter(|pid| (1..=i32::MAX as u32).contains(pid))
        .ok_or("\"pid\" is not a process id")?;
    let started_at = read_time(fields.required("started_at", Json::text)?)
        .ok_or("\"started_at\" is not an RFC 3339 time")?;
    let endpoint = match fields.optional("url", Json::text)? {
        None => Endpoint::v4(port),
        Some(url) => Endpoint::from_url(url)
            .filter(|endpoint| endpoint.port() == port)
            .ok_or("\"url\" is not http://127.0.0.1:PORT/ or http://[::1]:PORT/ with this port")?,
    };
    Ok(ServerRecord {
        endpoint,
        pid,
        started_at,
        name: fields.parsed("name")?,
        instance_id: fields.parsed("instance_id")?,
        held_by: match fields.optional("listener", Json::text)? {
            Some("owner") => HeldBy::Owner,
            _ => HeldBy::Child,
        },
        restarts: fields.optional("restarts", Json::number)?,
        origin: Origin {
            boot_id: fields.optional("boot_id", Json::text)?.map(str::to_owned),
            pid_ns: fields.optional("pid_ns", Json::number)?,
            net_ns: fields.optional("net_ns", Json::number)?,
        },
        app: match fields.optional("app", Json::object)? {
            None => None,
            Some(app) => Some(AppInfo {
                name: app.required("name", Json::text)?.to_owned(),
                version: app
                    .optional("version", Json::text)?
                    .unwrap_or_default()
                    .to_owned(),
                dir: app.optional("dir", Json::text)?.map(str::to_owned),
            }),
        },
        token: fields.parsed("token")?,
    })
}

/// RFC 3339; a time without an offset, as some writers of the three original fields leave it, is taken as UTC.
fn read_time(text: &str) -> Option<Timestamp> {
    let utc = DateTime::parse_from_rfc3339(text)
        .map(|time| time.timestamp_micros())
        .or_else(|_| {
            text.parse::<NaiveDateTime>()
                .map(|time| time.and_utc().timestamp_micros())
        })
        .ok()
        .filter(|utc| WRITABLE_TIMES.contains(utc))?;
    Some(Timestamp::from_unix_micros(utc))
}

/// A JSON value, as far as a record is made of such: text stays where it was read, and what no field is made of is forgotten.
/// No object in it has a key twice.
enum Json<'a> {
    Text(Cow<'a, str>),
    Number(u64),
    Object(Fields<'a>),
    Other,
}

impl<'a> Json<'a> {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    const fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    const fn object(&self) -> Option<&Fields<'a>> {
        match self {
            Self::Object(fields) => Some(fields),
            _ => None,
        }
    }
}

/// Sorted by their keys.
struct Fields<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl<'a> Fields<'a> {
    /// A field that may be missing, but has the right type if it is there.
    fn optional<'s, T: 's>(
        &'s self,
        key: &str,
        cast: impl FnOnce(&'s Json<'a>) -> Option<T>,
    ) -> Result<Option<T>, String> {
        match self.0.binary_search_by(|(other, _)| (**other).cmp(key)) {
            Err(_) => Ok(None),
            Ok(at) => cast(&self.0[at].1)
                .map(Some)
                .ok_or_else(|| format!("{key:?} has the wrong type")),
        }
    }

    fn required<'s, T: 's>(
        &'s self,
        key: &str,
        cast: impl FnOnce(&'s Json<'a>) -> Option<T>,
    ) -> Result<T, String> {
        self.optional(key, cast)?
            .ok_or_else(|| format!("{key:?} is missing"))
    }

    fn parsed<T: std::str::FromStr<Err: fmt::Display>>(
        &self,
        key: &str,
    ) -> Result<Option<T>, String> {
        self.optional(key, Json::text)?
            .map(|text| text.parse().map_err(|e| format!("{key:?}: {e}")))
            .transpose()
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json<'de>, A::Error> {
        let mut fields = Vec::new();
        while let Some(Key(key)) = access.next_key()? {
            fields.push((key, access.next_value()?));
        }
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        match fields.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some([(key, _), ..]) => Err(A::Error::custom(format_args!(
                "the key {key:?} stands twice"
            ))),
            _ => Ok(Json::Object(Fields(fields))),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json<'de>, A::Error> {
        while access.next_element::<Json<'de>>()?.is_some() {}
        Ok(Json::Other)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(number))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json<'de>, E> {
        Ok(Json::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json<'de>, E> {
        Ok(Json::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json<'de>, E> {
        Ok(Json::Other)
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Other)
    }
}

/// An object's key.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(key)))
    }

    fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(key.to_owned())))
    }
}

#[cfg(test)]
#[path = "record_json_tests.rs"]
mod tests;
