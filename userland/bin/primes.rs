//! `primes N`: the first N primes, one a line, by a sieve of threads.
//!
//! Each thread has found one prime and passes on what that does not divide, as in
//! Hoare's "Communicating Sequential Processes". N is 200 at most.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::sync::{Receiver, Sender, channel, sync_channel};
use rt::thread::Builder;
use rt::{Args, Failure, Named, manual, println};

rt::main!(main, include_str!("primes.rs"));

/// Numbers that may wait between two threads.
const ROOM: usize = 64;
/// There are not more threads.
const MOST: usize = 200;

fn main(args: Args) -> Result<(), Failure> {
    let (_, args) = args.options("").flags()?;
    let (Some(text), 1) = (args.get(0), args.len()) else {
        return Err(manual::misused());
    };
    let count = text.parse::<usize>().ok().filter(|count| *count <= MOST);
    let wrong = || Failure::usage(format_args!("{text}: not a number up to {MOST}"));
    let count = count.ok_or_else(wrong)?;
    let (found, primes) = channel();
    let (to, mut from) = sync_channel(ROOM);
    start("numbers", move || (2..).try_for_each(|n| to.send(n)).ok())?;
    for _ in 1..count {
        let (to, next) = sync_channel(ROOM);
        let (before, found) = (from, found.clone());
        start("sieve", move || sieve(&before, &to, &found))?;
        from = next;
    }
    if count > 0 {
        let _ = found.send(from.recv().unwrap_or(0));
    }
    drop((found, from));
    // Each thread finds its own before it passes on that of the next: they come in order.
    primes.iter().for_each(|prime: u32| println!("{prime}"));
    Ok(())
}

fn start<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<(), Failure> {
    Builder::new()
        .name(name)
        .spawn(body)
        .about("thread")
        .map(drop)
}

/// The first number is a prime; passes on those that it does not divide, until nobody
/// wants more.
fn sieve(from: &Receiver<u32>, to: &Sender<u32>, found: &Sender<u32>) {
    let Ok(prime) = from.recv() else {
        return;
    };
    let _ = found.send(prime);
    for n in from.iter().filter(|n| !n.is_multiple_of(prime)) {
        if to.send(n).is_err() {
            return;
        }
    }
}
