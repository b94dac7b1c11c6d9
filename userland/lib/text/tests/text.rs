//! Patterns, dates and sizes.

use dormouse_text::{
    Case, Counts, Date, Escapes, Output, Pattern, Printed, Search, Signal, printf, size, unescape,
};
use proptest::prelude::*;

fn found(pattern: &str, text: &str) -> bool {
    let compiled = Pattern::new(pattern, Case::Differs);
    let compiled = compiled.unwrap_or_else(|wrong| panic!("{pattern}: {wrong}"));
    Search::new(&compiled).is_in(text.as_bytes())
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
        ("$^", "", "a"),
        ("(^a|b)$", "bb", "ba"),
    ] {
        assert!(found(pattern, yes), "{pattern} {yes}");
        assert!(!found(pattern, no), "{pattern} {no}");
    }
    let ignoring = Pattern::new("hEl[K-M]o", Case::Ignored).unwrap();
    assert!(Search::new(&ignoring).is_in(b"say HELLO"));
    let letter = Pattern::new("k", Case::Ignored).unwrap();
    assert!(Search::new(&letter).is_in(b"OK"));
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

/// One of the last twelve bytes but for the last eleven: more states than are
/// remembered.
#[test]
fn a_pattern_with_thousands_of_states_is_searched() {
    let pattern = format!("a{}c", "[ab]".repeat(11));
    let compiled = Pattern::new(&pattern, Case::Differs).unwrap();
    let mut search = Search::new(&compiled);
    let mut random = 1u32;
    for _ in 0..300 {
        let mut text: Vec<u8> = (0..200)
            .map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                b'a' + (random >> 31) as u8
            })
            .collect();
        let wanted = text[text.len() - 12] == b'a';
        text.push(b'c');
        assert_eq!(search.is_in(&text), wanted, "{}", text.escape_ascii());
        assert!(!search.is_in(&text[..200]));
    }
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
            let mut search = Search::new(&pattern);
            // What one text has taught changes nothing for the next one.
            let first = search.is_in(text.as_bytes());
            let reversed: Vec<u8> = text.bytes().rev().collect();
            let _ = search.is_in(&reversed);
            prop_assert_eq!(search.is_in(text.as_bytes()), first);
        }
    }

    #[test]
    fn the_first_line_that_is_found_is_the_first_that_matches(
        pattern in "\\^?([ab.]|\\[\\^b\\]|b*|a+|(ab|ba)){0,5}\\$?", text in "[abc\n]{0,60}"
    ) {
        let Ok(pattern) = Pattern::new(&pattern, Case::Differs) else { return Ok(()) };
        let lines = text.split_inclusive('\n').map(|line| line.trim_end_matches('\n'));
        let first = lines.clone().position(|line| Search::new(&pattern).is_in(line.as_bytes()));
        let mut search = Search::new(&pattern);
        for _ in 0..2 {
            let at = search.find(text.as_bytes());
            let line = at.map(|at| text[..at].matches('\n').count());
            // An empty text has a line here, though none in a file.
            let expected = if text.is_empty() { line } else { first };
            prop_assert_eq!(line, expected);
        }
    }

    #[test]
    fn lines_and_words_are_counted_as_byte_by_byte(
        text in prop::collection::vec(
            prop_oneof![Just(b'\n'), Just(b' '), 0u8..40, any::<u8>()], 0..700
        ),
        cut in 0usize..700
    ) {
        let mut counts = Counts::default();
        let (one, two) = text.split_at(cut.min(text.len()));
        counts.add(one);
        counts.add(two);
        let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let lines = text.iter().filter(|byte| **byte == b'\n');
        prop_assert_eq!(counts.lines, lines.count() as u64);
        prop_assert_eq!(counts.words, words.count() as u64);
        prop_assert_eq!(counts.bytes, text.len() as u64);
    }
}

#[test]
fn dates_are_shown_as_a_format_says() {
    let shown = |seconds, format| Date::from_seconds(seconds).format(format);
    let all = "%A %a %B %b %C %d %D %e %F %H %I %j %M %m %p %R %r %S %s %T %u %w %Y %y %Z %z %%";
    assert_eq!(
        shown(1_234_567_890, all).unwrap(),
        "Friday Fri February Feb 20 13 02/13/09 13 2009-02-13 23 11 044 31 02 PM 23:31 \
         11:31:30 PM 30 1234567890 23:31:30 5 5 2009 09 UTC +0000 %"
    );
    assert_eq!(
        shown(0, "%c|%I %p|%u %w").unwrap(),
        "Thu Jan  1 00:00:00 1970|12 AM|4 4"
    );
    assert_eq!(
        shown(1_709_164_800 + 86_400 * 305, "%F %j %n%t").unwrap(),
        "2024-12-30 365 \n\t"
    );
    assert_eq!(
        shown(1_709_164_800 + 86_400 * 306, "%F %j").unwrap(),
        "2024-12-31 366"
    );
    assert_eq!(shown(0, "%V"), Err("not supported: %V".into()));
    assert!(shown(0, "a%").is_err());
}

