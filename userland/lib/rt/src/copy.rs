//! Copying files by `read` and `write`, which moves no data between servers
//! with snapshots.

use crate::{Args, ByteStr, ByteString, Failure, File, Named, Segment, manual, mode, sys};
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
fn target(from: ByteStr<'_>, path: ByteStr<'_>) -> ByteString {
    match File::stat_path(path).is_ok_and(|stat| stat.is_dir()) {
        true => inside(path, last_part(from)),
        false => path.into(),
    }
}

/// Hands each of the paths but the last to `put`, with the path to give it: the
/// last one, or if that is a directory, a path in it. `put` returns true if it
/// did all that was asked; a failure is reported with the program's name, and the
/// others still follow. Returns the exit status, 1 after a failure.
///
/// # Errors
/// Fewer than two paths, or more than two of which the last is no directory.
pub fn each(
    program: &str,
    paths: Args,
    mut put: impl FnMut(ByteStr<'_>, ByteStr<'_>) -> Result<bool, Failure>,
) -> Result<u8, Failure> {
    let count = paths.len();
    let (Some(to), 2..) = (paths.get(count.wrapping_sub(1)), count) else {
        return Err(manual::misused());
    };
    if count > 2 && !File::stat_path(to).about(to)?.is_dir() {
        return Err(Failure::new(format_args!("{to}: {}", Errno::ENOTDIR)));
    }
    let mut status = 0;
    for from in paths.iter().take(count - 1) {
        match put(from, target(from, to).as_byte_str()) {
            Ok(true) => {}
            Ok(false) => status = 1,
            Err(failure) => {
                crate::eprintln!("{program}: {failure}");
                status = 1;
            }
        }
    }
    Ok(status)
}

/// The path of `name` in `directory`.
pub fn inside(directory: ByteStr<'_>, name: ByteStr<'_>) -> ByteString {
    let directory = directory.trim_end(b'/');
    ByteString([directory.bytes(), b"/", name.bytes()].concat())
}
