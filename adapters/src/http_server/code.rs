//! The client's half of a link for a browser: asks a server, by its token, for a code.

use std::future::Future;
use std::pin::pin;

use bytes::Bytes;
use daymark_core::record::{ServerRecord, Token};
use futures_util::future::{Either, select};
use http::header::{AUTHORIZATION, CONNECTION, HOST};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;

use super::gate::{CODES_PATH, with_code};

/// More than any code is long.
const LONGEST: usize = 256;

/// Why a server gave no code.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum AskError {
    /// It answers, and gives none. One that was made before there were codes doesn't.
    #[error("the server gives no link: it answered with status {0}")]
    Refused(StatusCode),
    /// It doesn't answer as it should.
    #[error("the server does not answer: {0}")]
    Broken(String),
}

fn broken(error: impl std::fmt::Display) -> AskError {
    AskError::Broken(error.to_string())
}

/// A link that lets one browser in, once. Where the record has no token, its plain URL. The stream must lead to the
/// record's writer: it is sent the token.
///
/// # Errors
///
/// [`AskError`]. It never holds the token or a code.
pub async fn ask_for_link(stream: TcpStream, record: &ServerRecord) -> Result<String, AskError> {
    let url = record.endpoint.url();
    let Some(token) = &record.token else {
        return Ok(url);
    };
    let mut bearer =
        HeaderValue::from_str(&format!("Bearer {}", token.reveal())).map_err(broken)?;
    bearer.set_sensitive(true);
    let request = Request::post(CODES_PATH)
        .header(HOST, record.endpoint.addr().to_string())
        .header(AUTHORIZATION, bearer)
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(broken)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let asking = async move {
        let answer = sender.send_request(request).await.map_err(broken)?;
        if answer.status() != StatusCode::CREATED {
            return Err(AskError::Refused(answer.status()));
        }
        let body = Limited::new(answer.into_body(), LONGEST).collect().await;
        let body = body.map_err(broken)?.to_bytes();
        let text = std::str::from_utf8(&body).map_err(broken)?;
        // Only what is made like one is put into a URL.
        let code: Token = text.parse().map_err(|_| broken("that is no code"))?;
        Ok(code)
    };
    let code = while_running(asking, connection).await?;
    Ok(with_code(&url, code.reveal()))
}

/// Waits for an answer, while its connection is driven. That may end in the same moment as the answer is there.
async fn while_running<T>(answer: impl Future<Output = T>, connection: impl Future) -> T {
    match select(pin!(answer), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, answer)) => answer.await,
    }
}
