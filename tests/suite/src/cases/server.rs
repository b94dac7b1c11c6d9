//! Servers that are plain, slow, wrong or dead: programs get an ordinary
//! result or an error, never wrong data and never a hang.

use super::Case;
use crate::check::{PG, Scratch, Verdict, Why, at_rest, equal, fails, patterned, same, snapshot};
use crate::liar::{close_all_but, served};
use crate::raw;
use crate::tiny::{Fault, LEN, SEED, Tiny, becomes_a_server, moves};
use rt::abi::{ProcessInfo, STATUS_KILLED, mode};
use rt::note::{self, Then};
use rt::process::{self, Ended};
use rt::{Call, Errno, File, Segment, sys};

pub const CASES: &[Case] = &[
    Case::new("server.plain", || as_ever(false, Fault::None)),
    Case::new("server.snapshots", || as_ever(true, Fault::None)),
    Case::new("server.short", || as_ever(false, Fault::Short(100))),
    Case::new("server.write", write),
    Case::new("server.error.read", read_error),
    Case::new("server.error.write", write_error),
    Case::new("server.boasts", boasts),
    Case::new("server.wrong.much", || wrong(Fault::TooMuch)),
    Case::new("server.wrong.kind", || wrong(Fault::WrongKind)),
    Case::new("server.wrong.tag", || wrong(Fault::WrongTag)),
    Case::new("server.wrong.size", || wrong(Fault::WrongSize)),
    Case::new("server.wrong.version", no_version),
    Case::new("server.hangup.plain", || hangup(false)),
    Case::new("server.hangup.snapshots", || hangup(true)),
    Case::new("server.silent", silent),
    Case::new("server.silent.seek", silent_seek),
    Case::deferred("server.silent.described", silent_described),
    Case::deferred("server.lost", lost),
    Case::deferred("server.lost.calls", lost_calls),
    Case::deferred("server.gone", gone),
    Case::deferred("server.awake", awake),
    Case::new("server.late.killed", || late(false)),
    Case::new("server.late.noted", || late(true)),
    Case::new("server.kills.reader", || killed(false)),
    Case::new("server.kills.writer", || killed(true)),
    Case::new("server.program.plain", || program(false)),
    Case::new("server.program.snapshots", || program(true)),
    Case::new("server.no-room", no_room),
];

/// Runs `body` with the path at which such a server is mounted.
pub fn with(server: Tiny, body: impl FnOnce(&str) -> Verdict) -> Verdict {
    served(|channel| server.serve(channel), body)
}

fn read_all(path: &str) -> Result<(File, Segment, Result<usize, Errno>), Why> {
    let file = File::open(path, mode::ORDWR)?;
    let mut segment = snapshot(4)?;
    let got = file.read_full_at(segment.bytes_mut(), 0);
    Ok((file, segment, got))
}

/// Read into a snapshot segment, looked at, from a server with and without
/// snapshots.
fn as_ever(snapshots: bool, fault: Fault) -> Verdict {
    with(Tiny { snapshots, fault }, |path| {
        let (_file, segment, got) = read_all(path)?;
        same("bytes read", got?, LEN)?;
        equal(
            "the buffer",
            &segment.bytes()[..LEN],
            &patterned(SEED, 0, LEN),
        )?;
        same("after it", segment.bytes()[LEN], 0)
    })
}

/// A seek by one process takes effect, whatever happens to another process's
/// read of the same descriptor.
fn silent_seek() -> Verdict {
    const TO: u64 = 100_000;
    let (snapshots, fault) = (false, Fault::Silent);
    with(Tiny { snapshots, fault }, |path| {
        let file = File::open(path, mode::OREAD)?;
        let reader = process::spawn(|| u8::from(file.read(&mut [0; PG]).is_ok()))?;
        // The read is under way once it has moved the offset.
        while file.seek(0, 1)? == 0 {
            sys::sleep(1_000_000)?;
        }
        file.seek(TO as i64, 0)?;
        process::kill(reader, "enough")?;
        process::wait_for(reader)?;
        same("the offset", file.seek(0, 1)?, TO)
    })
}

fn write() -> Verdict {
    for snapshots in [false, true] {
        let fault = Fault::None;
        with(Tiny { snapshots, fault }, |path| {
            let (file, mut segment, got) = read_all(path)?;
            same("bytes read", got?, LEN)?;
            segment.bytes_mut()[PG] = 0;
            file.write_all_at(&segment.bytes()[..LEN], 0)?;
            let (_, again, got) = read_all(path)?;
            same("bytes read again", got?, LEN)?;
            equal("the file", again.bytes(), segment.bytes())
        })?;
    }
    Ok(())
}

