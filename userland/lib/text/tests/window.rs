//! Answers of a terminal among keys.

use dormouse_text::{Question, Window};
use proptest::prelude::*;

/// What is typed and answered by these bytes after a question.
fn taken(bytes: &[u8]) -> (Vec<u8>, Option<Window>, Question) {
    let mut question = Question::default();
    assert!(question.ask().is_some());
    let (mut typed, mut window) = (Vec::new(), None);
    for byte in bytes {
        window = window.or(question.take(*byte, |byte| typed.push(byte)));
    }
    (typed, window, question)
}

#[test]
fn an_answer_is_taken_out_of_what_is_typed() {
    for (bytes, keys, size) in [
        (&b"\x1b[24;80R"[..], &b""[..], Some((24, 80))),
        (b"a\x1b[24;80Rb", b"ab", Some((24, 80))),
        (b"\x1b[A\x1b[24;80R", b"\x1b[A", Some((24, 80))),
        (b"\x1b\x1b[24;80R", b"\x1b", Some((24, 80))),
        (b"\x1b[1\x1b[1;2R", b"\x1b[1", Some((1, 2))),
        (b"\x1b[24;80R\x1b[1;1R", b"\x1b[1;1R", Some((24, 80))),
        (b"\x1b[0;80R", b"\x1b[0;80R", None),
        (b"\x1b[24R", b"\x1b[24R", None),
        (b"\x1b[1;2;3R", b"\x1b[1;2;3R", None),
        (b"\x1b[99999999999999;1R", b"\x1b[99999999999999;1R", None),
        (b"\x1b[1;5C", b"\x1b[1;5C", None),
    ] {
        let (typed, window, _) = taken(bytes);
        let window = window.map(|window| (window.rows, window.columns));
        assert_eq!((&*typed, window), (keys, size), "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_terminal_that_does_not_answer_is_asked_twice() {
    let mut question = Question::default();
    for _ in 0..2 {
        assert!(question.ask().is_some() && question.ask().is_none());
        let mut typed = Vec::new();
        assert_eq!(question.take(0x1b, |byte| typed.push(byte)), None);
        question.give_up(|byte| typed.push(byte));
        assert_eq!(typed, [0x1b]);
    }
    assert!(question.ask().is_none());
    let (.., mut question) = taken(b"\x1b[1;2R");
    assert!(question.ask().is_some());
}

proptest! {
    #[test]
    fn no_key_is_lost(keys in proptest::collection::vec(prop::sample::select(&b"\x1b[;R12a\x03"[..]), 0..40)) {
        let (mut typed, window, mut question) = taken(&keys);
        question.give_up(|byte| typed.push(byte));
        if window.is_none() {
            prop_assert_eq!(typed, keys);
        }
    }
}
