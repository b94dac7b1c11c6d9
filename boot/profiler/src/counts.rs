//! What was executed, and for whom.

use crate::images::{Images, OTHER};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;

/// The kernel's addresses begin here.
const KERNEL: u64 = 0xffff_8000_0000_0000;
/// A kernel stack and the guard below it have so many bytes, at a multiple of them.
const STACK: u64 = 32 << 10;

/// A block of code.
struct Block {
    address: u64,
    sizes: Vec<u8>,
    /// Programs that have this code there; none for the kernel's.
    programs: Vec<usize>,
    /// Executions by program.
    counts: Vec<u64>,
}

/// The counts of a run.
pub struct Counts {
    images: Images,
    /// Where the function that switches kernel stacks is.
    pub switch: Range<u64>,
    out: String,
    all: bool,
    on: bool,
    blocks: Vec<Block>,
    /// The program that was last seen on each kernel stack.
    programs: HashMap<u64, usize>,
    stack: u64,
    current: usize,
}

impl Counts {
    /// Nothing is counted yet.
    pub fn new(images: Images, switch: Range<u64>, out: String, all: bool) -> Counts {
        Counts {
            images,
            switch,
            out,
            all,
            on: all,
            blocks: Vec::new(),
            programs: HashMap::new(),
            stack: 0,
            current: OTHER,
        }
    }

    /// A new block; its number.
    pub fn add_block(&mut self, address: u64, code: &[u8], sizes: &[u8]) -> usize {
        let programs = match address >= KERNEL {
            true => Vec::new(),
            false => self.images.with(address, code),
        };
        self.blocks.push(Block {
            address,
            sizes: sizes.to_vec(),
            programs,
            counts: Vec::new(),
        });
        self.blocks.len() - 1
    }

    /// A block is executed.
    pub fn execute(&mut self, number: usize) {
        let Some(block) = self.blocks.get_mut(number) else {
            return;
        };
        // Programs share code, that of the runtime: only a block that the one that ran
        // last does not have tells of another.
        if block.address < KERNEL && !block.programs.contains(&self.current) {
            self.current = block.programs.first().copied().unwrap_or(OTHER);
            self.programs.insert(self.stack, self.current);
        }
        if self.on {
            let places = self.current + 1;
            if block.counts.len() < places {
                block.counts.resize(places, 0);
            }
            block.counts[self.current] += 1;
        }
    }

    /// The program has begun or ended what is to be counted.
    pub fn mark(&mut self, on: bool) {
        self.on = on || self.all;
    }

    /// The kernel runs on the stack with this address from now on: on behalf of the
    /// program whose stack it is, or if that has not run yet, of the one that made it.
    pub fn stack(&mut self, address: u64) {
        self.stack = address / STACK;
        let known = self.programs.get(&self.stack).copied();
        self.current = known.unwrap_or(self.current);
    }

    /// Writes a line for each instruction: program, `kernel` or `program`, address,
    /// executions.
    pub fn write(&self) -> io::Result<()> {
        let mut sums: BTreeMap<(usize, u64), u64> = BTreeMap::new();
        for block in &self.blocks {
            for (program, count) in block.counts.iter().enumerate() {
                let mut address = block.address;
                for size in &block.sizes {
                    if *count > 0 {
                        *sums.entry((program, address)).or_default() += count;
                    }
                    address += u64::from(*size);
                }
            }
        }
        let mut out = BufWriter::new(File::create(&self.out)?);
        for ((program, address), count) in sums {
            let mode = match address >= KERNEL {
                true => "kernel",
                false => "program",
            };
            let name = self.images.name(program);
            writeln!(out, "{name}\t{mode}\t{address:x}\t{count}")?;
        }
        out.flush()
    }
}
