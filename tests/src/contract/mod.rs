//! The laws of the four traits, each as a test over any implementation.
//!
//! A suite asks for a *bench*: the implementation, and what its surroundings must do for it to be tested. The macros at the
//! end of each file make tests of all its laws, for one bench. A law can be tried by its name, too, which shows that what is
//! wrong with a [mutant](crate::mutants) breaks it.

#[cfg(target_os = "linux")]
pub mod child_process;
pub mod clock;
pub mod http_server;
pub mod memory_http;
pub mod port_picker;
pub mod state_store;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What takes longer hangs, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long to leave what is waited for alone.
const A_MOMENT: Duration = Duration::from_millis(1);

/// Waits for what must happen.
async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("never: {what}"),
    }
}

/// Lets a future do its first step, and drops it.
fn begin_and_drop<T>(future: impl Future<Output = T>) {
    let mut context = Context::from_waker(Waker::noop());
    drop(pin!(future).as_mut().poll(&mut context));
}

/// Waits until it is so. Asked again and again, for nothing tells of it.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let asking = async {
        while !is_so() {
            tokio::time::sleep(A_MOMENT).await;
        }
    };
    in_time(what, asking).await;
}

/// Whether a future that was never polled is done at once.
fn is_done_at_once<T>(future: impl Future<Output = T>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    matches!(pin!(future).as_mut().poll(&mut context), Poll::Ready(_))
}

/// Tries one law of a list, by its name.
#[macro_export]
macro_rules! law_named {
    ($law:ident, $bench:ident, [$($name:ident),+ $(,)?]) => {
        match $law {
            $(stringify!($name) => $name($bench).await,)+
            _ => panic!("no such law: {}", $law),
        }
    };
}

/// Makes a test of each law of a suite.
#[macro_export]
macro_rules! each_law {
    ($adapter:ident, $bench:expr, $suite:path, [$($law:ident),+ $(,)?]) => {
        mod $adapter {
            use super::*;
            use $suite as suite;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $law() {
                    suite::$law(&$bench).await;
                }
            )+
        }
    };
}
