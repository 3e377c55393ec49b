//! The user's browser.

use std::io;

/// Shows a URL, and doesn't wait for the browser to end; only for a moment, to see whether it began.
///
/// # Errors
///
/// In words that don't hold the URL, for that may hold a token.
pub(super) fn show(url: &str) -> io::Result<()> {
    open::that_detached(url).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            io::Error::new(error.kind(), "there is no program that opens a browser")
        }
        kind => io::Error::new(kind, "the program that opens the browser failed"),
    })
}
