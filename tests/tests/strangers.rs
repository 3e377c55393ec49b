//! Strangers: other users who take a dead server's port or plant what looks like a server's, readers in other namespaces, and
//! processes that were given a dead server's number. Nobody is called live wrongly, nobody is sent a token, nobody is signalled.
//!
//! Longer than others: all strangers in one place, for whoever wants to know what was tried.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use daymark::{ConnectError, Presence, StopOptions};
use daymark_adapters::{identity, record_json};
use daymark_core::clock::Timestamp;
use daymark_core::record::{Endpoint, HeldBy, InstanceId, ServerRecord};
use daymark_tests::files::Ground;
use daymark_tests::others::{self, Stranger, Yard, as_nobody, elsewhere, through, words};
use daymark_tests::owner::Owner;
use daymark_tests::programs::{can_run, not_run};

const DAYMARK: &str = env!("CARGO_BIN_EXE_supervisor");
const OWNER: &str = env!("CARGO_BIN_EXE_owner");
const STRANGER: &str = env!("CARGO_BIN_EXE_stranger");
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Every verb that reads, or acts on what it has read.
const VERBS: [&[&str]; 13] = [
    &["status"],
    &["status", "-v"],
    &["status", "--json"],
    &["url"],
    &["url", "--with-token"],
    &["list", "-a", "--json"],
    &["open"],
    &["wait", "--for", "ready", "--timeout", "50ms"],
    &["doctor"],
    &["logs"],
    &["restart", "--timeout", "50ms"],
    &["stop", "--drain", "0s"],
    &["prune"],
];

/// Runs every verb on a state directory, through what `run` makes of it; what each of them said.
fn say_all(dir: &Path, run: impl Fn(&[&str]) -> Command) -> Vec<(String, String)> {
    VERBS
        .iter()
        .map(|verb| {
            let mut command = run(verb);
            let output = command.arg("--state-dir").arg(dir).output();
            (verb.join(" "), words(&output.expect("it runs")))
        })
        .collect()
}

#[track_caller]
fn assert_nobody_is_live(said: &[(String, String)]) {
    for (verb, words) in said {
        let live = ["\"presence\":\"live\"", "  live  ", " is live", "answers"];
        assert!(
            !live.iter().any(|word| words.contains(word)),
            "{verb}: {words}"
        );
        assert!(!words.contains(TOKEN), "{verb}: {words}");
    }
}

#[track_caller]
fn assert_says(said: &[(String, String)], verb: &str, expected: &str) {
    let (_, words) = said.iter().find(|(said, _)| said == verb).expect("a verb");
    assert!(words.contains(expected), "{verb}: {words}");
}

/// A record of this machine's, of a server at that port that wants a token.
fn record(pid: u32, port: u16) -> ServerRecord {
    ServerRecord {
        endpoint: Endpoint::v4(NonZeroU16::new(port).expect("not zero")),
        pid,
        started_at: Timestamp::from_unix_micros(0),
        name: None,
        instance_id: Some(InstanceId::from_bits(7)),
        held_by: HeldBy::Owner,
        restarts: Some(0),
        origin: identity::origin().clone(),
        app: None,
        token: Some(TOKEN.parse().expect("a token")),
    }
}

/// Puts a record where an owner would, and vouches for it as long as the file is kept.
fn put_locked(dir: &Path, record: &ServerRecord) -> File {
    make_private(dir);
    let temporary = dir.join("new");
    fs::write(&temporary, record_json::write(record)).expect("write the record");
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600)).expect("its mode");
    let file = File::open(&temporary).expect("open the record");
    file.try_lock().expect("nobody else has it");
    fs::rename(&temporary, dir.join("server.json")).expect("put it in place");
    file
}

fn make_private(dir: &Path) {
    fs::create_dir_all(dir).expect("make the directory");
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).expect("its mode");
}

