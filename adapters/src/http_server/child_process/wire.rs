//! What a supervisor and a guard say to each other: bytes one way, lines the other.

use std::fmt;

/// What a tree is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// To end by SIGTERM, without a deadline.
    Terminate,
    /// To end by SIGINT, without a deadline.
    Interrupt,
    /// To be killed.
    Kill,
}

/// How a main process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(u8),
    /// This signal ended it.
    Signal(u8),
    /// Its guard was killed, and it with that.
    Lost,
}

impl Ask {
    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Terminate => b'T',
            Self::Interrupt => b'I',
            Self::Kill => b'K',
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        let all = [Self::Terminate, Self::Interrupt, Self::Kill];
        all.into_iter().find(|ask| ask.byte() == byte)
    }
}

/// What a guard says, a line each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The main process' pid.
    Main(u32),
    /// It couldn't be started: the system's error.
    Failed(i32),
    /// It has ended.
    Ended(Exit),
    /// The guard goes, and this many processes stay.
    Left(u64),
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main(pid) => write!(f, "pid {pid}"),
            Self::Failed(error) => write!(f, "failed {error}"),
            Self::Ended(Exit::Code(code)) => write!(f, "exit {code}"),
            Self::Ended(Exit::Signal(signal)) => write!(f, "signal {signal}"),
            Self::Ended(Exit::Lost) => write!(f, "lost 0"),
            Self::Left(left) => write!(f, "left {left}"),
        }
    }
}

impl Report {
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (word, number) = line.split_once(' ')?;
        Some(match word {
            "pid" => Self::Main(number.parse().ok()?),
            "failed" => Self::Failed(number.parse().ok()?),
            "exit" => Self::Ended(Exit::Code(number.parse().ok()?)),
            "signal" => Self::Ended(Exit::Signal(number.parse().ok()?)),
            "left" => Self::Left(number.parse().ok()?),
            _ => return None,
        })
    }
}
