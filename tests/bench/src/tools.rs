//! The jobs of programs that go through data: text tools, and a channel.

use crate::Round;
use crate::jobs::{count, in_another, repeat};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use rt::process::{self, Fork};
use rt::{Failure, File, Named, Stat64, mode, sys};

/// Bytes of text.
const TEXT: usize = 10_000_000;
const PATH: &str = "/n/host/bench-text.tmp";

/// Lines of a few words of small letters each, the same ones each time.
fn text() -> Vec<u8> {
    let mut state = 1u64;
    let mut below = |n: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % n
    };
    let mut text = Vec::with_capacity(TEXT);
    while text.len() < TEXT {
        for _ in 0..2 + below(8) {
            for _ in 0..2 + below(8) {
                text.push(b'a' + below(26) as u8);
            }
            text.push(b' ');
        }
        text.push(b'\n');
    }
    text.truncate(TEXT - 1);
    text.push(b'\n');
    text
}

/// Runs a program with its output thrown away.
pub fn run(argv: &[&str]) -> Result<(), Failure> {
    let name = argv.first().copied().unwrap_or_default();
    in_another(|| {
        let null = File::open("/dev/null", mode::OWRITE).and_then(|null| null.dup_to(1));
        let errno = match null {
            Ok(_) => process::exec(&format!("/bin/{name}"), argv),
            Err(errno) => errno,
        };
        process::exit_now(1, errno.text())
    })
}

/// A program that reads the text, from its start to its end.
fn over_text(argv: &[&str]) -> Result<Round, Failure> {
    let file = File::create(PATH, mode::OWRITE | mode::OTRUNC, 0o644).about(PATH)?;
    let written = file.write_all(&text()).about(PATH);
    let ticks = written.and_then(|()| count(Stat64::Ticks, || run(argv)));
    sys::remove(PATH).about(PATH)?;
    Ok(Round {
        times: 1,
        ticks: ticks?,
    })
}

/// The lines with a pattern that can begin with any of several letters.
pub fn grep() -> Result<Round, Failure> {
    over_text(&["grep", "[qxz][aeiou]k[a-m]*s", PATH])
}

/// Lines, words and bytes counted.
pub fn wc() -> Result<Round, Failure> {
    over_text(&["wc", PATH])
}

/// All lines sorted.
pub fn sort() -> Result<Round, Failure> {
    over_text(&["sort", PATH])
}

/// Bytes of a message.
const PIECE: usize = 64 << 10;

/// A MiB from one process to another, in pieces of 64 KiB.
pub fn pipe() -> Result<Round, Failure> {
    let (ours, theirs) = File::pipe().about("channel")?;
    let pid = match process::fork().about("process")? {
        Fork::Child => {
            drop(ours);
            let piece = vec![7; PIECE];
            while theirs.write_all(&piece).is_ok() {}
            process::exit_now(0, "")
        }
        Fork::Parent(pid) => pid,
    };
    drop(theirs);
    let mut piece = vec![0; PIECE];
    let round = repeat(20, || {
        let mut left = 1 << 20;
        while left > 0 {
            left -= ours.read_full(&mut piece).about("receiving")?;
        }
        Ok(())
    });
    drop(ours);
    process::wait_for(pid).about("waiting")?;
    round
}
