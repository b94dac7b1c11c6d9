//! The boot bundle: the archive of files that came with the kernel.
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use hw::heap::new_arc_str;
use spin::Once;
use tar_no_std::TarArchiveRef;

/// A file of the bundle.
pub struct File {
    /// Its path.
    pub path: Arc<str>,
    /// Its bytes.
    pub content: &'static [u8],
    /// Its place in the archive.
    pub number: u64,
}

/// The files, sorted by their paths.
static FILES: Once<Vec<File>> = Once::new();

/// Says where the bundle is; once, at start. The archive is read here and not again: to
/// check its headers costs hundreds of thousands of instructions.
///
/// # Errors
/// `ENOMEM`; `EINVAL` if it is not an archive.
pub fn set(bundle: &'static [u8]) -> Result<(), Errno> {
    let archive = TarArchiveRef::new(bundle).map_err(|_| Errno::EINVAL)?;
    let mut files = Vec::new();
    let count = archive.entries().count();
    files.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    for (number, entry) in (0..).zip(archive.entries()) {
        let name = entry.filename();
        files.push(File {
            path: new_arc_str(name.as_str().map_err(|_| Errno::EINVAL)?)?,
            content: entry.data(),
            number,
        });
    }
    files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    FILES.call_once(|| files);
    Ok(())
}

/// The files, sorted by their paths.
pub fn files() -> &'static [File] {
    FILES.get().map_or(&[], Vec::as_slice)
}

/// The file with that path.
pub fn find(path: &[u8]) -> Option<&'static File> {
    let found = files().binary_search_by(|file| file.path.as_bytes().cmp(path));
    files().get(found.ok()?)
}
