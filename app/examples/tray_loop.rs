//! A desktop program whose main thread belongs to a window or tray loop: `cargo run --example tray_loop`.
//!
//! The server runs beside it. The loop hears what happens through a channel, and never waits for the server.
#![expect(
    clippy::print_stdout,
    reason = "it shows what happens, and is no server for others"
)]

use std::sync::mpsc;
use std::time::Duration;

use axum::{Router, routing::get};
use daymark::{LifecycleEvent, Port, Server};

enum TrayEvent {
    Server(LifecycleEvent),
    Quit,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (send, events) = mpsc::channel();

    let quit = send.clone();
    let router = Router::new()
        .route("/", get(|| async { "POST nothing, GET /quit to quit\n" }))
        .route(
            "/quit",
            get(move || async move {
                let _ = quit.send(TrayEvent::Quit);
                "bye\n"
            }),
        );
    let server = Server::builder("tray-loop")
        .app(router)
        .port(Port::Sticky)
        .start()?;
    println!("{}quit", server.url());

    let mut lifecycle = server.subscribe();
    std::thread::spawn(move || {
        while let Some(event) = lifecycle.blocking_next() {
            if send.send(TrayEvent::Server(event)).is_err() {
                break;
            }
        }
    });

    // What a tray library's own loop would be.
    for event in events {
        match event {
            TrayEvent::Quit => break,
            TrayEvent::Server(LifecycleEvent::Stopped(_)) => break,
            TrayEvent::Server(event) => println!("{event:?}"),
        }
    }
    let report = server.stop(Duration::from_secs(5))?;
    println!("drained {}, aborted {}", report.drained, report.aborted);
    Ok(())
}
