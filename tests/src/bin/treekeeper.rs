//! `treekeeper [--listener] [--terminal] [NAME=VALUE…] -- CMD…`: keeps one tree of processes, for tests to ask, lose and kill.
//!
//! It says the pids of the guard and the main process, then how the main process ended, then that the tree is gone. Each byte
//! on stdin is what it asks for: T, I or K. The command's streams are its stderr, and an empty stdin or a new terminal.

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    unix::main()
}

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
mod unix {
    use std::ffi::{OsStr, OsString};
    use std::fs::File;
    use std::io::{self, Read as _, Write as _};
    use std::net::TcpListener;
    use std::os::fd::{AsFd as _, OwnedFd};
    use std::os::unix::ffi::OsStrExt as _;
    use std::process::ExitCode;
    use std::sync::Arc;

    use daymark_adapters::http_server::process_tree::{Ask, Exit, Spawn, Tree};
    use daymark_adapters::http_server::run_hidden_verb;
    use rustix::fs::{Mode, OFlags};
    use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};

    pub(super) fn main() -> ExitCode {
        if let Some(code) = run_hidden_verb(std::env::args_os().skip(1)) {
            return code;
        }
        let runtime = tokio::runtime::Runtime::new();
        let kept = runtime.and_then(|runtime| runtime.block_on(keep()));
        match kept {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(&format!("failed {error}"));
                ExitCode::FAILURE
            }
        }
    }

    async fn keep() -> io::Result<()> {
        let tree = Arc::new(Tree::spawn(spawn()?).await?);
        say(&format!("guard {}", tree.guard()));
        say(&format!("main {}", tree.main()));
        let asked = Arc::clone(&tree);
        std::thread::spawn(move || {
            for byte in io::stdin().lock().bytes() {
                match byte {
                    Ok(b'T') => asked.ask(Ask::Terminate),
                    Ok(b'I') => asked.ask(Ask::Interrupt),
                    Ok(b'K') => asked.ask(Ask::Kill),
                    _ => {}
                }
            }
        });
        match tree.ended().await {
            Exit::Code(code) => say(&format!("exit {code}")),
            Exit::Signal(signal) => say(&format!("signal {signal}")),
            Exit::Lost => say("lost"),
        }
        say(&format!("gone {}", tree.gone().await));
        Ok(())
    }

    fn spawn() -> io::Result<Spawn> {
        let mut arguments = std::env::args_os().skip(1);
        let mut env: Vec<(OsString, Option<OsString>)> = Vec::new();
        let mut listener = None;
        let mut terminal = None;
        for argument in arguments.by_ref() {
            match argument.to_str() {
                Some("--") => break,
                Some("--listener") => listener = Some(TcpListener::bind(("127.0.0.1", 0))?.into()),
                Some("--terminal") => terminal = Some(open_terminal()?),
                Some(pair) => {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    env.push((name.into(), Some(value.into())));
                }
                None => {}
            }
        }
        let stderr = || io::stderr().as_fd().try_clone_to_owned();
        Ok(Spawn {
            argv: arguments.collect(),
            env,
            terminal: terminal.is_some(),
            stdin: match terminal {
                Some(terminal) => terminal,
                None => File::open("/dev/null")?.into(),
            },
            stdout: stderr()?,
            stderr: stderr()?,
            listener,
        })
    }

    /// The end of a new terminal that is for programs. The other one stays open until this program ends.
    fn open_terminal() -> io::Result<OwnedFd> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let name = OsStr::from_bytes(name.to_bytes());
        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
        std::mem::forget(master);
        Ok(slave)
    }

    /// One line on stdout. Whoever listened may be gone, and that stops nothing.
    fn say(line: &str) {
        let mut stdout = io::stdout();
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }
}
