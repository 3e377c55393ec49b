//! Finds the server of the `hello` example, makes sure that it is the one, and asks it something:
//! `cargo run --example client`.
#![expect(
    clippy::print_stdout,
    reason = "it shows what happens, and is no server for others"
)]

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let found = daymark::wait_ready("hello", Duration::from_secs(60)).await?;
    println!("found {}", found.url().unwrap_or_default());

    let mut connection = daymark::connect("hello").await?;
    // Servers answer to their own address only.
    let host = connection.record.endpoint.addr();
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    connection.stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.stream.read_to_string(&mut answer).await?;
    println!("{answer}");

    println!("waiting for it to go …");
    daymark::wait_down("hello", Duration::from_secs(600)).await?;
    println!("gone");
    Ok(())
}
