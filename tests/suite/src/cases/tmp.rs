//! Files in memory: ramfs at `/tmp`, and one with little room.

use super::Case;
use crate::check::{PG, Verdict, Why, equal, fails, patterned, same};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use rt::abi::{bind, mode, whence};
use rt::{Errno, File, process, service, sys};

pub const CASES: &[Case] = &[
    Case::new("tmp.write", write),
    Case::new("tmp.size", size),
    Case::new("tmp.directories", directories),
    Case::new("tmp.rename", rename),
    Case::new("tmp.unlinked", unlinked),
    Case::new("tmp.wrong", wrong),
    Case::new("tmp.many-names", many_names),
    Case::new("tmp.full", full),
];

/// A directory in `/tmp`, removed with all in it when dropped.
struct TestDir(&'static str);

impl TestDir {
    fn new() -> Result<TestDir, Errno> {
        let path = "/tmp/suite";
        mkdir(path)?;
        Ok(TestDir(path))
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.0)
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        remove_all(self.0);
    }
}

fn remove_all(path: &str) {
    for name in names(path).unwrap_or_default() {
        remove_all(&format!("{path}/{name}"));
    }
    let _ = sys::remove(path);
}

fn mkdir(path: &str) -> Result<(), Errno> {
    File::create(path, mode::OREAD, mode::DMDIR | 0o755).map(drop)
}

fn make(path: &str, bytes: &[u8]) -> Result<(), Errno> {
    File::create(path, mode::OWRITE, 0o644)?.write_all(bytes)
}

fn content(path: &str) -> Result<Vec<u8>, Errno> {
    File::open(path, mode::OREAD)?.read_to_end()
}

fn names(path: &str) -> Result<Vec<String>, Errno> {
    let directory = File::open(path, mode::OREAD)?;
    let mut names = Vec::new();
    for entry in directory.read_dir() {
        names.push(entry?.name.to_string());
    }
    names.sort_unstable();
    Ok(names)
}

fn write() -> Verdict {
    let place = TestDir::new()?;
    let path = place.at("file");
    let want = patterned(3, 0, 300_000);
    let file = File::create(&path, mode::ORDWR | mode::OEXCL, 0o640)?;
    file.write_all(&want)?;
    equal("written", &content(&path)?, &want)?;
    file.write_all_at(b"over the end of a page", PG as u64 - 7)?;
    let mut some = [0; 22];
    same("read", file.read_at(&mut some, PG as u64 - 7)?, 22)?;
    same("across a page", &some, b"over the end of a page")?;
    let stat = file.stat()?;
    same("size", stat.size, 300_000)?;
    same("mode", stat.mode, 0o100_640)?;
    let now = rt::time::now_ns()?;
    ensure!(
        now.abs_diff(stat.mtime_ns) < 60_000_000_000,
        "the time is {now}, that of the file {}",
        stat.mtime_ns
    );
    file.sync()?;
    make(&path, b"short")?;
    same("truncated", &content(&path)?[..], &b"short"[..])?;
    for text in [b" and", b" on."] {
        let end = File::open(&path, mode::OWRITE | mode::OAPPEND)?;
        end.write_all(text)?;
    }
    same("appended", &content(&path)?[..], &b"short and on."[..])
}

fn size() -> Verdict {
    let place = TestDir::new()?;
    let file = File::create(&place.at("file"), mode::ORDWR, 0o644)?;
    file.write_all(&patterned(1, 0, 3 * PG))?;
    file.set_size(PG as u64 + 10)?;
    file.set_size(3 * PG as u64)?;
    let mut want = patterned(1, 0, PG + 10);
    want.resize(3 * PG, 0);
    let mut got = vec![1; 4 * PG];
    let n = file.read_full_at(&mut got, 0)?;
    equal("cut off and extended", &got[..n], &want)?;
    // Far more than there is memory.
    file.set_size(1 << 40)?;
    file.write_all_at(b"end", (1 << 40) - 3)?;
    same("size", file.stat()?.size, 1 << 40)?;
    let n = file.read_full_at(&mut got, (1 << 40) - 8)?;
    same("the end", &got[..n], &b"\0\0\0\0\0end"[..])?;
    file.set_size(0)?;
    same("empty", file.read_at(&mut got, 0)?, 0)
}

fn directories() -> Verdict {
    let place = TestDir::new()?;
    let (outer, inner) = (place.at("d"), place.at("d/e"));
    mkdir(&outer)?;
    mkdir(&inner)?;
    fails("making it again", mkdir(&outer), Errno::EEXIST)?;
    make(&place.at("d/e/f"), b"deep")?;
    same("deep", &content(&place.at("d/e/../e/f"))?[..], &b"deep"[..])?;
    fails("removing it", sys::remove(&outer), Errno::ENOTEMPTY)?;
    sys::remove(&place.at("d/e/f"))?;
    sys::remove(&inner)?;
    sys::remove(&outer)?;
    fails("it", File::stat_path(&outer), Errno::ENOENT)
}