fn read_error() -> Verdict {
    let fault = Fault::ReadError(Errno::EDQUOT);
    with(
        Tiny {
            snapshots: false,
            fault,
        },
        |path| {
            let (_, segment, got) = read_all(path)?;
            fails("reading", got, Errno::EDQUOT)?;
            ensure!(
                segment.bytes().iter().all(|b| *b == 0),
                "the buffer changed"
            );
            Ok(())
        },
    )
}

fn write_error() -> Verdict {
    for snapshots in [false, true] {
        let fault = Fault::WriteError(Errno::ENOSPC);
        with(Tiny { snapshots, fault }, |path| {
            let (file, mut segment, got) = read_all(path)?;
            got?;
            fails(
                "writing nothing new",
                file.write_at(&segment.bytes()[..LEN], 0),
                Errno::ENOSPC,
            )?;
            segment.bytes_mut()[5] = 0;
            fails(
                "writing",
                file.write_at(&segment.bytes()[..LEN], 0),
                Errno::ENOSPC,
            )?;
            same("what was stored", segment.bytes()[5], 0)
        })?;
    }
    Ok(())
}

/// Counts from a server are clamped to the request's.
fn boasts() -> Verdict {
    for snapshots in [false, true] {
        let fault = Fault::Boasts;
        with(Tiny { snapshots, fault }, |path| {
            let file = File::open(path, mode::ORDWR)?;
            let mut segment = snapshot(4)?;
            segment.bytes_mut()[2 * PG..].fill(0xee);
            let n = file.read_at(&mut segment.bytes_mut()[..PG + 7], 0);
            ensure!(!matches!(n, Ok(n) if n > PG + 7), "{n:?} bytes read");
            let rest = &segment.bytes()[2 * PG..];
            ensure!(
                rest.iter().all(|b| *b == 0xee),
                "bytes beyond the buffer changed"
            );
            segment.bytes_mut()[0] = 1;
            let n = file.write_at(&segment.bytes()[..PG + 7], 0);
            ensure!(!matches!(n, Ok(n) if n > PG + 7), "{n:?} bytes written");
            Ok(())
        })?;
    }
    Ok(())
}

/// Answers that are none: an error, and nothing of them in the buffer.
fn wrong(fault: Fault) -> Verdict {
    with(
        Tiny {
            snapshots: false,
            fault,
        },
        |path| {
            let file = File::open(path, mode::ORDWR)?;
            let mut segment = snapshot(4)?;
            segment.bytes_mut().fill(0xee);
            let got = file.read_at(&mut segment.bytes_mut()[..100], 0);
            ensure!(!matches!(got, Ok(n) if n > 100), "{got:?} bytes read");
            if fault != Fault::TooMuch {
                ensure!(got.is_err(), "a wrong answer was taken for {got:?}");
            }
            let rest = &segment.bytes()[100..];
            ensure!(
                rest.iter().all(|b| *b == 0xee),
                "bytes beyond the buffer changed"
            );
            Ok(())
        },
    )
}

fn no_version() -> Verdict {
    let server = Tiny {
        snapshots: false,
        fault: Fault::NoVersion,
    };
    let mounted = with(server, |_| Ok(()));
    ensure!(mounted.is_err(), "a server without a version was mounted");
    Ok(())
}

/// The server is gone at each of its requests in turn: every call returns.
fn hangup(snapshots: bool) -> Verdict {
    let mut whole = false;
    for number in 0..40 {
        let fault = Fault::HangUp(number);
        let verdict = with(Tiny { snapshots, fault }, |path| {
            // In a process of its own: a fault may end it.
            let pid = process::spawn(|| match use_all(path) {
                Ok(()) => 0,
                Err(_) => 1,
            })?;
            let ended = process::wait_for(pid)?;
            whole = ended.status() == 0;
            Ok(())
        });
        // A server that is gone while it is mounted is an error, too.
        let _ = verdict;
        if whole {
            ensure!(number > 5, "everything worked after {number} requests");
            return Ok(());
        }
    }
    Err(Why("40 requests were not enough".into()))
}

fn use_all(path: &str) -> Verdict {
    let (file, mut segment, got) = read_all(path)?;
    same("bytes read", got?, LEN)?;
    equal(
        "the buffer",
        &segment.bytes()[..LEN],
        &patterned(SEED, 0, LEN),
    )?;
    segment.bytes_mut()[9] = 1;
    file.write_all_at(&segment.bytes()[..LEN], 0)?;
    file.stat()?;
    Ok(())
}

/// A process that waits for a mute server can be ended, and no other process
/// waits.
fn silent() -> Verdict {
    let fault = Fault::Silent;
    with(
        Tiny {
            snapshots: false,
            fault,
        },
        |path| {
            let pid = process::spawn(|| {
                let _ = read_all(path);
                1
            })?;
            at_rest()?;
            same("others", File::stat_path(path)?.size, LEN as u64)?;
            process::kill(pid, "waited enough")?;
            let ended = process::wait_for(pid)?;
            ensure!(
                ended.text().contains("waited enough"),
                "it ended with \"{}\"",
                ended.text()
            );
            Ok(())
        },
    )
}

