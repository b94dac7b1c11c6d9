//! Reading into a snapshot segment: its bytes stay as they were at the read.

use super::Case;
use crate::check::{PG, Scratch, Verdict, equal, other, patterned, same, snapshot};
use alloc::format;
use rt::abi::{PAGE, mode};
use rt::stats::Counters;
use rt::{File, Segment, Stat64, sys};

pub const CASES: &[Case] = &[
    Case::new("snapshot.overwrite.self", || stays(Change::OverwriteSelf)),
    Case::new("snapshot.overwrite.other", || stays(Change::OverwriteOther)),
    Case::new("snapshot.truncate.self", || stays(Change::TruncateSelf)),
    Case::new("snapshot.truncate.other", || stays(Change::TruncateOther)),
    Case::new("snapshot.truncate.extend", || stays(Change::TruncateExtend)),
    Case::new("snapshot.open.truncate", || stays(Change::OpenTruncate)),
    Case::new("snapshot.remove", || stays(Change::Remove)),
    Case::new("snapshot.rename.over", || stays(Change::RenameOver)),
    Case::new("snapshot.rewritten", || stays(Change::Rewritten)),
    Case::new("read.short", short),
    Case::new("read.end", end),
    Case::new("read.over", over),
    Case::new("read.loop", read_loop),
    Case::new("read.unaligned", unaligned),
    Case::new("read.fragments", fragments),
    Case::new("read.sequential", sequential),
    Case::new("store.asleep", store),
    Case::new("store.all", store_all),
    Case::new("fork.asleep", fork),
    Case::new("segfree.asleep", free),
    Case::new("zero.asleep", zero_device),
    Case::new("segment.huge", huge),
    Case::new("call.path-asleep", path_asleep),
    Case::new("call.send-asleep", send_asleep),
    Case::new("call.store-detaches", store_detaches),
    Case::new("exec.asleep", exec_asleep),
];

const PAGES: usize = 32;
const LEN: usize = PAGES * PG - 1000;

/// A change of a file after it was read and partly touched.
enum Change {
    OverwriteSelf,
    OverwriteOther,
    TruncateSelf,
    TruncateOther,
    TruncateExtend,
    OpenTruncate,
    Remove,
    RenameOver,
    Rewritten,
}

impl Change {
    fn happen(&self, scratch: &Scratch) -> Verdict {
        let file = &scratch.file;
        match self {
            Change::OverwriteSelf => file.write_all_at(&patterned(2, 0, LEN), 0)?,
            Change::OverwriteOther => scratch.overwrite_by_other(2, LEN)?,
            Change::TruncateSelf => file.set_size(0)?,
            Change::TruncateOther => other(|| Ok(scratch.again()?.set_size(5 * PAGE + 7)?))?,
            Change::TruncateExtend => {
                file.set_size(9 * PAGE + 1)?;
                file.set_size(40 * PAGE)?;
                file.write_all_at(&patterned(3, 0, 2 * PG), 20 * PAGE)?;
            }
            Change::OpenTruncate => {
                drop(File::open(&scratch.path, mode::OWRITE | mode::OTRUNC)?);
            }
            Change::Remove => sys::remove(&scratch.path)?,
            Change::RenameOver => {
                let new = Scratch::patterned("stays-new", 4, LEN)?;
                sys::rename(&new.path, &scratch.path)?;
            }
            Change::Rewritten => {
                for seed in 5..25 {
                    scratch.overwrite_by_other(seed, LEN)?;
                }
            }
        }
        Ok(())
    }
}

/// Read, touch a little, let the file change, look at all of it.
fn stays(change: Change) -> Verdict {
    let scratch = Scratch::patterned("stays", 1, LEN)?;
    let segment = scratch.asleep(PAGES)?;
    let want = patterned(1, 0, LEN);
    for page in [3, 7, 31] {
        same(
            "a touched byte",
            segment.bytes()[page * PG],
            want[page * PG],
        )?;
    }
    change.happen(&scratch)?;
    equal("the buffer", &segment.bytes()[..LEN], &want)?;
    equal("after the end", &segment.bytes()[LEN..], &[0; 1000])
}

