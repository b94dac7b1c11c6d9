//! Programs that use up what hostfs has for snapshots: others go on.

use super::Case;
use super::limits::{EACH, crowd, others_go_on, take_snapshots};
use crate::check::{PG, Scratch, Verdict, snapshot};

pub const CASES: &[Case] = &[
    Case::deferred("limits.host.snapshots", snapshots),
    Case::asked("limits.host.comb", comb),
];

/// Others open, run and read, in one message and in several.
fn others_read() -> Verdict {
    others_go_on()?;
    Scratch::zeros("big", 1 << 20)?.asleep(256).map(drop)
}

/// Snapshots of some processes leave files for others.
fn snapshots() -> Verdict {
    let scratch = Scratch::zeros("many", ((EACH + 1) * 2 * PG) as u64)?;
    let many = || {
        if let (Ok(file), Ok(mut pages)) = (scratch.again(), snapshot(EACH)) {
            take_snapshots(&file, &mut pages);
            core::mem::forget(pages);
        }
    };
    crowd(10, many, others_read)
}

/// A process sleeps on a file and overwrites every other page.
fn comb() -> Verdict {
    const PAGES: usize = 100_000;
    let scratch = Scratch::zeros("comb", (PAGES * PG) as u64)?;
    // It has a block: that the others are zeros is not known.
    scratch.file.write_all_at(&[1; PG], 0)?;
    let overwrite = || {
        let segment = scratch.asleep(PAGES);
        let Ok(file) = scratch.again() else { return };
        let pages = (0..PAGES).step_by(2);
        let mut offsets = pages.map(|page| (page * PG) as u64);
        let refused = offsets.find(|at| file.write_at(&[7; PG], *at).is_err());
        rt::println!("refused at {refused:?}");
        core::mem::forget(segment);
    };
    crowd(1, overwrite, others_read)
}
