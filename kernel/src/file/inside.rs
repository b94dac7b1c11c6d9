//! Operations on one name in an open directory.
//!
//! Only that name is looked up, and a symbolic link is never followed. Whatever
//! others put into the place of the directory or of its parents meanwhile, the
//! operation stays in the directory that was opened.
use super::{Base, Node, OpenFile, open};
use crate::client::remote::Remote;
use crate::name::{NameSpace, Viewpoint};
use crate::text;
use abi::{Errno, Stat, mode};
use alloc::sync::Arc;
use alloc::vec::Vec;
use names::{Last, Path};

/// How a name in a directory is reached.
enum Way<'b> {
    /// By the path, seen from the directory's own.
    Path(Viewpoint),
    /// From the directory.
    Fid(&'b Remote),
}

impl Base {
    fn way(&self, names: &Arc<NameSpace>, name: &[u8]) -> Result<Way<'_>, Errno> {
        if name.contains(&b'/') || matches!(name, b"" | b"." | b"..") {
            return Err(Errno::EINVAL);
        }
        if let Some(directory) = &self.path {
            let view = Viewpoint {
                names: names.clone(),
                directory: directory.clone(),
            };
            let bound = match view.clean(name) {
                // Nothing is bound to a path that is too long.
                Err(Errno::ENAMETOOLONG) => false,
                path => names.resolve(&path?)?.point,
            };
            if bound || self.remote.is_none() {
                return Ok(Way::Path(view));
            }
        }
        let remote = self.remote.as_ref();
        remote.map(Way::Fid).ok_or(Errno::ENAMETOOLONG)
    }

    /// The path of a name, if it is not too long.
    fn path_of(&self, name: &[u8]) -> Result<Option<Path>, Errno> {
        let Some(directory) = &self.path else {
            return Ok(None);
        };
        match Path::clean(directory, name) {
            Err(Errno::ENAMETOOLONG) => Ok(None),
            path => path.map(Some),
        }
    }
}

/// The base of an open directory. `ENOTDIR`: it was not opened as one.
fn base(directory: &OpenFile) -> Result<&Base, Errno> {
    directory.base.as_deref().ok_or(Errno::ENOTDIR)
}

/// `ELOOP` for a symbolic link at the path.
fn refuse_link(view: &Viewpoint, name: &[u8]) -> Result<(), Errno> {
    match open::stat(view, name, Last::Keep) {
        Ok(stat) if stat.is_link() => Err(Errno::ELOOP),
        Ok(_) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Opens a file that exists.
pub fn open(
    view: &Viewpoint,
    directory: &OpenFile,
    name: &[u8],
    mode: u32,
) -> Result<OpenFile, Errno> {
    open::check_mode(mode)?;
    let own = base(directory)?;
    open::looking_again(|| match own.way(&view.names, name)? {
        Way::Path(view) => {
            refuse_link(&view, name)?;
            open::open(&view, name, mode)
        }
        Way::Fid(remote) => {
            let node = Node::Remote(remote.inside(name)?);
            if node.is_link() {
                return Err(Errno::ELOOP);
            }
            let path = own.path_of(name)?;
            let path = path.as_deref();
            let inner = match mode & mode::ODIRECTORY {
                0 => None,
                _ => Some(open::base(&node, path, false)?),
            };
            let shown = text::shown(path.unwrap_or(name))?;
            let mut file = OpenFile::new(node.open(mode)?, mode, shown);
            file.base = inner;
            Ok(file)
        }
    })
}

/// Makes a file or, with `DMDIR`, a directory, and opens it.
pub fn create(
    view: &Viewpoint,
    directory: &OpenFile,
    name: &[u8],
    mode: u32,
    permissions: u32,
) -> Result<OpenFile, Errno> {
    let own = base(directory)?;
    let remote = match own.way(&view.names, name)? {
        Way::Path(view) => {
            refuse_link(&view, name)?;
            return open::create(&view, name, mode, permissions);
        }
        Way::Fid(remote) => remote,
    };
    open::check_create_mode(mode)?;
    if permissions & mode::DMDIR != 0 {
        remote.make_directory(name, permissions)?;
        return open::after(|| open(view, directory, name, mode::OREAD));
    }
    let shown = text::shown(own.path_of(name)?.as_deref().unwrap_or(name))?;
    let mut file = remote.another()?;
    file.create(name, mode, permissions)?;
    let kept = mode & !(mode::OEXCL | mode::OKEEP);
    Ok(OpenFile::new(Node::Remote(file), kept, shown))
}

/// The attributes of a file; of a link, its own.
pub fn stat(view: &Viewpoint, directory: &OpenFile, name: &[u8]) -> Result<Stat, Errno> {
    let own = base(directory)?;
    open::looking_again(|| match own.way(&view.names, name)? {
        Way::Path(view) => open::stat(&view, name, Last::Keep),
        Way::Fid(remote) => remote.stat_inside(name),
    })
}

/// The text of a symbolic link.
pub fn read_link(view: &Viewpoint, directory: &OpenFile, name: &[u8]) -> Result<Vec<u8>, Errno> {
    let own = base(directory)?;
    open::looking_again(|| match own.way(&view.names, name)? {
        Way::Path(view) => open::read_link(&view, name),
        Way::Fid(remote) => match remote.inside(name)? {
            link if link.is_link() => link.read_link(),
            _ => Err(Errno::EINVAL),
        },
    })
}

/// Makes a symbolic link with that text.
pub fn make_link(
    view: &Viewpoint,
    directory: &OpenFile,
    name: &[u8],
    link_text: &[u8],
) -> Result<(), Errno> {
    if link_text.is_empty() {
        return Err(Errno::ENOENT);
    }
    let own = base(directory)?;
    open::looking_again(|| match own.way(&view.names, name)? {
        Way::Path(view) => open::make_link(&view, link_text, name),
        Way::Fid(remote) => remote.make_link(name, link_text),
    })
}

/// Removes a file or an empty directory.
pub fn remove(view: &Viewpoint, directory: &OpenFile, name: &[u8]) -> Result<(), Errno> {
    let own = base(directory)?;
    open::looking_again(|| match own.way(&view.names, name)? {
        Way::Path(view) => open::remove(&view, name),
        Way::Fid(remote) => remote.unlink(name, remote.inside(name)?.kind()),
    })
}
