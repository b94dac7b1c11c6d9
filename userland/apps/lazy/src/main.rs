//! `lazy [-ot] [-n TOUCH] [-m MODIFY] [-s SEED] FILE`, `lazy --curve FILE`
//!
//! Demonstrates deferred I/O: reads all of FILE into a snapshot segment,
//! touches TOUCH (16) scattered pages of it, changes MODIFY (3) of them, and
//! writes the whole buffer back, with plain `read` and `write`. Then prints the
//! traffic of each step; with `-t` as tab-separated lines. SEED chooses the
//! pages. With `-o` another process overwrites FILE after half of the touches.
//!
//! `--curve` prints what reading FILE and touching a part of its pages costs,
//! deferred and eager, for parts from none to all. It makes copies beside FILE.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod curve;
mod pages;
mod table;

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use pages::Scattered;
use rt::abi::PAGE;
use rt::process::{self, Fork};
use rt::stats::{Counters, Figures};
use rt::{Args, ByteStr, Failure, File, Named, Segment, manual, mode};

rt::main!(main, include_str!("main.rs"));

/// The command line.
struct Order {
    tabs: bool,
    overwrite: bool,
    touch: u64,
    modify: u64,
    seed: u64,
    path: ByteStr<'static>,
}

fn order(args: Args) -> Result<Order, Failure> {
    let mut order = Order {
        tabs: false,
        overwrite: false,
        touch: 16,
        modify: 3,
        seed: 1,
        path: ByteStr::default(),
    };
    let mut options = args.options("otn:m:s:");
    while let Some((letter, value)) = options.next_option()? {
        let number = || {
            let parsed = value.parse::<u64>();
            parsed.map_err(|_| Failure::usage(format_args!("-{letter} {value}: not a number")))
        };
        match letter {
            't' => order.tabs = true,
            'o' => order.overwrite = true,
            'n' => order.touch = number()?,
            'm' => order.modify = number()?,
            _ => order.seed = number()?,
        }
    }
    let files = options.rest();
    match (files.get(0), files.len()) {
        (Some(path), 1) => order.path = path,
        _ => return Err(manual::misused()),
    }
    Ok(order)
}

fn main(args: Args) -> Result<(), Failure> {
    if let (Some(first), Some(path), 2) = (args.get(0), args.get(1), args.len())
        && first == "--curve"
    {
        return curve::print(path);
    }
    let order = order(args)?;
    let path = order.path;
    let file = File::open(path, mode::ORDWR).about(path)?;
    let stat = file.stat().about(path)?;
    if stat.is_dir() || stat.size == 0 {
        return Err(Failure::new(format_args!("{path}: no content to read")));
    }
    let size = usize::try_from(stat.size).map_err(|_| Failure::new("file too large"))?;
    let mut segment = Segment::attach("snapshot", size).about("snapshot segment")?;
    let pages = Scattered::new(stat.size.div_ceil(PAGE), order.seed);
    let touched: Vec<u64> = pages.take(order.touch.max(order.modify));

    let mut steps = Steps::new(segment.bytes_mut())?;
    steps.run("read", |buffer| {
        let got = file.read_full_at(&mut buffer[..size], 0).about(path)?;
        whole(path, got, size)
    })?;
    let first = match order.overwrite {
        true => order.touch / 2,
        false => order.touch,
    };
    steps.touch("touch", &touched[..first as usize])?;
    if order.overwrite {
        steps.run("overwrite", |_| by_another(|| overwrite(path, size)))?;
        steps.touch("touch", &touched[first as usize..order.touch as usize])?;
    }
    steps.run("change", |buffer| {
        for page in touched.iter().take(order.modify as usize) {
            let byte = &mut buffer[offset(*page)];
            *byte = byte.wrapping_add(1);
        }
        Ok(())
    })?;
    steps.run("write", |buffer| {
        file.write_all_at(&buffer[..size], 0).about(path)
    })?;

    // Printing moves bytes too, so nothing is printed before the last step.
    match order.tabs {
        true => table::tabs(&steps.done),
        false => table::pretty(&steps.done, path, stat.size),
    }
    Ok(())
}

fn whole(path: ByteStr<'_>, got: usize, size: usize) -> Result<(), Failure> {
    match got == size {
        true => Ok(()),
        false => Err(Failure::new(format_args!(
            "{path}: read {got} of {size} bytes"
        ))),
    }
}

/// Lets another process do that, and waits for it.
fn by_another(work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let pid = match process::fork().about("new process")? {
        Fork::Parent(pid) => pid,
        Fork::Child => match work() {
            Ok(()) => process::exit(0, ""),
            Err(failure) => process::exit(1, &format!("{failure}")),
        },
    };
    let ended = process::wait_for(pid).about("new process")?;
    match ended.status() {
        0 => Ok(()),
        _ => Err(Failure::new(ended.text())),
    }
}

/// Writes other bytes over a file of `size` bytes.
fn overwrite(path: ByteStr<'_>, size: usize) -> Result<(), Failure> {
    const PIECE: usize = 64 << 10;
    let file = File::open(path, mode::OWRITE).about(path)?;
    let bytes = vec![b'!'; PIECE];
    for at in (0..size).step_by(PIECE) {
        let piece = &bytes[..PIECE.min(size - at)];
        file.write_all_at(piece, at as u64).about(path)?;
    }
    Ok(())
}

fn offset(page: u64) -> usize {
    (page * PAGE) as usize
}

/// A load that is not optimised away.
fn look(byte: &u8) {
    core::hint::black_box(*byte);
}

/// Runs steps on the buffer and records the traffic of each.
struct Steps<'a> {
    buffer: &'a mut [u8],
    last: Counters,
    done: Vec<(&'static str, Figures)>,
}

impl<'a> Steps<'a> {
    fn new(buffer: &'a mut [u8]) -> Result<Self, Failure> {
        Ok(Steps {
            buffer,
            last: Counters::now().about("counters")?,
            done: Vec::with_capacity(6),
        })
    }

    /// Loads a byte of each of these pages.
    fn touch(&mut self, name: &'static str, pages: &[u64]) -> Result<(), Failure> {
        self.run(name, |buffer| {
            for page in pages {
                look(&buffer[offset(*page)]);
            }
            Ok(())
        })
    }

    fn run(
        &mut self,
        name: &'static str,
        step: impl FnOnce(&mut [u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        step(self.buffer)?;
        let now = Counters::now().about("counters")?;
        self.done.push((name, Figures::between(&self.last, &now)));
        self.last = now;
        Ok(())
    }
}
