//! `servant [--workers N] [--daemon] PORT`: a server of another program's, that knows nothing of who runs it.
//!
//! In place of a port, `-` is a listening socket at stdin. It answers each request with a line: when the main process began,
//! in nanoseconds, and the pid of who answers. SIGTERM stops it gracefully: what was accepted is answered. Its workers serve
//! on the same socket; so does its daemon, which was forked twice, is in a session of its own, and is deaf to SIGTERM.

#[cfg(unix)]
fn main() -> std::io::Result<()> {
    unix::main()
}

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
mod unix {
    use std::io;
    use std::net::TcpListener as StdListener;
    use std::os::fd::{AsFd as _, OwnedFd};
    use std::process::{Command, Stdio};
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::signal::unix::{SignalKind, signal};
    use tokio::task::JoinSet;

    /// How long a request to `/slow` takes.
    const SLOW: Duration = Duration::from_millis(50);

    #[derive(Default)]
    struct Options {
        workers: u32,
        daemon: bool,
        /// Only starts another one in a session of its own.
        fork: bool,
        deaf: bool,
        launch: Option<String>,
        socket: String,
    }

    pub(super) fn main() -> io::Result<()> {
        let options = options();
        if options.fork {
            rustix::process::setsid()?;
            again(
                &options,
                &io::stdin().as_fd().try_clone_to_owned()?,
                "--deaf",
            )?;
            return Ok(());
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(serve(options))
    }

    fn options() -> Options {
        let mut options = Options::default();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--workers" => {
                    options.workers = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(0);
                }
                "--daemon" => options.daemon = true,
                "--fork" => options.fork = true,
                "--deaf" => options.deaf = true,
                "--launch" => options.launch = arguments.next(),
                _ => options.socket = argument,
            }
        }
        options
    }

    /// Another process of this launch, on the same socket.
    fn again(options: &Options, socket: &OwnedFd, role: &str) -> io::Result<std::process::Child> {
        let mut command = Command::new(std::env::current_exe()?);
        if role == "--deaf" {
            // As daemons do. So nobody knows of its end by that of its output.
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        command
            .args(["--launch", options.launch.as_deref().unwrap_or_default()])
            .args([role, "-"])
            .stdin(Stdio::from(socket.try_clone()?))
            .spawn()
    }

    async fn serve(mut options: Options) -> io::Result<()> {
        let mut asked = signal(SignalKind::terminate())?;
        let listener = match options.socket.parse::<u16>() {
            Ok(port) => TcpListener::bind(("127.0.0.1", port)).await?.into_std()?,
            Err(_) => StdListener::from(io::stdin().as_fd().try_clone_to_owned()?),
        };
        if options.launch.is_none() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            options.launch = Some(now.unwrap_or_default().as_nanos().to_string());
            let socket: OwnedFd = listener.try_clone()?.into();
            for _ in 0..options.workers {
                again(&options, &socket, "--worker")?;
            }
            if options.daemon {
                again(&options, &socket, "--fork")?.wait()?;
            }
        }
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let launch = options.launch.unwrap_or_default();
        let line = format!("{launch} {}\n", std::process::id());
        let mut requests = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    // One that was taken back meanwhile is nobody's loss.
                    if let Ok((stream, _)) = accepted {
                        requests.spawn(answer(stream, line.clone()));
                    }
                }
                Some(_) = asked.recv(), if !options.deaf => break,
            }
        }
        drop(listener);
        while requests.join_next().await.is_some() {}
        Ok(())
    }

    async fn answer(mut stream: TcpStream, line: String) -> io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        if head.starts_with(b"GET /slow ") {
            tokio::time::sleep(SLOW).await;
        }
        let length = line.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{line}"
        );
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    }
}
