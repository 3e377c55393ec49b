//! The user's browser.

use std::io;

/// Shows a URL in the browser that `$BROWSER` names, or else the desktop's, and doesn't wait for the browser to end; only for a moment, to see whether it began.
///
/// # Errors
///
/// In words that don't hold the URL, for that may hold a token.
pub(super) fn show(url: &str) -> io::Result<()> {
    if chosen().any(|program| open::with_detached(url, program).is_ok()) {
        return Ok(());
    }
    open::that_detached(url).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            io::Error::new(error.kind(), "there is no program that opens a browser")
        }
        kind => io::Error::new(kind, "the program that opens the browser failed"),
    })
}

/// The programs that the user has named for it, the favourite first, as xdg-open(1) and others read it.
fn chosen() -> impl Iterator<Item = String> {
    let named = match cfg!(unix) {
        true => std::env::var("BROWSER").unwrap_or_default(),
        false => String::new(),
    };
    let programs: Vec<String> = named.split(':').map(str::to_owned).collect();
    programs.into_iter().filter(|program| !program.is_empty())
}
