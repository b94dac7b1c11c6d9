//! Amounts of memory, as people write them: `512M`, `1.5G`.

use crate::failure::Failure;

/// The least memory with which a guest works, in MiB.
const MIN_MIB: u64 = 20;
/// The most QEMU's processor model can address, in MiB.
const MAX_MIB: u64 = 1 << 20;

/// Parses an amount of memory; the result is in MiB. A number without a letter
/// is in MiB, as for QEMU; fractions of a MiB are rounded up.
///
/// # Errors
/// It is not an amount, or outside the range for a guest.
pub fn mebibytes(text: &str) -> Result<u64, Failure> {
    let wrong = |why: String| Failure::setup(format!("--mem {text}: {why}"));
    let bytes =
        bytes(text).ok_or_else(|| wrong("not an amount of memory like 512M, 1.5G or 2G".into()))?;
    let mebibytes = bytes.div_ceil(1 << 20);
    if mebibytes < MIN_MIB {
        return Err(wrong(format!("a guest needs {MIN_MIB}M at least")));
    }
    if mebibytes > MAX_MIB {
        return Err(wrong("a guest can have 1T at most".into()));
    }
    Ok(mebibytes)
}

/// The amount in bytes, saturating; `None`: it is no amount.
pub fn bytes(text: &str) -> Option<u64> {
    let letter = text.chars().last()?;
    let shift = match letter.to_ascii_uppercase() {
        'K' => 10,
        'M' => 20,
        'G' => 30,
        'T' => 40,
        digit if digit.is_ascii_digit() => 20,
        _ => return None,
    };
    let number = text.strip_suffix(|c: char| c.is_ascii_alphabetic());
    let (whole, part) = match number.unwrap_or(text).split_once('.') {
        Some((whole, part)) => (whole, part),
        None => (number.unwrap_or(text), "0"),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 9 {
        return None;
    }
    let whole = whole.parse::<u64>().unwrap_or(u64::MAX);
    let scale = 10u128.pow(part.len() as u32);
    let part = u128::from(part.parse::<u64>().ok()?);
    let bytes = (u128::from(whole) << shift) + ((part << shift) / scale);
    Some(u64::try_from(bytes).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_mebibytes() {
        for (text, wanted) in [
            ("20M", 20),
            ("512", 512),
            ("2G", 2048),
            ("2g", 2048),
            ("1.5G", 1536),
            ("0.25g", 256),
            ("27000k", 27),
            ("1T", 1 << 20),
        ] {
            assert_eq!(mebibytes(text).ok(), Some(wanted), "{text}");
        }
    }

    #[test]
    fn amounts_that_no_guest_can_have_are_said_in_a_line() {
        for (text, reason) in [
            ("0", "20M at least"),
            ("1", "20M at least"),
            ("64k", "20M at least"),
            ("19.9M", ""),
            ("2T", "1T at most"),
            ("99999999999999999999G", "1T at most"),
            ("much", "not an amount"),
            ("", "not an amount"),
            ("G", "not an amount"),
            ("1.G", "not an amount"),
            (".5G", "not an amount"),
            ("1.5.5G", "not an amount"),
            ("-1G", "not an amount"),
            ("1GB", "not an amount"),
            ("1,5G", "not an amount"),
            ("5é", "not an amount"),
        ] {
            match mebibytes(text) {
                Ok(amount) => assert_eq!((text, amount), ("19.9M", 20)),
                Err(failure) => {
                    assert!(failure.text.contains(reason), "{text}: {failure}");
                    assert!(failure.text.starts_with(&format!("--mem {text}: ")));
                    assert_eq!(failure.text.lines().count(), 1);
                }
            }
        }
    }
}
