//! One connection, from accept to close: counted, ended gently at a drain or for another one, and cut at once when it is
//! idle then.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use daymark_core::http_server::ServerStats;
use hyper::server::conn::http1::{self, UpgradeableConnection};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;

use super::alarm::Alarm;
use super::answer::Answerer;
use super::app::App;
use super::crowd::{Crowd, Tenant};
use super::gate::Gate;
use super::limits::Limits;

/// What all connections of a server share: who is let in, what they are held to, and what they count together.
#[derive(Debug)]
pub(super) struct House {
    pub(super) gate: Gate,
    pub(super) limits: Limits,
    pub(super) crowd: Crowd,
    begun: AtomicU64,
    finished: AtomicU64,
}

impl House {
    pub(super) fn new(gate: Gate, limits: Limits) -> Self {
        Self {
            gate,
            limits,
            crowd: Crowd::default(),
            begun: AtomicU64::new(0),
            finished: AtomicU64::new(0),
        }
    }

    pub(super) fn stats(&self) -> ServerStats {
        let mut stats = ServerStats::default();
        // Finished is read first, so that the difference is never negative.
        let finished = self.finished();
        stats.total_requests = self.begun.load(Ordering::Acquire);
        stats.requests = stats.total_requests - finished;
        stats.total_connections = self.crowd.came();
        stats.connections = self.crowd.len() as u64;
        stats
    }

    pub(super) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Acquire)
    }
}

/// What the parts of one connection share.
#[derive(Debug)]
pub(super) struct Connection {
    house: Arc<House>,
    tenant: Arc<Tenant>,
    /// A request's head has come, let in or not, since somebody looked.
    asked: AtomicBool,
    /// Requests whose answer is complete, and waits to be sent.
    unsent: AtomicU32,
    upgraded: AtomicBool,
    /// It is to end, and the client has sent something before that which nobody has read yet.
    unread: AtomicBool,
    /// Its place among the connections allowed, given back when it closes.
    _place: OwnedSemaphorePermit,
}

impl Connection {
    pub(super) fn new(house: Arc<House>, place: OwnedSemaphorePermit) -> Arc<Self> {
        Arc::new(Self {
            tenant: house.crowd.add(),
            house,
            asked: AtomicBool::new(false),
            unsent: AtomicU32::new(0),
            upgraded: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            _place: place,
        })
    }

    pub(super) fn house(&self) -> &House {
        &self.house
    }

