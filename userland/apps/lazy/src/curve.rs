//! `lazy --curve FILE`: the break-even curve. What does it cost to read a file and touch
//! a part of its pages, deferred and eager, in ascending and in random order, by loads
//! and by stores?
//!
//! Each figure is of a copy of the file that was never read before, so nothing of it is
//! in memory.

use crate::pages;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use rt::abi::{PAGE, snapshot};
use rt::stats::{Counters, Figures};
use rt::{ByteStr, Failure, File, Named, Segment, copy, mode, println, sys};

/// The parts of the pages that are touched, in thousandths.
const PARTS: [u64; 7] = [0, 10, 64, 100, 250, 500, 1000];

/// The order of the touched pages.
#[derive(Clone, Copy)]
enum Order {
    /// The front of the file.
    Sequential,
    /// Anywhere.
    Random,
}

/// How a page is touched.
#[derive(Clone, Copy)]
enum Touch {
    Load,
    Store,
}

/// One figure's setting.
#[derive(Clone, Copy)]
struct Setting {
    /// The argument of the segment.
    mode: u64,
    order: Order,
    touch: Touch,
    part: u64,
}

impl Setting {
    fn all() -> impl Iterator<Item = Setting> {
        let orders = [Order::Sequential, Order::Random];
        let kinds = orders.map(|order| [(order, Touch::Load), (order, Touch::Store)]);
        kinds.into_iter().flatten().flat_map(|(order, touch)| {
            PARTS.into_iter().flat_map(move |part| {
                [snapshot::DEFERRED, snapshot::EAGER].map(|mode| Setting {
                    mode,
                    order,
                    touch,
                    part,
                })
            })
        })
    }

    fn name(&self) -> String {
        let mode = match self.mode {
            snapshot::EAGER => "eager",
            _ => "deferred",
        };
        let order = match self.order {
            Order::Sequential => "sequential",
            Order::Random => "random",
        };
        let touch = match self.touch {
            Touch::Load => "loads",
            Touch::Store => "stores",
        };
        format!("{order:<10} {touch:<6} {mode:<8}")
    }
}

/// Prints a line for each setting.
pub fn print(path: ByteStr<'_>) -> Result<(), Failure> {
    let size = File::stat_path(path).about(path)?.size;
    println!("curve of {size} bytes, in instructions (ticks without --icount)");
    println!("order      by     mode     touched % instructions   messages   bytes_in");
    let own = format!("{path}.curve");
    for setting in Setting::all() {
        copy::file(path, own.as_str().into())?;
        let measured = measure(&own, size, setting);
        sys::remove(&own).about(&own)?;
        let (ticks, figures) = measured?;
        println!(
            "{} {:>7}.{} {:>12} {:>10} {:>10}",
            setting.name(),
            setting.part / 10,
            setting.part % 10,
            ticks,
            figures.messages,
            figures.bytes_in
        );
    }
    Ok(())
}

/// Reads and touches; the cost.
fn measure(path: &str, size: u64, setting: Setting) -> Result<(u64, Figures), Failure> {
    let file = File::open(path, mode::OREAD).about(path)?;
    let len = usize::try_from(size).map_err(|_| Failure::new("file too large"))?;
    let mut segment =
        Segment::attach_with("snapshot", len, 0, setting.mode).about("snapshot segment")?;
    let all = size.div_ceil(PAGE);
    let count = (all * setting.part).div_ceil(1000);
    let pages: Vec<u64> = match setting.order {
        Order::Sequential => (0..count).collect(),
        Order::Random => pages::shuffled(all, 1)
            .into_iter()
            .take(count as usize)
            .collect(),
    };
    let before = Counters::now().about("counters")?;
    let got = file
        .read_full_at(&mut segment.bytes_mut()[..len], 0)
        .about(path)?;
    crate::whole(path.into(), got, len)?;
    match setting.touch {
        Touch::Load => {
            let bytes = segment.bytes();
            pages
                .iter()
                .for_each(|page| crate::look(&bytes[crate::offset(*page)]));
        }
        Touch::Store => {
            let bytes = segment.bytes_mut();
            pages
                .iter()
                .for_each(|page| bytes[crate::offset(*page)] = 1);
        }
    }
    let after = Counters::now().about("counters")?;
    Ok((after.busy_since(&before), Figures::between(&before, &after)))
}