/// A process that ends while its description waits for the page to be copied to
/// leaves its place to others.
fn silent_described() -> Verdict {
    let (snapshots, fault) = (true, Fault::Silent);
    with(Tiny { snapshots, fault }, |path| {
        let (_file, segment, got) = read_all(path)?;
        same("bytes read", got?, LEN)?;
        let asleep = segment.address();
        let forever = || u8::from(sys::sleep(u64::MAX / 2).is_ok());
        let ending = process::spawn(forever)?;
        let asker = process::spawn(|| {
            let mut place = 0;
            let of_ending = |info: &ProcessInfo| info.pid == ending;
            let mut places = core::iter::from_fn(|| {
                let mut info = ProcessInfo::default();
                let at = &raw mut info as u64;
                // SAFETY: the kernel writes one `ProcessInfo`.
                let next = unsafe { raw::call(Call::ProcInfo, [place, at, 0, 0, 0, 0]) };
                let here = place;
                place = next.ok().filter(|next| *next != 0)?;
                Some((here, info))
            });
            let found = places.find(|(_, info)| of_ending(info));
            let Some((place, _)) = found else { return 1 };
            // SAFETY: the page is the segment's, which nothing here refers to.
            let done = unsafe { raw::call(Call::ProcInfo, [place, asleep, 0, 0, 0, 0]) };
            u8::from(done.is_ok())
        })?;
        at_rest()?;
        process::kill(ending, "enough")?;
        process::wait_for(ending)?;
        for _ in 0..8 {
            let other = process::spawn(|| 0)?;
            process::wait_for(other)?;
        }
        process::kill(asker, "enough")?;
        let asked = process::wait_for(asker)?;
        ensure!(asked.text().contains("enough"), "{}", asked.text());
        Ok(())
    })
}

/// Touches a sleeping page whose server is in trouble, in another process.
fn touch(path: &str, before: impl FnOnce()) -> Result<Ended, Why> {
    let (_file, segment, got) = read_all(path)?;
    same("bytes read", got?, LEN)?;
    before();
    let pid = process::spawn(|| {
        core::hint::black_box(segment.bytes()[PG]);
        0
    })?;
    Ok(process::wait_for(pid)?)
}

/// The server says that the snapshot is lost: a message with file and offset.
fn lost() -> Verdict {
    let fault = Fault::ReadError(Errno::ESTALE);
    with(
        Tiny {
            snapshots: true,
            fault,
        },
        |path| {
            let ended = touch(path, || ())?;
            same("status", u32::from(ended.status()), rt::abi::STATUS_KILLED)?;
            for part in [path, "0x1000", "ESTALE"] {
                let text = ended.text();
                ensure!(
                    text.contains(part),
                    "the message \"{text}\" lacks \"{part}\""
                );
            }
            Ok(())
        },
    )
}

/// Calls that are given lost bytes say so, and do nothing with them.
fn lost_calls() -> Verdict {
    let fault = Fault::ReadError(Errno::ESTALE);
    let server = Tiny {
        snapshots: true,
        fault,
    };
    with(server, |path| {
        let (_file, mut segment, got) = read_all(path)?;
        same("bytes read", got?, LEN)?;
        // Stored bytes are present, whatever happens to the rest.
        segment.free(2 * PG, PG)?;
        segment.bytes_mut()[2 * PG..3 * PG].fill(0xaa);
        let lost = &segment.bytes()[PG - 7..PG + 7];
        let (ours, theirs) = File::pipe()?;
        fails("sending", rt::send(&ours, [lost]).map(drop), Errno::EIO)?;
        let to = Scratch::patterned("lost-to", 1, PG)?;
        fails("writing", to.file.write_at(lost, 0), Errno::EIO)?;
        let path = [lost.as_ptr() as u64, 14, 0, 0, 0, 0];
        // SAFETY: the kernel only reads the path.
        let entered = unsafe { raw::number(Call::ChDir as u64, path) };
        fails("a path", entered, Errno::EIO)?;
        equal("the file", &to.content()?, &patterned(1, 0, PG))?;
        drop(ours);
        same("bytes sent", theirs.read(&mut [0; 9])?, 0)?;
        let n = to.file.write_at(&segment.bytes()[2 * PG..], 0)?;
        same("what is here, up to what is lost", n, PG)?;
        equal("it", &to.content()?, &[0xaa; PG])
    })
}