/// Somebody else's program at that port, or at any if it is 0.
fn nobody_listens(yard: &Yard, manner: &str, port: u16) -> (Stranger, SocketAddr, PathBuf) {
    let notes = yard.commons().join("notes");
    let mut command = Command::new(yard.program(STRANGER));
    command.args([manner, &port.to_string()]).arg(&notes);
    let stranger = Stranger::start(as_nobody(&mut command));
    let port: u16 = stranger.said.parse().expect("a port");
    (stranger, (Ipv4Addr::LOCALHOST, port).into(), notes)
}

/// `daymark serve`, ready; its port and its token.
fn serve(yard: &Yard, dir: &Path) -> (Child, u16, String) {
    let mut command = yard.daymark(DAYMARK);
    let site = yard.path("site");
    fs::create_dir_all(&site).expect("a directory");
    command.arg("serve").arg(&site).arg("--state-dir").arg(dir);
    command.args(["--name", "api", "--require-token", "--json", "-p", "0"]);
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    let mut lines = BufReader::new(child.stdout.as_mut().expect("a pipe")).lines();
    let ready =
        |line: &std::io::Result<String>| line.as_ref().is_ok_and(|l| l.contains("\"ready\""));
    lines.find(ready).expect("it is ready").expect("a line");
    let record = record_json::read(&fs::read(dir.join("server.json")).expect("a record"));
    let record = record.expect("a record");
    let token = record.token.expect("a token").reveal().to_owned();
    (child, record.endpoint.port().get(), token)
}

#[test]
fn whoever_takes_a_killed_server_s_port_is_told_nothing() {
    if !others::can_be_had() {
        return;
    }
    let yard = Yard::new();
    let dir = yard.path("state");
    let (mut server, port, token) = serve(&yard, &dir);
    server.kill().expect("it is there");
    server.wait().expect("it ends");
    let (mut stranger, at, notes) = nobody_listens(&yard, "listen", port);

    let said = say_all(&dir, |verb| {
        let mut command = yard.daymark(DAYMARK);
        command.args(verb);
        command
    });

    assert_nobody_is_live(&said);
    assert_says(&said, "status", "stale");
    assert_says(&said, "prune", "removed");
    assert!(
        said.iter().all(|(_, words)| !words.contains(&token)),
        "{said:?}"
    );
    assert_eq!(others::heard(at, &notes), "", "not a byte");
    assert_eq!(yard.shown(), "", "nor is a browser sent there");
    assert!(stranger.is_alive());
}

#[tokio::test]
async fn nobody_else_s_socket_is_sent_a_token_although_a_record_points_to_it() {
    if !others::can_be_had() {
        return;
    }
    let yard = Yard::new();
    let ground = Ground::new();
    let (_stranger, at, notes) = nobody_listens(&yard, "listen", 0);
    let _proof = put_locked(&ground.dir(), &record(std::process::id(), at.port()));
    let refused = ground.place().connect().await;
    assert!(
        matches!(
            refused,
            Err(ConnectError::ForeignSocket {
                uid: others::NOBODY,
                ..
            })
        ),
        "{refused:?}"
    );
    drop(refused);
    let open = yard
        .daymark(DAYMARK)
        .args(["open", "--state-dir"])
        .arg(ground.dir())
        .output();
    assert_eq!(open.expect("it runs").status.code(), Some(3));
    assert_eq!(
        (others::heard(at, &notes), yard.shown()),
        Default::default()
    );
}

/// Until it is accepted a connection seems to be root's, and root must not take it for its own.
#[tokio::test]
async fn a_connection_that_nobody_has_accepted_is_nobody_s() {
    if !others::can_be_had() {
        return;
    }
    let yard = Yard::new();
    let ground = Ground::new();
    let (_stranger, at, _) = nobody_listens(&yard, "queue", 0);
    let _proof = put_locked(&ground.dir(), &record(std::process::id(), at.port()));
    let refused = ground.place().connect().await;
    assert!(
        matches!(refused, Err(ConnectError::NotAccepted { .. })),
        "{refused:?}"
    );
}