fn rename() -> Verdict {
    let place = TestDir::new()?;
    let [a, b, d, e] = ["a", "b", "d", "d/e"].map(|name| place.at(name));
    make(&a, b"a")?;
    make(&b, b"b")?;
    mkdir(&d)?;
    mkdir(&e)?;
    let old = File::open(&b, mode::OREAD)?;
    sys::rename(&a, &b)?;
    same("over another", &content(&b)?[..], &b"a"[..])?;
    same("the other", &old.read_to_end()?[..], &b"b"[..])?;
    fails("the old name", File::stat_path(&a), Errno::ENOENT)?;
    sys::rename(&b, &place.at("d/e/f"))?;
    same("moved", &content(&place.at("d/e/f"))?[..], &b"a"[..])?;
    fails(
        "into itself",
        sys::rename(&d, &place.at("d/e/g")),
        Errno::EINVAL,
    )?;
    make(&a, b"again")?;
    fails(
        "a file over a directory",
        sys::rename(&a, &e),
        Errno::EISDIR,
    )?;
    fails(
        "a directory over a file",
        sys::rename(&e, &a),
        Errno::ENOTDIR,
    )?;
    mkdir(&b)?;
    fails("over a full one", sys::rename(&b, &e), Errno::ENOTEMPTY)?;
    sys::rename(&e, &b)?;
    same("in it", names(&b)?.join(" "), "f".into())
}

/// A file without a name stays as long as it is open.
fn unlinked() -> Verdict {
    let place = TestDir::new()?;
    let path = place.at("file");
    let file = File::create(&path, mode::ORDWR, 0o644)?;
    file.write_all(b"before ")?;
    sys::remove(&path)?;
    fails("its name", File::stat_path(&path), Errno::ENOENT)?;
    make(&path, b"another")?;
    file.write_all(b"after")?;
    file.seek(0, whence::SET)?;
    same("it", &file.read_to_end()?[..], &b"before after"[..])?;
    same("names", file.stat()?.links, 0)?;
    same("the other", &content(&path)?[..], &b"another"[..])
}

fn wrong() -> Verdict {
    let place = TestDir::new()?;
    let (file, directory) = (place.at("f"), place.at("d"));
    make(&file, b"file")?;
    mkdir(&directory)?;
    let open = |path: &str, mode| File::open(path, mode).map(drop);
    let exclusive = File::create(&file, mode::OWRITE | mode::OEXCL, 0o644);
    fails("making it again", exclusive, Errno::EEXIST)?;
    fails("writing", open(&directory, mode::OWRITE), Errno::EISDIR)?;
    fails("below", open(&place.at("f/x"), mode::OREAD), Errno::ENOTDIR)?;
    fails("none", open(&place.at("x"), mode::OREAD), Errno::ENOENT)?;
    let long = place.at(&"x".repeat(256));
    fails("a long name", make(&long, b""), Errno::ENAMETOOLONG)?;
    let read = File::open(&file, mode::OREAD)?;
    fails("read only", read.write(b"x"), Errno::EBADF)
}

fn many_names() -> Verdict {
    const COUNT: usize = 500;
    let place = TestDir::new()?;
    let name = |index| format!("a name of some length {index:03}");
    for index in 0..COUNT {
        make(&place.at(&name(index)), b"")?;
    }
    let got = names(place.0)?;
    ensure!(
        got.iter().cloned().eq((0..COUNT).map(name)),
        "{} names instead of {COUNT}, or others",
        got.len()
    );
    // A removal during the listing does not hide other entries.
    let directory = File::open(place.0, mode::OREAD)?;
    let mut seen = 0;
    for entry in directory.read_dir() {
        sys::remove(&place.at(&entry?.name.to_string()))?;
        seen += 1;
    }
    same("removed", seen, COUNT)?;
    same("left", names(place.0)?.len(), 0)
}

/// One of its own, so that the rest of the system keeps its memory.
fn full() -> Verdict {
    let started = service::start("/bin/ramfs", &["ramfs", "-l", "1000000"], 0)?;
    started.channel.mount_with("/mnt", bind::REPLACE)?;
    let verdict = fill();
    sys::unmount("/mnt")?;
    let ended = process::wait_for(started.pid)?;
    verdict?;
    same("status of ramfs", ended.status(), 0)
}

fn fill() -> Result<(), Why> {
    let file = File::create("/mnt/file", mode::ORDWR, 0o644)?;
    let much = patterned(5, 0, 1_200_000);
    fails("too much", file.write_all(&much), Errno::ENOSPC)?;
    let size = file.stat()?.size as usize;
    ensure!((900_000..1_000_000).contains(&size), "{size} bytes fit");
    let mut got = vec![0; size];
    file.read_full_at(&mut got, 0)?;
    equal("what fits", &got, &much[..size])?;
    file.set_size(0)?;
    let room = (0..10_000).find_map(|index| make(&format!("/mnt/{index}"), b"").err());
    same("too many files", room, Some(Errno::ENOSPC))?;
    fails("and now", file.write(b"x"), Errno::ENOSPC)?;
    sys::rename("/mnt/0", "/mnt/a name that is longer")?;
    for index in 1..9 {
        sys::remove(&format!("/mnt/{index}"))?;
    }
    file.write_all_at(b"x", 1 << 40)?;
    Ok(())
}
