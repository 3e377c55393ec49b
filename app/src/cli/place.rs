//! Which server is meant: by NAME, by `--state-dir`, or by the directory that one is in.

use std::path::{Path, PathBuf};

use crate::{Name, Place, Sighting};

use super::Context;
use super::exit::{Exit, Failure};
use super::explain;

/// A place, and how people call it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) place: Place,
    /// How to name it on a command line.
    pub(super) selector: String,
}

impl Target {
    /// The server that is meant by NAME and `--state-dir`, or if there is neither, the one of the current directory.
    pub(super) fn find(name: Option<&str>, context: &Context) -> Result<Self, Failure> {
        match (&context.state_dir, name) {
            (Some(dir), name) => Self::at(dir, name),
            (None, Some(name)) => Self::named(name),
            (None, None) => Self::named(current_name()?.as_str()),
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
        })
    }

    fn at(dir: &Path, name: Option<&str>) -> Result<Self, Failure> {
        let place = Place::at(dir).map_err(|error| explain::place(&error))?;
        let asked = name.map(parse_name).transpose()?;
        let there = place.look().name;
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
            }),
        }
    }

    /// How to call it in a sentence.
    pub(super) fn label(&self) -> String {
        label(self.place.name(), self.place.state_dir())
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
    format!("--state-dir {}", quoted(&dir.display().to_string()))
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

pub(super) fn current_name() -> Result<Name, Failure> {
    let dir: PathBuf = std::env::current_dir().map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("cannot find the current directory: {error}"),
            "give a NAME, or go to a directory that is there",
        )
    })?;
    name_of(&dir)
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
