//! What somebody else's program does, to be run as another user or in other namespaces. It says a line when it is done, and
//! stays until its stdin ends.
//!
//! - `stranger listen PORT FILE`: takes the port, accepts whoever comes, answers like a server, and writes down every byte
//!   that it is sent. `stranger queue PORT FILE` listens and never accepts.
//! - `stranger lock FILE`: opens a file that is there for reading, and locks it.
//! - `stranger own DIR [WORD]`: makes DIR, owns it, and leaves its pid and WORD in the lock file; without one, publishes a
//!   record as well.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["listen", port, file] => listen(port, file, true),
        ["queue", port, file] => listen(port, file, false),
        ["lock", file] => {
            let file = File::open(file)?;
            file.try_lock().map_err(io::Error::from)?;
            say_and_stay("locked")
        }
        ["own", dir, word @ ..] => own(Path::new(dir), word.first().copied()),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Its own end, and with it all that it has open, is that of who asked for it.
fn say_and_stay(word: &str) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{word}")?;
    out.flush()?;
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

fn listen(port: &str, file: &str, accepts: bool) -> io::Result<()> {
    let port: u16 = port.parse().map_err(io::Error::other)?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let mut heard = OpenOptions::new().append(true).create(true).open(file)?;
    let port = listener.local_addr()?.port();
    if accepts {
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever hangs up is the next one's turn.
                drop(hear(stream, &mut heard));
            }
        });
        return say_and_stay(&port.to_string());
    }
    say_and_stay(&port.to_string())?;
    drop(listener);
    Ok(())
}

/// All that comes, until there is nothing more for a while.
fn hear(mut stream: std::net::TcpStream, heard: &mut File) -> io::Result<()> {
    let mut bytes = [0; 4096];
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    loop {
        let count = stream.read(&mut bytes)?;
        if count == 0 {
            return Ok(());
        }
        heard.write_all(&bytes[..count])?;
        heard.sync_data()?;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    }
}

fn own(dir: &Path, word: Option<&str>) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let lock = File::create(dir.join("server.lock"))?;
    lock.try_lock().map_err(io::Error::from)?;
    let pid = std::process::id();
    let phase = word.unwrap_or("serving");
    writeln!(&lock, "{pid} - {phase} -")?;
    if word.is_some() {
        return say_and_stay("owned");
    }
    let origin = daymark_adapters::identity::origin();
    let text = format!(
        r#"{{"schema":1,"port":9,"pid":{pid},"started_at":"2026-01-01T00:00:00Z","instance_id":"{:032x}","boot_id":{:?},"pid_ns":{},"net_ns":{}}}"#,
        7,
        origin.boot_id.clone().unwrap_or_default(),
        origin.pid_ns.unwrap_or_default(),
        origin.net_ns.unwrap_or_default(),
    );
    let temporary = dir.join("new");
    std::fs::write(&temporary, text)?;
    let record = File::open(&temporary)?;
    record.try_lock().map_err(io::Error::from)?;
    std::fs::rename(&temporary, dir.join("server.json"))?;
    say_and_stay("owned")
}
