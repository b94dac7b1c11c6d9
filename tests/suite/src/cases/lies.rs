//! Servers that lie to the kernel's 9P client about one message: the program
//! gets an error or the right result, others notice nothing.

use super::Case;
use crate::check::{PG, Verdict, Why, at_rest, equal, fails, patterned, same, snapshot};
use crate::liar::{Liar, Next, Turn, close_all_but, served};
use crate::raw;
use crate::tiny::SEED;
use alloc::format;
use alloc::vec::Vec;
use ninep::consts::put;
use ninep::{Changes, Reply, Request};
use rt::abi::{STATUS_KILLED, mode};
use rt::note::{self, Then};
use rt::process;
use rt::{Call, Errno, File, Segment, Shared, sys};

pub const CASES: &[Case] = &[
    Case::new("lies.twice", twice),
    Case::new("lies.overtaken", overtaken),
    Case::new("lies.early", early),
    Case::new("lies.untagged", untagged),
    Case::new("lies.errno.call", errno_in_a_call),
    Case::new("lies.errno.touch", errno_of_a_touch),
    Case::deferred("lies.runs", runs),
    Case::new("lies.overlap.read", overlapping_read),
    Case::new("lies.overlap.write", overlapping_write),
    Case::new("lies.long", too_long),
    Case::new("lies.small.plain", || small(false)),
    Case::new("lies.small.snapshots", || small(true)),
    Case::new("lies.inject", inject),
    Case::new("lies.commit.noted", || noted_commit(false)),
    Case::new("lies.staged.noted", || noted_commit(true)),
    Case::deferred("lies.commit.killed", killed_commit),
];

/// How long to wait for something that must not come.
const PATIENCE_NS: u64 = 30_000_000;

/// A second answer to a request is an error of the server, and answers no
/// request.
fn twice() -> Verdict {
    let serve = |channel: &File| {
        Liar::default().serve(channel, |turn| match turn.request {
            Request::Read { .. } => {
                let first = turn.answer();
                let second = turn.reply(turn.tag, &Reply::Error(Errno::EDQUOT));
                end_unless(first.is_ok() && second == Err(Errno::EPROTO))
            }
            _ => Next::Honest,
        })
    };
    served(serve, |path| {
        let file = File::open(path, mode::OREAD)?;
        for _ in 0..3 {
            let mut segment = snapshot(4)?;
            same(
                "bytes read",
                file.read_full_at(segment.bytes_mut(), 0)?,
                4 * PG,
            )?;
            equal("them", segment.bytes(), &patterned(SEED, 0, 4 * PG))?;
        }
        Ok(())
    })
}

/// While an answer waits for its data, another one is given to the same request: the
/// first answers nothing any more, and reaches no memory of the client.
fn overtaken() -> Verdict {
    let shared = Shared::new(PG)?;
    let (asked, go_on) = (shared.semaphore(0)?, shared.semaphore(4)?);
    let over = shared.semaphore(8)?;
    let slow = |channel: &File| {
        let liar = Liar::WITH_SNAPSHOTS;
        liar.serve(channel, |turn| match turn.request {
            Request::Read { .. } => {
                let waited = asked.release(1).and_then(|()| go_on.acquire());
                if waited.is_ok() {
                    Next::Honest
                } else {
                    Next::End(5)
                }
            }
            _ => Next::Honest,
        })
    };
    served(slow, |slow| {
        let serve = |channel: &File| {
            Liar::default().serve(channel, |turn| {
                if !matches!(turn.request, Request::Read { .. }) {
                    return Next::Honest;
                }
                let late = process::spawn(|| u8::from(!answer_late(turn, slow)));
                let first = asked.acquire().and_then(|()| turn.answer());
                let ended = go_on.release(1).and(late).and_then(process::wait_for);
                let late = ended.map(|ended| ended.status());
                end_unless(first.is_ok() && late == Ok(0) && over.release(1).is_ok())
            })
        };
        served(serve, |path| {
            let mut memory = Segment::attach("memory", PG)?;
            let file = File::open(path, mode::OREAD)?;
            same("bytes read", file.read_at(memory.bytes_mut(), 0)?, PG)?;
            equal("them", memory.bytes(), &patterned(SEED, 0, PG))?;
            memory.bytes_mut().fill(9);
            over.acquire()?;
            equal("the buffer", memory.bytes(), &[9; PG])
        })
    })
}

