//! The two streams. Results go to standard output, everything else to standard error.
//!
//! A stream may be closed, full, or a pipe that nobody reads. So nothing here panics; what fails is remembered for the exit
//! code; and a verb that runs a server writes from another thread, so that not even a stream that blocks holds it up.

use std::fmt::Write as _;
use std::future::Future;
use std::io::{self, IsTerminal as _, Write};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anstream::AutoStream;
use clap::ColorChoice;
use clap::builder::styling::{AnsiColor, Style};

use super::args::Everywhere;
use super::exit::{Exit, Failure};
use super::json::Object;

pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default();
pub(super) const ODD: Style = AnsiColor::Yellow.on_default();
pub(super) const FAINT: Style = Style::new().dimmed();
const ERROR: Style = AnsiColor::Red.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();

/// How long a command that is otherwise done waits for its streams.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long something may take before a person is told what it is.
const SOON: Duration = Duration::from_millis(100);

/// How to speak.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) json: bool,
    pub(super) verbose: bool,
    quiet: bool,
    streams: Streams,
    writer: Option<Writer>,
}

/// A thread that writes, and how to know that it is done.
#[derive(Debug)]
struct Writer {
    texts: mpsc::Sender<(Stream, String)>,
    /// Shared by those who speak, and looked at by the last.
    done: Mutex<mpsc::Receiver<()>>,
}

#[derive(Clone, Copy, Debug)]
enum Stream {
    Result,
    Message,
}

#[derive(Clone, Debug)]
struct Streams {
    color: ColorChoice,
    /// What kept a result from being written.
    trouble: Arc<OnceLock<io::ErrorKind>>,
}

impl Output {
    /// As it is wished; a command that another one listens to speaks JSON, and without colours.
    pub(super) fn new(wishes: &Everywhere, is_listened_to: bool) -> Self {
        Self {
            json: wishes.json || is_listened_to,
            verbose: wishes.verbose,
            quiet: wishes.quiet,
            streams: Streams {
                color: match is_listened_to {
                    true => ColorChoice::Never,
                    false => wishes.color,
                },
                trouble: Arc::default(),
            },
            writer: None,
        }
    }

    /// From now on everything is written by another thread. What that can't write soon is lost at the end.
    pub(super) fn into_background(mut self) -> Self {
        let (texts, to_write) = mpsc::channel::<(Stream, String)>();
        let (tell, done) = mpsc::channel();
        let streams = self.streams.clone();
        let writer = std::thread::Builder::new().name("daymark-output".to_owned());
        let spawned = writer.spawn(move || {
            for (stream, text) in to_write {
                streams.write(stream, &text);
            }
            // Nobody may be waiting any more.
            let _ = tell.send(());
        });
        let done = Mutex::new(done);
        self.writer = spawned.ok().map(|_| Writer { texts, done });
        self
    }

    /// Waits a little until everything is written.
    pub(super) fn finish(self) {
        if let Some(Writer { texts, done }) = self.writer {
            drop(texts);
            // Whatever comes of it, there is no more to be done.
            let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
            let _ = done.recv_timeout(PATIENCE);
        }
    }

    /// Says a result, on a line of its own.
    pub(super) fn result(&self, line: &str) {
        self.write(Stream::Result, format!("{line}\n"));
    }

    /// Says a result as JSON.
    pub(super) fn object(&self, object: &Object) {
        self.result(&object.text());
    }

    /// Says what isn't a result, unless silence was asked for.
    pub(super) fn note(&self, line: &str) {
        if !self.quiet {
            self.write(Stream::Message, format!("{line}\n"));
        }
    }

    /// Says what only the curious want to know.
    pub(super) fn detail(&self, line: &str) {
        if self.verbose {
            self.note(&paint(FAINT, line));
        }
    }

    /// Says that something isn't as it was wished, and is no reason to fail.
    pub(super) fn warning(&self, sentence: &str) {
        self.note(&format!("{} {}", paint(ODD, "warning:"), shown(sentence)));
    }

    /// Says what failed, and what to do.
    pub(super) fn failure(&self, failure: &Failure) {
        let mut text = format!("{} {}\n", paint(ERROR, "error:"), shown(&failure.sentence));
        for line in &failure.lines {
            text += &format!("{} {}\n", paint(FAINT, "  |"), shown(line));
        }
        text += &format!("{} {}\n", paint(HINT, "hint:"), shown(&failure.hint));
        self.write(Stream::Message, text);
    }

    /// Whether results still arrive.
    pub(super) fn is_heard(&self) -> bool {
        self.streams.trouble.get().is_none()
    }

    /// The exit code, given that results may have been lost. A reader who left early has got what they wanted.
    pub(super) fn verdict(&self, exit: Exit) -> Exit {
        match self.streams.trouble.get() {
            None | Some(io::ErrorKind::BrokenPipe) => exit,
            Some(kind) => {
                self.failure(&Failure::new(
                    Exit::Failed,
                    format!("cannot write to standard output: {kind}"),
                    "direct the output to where there is room",
                ));
                Exit::Failed
            }
        }
    }

    /// Awaits `work`; a person at the terminal is told what it is, if it takes longer than a moment.
    pub(super) async fn meanwhile<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        if io::stderr().is_terminal() {
            tokio::select! {
                biased;
                value = &mut work => return value,
                () = tokio::time::sleep(SOON) => self.note(&paint(FAINT, &shown(what))),
            }
        }
        work.await
    }

    fn write(&self, stream: Stream, text: String) {
        match &self.writer {
            // The thread is there as long as this end is.
            Some(writer) => drop(writer.texts.send((stream, text))),
            None => self.streams.write(stream, &text),
        }
    }
}

impl Streams {
    fn write(&self, stream: Stream, text: &str) {
        let color = match self.color {
            ColorChoice::Auto => anstream::ColorChoice::Auto,
            ColorChoice::Always => anstream::ColorChoice::Always,
            ColorChoice::Never => anstream::ColorChoice::Never,
        };
        match stream {
            Stream::Result => {
                if let Err(error) = write_to(AutoStream::new(io::stdout(), color), text) {
                    // The first trouble is the one to report.
                    let _ = self.trouble.set(error.kind());
                }
            }
            // There is nobody left to tell.
            Stream::Message => drop(write_to(AutoStream::new(io::stderr(), color), text)),
        }
    }
}

fn write_to(mut stream: impl Write, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

/// The text in a style, where the stream has any.
pub(super) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// The text with everything escaped that could do something to a terminal.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unprintable(c) {
            // Writing to a string doesn't fail.
            let _ = write!(shown, "{}", c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether it is a control character, or one that can't be seen itself and changes what is: the direction of writing, where
/// lines end, which letters stand there (Unicode's categories Cc, Zl, Zp and what matters of Cf; UTR 36).
pub(super) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_cannot_command_a_terminal() {
        assert_eq!(
            shown("a\u{1b}[31mb\nc\u{9b}\u{202e}"),
            "a\\u{1b}[31mb\\u{a}c\\u{9b}\\u{202e}"
        );
        assert_eq!(
            shown("a\u{61c}\u{200b}\u{feff}\u{e0041}b"),
            "a\\u{61c}\\u{200b}\\u{feff}\\u{e0041}b"
        );
        assert_eq!(shown("schön 日本 [ok]"), "schön 日本 [ok]");
    }
}
