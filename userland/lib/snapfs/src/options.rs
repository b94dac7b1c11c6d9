//! What a client asks for in its attach name, for all that it reaches from
//! there: `DIR?OPTION,OPTION`. What follows the last `?` are options; a name
//! without one has none.
//!
//! | option | meaning |
//! |---|---|
//! | `refuse` | a write that would harm a snapshot is refused if the old bytes cannot be saved (default) |
//! | `break` | the write is done, and the blocks that could not be saved are lost to the snapshot |
//! | `check=open` | external writers are looked for at open and when a snapshot is taken (default) |
//! | `check=always` | and whenever a snapshot is read from the live file |
//! | `store=memory` | old bytes are saved in memory, as far as that goes |
//! | `store=DIR` | in that directory of the tree served, instead of its root |

use abi::Errno;
use ninep::ByteStr;

/// The options of one mount.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MountOptions {
    pub unsaved: Unsaved,
    pub check: Check,
}

/// The policy for before-images that cannot be saved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Unsaved {
    /// The snapshot: writers are refused.
    #[default]
    Refuse,
    /// The writer: the snapshot loses these bytes.
    Break,
}

/// When external writers are looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Check {
    /// At open, and when a snapshot is taken.
    #[default]
    Open,
    /// Also after each read of a snapshot from the live file.
    Always,
}

/// The place of before-images, the same for all of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Saving<'a> {
    Memory,
    /// In a directory, by its path in the tree served.
    Dir(ByteStr<'a>),
}

/// The content of an attach name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked<'a> {
    /// The directory to attach to.
    pub dir: ByteStr<'a>,
    pub options: MountOptions,
    pub saving: Option<Saving<'a>>,
}

/// Parses the name of an attach.
///
/// # Errors
/// `EINVAL`: an unknown option.
pub fn parse(aname: ByteStr<'_>) -> Result<Asked<'_>, Errno> {
    let (dir, list) = match aname.iter().rposition(|byte| *byte == b'?') {
        Some(at) => {
            let (dir, list) = aname.bytes().split_at(at);
            (ByteStr(dir), list.get(1..).unwrap_or(&[]))
        }
        None => (aname, &[][..]),
    };
    let mut options = MountOptions::default();
    let mut saving = None;
    for option in list.split(|byte| *byte == b',') {
        if option.is_empty() {
            continue;
        }
        match option {
            b"refuse" => options.unsaved = Unsaved::Refuse,
            b"break" => options.unsaved = Unsaved::Break,
            b"check=open" => options.check = Check::Open,
            b"check=always" => options.check = Check::Always,
            b"store=memory" => saving = Some(Saving::Memory),
            other => match other.strip_prefix(b"store=") {
                Some(dir) if !dir.is_empty() => saving = Some(Saving::Dir(ByteStr(dir))),
                _ => return Err(Errno::EINVAL),
            },
        }
    }
    Ok(Asked {
        dir,
        options,
        saving,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_directory_and_options() {
        let parse = |aname: ByteStr<'static>| parse(aname).map(|asked| (asked.dir, asked.options));
        let plain = MountOptions::default();
        assert_eq!(parse("".into()), Ok(("".into(), plain)));
        assert_eq!(parse("a/b".into()), Ok(("a/b".into(), plain)));
        assert_eq!(parse("what?/b?".into()), Ok(("what?/b".into(), plain)));
        let both = MountOptions {
            unsaved: Unsaved::Break,
            check: Check::Always,
        };
        assert_eq!(parse("a?check=always,break".into()), Ok(("a".into(), both)));
        assert_eq!(
            parse("?break,refuse,check=open".into()),
            Ok(("".into(), plain))
        );
        for wrong in [
            "?brake",
            "a?check",
            "?break;refuse",
            "a?b/c",
            "?store=",
            "?store",
        ] {
            assert_eq!(parse(wrong.into()), Err(Errno::EINVAL), "{wrong}");
        }
    }

    #[test]
    fn where_old_bytes_are_saved_is_memory_or_a_path() {
        let saving = |aname: &'static str| {
            let asked = parse(aname.into());
            asked.map(|asked| (asked.dir, asked.saving))
        };
        assert_eq!(saving("a?break"), Ok(("a".into(), None)));
        let memory = Some(Saving::Memory);
        assert_eq!(saving("?store=memory"), Ok(("".into(), memory)));
        let dir = Some(Saving::Dir("x/y".into()));
        assert_eq!(saving("a?store=x/y,break"), Ok(("a".into(), dir)));
    }
}
