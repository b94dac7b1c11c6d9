//! A program made for tests of exec: its instructions step from page to page of a large
//! text, so that a test says which pages of it run. A file and not a crate, because the
//! suite and the benchmarks are programs of the guest.

use alloc::vec::Vec;
use rt::abi::{Call, OFFSET_CURRENT, PAGE};

/// First address of the program.
const BASE: u32 = 0x40_0000;
/// The word that the file's data begins with.
const SEED: u32 = 7;
/// Bytes of data in the file; the rest of their page, and another page, are zeros.
const DATA: u64 = 4;

/// The pages of the text and those that run.
#[derive(Clone, Copy)]
pub struct Stepper {
    /// Pages of text.
    pub pages: u32,
    /// From a page that runs to the next; divides `pages`.
    pub stride: u32,
    /// Which of those that run, counted from 0, waits for a byte from the standard
    /// input first.
    pub waits: Option<u32>,
}

impl Stepper {
    /// Pages of text that run.
    pub const fn steps(&self) -> u32 {
        self.pages / self.stride
    }

    /// Where the data is in the file.
    const fn data_at(&self) -> u64 {
        PAGE + self.pages as u64 * PAGE
    }

    /// Address of a word of the data; the data is a page further on in memory than in
    /// the file.
    const fn word(&self, at: u32) -> u32 {
        BASE + self.data_at() as u32 + PAGE as u32 + at
    }

    /// The parts of the file that are not zeros, each with its offset.
    pub fn parts(self) -> impl Iterator<Item = (u64, Vec<u8>)> {
        let steps = (0..self.steps()).map(move |step| (self.offset(step), self.code(step)));
        // What follows the data in the file must not be seen in memory.
        let data = [&SEED.to_le_bytes()[..], &[0xee; 200]].concat();
        let data = core::iter::once((self.data_at(), data));
        core::iter::once((0, self.headers()))
            .chain(steps)
            .chain(data)
    }

    fn offset(&self, step: u32) -> u64 {
        PAGE + u64::from(step * self.stride) * PAGE
    }

    fn headers(&self) -> Vec<u8> {
        let text = u64::from(BASE) + PAGE;
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend([2u16, 62].map(u16::to_le_bytes).concat());
        file.extend(1u32.to_le_bytes());
        file.extend([text, 64, 0].map(u64::to_le_bytes).concat());
        file.extend(0u32.to_le_bytes());
        file.extend([64u16, 56, 3, 0, 0, 0].map(u16::to_le_bytes).concat());
        let data = u64::from(self.word(0));
        let (base, len) = (u64::from(BASE), self.data_at() - PAGE);
        for (flags, offset, va, in_file, in_memory) in [
            (4, 0, base, PAGE, PAGE),
            (5, PAGE, text, len, len),
            (6, self.data_at(), data, DATA, 2 * PAGE),
        ] {
            file.extend([1u32, flags].map(u32::to_le_bytes).concat());
            let words = [offset, va, va, in_file, in_memory, PAGE];
            file.extend(words.map(u64::to_le_bytes).concat());
        }
        file
    }

    /// The instructions of a step: counts itself and goes on to the next. The last one
    /// ends with status 0 if all were counted and memory after the data is zeros.
    fn code(&self, step: u32) -> Vec<u8> {
        let (word, next) = (self.word(0).to_le_bytes(), step + 1);
        let mut code = Vec::new();
        if self.waits == Some(step) {
            // One byte of the input, to memory that nobody looks at.
            code.extend(mov(EAX, Call::PRead as u32));
            code.extend(mov(EDI, 0));
            code.extend(mov(ESI, self.word(PAGE as u32 + 8)));
            code.extend(mov(EDX, 1));
            // mov r10, imm64
            code.extend([0x49, 0xba]);
            code.extend(OFFSET_CURRENT.to_le_bytes());
            code.extend(SYSCALL);
        }
        // inc dword [word]
        code.extend([0xff, 0x04, 0x25]);
        code.extend(word);
        if next < self.steps() {
            // jmp rel32
            let here = self.offset(step) + code.len() as u64 + 5;
            code.push(0xe9);
            code.extend(((self.offset(next) - here) as u32).to_le_bytes());
            return code;
        }
        // mov eax, [word]
        code.extend([0x8b, 0x04, 0x25]);
        code.extend(word);
        for zero in [DATA as u32, 100, PAGE as u32] {
            // add eax, [zero]
            code.extend([0x03, 0x04, 0x25]);
            code.extend(self.word(zero).to_le_bytes());
        }
        // cmp eax, imm32; setne al; movzx edi, al
        code.push(0x3d);
        code.extend((SEED + self.steps()).to_le_bytes());
        code.extend([0x0f, 0x95, 0xc0, 0x0f, 0xb6, 0xf8]);
        code.extend(mov(EAX, Call::Exits as u32));
        code.extend(mov(ESI, 0));
        code.extend(mov(EDX, 0));
        code.extend(SYSCALL);
        code
    }
}

const EAX: u8 = 0xb8;
const EDX: u8 = 0xba;
const ESI: u8 = 0xbe;
const EDI: u8 = 0xbf;
const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// `mov register, value`, the register named by its operation code.
fn mov(register: u8, value: u32) -> [u8; 5] {
    let [a, b, c, d] = value.to_le_bytes();
    [register, a, b, c, d]
}
