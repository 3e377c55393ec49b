//! Spans of time, as people write and read them.

use std::time::Duration;

/// Longer than anybody waits, and short enough to add to any clock's reading.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Reads `500ms`, `10s`, `1.5m`, `1h`, or a plain number of seconds.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match &text[number.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        unit => return Err(format!("{unit:?} is not one of ms, s, m and h")),
    };
    let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let span = number
        .parse::<f64>()
        .ok()
        .filter(|_| plain)
        .and_then(|number| Duration::try_from_secs_f64(number * seconds).ok())
        .ok_or("write it as 500ms, 10s, 1m or 1h")?;
    match span <= LONGEST {
        true => Ok(span),
        false => Err("that is longer than a year".to_owned()),
    }
}

/// The span in one or two units.
pub(super) fn words(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{} ms", span.as_millis()),
        1..10 if span.subsec_millis() >= 100 => {
            format!("{seconds}.{} s", span.subsec_millis() / 100)
        }
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Milliseconds, for JSON.
pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        let read = |text| parse(text).map(|span| span.as_millis());
        assert_eq!(read("10s"), Ok(10_000));
        assert_eq!(read("500ms"), Ok(500));
        assert_eq!(read("1.5m"), Ok(90_000));
        assert_eq!(read("2h"), Ok(7_200_000));
        assert_eq!(read("7"), Ok(7_000));
        assert_eq!(read("0"), Ok(0));
    }

    #[test]
    fn spans_are_written_as_exactly_as_people_read_them() {
        let said = |millis| words(Duration::from_millis(millis));
        assert_eq!(said(41), "41 ms");
        assert_eq!(said(1_050), "1 s");
        assert_eq!(said(1_570), "1.5 s");
        assert_eq!(said(10_900), "10 s");
        assert_eq!(said(90_000), "1 min");
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for bad in [
            "", "s", "-1s", "1d", "inf", "nan", "1e3", "1 s", "1.2.3", "1µs", "9999h",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
