//! Patterns, dates and sizes.

use dormouse_text::{Case, Date, Pattern, size};
use proptest::prelude::*;

fn found(pattern: &str, text: &str) -> bool {
    Pattern::new(pattern, Case::Differs)
        .unwrap_or_else(|wrong| panic!("{pattern}: {wrong}"))
        .is_in(text.as_bytes())
}

#[test]
fn patterns() {
    for (pattern, yes, no) in [
        ("abc", "xabcx", "ab c"),
        ("^abc", "abcx", "xabc"),
        ("abc$", "xabc", "abcx"),
        ("^$", "", "a"),
        ("a.c", "abc", "ac"),
        ("ab*c", "ac", "adc"),
        ("ab+c", "abbc", "ac"),
        ("ab?c", "ac", "abbc"),
        ("cat|dog", "hotdog", "cow"),
        ("^(cat|dog)s?$", "dogs", "dogss"),
        ("^(ab|cd)*e$", "ababcde", "abce"),
        ("[0-9]+", "a12", "ab"),
        ("[^0-9]", "1a", "12"),
        ("[]x]", "]", "y"),
        ("[a\\]]", "]", "\\"),
        ("a\\.b", "a.b", "axb"),
        ("^(a|b|c)d", "cd", "dd"),
        ("^(a*)*$", "aaaa", "ab"),
        ("x(y|)z", "xz", "xyyz"),
    ] {
        assert!(found(pattern, yes), "{pattern} {yes}");
        assert!(!found(pattern, no), "{pattern} {no}");
    }
    let ignoring = Pattern::new("hEl[K-M]o", Case::Ignored).unwrap();
    assert!(ignoring.is_in(b"say HELLO"));
}

#[test]
fn wrong_patterns_are_explained() {
    for (pattern, why) in [
        ("(a", "a ( is not closed"),
        ("a)", "a ) without a ("),
        ("[a", "a [ is not closed"),
        ("*a", "nothing before the *"),
        ("a\\", "nothing follows"),
    ] {
        let wrong = Pattern::new(pattern, Case::Differs).unwrap_err();
        assert!(wrong.contains(why), "{pattern}: {wrong}");
    }
    assert!(Pattern::new(&"(".repeat(100_000), Case::Differs).is_err());
}

#[test]
fn a_hard_pattern_takes_no_longer() {
    assert!(!found(&format!("{}b", "a*".repeat(200)), &"a".repeat(2000)));
}

#[test]
fn dates() {
    let date = |seconds| Date::from_seconds(seconds);
    assert_eq!(date(0).to_string(), "1970-01-01 00:00");
    assert_eq!(date(951_827_696).to_string(), "2000-02-29 12:34");
    assert_eq!(date(4_107_542_399).to_string(), "2100-02-28 23:59");
    assert_eq!(date(4_107_542_400).to_string(), "2100-03-01 00:00");
    assert_eq!(
        (date(0).weekday_name(), date(0).month_name()),
        ("Thu", "Jan")
    );
    assert_eq!(date(951_827_696).weekday_name(), "Tue");
    // Every day follows the one before.
    let mut last = date(0);
    for day in 1..200_000u64 {
        let next = date(day * 86_400);
        let follows = (next.day == last.day + 1 && next.month == last.month)
            || (next.day == 1 && last.day >= 28 && next.month == last.month % 12 + 1);
        assert!(follows, "{last} {next}");
        last = next;
    }
}

#[test]
fn sizes() {
    assert_eq!(size("1G"), Some(1 << 30));
    assert_eq!(size("16T"), Some(16 << 40));
    for no in ["", "k", "-1", "1x", "0x", "99999999999T", "+1"] {
        assert_eq!(size(no), None, "{no}");
    }
}

/// Where matches of a pattern without groups may end, in the plainest way.
fn naive(pattern: &[u8], text: &[u8]) -> bool {
    let Some(&first) = pattern.first() else {
        return true;
    };
    let one = |text: &[u8]| text.first().is_some_and(|c| first == b'.' || first == *c);
    match pattern.get(1) {
        Some(b'*') => {
            let mut text = text;
            loop {
                if naive(&pattern[2..], text) {
                    return true;
                }
                if !one(text) {
                    return false;
                }
                text = &text[1..];
            }
        }
        Some(b'?') => naive(&pattern[2..], text) || (one(text) && naive(&pattern[2..], &text[1..])),
        _ => one(text) && naive(&pattern[1..], &text[1..]),
    }
}

proptest! {
    #[test]
    fn simple_patterns_match_as_the_plainest_matcher(
        atoms in prop::collection::vec("[ab.][*?]?", 0..6), text in "[ab]{0,10}"
    ) {
        let pattern = atoms.concat();
        let plain = (0..=text.len()).any(|from| naive(pattern.as_bytes(), &text.as_bytes()[from..]));
        prop_assert_eq!(found(&pattern, &text), plain);
    }

    #[test]
    fn no_pattern_breaks_it(pattern in "[ab.*+?|()\\[\\]^$\\\\-]{0,20}", text in "[ab]{0,10}") {
        if let Ok(pattern) = Pattern::new(&pattern, Case::Ignored) {
            let _ = pattern.is_in(text.as_bytes());
        }
    }
}
