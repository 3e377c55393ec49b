//! Writes the HTML a person reads: the listing of a directory, and the frame that every page of ours shares.
//!
//! Invariants: names are escaped where they are shown and percent-encoded where they are linked; every link begins with
//! `./` or `../`, so that no name can become a scheme or a host; what would not be served is not listed.

use std::{ffi::OsString, fmt::Write as _, path::Path, time::SystemTime};

use super::{
    opened::is_http_date,
    resolve::{Miss, Root},
    url_path::{UrlPath, encode},
};

/// More than a person reads, and little enough for a browser to lay out at once.
const MOST_ENTRIES: usize = 2000;

const STYLE: &str = "\
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}\
body{max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.25rem;overflow-wrap:anywhere}\
table{width:100%;border-collapse:collapse}\
th,td{padding:.2rem .5rem;text-align:left;border-bottom:1px solid color-mix(in srgb,currentColor 15%,transparent)}\
td:first-child{overflow-wrap:anywhere}\
th+th,td+td{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\
a{text-decoration:none}a:hover{text-decoration:underline}";

struct Entry {
    name: OsString,
    is_directory: bool,
    length: u64,
    modified: Option<SystemTime>,
}

/// Lists `relative`, which `url` led to. Only `url` is shown: where a symlink leads is nobody's business.
pub(super) fn render(root: &Root, relative: &Path, url: &UrlPath) -> Result<String, Miss> {
    let (names, cut) = root.names_in(relative, MOST_ENTRIES)?;
    let entries = names.into_iter().filter_map(|name| {
        let (_, metadata) = root.stat(&relative.join(&name)).ok()?;
        Some(Entry {
            name,
            is_directory: metadata.is_dir(),
            length: metadata.len(),
            modified: metadata.modified().ok(),
        })
    });
    let mut entries: Vec<Entry> = entries.collect();
    entries.sort_by_cached_key(|entry| {
        let folded = entry.name.to_string_lossy().to_lowercase();
        (!entry.is_directory, folded, entry.name.clone())
    });

    let mut rows = String::new();
    if !url.is_root() {
        rows.push_str("<tr><td><a href=\"../\">../</a><td><td>\n");
    }
    rows.extend(entries.iter().map(row));
    let note = match (cut, entries.is_empty()) {
        (true, _) => format!("<p>Only {MOST_ENTRIES} entries are shown; there are more.</p>"),
        (false, true) => "<p>Nothing to show here.</p>".to_owned(),
        (false, false) => String::new(),
    };
    let main = format!(
        "<table>\n<thead><tr><th>Name<th>Size<th>Modified (UTC)</thead>\n<tbody>\n{rows}</tbody>\n</table>{note}"
    );
    Ok(page(&format!("Index of {}", url.display()), &main))
}

/// A whole page. `title` is text, `main` is HTML.
pub(super) fn page(title: &str, main: &str) -> String {
    let title = escape(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{main}\n</body>\n</html>\n"
    )
}

fn row(entry: &Entry) -> String {
    let slash = if entry.is_directory { "/" } else { "" };
    let name = escape(&entry.name.to_string_lossy());
    let size = if entry.is_directory {
        String::new()
    } else {
        human_size(entry.length)
    };
    format!(
        "<tr><td><a href=\"./{}{slash}\">{name}{slash}</a><td>{size}<td>{}\n",
        encode(&entry.name),
        entry.modified.and_then(day_and_time).unwrap_or_default(),
    )
}

fn human_size(bytes: u64) -> String {
    let mut scaled = bytes;
    let mut rest = 0;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if scaled < 1024 && unit == "B" {
            return format!("{scaled} B");
        }
        if scaled < 1024 {
            return format!("{scaled}.{} {unit}", rest * 10 / 1024);
        }
        (scaled, rest) = (scaled / 1024, scaled % 1024);
    }
    format!("{scaled} PiB")
}

/// `15 Nov 1994 08:12` of `Tue, 15 Nov 1994 08:12:31 GMT`.
fn day_and_time(time: SystemTime) -> Option<String> {
    let date = is_http_date(&time).then(|| httpdate::fmt_http_date(time))?;
    date.get(5..22).map(str::to_owned)
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' | '<' | '>' | '"' | '\'' => {
                // Writing to a `String` can't fail.
                let _ = write!(escaped, "&#{};", u32::from(character));
            }
            control if control.is_control() => escaped.push(char::REPLACEMENT_CHARACTER),
            plain => escaped.push(plain),
        }
    }
    escaped
}
