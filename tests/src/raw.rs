//! Bytes to a server, and what it answers, as they are on the wire.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::client::PATIENCE;

/// How long a server may take nothing before the rest of what was to be sent is forgotten.
const UNTAKEN: Duration = Duration::from_secs(1);

/// A connection on which anything may be sent.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    rest: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Said {
    /// The status code.
    pub status: u16,
    /// All of the head, its first line included.
    pub head: String,
    /// The body, as long as the head says.
    pub body: String,
}

impl Said {
    /// A header's value, where there is exactly one.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().filter_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        });
        values.next().filter(|_| values.next().is_none())
    }
}

impl Raw {
    /// Connects.
    ///
    /// # Panics
    ///
    /// If it is refused.
    #[must_use]
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("somebody listens");
        let limited = stream.set_read_timeout(Some(PATIENCE));
        limited.expect("a time limit");
        let limited = stream.set_write_timeout(Some(UNTAKEN));
        limited.expect("a time limit");
        let rest = Vec::new();
        Self { stream, rest }
    }

    /// Sends these bytes, as far as the server takes them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // It may have answered, and closed, before it was sent all.
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// The same connection once more, to send on it from elsewhere.
    ///
    /// # Panics
    ///
    /// If there are no more descriptors.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            stream: self.stream.try_clone().expect("a descriptor"),
            rest: Vec::new(),
        }
    }

    /// Whether the server still takes these bytes.
    pub fn takes(&mut self, bytes: &str) -> bool {
        self.stream.write_all(bytes.as_bytes()).is_ok()
    }

    /// The next answer; none when there will be no more.
    ///
    /// # Panics
    ///
    /// If it is none.
    pub fn hear(&mut self) -> Option<Said> {
        let end = loop {
            if let Some(at) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.read_some() {
                assert!(self.rest.is_empty(), "half a head: {:?}", self.rest);
                return None;
            }
        };
        let head: Vec<u8> = self.rest.drain(..end).collect();
        let head = String::from_utf8(head).expect("a head in UTF-8");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut said = Said {
            status: status.expect("a status code"),
            head,
            body: String::new(),
        };
        let length = said.header("content-length");
        let length = length.map_or(0, |length| length.parse().expect("a length"));
        while self.rest.len() < length {
            assert!(self.read_some(), "half a body: {said:?}");
        }
        let body = self.rest.drain(..length).collect();
        said.body = String::from_utf8(body).expect("a body in UTF-8");
        Some(said)
    }

    /// Whether the server closes the connection, and says nothing before.
    #[must_use]
    pub fn is_closed(&mut self) -> bool {
        self.rest.is_empty() && !self.read_some()
    }

    /// All that comes until the server closes the connection.
    pub fn read_to_end(&mut self) -> String {
        while self.read_some() {}
        String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned()
    }

    fn read_some(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(size) => {
                self.rest.extend_from_slice(&chunk[..size]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("reading from the server: {error}"),
        }
    }
}

/// Sends these bytes on a connection of their own; the first answer.
///
/// # Panics
///
/// If there is none.
#[must_use]
pub fn answer_to(addr: SocketAddr, bytes: impl AsRef<[u8]>) -> Said {
    let mut raw = Raw::connect(addr);
    raw.send(bytes);
    raw.hear().expect("an answer")
}
