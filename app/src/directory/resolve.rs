//! Decides which file under the root a URL path names, and opens it. These are the containment rules.
//!
//! Invariants
//!
//! 1. What is opened lies under the root with every symlink followed, and neither the path asked for nor the path it
//!    leads to has a hidden name in it. `beneath` holds this up against a directory that changes meanwhile.
//! 2. Only regular files and directories are opened; a FIFO would block, a device might act.
//! 3. An answer about something outside the root is the same whether it exists or not.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, Metadata},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    beneath::{open_beneath, read_names},
    opened::Opened,
    url_path::{UrlPath, is_plain},
};

/// What a path names.
pub(super) enum Found {
    File(Opened),
    /// `relative` is free of symlinks, and goes from the root.
    Directory {
        relative: PathBuf,
    },
}

/// Why a path is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Miss {
    Missing,
    /// Hidden, outside the root, or neither file nor directory.
    Refused,
    Unreadable,
    Failed,
}

impl From<io::Error> for Miss {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        // `ErrorKind::FilesystemLoop` isn't stable. Links that lead nowhere are as good as missing.
        #[cfg(unix)]
        if rustix::io::Errno::from_io_error(&error) == Some(rustix::io::Errno::LOOP) {
            return Self::Missing;
        }
        match error.kind() {
            Kind::NotFound | Kind::NotADirectory | Kind::InvalidFilename | Kind::InvalidInput => {
                Self::Missing
            }
            Kind::PermissionDenied => Self::Unreadable,
            _ => Self::Failed,
        }
    }
}

/// The directory that is served, and whether names that begin with a dot are.
#[derive(Clone, Debug)]
pub(super) struct Root {
    path: Arc<Path>,
    hidden_files: bool,
}

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let path = fs::canonicalize(path)?;
        if !fs::metadata(&path)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self {
            path: path.into(),
            hidden_files: false,
        })
    }

    pub(super) fn hidden_files(mut self, hidden_files: bool) -> Self {
        self.hidden_files = hidden_files;
        self
    }

    pub(super) fn find(&self, url: &UrlPath) -> Result<Found, Miss> {
        let wanted: PathBuf = url.names().iter().collect();
        match self.find_path(&wanted)? {
            Found::File(_) if url.names_directory() => Err(Miss::Missing),
            found => Ok(found),
        }
    }

    pub(super) fn index_of(&self, directory: &Path) -> Result<Opened, Miss> {
        match self.find_path(&directory.join("index.html"))? {
            Found::File(file) => Ok(file),
            Found::Directory { .. } => Err(Miss::Missing),
        }
    }

    /// The names in `directory` that may be served, at most `most`, and whether there are more.
    pub(super) fn names_in(
        &self,
        directory: &Path,
        most: usize,
    ) -> Result<(Vec<OsString>, bool), Miss> {
        let listed = |name: &OsString| is_plain(name) && (self.hidden_files || !is_hidden(name));
        let mut names = read_names(&self.path, directory)?
            .filter(|name| name.as_ref().map_or(true, listed))
            .take(most.saturating_add(1))
            .collect::<io::Result<Vec<_>>>()?;
        let cut = names.len() > most;
        names.truncate(most);
        Ok((names, cut))
    }

    /// What `find` would open for `wanted`, without opening it.
    pub(super) fn stat(&self, wanted: &Path) -> Result<(PathBuf, Metadata), Miss> {
        let relative = self.locate(wanted)?;
        let metadata = fs::symlink_metadata(self.path.join(&relative))?;
        if metadata.is_file() || metadata.is_dir() {
            Ok((relative, metadata))
        } else {
            Err(Miss::Refused)
        }
    }

    fn find_path(&self, wanted: &Path) -> Result<Found, Miss> {
        let (relative, metadata) = self.stat(wanted)?;
        if metadata.is_dir() {
            return Ok(Found::Directory { relative });
        }
        let file = open_beneath(&self.path, &relative)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(Miss::Refused);
        }
        // The name that was asked for, not where it leads, tells the content type.
        let name = wanted.file_name().unwrap_or_default();
        Ok(Found::File(Opened::new(name.into(), file, &metadata)))
    }

    /// Follows every symlink, and returns the path from the root if it stayed inside.
    fn locate(&self, wanted: &Path) -> Result<PathBuf, Miss> {
        if !self.shows(wanted) {
            return Err(Miss::Refused);
        }
        let follow = |path: &Path| fs::canonicalize(self.path.join(path));
        match follow(wanted) {
            Ok(real) => self.admit(&real).ok_or(Miss::Refused),
            // Behind a link that leads out, "missing" and "unreadable" would tell what is there: refuse it all.
            Err(error) => match wanted
                .ancestors()
                .skip(1)
                .find_map(|path| follow(path).ok())
            {
                Some(real) if self.admit(&real).is_none() => Err(Miss::Refused),
                _ => Err(error.into()),
            },
        }
    }

    fn admit(&self, real: &Path) -> Option<PathBuf> {
        let relative = real.strip_prefix(&self.path).ok()?;
        self.shows(relative).then(|| relative.to_owned())
    }

    fn shows(&self, relative: &Path) -> bool {
        let visible = |(depth, name)| !is_hidden(name) || (depth == 0 && name == ".well-known");
        self.hidden_files || relative.iter().enumerate().all(visible)
    }
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}
