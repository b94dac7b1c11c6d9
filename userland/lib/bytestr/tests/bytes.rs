//! Displayed bytes are harmless and can be read back; bytes survive as text.

use dormouse_bytestr::{ByteStr, shown, text};
use proptest::prelude::*;

#[track_caller]
fn shows(bytes: &[u8], wanted: &str) {
    assert_eq!(ByteStr(bytes).to_string(), wanted);
    assert_eq!(shown::read_back(wanted).as_deref(), Some(bytes));
}

#[test]
fn ordinary_names_are_shown_as_they_are() {
    for name in [
        "a",
        "a b",
        "ü",
        "e\u{301}",
        "日本",
        "it's",
        "back\\slash",
        "*",
        "\u{1f600}",
    ] {
        shows(name.as_bytes(), name);
    }
    shows(b"", "");
}

#[test]
fn what_a_terminal_would_obey_is_escaped() {
    shows(b"a\nb", r"$'a\nb'");
    shows(b"\x1b[2J", r"$'\e[2J'");
    shows(b"\xe9", r"$'\xe9'");
    shows(b"\x01\x7f", r"$'\x01\x7f'");
    shows("\u{9b}2J".as_bytes(), r"$'\xc2\x9b2J'");
    shows("a\u{202e}b".as_bytes(), r"$'a\xe2\x80\xaeb'");
    shows("\u{feff}".as_bytes(), r"$'\xef\xbb\xbf'");
    shows(b"it's\n\\", r"$'it\'s\n\\'");
    shows(b"$'a'", r"$'$\'a\''");
    shows("ü\n".as_bytes(), r"$'ü\n'");
}

/// Random bytes with many special ones.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        any::<char>().prop_map(|c| c.to_string().into_bytes()),
        prop::sample::select(vec![b"$'".to_vec(), b"'".to_vec(), b"\\x41".to_vec()]),
        (0x10_FE00u32..=0x10_FEFF).prop_map(|c| char::from_u32(c)
            .expect("a character")
            .to_string()
            .into_bytes()),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn everything_shown_can_be_read_back(bytes in bytes()) {
        let text = ByteStr(&bytes).to_string();
        prop_assert_eq!(shown::read_back(&text), Some(bytes));
    }

    #[test]
    fn no_control_character_is_shown(bytes in bytes()) {
        let text = ByteStr(&bytes).to_string();
        prop_assert!(!text.chars().any(char::is_control), "{:?}", text);
    }

    #[test]
    fn bytes_survive_as_text(bytes in bytes()) {
        let held = text::from_bytes(&bytes);
        prop_assert_eq!(&*text::to_bytes(&held), &bytes[..]);
    }

    #[test]
    fn different_bytes_are_different_text(a in bytes(), b in bytes()) {
        prop_assert_eq!(text::from_bytes(&a) == text::from_bytes(&b), a == b);
    }

    #[test]
    fn what_is_read_back_can_be_shown(text in any::<String>()) {
        if let Some(bytes) = shown::read_back(&text) {
            let again = shown::read_back(&ByteStr(&bytes).to_string());
            prop_assert_eq!(again, Some(bytes));
        }
    }
}
