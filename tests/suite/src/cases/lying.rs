//! Servers that lie at random, to clients that are killed at random: an honest
//! process beside them notices nothing, and all is given back.

use super::Case;
use super::fuzz::{end_group, wild_calls};
use super::random::Random;
use crate::check::{PG, Scratch, Verdict, Why, equal, patterned, snapshot};
use crate::liar::{Liar, Next, Turn, close_all_but};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use ninep::{Changes, Qid, Reply, Request};
use rt::abi::{mode, rfork};
use rt::process::{self, Fork};
use rt::{Errno, File, Segment, note, sys, time};

pub const CASES: &[Case] = &[
    Case::new("lies.random.1", || storm(1)),
    Case::new("lies.random.2", || storm(2)),
    Case::new("lies.random.3", || storm(3)),
];

/// How long the lies go on.
const STORM_NS: u64 = 300_000_000;
/// How long a client has before it is killed.
const LIFE_NS: u64 = 4_000_000;
const CLIENTS: u64 = 3;
/// Pages of the file and of the clients' buffers.
const PAGES: usize = 40;

/// Servers with and without snapshots lie, and clients use them, some by calls without
/// sense, until the time is up; all with random numbers of that seed.
pub fn storm(seed: u64) -> Verdict {
    let mut groups = Vec::new();
    let mut places = Vec::new();
    for snapshots in [true, false] {
        let place = Scratch::empty(&format!("storm-{snapshots}"))?;
        let (ours, theirs) = File::pipe()?;
        groups.push(group(|| serve(seed, snapshots, &theirs))?);
        drop(theirs);
        ours.mount(&place.path)?;
        for client in 0..CLIENTS {
            groups.push(group(|| use_it(seed * CLIENTS + client, &place.path))?);
        }
        groups.push(group(|| wild_calls(seed, &place.path))?);
        places.push(place);
    }
    let honest = be_honest(seed);
    for group in groups.into_iter().rev() {
        end_group(group)?;
    }
    while process::wait().is_ok() {}
    for place in &places {
        sys::unmount(&place.path)?;
    }
    honest.map_err(|Why(why)| Why(format!("seed {seed}: {why}")))
}

/// A process in a note group of its own that runs `body`, which normally does
/// not return.
pub fn group(body: impl FnOnce()) -> Result<u64, Errno> {
    match process::fork_with(rfork::NOTES)? {
        Fork::Child => {
            // Notes are to end it.
            if note::ignore_handler().is_ok() {
                body();
            }
            process::exit_now(0, "")
        }
        Fork::Parent(pid) => Ok(pid),
    }
}

/// Writes and reads a file at an honest server for as long as the lies last.
fn be_honest(seed: u64) -> Verdict {
    let scratch = Scratch::empty("honest")?;
    let end = time::now_ns()? + STORM_NS;
    let mut round = seed as u8;
    while time::now_ns()? < end {
        round = round.wrapping_add(1);
        let want = patterned(round, 0, PAGES * PG);
        let mut segment = snapshot(PAGES)?;
        segment.bytes_mut().copy_from_slice(&want);
        scratch.file.write_all_at(segment.bytes(), 0)?;
        let asleep = scratch.asleep(PAGES)?;
        equal("an honest file", asleep.bytes(), &want)?;
    }
    Ok(())
}

/// Children that do random things with the file and are killed in the middle.
fn use_it(seed: u64, path: &str) {
    let mut random = Random::new(seed);
    loop {
        let seed = random.below(1 << 30) as u64;
        let child = process::spawn(|| u8::from(calls(&mut Random::new(seed), path).is_err()));
        let Ok(pid) = child else { return };
        let _ = sys::sleep(random.below(LIFE_NS as usize) as u64);
        let _ = process::kill(pid, "enough");
        let _ = process::wait_for(pid);
    }
}

