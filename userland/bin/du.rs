//! `du [-abs] [PATH...]`: the sizes of the files in directories, at first in this one, in
//! KiB. File servers do not say what room a file takes. `-a`: of each file too; `-s`: only
//! the sum of each PATH; `-b`: in bytes. A file with several names counts once.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use rt::{
    Args, ByteStr, ByteString, Directory, Failure, File, Flags, Named, Stat, copy, eprintln, io,
    print, tree,
};

rt::main!(main, include_str!("du.rs"));

/// What was counted so far.
struct Counting {
    flags: Flags,
    /// Files with several names, by server and number.
    seen: BTreeSet<(u64, u64)>,
    /// The directories from the top of the tree to the last one, each with the sum of
    /// what is in it.
    open: Vec<(ByteString, u64)>,
}

fn main(args: Args) -> Result<u8, Failure> {
    let (flags, paths) = args.options("abs").flags()?;
    let mut counting = Counting {
        flags,
        seen: BTreeSet::new(),
        open: Vec::new(),
    };
    let here = paths.is_empty().then_some(ByteStr::from("."));
    let mut complete = true;
    for path in here.into_iter().chain(paths.iter()) {
        complete &= counting.all_of(path)?;
    }
    Ok(u8::from(!complete))
}

impl Counting {
    /// Counts a tree, or one file; returns true if nothing was left out.
    fn all_of(&mut self, path: ByteStr<'_>) -> Result<bool, Failure> {
        let stat = match File::lstat_path(path).about(path) {
            Ok(stat) => stat,
            Err(failure) => {
                eprintln!("du: {failure}");
                return Ok(false);
            }
        };
        if !stat.is_dir() {
            let size = self.size(&stat);
            self.show(size, path)?;
            return Ok(true);
        }
        let mut complete = true;
        let all = tree::walk(
            "du",
            path,
            Directory::read_dir_stat,
            |directory, path, entries| {
                self.leave_for(path)?;
                self.open.push((path.to_owned(), 0));
                entries.retain(|entry| entry.name != "." && entry.name != "..");
                for entry in entries.iter() {
                    let name = copy::inside(path, entry.name.as_byte_str());
                    let stat = match &entry.stat {
                        Some(stat) => Ok(**stat),
                        None => directory.stat_of(&entry.name),
                    };
                    match stat.about(&name) {
                        Ok(stat) if !stat.is_dir() => {
                            let size = self.size(&stat);
                            self.add(size);
                            if self.flags.has('a') && !self.flags.has('s') {
                                self.show(size, name.as_byte_str())?;
                            }
                        }
                        Ok(_) => {}
                        Err(failure) => {
                            eprintln!("du: {failure}");
                            complete = false;
                        }
                    }
                }
                Ok(())
            },
        )?;
        while !self.open.is_empty() {
            self.leave()?;
        }
        Ok(all && complete)
    }

    fn size(&mut self, stat: &Stat) -> u64 {
        let counts = stat.links < 2 || self.seen.insert((stat.server, stat.qid_path));
        if counts { stat.size } else { 0 }
    }

    fn add(&mut self, size: u64) {
        if let Some((_, sum)) = self.open.last_mut() {
            *sum = sum.saturating_add(size);
        }
    }

    /// Leaves directories until `path` is in the last one.
    fn leave_for(&mut self, path: ByteStr<'_>) -> Result<(), Failure> {
        let is_around = |open: &ByteString| {
            let open = open.as_byte_str().trim_end(b'/');
            path.bytes()
                .strip_prefix(open.bytes())
                .is_some_and(|rest| rest.starts_with(b"/"))
        };
        while self.open.last().is_some_and(|(open, _)| !is_around(open)) {
            self.leave()?;
        }
        Ok(())
    }

    /// The last directory is counted.
    fn leave(&mut self) -> Result<(), Failure> {
        let Some((path, sum)) = self.open.pop() else {
            return Ok(());
        };
        if !self.flags.has('s') || self.open.is_empty() {
            self.show(sum, path.as_byte_str())?;
        }
        self.add(sum);
        Ok(())
    }

    fn show(&self, size: u64, path: ByteStr<'_>) -> Result<(), Failure> {
        match self.flags.has('b') {
            true => print!("{size}\t"),
            false => print!("{}\t", size.div_ceil(1024)),
        }
        io::write_name(path)
            .and_then(|()| io::write(b"\n"))
            .about("standard output")
    }
}
