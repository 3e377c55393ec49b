//! A client that does one thing at a time, so that a test can leave it in the middle of any.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A test that hangs longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    /// Read, and not looked at yet.
    rest: Vec<u8>,
}

/// An answer, as far as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// Whether all of it came.
    pub whole: bool,
}

impl Client {
    /// Connects.
    ///
    /// # Panics
    ///
    /// If it is refused.
    #[must_use]
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("somebody listens");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time limit");
        let rest = Vec::new();
        Self { stream, rest }
    }

    /// Many, each with a request for `path` on its way.
    #[must_use]
    pub fn crowd(addr: SocketAddr, size: usize, path: &str) -> Vec<Self> {
        let join = || {
            let mut client = Self::connect(addr);
            client.ask(path);
            client
        };
        (0..size).map(|_| join()).collect()
    }

    /// Sends these bytes.
    pub fn send(&mut self, bytes: &str) {
        self.stream
            .write_all(bytes.as_bytes())
            .expect("the server takes what is sent");
    }

    /// Sends a request.
    pub fn ask(&mut self, path: &str) {
        self.ask_with(path, "");
    }

    /// Sends a request with more headers, each with the end of its line.
    ///
    /// # Panics
    ///
    /// If the server doesn't take it.
    pub fn ask_with(&mut self, path: &str, headers: &str) {
        let host = self.stream.peer_addr().expect("it is connected");
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n"
        ));
    }

    /// Sends a request and reads the answer.
    pub fn get(&mut self, path: &str) -> Answer {
        self.ask(path);
        self.answer()
    }

    /// Reads an answer's head: its status, and how long its body will be, if that is said.
    pub fn head(&mut self) -> (u16, Option<usize>) {
        let end = loop {
            if let Some(at) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.read_some(), "the answer ends in its head");
        };
        let head: Vec<u8> = self.rest.drain(..end).collect();
        let head = String::from_utf8(head).expect("a head in UTF-8");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            (name.eq_ignore_ascii_case("content-length")).then(|| value.parse().expect("a length"))
        });
        (status.expect("a status code"), length)
    }

    /// Reads an answer with a stated length.
    pub fn answer(&mut self) -> Answer {
        let (status, length) = self.head();
        let length = length.expect("the answer says how long it is");
        while self.rest.len() < length && self.read_some() {}
        let have = self.rest.len().min(length);
        Answer {
            status,
            body: self.rest.drain(..have).collect(),
            whole: have == length,
        }
    }

    /// Reads until the server closes the connection; how much came.
    pub fn read_to_end(&mut self) -> usize {
        while self.read_some() {}
        self.rest.len()
    }

    /// Reads what there is; false when the connection is over.
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

/// Whether nobody accepts connections there.
#[must_use]
pub fn is_refused(addr: SocketAddr) -> bool {
    match TcpStream::connect(addr).map_err(|error| error.kind()) {
        Ok(_) => false,
        // Reset, if the listener closes in the middle of the handshake.
        Err(ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset) => true,
        Err(error) => panic!("connecting to {addr}: {error}"),
    }
}
