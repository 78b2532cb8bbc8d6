//! The directory of `--data`. Only one runner uses it at a time, and only its owner can read it.

use crate::error::StartError;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The file that a runner locks while it uses the directory.
const LOCK: &str = "lock";
/// This file exists while the database is being created. An empty database without this file has
/// lost its content.
const NEW: &str = "new";
const DATABASE: &str = "tasks.db";
/// SQLite's other files next to the database.
const BESIDE: [&str; 2] = ["tasks.db-wal", "tasks.db-shm"];

/// The directory, locked by this process.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Locks the directory for this process. Creates it if it is missing.
    pub(super) fn lock(path: &Path) -> Result<Self, StartError> {
        let failed = |error: io::Error| StartError::data(path, error);
        let is_new = !path.exists();
        fs::create_dir_all(path).map_err(|error| {
            if path.exists() {
                StartError::data(path, "it is not a directory")
            } else {
                failed(error)
            }
        })?;
        if is_new || has_only_own_files(path).map_err(failed)? {
            private::directory(path).map_err(failed)?;
        } else if private::is_open_to_others(path) {
            tracing::warn!(
                directory = %path.display(),
                "other users of this machine can read the --data directory; run chmod 700 on it to keep them out"
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

    /// The database's file. Creates it if it is missing.
    pub(super) fn database(&self) -> Result<PathBuf, StartError> {
        let failed = |error: io::Error| StartError::data(&self.path, error);
        let (database, new) = (self.path.join(DATABASE), self.path.join(NEW));
        let length = fs::metadata(&database).map(|metadata| metadata.len());
        match length {
            Ok(0) if !new.exists() => {
                let detail = "its tasks.db is empty, so it is damaged (remove it to start over)";
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

    /// Records that the database has its table.
    pub(super) fn mark_created(&self) -> Result<(), StartError> {
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

/// Opens a file that only its owner may read. Creates it if it is missing.
fn file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    private::new(&mut options);
    let file = options.open(path)?;
    private::file(path)?;
    Ok(file)
}

/// Whether a directory holds only a runner's files.
fn has_only_own_files(path: &Path) -> io::Result<bool> {
    let own = [LOCK, NEW, DATABASE, BESIDE[0], BESIDE[1]];
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if !own.iter().any(|own| name == *own) {
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

/// On other systems the directory's own permissions apply.
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