/// Answers with a page of that file, which is loaded for it; true if that is no answer.
fn answer_late(turn: &mut Turn<'_>, path: &str) -> bool {
    let Ok(mut segment) = Segment::attach("snapshot", PG) else {
        return false;
    };
    let file = File::open(path, mode::OREAD);
    let read = file.and_then(|file| file.read_at(segment.bytes_mut(), 0));
    let answer = turn.data_at(turn.tag, segment.address(), PG);
    read == Ok(PG) && answer == Err(Errno::EPROTO)
}

fn end_unless(right: bool) -> Next {
    if right { Next::Done } else { Next::End(3) }
}

/// A request that the server has not received cannot be answered; otherwise the
/// server would later receive bytes that the client has stored since.
fn early() -> Verdict {
    const PUBLIC: &[u8] = b"public text, for the server to have";
    let serve = |channel: &File| {
        Liar::default().serve(channel, |turn| match *turn.request {
            // From here on the client writes.
            Request::Lopen { .. } => {
                let mut believed = turn.answer().is_err();
                for _ in 0..10 {
                    let _ = sys::sleep(PATIENCE_NS / 10);
                    for tag in 0..64 {
                        let count = PUBLIC.len() as u32;
                        believed |= turn.reply(tag, &Reply::Write { count }).is_ok();
                    }
                }
                end_unless(!believed)
            }
            Request::Write { data, .. } if data != PUBLIC => Next::End(4),
            _ => Next::Honest,
        })
    };
    served(serve, |path| {
        let file = File::open(path, mode::ORDWR)?;
        let mut memory = Segment::attach("memory", PG)?;
        memory.bytes_mut()[..PUBLIC.len()].copy_from_slice(PUBLIC);
        same(
            "bytes written",
            file.write_at(&memory.bytes()[..PUBLIC.len()], 0)?,
            PUBLIC.len(),
        )?;
        memory.bytes_mut().fill(b'x');
        same("the size", file.stat()?.size, 4 * PG as u64)
    })
}

/// The tag of Tversion is no other name of tag 0.
fn untagged() -> Verdict {
    let serve = |channel: &File| {
        Liar::default().serve(channel, |turn| match turn.request {
            Request::Read { .. } => {
                let tag = ninep::consts::NOTAG;
                let answered = turn.reply(tag, &Reply::Error(Errno::EDQUOT));
                if answered == Err(Errno::EPROTO) {
                    Next::Honest
                } else {
                    Next::End(3)
                }
            }
            _ => Next::Honest,
        })
    };
    served(serve, |path| {
        let mut bytes = [0; 100];
        let file = File::open(path, mode::OREAD)?;
        same("bytes read", file.read_at(&mut bytes, 0)?, 100)?;
        equal("them", &bytes, &patterned(SEED, 0, 100))
    })
}

/// A server's `EINTR` is an error like others: no call is tried again for it.
fn errno_in_a_call() -> Verdict {
    let serve = |channel: &File| {
        Liar::default().serve(channel, |turn| match turn.request {
            Request::Attach { .. } | Request::Version { .. } | Request::Clunk { .. } => {
                Next::Honest
            }
            _ => turn.error(turn.tag, Errno::EINTR),
        })
    };
    served(serve, |path| {
        fails(
            "opening",
            File::open(path, mode::OREAD).map(drop),
            Errno::EIO,
        )?;
        fails("what it is", File::stat_path(path).map(drop), Errno::EIO)
    })
}

/// Errors by which the kernel knows that its own wait was cut short, or its own
/// memory is out, are from a server only errors: the page is lost.
fn errno_of_a_touch() -> Verdict {
    for errno in [Errno::EINTR, Errno::ENOMEM] {
        let liar = Liar {
            snapshots: true,
            ..Liar::default()
        };
        let serve = |channel: &File| {
            liar.serve(channel, |turn| match turn.request {
                Request::Read { .. } => turn.error(turn.tag, errno),
                _ => Next::Honest,
            })
        };
        served(serve, |path| {
            let pid = process::spawn(|| {
                let mut segment = match snapshot(1) {
                    Ok(segment) => segment,
                    Err(_) => return 2,
                };
                let file = File::open(path, mode::OREAD);
                match file.and_then(|file| file.read_at(segment.bytes_mut(), 0)) {
                    // With deferral off.
                    Err(Errno::EIO) => process::exit(STATUS_KILLED as u8, "snapshot lost"),
                    Ok(_) => segment.bytes()[0],
                    Err(_) => 3,
                }
            })?;
            let ended = process::wait_for(pid)?;
            same("status", u32::from(ended.status()), STATUS_KILLED)?;
            ensure!(
                ended.text().contains("snapshot lost"),
                "its message is {}",
                ended.text()
            );
            Ok(())
        })?;
    }
    Ok(())
}

