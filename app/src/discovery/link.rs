//! A link by which a browser gets in, asked for from outside.

use daymark_adapters::http_server::{AskError, ask_for_link};
use thiserror::Error;

use super::{ConnectError, Connection, Place};

/// Why there is no link.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// There is nobody who may be asked.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server was asked, and gave none.
    #[error(transparent)]
    Ask(#[from] AskError),
}

impl Place {
    /// A link that lets one browser in, once, within a minute: it holds a code, and not the token. Where the server asks for
    /// no token, its URL. Needs a tokio runtime with I/O and time enabled, and takes as long as the server does: it may be
    /// dropped at any time.
    ///
    /// # Errors
    ///
    /// [`LinkError`]. The token is sent to nobody but the [proven](Place::connect) writer of the record.
    pub async fn one_time_link(&self) -> Result<String, LinkError> {
        let sighting = self.look();
        let open = sighting.record.as_ref().filter(|r| r.token.is_none());
        if let Some(record) = open.filter(|_| sighting.is_live()) {
            return Ok(record.endpoint.url());
        }
        let Connection { stream, record } = self.connect().await?;
        Ok(ask_for_link(stream, &record).await?)
    }
}
