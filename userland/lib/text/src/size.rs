//! Numbers with a unit.

/// Decimal, or hexadecimal after `0x`; `k`, `M`, `G` and `T` after it multiply
/// by powers of 1024. `None`: not a number, or too large a one.
///
/// ```
/// assert_eq!(dormouse_text::size("64k"), Some(65536));
/// assert_eq!(dormouse_text::size("0x10"), Some(16));
/// assert_eq!(dormouse_text::size("k"), None);
/// ```
pub fn size(text: &str) -> Option<u64> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok();
    }
    let (digits, shift) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (&text[..at], 10),
        (at, 'M') => (&text[..at], 20),
        (at, 'G') => (&text[..at], 30),
        (at, 'T') => (&text[..at], 40),
        _ => (text, 0),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}
