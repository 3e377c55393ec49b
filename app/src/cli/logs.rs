//! `daymark logs`: what a server that was started by `daymark run` has written.
//!
//! The log is only read. Whether more will come is told by the server's presence: whoever writes a log owns the place until
//! all of it is written.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use daymark_adapters::log_file::{self, LogReader};
use daymark_adapters::state_store::DirWatch;

use super::args::LogsArgs;
use super::exit::{Exit, Failure};
use super::json::Object;
use super::output::{Output, shown};
use super::place::Target;
use super::{Context, block_on, explain, seen};

/// How often to look where the system may not tell of what is written.
const WITHOUT_WATCH: Duration = Duration::from_millis(200);

pub(super) fn run(args: &LogsArgs, context: &Context) -> Result<Exit, Failure> {
    let target = Target::find(args.name.as_deref(), context)?;
    let state_dir = target.place.state_dir();
    let output = &context.output;
    let failed = |error: io::Error| explain::log(&error, &log_file::path(state_dir));
    let sighting = target.place.look();
    let is_there = seen::is_there(sighting.presence);
    let mut reader = LogReader::open(state_dir).map_err(failed)?;
    if reader.is_none() {
        if !is_there {
            return Err(no_log(&target));
        }
        output.note(&format!("{} has not written a log", shown(&target.label())));
    }
    if let Some(reader) = &mut reader {
        let mut last = VecDeque::new();
        reader
            .read(|line| keep(&mut last, line, args.lines))
            .map_err(failed)?;
        if !(args.follow && is_there) {
            // What has no end by now is a line as well.
            reader.rest(|line| keep(&mut last, line, args.lines));
        }
        last.iter().for_each(|line| print(line, output));
    }
    if args.follow && is_there {
        block_on(follow(&target, reader, output))?.map_err(failed)?;
    }
    Ok(Exit::Done)
}

fn no_log(target: &Target) -> Failure {
    Failure::new(
        Exit::NotRunning,
        format!("{} is not running, and has left no log", target.label()),
        "only servers that daymark run started write one; daymark list -a shows what is there",
    )
}

fn keep(last: &mut VecDeque<Vec<u8>>, line: &[u8], count: usize) {
    if count > 0 {
        if last.len() >= count {
            last.pop_front();
        }
        last.push_back(line.to_owned());
    }
}

/// Goes on until the server is gone, and all that it wrote is read.
async fn follow(target: &Target, mut reader: Option<LogReader>, output: &Output) -> io::Result<()> {
    let state_dir = target.place.state_dir();
    let dir = state_dir.join(log_file::DIR);
    let mut server = target.place.watch();
    let mut is_there = true;
    let mut changes: Option<DirWatch> = None;
    loop {
        // Before it is read: so no change goes unnoticed.
        if !changes.as_ref().is_some_and(|changes| changes.is_on(&dir)) {
            changes = DirWatch::on(&dir).ok();
        }
        if reader.is_none() {
            reader = LogReader::open(state_dir)?;
        }
        if let Some(reader) = &mut reader {
            reader.read(|line| print(line, output))?;
            if !is_there {
                reader.rest(|line| print(line, output));
            }
        }
        if !is_there || !output.is_heard() {
            return Ok(());
        }
        tokio::select! {
            sighting = server.next() => is_there = seen::is_there(sighting.presence),
            () = changed(changes.as_ref()) => {}
        }
    }
}

/// Waits until more may have been written.
async fn changed(changes: Option<&DirWatch>) {
    match changes {
        Some(changes) if cfg!(target_os = "linux") => changes.changed().await,
        // Elsewhere a file that is only appended to needn't count as a change before it is closed.
        _ => tokio::time::sleep(WITHOUT_WATCH).await,
    }
}

fn print(line: &[u8], output: &Output) {
    let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
    match output.json {
        true => output.object(&Object::new().with("line", line)),
        false => output.result(&colored(&line)),
    }
}

/// The line with its colours and tabs, and everything else escaped that could do something to a terminal: much of a log is
/// what strangers sent.
fn colored(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['\u{1b}', '\t']) {
        let (plain, special) = rest.split_at(at);
        let kept = match special.starts_with('\t') {
            true => 1,
            false => color_at_start(special),
        };
        let escaped = match kept {
            0 => 1,
            _ => 0,
        };
        text.push_str(&shown(plain));
        text.push_str(&special[..kept]);
        text.push_str(&shown(&special[kept..kept + escaped]));
        rest = &special[kept + escaped..];
    }
    text + &shown(rest)
}

/// How long the sequence is that the text begins with, if it only sets colours: CSI, numbers, `m` (ECMA-48, SGR).
fn color_at_start(text: &str) -> usize {
    let Some(numbers) = text.strip_prefix("\u{1b}[") else {
        return 0;
    };
    let is_number = |c: char| c.is_ascii_digit() || c == ';' || c == ':';
    match numbers.trim_start_matches(is_number).strip_prefix('m') {
        Some(rest) => text.len() - rest.len(),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_stay_and_nothing_else_commands_the_terminal() {
        let line =
            "a\tb \u{1b}[1;38:5:9mred\u{1b}[m \u{1b}[2J \u{1b}]0;t\u{7} \u{1b}[1 \u{202e}\u{1b}";
        let expected = "a\tb \u{1b}[1;38:5:9mred\u{1b}[m \\u{1b}[2J \\u{1b}]0;t\\u{7} \\u{1b}[1 \\u{202e}\\u{1b}";
        assert_eq!(colored(line), expected);
    }
}
