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
        // Counted by lanes, and the lanes added up before their sum outgrows a lane.
        for some in words.chunks(31) {
            let (mut begun, mut ended) = (0, 0);
            for word in some {
                let (begins, ends) = self.step(u64::from_le_bytes(*word));
                begun += begins >> 7;
                ended += ends >> 7;
            }
            self.words += sum(begun);
            self.lines += sum(ended);
        }
        if !rest.is_empty() {
            // Filled up with its own last byte, which begins no word.
            let mut word = [rest[rest.len() - 1]; 8];
            word[..rest.len()].copy_from_slice(rest);
            let extra = (8 - rest.len()) as u64 * u64::from(word[7] == b'\n');
            let (begins, ends) = self.step(u64::from_le_bytes(word));
            self.words += sum(begins >> 7);
            self.lines += sum(ends >> 7) - extra;
        }
    }

    /// The lanes of the next eight bytes in which a word begins, and those of newlines.
    #[inline]
    fn step(&mut self, word: u64) -> (u64, u64) {
        let (blanks, newlines) = blanks_and_newlines(word);
        let in_word = blanks ^ HIGH;
        // The lane before each lane; the first follows the last word.
        let before = in_word << 8 | u64::from(self.in_word) << 7;
        self.in_word = in_word >> 63 != 0;
        (in_word & !before, newlines)
    }
}

/// The lanes of blanks, and those of newlines.
#[inline]
fn blanks_and_newlines(word: u64) -> (u64, u64) {
    // Up to a space; with the highest bit set no lane borrows from the next one.
    let low = !((word | HIGH) - lanes(b' ' + 1)) & !word & HIGH;
    // Only a space has the bit 32 among them.
    let spaces = low & (word << 2);
    let others = low ^ spaces;
    if others == 0 {
        return (spaces, 0);
    }
    let newlines = equal(word, b'\n');
    match others == newlines {
        true => (low, newlines),
        false => (blanks(word), newlines),
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

/// The sum of all lanes, which is less than 256.
#[inline]
fn sum(lane: u64) -> u64 {
    lane.wrapping_mul(lanes(1)) >> 56
}
