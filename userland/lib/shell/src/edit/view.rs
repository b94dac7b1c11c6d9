//! How text looks on a terminal: the columns that it takes.

use alloc::string::String;
use core::ops::RangeInclusive;

/// The place of a byte or character that a terminal would not print.
const STRANGE: char = '\u{fffd}';

/// Characters that are drawn over the one before them.
const COMBINING: [RangeInclusive<char>; 6] = [
    '\u{300}'..='\u{36f}',
    '\u{1ab0}'..='\u{1aff}',
    '\u{200b}'..='\u{200f}',
    '\u{20d0}'..='\u{20ff}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{fe20}'..='\u{fe2f}',
];

/// Characters of two columns: East Asian ones, and pictures.
const WIDE: [RangeInclusive<char>; 10] = [
    '\u{1100}'..='\u{115f}',
    '\u{2e80}'..='\u{303e}',
    '\u{3041}'..='\u{a4cf}',
    '\u{ac00}'..='\u{d7a3}',
    '\u{f900}'..='\u{faff}',
    '\u{fe30}'..='\u{fe6f}',
    '\u{ff00}'..='\u{ff60}',
    '\u{ffe0}'..='\u{ffe6}',
    '\u{1f300}'..='\u{1faff}',
    '\u{20000}'..='\u{3fffd}',
];

/// The character that is shown for `c`: itself, unless it stands for a byte that is
/// not UTF-8 or controls the terminal.
pub fn shown(c: char) -> char {
    match c.is_control() || bytestr::text::stands_for_byte(c) {
        true => STRANGE,
        false => c,
    }
}

/// The columns that a character takes: 0, 1 or 2.
pub fn width(c: char) -> usize {
    let within = |ranges: &[RangeInclusive<char>]| ranges.iter().any(|range| range.contains(&c));
    match c {
        ..'\u{300}' => 1,
        _ if within(&COMBINING) => 0,
        _ if within(&WIDE) => 2,
        _ => 1,
    }
}

/// The columns that characters take.
pub fn columns(text: &[char]) -> usize {
    text.iter().map(|c| width(*c)).sum()
}

/// The columns of a prompt, in which colours take none.
pub fn prompt_columns(prompt: &str) -> usize {
    plain(prompt).chars().map(width).sum()
}

/// The text without its control sequences, `ESC [ ... letter`.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => {
                let _ = chars.next();
                let _ = chars.by_ref().find(|c| ('@'..='~').contains(c));
            }
            c => plain.push(c),
        }
    }
    plain
}

/// The prompt, or its end if it takes more than `most` columns.
pub fn fitting(prompt: &str, most: usize) -> String {
    if prompt_columns(prompt) <= most {
        return prompt.into();
    }
    let text: alloc::vec::Vec<char> = plain(prompt).chars().collect();
    let mut from = text.len();
    while from > 0 && columns(&text[from - 1..]) < most {
        from -= 1;
    }
    let end = text[from..].iter();
    core::iter::once('<').chain(end.copied()).collect()
}
