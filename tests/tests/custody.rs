//! A server looks after what it published: what is lost comes back, and what is somebody else's is left alone.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use daymark::{Events, LifecycleEvent, Presence, Server, StopCause};
use daymark_adapters::state_store::{LOCK, RECORD};
use daymark_tests::client::{Client, PATIENCE, is_refused};
use daymark_tests::files::Ground;
use rustix::fs::{CWD, RenameFlags, renameat_with};

/// Well below what the runner's own clock would bring: the store looks more often.
const SOON: Duration = Duration::from_secs(4);

struct Guarded {
    server: Server,
    events: Events,
    ground: Ground,
}

impl Guarded {
    fn start() -> Self {
        let ground = Ground::new();
        let router = Router::new().route("/", get(|| async { "hello\n" }));
        let server = Server::builder("custody-test")
            .state_dir(ground.dir())
            .app(router)
            .start()
            .expect("a start");
        let events = server.subscribe();
        Self {
            server,
            events,
            ground,
        }
    }

    /// Waits for an event, and says how long that took.
    fn wait_for(&mut self, wanted: impl Fn(&LifecycleEvent) -> bool) -> Duration {
        let begun = Instant::now();
        let found = async {
            loop {
                match self.events.next().await {
                    Some(event) if wanted(&event) => break,
                    Some(_) => {}
                    None => panic!("the run is over, and it never happened"),
                }
            }
        };
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime")
            .block_on(async { tokio::time::timeout(PATIENCE, found).await })
            .expect("it happens in time");
        begun.elapsed()
    }