/// Answers of all kinds to reads of several pages, which bring neighbours: these are
/// nobody's error, and never wrong bytes. A read of one page is answered honestly.
fn runs() -> Verdict {
    const PAGES: usize = 96;
    for way in 0..7 {
        let liar = Liar {
            len: PAGES * PG,
            ..Liar::WITH_SNAPSHOTS
        };
        let shared = Shared::new(PG)?;
        let lies = shared.number(0)?;
        let serve = |channel: &File| {
            liar.serve(channel, |turn| {
                let (offset, count) = match *turn.request {
                    Request::Read { offset, count, .. } => (offset, count as usize),
                    _ => return Next::Honest,
                };
                if count <= PG {
                    return Next::Honest;
                }
                lies.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
                let data = match way {
                    0 => return turn.error(turn.tag, Errno::EIO),
                    1 => return turn.error(turn.tag, Errno::EINTR),
                    2 => return turn.error(turn.tag, Errno::ENOMEM),
                    3 => Vec::new(),
                    4 => patterned(SEED, offset, 3 * PG + 100),
                    5 => patterned(SEED, offset, count - 1),
                    _ => patterned(SEED, offset, 99),
                };
                end_unless(turn.reply(turn.tag, &Reply::Read { data: &data }).is_ok())
            })
        };
        served(serve, |path| {
            let file = File::open(path, mode::OREAD)?;
            let order = rt::abi::snapshot::SEQUENTIAL;
            let mut segment = Segment::attach_with("snapshot", PAGES * PG, 0, order)?;
            let n = file.read_full_at(segment.bytes_mut(), 0)?;
            same("bytes read", n, PAGES * PG)?;
            for page in [0, 40, 39, 7, PAGES - 1, 64, 65] {
                let bytes = &segment.bytes()[page * PG..(page + 1) * PG];
                let want = patterned(SEED, (page * PG) as u64, PG);
                equal(&format!("way {way}, page {page}"), bytes, &want)?;
            }
            equal("all", segment.bytes(), &patterned(SEED, 0, PAGES * PG))
        })?;
        let told = lies.load(core::sync::atomic::Ordering::Relaxed);
        ensure!(told > 0, "way {way}: no run was asked for");
    }
    Ok(())
}

/// Memory that client and server share, its first page a pattern.
fn shared_page() -> Result<(Shared, Vec<u8>), Why> {
    let shared = Shared::new(PG)?;
    let pattern = patterned(1, 0, PG);
    for (byte, value) in shared.bytes().iter().zip(&pattern) {
        byte.store(*value, core::sync::atomic::Ordering::Relaxed);
    }
    Ok((shared, pattern))
}

fn content(shared: &Shared) -> Vec<u8> {
    let load =
        |byte: &core::sync::atomic::AtomicU8| byte.load(core::sync::atomic::Ordering::Relaxed);
    shared.bytes().iter().map(load).collect()
}

/// A reply sent from the page that it is delivered to: its former content
/// arrives.
fn overlapping_read() -> Verdict {
    for (from, to) in [(10, 50), (50, 10), (10, 10)] {
        let (shared, before) = shared_page()?;
        let serve = |channel: &File| {
            Liar::default().serve(channel, |turn| match turn.request {
                Request::Read { .. } => end_unless(
                    turn.data_at(turn.tag, shared.address() + from, 2000)
                        .is_ok(),
                ),
                _ => Next::Honest,
            })
        };
        served(serve, |path| {
            let file = File::open(path, mode::OREAD)?;
            let args = [u64::from(file.fd()), shared.address() + to, 2000, 0, 0, 0];
            // SAFETY: nothing but atomics is in that memory.
            same("bytes read", unsafe { raw::call(Call::PRead, args) }?, 2000)?;
            let (from, to) = (from as usize, to as usize);
            equal(
                "them",
                &content(&shared)[to..to + 2000],
                &before[from..from + 2000],
            )
        })?;
    }
    Ok(())
}

