//! The initial stack of a program, by the System V ABI (3.4.1): argc, argv,
//! NULL, envp, NULL, the auxiliary vector; the strings are above.
use crate::Program;
use abi::PAGE;

/// The auxiliary vector's numbers (3.4.3).
mod auxiliary {
    pub const NULL: u64 = 0;
    pub const PHDR: u64 = 3;
    pub const PHENT: u64 = 4;
    pub const PHNUM: u64 = 5;
    pub const PAGESZ: u64 = 6;
    pub const BASE: u64 = 7;
    pub const ENTRY: u64 = 9;
    pub const SECURE: u64 = 23;
    pub const RANDOM: u64 = 25;
    pub const EXECFN: u64 = 31;
}

/// Random bytes for each program.
pub const RANDOM: usize = 16;
/// Pairs in the auxiliary vector.
const PAIRS: usize = 10;

/// The strings of a program, each ended by a zero: offsets of arguments and of
/// texts of the environment in their bytes.
#[derive(Clone, Copy, Debug)]
pub struct Strings<'a> {
    /// All of them, one after the other.
    pub bytes: &'a [u8],
    /// Where each argument begins.
    pub arguments: &'a [usize],
    /// Where each text of the environment begins.
    pub environment: &'a [usize],
}

/// Addresses on the stack, from high to low.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stack {
    /// [`RANDOM`] random bytes, at the top.
    pub random: u64,
    /// The path of the program, ended by a zero.
    pub path: u64,
    /// The bytes of [`Strings`].
    pub strings: u64,
    /// The first word: the stack pointer, a multiple of 16.
    pub pointer: u64,
}

impl Stack {
    /// The layout below `top`, for these strings and a path of `path` bytes.
    pub fn new(top: u64, path: usize, strings: &Strings<'_>) -> Stack {
        let random = top - RANDOM as u64;
        let path = random - path as u64 - 1;
        let bytes = path - strings.bytes.len() as u64;
        Stack {
            random,
            path,
            strings: bytes,
            pointer: (bytes - 8 * words(strings) as u64) & !15,
        }
    }

    /// The words from the stack pointer on.
    pub fn words(&self, program: &Program, strings: &Strings<'_>) -> impl Iterator<Item = u64> {
        let at = move |start: &usize| self.strings + *start as u64;
        let vector: [(u64, u64); PAIRS] = [
            (auxiliary::PHDR, program.headers_va()),
            (auxiliary::PHENT, program.header_size),
            (auxiliary::PHNUM, program.headers),
            (auxiliary::PAGESZ, PAGE),
            (auxiliary::BASE, 0),
            (auxiliary::ENTRY, program.entry),
            (auxiliary::SECURE, 0),
            (auxiliary::RANDOM, self.random),
            (auxiliary::EXECFN, self.path),
            (auxiliary::NULL, 0),
        ];
        let count = strings.arguments.len() as u64;
        let arguments = strings.arguments.iter().map(at);
        let environment = strings.environment.iter().map(at);
        let vector = vector.into_iter().flat_map(|(key, value)| [key, value]);
        let lists = arguments.chain([0]).chain(environment).chain([0]);
        [count].into_iter().chain(lists).chain(vector)
    }
}

/// Words from the stack pointer on.
pub const fn words(strings: &Strings<'_>) -> usize {
    strings.arguments.len() + strings.environment.len() + 3 + 2 * PAIRS
}

/// Random bytes that are hard to guess for other programs; not for keys.
pub fn random(seed: u64) -> [u8; RANDOM] {
    let mut bytes = [0; RANDOM];
    let mut state = seed;
    for chunk in bytes.as_chunks_mut::<8>().0 {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        *chunk = (z ^ z >> 31).to_le_bytes();
    }
    bytes
}