fn calls(random: &mut Random, path: &str) -> Result<(), Errno> {
    let kind = ["snapshot", "memory"][random.below(2)];
    let mut segment = Segment::attach(kind, PAGES * PG)?;
    let file = File::open(path, mode::ORDWR)?;
    loop {
        let at = random.below(PAGES * PG);
        let len = random.below(PAGES * PG - at) + 1;
        let offset = random.below(PAGES) as u64 * PG as u64;
        // The results do not matter.
        match random.below(7) {
            0 | 1 => drop(file.read_at(&mut segment.bytes_mut()[at..at + len], offset)),
            2 => drop(file.write_at(&segment.bytes()[at..at + len], offset)),
            // May end the process.
            3 => segment.bytes_mut()[at] ^= segment.bytes()[PAGES * PG - 1 - at],
            4 => drop(file.stat()),
            5 => drop(File::open(path, mode::OREAD)),
            _ => segment.free(at, len)?,
        }
    }
}

/// Two processes at one channel: one answers, the other sends unsolicited
/// messages as soon as all is mounted.
pub fn serve(seed: u64, snapshots: bool, channel: &File) {
    close_all_but(&[channel]);
    let (mut random, mut late) = (Random::new(seed), Vec::new());
    let liar = Liar {
        snapshots,
        len: PAGES * PG,
        ..Liar::default()
    };
    liar.serve(channel, |turn| match turn.request {
        Request::Version { .. } | Request::Session { .. } => Next::Honest,
        Request::Attach { .. } => {
            let attached = turn.answer();
            let noise = process::spawn(|| make_noise(seed + 1, channel));
            match attached.and(noise.map(drop)) {
                Ok(()) => Next::Done,
                Err(_) => Next::End(1),
            }
        }
        _ => hook(&mut random, &mut late, turn),
    });
}

fn make_noise(seed: u64, channel: &File) -> u8 {
    let mut random = Random::new(seed);
    loop {
        let mut out = [0; 64];
        let tag = random.below(8) as u16;
        let reply = lie(&mut random);
        let Ok(len) = ninep::encode_reply(tag, &reply, &mut out) else {
            return 1;
        };
        if let Err(Errno::EPIPE) = rt::send(channel, [&out[..len]]) {
            return 0;
        }
        let _ = sys::sleep(300_000);
    }
}

fn hook(random: &mut Random, late: &mut Vec<u16>, turn: &mut Turn<'_>) -> Next {
    let tag = turn.tag;
    // The kernel's answers do not matter, neither to lies nor to the truth,
    // because the other process may have answered before.
    let _ = match random.below(24) {
        0 => turn.reply(tag, &Reply::Error(ERRORS[random.below(ERRORS.len())])),
        1 => {
            let _ = turn.answer();
            turn.reply(tag, &Reply::Error(Errno::EIO))
        }
        2 => turn.reply(random.below(64) as u16, &Reply::Error(Errno::EIO)),
        3 => {
            late.push(tag);
            Ok(())
        }
        4 => turn.reply(tag, &lie(random)),
        5 => {
            let data = &vec![0x5a; random.below(140_000)];
            turn.reply(tag, &Reply::Read { data })
        }
        6 => {
            // Nothing is mapped there.
            let _ = turn.data_at(tag, 0x1000, random.below(PG));
            turn.answer()
        }
        7 => {
            if let Some(tag) = late.pop() {
                let _ = turn.reply(tag, &Reply::Error(Errno::EAGAIN));
            }
            turn.answer()
        }
        _ => turn.answer(),
    };
    Next::Done
}

const ERRORS: &[Errno] = &[
    Errno::EINTR,
    Errno::ENOMEM,
    Errno::EIO,
    Errno::ESTALE,
    Errno::EBADF,
    Errno::EAGAIN,
    Errno::EOPNOTSUPP,
    Errno::ENOSPC,
    Errno::EFAULT,
    Errno::EPIPE,
];

/// An answer with wrong numbers, perhaps to something else.
fn lie(random: &mut Random) -> Reply<'static> {
    let numbers = [0, 1, 4095, 4096, 1 << 20, 1 << 40, u64::MAX];
    let mut number = || numbers[random.below(numbers.len())];
    let (off, count, epoch, size) = (number(), number(), number(), number());
    let changes = Changes::NONE;
    match random.below(6) {
        0 => Reply::Error(Errno::EINTR),
        1 => Reply::Write {
            count: count as u32,
        },
        2 => Reply::Clunk,
        3 => Reply::Flush,
        4 => Reply::Snap {
            qid: Qid::default(),
            epoch,
            count,
            size,
            changes,
        },
        _ => Reply::Put {
            off,
            count,
            epoch,
            assoc: true,
            changes,
        },
    }
}
