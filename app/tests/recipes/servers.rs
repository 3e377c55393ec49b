//! Each server is started, found, asked and stopped.

use std::fs;

use serde_json::Value;

use crate::ground::{Ground, listening};
use crate::page;
use crate::processes::{descendants, left_of, listens_on};
use crate::programs::can_run;
use crate::running::{Running, await_nothing_left, get};

macro_rules! recipes {
    ($($test:ident: $name:literal, with $programs:expr, answers $answer:literal;)*) => {
        pub(crate) const TESTED: &[&str] = &[$($name),*];
        $(
            #[test]
            fn $test() {
                if can_run(&$programs) {
                    runs($name, $answer);
                }
            }
        )*
    };
}

recipes! {
    uvicorn: "uvicorn", with ["uvicorn"], answers "hello from app.py";
    uvicorn_with_a_descriptor: "uvicorn-fd", with ["uvicorn"], answers "hello from app.py";
    gunicorn: "gunicorn", with ["gunicorn"], answers "hello from wsgi.py";
    gunicorn_with_a_port: "gunicorn-port", with ["gunicorn"], answers "hello from wsgi.py";
    hypercorn: "hypercorn", with ["hypercorn"], answers "hello from app.py";
    python_http_server: "http-server", with ["python3"], answers "hello";
    jupyter_server: "jupyter", with ["jupyter", "jupyter-server"], answers "Jupyter Server";
    node: "node", with ["node"], answers "hello from server.js";
    node_with_a_descriptor: "node-fd", with ["node"], answers "hello from server.js";
    vite: "vite", with ["node", "vite"], answers "hello";
    nginx: "nginx", with ["nginx", "sed"], answers "hello";
    busybox_httpd: "busybox", with ["busybox"], answers "hello";
    a_server_that_chooses_its_port: "own-port", with ["python3"], answers "hello";
    a_server_on_ipv6: "ipv6", with ["python3"], answers "hello";
    rust_with_listenfd: "rust", with [], answers "hello from listening";
}

/// Runs a recipe, and asserts what holds for all of them.
fn runs(name: &str, answer: &str) {
    assert!(
        listening().is_file(),
        "build it: cargo build -p daymark --example listening"
    );
    let ground = Ground::new(name);
    let mut run = Running::begin(&ground, &page::recipe(name));
    let ready = run.await_event("ready");
    let url = ready["url"].as_str().expect("a URL");

    let got = get(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    assert!(got.starts_with("HTTP/1.") && got.contains(" 200 "), "{got}");
    assert!(got.contains(answer), "{got}");

    let record = record(&ready);
    for field in ["url", "port", "pid", "instance_id"] {
        assert_eq!(
            record[field], ready[field],
            "{field} in {record}, and in {ready}"
        );
    }
    assert_eq!(ground.status(), "live");

    let tree = descendants(run.pid());
    let port = ready["port"].as_u64().and_then(|port| port.try_into().ok());
    assert!(listens_on(&tree, port.expect("a port")), "{tree:?} {ready}");

    assert_eq!(ground.json("daymark stop")["ok"], true);
    run.ends_with(0);
    assert_eq!(left_of(&tree, &ground.mark()), [""; 0]);
    assert!(get(url).is_err(), "something answers at {url}");
    assert!(!record_file(&ready).exists());
}

#[test]
fn no_server_outlives_a_supervisor_that_is_killed() {
    for (name, program) in [
        ("gunicorn", "gunicorn"),
        ("hypercorn", "hypercorn"),
        ("nginx", "nginx"),
        ("vite", "vite"),
    ] {
        if !can_run(&[program]) {
            continue;
        }
        let ground = Ground::new(name);
        let mut run = Running::begin(&ground, &page::recipe(name));
        let ready = run.await_event("ready");
        let tree = descendants(run.pid());
        run.kill();
        await_nothing_left(&ground, &tree);
        let url = ready["url"].as_str().expect("a URL");
        assert!(get(url).is_err(), "something answers at {url}");
        assert_eq!(ground.status(), "stale");
    }
}

fn record(ready: &Value) -> Value {
    let text = fs::read(record_file(ready)).expect("a record");
    serde_json::from_slice(&text).expect("JSON")
}

fn record_file(ready: &Value) -> &std::path::Path {
    ready["state_file"].as_str().expect("a path").as_ref()
}
