//! Random programs beside a lying file server, which fills parts of the buffer
//! and is sent others. The data of honest servers and the program's own stores
//! must stay equal to plain arrays.

use super::Case;
use super::fuzz::end_group;
use super::lying;
use super::random::{self, FILE_MAX, PAGES, World};
use crate::check::{PG, Scratch, Verdict, Why, equal, same};
use alloc::vec;
use rt::abi::mode;
use rt::note::{self, Then};
use rt::{Errno, File, process, sys};

pub const CASES: &[Case] = &[
    Case::new("random.liar.1", || between(1)),
    Case::new("random.liar.2", || between(2)),
    Case::new("random.liar.3", || between(3)),
    Case::new("random.liar.4", || between(4)),
];

/// Time after which a call to the liar is interrupted.
const PATIENCE_NS: u64 = 3_000_000;

/// A lying server, mounted.
struct Liar {
    place: Scratch,
    group: u64,
    file: File,
    snapshots: bool,
}

impl Liar {
    fn start(seed: u64) -> Result<Option<Liar>, Why> {
        let place = Scratch::empty("between")?;
        let (ours, theirs) = File::pipe()?;
        let snapshots = !seed.is_multiple_of(3);
        let group = lying::group(|| lying::serve(seed, snapshots, &theirs))?;
        drop(theirs);
        // The mount and the open meet lies too.
        let mounted = impatiently(|| ours.mount(&place.path));
        let opened = match mounted {
            Ok(()) => impatiently(|| File::open(&place.path, mode::ORDWR)),
            Err(errno) => Err(errno),
        };
        match opened {
            Ok(file) => Ok(Some(Liar {
                place,
                group,
                file,
                snapshots,
            })),
            Err(_) => {
                end_group(group)?;
                let _ = sys::unmount(&place.path);
                Ok(None)
            }
        }
    }

    fn end(self) -> Verdict {
        let Liar {
            place, group, file, ..
        } = self;
        end_group(group)?;
        drop(file);
        Ok(sys::unmount(&place.path)?)
    }
}

/// Makes a call, and interrupts it with a note if it takes long.
fn impatiently<T>(call: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let me = sys::getpid();
    let alarm = process::spawn(|| {
        while sys::sleep(PATIENCE_NS).is_ok() && note::send(me, "enough").is_ok() {}
        0
    })?;
    let done = call();
    process::kill(alarm, "done")?;
    // A note may have come just now.
    while let Err(Errno::EINTR) = process::wait_for(alarm) {}
    done
}

/// A random program and the lying server beside it.
struct Between {
    world: World,
    liar: Option<Liar>,
    /// An honest file for known and unknown bytes alike.
    spilt: Scratch,
    seed: u64,
}

pub fn between(seed: u64) -> Verdict {
    note::handle(|_, _| Then::Resume)?;
    let mut between = Between {
        world: World::new(seed)?,
        liar: Liar::start(seed)?,
        spilt: Scratch::empty("spilt")?,
        seed,
    };
    let compare = |between: &Between| between.world.compare();
    let done = random::run(seed, &mut between, Between::step, compare);
    let ended = between.liar.take().map_or(Ok(()), Liar::end);
    done.and(ended)
}

impl Between {
    fn step(&mut self) -> Verdict {
        match self.world.random.below(14) {
            0 | 1 => self.take(),
            2 => self.give(),
            3 => self.visit(),
            4 => self.mix(),
            5 => self.spill(),
            6 => self.read_over(),
            7 if self.world.random.below(4) == 0 => self.another(),
            _ => self.world.step(),
        }
    }

    /// The liar fills a part of the buffer.
    fn take(&mut self) -> Verdict {
        let (at, len) = self.world.part();
        let offset = self.world.random.place(FILE_MAX) as u64;
        if let Some(liar) = &self.liar {
            self.world.doubt(at, len);
            let to = &mut self.world.segment.bytes_mut()[at..at + len];
            // The result is the liar's choice.
            let _ = impatiently(|| liar.file.read_at(to, offset));
        }
        Ok(())
    }

