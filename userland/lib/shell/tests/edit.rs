//! Keys typed at a terminal; what it shows is interpreted by a small one.

use dormouse_shell::edit::{Editor, Event};
use dormouse_shell::history::History;
use proptest::prelude::*;

/// One row of a terminal.
#[derive(Default)]
struct Row {
    cells: Vec<char>,
    cursor: usize,
}

impl Row {
    fn show(&mut self, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).expect("whole characters");
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\r' => self.cursor = 0,
                '\x08' => self.cursor = self.cursor.saturating_sub(1),
                '\n' => {}
                '\x1b' => {
                    assert_eq!(chars.next(), Some('['));
                    let mut number = String::new();
                    let last = loop {
                        match chars.next().unwrap() {
                            digit @ '0'..='9' => number.push(digit),
                            last => break last,
                        }
                    };
                    match last {
                        'K' => self.cells.truncate(self.cursor),
                        'C' => self.cursor += number.parse::<usize>().unwrap(),
                        'H' => self.cursor = 0,
                        'J' => self.cells.clear(),
                        other => panic!("ESC [ {other}"),
                    }
                }
                '\u{301}' => {}
                c => {
                    // A wide character has a second cell.
                    let cells: &[char] = if c == '\u{4e00}' { &[c, ' '] } else { &[c] };
                    for c in cells {
                        while self.cells.len() <= self.cursor {
                            self.cells.push(' ');
                        }
                        self.cells[self.cursor] = *c;
                        self.cursor += 1;
                    }
                }
            }
        }
    }

    fn text(&self) -> String {
        self.cells.iter().collect::<String>().trim_end().into()
    }
}

/// Types `keys`; returns the event of the last one, the screen, and the cursor.
fn typed(keys: &str, columns: usize, history: &History) -> (Event, String, usize) {
    let mut row = Row::default();
    let (mut editor, first) = Editor::new("% ", columns, history);
    row.show(&first);
    let mut event = Event::Nothing;
    let mut out = Vec::new();
    for byte in keys.bytes() {
        event = editor.byte(byte, &mut out);
    }
    row.show(&out);
    (event, row.text(), row.cursor)
}

#[track_caller]
fn line(keys: &str, wanted: &str) {
    let mut history = History::default();
    history.add("first");
    history.add("second one");
    let (event, shown, _) = typed(&format!("{keys}\r"), 80, &history);
    assert_eq!(event, Event::Line(wanted.into()), "{keys:?}");
    assert_eq!(shown, format!("% {wanted}").trim_end(), "{keys:?}");
}

#[test]
fn keys_edit() {
    line("echo hello", "echo hello");
    line("ehco\x7f\x7f\x7fcho x", "echo x");
    line("b\x1b[Da\x1b[Cc", "abc");
    line("bc\x01a\x05d", "abcd");
    line("bc\x1b[Ha\x1b[Fd", "abcd");
    line("bc\x1bOHa\x1bOFd\x1b[1~_\x1b[4~_", "_abcd_");
    line("abc\x1b[D\x1b[D\x0b", "a");
    line("one two\x15x", "x");
    line("one two  \x17x", "one x");
    line("one two\x17\x19\x19", "one twotwo");
    line("abc\x01\x1b[3~\x04", "c");
    line("abc\x02\x02\x08X\x06Y", "XbYc");
    line("a\x1b[1;5Cb", "ab");
    line("gr\u{fc}n \u{2713}\x7f!", "gr\u{fc}n !");
    line("a\x0cb", "ab");
    line("one two/three\x1bbx", "one two/xthree");
    line("one two/three\x1bb\x1bb\x1bb\x1bbx", "xone two/three");
    line("one two/three\x01\x1bfx\x1bfy", "onex twoy/three");
    line("one two/three\x01\x1bf\x1bf\x1bf\x1bfx", "one two/threex");
    line("one two/three\x1b\x7fx", "one two/x");
    line("one two\x01\x1bd\x05\x19", " twoone");
    line(" \x1bbx", "x ");
    line("  \x17x", "x");
}