#[test]
fn another_user_gets_no_answer_without_the_token_and_sees_no_state() {
    if !others::can_be_had() {
        return;
    }
    let yard = Yard::new();
    let dir = yard.path("state");
    let (mut server, port, token) = serve(&yard, &dir);
    let mut ask = Command::new("sh");
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'GET / HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\nConnection: close\\r\\n\\r\\n' >&3 && cat <&3"
    );
    ask.args(["-c", "exec bash -c \"$0\"", &script]);
    let answer = words(&as_nobody(&mut ask).output().expect("bash runs"));
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");

    let said = say_all(&dir, |verb| {
        let mut command = yard.daymark(DAYMARK);
        as_nobody(&mut command).args(verb);
        command
    });

    assert_nobody_is_live(&said);
    assert_says(&said, "status", "refused");
    assert_says(&said, "stop --drain 0s", "nobody was signalled");
    assert!(
        said.iter().all(|(_, words)| !words.contains(&token)),
        "{said:?}"
    );
    assert!(
        server.try_wait().expect("a child").is_none(),
        "it serves on"
    );
    server.kill().expect("it is there");
    server.wait().expect("it ends");
}

#[test]
fn another_user_s_server_is_refused_and_never_signalled() {
    if !others::can_be_had() {
        return;
    }
    let yard = Yard::new();
    let dir = yard.commons().join("theirs");
    let mut own = Command::new(yard.program(STRANGER));
    let mut stranger = Stranger::start(as_nobody(own.arg("own").arg(&dir)));

    let said = say_all(&dir, |verb| {
        let mut command = yard.daymark(DAYMARK);
        command.args(verb);
        command
    });

    assert_nobody_is_live(&said);
    assert_says(&said, "status", "belongs to user 65534");
    assert_says(&said, "stop --drain 0s", "nobody was signalled");
    assert!(stranger.is_alive());
    assert!(
        dir.join("server.json").exists(),
        "nor is anything of theirs removed"
    );
}

/// A lock file says who is starting. In somebody else's directory that is anybody's word.
#[test]
fn who_says_that_it_is_starting_in_another_user_s_directory_is_not_asked_to_stop() {
    if !others::can_be_had() {
        return;
    }
    let yard = Yard::new();
    let dir = yard.commons().join("theirs");
    let mut own = Command::new(yard.program(STRANGER));
    let mut stranger = Stranger::start(as_nobody(own.arg("own").arg(&dir).arg("starting")));

    let said = say_all(&dir, |verb| {
        let mut command = yard.daymark(DAYMARK);
        command.args(verb);
        command
    });

    assert_nobody_is_live(&said);
    assert_says(&said, "status", "belongs to user 65534");
    assert!(stranger.is_alive());
}

/// flock(2) asks for no more than an open file.
#[tokio::test]
async fn a_lock_that_others_could_take_proves_nothing() {
    if !others::can_be_had() {
        return;
    }
    let yard = Yard::new();
    let dir = yard.path("state");
    drop(put_locked(&dir, &record(std::process::id(), 9)));
    let file = dir.join("server.json");
    let with_id = fs::read_to_string(&file).expect("the record");
    let place = daymark::Place::at(&dir).expect("a place");
    for (text, expected) in [
        (with_id.as_str(), Presence::Refused),
        (
            r#"{"port":9,"pid":1,"started_at":"2026-01-01T00:00:00Z"}"#,
            Presence::Unproven,
        ),
    ] {
        fs::write(&file, text).expect("a record");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("its mode");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("its mode");
        let mut lock = Command::new(yard.program(STRANGER));
        let _stranger = Stranger::start(as_nobody(lock.arg("lock").arg(&file)));
        assert_eq!(place.look().presence, expected, "{text}");
        assert!(place.connect().await.is_err());
        assert!(
            place.stop(StopOptions::default()).await.is_err(),
            "this test would end"
        );
    }
}

