//! `daymark doctor`: whether all that Daymark needs is there, and what to do if it isn't. Nothing that it makes stays.

mod store_probe;

use std::path::{Path, PathBuf};

use daymark_adapters::identity;
use daymark_adapters::port_picker::Loopback;
use daymark_adapters::state_store::FileStore;
use daymark_core::port_picker::{Listener as _, PortPicker as _, PortPreference};
use daymark_core::state_store::AcquireError;

use crate::{Place, Presence, Sighting, directories};

use super::args::DoctorArgs;
use super::exit::{Exit, Failure};
use super::json::{self, Object};
use super::output::{BAD, FAINT, GOOD, paint, shown};
use super::place::{Target, label_of, text};
use super::{Context, block_on, explain, seen};

/// One thing that was looked at.
struct Check {
    name: &'static str,
    ok: bool,
    detail: String,
    hint: Option<String>,
}

impl Check {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self {
            name,
            ok: true,
            detail,
            hint: None,
        }
    }

    fn bad(name: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            ok: false,
            hint: Some(hint.into()),
            ..Self::ok(name, detail)
        }
    }

    fn failed(name: &'static str, failure: Failure) -> Self {
        Self::bad(name, failure.sentence, failure.hint)
    }

    fn hinting(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    fn line(&self) -> String {
        let verdict = match self.ok {
            true => paint(GOOD, "ok "),
            false => paint(BAD, "bad"),
        };
        let line = format!("{verdict}  {}", shown(&self.detail));
        match &self.hint {
            Some(hint) => format!(
                "{line}\n     {}",
                paint(FAINT, &format!("hint: {}", shown(hint)))
            ),
            None => line,
        }
    }

    fn object(&self) -> Object {
        Object::new()
            .with("name", self.name)
            .with("ok", self.ok)
            .with("detail", self.detail.as_str())
            .with("hint", self.hint.as_deref())
    }
}

pub(super) fn run(args: &DoctorArgs, context: &Context) -> Result<Exit, Failure> {
    let given = match (&args.name, &context.state_dir) {
        (None, None) => None,
        (name, _) => Some(Target::find(name.as_deref(), context)?),
    };
    let output = &context.output;
    let examination = examine(given.as_ref(), context.state_dir.as_deref());
    let checks = block_on(output.meanwhile("looking around", examination))?;
    let ok = checks.iter().all(|check| check.ok);
    if output.json {
        let objects: Vec<Object> = checks.iter().map(Check::object).collect();
        let all = Object::new()
            .with("ok", ok)
            .with_json("checks", &json::array(&objects));
        output.object(&all);
    } else {
        checks.iter().for_each(|check| output.result(&check.line()));
    }
    Ok(match ok {
        true => Exit::Done,
        false => Exit::Failed,
    })
}

async fn examine(given: Option<&Target>, state_dir: Option<&Path>) -> Vec<Check> {
    let mut checks = vec![identity()];
    checks.extend([loopback_v4().await, loopback_v6().await]);
    let (root, where_state_is) = state_root();
    checks.push(root);
    // What is said of the file system is said of the one where the state will be.
    if let Some(dir) = state_dir.map(Path::to_owned).or(where_state_is) {
        checks.extend(store_probe::examine(&dir).await);
    }
    if let Some(target) = given {
        checks.push(directory_of(target));
        checks.push(server(target).await);
    }
    checks.push(leftovers());
    checks
}

fn identity() -> Check {
    const NAME: &str = "identity";
    let origin = identity::origin();
    let known = origin.boot_id.is_some() && origin.pid_ns.is_some() && origin.net_ns.is_some();
    match known || !cfg!(target_os = "linux") {
        true => Check::ok(NAME, "this boot and its namespaces are known"),
        false => Check::bad(
            NAME,
            "this boot or its namespaces are not known, so servers elsewhere look like ones here",
            "mount /proc, with /proc/sys/kernel/random/boot_id and /proc/self/ns",
        ),
    }
}

async fn loopback_v4() -> Check {
    const NAME: &str = "ipv4";
    match Loopback::V4.pick(PortPreference::Any).await {
        Ok(picked) => Check::ok(
            NAME,
            format!(
                "ports of {} can be had",
                picked.listener.endpoint().addr().ip()
            ),
        ),
        Err(error) => Check::bad(
            NAME,
            format!(
                "no port of 127.0.0.1 can be had: {}",
                explain::chain(&error)
            ),
            "bring the loopback interface up: ip link set lo up",
        ),
    }
}

