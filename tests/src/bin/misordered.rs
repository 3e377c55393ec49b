//! `misordered --state-dir DIR …`: a server by Daymark's protocol that does one thing in a wrong order, which `FAULT` names.
//!
//! It shows what a sweep of all system calls is worth: one that finds nothing wrong with this would find nothing at all.

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    unix::main()
}

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
mod unix {
    use std::fs::{DirBuilder, File};
    use std::io::{self, Read as _, Seek as _, Write as _};
    use std::net::TcpListener;
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    use std::path::{Path, PathBuf};
    use std::process::ExitCode;

    use daymark_adapters::record_json;
    use daymark_adapters::state_store::{LOCK, RECORD};
    use daymark_tests::sample;
    use tokio::runtime::Builder;
    use tokio::signal::unix::{SignalKind, signal};

    pub(super) fn main() -> ExitCode {
        let fault = std::env::var("FAULT").unwrap_or_default();
        match serve(&fault) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                if fault != "silent" {
                    let _ = writeln!(io::stderr(), "error: {error}");
                }
                ExitCode::FAILURE
            }
        }
    }

    fn serve(fault: &str) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mut asked = runtime.block_on(async { signal(SignalKind::terminate()) })?;
        let dir = PathBuf::from(std::env::args_os().nth(2).unwrap_or_default());
        let made = DirBuilder::new().mode(0o700).create(&dir);
        made.or_else(|error| if dir.is_dir() { Ok(()) } else { Err(error) })?;
        let lock = open(&dir.join(LOCK))?;
        lock.try_lock()?;
        let tmp = dir.join(format!(".{RECORD}.{:032x}.tmp", std::process::id()));
        let mut listener = Some(TcpListener::bind("127.0.0.1:0")?);
        let port = listener
            .as_ref()
            .map_or(Ok(0), |l| l.local_addr().map(|a| a.port()))?;
        let mut record = sample::record(u128::from(std::process::id()), port);
        record.pid = std::process::id();
        if fault == "publish before bind" {
            listener = None;
        }
        hint(&lock, "serving", port)?;
        let published = publish(fault, &dir, &tmp, &record_json::write(&record));
        if published.is_err() && fault != "litter" {
            // It may be there or not.
            let _ = std::fs::remove_file(&tmp);
        }
        let vouching = published?;
        let listener = match listener {
            Some(listener) => listener,
            None => TcpListener::bind(("127.0.0.1", port))?,
        };
        std::thread::spawn(move || answer(&listener));
        runtime.block_on(asked.recv());
        hint(&lock, "stopping", port)?;
        if fault == "release before withdraw" {
            lock.unlock()?;
        }
        vouching.unlock()?;
        std::fs::remove_file(dir.join(RECORD))?;
        lock.unlock()
    }

    fn open(path: &Path) -> io::Result<File> {
        let mut options = File::options();
        options
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600);
        options.open(path)
    }

    /// The record's file, locked.
    fn publish(fault: &str, dir: &Path, tmp: &Path, record: &[u8]) -> io::Result<File> {
        let path = dir.join(RECORD);
        let mut file = open(if fault == "write in place" {
            &path
        } else {
            tmp
        })?;
        if fault != "lock after rename" {
            file.try_lock()?;
        }
        let (one, other) = record.split_at(record.len() / 2);
        file.write_all(one)?;
        file.write_all(other)?;
        if fault != "write in place" {
            std::fs::rename(tmp, &path)?;
        }
        if fault == "lock after rename" {
            file.try_lock()?;
        }
        Ok(file)
    }

    fn hint(mut lock: &File, phase: &str, port: u16) -> io::Result<()> {
        let pid = std::process::id();
        let line = format!("{pid} {pid:032x} {phase} {port}\n");
        lock.rewind()?;
        lock.set_len(0)?;
        lock.write_all(line.as_bytes())
    }

    fn answer(listener: &TcpListener) {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 1024];
            // Whoever goes away gets no answer.
            let _ = stream.read(&mut request);
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    }
}