/// The server is gone before the page is touched.
fn gone() -> Verdict {
    let fault = Fault::HangUp(u32::MAX);
    let place = Scratch::empty("mounted")?;
    let (ours, theirs) = File::pipe()?;
    let server = Tiny {
        snapshots: true,
        fault,
    };
    let pid = process::spawn(|| {
        close_all_but(&[&theirs]);
        server.serve(&theirs)
    })?;
    drop(theirs);
    ours.mount(&place.path)?;
    let ended = touch(&place.path, || {
        let _ = process::kill(pid, "gone");
        let _ = process::wait_for(pid);
    })?;
    sys::unmount(&place.path)?;
    same("status", u32::from(ended.status()), rt::abi::STATUS_KILLED)?;
    ensure!(
        ended.text().contains(&place.path),
        "the message is \"{}\"",
        ended.text()
    );
    Ok(())
}

/// Invariant 7: a process that becomes a server makes its pages resident, and
/// reads eagerly from then on.
fn awake() -> Verdict {
    const PAGES: usize = 5;
    let source = Scratch::patterned("source", SEED, PAGES * PG)?;
    let want = patterned(SEED, 0, PAGES * PG);
    becomes_a_server(
        &source,
        || source.asleep(PAGES),
        |asleep| {
            moves(0, || equal("what was asleep", asleep.bytes(), &want))?;
            let again = moves(want.len(), || source.asleep(PAGES))?;
            equal("what was read", again.bytes(), &want)
        },
    )
}

/// Invariant 13: a snapshot whose answer comes after its client has given up is
/// released; an answer that comes before the answer to its flush counts.
fn late(noted: bool) -> Verdict {
    let late = Tiny {
        snapshots: true,
        fault: Fault::Late,
    };
    with(late, |path| {
        let pid = process::spawn(|| {
            let read = || {
                note::handle(|_, _| Then::Resume)?;
                let mut segment = snapshot(4)?;
                let n = File::open(path, mode::ORDWR)?.read_at(segment.bytes_mut(), 0)?;
                same("bytes read", n, LEN)?;
                equal("them", &segment.bytes()[..LEN], &patterned(SEED, 0, LEN))
            };
            u8::from(read().is_err())
        })?;
        at_rest()?;
        if noted {
            note::send(pid, "hurry")?;
        } else {
            process::kill(pid, "waited enough")?;
        }
        let status = process::wait_for(pid)?.status();
        ensure!((status == 0) == noted, "it ended with {status}");
        // The connection stays until the server has answered the flush.
        File::stat_path(path)?;
        Ok(())
    })
}

/// Invariant 13: an ended process leaves nothing at a server, whether the
/// answer to its request is already there or no tag is free to withdraw it
/// with.
fn killed(writing: bool) -> Verdict {
    let kills = Tiny {
        snapshots: true,
        fault: Fault::Kills,
    };
    with(kills, |path| {
        let pid = process::spawn(|| {
            let survive = || {
                let file = File::open(path, mode::ORDWR)?;
                let mut segment = snapshot(if writing { 1200 } else { 4 })?;
                if writing {
                    segment.bytes_mut().fill(1);
                    file.write_at(segment.bytes(), sys::getpid())?;
                } else {
                    file.read_at(segment.bytes_mut(), sys::getpid())?;
                }
                Ok::<(), Why>(())
            };
            u8::from(survive().is_err())
        })?;
        let status = process::wait_for(pid)?.status();
        // The connection stays until the server has answered.
        File::stat_path(path)?;
        same("its status", u32::from(status), STATUS_KILLED)
    })
}

/// A program whose server gives it in small parts.
fn program(snapshots: bool) -> Verdict {
    let fault = Fault::Program;
    with(Tiny { snapshots, fault }, runs_true)
}

/// The program at `path` runs, and ends well.
fn runs_true(path: &str) -> Verdict {
    let pid = process::spawn(|| {
        process::exec(path, &["true"]);
        99
    })?;
    same("status", process::wait_for(pid)?.status(), 0)
}

/// A server that has no room for snapshots is read without: to a snapshot segment, to
/// other memory with more than one message, and by exec.
fn no_room() -> Verdict {
    /// More than a message takes.
    const MUCH: usize = 100_000;
    let want = File::open("/bin/true", mode::OREAD)?.read_to_end()?;
    for errno in [Errno::ENOMEM, Errno::EMFILE] {
        let (snapshots, fault) = (true, Fault::NoRoom(errno));
        with(Tiny { snapshots, fault }, |path| {
            let file = File::open(path, mode::OREAD)?;
            let mut asleep = snapshot((want.len() + MUCH).div_ceil(PG))?;
            let mut plain = alloc::vec![0; want.len() + MUCH];
            for buffer in [asleep.bytes_mut(), &mut plain] {
                same("bytes read", file.read_full_at(buffer, 0)?, want.len())?;
                equal("the buffer", &buffer[..want.len()], &want)?;
            }
            runs_true(path)
        })?;
    }
    Ok(())
}