/// A request received into the page that it was sent from.
fn overlapping_write() -> Verdict {
    // Before the data of a Twrite.
    const HEAD: u64 = 23;
    for (from, to) in [(200, 201 - HEAD), (200, 100)] {
        let (shared, before) = shared_page()?;
        let serve = |channel: &File| {
            Liar::default().serve(channel, |turn| match turn.request {
                Request::Lopen { .. } => {
                    let opened = turn.answer().is_ok();
                    let args = [
                        u64::from(channel.fd()),
                        shared.address() + to,
                        2100,
                        u64::MAX,
                        0,
                        0,
                    ];
                    // SAFETY: nothing but atomics is in that memory.
                    let received = unsafe { raw::call(Call::PRead, args) };
                    let written = turn.reply(0, &Reply::Write { count: 2000 });
                    end_unless(opened && received == Ok(HEAD + 2000) && written.is_ok())
                }
                _ => Next::Honest,
            })
        };
        served(serve, |path| {
            let file = File::open(path, mode::ORDWR)?;
            let args = [u64::from(file.fd()), shared.address() + from, 2000, 0, 0, 0];
            // SAFETY: nothing but atomics is in that memory.
            let written = unsafe { raw::call(Call::PWrite, args) };
            same("bytes written", written?, 2000)?;
            let (from, to) = (from as usize, (to + HEAD) as usize);
            // The message's head may lie over the first byte.
            equal(
                "them",
                &content(&shared)[to + 1..to + 2000],
                &before[from + 1..from + 2000],
            )
        })?;
    }
    Ok(())
}

/// An answer longer than the agreed message is an error on both sides.
fn too_long() -> Verdict {
    let liar = Liar {
        msize: 8192,
        len: 100_000,
        ..Liar::default()
    };
    let serve = |channel: &File| {
        liar.serve(channel, |turn| match turn.request {
            Request::Read { .. } => {
                let data = &patterned(SEED, 0, 10_000);
                end_unless(turn.reply(turn.tag, &Reply::Read { data }) == Err(Errno::EPROTO))
            }
            _ => Next::Honest,
        })
    };
    served(serve, |path| {
        let file = File::open(path, mode::OREAD)?;
        let mut memory = Segment::attach("memory", 8 * PG)?;
        fails(
            "reading",
            file.read_at(memory.bytes_mut(), 0),
            Errno::EPROTO,
        )?;
        ensure!(memory.bytes().iter().all(|b| *b == 0), "the buffer changed");
        Ok(())
    })
}

/// No message is longer than the server agreed to.
fn small(snapshots: bool) -> Verdict {
    let liar = Liar {
        snapshots,
        msize: 2000,
        len: 4 * PG,
    };
    let serve = |channel: &File| {
        liar.serve(channel, |turn| {
            if turn.size > 2000 {
                Next::End(3)
            } else {
                Next::Honest
            }
        })
    };
    served(serve, |path| {
        let file = File::open(path, mode::ORDWR)?;
        let mut segment = snapshot(4)?;
        same(
            "bytes read",
            file.read_full_at(segment.bytes_mut(), 0)?,
            4 * PG,
        )?;
        equal("them", segment.bytes(), &patterned(SEED, 0, 4 * PG))?;
        for page in 0..4 {
            segment.bytes_mut()[page * PG] = 7;
        }
        file.write_all_at(segment.bytes(), 0)?;
        let long = alloc::format!("{path}/{}", "long name/".repeat(60));
        ensure!(File::stat_path(&long).is_err(), "a file below a file");
        Ok(())
    })
}

/// Only the kernel's client sends into a mounted channel.
fn inject() -> Verdict {
    let place = crate::check::Scratch::empty("mounted")?;
    let (ours, theirs) = File::pipe()?;
    let pid = process::spawn(|| {
        close_all_but(&[&theirs]);
        Liar::default().serve(&theirs, |_| Next::Honest)
    })?;
    drop(theirs);
    let copy = ours.dup()?;
    ours.mount(&place.path)?;
    fails("a message of ours", copy.write(b"x"), Errno::EBUSY)?;
    drop(copy);
    sys::unmount(&place.path)?;
    same("status", process::wait_for(pid)?.status(), 0)
}

