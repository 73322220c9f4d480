use std::io::Write;
use std::path::Path;

use super::FormatError;

/// Writes a file whole or not at all: to a temporary file beside it, flushed to disk, then renamed.
///
/// Missing folders on the way are made. Replaces a file of that name, which stays as it was where
/// this fails, with [`FormatError::Io`]. The file's permissions are those of any new file.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("model.bcm");
/// burn_compress::format::write_atomically(&path, b"bytes")?;
/// assert_eq!(std::fs::read(&path)?, b"bytes");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FormatError> {
    let io = |source| FormatError::Io {
        path: path.to_path_buf(),
        source,
    };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(io)?;
    let mut file = new_file().tempfile_in(folder).map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map_err(|error| io(error.error))?;
    Ok(())
}

// A temporary file is its owner's alone, unless told otherwise; what is written here is kept.
#[cfg(unix)]
fn new_file() -> tempfile::Builder<'static, 'static> {
    use std::os::unix::fs::PermissionsExt;
    let mut builder = tempfile::Builder::new();
    builder.permissions(std::fs::Permissions::from_mode(0o666)); // less the user's umask
    builder
}

#[cfg(not(unix))]
fn new_file() -> tempfile::Builder<'static, 'static> {
    tempfile::Builder::new()
}