    pub(super) const fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// A request's head has come.
    pub(super) fn asked(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Whether one has since this was last asked.
    fn was_asked(&self) -> bool {
        self.asked.swap(false, Ordering::Relaxed)
    }

    pub(super) fn request(self: &Arc<Self>) -> RequestGuard {
        self.begin();
        RequestGuard(self.clone())
    }

    fn begin(&self) {
        self.tenant.begin();
        self.house.begun.fetch_add(1, Ordering::AcqRel);
    }

    fn end(&self) {
        let finished = self.house.finished.fetch_add(1, Ordering::AcqRel);
        self.tenant.end(finished);
    }

    /// The kernel has taken all there was to send.
    fn sent(&self) {
        if self.unsent.load(Ordering::Relaxed) > 0 {
            (0..self.unsent.swap(0, Ordering::Relaxed)).for_each(|_| self.end());
        }
    }

    fn has_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    fn is_idle(&self) -> bool {
        !self.tenant.is_active() && !self.has_unread()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.sent();
        if *self.upgraded.get_mut() {
            self.end();
        }
        self.house.crowd.remove(&self.tenant);
    }
}

/// A request is in flight as long as this exists, and then until its answer is sent.
#[derive(Debug)]
pub(super) struct RequestGuard(Arc<Connection>);

impl RequestGuard {
    /// From now on the connection as a whole counts as one request, until it closes.
    pub(super) fn upgraded(&self) {
        if !self.0.upgraded.swap(true, Ordering::Relaxed) {
            self.0.begin();
        }
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.unsent.fetch_add(1, Ordering::Relaxed);
    }
}

/// Serves one connection until it closes, or until a drain or another one in need of its place finds nothing left to do on
/// it.
pub(super) async fn serve<S: App>(
    stream: std::net::TcpStream,
    connection: Arc<Connection>,
    app: S,
) {
    let Ok(stream) = TcpStream::from_std(stream) else {
        return;
    };
    // Else a small frame waits for the last one's acknowledgement, up to 40 ms (tcp(7)). Not worth losing a connection.
    let _ = stream.set_nodelay(true);
    take_little_at_a_time(&stream);

    let limits = connection.house.limits;
    let io = TokioIo::new(Tracked {
        stream,
        connection: connection.clone(),
        stalled: None,
    });
    let mut http = pin!(
        http1::Builder::new()
            // See `head`.
            .header_read_timeout(None)
            .max_header_size(limits.max_header_bytes)
            .max_buf_size(limits.max_header_bytes)
            .serve_connection(io, Answerer::new(app, connection.clone()))
            .with_upgrades()
    );
    let tenant = &connection.tenant;
    poll_fn(|cx| {
        // It is polled by one task for all its life.
        tenant.wakes(cx.waker());
        Poll::Ready(())
    })
    .await;
    let mut head = pin!(Alarm::after(limits.header_timeout));
    let is_over = poll_fn(|cx| {
        // The connection comes first: what it has to do goes before what there is to end.
        if http.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        if tenant.leaves() {
            return Poll::Ready(tenant.leaves_at_once());
        }
        if tenant.is_active() {
            return Poll::Pending;
        }
        if connection.was_asked() || tenant.has_bodies() {
            head.as_mut().put_off(limits.header_timeout);
        }
        head.as_mut().poll(cx).map(|()| true)
    })
    .await;
    tenant.wakes_nobody();
    if !is_over {
        finish(http, &connection).await;
    }
}

type Http<S> = UpgradeableConnection<TokioIo<Tracked>, Answerer<S>>;

/// Lets a connection do what it has to do, and no more.
async fn finish<S: App>(mut http: Pin<&mut Http<S>>, connection: &Connection) {
    poll_fn(|cx| {
        if http.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if connection.has_unread() {
            return Poll::Pending;
        }
        // Not before: hyper closes a connection that it has read nothing from, whatever waits there.
        http.as_mut().graceful_shutdown();
        match http.as_mut().poll(cx) {
            Poll::Pending if !connection.is_idle() => Poll::Pending,
            _ => Poll::Ready(()),
        }
    })
    .await;
}

/// Has the kernel take no more than it can send soon. Else it takes megabytes, and asks for more only when a third of them is
/// read: who reads slowly but steadily looks for minutes like somebody who doesn't (TCP_NOTSENT_LOWAT in tcp(7)).
fn take_little_at_a_time(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
    #[cfg(not(target_os = "linux"))]
    let _ = SockRef::from(stream).set_send_buffer_size(UNSENT as usize);
}

/// How much may wait in the kernel to be sent, in bytes.
const UNSENT: u32 = 128 * 1024;

/// A stream that tells its [`Connection`] when the kernel has taken all there was to send, and that keeps it counted.
struct Tracked {
    stream: TcpStream,
    connection: Arc<Connection>,
    /// The client reads nothing, and until when that is waited for.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Tracked {
    /// Whether bytes have arrived that the runtime hasn't been told of yet. Then it will be, and reads them.
    fn has_unread(&self) -> bool {
        let mut one = [std::mem::MaybeUninit::uninit()];
        SockRef::from(&self.stream)
            .peek(&mut one)
            .is_ok_and(|n| n > 0)
    }

    /// Fails in place of a write that the client has held up for too long.
    fn in_time(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let connection = &self.connection;
        // What was upgraded is the app's.
        if connection.upgraded.load(Ordering::Relaxed) {
            return written;
        }
        if written.is_ready() {
            if self.stalled.take().is_some() {
                connection.tenant.keeps_up();
            }
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| {
            connection.tenant.keeps_waiting(Duration::ZERO);
            Box::pin(tokio::time::sleep(connection.house.limits.send_timeout))
        });
        let too_long = |()| Err(io::ErrorKind::TimedOut.into());
        stalled.as_mut().poll(cx).map(too_long)
    }
}

impl AsyncRead for Tracked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if self.connection.tenant.leaves() {
            let unread = read.is_pending() && self.has_unread();
            self.connection.unread.store(unread, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Tracked {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.in_time(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.in_time(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called by hyper when its own buffer is empty.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.sent();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
