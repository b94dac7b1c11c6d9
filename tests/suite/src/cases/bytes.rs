//! Names, arguments and the environment are bytes: every file of a host can be
//! listed, opened and removed by its own name.

use super::Case;
use crate::check::{Verdict, fails, same};
use crate::testdir::TestDir;
use alloc::format;
use alloc::vec::Vec;
use rt::abi::mode;
use rt::process::{self, Fork};
use rt::{ByteStr, ByteString, Errno, File, sys};

pub const CASES: &[Case] = &[
    Case::new("bytes.names", names),
    Case::new("bytes.directories", directories),
    Case::new("bytes.refused", refused),
    Case::new("bytes.messages", messages),
    Case::new("bytes.arguments", arguments),
];

/// A name for each byte that can be in one, and some that look alike.
fn odd_names() -> Vec<ByteString> {
    let bytes = (1..=255u8).filter(|byte| !matches!(byte, b'/' | b'.'));
    let mut names: Vec<ByteString> = bytes.map(|byte| ByteString(Vec::from([byte]))).collect();
    names.push("\u{fffd}".into());
    names.push(ByteString(Vec::from(b"ab\xff\xfe\n\x1b[2J")));
    names.push(ByteString(Vec::from([0xe9; 255])));
    names.sort_unstable();
    names
}

fn names() -> Verdict {
    TestDir::each(|place| {
        let names = odd_names();
        for name in &names {
            let file = File::create(place.at(name), mode::OWRITE | mode::OEXCL, 0o644)?;
            file.write_all(name)?;
        }
        same("listed", place.names()?, names.clone())?;
        for name in &names {
            let read = File::open(place.at(name), mode::OREAD)?.read_to_end()?;
            same("content", ByteString(read), name.clone())?;
            same(
                "size",
                File::stat_path(place.at(name))?.size,
                name.len() as u64,
            )?;
        }
        let old = place.at(b"\xe9");
        sys::rename(&old, place.at(b"\xc3("))?;
        fails("renamed", File::stat_path(&old), Errno::ENOENT)?;
        sys::rename(place.at(b"\xc3("), &old)?;
        for name in &names {
            sys::remove(place.at(name))?;
        }
        same("left", place.names()?, Vec::new())
    })
}

fn directories() -> Verdict {
    TestDir::each(|place| {
        let path = place.at(b"\xff");
        drop(File::create(&path, mode::OREAD, mode::DMDIR | 0o755)?);
        sys::chdir(&path)?;
        same("working directory", sys::getwd()?, path.clone())?;
        drop(File::create(b"\xfe", mode::OWRITE, 0o644)?);
        sys::bind("/tmp", &path, rt::abi::bind::REPLACE)?;
        let hidden = File::stat_path([&path[..], b"/\xfe"].concat());
        sys::unmount(&path)?;
        fails("under what is bound", hidden, Errno::ENOENT)?;
        sys::remove(b"\xfe")?;
        sys::chdir("/")
            .and_then(|()| sys::remove(&path))
            .map_err(Into::into)
    })
}

fn refused() -> Verdict {
    let path = "/tmp/a\0b";
    fails("open", File::open(path, mode::OREAD), Errno::EINVAL)?;
    fails(
        "create",
        File::create(path, mode::OWRITE, 0o644),
        Errno::EINVAL,
    )?;
    fails("stat", File::stat_path(path), Errno::EINVAL)?;
    fails("remove", sys::remove(path), Errno::EINVAL)?;
    fails("rename", sys::rename(path, "/tmp/c"), Errno::EINVAL)?;
    fails("rename to", sys::rename("/tmp", path), Errno::EINVAL)?;
    fails("chdir", sys::chdir(path), Errno::EINVAL)?;
    fails("bind", sys::bind(path, "/tmp", 0), Errno::EINVAL)?;
    fails("unmount", sys::unmount(path), Errno::EINVAL)
}

/// The kernel's messages about a name are harmless to a terminal.
fn messages() -> Verdict {
    let missing = File::stat_path(b"/tmp/\x1b[2J\xff");
    fails("stat", missing, Errno::ENOENT)?;
    let mut buffer = [0; 400];
    let text = sys::errstr(&mut buffer);
    let wanted = format!(r"$'/tmp/\e[2J\xff': {}", Errno::ENOENT);
    same("text", text, wanted.as_str())
}

/// A program gets its arguments unchanged.
fn arguments() -> Verdict {
    let (ours, theirs) = File::pipe()?;
    let argument = b"a\xff\xfe \n\xc3";
    match process::fork()? {
        Fork::Child => {
            let led = theirs.dup_to(1).map(File::into_fd);
            let argv: [&[u8]; 2] = [b"echo", argument];
            let errno = match led {
                Ok(_) => process::exec_with("/bin/echo", &argv, &[b"B=\xff"]),
                Err(errno) => errno,
            };
            process::exit_now(1, errno.text())
        }
        Fork::Parent(pid) => {
            drop(theirs);
            let got = ours.read_to_end()?;
            process::wait_for(pid)?;
            let wanted = [argument, &b"\n"[..]].concat();
            same("echoed", ByteStr(&got), ByteStr(&wanted))
        }
    }
}
