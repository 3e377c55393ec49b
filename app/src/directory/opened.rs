//! Answers a request from a file that is already open, through tower-http's file service.
//!
//! The file is handed over open, by tower-http's `Backend`, because a path could name another file by the time it is
//! opened. Which file it is, and whether it may be served, was decided before.
//!
//! What tower-http 0.7 leaves to us is mended here: `If-Range`, `Range` where it would be wrong to heed it, the
//! charset of text, and modification times that an HTTP date can't hold, on which it would panic.

use std::{
    ffi::OsString,
    fs::{File, Metadata},
    future::{Ready, ready},
    io,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tower_http::services::{ServeDir, fs};

use super::Body;

/// A regular file, open for reading, and the name it was asked for by.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    name: OsString,
    file: Arc<File>,
    stat: Stat,
}

impl Opened {
    pub(super) fn new(name: OsString, file: File, metadata: &Metadata) -> Self {
        let stat = Stat {
            length: metadata.len(),
            modified: metadata.modified().ok().filter(is_http_date),
        };
        Self {
            name,
            file: Arc::new(file),
            stat,
        }
    }

    pub(super) async fn respond(
        self,
        method: Method,
        mut headers: HeaderMap,
    ) -> io::Result<Response<Body>> {
        if headers.contains_key(header::RANGE) && !self.heeds_range(&method, &headers).await? {
            headers.remove(header::RANGE);
        }
        let mut response = self.serve(method, headers).await?;
        if let Some(content_type) = response.headers_mut().get_mut(header::CONTENT_TYPE) {
            name_charset(content_type);
        }
        Ok(response)
    }

    /// Whether a range is answered with a part. The whole file is a legal answer to any range (RFC 9110, 14.2), and the
    /// only one when the client's copy is of another version (13.1.5), the method is HEAD, or the unit unknown.
    async fn heeds_range(&self, method: &Method, headers: &HeaderMap) -> io::Result<bool> {
        let range = headers.get(header::RANGE);
        let Some(range) = range
            .and_then(|range| range.to_str().ok())
            .and_then(|range| range.strip_prefix("bytes="))
        else {
            return Ok(false);
        };
        // tower-http refuses a suffix longer than the file, and finds a byte in an empty one.
        let suffix = range.strip_prefix('-').and_then(|last| last.parse().ok());
        let too_long = suffix.is_some_and(|last: u64| last > self.stat.length);
        if method != Method::GET || self.stat.length == 0 || too_long {
            return Ok(false);
        }
        let Some(validator) = headers.get(header::IF_RANGE) else {
            return Ok(true);
        };
        let current = self.clone().serve(Method::HEAD, HeaderMap::new()).await?;
        let current = current.headers();
        Ok([header::ETAG, header::LAST_MODIFIED]
            .iter()
            .any(|name| current.get(name) == Some(validator)))
    }

    async fn serve(self, method: Method, headers: HeaderMap) -> io::Result<Response<Body>> {
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        // The name only tells tower-http the content type; it opens whatever `Backend::open` returns.
        let response = ServeDir::with_backend(PathBuf::from(&self.name), self)
            .ignore_multi_range_requests(true)
            .try_call(request)
            .await?;
        Ok(response.map(BodyExt::boxed_unsync))
    }
}

/// XML is left alone, for it names its own encoding and a header would overrule it (RFC 7303, section 3).
fn name_charset(content_type: &mut HeaderValue) {
    let named = content_type
        .to_str()
        .ok()
        .filter(|kind| kind.starts_with("text/") && *kind != "text/xml" && !kind.contains(';'))
        .and_then(|kind| HeaderValue::try_from(format!("{kind}; charset=utf-8")).ok());
    if let Some(named) = named {
        *content_type = named;
    }
}

/// An HTTP date has four digits for the year, and httpdate none before 1970; it panics on all others.
pub(super) fn is_http_date(time: &SystemTime) -> bool {
    const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);
    time.duration_since(SystemTime::UNIX_EPOCH)
        .is_ok_and(|since| since < YEAR_10000)
}

impl fs::Backend for Opened {
    type File = Reader;
    type Metadata = Stat;
    type OpenFuture = Ready<io::Result<Reader>>;
    type MetadataFuture = Ready<io::Result<Stat>>;

    fn open(&self, _: PathBuf) -> Self::OpenFuture {
        ready(self.file.try_clone().map(|file| Reader {
            file: file.into(),
            stat: self.stat,
        }))
    }

    fn metadata(&self, _: PathBuf) -> Self::MetadataFuture {
        ready(Ok(self.stat))
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Stat {
    length: u64,
    modified: Option<SystemTime>,
}

impl fs::Metadata for Stat {
    fn is_dir(&self) -> bool {
        false
    }

    fn modified(&self) -> io::Result<SystemTime> {
        self.modified
            .ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> u64 {
        self.length
    }
}

#[derive(Debug)]
pub(super) struct Reader {
    file: tokio::fs::File,
    stat: Stat,
}

impl fs::File for Reader {
    type Metadata = Stat;
    type MetadataFuture<'a> = Ready<io::Result<Stat>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        ready(Ok(self.stat))
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_read(context, buffer)
    }
}

impl AsyncSeek for Reader {
    fn start_seek(mut self: Pin<&mut Self>, position: io::SeekFrom) -> io::Result<()> {
        Pin::new(&mut self.file).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut self.file).poll_complete(context)
    }
}
