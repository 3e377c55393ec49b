//! An echo over websockets that ends when the server stops: `cargo run --example websocket`.
#![expect(
    clippy::print_stdout,
    reason = "it shows what happens, and is no server for others"
)]

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::{Router, routing::get};
use daymark::{Server, StopSignal};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder("websocket")
        .handle_signals()
        .start_with(|context| {
            let stop = context.stop_signal();
            Router::new().route(
                "/echo",
                get(async move |upgrade: WebSocketUpgrade| {
                    upgrade.on_upgrade(async move |socket| echo(socket, stop.clone()).await)
                }),
            )
        })?;
    println!("ws://{}/echo", server.addr());
    let report = server.wait()?;
    println!("drained {}, aborted {}", report.drained, report.aborted);
    Ok(())
}

/// Echoes until the peer closes, or the server begins to stop: then it says goodbye, and the drain needn't wait for the
/// deadline.
async fn echo(mut socket: WebSocket, mut stop: StopSignal) {
    loop {
        tokio::select! {
            () = stop.requested() => break,
            message = socket.recv() => match message {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
    // The peer may be gone already.
    let _ = socket.send(Message::Close(None)).await;
}