/// Exactly the bytes there are; the rest of the buffer is as it was.
fn short() -> Verdict {
    let scratch = Scratch::patterned("short", 1, 2 * PG + 100)?;
    let mut segment = snapshot(4)?;
    segment.bytes_mut().fill(0xee);
    let n = scratch.file.read_at(segment.bytes_mut(), 0)?;
    same("bytes read", n, 2 * PG + 100)?;
    scratch.overwrite_by_other(2, 2 * PG + 100)?;
    equal("read", &segment.bytes()[..n], &patterned(1, 0, n))?;
    let rest = &segment.bytes()[n..];
    ensure!(
        rest.iter().all(|byte| *byte == 0xee),
        "bytes after the end changed"
    );
    Ok(())
}

fn end() -> Verdict {
    let scratch = Scratch::patterned("end", 1, PG)?;
    let mut segment = snapshot(2)?;
    segment.bytes_mut().fill(0xee);
    for offset in [PAGE, PAGE + 1, 1 << 40] {
        let n = scratch.file.read_at(segment.bytes_mut(), offset)?;
        same("bytes read after the end", n, 0)?;
    }
    ensure!(
        segment.bytes().iter().all(|byte| *byte == 0xee),
        "the buffer changed"
    );
    Ok(())
}

/// A second read over the first replaces it and releases its snapshot.
fn over() -> Verdict {
    let a = Scratch::patterned("over-a", 1, 16 * PG)?;
    let b = Scratch::patterned("over-b", 2, 16 * PG)?;
    let mut segment = a.asleep(16)?;
    let one = Counters::now()?.get(Stat64::Snapshots);
    // The middle, ragged: three pieces now.
    let middle = 3 * PG + 10..9 * PG + 20;
    let n = b
        .file
        .read_at(&mut segment.bytes_mut()[middle.clone()], 5)?;
    same("bytes read", n, middle.len())?;
    let mut want = patterned(1, 0, 16 * PG);
    want[middle.clone()].copy_from_slice(&patterned(2, 5, middle.len()));
    a.overwrite_by_other(3, 16 * PG)?;
    equal("two files in one buffer", segment.bytes(), &want)?;
    // All of it: as many snapshots as at first.
    same(
        "bytes read",
        b.file.read_at(segment.bytes_mut(), 0)?,
        16 * PG,
    )?;
    same("snapshots", Counters::now()?.get(Stat64::Snapshots), one)?;
    b.overwrite_by_other(4, 16 * PG)?;
    equal(
        "the second file",
        segment.bytes(),
        &patterned(2, 0, 16 * PG),
    )
}

/// Reads of 4093 bytes, one after the other.
fn read_loop() -> Verdict {
    let scratch = Scratch::patterned("loop", 1, 20 * PG)?;
    let mut segment = snapshot(20)?;
    let mut at = 0;
    while at < 20 * PG {
        let end = (at + 4093).min(20 * PG);
        let n = scratch
            .file
            .read_at(&mut segment.bytes_mut()[at..end], at as u64)?;
        same("bytes read", n, end - at)?;
        at = end;
    }
    scratch.overwrite_by_other(2, 20 * PG)?;
    equal("the buffer", segment.bytes(), &patterned(1, 0, 20 * PG))
}

/// Neither the buffer nor the offset on a page, nor congruent to each other.
fn unaligned() -> Verdict {
    let scratch = Scratch::patterned("unaligned", 1, 20 * PG)?;
    let mut segment = snapshot(14)?;
    let len = 10 * PG + 77;
    let n = scratch
        .file
        .read_at(&mut segment.bytes_mut()[123..123 + len], 4567)?;
    same("bytes read", n, len)?;
    scratch.overwrite_by_other(2, 20 * PG)?;
    equal(
        "the buffer",
        &segment.bytes()[123..123 + len],
        &patterned(1, 4567, len),
    )?;
    equal("before it", &segment.bytes()[..123], &[0; 123])
}

/// Ends on pages that are dirty already: their other bytes stay.
fn fragments() -> Verdict {
    let scratch = Scratch::patterned("fragments", 1, 8 * PG)?;
    let mut segment = snapshot(8)?;
    segment.bytes_mut()[..PG].fill(0xaa);
    segment.bytes_mut()[5 * PG..6 * PG].fill(0xbb);
    let range = 100..5 * PG + 50;
    let n = scratch
        .file
        .read_at(&mut segment.bytes_mut()[range.clone()], 100)?;
    same("bytes read", n, range.len())?;
    scratch.overwrite_by_other(2, 8 * PG)?;
    let bytes = segment.bytes();
    equal(
        "the file's bytes",
        &bytes[range.clone()],
        &patterned(1, 100, range.len()),
    )?;
    ensure!(
        bytes[..100].iter().all(|b| *b == 0xaa),
        "bytes before the read changed"
    );
    ensure!(
        bytes[range.end..6 * PG].iter().all(|b| *b == 0xbb),
        "bytes after the read changed"
    );
    Ok(())
}