/// A note ends a write before its commit is answered, and the server drops the
/// flushed request: then the write had no effect and leaves nothing behind.
/// With `early` a staged part is still unanswered when the note comes.
fn noted_commit(early: bool) -> Verdict {
    // Longer than one message.
    const LEN: usize = 60 * PG;
    let liar = Liar {
        snapshots: true,
        msize: 64 << 10,
        len: PG,
    };
    let serve = |channel: &File| {
        let (mut commit, mut staged, mut aborted) = (None, None, false);
        let status = liar.serve(channel, |turn| match *turn.request {
            Request::Put { flags, .. } if flags & put::ABORT != 0 => {
                aborted = true;
                Next::Honest
            }
            Request::Put { flags, .. } if flags & put::COMMIT != 0 => {
                commit = Some(turn.tag);
                Next::Done
            }
            Request::Put { .. } if early && staged.is_none() => {
                staged = Some(turn.tag);
                Next::Done
            }
            Request::Flush { oldtag } if Some(oldtag) == commit => {
                // The part first, then the flush: the commit is dropped.
                let part = staged
                    .take()
                    .is_none_or(|tag| turn.reply(tag, &put_reply()).is_ok());
                if part { Next::Honest } else { Next::End(4) }
            }
            // Dropped, while the commit goes on: a part of the write.
            Request::Flush { .. } => Next::End(5),
            _ => Next::Honest,
        });
        if aborted { status } else { 6 }
    };
    served(serve, |path| {
        let pid = process::spawn(|| {
            let write = || {
                note::handle(|_, _| Then::Resume)?;
                let mut memory = Segment::attach("memory", LEN)?;
                memory.bytes_mut().fill(1);
                let file = File::open(path, mode::ORDWR)?;
                fails("writing", file.write_at(memory.bytes(), 0), Errno::EINTR)
            };
            u8::from(write().is_err())
        })?;
        at_rest()?;
        note::send(pid, "enough")?;
        same("the writer's status", process::wait_for(pid)?.status(), 0)
    })
}

fn put_reply() -> Reply<'static> {
    Reply::Put {
        off: 0,
        count: 0,
        epoch: 0,
        assoc: false,
        changes: Changes::NONE,
    }
}

/// A server that kills the writer of a commit and answers when the next client
/// comes. It ends with another status than 0 if the snapshot of the commit is
/// given back before that.
fn kills_in_a_commit(channel: &File) -> u8 {
    let liar = Liar {
        snapshots: true,
        ..Liar::default()
    };
    let (mut made, mut unanswered) = (None, Vec::new());
    let status = liar.serve(channel, |turn| match *turn.request {
        Request::Put {
            flags, into, off, ..
        } if flags & put::COMMIT != 0 => {
            made = Some(into);
            let reply = Reply::Put {
                off: 0,
                count: PG as u64,
                epoch: 2,
                assoc: true,
                changes: Changes::NONE,
            };
            unanswered.push((turn.tag, reply));
            end_unless(process::kill(off, "in the middle").is_ok())
        }
        Request::Flush { .. } => {
            unanswered.push((turn.tag, Reply::Flush));
            Next::Done
        }
        Request::Clunk { fid } if made == Some(fid) => {
            made = None;
            if unanswered.is_empty() {
                Next::Honest
            } else {
                Next::End(5)
            }
        }
        Request::Walk { .. } => {
            let late = unanswered.drain(..);
            let sent = late.map(|(tag, reply)| turn.reply(tag, &reply));
            if sent.filter(Result::is_err).count() == 0 {
                Next::Honest
            } else {
                Next::End(4)
            }
        }
        _ => Next::Honest,
    });
    if made.is_none() { status } else { 6 }
}

/// A writer that is killed while its commit is under way: the snapshot that the
/// commit makes is given back after that, not before.
fn killed_commit() -> Verdict {
    served(kills_in_a_commit, |path| {
        let pid = process::spawn(|| {
            let write = || {
                let mut segment = snapshot(1)?;
                segment.bytes_mut().fill(1);
                File::open(path, mode::ORDWR)?.write_at(segment.bytes(), sys::getpid())?;
                Ok::<(), Why>(())
            };
            u8::from(write().is_err())
        })?;
        let status = process::wait_for(pid)?.status();
        // Until its resources are given back.
        sys::sleep(PATIENCE_NS)?;
        // Then the server answers.
        File::stat_path(path)?;
        same("its status", u32::from(status), STATUS_KILLED)
    })
}
