//! Child processes under the laws of servers.
//!
//! A child's guard is this very program, started again with a hidden verb. A test's own program knows none, so the laws are
//! tried by another one, `lawkeeper`, a law at a time.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use daymark_adapters::http_server::{
    ChildConfig, ChildListener, ChildProcess, Passthrough, Readiness,
};
use daymark_adapters::port_picker::{BoundListener, Held, HeldPort, Loopback};
use daymark_core::port_picker::{Listener, PortPicker, PortPreference};
use daymark_core::record::InstanceId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::http_server::{HttpBench, keep};

/// How long to wait for an answer that must not come.
const UNANSWERED: Duration = Duration::from_secs(1);

/// The program `servant`, behind a listener of some kind.
struct Servant<L> {
    listener: Arc<L>,
    program: PathBuf,
    dir: tempfile::TempDir,
    pass_socket: bool,
}

impl<L: Listener> Servant<L> {
    async fn on(ports: impl PortPicker<Listener = L>, pass_socket: bool) -> Self {
        let picked = ports.pick(PortPreference::Any).await;
        let program = std::env::current_exe().expect("the path of this program");
        Self {
            listener: Arc::new(picked.expect("a port").listener),
            program: program.with_file_name("servant"),
            dir: tempfile::tempdir().expect("a directory"),
            pass_socket,
        }
    }
}

#[async_trait]
impl<L: ChildListener> HttpBench for Servant<L> {
    type Http = ChildProcess<L>;

    fn http(&self) -> Self::Http {
        let servant = self.program.clone().into();
        let command = match self.pass_socket {
            true => vec![
                "sh".into(),
                "-c".into(),
                "exec \"$0\" - <&3 3<&-".into(),
                servant,
            ],
            false => vec![servant, "{port}".into()],
        };
        let config = ChildConfig {
            command,
            name: "servant".parse().expect("a name"),
            state_dir: self.dir.path().to_owned(),
            instance_id: InstanceId::from_bits(1),
            readiness: Readiness::Auto,
            passthrough: Passthrough::Nothing,
            warn: Arc::new(|_| {}),
            interrupted: Arc::new(|| false),
        };
        ChildProcess::new(config).0
    }

    fn listener(&self) -> Arc<L> {
        self.listener.clone()
    }

    async fn is_answered(&self) -> bool {
        let answered = async {
            let mut stream = TcpStream::connect(self.listener.endpoint().addr()).await?;
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer.ends_with('\n'))
        };
        // Where the socket stays open, the kernel queues it, and nothing comes of it.
        let answered = tokio::time::timeout(UNANSWERED, answered).await;
        matches!(answered, Ok(Ok(true)))
    }
}

/// Tries `law` with a listener of a kind, in this process.
///
/// # Panics
///
/// If it is broken, or there is no such law.
pub async fn try_law(kind: &str, law: &str) {
    match kind {
        "passed" => keep(&Servant::<BoundListener>::on(Loopback::V4, true).await, law).await,
        "held" => keep(&Servant::<HeldPort>::on(Held, false).await, law).await,
        _ => panic!("no such listener: {kind}"),
    }
}

/// Lets `lawkeeper` try `law`.
///
/// # Panics
///
/// If it is broken.
pub fn let_try(lawkeeper: &str, kind: &str, law: &str) {
    let tried = Command::new(lawkeeper).args([kind, law]).output();
    let tried = tried.expect("run it");
    let words = String::from_utf8_lossy(&tried.stderr);
    assert!(tried.status.success(), "{words}");
}

/// Makes a test of each law, for children with a listener of a kind.
#[macro_export]
macro_rules! child_laws {
    ($adapter:ident, $lawkeeper:expr, $kind:literal) => {
        $crate::with_laws_of_every_server!($crate::child_laws, $adapter, $lawkeeper, $kind);
    };
    ($adapter:ident, $lawkeeper:expr, $kind:literal, [$($law:ident),+ $(,)?]) => {
        mod $adapter {
            $(
                #[test]
                fn $law() {
                    $crate::contract::child_process::let_try($lawkeeper, $kind, stringify!($law));
                }
            )+
        }
    };
}