/// Only programs that ask for it serve on `[::1]`, so that it is missing is no fault.
async fn loopback_v6() -> Check {
    const NAME: &str = "ipv6";
    match Loopback::V6.pick(PortPreference::Any).await {
        Ok(_) => Check::ok(NAME, "ports of ::1 can be had"),
        Err(_) => Check::ok(
            NAME,
            "ports of ::1 cannot be had, which few programs ask for",
        ),
    }
}

/// The root of all named servers' state, and where that is.
fn state_root() -> (Check, Option<PathBuf>) {
    const NAME: &str = "state_root";
    let root = match directories::state_root() {
        Ok(root) => root,
        Err(error) => return (Check::failed(NAME, explain::no_directories(&error)), None),
    };
    let path = root.display();
    let check = match std::fs::metadata(&root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Check::ok(NAME, format!("state will be kept in {path}"))
        }
        Err(error) => Check::failed(NAME, explain::no_directories(&error)),
        Ok(meta) if !meta.is_dir() => Check::bad(
            NAME,
            format!("{path} is not a directory"),
            format!("rm {path}"),
        ),
        Ok(meta) if is_anybodys(&meta) => Check::bad(
            NAME,
            format!("others may write to {path}"),
            format!("chown and chmod {path}: it should be yours, and nobody else's to write"),
        ),
        Ok(_) => Check::ok(NAME, format!("state is kept in {path}")),
    };
    (check, Some(root))
}

#[cfg(unix)]
fn is_anybodys(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    meta.uid() != rustix::process::geteuid().as_raw() || meta.mode() & 0o022 != 0
}

#[cfg(not(unix))]
fn is_anybodys(_: &std::fs::Metadata) -> bool {
    false
}

/// Whether state may be kept in the very directory.
fn is_safe(place: &Place) -> Result<(), AcquireError> {
    match FileStore::new(place.state_dir()) {
        Ok(store) => store.check(),
        // The path is absolute.
        Err(_) => Ok(()),
    }
}

fn directory_of(target: &Target) -> Check {
    const NAME: &str = "state_dir";
    match is_safe(&target.place) {
        Ok(()) => Check::ok(
            NAME,
            format!("{} may hold state", text(target.place.state_dir())),
        ),
        Err(error) => Check::failed(NAME, explain::acquire(&error, &target.selector)),
    }
}

async fn server(target: &Target) -> Check {
    const NAME: &str = "server";
    let sighting = target.place.look();
    let said = describe(&sighting);
    match sighting.presence {
        Presence::Live => match target.place.connect().await {
            Ok(_) => Check::ok(NAME, format!("{said}, and it is the one that answers")),
            Err(crate::ConnectError::NotOwner(_)) => Check::ok(NAME, said),
            Err(error) => Check::failed(NAME, explain::connect(&error, &target.selector)),
        },
        Presence::Absent | Presence::Starting | Presence::Stopping => Check::ok(NAME, said),
        Presence::Stale => Check::ok(NAME, said).hinting(PRUNE),
        Presence::Corrupt => Check::bad(NAME, said, "start it again, or remove it: daymark prune"),
        _ => Check::bad(NAME, said, seen::not_live(&sighting, &target.selector).hint),
    }
}

const PRUNE: &str = "daymark prune";

fn describe(sighting: &Sighting) -> String {
    let reason = sighting.reason.as_ref().map(|reason| format!(": {reason}"));
    let name = label_of(sighting);
    format!(
        "{name} is {}{}",
        sighting.presence,
        reason.unwrap_or_default()
    )
}

fn leftovers() -> Check {
    const NAME: &str = "leftovers";
    let places = match Place::all() {
        Ok(places) => places,
        Err(error) => return Check::failed(NAME, explain::place(&error)),
    };
    let refused = places.iter().find_map(|place| is_safe(place).err());
    if let Some(error) = refused {
        return Check::failed(NAME, explain::acquire(&error, "NAME"));
    }
    let has_left = |seen: &&Sighting| matches!(seen.presence, Presence::Stale | Presence::Corrupt);
    let left = match crate::list() {
        Ok(all) => all.iter().filter(has_left).count(),
        Err(error) => return Check::failed(NAME, explain::place(&error)),
    };
    match left {
        0 => Check::ok(NAME, "no server that died has left anything"),
        _ => Check::ok(
            NAME,
            format!("servers that died have left something: {left}"),
        )
        .hinting(PRUNE),
    }
}
