//! A small ext4 file system of its own, in a file, whose power can be cut.
//!
//! Needs root and loop devices. Whatever becomes of a test, nothing stays mounted: the kernel gives the loop device back
//! with the last mount of it.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use crate::files::Ground;
use crate::programs::{can_run, not_run};

/// In bytes. The smallest that has a journal and room for thousands of records.
const SIZE: u64 = 16 * 1024 * 1024;

/// `EXT4_IOC_SHUTDOWN` without flushing the journal (fs/ext4/ext4.h in Linux): from then on nothing reaches the disk. The
/// program arms itself, and cuts when it hears a line.
const CUT: &str = r#"
import fcntl, os, struct, sys
root = os.open(sys.argv[1], os.O_RDONLY)
print("armed", flush=True)
sys.stdin.readline()
fcntl.ioctl(root, 0x8004587D, struct.pack("I", 2))
print("cut", flush=True)
"#;

/// A file system, mounted or not.
#[derive(Debug)]
pub struct Disk {
    temp: tempfile::TempDir,
    mounted: Option<PathBuf>,
    image: PathBuf,
    mounts: usize,
}

impl Disk {
    /// A fresh one, mounted with these options; none where that can't be done, which is said.
    ///
    /// # Panics
    ///
    /// Where it must be possible, and fails.
    #[must_use]
    pub fn new(options: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            not_run("only root mounts file systems");
            return None;
        }
        if !can_run(&["mkfs.ext4", "mount", "umount", "python3"]) {
            return None;
        }
        let mut disk = Self::unmounted();
        let image = File::create_new(&disk.image).expect("a file");
        image.set_len(SIZE).expect("a size for it");
        succeed(
            Command::new("mkfs.ext4")
                .args(["-q", "-F"])
                .arg(&disk.image),
        );
        match disk.try_mount(options) {
            Ok(()) => Some(disk),
            // A container, perhaps.
            Err(why) => {
                not_run(&format!("root may not mount here: {why}"));
                None
            }
        }
    }

    /// Its state directory, by the path that it has now.
    ///
    /// # Panics
    ///
    /// If it isn't mounted.
    #[must_use]
    pub fn ground(&self) -> Ground {
        Ground::at(self.root().join("state"))
    }

    /// Has the journal written out, as any program does that syncs a file. What isn't synced itself stays behind.
    ///
    /// # Errors
    ///
    /// When the power is off.
    pub fn commit(&self) -> io::Result<()> {
        let mut other = File::create(self.root().join("other"))?;
        other.write_all(b"x")?;
        other.sync_all()
    }

    /// What will cut its power.
    ///
    /// # Panics
    ///
    /// If that can't be prepared.
    #[must_use]
    pub fn switch(&self) -> Switch {
        Switch::arm(self.root())
    }

    /// After a power cut: mounts it again, somewhere else.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn mount_again(&mut self, options: &str) {
        self.unmount();
        // The old mount may live on for a moment, in a forked process or in a copy of the mount namespace, and its dead file
        // system would be mounted again with the same file.
        let old = self.image.clone();
        self.image = self.temp.path().join(format!("image-{}", self.mounts));
        std::fs::copy(&old, &self.image).expect("copy the image");
        std::fs::remove_file(old).expect("remove the old one");
        self.try_mount(options).expect("it was mounted before");
    }

    /// A copy of what is on it now, while it is in use.
    ///
    /// # Panics
    ///
    /// If that fails.
    #[must_use]
    pub fn copy(&self, options: &str) -> Self {
        let mut copy = Self::unmounted();
        std::fs::copy(&self.image, &copy.image).expect("copy the image");
        copy.try_mount(options).expect("its twin is mounted");
        copy
    }

    fn unmounted() -> Self {
        let temp = tempfile::tempdir().expect("a temporary directory");
        Self {
            image: temp.path().join("image"),
            temp,
            mounted: None,
            mounts: 0,
        }
    }

    fn root(&self) -> &Path {
        self.mounted.as_deref().expect("it is mounted")
    }

    fn try_mount(&mut self, options: &str) -> Result<(), String> {
        self.mounts += 1;
        let at = self.temp.path().join(format!("mounted-{}", self.mounts));
        std::fs::create_dir(&at).expect("a directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "ext4", "-o", &format!("loop,{options}")]);
        let output = output(mount.arg(&self.image).arg(&at));
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        self.mounted = Some(at);
        Ok(())
    }

    fn unmount(&mut self) {
        if let Some(at) = self.mounted.take() {
            // Lazily, for whatever a test that panics has left in there, or a process that is being forked just now.
            drop(output(Command::new("umount").arg("--lazy").arg(at)));
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.unmount();
    }
}

/// Cuts the power of a disk when it is pressed.
#[derive(Debug)]
pub struct Switch {
    python: Child,
    stdin: ChildStdin,
    said: BufReader<std::process::ChildStdout>,
}

impl Switch {
    fn arm(root: &Path) -> Self {
        let mut python = Command::new("python3")
            .args(["-c", CUT])
            .arg(root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run python3");
        let mut switch = Self {
            stdin: python.stdin.take().expect("stdin is a pipe"),
            said: BufReader::new(python.stdout.take().expect("stdout is a pipe")),
            python,
        };
        assert_eq!(switch.hear(), "armed\n");
        switch
    }

    /// Cuts the power. What is written after this returns is lost, and so is what wasn't on its way to the disk.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn press(mut self) {
        writeln!(self.stdin).expect("it listens");
        assert_eq!(self.hear(), "cut\n");
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("it speaks");
        line
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        // It may be over already.
        let _ = self.python.kill();
        let _ = self.python.wait();
    }
}

fn output(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

fn succeed(command: &mut Command) {
    let output = output(command);
    assert!(output.status.success(), "{command:?}: {output:?}");
}
