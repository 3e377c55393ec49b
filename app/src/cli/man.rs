//! `daymark man`: the whole manual page, every verb included.

use std::io;

use clap::Command;
use clap_mangen::Man;

use super::exit::{Exit, Failure};
use super::{Context, args, explain};

pub(super) fn run(context: &Context) -> Result<Exit, Failure> {
    let mut command = args::command();
    command.build();
    let page = page(&command).map_err(|error| explain::no_runtime(&error))?;
    context
        .output
        .result(String::from_utf8_lossy(&page).trim_end());
    Ok(Exit::Done)
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let man = Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    page.extend_from_slice(b".SH COMMANDS\n");
    for verb in command.get_subcommands().filter(|v| v.get_name() != "help") {
        verb_section(verb, &mut page)?;
    }
    man.render_options_section(&mut page)?;
    page.extend_from_slice(REST.as_bytes());
    Ok(page)
}

/// A verb under a heading of the second level: its synopsis, what it does, and its own options.
fn verb_section(verb: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    // What can be said to every verb is told once, at the end.
    let own = verb.clone().mut_args(|arg| {
        let shared = arg.is_global_set() || arg.get_id() == "help";
        arg.hide(shared)
    });
    let man = Man::new(own);
    let mut sections = Vec::new();
    man.render_synopsis_section(&mut sections)?;
    man.render_description_section(&mut sections)?;
    man.render_options_section(&mut sections)?;
    page.extend_from_slice(format!(".SS \"daymark {}\"\n", verb.get_name()).as_bytes());
    for line in String::from_utf8_lossy(&sections).lines() {
        if line.starts_with(".SH") {
            page.extend_from_slice(b".PP\n");
        } else {
            page.extend_from_slice(line.as_bytes());
            page.push(b'\n');
        }
    }
    Ok(())
}

/// What the command line's own description doesn't hold.
const REST: &str = r#".SH "EXIT STATUS"
.TP
.B 0
done; \fBstop\fR: also if it was not running
.TP
.B 1
failed
.TP
.B 2
wrong usage
.TP
.B 3
not running (\fBstatus\fR, \fBurl\fR, \fBopen\fR, \fBlogs\fR, \fBrestart\fR)
.TP
.B 4
already running (\fBserve\fR, \fBrun\fR)
.TP
.B 124
timed out
.TP
.B 125
the command was not run, or not as it should be (\fBrun\fR)
.TP
.B 126
the command cannot be executed (\fBrun\fR)
.TP
.B 127
the command is not there (\fBrun\fR)
.TP
.B 130
ended by Ctrl-C (\fBserve\fR, \fBrun\fR)
.PP
\fBrun\fR and \fB\-\-then\fR: otherwise that of the command; 128 and the signal's number if one ended it.
.SH ENVIRONMENT
Every option has a twin: \fBDAYMARK_STATE_DIR\fR for \fB\-\-state\-dir\fR, and so on. An option on the command line comes first. A variable that is set to nothing counts as not set.
.TP
.B XDG_STATE_HOME
where state is kept, instead of \fI~/.local/state\fR
.TP
.BR LISTEN_FDS ", " LISTEN_PID
a listening socket for \fBserve\fR, as in \fBsd_listen_fds\fR(3)
.TP
.B NO_COLOR
no colours
.SH FILES
.TP
.I ~/.local/state/daymark/run/NAME/server.json
the record of a server: one JSON object, believed only while its writer holds a lock on it
.TP
.I ~/.local/state/daymark/run/NAME/logs/server.log
what a command that is \fBrun\fR prints; \fIserver.log.1\fR is the one before
.TP
.I ~/.local/state/daymark/run/NAME/server.lock
the ownership of the directory; only those who start servers lock it
.SH EXAMPLES
.TP
.B daymark serve site \-n docs \-\-open
serve the directory \fIsite\fR under the name docs, and open the browser
.TP
.B daymark run \-n api \-\- uvicorn app:app \-\-port {port}
run a server of any kind under the name api, with a port that nobody else can take
.TP
.B daymark run \-\-then \(aqnpm test\(aq \-\- node server.js
run a server for as long as its tests take, and exit as they do
.TP
.B curl \(dq$(daymark url docs)index.html\(dq
ask it for a page
.TP
.B daymark wait docs && daymark stop docs
wait until it is ready, then stop it
"#;
