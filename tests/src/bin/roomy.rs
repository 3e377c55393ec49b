//! `roomy`: the example `hello`, with room for more connections than anybody should have.

use std::time::Duration;

use axum::{Router, routing::get};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let router = Router::new().route("/", get(|| async { "hello\n" }));
    let server = daymark::Server::builder("hello")
        .app(router)
        .max_connections(20_000)
        .handle_signals()
        .start()?;
    server.wait()?;
    server.stop(Duration::ZERO)?;
    Ok(())
}