/// The descriptor's own offset moves by the count of the read.
fn sequential() -> Verdict {
    let scratch = Scratch::patterned("sequential", 1, 4 * PG + 5)?;
    let mut segment = snapshot(5)?;
    let file = scratch.again()?;
    same("first", file.read(&mut segment.bytes_mut()[..PG])?, PG)?;
    same(
        "second",
        file.read(&mut segment.bytes_mut()[PG..])?,
        3 * PG + 5,
    )?;
    same("third", file.read(segment.bytes_mut())?, 0)?;
    scratch.overwrite_by_other(2, 4 * PG)?;
    equal(
        "all",
        &segment.bytes()[..4 * PG + 5],
        &patterned(1, 0, 4 * PG + 5),
    )
}

/// A store changes its own bytes and no others, of the buffer or the file.
fn store() -> Verdict {
    let scratch = Scratch::patterned("store", 1, 8 * PG)?;
    let mut segment = scratch.asleep(8)?;
    let mut want = patterned(1, 0, 8 * PG);
    for at in [0, PG - 1, 3 * PG + 17, 8 * PG - 1] {
        segment.bytes_mut()[at] = 0;
        want[at] = 0;
    }
    scratch.overwrite_by_other(2, 8 * PG)?;
    equal("the buffer", segment.bytes(), &want)?;
    equal("the file", &scratch.content()?, &patterned(2, 0, 8 * PG))
}

fn store_all() -> Verdict {
    let scratch = Scratch::patterned("store-all", 1, 8 * PG)?;
    let mut segment = scratch.asleep(8)?;
    segment.bytes_mut().fill(0x55);
    scratch.overwrite_by_other(2, 8 * PG)?;
    ensure!(
        segment.bytes().iter().all(|b| *b == 0x55),
        "a store was lost"
    );
    Ok(())
}

/// Parent and child part at the fork.
fn fork() -> Verdict {
    let scratch = Scratch::patterned("fork", 1, 16 * PG)?;
    let mut segment = scratch.asleep(16)?;
    let mut want = patterned(1, 0, 16 * PG);
    segment.bytes_mut()[5 * PG] = 0;
    want[5 * PG] = 0;
    other(|| {
        equal(
            "the child's copy",
            &segment.bytes()[..8 * PG],
            &want[..8 * PG],
        )?;
        segment.bytes_mut()[6 * PG..].fill(9);
        scratch.file.write_all_at(&patterned(2, 0, 16 * PG), 0)?;
        ensure!(
            segment.bytes()[6 * PG..].iter().all(|b| *b == 9),
            "the child's store"
        );
        Ok(())
    })?;
    equal("the parent's", segment.bytes(), &want)
}

fn free() -> Verdict {
    let scratch = Scratch::patterned("free", 1, 8 * PG)?;
    let mut segment = scratch.asleep(8)?;
    segment.bytes_mut()[4 * PG] = 1;
    segment.free(2 * PG, 3 * PG)?;
    scratch.overwrite_by_other(2, 8 * PG)?;
    let mut want = patterned(1, 0, 8 * PG);
    want[2 * PG..5 * PG].fill(0);
    equal("the buffer", segment.bytes(), &want)
}

/// Zeros read over sleeping, clean and dirty pages.
fn zero_device() -> Verdict {
    let scratch = Scratch::patterned("zero", 1, 8 * PG)?;
    let mut segment = scratch.asleep(8)?;
    let zero = File::open("/dev/zero", mode::OREAD)?;
    segment.bytes_mut()[3 * PG] = 1;
    let n = zero.read(&mut segment.bytes_mut()[PG..6 * PG + 10])?;
    ensure!(n > 0, "/dev/zero ended");
    let mut want = patterned(1, 0, 8 * PG);
    want[PG..PG + n].fill(0);
    equal("the buffer", segment.bytes(), &want)
}

