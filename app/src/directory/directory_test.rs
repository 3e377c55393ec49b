//! What a client sees of `Directory`, over real files in a temporary directory. Unix only: links, FIFOs and byte names.
//!
//! Longer than others: one short test for each thing that a request may try.
#![cfg(unix)]

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::{Directory, beneath::open_beneath, opened::is_http_date};

/// A root to serve, and beside it a file and a directory that must never be.
struct Site {
    scratch: TempDir,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Site {
    fn new(files: &[(&str, &str)]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let site = Self { scratch };
        fs::create_dir_all(site.root()).unwrap();
        fs::create_dir_all(site.outside("dir")).unwrap();
        fs::write(site.outside("dir/secret.txt"), "SECRET").unwrap();
        for (name, content) in files {
            site.write(OsStr::new(name), content);
        }
        site
    }

    fn root(&self) -> PathBuf {
        self.scratch.path().join("root")
    }

    fn outside(&self, name: &str) -> PathBuf {
        self.scratch.path().join("outside").join(name)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    fn write(&self, name: &OsStr, content: &str) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn touch(&self, name: &str, time: SystemTime) {
        let file = fs::File::open(self.path(name)).unwrap();
        file.set_modified(time).unwrap();
    }

    fn directory(&self) -> Directory {
        Directory::open(&self.root()).unwrap()
    }

    async fn get(&self, path: &str) -> Answer {
        get(self.directory(), path, &[]).await
    }

    async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        get(self.directory(), path, headers).await
    }

    async fn spa(&self, path: &str) -> Answer {
        get(self.directory().spa(true), path, &[]).await
    }
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    fn is(self, status: u16, body: &str) {
        assert_eq!((self.status.as_u16(), self.text()), (status, body));
    }

    fn links(&self) -> Vec<String> {
        let links = self.text().split("href=\"").skip(1);
        links
            .map(|rest| rest.split('"').next().unwrap().to_owned())
            .collect()
    }
}

async fn get(directory: Directory, path: &str, headers: &[(&str, &str)]) -> Answer {
    ask(directory, "GET", path, headers).await
}

async fn ask(directory: Directory, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let Ok(response) = directory.oneshot(request).await;
    let (parts, body) = response.into_parts();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

// Opening

#[test]
fn a_file_is_not_a_root() {
    let site = Site::new(&[("a.txt", "a")]);
    let error = Directory::open(&site.path("a.txt")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotADirectory);
}

#[test]
fn a_missing_root_is_an_error() {
    let site = Site::new(&[]);
    let error = Directory::open(&site.path("no")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

#[tokio::test]
async fn a_root_that_is_deleted_and_made_again_is_served_again() {
    let site = Site::new(&[("a.txt", "old")]);
    let directory = site.directory();
    fs::remove_dir_all(site.root()).unwrap();
    let gone = get(directory.clone(), "/a.txt", &[]).await;
    assert_eq!(gone.status, 404);
    site.write(OsStr::new("a.txt"), "new");
    get(directory, "/a.txt", &[]).await.is(200, "new");
}

// Files

#[tokio::test]
async fn a_file_has_a_type_a_length_and_validators() {
    let site = Site::new(&[("a.css", "body{}")]);
    let answer = site.get("/a.css").await;
    assert_eq!(answer.header("content-type"), "text/css; charset=utf-8");
    assert_eq!(answer.header("content-length"), "6");
    assert!(answer.headers.contains_key(header::ETAG));
    assert!(answer.headers.contains_key(header::LAST_MODIFIED));
    answer.is(200, "body{}");
}

#[tokio::test]
async fn only_text_that_cannot_name_its_encoding_is_given_a_charset() {
    let site = Site::new(&[("a.xml", ""), ("a.json", ""), ("a.html", ""), ("a", "")]);
    for (path, expected) in [
        ("/a.xml", "text/xml"),
        ("/a.json", "application/json"),
        ("/a.html", "text/html; charset=utf-8"),
        ("/a", "application/octet-stream"),
    ] {
        let answer = site.get(path).await;
        assert_eq!(answer.header("content-type"), expected, "{path}");
    }
}

#[tokio::test]
async fn head_answers_as_get_does_without_the_body() {
    let site = Site::new(&[("a.txt", "hello"), ("dir/b.txt", "b")]);
    for path in ["/a.txt", "/dir/", "/dir", "/missing"] {
        let head = ask(site.directory(), "HEAD", path, &[]).await;
        let get = site.get(path).await;
        assert_eq!((head.status, &head.headers), (get.status, &get.headers));
        assert_eq!(get.header("content-length"), get.body.len().to_string());
        assert!(head.body.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn other_methods_are_told_what_is_allowed() {
    let site = Site::new(&[("a.txt", "a")]);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "FOO"] {
        let answer = ask(site.directory(), method, "/a.txt", &[]).await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), "GET, HEAD");
    }
}

#[tokio::test]
async fn a_file_is_not_found_under_its_name_with_a_slash() {
    let site = Site::new(&[("a.txt", "a")]);
    assert_eq!(site.get("/a.txt/").await.status, 404);
    assert_eq!(site.get("/a.txt/b").await.status, 404);
}

#[tokio::test]
async fn a_file_from_before_1970_is_served_and_listed_without_a_date() {
    let site = Site::new(&[("dir/a.txt", "a")]);
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1_000_000_000);
    site.touch("dir/a.txt", before);
    assert_eq!(site.get("/dir/").await.links(), ["../", "./a.txt"]);
    let answer = site.get("/dir/a.txt").await;
    assert_eq!(answer.header("last-modified"), "");
    answer.is(200, "a");
}

/// Without a file, because most file systems can't hold such a time.
#[test]
fn a_time_past_the_year_9999_is_no_http_date() {
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    assert!(is_http_date(&last));
    assert_eq!(
        httpdate::fmt_http_date(last),
        "Fri, 31 Dec 9999 23:59:59 GMT"
    );
    assert!(!is_http_date(&(last + Duration::from_secs(1))));
}

#[tokio::test]
async fn a_name_is_bytes_and_need_not_be_utf8() {
    let site = Site::new(&[]);
    site.write(OsStr::from_bytes(b"caf\xe9.txt"), "latin");
    site.get("/caf%E9.txt").await.is(200, "latin");
}

#[tokio::test]
async fn a_name_too_long_for_the_file_system_is_missing() {
    let site = Site::new(&[]);
    let long = format!("/{}", "a".repeat(5000));
    assert_eq!(site.get(&long).await.status, 404);
    assert_eq!(site.get(&"/a".repeat(4000)).await.status, 404);
}

// Conditions and ranges

#[tokio::test]
async fn a_copy_that_is_still_good_is_not_sent_again() {
    let site = Site::new(&[("a.txt", "hello")]);
    let first = site.get("/a.txt").await;
    for (condition, validator) in [
        ("if-none-match", first.header("etag")),
        ("if-modified-since", first.header("last-modified")),
    ] {
        let again = site.get_with("/a.txt", &[(condition, validator)]).await;
        again.is(304, "");
    }
}

#[tokio::test]
async fn a_copy_of_another_version_is_replaced() {
    let site = Site::new(&[("a.txt", "hello")]);
    let etag = site.get("/a.txt").await.header("etag").to_owned();
    site.write(OsStr::new("a.txt"), "hello, again");
    let again = site.get_with("/a.txt", &[("if-none-match", &etag)]).await;
    again.is(200, "hello, again");
}

#[tokio::test]
async fn a_range_is_answered_with_that_part() {
    let site = Site::new(&[("a.txt", "0123456789")]);
    for (range, content_range, body) in [
        ("bytes=2-4", "bytes 2-4/10", "234"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=8-99", "bytes 8-9/10", "89"),
    ] {
        let answer = site.get_with("/a.txt", &[("range", range)]).await;
        assert_eq!(answer.header("content-range"), content_range);
        assert_eq!(answer.header("content-length"), body.len().to_string());
        answer.is(206, body);
    }
}

#[tokio::test]
async fn a_range_beyond_the_end_is_told_the_length() {
    let site = Site::new(&[("a.txt", "0123456789")]);
    let answer = site.get_with("/a.txt", &[("range", "bytes=10-")]).await;
    assert_eq!(answer.header("content-range"), "bytes */10");
    answer.is(416, "");
}

#[tokio::test]
async fn a_range_that_cannot_be_heeded_gets_the_whole_file() {
    let site = Site::new(&[("a.txt", "0123456789"), ("empty.txt", "")]);
    for range in ["bytes=0-1,4-5", "items=0-1", "bytes=-99", "nonsense"] {
        let answer = site.get_with("/a.txt", &[("range", range)]).await;
        answer.is(200, "0123456789");
    }
    let answer = site.get_with("/empty.txt", &[("range", "bytes=0-")]).await;
    answer.is(200, "");
}

#[tokio::test]
async fn a_range_means_nothing_to_head() {
    let site = Site::new(&[("a.txt", "0123456789")]);
    let range = [("range", "bytes=2-4")];
    let answer = ask(site.directory(), "HEAD", "/a.txt", &range).await;
    assert_eq!(answer.header("content-length"), "10");
    answer.is(200, "");
}

#[tokio::test]
async fn a_range_of_the_same_version_is_heeded() {
    let site = Site::new(&[("a.txt", "0123456789")]);
    let first = site.get("/a.txt").await;
    for name in ["etag", "last-modified"] {
        let headers = [("range", "bytes=2-4"), ("if-range", first.header(name))];
        site.get_with("/a.txt", &headers).await.is(206, "234");
    }
}

#[tokio::test]
async fn a_range_of_another_version_gets_the_whole_file() {
    let site = Site::new(&[("a.txt", "0123456789")]);
    let weak = format!("W/{}", site.get("/a.txt").await.header("etag"));
    for validator in ["\"other\"", &weak, "Tue, 15 Nov 1994 08:12:31 GMT", "?"] {
        let headers = [("range", "bytes=2-4"), ("if-range", validator)];
        site.get_with("/a.txt", &headers)
            .await
            .is(200, "0123456789");
    }
}

// Containment

#[tokio::test]
async fn no_spelling_of_a_parent_leads_out() {
    let site = Site::new(&[("dir/a.txt", "a")]);
    for path in [
        "/../outside/dir/secret.txt",
        "/dir/../../outside/dir/secret.txt",
        "/%2e%2e/outside/dir/secret.txt",
        "/.%2E/outside/dir/secret.txt",
        "/..%2foutside/dir/secret.txt",
        "/dir/..%2f..%2foutside%2fdir%2fsecret.txt",
        "/..%5coutside/dir/secret.txt",
        "/..\\outside\\dir\\secret.txt",
        "/%252e%252e/outside/dir/secret.txt",
        "//../outside/dir/secret.txt",
        "/dir/..",
        "/dir/.",
        "/..;/outside/dir/secret.txt",
        "/%c0%ae%c0%ae/outside/dir/secret.txt",
        "/%2e%2e%00/outside/dir/secret.txt",
    ] {
        for hidden in [false, true] {
            let directory = site.directory().hidden_files(hidden);
            let answer = get(directory, path, &[]).await;
            assert_eq!(answer.status, 404, "{path}");
        }
    }
}

#[tokio::test]
async fn an_absolute_path_means_nothing_to_the_machine() {
    let site = Site::new(&[]);
    let secret = site.outside("dir/secret.txt");
    let secret = secret.to_str().unwrap();
    for path in [
        format!("/{secret}"),
        format!("//{secret}"),
        format!("/{}", secret.replace('/', "%2f")),
        format!("/C:{secret}"),
    ] {
        assert_eq!(site.get(&path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_nul_is_in_no_name() {
    let site = Site::new(&[("a.txt", "a")]);
    assert_eq!(site.get("/a.txt%00").await.status, 404);
    assert_eq!(site.get("/a.txt%00.html").await.status, 404);
}

#[tokio::test]
async fn a_path_is_decoded_once() {
    let site = Site::new(&[("%41.txt", "percent"), ("A.txt", "letter")]);
    site.get("/%2541.txt").await.is(200, "percent");
    site.get("/%41.txt").await.is(200, "letter");
}

#[tokio::test]
async fn an_encoded_slash_separates_nothing() {
    let site = Site::new(&[("dir/a.txt", "a")]);
    assert_eq!(site.get("/dir%2Fa.txt").await.status, 404);
    assert_eq!(site.get("/dir/%2Fa.txt").await.status, 404);
}

#[tokio::test]
async fn a_percent_that_escapes_nothing_is_itself() {
    let site = Site::new(&[("100%", "all")]);
    site.get("/100%").await.is(200, "all");
}

#[tokio::test]
async fn a_symlink_to_the_inside_is_followed() {
    let site = Site::new(&[("dir/a.txt", "a")]);
    symlink("dir/a.txt", site.path("relative.txt")).unwrap();
    symlink(site.path("dir"), site.path("absolute")).unwrap();
    site.get("/relative.txt").await.is(200, "a");
    site.get("/absolute/a.txt").await.is(200, "a");
}

#[tokio::test]
async fn a_symlink_to_the_outside_is_missing() {
    let site = Site::new(&[]);
    symlink(site.outside("dir/secret.txt"), site.path("file.txt")).unwrap();
    symlink("../outside/dir", site.path("dir")).unwrap();
    symlink("..", site.path("up")).unwrap();
    for path in [
        "/file.txt",
        "/dir",
        "/dir/",
        "/dir/secret.txt",
        "/up/",
        "/up/outside/dir/secret.txt",
        "/up/root/",
    ] {
        let answer = site.get(path).await;
        // `up/root` comes back in, and is the root itself.
        let expected = if path == "/up/root/" { 200 } else { 404 };
        assert_eq!(answer.status, expected, "{path}");
        assert!(!answer.text().contains("secret"), "{path}");
    }
}

#[tokio::test]
async fn a_sibling_whose_name_begins_like_the_root_is_outside() {
    let site = Site::new(&[]);
    let sibling = site.scratch.path().join("rootless.txt");
    fs::write(&sibling, "SECRET").unwrap();
    symlink(&sibling, site.path("link.txt")).unwrap();
    assert_eq!(site.get("/link.txt").await.status, 404);
}

#[tokio::test]
async fn what_exists_behind_an_outward_link_cannot_be_told() {
    let site = Site::new(&[("index.html", "app")]);
    symlink(site.outside("dir"), site.path("link")).unwrap();
    for name in ["secret.txt", "missing", "secret.txt/more", "missing/more"] {
        let answer = site.spa(&format!("/link/{name}")).await;
        assert_eq!(answer.status, 404, "{name}");
    }
}

#[tokio::test]
async fn a_symlink_that_leads_nowhere_is_missing() {
    let site = Site::new(&[]);
    symlink("loop", site.path("loop")).unwrap();
    symlink("no-such-file", site.path("dangling")).unwrap();
    for path in ["/loop", "/loop/a", "/dangling"] {
        assert_eq!(site.get(path).await.status, 404, "{path}");
    }
}

#[test]
fn a_directory_swapped_for_an_outward_link_never_shows_the_outside() {
    let site = Site::new(&[("dir/secret.txt", "public")]);
    fs::write(site.outside("dir/outside-only"), "").unwrap();
    symlink(site.outside("dir"), site.path("link")).unwrap();
    let (dir, link, spare) = (site.path("dir"), site.path("link"), site.path("spare"));
    let swap = |out: &Path, into: &Path| {
        fs::rename(&dir, out).unwrap();
        fs::rename(into, &dir).unwrap();
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                swap(&spare, &link);
                swap(&link, &spare);
            }
        });
        let asked = scope.spawn(|| {
            let mut shown = String::new();
            for _ in 0..2000 {
                shown.push_str(runtime.block_on(site.get("/dir/secret.txt")).text());
                shown.push_str(runtime.block_on(site.get("/dir/")).text());
            }
            shown
        });
        let shown = asked.join();
        done.store(true, Ordering::Relaxed);
        let shown = shown.unwrap();
        assert!(shown.contains("public") && shown.contains("secret.txt"));
        assert!(!shown.contains("SECRET"), "a file from outside was served");
        assert!(!shown.contains("outside-only"), "the outside was listed");
    });
}

#[tokio::test]
async fn what_is_neither_file_nor_directory_is_missing() {
    let site = Site::new(&[]);
    let _socket = UnixListener::bind(site.path("socket")).unwrap();
    make_fifo(&site.path("fifo"));
    symlink("fifo", site.path("index.html")).unwrap();
    for path in ["/fifo", "/socket", "/index.html"] {
        let answer = tokio::time::timeout(Duration::from_secs(30), site.get(path)).await;
        assert_eq!(answer.expect("it blocked").status, 404, "{path}");
    }
    assert!(site.get("/").await.links().is_empty());
}

#[test]
fn a_fifo_swapped_in_after_the_check_does_not_block() {
    let site = Site::new(&[]);
    make_fifo(&site.path("fifo"));
    let (opened, outcome) = mpsc::channel();
    let root = site.root();
    std::thread::spawn(move || opened.send(open_beneath(&root, Path::new("fifo")).is_ok()));
    outcome
        .recv_timeout(Duration::from_secs(30))
        .expect("it blocked");
}

fn make_fifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status();
    let made = made.expect("this test needs the mkfifo program");
    assert!(made.success(), "mkfifo failed");
}

#[tokio::test]
async fn an_unreadable_file_is_forbidden() {
    let site = Site::new(&[("a.txt", "a")]);
    let nothing = fs::Permissions::from_mode(0o000);
    fs::set_permissions(site.path("a.txt"), nothing).unwrap();
    // Nothing is unreadable for root, so the system is asked what to expect.
    let readable = fs::File::open(site.path("a.txt")).is_ok();
    let expected = if readable { 200 } else { 403 };
    assert_eq!(site.get("/a.txt").await.status, expected);
}

#[test]
fn a_denied_permission_is_forbidden_and_an_unknown_failure_is_ours() {
    for (kind, status) in [
        (std::io::ErrorKind::PermissionDenied, 403),
        (std::io::ErrorKind::NotFound, 404),
        (std::io::ErrorKind::NotADirectory, 404),
        (std::io::ErrorKind::Other, 500),
    ] {
        let miss = super::Miss::from(std::io::Error::from(kind));
        assert_eq!(StatusCode::from(miss), status);
    }
}

// Hidden names

#[tokio::test]
async fn hidden_names_are_missing() {
    let site = Site::new(&[
        (".env", "KEY"),
        (".git/config", "c"),
        ("a/.b/c", "c"),
        ("plain.txt", ""),
    ]);
    symlink(".env", site.path("env.txt")).unwrap();
    symlink(".git", site.path("git")).unwrap();
    symlink("plain.txt", site.path(".alias")).unwrap();
    for path in [
        "/.env",
        "/%2eenv",
        "/.git/",
        "/.git/config",
        "/a/.b/c",
        "/env.txt",
        "/git/config",
        "/.alias",
    ] {
        assert_eq!(site.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn hidden_names_are_served_when_asked_for() {
    let site = Site::new(&[(".env", "KEY")]);
    let directory = site.directory().hidden_files(true);
    get(directory.clone(), "/.env", &[]).await.is(200, "KEY");
    let listing = get(directory, "/", &[]).await;
    assert_eq!(listing.links(), ["./.env"]);
}

#[tokio::test]
async fn well_known_is_served_at_the_top_and_nowhere_else() {
    let site = Site::new(&[
        (".well-known/a.txt", "a"),
        (".well-known/.b", "b"),
        ("dir/.well-known/a.txt", "a"),
    ]);
    site.get("/.well-known/a.txt").await.is(200, "a");
    assert_eq!(site.get("/.well-known/.b").await.status, 404);
    assert_eq!(site.get("/dir/.well-known/a.txt").await.status, 404);
}

// Directories

#[tokio::test]
async fn a_directory_without_its_slash_is_redirected_with_the_query() {
    let site = Site::new(&[("a dir/b.txt", "b")]);
    let answer = site.get("/a%20dir?x=1&y=%2F").await;
    assert_eq!(answer.status, 308);
    assert_eq!(answer.header("location"), "/a%20dir/?x=1&y=%2F");
}

#[tokio::test]
async fn a_redirect_never_names_another_host_or_scheme() {
    let site = Site::new(&[("evil.com/a", ""), ("javascript:x/a", ""), ("a/b/c", "")]);
    for (path, location) in [
        ("//evil.com", "/evil.com/"),
        ("///evil.com", "/evil.com/"),
        ("/javascript:x", "/javascript%3Ax/"),
        ("//a//b", "/a/b/"),
    ] {
        let answer = site.get(path).await;
        assert_eq!(answer.header("location"), location, "{path}");
    }
    for path in ["//evil.com/%2e%2e", "/\\evil.com", "/%5cevil.com"] {
        assert_eq!(site.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn an_index_stands_for_its_directory() {
    let site = Site::new(&[("index.html", "top"), ("dir/index.html", "dir")]);
    site.get("/").await.is(200, "top");
    site.get("/dir/").await.is(200, "dir");
}

#[tokio::test]
async fn an_index_that_may_not_be_served_leaves_the_listing() {
    let site = Site::new(&[("a.txt", "a"), ("dir/index.html/b", "")]);
    symlink(
        site.outside("dir/secret.txt"),
        site.root().join("index.html"),
    )
    .unwrap();
    assert_eq!(site.get("/").await.links(), ["./dir/", "./a.txt"]);
    assert_eq!(
        site.get("/dir/").await.links(),
        ["../", "./index.html/"],
        "a directory is no index"
    );
}

#[tokio::test]
async fn a_listing_puts_directories_first_and_names_in_order() {
    let site = Site::new(&[("b.txt", ""), ("A.txt", ""), ("z/x", ""), ("Y/x", "")]);
    let answer = site.get("/").await;
    assert_eq!(answer.links(), ["./Y/", "./z/", "./A.txt", "./b.txt"]);
}

#[tokio::test]
async fn a_listing_shows_sizes_and_times() {
    let site = Site::new(&[("a", &"x".repeat(10)), ("b", &"x".repeat(1536))]);
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(784_887_151);
    site.touch("a", time);
    let answer = site.get("/").await;
    for expected in ["<td>10 B<td>15 Nov 1994 08:12", "<td>1.5 KiB<td>"] {
        assert!(answer.text().contains(expected), "{expected}");
    }
}

#[tokio::test]
async fn every_link_of_a_listing_leads_to_the_file_it_names() {
    let site = Site::new(&[]);
    let names: [&[u8]; 14] = [
        b"a?b#c%.txt",
        b"javascript:alert(1)",
        b"\"quoted\" 'both'",
        b"<script>",
        b"two\nlines",
        b"caf\xe9",
        "\u{e9}t\u{e9} \u{202e}".as_bytes(),
        b"&amp;",
        b"%2e%2e",
        b"%41",
        b" ",
        b"a;b,c+d=e@f",
        b"~",
        b"\x1b[31m",
    ];
    for (content, name) in names.iter().enumerate() {
        let name = [b"dir/", *name].concat();
        site.write(OsStr::from_bytes(&name), &content.to_string());
    }
    let listing = site.get("/dir/").await;
    let mut seen = Vec::new();
    for link in listing.links() {
        if let Some(name) = link.strip_prefix("./") {
            let answer = site.get(&format!("/dir/{name}")).await;
            assert_eq!(answer.status, 200, "{name}");
            seen.push(answer.text().parse::<usize>().unwrap());
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, Vec::from_iter(0..names.len()));
    assert!(!listing.text().contains("<script>"));
    assert!(!listing.text().contains('\u{1b}'));
}

#[tokio::test]
async fn a_title_shows_the_path_and_is_escaped() {
    let site = Site::new(&[("<b>&/a", "")]);
    let answer = site.get("/%3Cb%3E&/").await;
    let title = "<title>Index of /&#60;b&#62;&#38;/</title>";
    assert!(answer.text().contains(title), "{}", answer.text());
}

#[tokio::test]
async fn a_listing_omits_what_would_not_be_served() {
    let site = Site::new(&[("a.txt", ""), (".hidden", ""), ("back\\slash", "")]);
    site.write(OsStr::new(".well-known/a.txt"), "");
    symlink(site.outside("dir/secret.txt"), site.path("out.txt")).unwrap();
    symlink(".hidden", site.path("shown.txt")).unwrap();
    assert_eq!(site.get("/").await.links(), ["./a.txt"]);
}

#[tokio::test]
async fn a_listing_says_when_it_is_cut() {
    let site = Site::new(&[]);
    for number in 0..2001 {
        fs::write(site.path(&number.to_string()), "").unwrap();
    }
    let answer = site.get("/").await;
    assert_eq!(answer.links().len(), 2000);
    assert!(answer.text().contains("Only 2000 entries are shown"));
    fs::remove_file(site.path("0")).unwrap();
    assert!(!site.get("/").await.text().contains("Only 2000"));
}

#[tokio::test]
async fn an_empty_directory_has_a_listing() {
    let site = Site::new(&[]);
    let answer = site.get("/").await;
    assert_eq!(answer.status, 200);
    assert!(answer.links().is_empty());
}

// Single-page apps

#[tokio::test]
async fn an_app_answers_a_route_with_its_front_page() {
    let site = Site::new(&[("index.html", "app"), ("a.txt", "a")]);
    for path in ["/users/7", "/users/", "/a.txt/b"] {
        let answer = site.spa(path).await;
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        answer.is(200, "app");
    }
    site.spa("/a.txt").await.is(200, "a");
}

#[tokio::test]
async fn an_app_has_no_page_for_a_missing_asset() {
    let site = Site::new(&[("index.html", "app")]);
    assert_eq!(site.spa("/main.js").await.status, 404);
}

#[tokio::test]
async fn an_app_answers_a_browser_whatever_the_route_looks_like() {
    let site = Site::new(&[("index.html", "app")]);
    let accept = [("accept", "Text/HTML,application/xml;q=0.9")];
    let answer = get(site.directory().spa(true), "/user@example.com", &accept).await;
    answer.is(200, "app");
}

#[tokio::test]
async fn an_app_has_no_page_for_what_is_refused() {
    let site = Site::new(&[("index.html", "app"), (".env", "KEY")]);
    let accept = [("accept", "text/html")];
    for path in ["/.env", "/.nothing", "/../outside", "/a%00"] {
        let answer = get(site.directory().spa(true), path, &accept).await;
        assert_eq!(answer.status, 404, "{path}");
    }
}

#[tokio::test]
async fn an_app_without_a_front_page_is_missing() {
    let site = Site::new(&[]);
    assert_eq!(site.spa("/route").await.status, 404);
}

// Every answer

#[tokio::test]
async fn every_answer_is_revalidated_and_never_sniffed() {
    let site = Site::new(&[("a.txt", "a"), ("dir/b", "")]);
    let etag = site.get("/a.txt").await.header("etag").to_owned();
    let headers = [("if-none-match", &*etag)];
    for answer in [
        site.get("/a.txt").await,
        site.get_with("/a.txt", &headers).await,
        site.get("/dir").await,
        site.get("/dir/").await,
        site.get("/missing").await,
        ask(site.directory(), "POST", "/", &[]).await,
    ] {
        assert_eq!(answer.header("cache-control"), "no-cache");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
}

#[tokio::test]
async fn our_own_pages_run_nothing_and_files_are_left_alone() {
    let site = Site::new(&[("a.html", "a")]);
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    for path in ["/", "/missing"] {
        let answer = site.get(path).await;
        assert_eq!(answer.header("content-security-policy"), policy);
    }
    let file = site.get("/a.html").await;
    assert_eq!(file.header("content-security-policy"), "");
}

#[tokio::test]
async fn no_answer_holds_a_path_of_the_machine() {
    let site = Site::new(&[("dir/a.txt", "a")]);
    symlink(site.path("dir"), site.path("link")).unwrap();
    let machine = site.scratch.path().to_str().unwrap();
    for path in ["/", "/dir", "/link/", "/missing", "/../x", "/dir/a.txt/b"] {
        let answer = site.get(path).await;
        assert!(!answer.text().contains(machine), "{path}");
        assert!(!format!("{:?}", answer.headers).contains(machine), "{path}");
    }
}
