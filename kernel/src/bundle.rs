//! The boot bundle: the archive of files that came with the kernel.
use spin::Once;
use tar_no_std::TarArchiveRef;

static BUNDLE: Once<&'static [u8]> = Once::new();

/// Says where the bundle is; once, at start.
pub fn set(bundle: &'static [u8]) {
    BUNDLE.call_once(|| bundle);
}

/// Calls `f` with number, name and content of each file until it returns
/// something.
pub fn find<T>(mut f: impl FnMut(usize, &str, &'static [u8]) -> Option<T>) -> Option<T> {
    let archive = TarArchiveRef::new(BUNDLE.get()?).ok()?;
    let mut entries = archive.entries().enumerate();
    entries.find_map(|(index, entry)| {
        let name = entry.filename();
        f(index, name.as_str().ok()?, entry.data())
    })
}

/// The content of a file.
pub fn content(path: &str) -> Option<&'static [u8]> {
    find(|_, name, data| (name == path).then_some(data))
}
