//! The place for a guest's memory that does not fit into its frames.

use crate::checkout;
use crate::failure::{Context, Failure};
use crate::memory;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of the image, unless `--swap` says otherwise.
pub const SIZE: u64 = 4 << 30;
/// The smallest image, in bytes.
const SIZE_MIN: u64 = 1 << 20;
/// The largest image, in bytes.
const SIZE_MAX: u64 = 8 << 40;

/// Where a guest swaps to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Swap {
    /// Nowhere: what is in its memory stays there.
    #[default]
    None,
    /// A sparse image of that many bytes, which is gone after the run.
    Size(u64),
    /// An image of the host. What it holds is overwritten.
    Image(PathBuf),
    /// Temporary files in a directory of the host.
    Directory(PathBuf),
}

impl Swap {
    /// Parses the value of `--swap`: `none`, a size, or a directory.
    ///
    /// # Errors
    /// It is none of these.
    pub fn parse(text: &str) -> Result<Swap, Failure> {
        let wrong = |why: &str| Err(Failure::setup(format!("--swap {text}: {why}")));
        if text == "none" {
            return Ok(Swap::None);
        }
        match memory::bytes(text) {
            Some(..SIZE_MIN) => wrong("1M at least, or none"),
            Some(SIZE_MAX..) => wrong("less than 8T"),
            Some(size) => Ok(Swap::Size(size)),
            None if Path::new(text).is_dir() => Ok(Swap::Directory(text.into())),
            None => wrong("not a size like 512M or 4G, a directory, or none"),
        }
    }

    /// Opens or makes the place for one run.
    ///
    /// # Errors
    /// It cannot be made, or opened.
    pub fn prepare(&self) -> Result<Place, Failure> {
        match self {
            Swap::None => Ok(Place::None),
            Swap::Size(size) => Ok(Place::Image(Arc::new(unnamed(*size)?))),
            Swap::Image(path) => {
                let open = OpenOptions::new().read(true).write(true).open(path);
                let image = open.context(|| format!("swap image {}", path.display()))?;
                Ok(Place::Image(Arc::new(image)))
            }
            Swap::Directory(path) => match path.is_dir() {
                true => Ok(Place::Directory(path.clone())),
                false => {
                    let path = path.display();
                    Err(Failure::setup(format!(
                        "swap directory {path}: not a directory"
                    )))
                }
            },
        }
    }
}

/// Where one run of a guest swaps to.
#[derive(Clone, Debug, Default)]
pub enum Place {
    /// Nowhere.
    #[default]
    None,
    /// An image, open to be read and written.
    Image(Arc<File>),
    /// A directory.
    Directory(PathBuf),
}

impl Place {
    /// The value of the guest's boot option, if there is any.
    pub fn option(&self) -> Option<&'static str> {
        match self {
            Place::None => None,
            Place::Image(_) => Some("image"),
            Place::Directory(_) => Some("directory"),
        }
    }
}

/// A sparse file in cargo's target folder, beside the sample to share. It has no name
/// any more, so it is gone when its guest is, however that ends.
fn unnamed(size: u64) -> Result<File, Failure> {
    let folder = checkout::target_dir()?;
    let make = || -> std::io::Result<File> {
        fs::create_dir_all(&folder)?;
        let file = tempfile::tempfile_in(&folder)?;
        file.set_len(size)?;
        Ok(file)
    };
    make().context(|| format!("cannot make the swap image in {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_size_a_directory_and_none_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        assert_eq!(Swap::parse("none").unwrap(), Swap::None);
        assert_eq!(Swap::parse("1.5G").unwrap(), Swap::Size(3 << 29));
        assert_eq!(Swap::parse(path).unwrap(), Swap::Directory(path.into()));
        for (text, why) in [
            ("0", "1M at least"),
            ("8T", "less than 8T"),
            ("much", "not a size"),
            ("", "not a size"),
            ("/no/such", "not a size"),
        ] {
            let failure = Swap::parse(text).unwrap_err();
            assert!(failure.text.contains(why), "{text}: {failure}");
            assert!(failure.text.starts_with("--swap "), "{failure}");
        }
    }

    #[test]
    fn an_image_is_sparse_and_has_no_name() {
        let Place::Image(image) = Swap::Size(SIZE).prepare().unwrap() else {
            panic!("no image");
        };
        let facts = image.metadata().unwrap();
        assert_eq!((facts.len(), facts.blocks(), facts.nlink()), (SIZE, 0, 0));
    }

    #[test]
    fn what_is_not_there_is_named() {
        for swap in [
            Swap::Image("/no/such".into()),
            Swap::Directory("/no/such".into()),
        ] {
            let failure = swap.prepare().unwrap_err();
            assert!(failure.text.contains("/no/such"), "{failure}");
        }
    }
}
