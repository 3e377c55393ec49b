//! Which server is meant: by NAME, by `--state-dir`, or by the directory that one is in.

use std::path::{Path, PathBuf};

use crate::{Name, Place, ServerRecord, Sighting};

use super::Context;
use super::exit::{Exit, Failure};
use super::explain;
use super::output::{Output, shown};

/// A place, and how people call it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) place: Place,
    /// How to name it on a command line.
    pub(super) selector: String,
    /// The directory that lent its name, where none was given.
    lent_by: Option<PathBuf>,
}

impl Target {
    /// The server that is meant by NAME and `--state-dir`, or if there is neither, the one of the current directory.
    pub(super) fn find(name: Option<&str>, context: &Context) -> Result<Self, Failure> {
        match (&context.state_dir, name) {
            (Some(dir), name) => Self::at(dir, name),
            (None, Some(name)) => Self::named(name),
            (None, None) => {
                let dir = current_dir()?;
                let mut target = Self::named(name_of(&dir)?.as_str())?;
                target.lent_by = Some(dir);
                Ok(target)
            }
        }
    }

    /// The server that is meant by NAME and `--state-dir`, one of which must be there.
    pub(super) fn require(
        name: Option<&str>,
        context: &Context,
        verb: &str,
    ) -> Result<Self, Failure> {
        match name.is_none() && context.state_dir.is_none() {
            true => Err(no_name(verb)),
            false => Self::find(name, context),
        }
    }

    fn named(name: &str) -> Result<Self, Failure> {
        Ok(Self {
            place: Place::named(name).map_err(|error| explain::place(&error))?,
            selector: name.to_owned(),
            lent_by: None,
        })
    }

    fn at(dir: &Path, name: Option<&str>) -> Result<Self, Failure> {
        let place = Place::at(dir).map_err(|error| explain::place(&error))?;
        let asked = name.map(parse_name).transpose()?;
        let there = asked.as_ref().and_then(|_| place.look().name);
        match (asked, there) {
            (Some(asked), Some(there)) if asked != there => Err(Failure::new(
                Exit::Usage,
                format!(
                    "the server in {} is called {there}, not {asked}",
                    dir.display()
                ),
                "give either NAME or --state-dir (DAYMARK_STATE_DIR), not both",
            )),
            _ => Ok(Self {
                selector: state_dir_option(place.state_dir()),
                place,
                lent_by: None,
            }),
        }
    }

    /// A place that is known.
    #[cfg(unix)]
    pub(super) const fn given(place: Place, selector: String) -> Self {
        Self {
            place,
            selector,
            lent_by: None,
        }
    }

    /// How to call it in a sentence.
    pub(super) fn label(&self) -> String {
        label(self.place.name(), self.place.state_dir())
    }

    /// Says so where what was found only shares the current directory's name.
    pub(super) fn mention_namesake(&self, record: &ServerRecord, output: &Output) {
        if let Some(dir) = other_dir(record, self.lent_by.as_deref()) {
            let label = shown(&self.label());
            output.note(&format!("this {label} belongs to {}", shown(dir)));
        }
    }
}

/// The places that a verb without NAME is about: all of this user's, or the one of `--state-dir`.
pub(super) fn all(context: &Context) -> Result<Vec<Place>, Failure> {
    let places = match &context.state_dir {
        Some(dir) => Place::at(dir).map(|place| vec![place]),
        None => Place::all(),
    };
    places.map_err(|error| explain::place(&error))
}

/// How to call a server in a sentence: by its name, else by where its state is.
pub(super) fn label(name: Option<&Name>, state_dir: &Path) -> String {
    match name {
        Some(name) => name.to_string(),
        None => state_dir.display().to_string(),
    }
}

/// How to call what was seen.
pub(super) fn label_of(sighting: &Sighting) -> String {
    label(sighting.name.as_ref(), &sighting.state_dir)
}

/// A path as text, for JSON; what isn't UTF-8 in it is replaced.
pub(super) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The option that names a state directory, ready to be pasted into a shell.
pub(super) fn state_dir_option(dir: &Path) -> String {
    let dir = dir.display().to_string();
    match dir.starts_with('-') {
        // On its own it would be taken for another option.
        true => format!("--state-dir={}", quoted(&dir)),
        false => format!("--state-dir {}", quoted(&dir)),
    }
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    match text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

pub(super) fn parse_name(text: &str) -> Result<Name, Failure> {
    text.parse().map_err(|error| explain::invalid_name(&error))
}

/// The name that a directory lends to its server.
pub(super) fn name_of(dir: &Path) -> Result<Name, Failure> {
    dir.file_name()
        .and_then(|name| Name::made_from(&name.to_string_lossy()))
        .ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                format!("no name can be made from the directory {}", dir.display()),
                "give a NAME (DAYMARK_NAME)",
            )
        })
}

pub(super) fn current_dir() -> Result<PathBuf, Failure> {
    std::env::current_dir().map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("cannot find the current directory: {error}"),
            "give a NAME, or go to a directory that is there",
        )
    })
}

/// Why a server isn't ours to use or to replace, if it only shares the name that `lent_by` lent.
pub(super) fn namesake(
    record: &ServerRecord,
    lent_by: Option<&Path>,
    name: &Name,
) -> Option<Failure> {
    let dir = other_dir(record, lent_by)?;
    let url = record.endpoint.url();
    Some(Failure::new(
        Exit::AlreadyRunning,
        format!("{name} is already running at {url}, and belongs to {dir}"),
        "give this one a name of its own: -n NAME",
    ))
}

/// The directory that a server belongs to, if it and `dir` aren't of one project: neither lies within the other.
fn other_dir<'a>(record: &'a ServerRecord, dir: Option<&Path>) -> Option<&'a str> {
    let theirs = record.app.as_ref()?.dir.as_deref()?;
    // As it is written in a record.
    let ours = text(dir?);
    let of_one = Path::new(theirs).starts_with(&ours) || Path::new(&ours).starts_with(theirs);
    (!of_one).then_some(theirs)
}

fn no_name(verb: &str) -> Failure {
    Failure::new(
        Exit::Usage,
        format!("{verb} needs a NAME, or --state-dir"),
        format!("daymark {verb} NAME; daymark list shows the names"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_hint_can_be_pasted_into_a_shell() {
        assert_eq!(
            state_dir_option(Path::new("/a/b-c.d")),
            "--state-dir /a/b-c.d"
        );
        assert_eq!(
            state_dir_option(Path::new("/it's $HOME")),
            r"--state-dir '/it'\''s $HOME'"
        );
        assert_eq!(state_dir_option(Path::new("-x")), "--state-dir=-x");
        assert_eq!(state_dir_option(Path::new("- x")), "--state-dir='- x'");
    }

    #[test]
    fn a_directory_lends_its_name_where_it_can() {
        assert_eq!(
            name_of(Path::new("/x/My Site")).unwrap().as_str(),
            "my-site"
        );
        assert_eq!(name_of(Path::new("/")).unwrap_err().exit, Exit::Usage);
        assert_eq!(name_of(Path::new("/日本")).unwrap_err().exit, Exit::Usage);
    }
}
