//! A server that others can find: `cargo run --example hello`, then `daymark status hello` in another terminal.
#![expect(
    clippy::print_stdout,
    reason = "it shows what happens, and is no server for others"
)]

use std::time::Duration;

use axum::{Router, routing::get};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let router = Router::new().route("/", get(|| async { "hello\n" }));
    let server = daymark::Server::builder("hello")
        .app(router)
        .handle_signals()
        .start()?;
    println!(
        "{} is published in {}",
        server.url(),
        server.state_file().display()
    );
    println!("Press Ctrl-C to stop.");
    server.wait()?;
    let report = server.stop(Duration::ZERO)?;
    println!(
        "stopped: drained {}, aborted {}",
        report.drained, report.aborted
    );
    Ok(())
}