#[test]
fn arrows_walk_through_the_history_and_back() {
    line("\x1b[A", "second one");
    line("\x1b[A\x1b[A", "first");
    line("\x1b[A\x1b[A\x1b[A\x1b[A", "first");
    line("new\x1b[A\x1b[A\x1b[B!", "second one!");
    line("new\x1b[A\x1b[B!", "new!");
    line("x\x10\x0e\x0e", "x");
}

#[test]
fn ctrl_r_finds_lines_typed_before() {
    // "first" and "second one" were typed.
    line("\x12on", "second one");
    line("\x12irs", "first");
    line("\x12s", "second one");
    line("\x12s\x12", "first");
    line("\x12s\x12\x12\x12", "first");
    line("\x12st\x7f", "second one");
    line("\x12xyz", "");
    line("\x12seconds", "second one");
    line("typed\x12sec\x07!", "typed!");
    line("\x12sec\x1b[D\x05!", "second one!");
    line("\x12on\x01>\x12", ">second one");
    line("\x12sec\x12\x12\x05x", "second onex");
    line("\x12e\x10", "second one");
    let mut history = History::default();
    history.add("a needle in it");
    let (event, shown, cursor) = typed("\x12need", 40, &history);
    assert_eq!(event, Event::Nothing);
    assert_eq!(
        (shown.as_str(), cursor),
        ("search `need': a needle in it", 17)
    );
    let (_, shown, _) = typed("\x12needs", 40, &history);
    assert_eq!(shown, "not found `needs': a needle in it");
    assert_eq!(typed("\x12need\x03", 40, &history).0, Event::Interrupt);
    assert_eq!(
        typed(&format!("\x12{}", "x".repeat(900)), 40, &history).0,
        Event::Nothing
    );
}

#[test]
fn ctrl_c_and_ctrl_d_leave() {
    let history = History::default();
    assert_eq!(typed("abc\x03", 80, &history).0, Event::Interrupt);
    assert_eq!(typed("\x04", 80, &history).0, Event::End);
    assert_eq!(typed("a\x04", 80, &history).0, Event::Nothing);
}

#[test]
fn a_long_line_is_shown_in_part() {
    let history = History::default();
    let long = "0123456789abcdefghijklmnop";
    let (_, shown, cursor) = typed(long, 20, &history);
    assert!(shown.starts_with("% <") && shown.ends_with('p'), "{shown}");
    assert!(shown.len() < 20 && cursor < 20, "{shown} {cursor}");
    let (_, shown, cursor) = typed(&format!("{long}\x01"), 20, &history);
    assert_eq!((shown.as_str(), cursor), ("% 0123456789abcdef>", 2));
    assert_eq!(
        typed(&format!("{long}\r"), 20, &history).0,
        Event::Line(long.into())
    );
}

#[test]
fn what_is_before_the_cursor_stays_in_view() {
    let history = History::default();
    let long = "0123456789abcdefghijklmnop";
    for back in 0..20 {
        let (_, shown, cursor) = typed(&format!("{long}{}", "\x7f".repeat(back)), 20, &history);
        let left = &long[..long.len() - back];
        let end = shown.trim_start_matches("% ").trim_start_matches('<');
        assert!(
            left.ends_with(end) && end.len() >= left.len().min(6),
            "{back}: {shown}"
        );
        assert_eq!(cursor, shown.len(), "{back}: {shown}");
    }
    let (_, shown, cursor) = typed(&format!("{long}{}", "\x1b[D".repeat(15)), 20, &history);
    assert!(
        shown[cursor..].starts_with('b') && shown[..cursor].ends_with('a'),
        "{shown}"
    );
    assert!(shown.ends_with('>'), "{shown}");
}

