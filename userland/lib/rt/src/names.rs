//! The name space: what is bound and mounted where.

use crate::{io, sys};
use abi::{BindInfo, Call, Errno, PATH_MAX, bind};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use bytestr::ByteString;

/// What is bound or mounted at a name.
pub struct Bound {
    /// Server and flags.
    pub info: BindInfo,
    /// The name.
    pub name: ByteString,
    /// The path in the tree of the server.
    pub path: ByteString,
}

/// All that is bound and mounted in the name space of the process, by names; the members
/// of a union as they are searched.
pub fn bound() -> Result<Vec<Bound>, Errno> {
    let (mut all, mut index) = (Vec::new(), 0);
    let mut names = vec![0; 2 * PATH_MAX];
    loop {
        let mut info = BindInfo::default();
        let (at, len) = sys::of_mut(&mut names);
        let record = &raw mut info as u64;
        // SAFETY: the kernel writes one `BindInfo`, and within `names`.
        index = unsafe { sys::call4(Call::NameInfo, index, record, at, len) }?;
        if index == 0 {
            all.sort_by(|a: &Bound, b| a.name.cmp(&b.name));
            return Ok(all);
        }
        let (name_len, path_len) = (info.name_len as usize, info.path_len as usize);
        let part = |from: usize, len| names.get(from..from + len).unwrap_or_default();
        all.push(Bound {
            info,
            name: part(0, name_len).to_vec().into(),
            path: part(name_len, path_len).to_vec().into(),
        });
    }
}

/// Prints it as commands, in Plan 9's way. A server is shown by its number.
pub fn print_bound() -> Result<(), Errno> {
    for bound in bound()? {
        let Bound { info, name, path } = &bound;
        let is_mount = info.server != 0 && path.is_empty();
        io::write(if is_mount { b"mount " } else { b"bind " })?;
        let letters = [(bind::AFTER, 'a'), (bind::CREATE, 'c'), (bind::EAGER, 'e')];
        let mut flags = letters.iter().filter(|(flag, _)| info.flags & flag != 0);
        if let Some((_, first)) = flags.next() {
            crate::print!("-{first}");
            flags.for_each(|(_, letter)| crate::print!("{letter}"));
            io::write(b" ")?;
        }
        let mut source = match info.server {
            0 => Vec::new(),
            server => format!("#{server}").into_bytes(),
        };
        if !is_mount {
            source.push(b'/');
        }
        source.extend_from_slice(path);
        write_word(&source)?;
        io::write(b" ")?;
        write_word(name)?;
        io::write(b"\n")?;
    }
    Ok(())
}

/// Prints a name as a word of the shell.
pub fn write_word(name: &[u8]) -> Result<(), Errno> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(byte);
    if !name.is_empty() && name.iter().all(is_plain) {
        return io::write(name);
    }
    if bytestr::shown::plain(name).is_none() {
        // Escaped, it is a word too.
        crate::print!("{}", bytestr::ByteStr(name));
        return Ok(());
    }
    io::write(b"'")?;
    for (number, part) in name.split(|byte| *byte == b'\'').enumerate() {
        if number > 0 {
            io::write(b"'\\''")?;
        }
        io::write(part)?;
    }
    io::write(b"'")
}