#[test]
fn a_reader_in_another_network_reaches_nobody() {
    let Some(unshare) = elsewhere(&["--net"]) else {
        return;
    };
    let yard = Yard::new();
    let dir = yard.path("state");
    let (mut server, port, token) = serve(&yard, &dir);
    let (said, heard) = say_all_where_a_stranger_listens(&yard, unshare, &dir, port, "");
    assert_nobody_is_live(&said);
    assert_says(&said, "status", "unreachable");
    assert!(
        said.iter().all(|(_, words)| !words.contains(&token)),
        "{said:?}"
    );
    assert_eq!((heard.as_str(), yard.shown()), ("", String::new()));
    // Its pid means the same there. So it may be stopped from there, and was.
    assert!(server.wait().expect("it ends").success());
}

/// What all verbs say in another network namespace, in which something else listens on the port, and what that was sent.
fn say_all_where_a_stranger_listens(
    yard: &Yard,
    unshare: Command,
    dir: &Path,
    port: u16,
    before: &str,
) -> (Vec<(String, String)>, String) {
    let notes = yard.commons().join("notes");
    let script = r#"
        stranger=$1 port=$2 notes=$3 dir=$4 daymark=$5; shift 5
        ip link set lo up || exit 1
        mkfifo "$notes.in" "$notes.out"
        "$stranger" listen "$port" "$notes" <"$notes.in" >"$notes.out" & exec 9>"$notes.in"
        read -r got <"$notes.out" && [ "$got" = "$port" ] || exit 1
        eval "$BEFORE"
        while [ $# -gt 0 ]; do
            echo "== $1"; "$daymark" $1 --state-dir "$dir" 2>&1 9>&-; shift
        done
        echo '== end'"#;
    let daymark = yard.daymark(DAYMARK);
    let mut command = unshare;
    command.env_clear().env("BEFORE", before);
    command.envs(
        daymark
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    command
        .args(["sh", "-c", script, "sh"])
        .arg(yard.program(STRANGER));
    command.arg(port.to_string()).arg(&notes).arg(dir);
    command
        .arg(yard.program(DAYMARK))
        .args(VERBS.iter().map(|verb| verb.join(" ")));
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    let said = words(&output);
    assert!(said.contains("== end"), "{said}");
    let said: Vec<(String, String)> = said
        .split("== ")
        .filter_map(|part| part.split_once('\n'))
        .map(|(verb, words)| (verb.to_owned(), words.to_owned()))
        .collect();
    assert!(said.len() > VERBS.len(), "{said:?}");
    (said, fs::read_to_string(&notes).unwrap_or_default())
}

#[test]
fn a_reader_that_does_not_know_where_it_is_reaches_and_signals_nobody() {
    let Some(unshare) = elsewhere(&["--net", "--mount"]) else {
        return;
    };
    let yard = Yard::new();
    let dir = yard.path("state");
    let (mut server, port, token) = serve(&yard, &dir);
    // As in a bare chroot.
    let without_proc = "umount -l /proc || exit 1";
    let (said, heard) = say_all_where_a_stranger_listens(&yard, unshare, &dir, port, without_proc);
    assert_nobody_is_live(&said);
    assert_says(&said, "status", "unknown");
    assert_says(&said, "stop --drain 0s", "nobody was signalled");
    assert!(
        said.iter().all(|(_, words)| !words.contains(&token)),
        "{said:?}"
    );
    assert_eq!((heard.as_str(), yard.shown()), ("", String::new()));
    assert!(
        server.try_wait().expect("a child").is_none(),
        "it serves on"
    );
    server.kill().expect("it is there");
    server.wait().expect("it ends");
}

#[test]
fn across_pid_namespaces_nobody_is_signalled() {
    // With a /proc of its own, and with the one of outside.
    for options in [
        &["--pid", "--fork", "--mount-proc"][..],
        &["--pid", "--fork"][..],
    ] {
        let yard = Yard::new();
        let ground = Ground::new();
        let mut owner = Owner::start(OWNER, &ground.dir());
        owner.ready();
        for verb in [
            &["stop", "--drain", "0s", "--force"][..],
            &["restart", "--timeout", "1s"],
        ] {
            let Some(unshare) = elsewhere(options) else {
                return;
            };
            let mut command = yard.daymark(DAYMARK);
            command.args(verb).arg("--state-dir").arg(ground.dir());
            let output = through(unshare, &command).output().expect("it runs");
            assert_eq!(output.status.code(), Some(1), "{output:?}");
        }
        assert_eq!(ground.presence(), Presence::Live, "{options:?}");
        owner.stop();
    }
}

/// Numbers can be had again in a pid namespace of one's own.
const SMALL_WORLD: &[&str] = &["--pid", "--fork", "--mount-proc"];

/// Runs a script that has `number_again PID`, which starts a bystander with that number, and says `still` if that is still
/// there at its end. None where numbers can't be had again.
fn with_numbers(yard: &Yard, outer: Command, script: &str) -> Option<String> {
    const PREAMBLE: &str = r#"
        dir=$1 daymark=$2
        number_again() {
            wanted=$1 bystander=
            for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
                echo $((wanted - 1)) 2>/dev/null >/proc/sys/kernel/ns_last_pid || break
                sleep 600 9>&- 8>&- & [ $! = "$wanted" ] && { bystander=$!; return; }
                kill $!
            done
            echo 'the number cannot be had'; kill $ghost; exit 1
        }
        say() { echo "== $*"; "$daymark" "$@" --state-dir "$dir" 2>&1; }
        "#;
    const END: &str = "kill -0 $bystander && echo still; kill -9 $bystander $ghost";
    if !can_run(&["flock"]) {
        return None;
    }
    let shell = format!("{PREAMBLE}\n{script}\n{END}");
    let daymark = yard.daymark(DAYMARK);
    let mut inner = Command::new("sh");
    inner.envs(
        daymark
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    inner
        .args(["-c", &shell, "sh"])
        .arg(yard.path("state"))
        .arg(daymark.get_program());
    let said = words(&through(outer, &inner).output().expect("it runs"));
    if said.contains("the number cannot be had") {
        not_run("no number can be had again here");
        return None;
    }
    Some(said)
}

#[test]
fn whoever_is_given_a_killed_server_s_number_is_neither_believed_nor_signalled() {
    let Some(world) = elsewhere(SMALL_WORLD) else {
        return;
    };
    let yard = Yard::new();
    let said = with_numbers(
        &yard,
        world,
        r#"
        "$daymark" serve / --state-dir "$dir" --name api >/dev/null 2>&1 & pid=$!
        say wait --for ready --timeout 60s
        kill -9 $pid; wait $pid
        number_again $pid
        say status; say url; say restart; say stop --drain 0s --force; say prune"#,
    );
    let Some(said) = said else { return };
    assert!(said.contains("api  stale"), "{said}");
    assert!(said.contains("removed"), "{said}");
    assert!(said.contains("\nstill\n"), "{said}");
}

/// What the server has forked and left keeps the lock: then it can't be known that the server is gone, but the process with
/// its number is known not to be it.
#[test]
fn whoever_is_given_a_number_while_a_ghost_keeps_the_lock_is_not_signalled() {
    let Some(world) = elsewhere(SMALL_WORLD) else {
        return;
    };
    let yard = Yard::new();
    let said = with_numbers(
        &yard,
        world,
        r#"
        mkdir -m 700 "$dir" && umask 077
        export boot=$(cat /proc/sys/kernel/random/boot_id) dir
        export pid_ns=$(stat -L -c %i /proc/self/ns/pid) net_ns=$(stat -L -c %i /proc/self/ns/net)
        sh -c '
            printf "{\"port\":9,\"pid\":%s,\"started_at\":\"2026-01-01T00:00:00Z\",\"restarts\":0,\"instance_id\":\"%032d\",
                \"listener\":\"owner\",\"boot_id\":\"%s\",\"pid_ns\":%s,\"net_ns\":%s}" \
                $$ 7 $boot $pid_ns $net_ns >"$dir/new"
            exec 9<>"$dir/new"; flock 9; mv "$dir/new" "$dir/server.json"
            sleep 600 >/dev/null 2>&1 & echo $$ >"$dir/pid"; echo $! >"$dir/ghost"'
        ghost=$(cat "$dir/ghost")
        number_again $(cat "$dir/pid")
        say status; say restart --timeout 0s; say stop --drain 0s --force"#,
    );
    let Some(said) = said else { return };
    assert!(said.contains("its process is gone"), "{said}");
    assert!(said.contains("\nstill\n"), "{said}");
}

/// The same for one that had not published anything. The kernel tells of a dead lock holder's number only where it is that
/// of all the machine; so here another one is given that.
#[test]
fn whoever_is_given_a_starter_s_number_while_a_ghost_keeps_the_lock_is_not_signalled() {
    if !others::can_be_had() {
        return;
    }
    let yard = Yard::new();
    let said = with_numbers(
        &yard,
        Command::new("env"),
        r#"
        mkdir -m 700 "$dir" && umask 077
        exec 8<>"$dir/server.lock"; flock 8 & pid=$!; wait $pid
        sleep 600 >/dev/null 2>&1 & ghost=$!
        echo "$pid - starting -" >&8; exec 8>&-
        number_again $pid
        say status; say stop --drain 0s --force"#,
    );
    let Some(said) = said else { return };
    if !said.contains("starting") {
        return not_run("the system does not tell who holds a lock");
    }
    assert!(said.contains("\nstill\n"), "{said}");
}

/// `/proc` as it is outside, where the starter is; the number is that of somebody else in here.
#[test]
fn a_starter_of_another_pid_namespace_is_not_taken_for_who_has_its_number_here() {
    let Some(unshare) = elsewhere(&["--pid", "--fork"]) else {
        return;
    };
    let yard = Yard::new();
    let dir = yard.path("state");
    make_private(&dir);
    let mut own = Command::new(yard.program(STRANGER));
    let stranger = Stranger::start(own.arg("own").arg(&dir).arg("starting"));
    let script = r#"
        wanted=$1; shift
        for try in 1 2 3 4 5 6 7 8 9; do
            echo $((wanted - 1)) >/proc/sys/kernel/ns_last_pid || exit 1
            sleep 600 & [ $! = "$wanted" ] && break; kill $!
        done
        "$@" 2>&1
        kill -0 "$wanted" && echo still; kill -9 "$wanted"; exit 0"#;
    let mut inner = yard.daymark("/bin/sh");
    inner = {
        let mut sh = Command::new("/bin/sh");
        sh.envs(
            inner
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        sh.args(["-c", script, "sh", &stranger.pid().to_string()]);
        sh.arg(yard.program(DAYMARK));
        sh.args(["stop", "--drain", "0s", "--force", "--state-dir"])
            .arg(&dir);
        sh
    };
    let said = words(&through(unshare, &inner).output().expect("it runs"));
    assert!(said.ends_with("still\n"), "{said}");
    drop(stranger);
}

#[test]
fn a_server_of_another_boot_is_reached_and_signalled_by_nobody() {
    let yard = Yard::new();
    let ground = Ground::new();
    let mut there = record(std::process::id(), 9);
    there.origin.boot_id = Some("6f1c3f5e-0000-4000-8000-000000000000".to_owned());
    let _proof = put_locked(&ground.dir(), &there);
    let said = say_all(&ground.dir(), |verb| {
        let mut command = yard.daymark(DAYMARK);
        command.args(verb);
        command
    });
    assert_nobody_is_live(&said);
    assert_says(&said, "status", "unreachable");
    assert_says(&said, "stop --drain 0s", "nobody was signalled");
    assert_eq!(yard.shown(), "");
}
