//! The directory that keeps the tasks: one runner's at a time, and no other user's to read.

use crate::error::StartError;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Held while a runner uses the directory.
const LOCK: &str = "lock";
/// There while the database is made, so that one which was never finished is told from one that lost its content.
const NEW: &str = "new";
const DATABASE: &str = "tasks.db";
/// What SQLite keeps beside it.
const BESIDE: [&str; 2] = ["tasks.db-wal", "tasks.db-shm"];

/// The directory, held by this process.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Takes the directory for this process, and makes it if it is missing.
    pub(super) fn take(path: &Path) -> Result<Self, StartError> {
        let failed = |error: io::Error| StartError::data(path, error);
        let is_new = !path.exists();
        fs::create_dir_all(path).map_err(|error| {
            if path.exists() {
                StartError::data(path, "it is not a directory")
            } else {
                failed(error)
            }
        })?;
        if is_new || holds_ours_alone(path).map_err(failed)? {
            private::directory(path).map_err(failed)?;
        } else if private::is_open_to_others(path) {
            tracing::warn!(
                directory = %path.display(),
                "others on this machine may look into the directory of --data; to keep them out: chmod 700"
            );
        }
        let lock = file(&path.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(StartError::data(path, "another runner uses it")),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// The database's file, which is there afterwards.
    pub(super) fn database(&self) -> Result<PathBuf, StartError> {
        let failed = |error: io::Error| StartError::data(&self.path, error);
        let (database, new) = (self.path.join(DATABASE), self.path.join(NEW));
        let length = fs::metadata(&database).map(|metadata| metadata.len());
        match length {
            Ok(0) if !new.exists() => {
                let detail = "its tasks.db is empty, and so damaged (remove it to begin anew)";
                return Err(StartError::data(&self.path, detail));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                file(&new).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        file(&database).map_err(failed)?;
        for name in BESIDE {
            let beside = self.path.join(name);
            if beside.exists() {
                private::file(&beside).map_err(failed)?;
            }
        }
        Ok(database)
    }

    /// The database has its tables.
    pub(super) fn is_made(&self) -> Result<(), StartError> {
        match fs::remove_file(self.path.join(NEW)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StartError::data(&self.path, error))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Opens a file of its owner's, and makes it if it is missing.
fn file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    private::new(&mut options);
    let file = options.open(path)?;
    private::file(path)?;
    Ok(file)
}

/// Whether there is nothing in a directory but what a runner makes.
fn holds_ours_alone(path: &Path) -> io::Result<bool> {
    let ours = [LOCK, NEW, DATABASE, BESIDE[0], BESIDE[1]];
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if !ours.iter().any(|ours| name == *ours) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(unix)]
mod private {
    use std::fs::{self, OpenOptions, Permissions};
    use std::io;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    use std::path::Path;

    pub(super) fn directory(path: &Path) -> io::Result<()> {
        fs::set_permissions(path, Permissions::from_mode(0o700))
    }

    pub(super) fn file(path: &Path) -> io::Result<()> {
        fs::set_permissions(path, Permissions::from_mode(0o600))
    }

    pub(super) fn new(options: &mut OpenOptions) {
        options.mode(0o600);
    }

    pub(super) fn is_open_to_others(path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
    }
}

/// Elsewhere a directory's own rules have to do.
#[cfg(not(unix))]
mod private {
    use std::fs::OpenOptions;
    use std::io;
    use std::path::Path;

    pub(super) fn directory(_: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn file(_: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn new(_: &mut OpenOptions) {}

    pub(super) fn is_open_to_others(_: &Path) -> bool {
        false
    }
}