fn printed(format: &str, arguments: &[&str]) -> Printed {
    let arguments: Vec<&[u8]> = arguments.iter().map(|text| text.as_bytes()).collect();
    let mut printed = Printed::default();
    printf(format.as_bytes(), &arguments, &mut printed).unwrap();
    printed
}

#[test]
fn formats_are_filled_in() {
    for (format, arguments, wanted) in [
        ("a\\tb\\n\\101\\q%%", &[][..], "a\tb\nA\\q%"),
        ("%s,%d;", &["a", "1", "b"], "a,1;b,0;"),
        ("x", &["1", "2"], "x"),
        ("[%5s|%-5s|%.2s]", &["ab", "cd", "efg"], "[   ab|cd   |ef]"),
        (
            "[%5d|%-5d|%05d|%+d|% d]",
            &["42", "42", "-42", "42", "42"],
            "[   42|42   |-0042|+42| 42]",
        ),
        ("[%.3d|%5.3d|%.0d]", &["7", "-7", "0"], "[007| -007|]"),
        (
            "%x %X %#x %o %#o %u",
            &["255", "255", "255", "8", "8", "-1"],
            "ff FF 0xff 10 010 18446744073709551615",
        ),
        (
            "%d %d %d %d %i",
            &["0x10", "010", "'A", "", "+3"],
            "16 8 65 0 3",
        ),
        (
            "%*d|%-*d|%.*s",
            &["4", "1", "3", "2", "1", "abc"],
            "   1|2  |a",
        ),
        ("%c%c", &["abc", ""], "a"),
        ("%b|%s", &["a\\n\\0101", "a\\n"], "a\nA|a\\n"),
        ("%b%s", &["a\\cb", "never"], "a"),
    ] {
        let Printed { bytes, wrong } = printed(format, arguments);
        assert_eq!(String::from_utf8(bytes).unwrap(), wanted, "{format}");
        assert_eq!(wrong, [""; 0], "{format}");
    }
    let Printed { bytes, wrong } = printed("%d %d %d", &["1x", "9223372036854775808", "x"]);
    assert_eq!(bytes, b"0 9223372036854775807 0");
    assert_eq!(
        wrong,
        [
            "1x: not a number",
            "9223372036854775808: too large",
            "x: not a number"
        ]
    );
    for (format, why) in [
        ("%", "a % at the end"),
        ("%5", "a % at the end"),
        ("%y", "not supported: %y"),
        ("%f", "not supported: %f"),
        ("%99999999999d", "wider than"),
    ] {
        let wrong = printf(format.as_bytes(), &[], &mut Printed::default()).unwrap_err();
        assert!(wrong.contains(why), "{format}: {wrong}");
    }
}

#[test]
fn escapes_end_output_at_c() {
    let mut out = Vec::new();
    let text = b"\\a\\e\\\\n\\0377\\07x\\cend";
    assert_eq!(unescape(text, Escapes::Argument, &mut out), Output::Ends);
    assert_eq!(out, b"\x07\\e\\n\xff\x07x");
}

proptest! {
    #[test]
    fn no_format_breaks_printf(format in "[a%0-9.*+# dsxcb\\\\-]{0,20}", argument in "[-0-9x'\\\\c]{0,6}") {
        let _ = printf(format.as_bytes(), &[argument.as_bytes(), b"3"], &mut Printed::default());
    }
}

#[test]
fn signals_have_numbers_names_and_notes() {
    for (text, name) in [
        ("INT", Some("INT")),
        ("sigint", Some("INT")),
        ("SigTerm", Some("TERM")),
        ("2", Some("INT")),
        ("15", Some("TERM")),
        ("9", None),
        ("0", None),
        ("SIG", None),
        ("", None),
        ("SIGä", None),
        ("sä", None),
        ("EXIT", None),
    ] {
        let found = Signal::find(text).map(|signal| signal.name);
        assert_eq!(found, name, "{text}");
    }
    assert_eq!(Signal::of_note("interrupt").map(Signal::status), Some(130));
    assert_eq!(Signal::of_note("killed"), None);
}
