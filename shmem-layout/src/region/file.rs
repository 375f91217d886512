//! A ring in a file.

use std::fs::File;
use std::path::Path;

use tempfile::Builder;

use super::{Region, RingPath, allocate, check_private_folder, map, open_private};
use crate::error::{AttachError, CreateError};

/// Makes the file under a temporary name and links it into place when it is complete.
pub(super) fn create(
    path: &Path,
    len: usize,
    is_huge: bool,
    format: impl FnOnce(&Region),
) -> Result<(), CreateError> {
    let folder = RingPath::from(path).folder();
    check_private_folder(&folder).map_err(CreateError::Folder)?;
    // Made with O_EXCL and mode 0600; removed again if anything below fails.
    let temporary = Builder::new().prefix(".ring").tempfile_in(&folder).map_err(CreateError::Make)?;
    allocate(temporary.as_file(), len, is_huge)?;
    format(&map(temporary.as_file()).map_err(CreateError::Make)?);
    match temporary.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(refused) if refused.error.kind() == std::io::ErrorKind::AlreadyExists => Err(CreateError::Exists),
        Err(refused) => Err(CreateError::Make(refused.error)),
    }
}

pub(super) fn open(path: &Path) -> Result<(Region, File), AttachError> {
    let file = open_private(path)?;
    check_private_folder(&RingPath::from(path).folder())?;
    if file.metadata().map_err(AttachError::Open)?.len() == 0 {
        return Err(AttachError::TooShort { len: 0 });
    }
    Ok((map(&file).map_err(AttachError::Open)?, file))
}
