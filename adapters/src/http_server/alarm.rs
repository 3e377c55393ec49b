//! An alarm that is put off with every request, and hardly ever goes off.
//!
//! To set the runtime's timer anew for each request costs almost a tenth of the whole request. So it stays where it is until it goes
//! off, and is only then set to when it is due.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

pin_project! {
    /// Ready when it is due. It must be polled by one and the same task.
    pub(super) struct Alarm {
        #[pin]
        timer: Sleep,
        is_set: bool,
        due: Instant,
    }
}

impl Alarm {
    pub(super) fn after(time: Duration) -> Self {
        let due = Instant::now() + time;
        Self {
            timer: sleep_until(due),
            is_set: false,
            due,
        }
    }

    /// It is due so much from now, and not before.
    pub(super) fn put_off(self: Pin<&mut Self>, time: Duration) {
        *self.project().due = Instant::now() + time;
    }
}

impl Future for Alarm {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        while !*this.is_set || this.timer.is_elapsed() {
            if this.timer.is_elapsed() {
                if this.timer.deadline() >= *this.due {
                    return Poll::Ready(());
                }
                this.timer.as_mut().reset(*this.due);
            }
            *this.is_set = true;
            // A task that has used up its budget would be told that it isn't time yet, and nobody would wake it then.
            let _ = Pin::new(&mut unconstrained(this.timer.as_mut())).poll(cx);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn it_goes_off_when_it_is_due() {
        let before = Instant::now();
        Alarm::after(SOON).await;
        assert!(before.elapsed() >= SOON);
    }

    #[tokio::test]
    async fn it_goes_off_no_sooner_than_it_was_put_off_to() {
        let mut alarm = pin!(Alarm::after(SOON));
        poll_fn(|cx| Poll::Ready(alarm.as_mut().poll(cx).is_pending())).await;
        let before = Instant::now();
        alarm.as_mut().put_off(3 * SOON);
        alarm.await;
        assert!(before.elapsed() >= 3 * SOON);
    }

    #[tokio::test]
    async fn a_task_without_budget_is_woken_too() {
        let mut alarm = pin!(Alarm::after(SOON));
        poll_fn(|cx| {
            while tokio::task::coop::poll_proceed(cx)
                .map(|one| one.made_progress())
                .is_ready()
            {}
            Poll::Ready(alarm.as_mut().poll(cx).is_pending())
        })
        .await;
        let went_off = tokio::time::timeout(500 * SOON, alarm).await;
        assert!(went_off.is_ok());
    }
}
