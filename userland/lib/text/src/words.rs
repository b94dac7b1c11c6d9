//! Counting lines, words and bytes, eight bytes at a time.

/// A byte in each lane of a word.
const fn lanes(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The highest bit of each lane, in which the masks below have their answers.
const HIGH: u64 = lanes(0x80);

/// The numbers of lines (newlines), words (separated by blanks) and bytes of
/// a text that comes in pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Newlines.
    pub lines: u64,
    /// Words.
    pub words: u64,
    /// Bytes.
    pub bytes: u64,
    /// The text so far ends within a word.
    in_word: bool,
}

impl Counts {
    /// Adds the next piece of the text.
    pub fn add(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        let (words, rest) = piece.as_chunks::<8>();
        for word in words {
            self.add_word(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            // Filled up with its own last byte, which begins no word.
            let mut word = [rest[rest.len() - 1]; 8];
            word[..rest.len()].copy_from_slice(rest);
            let extra = (8 - rest.len()) as u64 * u64::from(word[7] == b'\n');
            self.add_word(u64::from_le_bytes(word));
            self.lines -= extra;
        }
    }

    #[inline]
    fn add_word(&mut self, word: u64) {
        self.lines += count(equal(word, b'\n'));
        let in_word = !blanks(word) & HIGH;
        // The lane before each lane; the first follows the last word.
        let before = in_word << 8 | u64::from(self.in_word) << 7;
        self.words += count(in_word & !before);
        self.in_word = in_word >> 63 != 0;
    }
}

/// The lanes that are equal to `byte`.
#[inline]
fn equal(word: u64, byte: u8) -> u64 {
    let differs = word ^ lanes(byte);
    // No carry leaves a lane, because its highest bit is not added.
    !(((differs & !HIGH) + !HIGH) | differs) & HIGH
}

/// The lanes that are blanks: a space, or tab to carriage return but for
/// vertical tab, as `u8::is_ascii_whitespace` says.
#[inline]
fn blanks(word: u64) -> u64 {
    // With the highest bit set no lane borrows from the next one.
    let (from, to) = (lanes(b'\t'), lanes(b'\r' + 1));
    let range = ((word | HIGH) - from) & !((word | HIGH) - to) & !word & HIGH;
    range & !equal(word, 0x0b) | equal(word, b' ')
}

/// The number of lanes in a mask.
#[inline]
fn count(mask: u64) -> u64 {
    (mask >> 7).wrapping_mul(lanes(1)) >> 56
}