/// 16 TiB of addresses of either kind, a few pages of them used.
fn huge() -> Verdict {
    for kind in ["memory", "snapshot"] {
        let mut segment = Segment::attach(kind, 16 << 40)?;
        let place = |index: usize| index * 0x2a_f37f_e12d % (16 << 40);
        for index in 0..50 {
            segment.bytes_mut()[place(index)] = index as u8 + 1;
        }
        for index in 0..50 {
            let got = segment.bytes()[place(index)];
            same(
                &format!("page {index} of a huge {kind} segment"),
                got,
                index as u8 + 1,
            )?;
        }
    }
    Ok(())
}

/// A path that the kernel has to wake.
fn path_asleep() -> Verdict {
    let scratch = Scratch::patterned("path", 1, PG)?;
    let target = scratch.path.as_bytes();
    let text = Scratch::empty("path-text")?;
    text.file.write_all_at(target, PAGE - 10)?;
    let segment = text.asleep(2)?;
    text.overwrite_by_other(3, 2 * PG)?;
    let path = core::str::from_utf8(&segment.bytes()[PG - 10..][..target.len()]);
    let Ok(path) = path else {
        return Err(crate::check::Why(
            "the sleeping path is not what was read".into(),
        ));
    };
    same("size", File::stat_path(path)?.size, PAGE)
}

/// A message whose bytes are asleep.
fn send_asleep() -> Verdict {
    let scratch = Scratch::patterned("send", 1, 3 * PG)?;
    let segment = scratch.asleep(3)?;
    scratch.overwrite_by_other(2, 3 * PG)?;
    let (a, b) = File::pipe()?;
    rt::send(&a, [&segment.bytes()[PG - 7..PG + 7]])?;
    let mut got = [0; 14];
    same("bytes received", b.read(&mut got)?, 14)?;
    equal("the message", &got, &patterned(1, PAGE - 7, 14))
}

/// Invariant 12: a store by the kernel detaches the page like any store,
/// whether it is asleep, clean or shared with another process.
fn store_detaches() -> Verdict {
    let scratch = Scratch::patterned("stored", 1, 3 * PG)?;
    let mut segment = scratch.asleep(3)?;
    // Page 0 stays asleep, page 1 is clean, page 2 dirty; all of two processes.
    core::hint::black_box(segment.bytes()[PG]);
    segment.bytes_mut()[2 * PG] = patterned(1, 2 * PAGE, 1)[0];
    let original = patterned(1, 0, 3 * PG);
    let (ours, theirs) = File::pipe()?;
    let pid = rt::process::spawn(|| {
        let waited = theirs.read(&mut [0]);
        u8::from(waited.is_err() || equal("the child's", segment.bytes(), &original).is_err())
    })?;
    let (a, b) = File::pipe()?;
    let mut want = original.clone();
    for page in 0..3 {
        let at = page * PG + 5;
        rt::send(&a, [b"stored by the kernel"])?;
        let n = b.read(&mut segment.bytes_mut()[at..at + 20])?;
        same("bytes received", n, 20)?;
        want[at..at + 20].copy_from_slice(b"stored by the kernel");
    }
    equal("the buffer", segment.bytes(), &want)?;
    equal("the file", &scratch.content()?, &original)?;
    rt::send(&ours, [b"!"])?;
    same("the child", rt::process::wait_for(pid)?.status(), 0)?;
    scratch.file.write_all_at(segment.bytes(), 0)?;
    equal("the file written back", &scratch.content()?, &want)
}

/// A program on the shared directory, overwritten while it is about to run.
fn exec_asleep() -> Verdict {
    let program = File::open("/bin/echo", mode::OREAD)?.read_to_end()?;
    let scratch = Scratch::empty("program")?;
    scratch.file.write_all_at(&program, 0)?;
    let (ours, theirs) = File::pipe()?;
    let pid = rt::process::spawn(|| {
        if theirs.dup_to(1).is_ok_and(|file| file.into_fd() == 1) {
            rt::process::exec(&scratch.path, &["echo", "ran"]);
        }
        1
    })?;
    drop(theirs);
    let mut got = [0; 16];
    let n = ours.read(&mut got)?;
    same("its output", &got[..n], &b"ran\n"[..])?;
    same("its status", rt::process::wait_for(pid)?.status(), 0)
}
