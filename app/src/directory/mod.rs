//! Serves one directory over HTTP, as `daymark serve` does: files, listings, and for a single-page app its front page.
//!
//! It knows requests and answers. Which file a path names is `resolve`'s to decide; ranges, conditional requests and
//! content types are tower-http's, by way of `opened`. It knows no sockets, no names of servers and no state directory.
//!
//! Invariants
//!
//! 1. Nothing is written, ever.
//! 2. No answer holds a path of this machine: what it shows comes from the URL or from names inside the root.
//! 3. A redirect goes to this origin: its target begins with exactly one slash, whatever the request held.
//! 4. File system calls run on blocking threads, never on the one that polls the service.

mod beneath;
mod listing;
mod opened;
mod resolve;
mod url_path;

#[cfg(test)]
mod directory_test;

use std::{
    convert::Infallible,
    io,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
    request::Parts,
};
use http_body_util::{BodyExt as _, Empty, Full, combinators::UnsyncBoxBody};

use self::{
    opened::Opened,
    resolve::{Found, Miss, Root},
    url_path::UrlPath,
};

/// The body of an answer; it fails when the file can't be read to its end.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A service that answers GET and HEAD from one directory, and never from outside it.
///
/// Must be called within a Tokio runtime, as every `tower` service over Tokio's files must.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    root: Root,
    spa: bool,
}

impl Directory {
    /// Binds the service to the directory that `root` leads to now, symlinks followed.
    ///
    /// The directory may be deleted and made again while it is served, as build tools do.
    ///
    /// # Errors
    ///
    /// Whatever following `root` fails with, and [`io::ErrorKind::NotADirectory`] when it leads elsewhere.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let root = Root::open(root)?;
        Ok(Self { root, spa: false })
    }

    /// Answers paths that don't exist with `/index.html` where a page is wanted, for apps that route in the browser.
    #[must_use]
    pub(crate) fn spa(mut self, spa: bool) -> Self {
        self.spa = spa;
        self
    }

    /// Serves and lists names that begin with a dot. Without it only `/.well-known/` (RFC 8615) is served.
    #[must_use]
    pub(crate) fn hidden_files(mut self, hidden_files: bool) -> Self {
        self.root = self.root.hidden_files(hidden_files);
        self
    }

    async fn answer(self, request: Parts) -> Response<Body> {
        let Parts {
            method,
            uri,
            headers,
            ..
        } = request;
        let mut response = if method == Method::GET || method == Method::HEAD {
            let wants_page = accepts_html(&headers);
            match tokio::task::spawn_blocking(move || self.look_up(&uri, wants_page)).await {
                Ok(Ok(Answer::File(file))) => {
                    let file = file.respond(method.clone(), headers).await;
                    file.unwrap_or_else(|error| problem(Miss::from(error).into()))
                }
                Ok(Ok(Answer::Listing(html))) => page(StatusCode::OK, html),
                Ok(Ok(Answer::Redirect(to))) => redirect(to),
                Ok(Err(miss)) => problem(miss.into()),
                Err(_panicked_or_shutting_down) => problem(StatusCode::INTERNAL_SERVER_ERROR),
            }
        } else {
            let mut response = problem(StatusCode::METHOD_NOT_ALLOWED);
            set(&mut response, header::ALLOW, "GET, HEAD");
            response
        };
        if method == Method::HEAD {
            *response.body_mut() = Empty::new().map_err(|never| match never {}).boxed_unsync();
        }
        // The files are being worked on: a browser may keep them, but has to ask every time.
        set(&mut response, header::CACHE_CONTROL, "no-cache");
        set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        response
    }

    fn look_up(&self, uri: &Uri, wants_page: bool) -> Result<Answer, Miss> {
        let path = UrlPath::parse(uri.path()).ok_or(Miss::Refused)?;
        match self.root.find(&path) {
            Ok(Found::File(file)) => Ok(Answer::File(file)),
            Ok(Found::Directory { .. }) if !path.names_directory() => {
                Ok(Answer::Redirect(path.as_directory(uri.query())))
            }
            Ok(Found::Directory { relative }) => match self.root.index_of(&relative) {
                Err(Miss::Missing | Miss::Refused) => {
                    let listing = listing::render(&self.root, &relative, &path)?;
                    Ok(Answer::Listing(listing))
                }
                index => index.map(Answer::File),
            },
            Err(Miss::Missing) if self.spa && (wants_page || path.lacks_extension()) => {
                self.root.index_of(Path::new("")).map(Answer::File)
            }
            Err(miss) => Err(miss),
        }
    }
}

impl<B: Send + 'static> tower::Service<Request<B>> for Directory {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (request, _) = request.into_parts();
        let directory = self.clone();
        Box::pin(async move { Ok(directory.answer(request).await) })
    }
}

enum Answer {
    File(Opened),
    Listing(String),
    Redirect(String),
}

impl From<Miss> for StatusCode {
    fn from(miss: Miss) -> Self {
        match miss {
            // One answer for both: a refusal must not tell that there was something to refuse.
            Miss::Missing | Miss::Refused => Self::NOT_FOUND,
            Miss::Unreadable => Self::FORBIDDEN,
            Miss::Failed => Self::INTERNAL_SERVER_ERROR,
        }
    }
}

fn accepts_html(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(header::ACCEPT).into_iter();
    accept
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.to_ascii_lowercase().contains("text/html"))
}

fn redirect(to: String) -> Response<Body> {
    let Ok(location) = HeaderValue::try_from(to) else {
        return problem(StatusCode::BAD_REQUEST);
    };
    let mut response = problem(StatusCode::PERMANENT_REDIRECT);
    response.headers_mut().insert(header::LOCATION, location);
    response
}

fn problem(status: StatusCode) -> Response<Body> {
    let html = listing::page(&status.to_string(), "");
    page(status, html)
}

fn page(status: StatusCode, html: String) -> Response<Body> {
    let length = HeaderValue::from(html.len());
    let body = Full::from(html).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length);
    set(
        &mut response,
        header::CONTENT_TYPE,
        "text/html; charset=utf-8",
    );
    set(
        &mut response,
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'",
    );
    response
}

fn set(response: &mut Response<Body>, name: HeaderName, value: &'static str) {
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
}
