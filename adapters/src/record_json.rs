//! `server.json`, schema 1, both ways.
//!
//! Reading is strict about what makes a record (JSON, no duplicate keys, the types of known fields) and indifferent to
//! what it doesn't know. It allocates no more than the input's own size calls for, and the input is bounded by the caller.

use std::fmt;
use std::ops::RangeInclusive;

use chrono::{DateTime, NaiveDateTime, SecondsFormat};
use daymark_core::clock::Timestamp;
use daymark_core::record::{AppInfo, Endpoint, HeldBy, Name, Origin, ServerRecord, Token};
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

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
    let Strict(value) = serde_json::from_slice(bytes).map_err(|e| match e.is_data() {
        true => e.to_string(),
        false => format!("not valid JSON: {e}"),
    })?;
    let Value::Object(fields) = value else {
        return Err("not a JSON object".to_owned());
    };
    let fields = Fields(fields);

    let port = fields
        .required("port", Value::as_u64)?
        .try_into()
        .ok()
        .and_then(std::num::NonZeroU16::new)
        .ok_or("\"port\" is not a port number")?;
    let pid = fields
        .required("pid", Value::as_u64)?
        .try_into()
        .ok()
        .filter(|pid| (1..=i32::MAX as u32).contains(pid))
        .ok_or("\"pid\" is not a process id")?;
    let started_at = read_time(fields.required("started_at", Value::as_str)?)
        .ok_or("\"started_at\" is not an RFC 3339 time")?;
    let endpoint = match fields.optional("url", Value::as_str)? {
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
        held_by: match fields.optional("listener", Value::as_str)? {
            Some("owner") => HeldBy::Owner,
            _ => HeldBy::Child,
        },
        restarts: fields.optional("restarts", Value::as_u64)?,
        origin: Origin {
            boot_id: fields
                .optional("boot_id", Value::as_str)?
                .map(str::to_owned),
            pid_ns: fields.optional("pid_ns", Value::as_u64)?,
            net_ns: fields.optional("net_ns", Value::as_u64)?,
        },
        app: match fields.optional("app", Value::as_object)? {
            None => None,
            Some(app) => {
                let app = Fields(app.clone());
                Some(AppInfo {
                    name: app.required("name", Value::as_str)?.to_owned(),
                    version: app
                        .optional("version", Value::as_str)?
                        .unwrap_or_default()
                        .to_owned(),
                    dir: app.optional("dir", Value::as_str)?.map(str::to_owned),
                })
            }
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

struct Fields(Map<String, Value>);

impl Fields {
    /// A field that may be missing, but has the right type if it is there.
    fn optional<'a, T: 'a>(
        &'a self,
        key: &str,
        cast: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, String> {
        match self.0.get(key) {
            None => Ok(None),
            Some(value) => cast(value)
                .map(Some)
                .ok_or_else(|| format!("{key:?} has the wrong type")),
        }
    }

    fn required<'a, T: 'a>(
        &'a self,
        key: &str,
        cast: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<T, String> {
        self.optional(key, cast)?
            .ok_or_else(|| format!("{key:?} is missing"))
    }

    fn parsed<T: std::str::FromStr<Err: fmt::Display>>(
        &self,
        key: &str,
    ) -> Result<Option<T>, String> {
        self.optional(key, Value::as_str)?
            .map(|text| text.parse().map_err(|e| format!("{key:?}: {e}")))
            .transpose()
    }
}

/// A JSON value in which no object has a key twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((key, Strict(value))) = access.next_entry::<String, Strict>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!(
                    "the key {key:?} stands twice"
                )));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
#[path = "record_json_tests.rs"]
mod tests;