    /// Waits until the server's record is there and believed, though a repair may have failed meanwhile: what is still being
    /// removed can't be put right.
    fn wait_until_live(&self) {
        let begun = Instant::now();
        loop {
            assert!(self.server.is_running(), "it has given up");
            let sighting = self.ground.place().look();
            if sighting.is_live() {
                assert_eq!(sighting.record.as_ref(), Some(self.server.record()));
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{sighting:?}");
            std::thread::yield_now();
        }
    }

    /// Waits until the server has published again, and is as it was before.
    fn assert_put_right(mut self) {
        let took = self.wait_for(|event| matches!(event, LifecycleEvent::Republished));
        assert!(
            took < SOON,
            "only the runner's clock woke it, after {took:?}"
        );
        self.assert_as_before();
    }

    /// The same, where nothing but the clock may wake the server.
    fn assert_back(mut self) {
        self.wait_for(|event| matches!(event, LifecycleEvent::Republished));
        self.assert_as_before();
    }

    fn assert_as_before(self) {
        let sighting = self.ground.place().look();
        assert_eq!(sighting.presence, Presence::Live);
        assert_eq!(sighting.record.as_ref(), Some(self.server.record()));
        assert_eq!(
            Client::connect(self.server.addr()).get("/").body,
            b"hello\n"
        );
        let error = Server::builder("custody-test")
            .state_dir(self.ground.dir())
            .app(Router::new())
            .start()
            .expect_err("it is owned");
        assert_eq!(error.already_running(), Some(self.server.record()));
        self.server.stop(Duration::ZERO).expect("nothing is left");
        self.ground.assert_left_clean();
    }
}

#[test]
fn a_record_that_was_removed_is_published_again() {
    let guarded = Guarded::start();
    fs::remove_file(guarded.ground.record()).expect("remove the record");
    guarded.assert_put_right();
}

#[test]
fn a_record_that_was_overwritten_in_place_is_published_again() {
    let guarded = Guarded::start();
    fs::write(guarded.ground.record(), "nonsense").expect("overwrite the record");
    guarded.assert_put_right();
}

#[test]
fn a_record_that_was_replaced_is_published_again() {
    let guarded = Guarded::start();
    let other = guarded.ground.dir().join("other");
    fs::write(&other, "nonsense").expect("write a file");
    fs::rename(&other, guarded.ground.record()).expect("replace the record");
    guarded.assert_put_right();
}

#[test]
fn a_lock_file_that_was_removed_is_owned_again() {
    let guarded = Guarded::start();
    fs::remove_file(guarded.ground.lock()).expect("remove the lock file");
    guarded.assert_put_right();
}

#[test]
fn a_directory_that_was_removed_is_made_again() {
    let guarded = Guarded::start();
    fs::remove_dir_all(guarded.ground.dir()).expect("remove the directory");
    guarded.assert_put_right();
}

#[test]
fn a_directory_that_was_moved_away_is_made_again() {
    let guarded = Guarded::start();
    let elsewhere = guarded.ground.dir().with_file_name("elsewhere");
    fs::rename(guarded.ground.dir(), &elsewhere).expect("move the directory");
    guarded.assert_put_right();
}

/// In one step: in between the server could make its directory again.
fn swap(one: &Path, other: &Path) {
    let swapped = renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
    swapped.expect("they change places");
}

#[test]
fn a_directory_that_was_replaced_by_a_file_is_made_again_when_the_file_is_gone() {
    let mut guarded = Guarded::start();
    let dir = guarded.ground.dir();
    let file = dir.with_file_name("file");
    fs::write(&file, "theirs").expect("write a file");
    swap(&file, &dir);

    guarded.wait_for(|event| matches!(event, LifecycleEvent::Exposed(_)));

    assert_eq!(fs::read(&dir).expect("it is there"), b"theirs");
    assert!(guarded.server.is_running(), "it goes on serving");
    fs::remove_file(&dir).expect("remove the file");
    guarded.assert_back();
}

#[test]
fn a_directory_that_was_replaced_by_a_symbolic_link_is_made_again_when_the_link_is_gone() {
    let mut guarded = Guarded::start();
    let dir = guarded.ground.dir();
    let elsewhere = dir.with_file_name("elsewhere");
    let link = dir.with_file_name("link");
    fs::create_dir(&elsewhere).expect("make another one");
    std::os::unix::fs::symlink(&elsewhere, &link).expect("make a link");
    swap(&link, &dir);

    guarded.wait_for(|event| matches!(event, LifecycleEvent::Exposed(_)));

    let followed = fs::read_dir(&elsewhere).expect("it is there").count();
    assert_eq!(followed, 0, "something was put where the link leads");
    assert!(guarded.server.is_running(), "it goes on serving");
    fs::remove_file(&dir).expect("remove the link");
    guarded.assert_back();
}

#[test]
fn a_directory_that_was_moved_away_and_back_is_kept() {
    let guarded = Guarded::start();
    let elsewhere = guarded.ground.dir().with_file_name("elsewhere");
    for _ in 0..100 {
        fs::rename(guarded.ground.dir(), &elsewhere).expect("move the directory");
        // If the server has made another one by now, that is its directory.
        if fs::rename(&elsewhere, guarded.ground.dir()).is_err() {
            fs::remove_dir_all(&elsewhere).expect("remove the old directory");
        }
    }
    guarded.wait_until_live();
    guarded
        .server
        .stop(Duration::ZERO)
        .expect("nothing is left");
    guarded.ground.assert_left_clean();
}

#[test]
fn what_is_lost_again_and_again_comes_back_every_time() {
    let guarded = Guarded::start();
    for _ in 0..8 {
        // The server may put something back while it is being emptied.
        while fs::remove_dir_all(guarded.ground.dir()).is_err() {}
        guarded.wait_until_live();
    }
    guarded
        .server
        .stop(Duration::ZERO)
        .expect("nothing is left");
    guarded.ground.assert_left_clean();
}

#[test]
fn an_ownership_that_somebody_else_has_taken_stops_the_server_and_nothing_of_theirs_is_touched() {
    let mut guarded = Guarded::start();
    let theirs = |name: &str| {
        let path = guarded.ground.dir().join(format!("their-{name}"));
        let mut file = File::create_new(&path).expect("a file of theirs");
        file.write_all(b"theirs").expect("write it");
        file.lock().expect("lock it");
        fs::rename(&path, guarded.ground.dir().join(name)).expect("put it in place");
        file
    };
    let held = [theirs(LOCK), theirs(RECORD)];

    guarded.wait_for(|event| matches!(event, LifecycleEvent::Stopped(_)));

    let report = guarded.server.wait().expect("a report");
    assert!(
        matches!(report.cause, StopCause::OwnershipLost),
        "{report:?}"
    );
    assert!(is_refused(guarded.server.addr()));
    assert_eq!(guarded.ground.names(), [RECORD, LOCK]);
    for path in [guarded.ground.record(), guarded.ground.lock()] {
        assert_eq!(fs::read(&path).expect("it is there"), b"theirs", "{path:?}");
    }
    drop(held);
}