#[test]
fn the_mark_of_more_stays_right_of_the_cursor() {
    let mut history = History::default();
    history.add("a line that is long enough");
    // Eleven columns are left for the line; the cursor goes to the tenth, then on.
    for right in 0..26 {
        let keys = format!("\x1b[A\x01{}\u{2713}", "\x1b[C".repeat(right));
        let (_, shown, cursor) = typed(&keys, 13, &history);
        let before = shown.chars().nth(cursor - 1);
        assert_eq!(before, Some('\u{2713}'), "{right}: {shown}");
    }
}

#[test]
fn a_prompt_wider_than_the_window_is_shown_in_part() {
    let history = History::default();
    let mut row = Row::default();
    let (mut editor, first) = Editor::new("a prompt that is much too long% ", 20, &history);
    row.show(&first);
    assert_eq!(row.text(), "<too long%");
    let mut out = Vec::new();
    for byte in "echo hello".bytes() {
        editor.byte(byte, &mut out);
    }
    row.show(&out);
    assert!(
        row.text().ends_with("hello") && row.cells.len() < 20,
        "{}",
        row.text()
    );
    // Colours take no columns.
    let (_, first) = Editor::new("\x1b[32m%\x1b[0m ", 12, &history);
    assert_eq!(first, b"\x1b[32m%\x1b[0m ");
}

#[test]
fn bytes_that_are_not_utf8_are_kept() {
    let history = History::default();
    let (mut editor, _) = Editor::new("% ", 20, &history);
    let mut out = Vec::new();
    for byte in *b"a\xffb\xc3" {
        assert_eq!(editor.byte(byte, &mut out), Event::Nothing);
    }
    let Event::Line(line) = editor.byte(b'\r', &mut out) else {
        panic!("no line");
    };
    assert_eq!(&*bytestr::text::to_bytes(&line), b"a\xffb");
    assert_eq!(String::from_utf8(out).unwrap(), "a\u{fffd}b\n");
}

#[test]
fn the_history_forgets_blank_lines_and_repetitions() {
    let mut history = History::default();
    for line in ["a", "  ", "b", "b", "a"] {
        history.add(line);
    }
    assert_eq!(history.iter().collect::<Vec<_>>(), ["a", "b", "a"]);
    for n in 0..2000 {
        history.add(&n.to_string());
    }
    assert_eq!(history.back(1), Some("1999"));
    assert_eq!(history.iter().count(), 500);
}

proptest! {
    /// After any keys, the terminal shows the line, with the cursor at the
    /// place of the next character.
    #[test]
    fn the_terminal_shows_the_line(keys in prop::collection::vec(prop::sample::select(vec![
        "a", "b ", "\u{e9}", "\u{4e00}", "e\u{301}", "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D", "\x01", "\x05", "\x7f",
        "\x0b", "\x15", "\x17", "\x19", "\x04", "\x1b[3~", "\x12", "\x07", "\x1bb", "\x1bf", "\x1bd"]), 0..60), columns in 12usize..40) {
        let mut history = History::default();
        history.add("a line of the history that is long enough to be cut");
        // Something in front, so that Ctrl-D does not end it.
        let keys = format!("x{}", keys.concat());
        let mut row = Row::default();
        let (mut editor, first) = Editor::new("% ", columns, &history);
        row.show(&first);
        for byte in keys.bytes() {
            let mut out = Vec::new();
            if editor.byte(byte, &mut out) == Event::End {
                return Ok(());
            }
            row.show(&out);
            prop_assert!(row.cursor < columns, "cursor {} of {}", row.cursor, columns);
            prop_assert!(row.cells.len() <= columns);
        }
        let mut out = Vec::new();
        // No search any more; a mark where the cursor is.
        for byte in "\x07\u{2713}".bytes() {
            editor.byte(byte, &mut out);
        }
        row.show(&out);
        prop_assert_eq!(row.cells.get(row.cursor - 1), Some(&'\u{2713}'));
    }
}
