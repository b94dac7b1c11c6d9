//! Copying files by `read` and `write`, which moves no data between servers
//! with snapshots.

use crate::{ByteStr, ByteString, Failure, File, Named, Segment, mode, sys};
use abi::{Errno, Stat};

/// Bytes copied at a time. A deferred read takes no memory; an eager one takes
/// this much.
const PIECE: usize = 16 << 20;
/// The piece to use if memory is short.
const SMALL_PIECE: usize = 64 << 10;

/// Copies the rest of `from` to `to` through a snapshot segment. A server with
/// snapshots clones the content, so that it does not pass through here.
pub fn content(from: &File, to: &File) -> Result<(), Errno> {
    let mut segment = Segment::attach("snapshot", PIECE)?;
    let mut piece = PIECE;
    loop {
        let n = match from.read(&mut segment.bytes_mut()[..piece]) {
            Ok(0) => return Ok(()),
            Err(Errno::ENOMEM) if piece > SMALL_PIECE => {
                segment.free(0, PIECE)?;
                piece = SMALL_PIECE;
                continue;
            }
            read => read?,
        };
        to.write_all(&segment.bytes()[..n])?;
    }
}

/// Copies the file `from` to the path `to`, which is created or replaced.
pub fn file(from: ByteStr<'_>, to: ByteStr<'_>) -> Result<(), Failure> {
    let source = File::open(from, mode::OREAD).about(from)?;
    let stat = source.stat().about(from)?;
    if stat.is_dir() {
        return Err(Failure::new(format_args!("{from}: {}", Errno::EISDIR)));
    }
    apart(&stat, from, to)?;
    let target = File::create(to, mode::OWRITE, stat.mode & 0o777).about(to)?;
    content(&source, &target).about(format_args!("{from} to {to}"))
}

/// Returns true if both belong to the same file. Of the kernel's own files only
/// directories have an identity.
pub fn same(one: &Stat, other: &Stat) -> bool {
    (one.server, one.qid_path) == (other.server, other.qid_path)
        && (one.server != 0 || (one.is_dir() && other.is_dir()))
}

/// Refuses a copy of `stat`'s file, at the path `from`, onto itself at `to`.
pub fn apart(stat: &Stat, from: ByteStr<'_>, to: ByteStr<'_>) -> Result<(), Failure> {
    match File::stat_path(to) {
        Ok(there) if same(stat, &there) => Err(Failure::new(format_args!(
            "{from} and {to} are the same file"
        ))),
        _ => Ok(()),
    }
}

/// The name of the file's type, unless it is an ordinary file or a directory.
pub fn special(stat: &Stat) -> Option<&'static str> {
    match stat.mode & 0o170_000 {
        0o020_000 => Some("character device"),
        0o060_000 => Some("block device"),
        0o010_000 => Some("pipe"),
        0o140_000 => Some("socket"),
        _ => None,
    }
}

/// Copies the symbolic link `from` to the path `to`, where it replaces a file.
pub fn link(from: ByteStr<'_>, to: ByteStr<'_>) -> Result<(), Failure> {
    let text = sys::read_link(from).about(from)?;
    match sys::symlink(&text, to) {
        Err(Errno::EEXIST) => {
            sys::remove(to).about(to)?;
            sys::symlink(&text, to).about(to)
        }
        made => made.about(to),
    }
}

/// The last component of a path.
pub fn last_part(path: ByteStr<'_>) -> ByteStr<'_> {
    let path = path.trim_end(b'/').bytes();
    ByteStr(path.rsplit(|byte| *byte == b'/').next().unwrap_or(path))
}

/// `path`, or if that is a directory, the path in it for `from`.
pub fn target(from: ByteStr<'_>, path: ByteStr<'_>) -> ByteString {
    match File::stat_path(path).is_ok_and(|stat| stat.is_dir()) {
        true => inside(path, last_part(from)),
        false => path.into(),
    }
}

/// The path of `name` in `directory`.
pub fn inside(directory: ByteStr<'_>, name: ByteStr<'_>) -> ByteString {
    let directory = directory.trim_end(b'/');
    ByteString([directory.bytes(), b"/", name.bytes()].concat())
}
