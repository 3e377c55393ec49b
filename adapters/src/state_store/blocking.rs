//! Calls that the disk may hold up as long as it likes, kept off the control thread.

/// Runs what may wait for the disk on a thread that may wait.
///
/// It always comes back: only a runtime that is going down drops its threads' results, and with them the one who waits.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => std::future::pending().await,
    }
}