    /// A part of the buffer is written to the liar. It must not change by that,
    /// unless the liar has snapshots: it may claim to have what was written, and
    /// sleeping pages then come from it.
    fn give(&mut self) -> Verdict {
        let (at, len) = self.world.part();
        let offset = self.world.random.place(FILE_MAX) as u64;
        if let Some(liar) = &self.liar {
            let from = &self.world.segment.bytes()[at..at + len];
            let _ = impatiently(|| liar.file.write_at(from, offset));
            if liar.snapshots {
                self.world.doubt(at, len);
            }
        }
        Ok(())
    }

    /// A child loads from unknown pages and stores to them, until it is killed.
    fn visit(&mut self) -> Verdict {
        let unknown = self.world.unknown;
        let segment = &mut self.world.segment;
        let pid = process::spawn(|| {
            if note::ignore_handler().is_err() {
                return 1;
            }
            let pages = segment.bytes_mut().chunks_mut(PG).zip(unknown);
            for (page, _) in pages.filter(|(_, unknown)| *unknown) {
                page[0] = page[PG - 1].wrapping_add(1);
            }
            0
        })?;
        sys::sleep(PATIENCE_NS)?;
        // It may have ended.
        let _ = process::kill(pid, "enough");
        process::wait_for(pid)?;
        Ok(())
    }

    /// A read from an honest server; the pages at its ends may need bytes of the liar.
    fn mix(&mut self) -> Verdict {
        let (at, len) = self.world.part();
        let offset = self.world.random.place(FILE_MAX) as u64;
        self.world.doubt(at, len);
        let file = &self.world.files[0].real.file;
        let to = &mut self.world.segment.bytes_mut()[at..at + len];
        let _ = impatiently(|| file.read_at(to, offset));
        Ok(())
    }

    /// Known and unknown bytes are written to an honest server. The known ones
    /// among those that it takes must arrive.
    fn spill(&mut self) -> Verdict {
        let (at, len) = self.world.part();
        let (file, world) = (&self.spilt.file, &self.world);
        let from = &world.segment.bytes()[at..at + len];
        let Ok(written) = impatiently(|| file.write_at(from, 0)) else {
            return Ok(());
        };
        let mut got = vec![0; written];
        same("bytes spilt", file.read_full_at(&mut got, 0)?, written)?;
        let mut done = 0;
        while done < written {
            let next = ((at + done) / PG + 1) * PG - at;
            let run = done..next.min(written);
            if !world.unknown[(at + done) / PG] {
                let want = &world.model[at + run.start..at + run.end];
                equal("what was spilt", &got[run.clone()], want)?;
            }
            done = run.end;
        }
        Ok(())
    }

    /// A read of whole pages from an honest server does not need their old content.
    fn read_over(&mut self) -> Verdict {
        let World {
            random,
            files,
            segment,
            model,
            unknown,
        } = &mut self.world;
        let first = random.below(PAGES);
        let pages = 1 + random.below(PAGES - first);
        let offset = random.place(FILE_MAX);
        let file = &files[random.below(2)];
        let there = file.model.get(offset..).unwrap_or(&[]);
        let pages = pages.min(there.len() / PG);
        let (at, len) = (first * PG, pages * PG);
        let to = &mut segment.bytes_mut()[at..at + len];
        same(
            "bytes read",
            file.real.file.read_at(to, offset as u64)?,
            len,
        )?;
        model[at..at + len].copy_from_slice(&there[..len]);
        unknown[first..first + pages].fill(false);
        Ok(())
    }

    /// Another liar takes the place of the present one.
    fn another(&mut self) -> Verdict {
        if let Some(liar) = self.liar.take() {
            liar.end()?;
        }
        self.seed += 1000;
        self.liar = Liar::start(self.seed)?;
        Ok(())
    }
}
