use std::num::NonZeroU16;

use daymark_core::record::InstanceId;
use proptest::prelude::*;

use super::*;

fn three_fields(more: &str) -> String {
    format!(r#"{{"port":41873,"pid":8123,"started_at":"2026-11-22T06:25:00.123456Z"{more}}}"#)
}

#[test]
fn the_three_original_fields_make_a_record() {
    let record = read(three_fields("").as_bytes()).unwrap();
    assert_eq!(record.endpoint.url(), "http://127.0.0.1:41873/");
    assert_eq!(record.pid, 8123);
    assert_eq!(write_time(record.started_at), "2026-11-22T06:25:00.123456Z");
    assert_eq!(record.instance_id, None);
    assert_eq!(
        record.held_by,
        HeldBy::Child,
        "nothing says that the writer holds the socket"
    );
}

#[test]
fn times_as_others_write_them_are_read() {
    for time in [
        "2026-11-22T06:25:00+00:00",
        "2026-11-22T07:25:00.5+01:00",
        "2026-11-22T06:25:00.1",
    ] {
        let text = format!(r#"{{"port":1,"pid":1,"started_at":"{time}"}}"#);
        assert!(read(text.as_bytes()).is_ok(), "{time}");
    }
}

#[test]
fn unknown_fields_and_a_larger_schema_are_read_past() {
    let text = three_fields(r#","schema":99,"colour":{"deep":[1,2.5,null,true]}"#);
    assert!(read(text.as_bytes()).is_ok());
}

#[test]
fn a_url_must_fit_its_port() {
    for (url, fits) in [
        ("http://[::1]:41873/", true),
        ("http://127.0.0.1:41874/", false),
        ("http://localhost:41873/", false),
        ("http://10.0.0.1:41873/", false),
    ] {
        let text = three_fields(&format!(r#","url":"{url}""#));
        assert_eq!(read(text.as_bytes()).is_ok(), fits, "{url}");
    }
}

#[test]
fn what_is_no_record_says_why() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (bytes, why) in [
        (&b""[..], "not valid JSON"),
        (b"{\"port\":1", "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b"\xff\xfe", "not valid JSON"),
        (b"{\"port\":1,\"port\":1}", "stands twice"),
        (b"{\"a\":{\"b\":1,\"b\":2}}", "stands twice"),
        (b"{\"port\":\"80\"}", "wrong type"),
        (b"{\"port\":80.0}", "wrong type"),
        (b"{\"port\":true}", "wrong type"),
        (b"{\"port\":null}", "wrong type"),
        (b"{\"port\":0}", "not a port"),
        (b"{\"port\":65536}", "not a port"),
        (b"{\"port\":-1}", "wrong type"),
        (b"{\"port\":1}", "\"pid\" is missing"),
        (b"{\"port\":1,\"pid\":0}", "not a process id"),
        (b"{\"port\":1,\"pid\":4294967296}", "not a process id"),
        (
            b"{\"port\":1,\"pid\":1,\"started_at\":\"today\"}",
            "not an RFC 3339 time",
        ),
        (
            b"{\"port\":1,\"pid\":1,\"started_at\":\"+10000-01-01T00:00:00\"}",
            "not an RFC 3339 time",
        ),
        (
            b"{\"port\":1,\"pid\":1,\"started_at\":\"0000-01-01T00:00:00+00:01\"}",
            "not an RFC 3339 time",
        ),
        (deep.as_bytes(), "not valid JSON"),
    ] {
        let reason = read(bytes).unwrap_err();
        assert!(reason.contains(why), "{reason:?} should say {why:?}");
    }
}

#[test]
fn only_the_record_on_disk_has_the_token() {
    let text = three_fields(r#","token":"0123456789abcdef""#);
    let record = read(text.as_bytes()).unwrap();
    assert!(
        String::from_utf8(write(&record))
            .unwrap()
            .contains("0123456789abcdef")
    );
    assert!(!without_token(&record).contains("0123456789abcdef"));
}

fn any_record() -> impl Strategy<Value = ServerRecord> {
    let identity = (
        any::<Option<u128>>(),
        proptest::option::of("[a-z0-9][a-z0-9._-]{0,63}"),
    );
    let origin = (
        any::<Option<u64>>(),
        any::<Option<u64>>(),
        proptest::option::of(".{0,40}"),
    );
    let address = (any::<NonZeroU16>(), any::<bool>(), 1..=i32::MAX as u32);
    // Years 0000 to 9999: RFC 3339 has no others.
    let time = -62_167_219_200_000_000_i64..=253_402_300_799_999_999;
    let rest = (
        time,
        any::<bool>(),
        proptest::option::of("[A-Za-z0-9_-]{16,128}"),
        proptest::option::of(".{0,20}"),
    );
    (identity, origin, address, rest).prop_map(
        |((id, name), (pid_ns, net_ns, boot_id), (port, v6, pid), (time, owner, token, app))| {
            ServerRecord {
                endpoint: if v6 {
                    Endpoint::v6(port)
                } else {
                    Endpoint::v4(port)
                },
                pid,
                started_at: Timestamp::from_unix_micros(time),
                name: name.map(|name| name.parse().unwrap()),
                instance_id: id.map(InstanceId::from_bits),
                held_by: if owner { HeldBy::Owner } else { HeldBy::Child },
                restarts: (!owner).then_some(u64::from(pid)),
                origin: Origin {
                    boot_id,
                    pid_ns,
                    net_ns,
                },
                app: app.map(|name| AppInfo {
                    dir: (!v6).then(|| format!("/{name}")),
                    name,
                    version: "1".into(),
                }),
                token: token.map(|token| token.parse().unwrap()),
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_reads_back(record in any_record()) {
        prop_assert_eq!(read(&write(&record)), Ok(record));
    }

    #[test]
    fn a_part_of_a_record_is_never_one(record in any_record(), at in any::<prop::sample::Index>()) {
        let whole = write(&record);
        // Without its line feed a record is still whole.
        let part = &whole[..at.index(whole.len() - 1)];
        prop_assert!(read(part).is_err());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
    }
}
