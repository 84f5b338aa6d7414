//! The lock that makes a store one process's.
//!
//! It is an operating system's lock on a file beside the store, so it ends with the process that holds it, however
//! that ends. What the file says is for people and is true only while the lock is held; the file is never removed,
//! because a lock on a removed file keeps nobody out.

use super::errors::OpenError;
use amends_core::time::Timestamp;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// More than any holder writes, so that a wrong file beside the store cannot flood an error message.
const HOLDER_BYTES_MAX: u64 = 200;

/// The lock; it is freed when this is dropped.
#[derive(Debug)]
pub(super) struct FileLock {
    _file: File,
}

impl FileLock {
    /// Takes the lock of the store at `path`, or says who has it.
    pub(super) fn take(path: &Path) -> Result<FileLock, OpenError> {
        let beside = lock_path(path);
        let unusable = |error: io::Error| OpenError::Unusable {
            path: path.to_owned(),
            why: format!("its lock file {}: {error}", beside.display()),
        };
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&beside).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {
                sign(&mut file).map_err(unusable)?;
                Ok(FileLock { _file: file })
            }
            Err(TryLockError::WouldBlock) => Err(OpenError::Held { path: path.to_owned(), holder: holder(&mut file) }),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn sign(file: &mut File) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = Timestamp(u64::try_from(now).unwrap_or_default());
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "process {} since {now}", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(HOLDER_BYTES_MAX).read_to_string(&mut text) {
        Ok(1..) => text,
        Ok(0) | Err(_) => "another process".into(),
    }
}
