//! Completion of names, as keys at a terminal.

use bytestr::text::{from_bytes, to_bytes};
use dormouse_shell::Aliases;
use dormouse_shell::complete::{Commands, complete};
use dormouse_shell::edit::{Editor, Event};
use dormouse_shell::glob::Names;
use dormouse_shell::history::History;
use dormouse_shell::tree::{Command, Part};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Names by directory; those that end with `/` are directories.
struct World(BTreeMap<&'static str, Vec<String>>);

impl Names for World {
    fn names(&mut self, directory: &str) -> Vec<String> {
        let names = self.0.get(directory).into_iter().flatten();
        names
            .map(|name| name.trim_end_matches('/').into())
            .collect()
    }

    fn exists(&mut self, _: &str) -> bool {
        true
    }

    fn is_directory(&mut self, path: &str) -> bool {
        let (directory, name) = match path.rfind('/') {
            Some(slash) => path.split_at(slash + 1),
            None => ("", path),
        };
        let names = self.0.get(directory).into_iter().flatten();
        names
            .clone()
            .any(|other| other.strip_suffix('/') == Some(name))
    }
}

impl Commands for World {
    fn commands(&mut self, start: &str) -> Vec<String> {
        let all = ["cat", "cd", "echo", "export", "exit"].map(String::from);
        all.into_iter()
            .filter(|name| name.starts_with(start))
            .collect()
    }

    fn home(&self) -> String {
        "/home".into()
    }
}

fn world() -> World {
    let here = [
        "alpha.txt",
        "alpine",
        "beta file",
        "dir/",
        ".hidden",
        "don't",
        "caf\u{e9}",
        "caf\u{e8}",
    ];
    let mut here: Vec<String> = here.map(String::from).into();
    here.push(from_bytes(b"bad\xffone"));
    here.push(from_bytes(b"worse\xfe\n"));
    here.push(from_bytes(b"worse\xfd"));
    World(BTreeMap::from([
        ("", here),
        ("dir/", Vec::from(["inner/".to_string(), "in file".into()])),
        ("/home/", Vec::from(["at home".to_string()])),
    ]))
}

/// The line after Tab, and the names to choose from.
fn completed(before: &str) -> (String, Vec<String>) {
    let chars: Vec<char> = before.chars().collect();
    match complete(&chars, &mut world()) {
        Some(done) => {
            let kept: String = chars[..done.from].iter().collect();
            (kept + &done.text, done.choices)
        }
        None => ("-".into(), Vec::new()),
    }
}

#[test]
fn a_word_grows_as_far_as_its_names_agree() {
    for (before, after) in [
        ("ca", "cat "),
        ("ex", "ex"),
        ("exp", "export "),
        ("echo al", "echo alp"),
        ("echo alph", "echo alpha.txt "),
        ("echo be", "echo beta\\ file "),
        ("echo 'beta f", "echo beta\\ file "),
        ("echo \"beta", "echo beta\\ file "),
        ("echo beta\\ ", "echo beta\\ file "),
        ("echo do", "echo don\\'t "),
        ("echo d", "echo d"),
        ("echo di", "echo dir/"),
        ("echo dir/", "echo dir/in"),
        ("echo dir/inn", "echo dir/inner/"),
        ("dir/inn", "dir/inner/"),
        ("echo .", "echo .hidden "),
        ("echo ~/", "echo ~/at\\ home "),
        ("echo '~/'", "-"),
        ("echo ca", "echo caf"),
        ("echo bad", "echo $'bad\\xffone' "),
        ("echo $'bad\\xff", "echo $'bad\\xffone' "),
        ("echo wor", "echo worse"),
        ("echo $'worse\\xfe", "echo $'worse\\xfe\\n' "),
        ("echo a;ca", "echo a;cat "),
        ("if ca", "if cat "),
        ("x=1 ca", "x=1 cat "),
        ("cat <al", "cat <alp"),
        ("<beta\\ file ca", "<beta\\ file cat "),
        ("cat ca", "cat caf"),
        ("(ca", "(cat "),
        ("echo $x", "-"),
        ("echo \"$x", "-"),
        ("echo none", "-"),
        ("none", "-"),
    ] {
        assert_eq!(completed(before).0, after, "{before}");
    }
}

#[test]
fn names_are_shown_where_nothing_can_be_added() {
    assert_eq!(completed("ex").1, ["exit", "export"]);
    assert_eq!(completed("echo alp").1, ["alpha.txt", "alpine"]);
    assert_eq!(completed("echo al").1, [""; 0]);
    let history = History::default();
    let (mut editor, _) = Editor::new("% ", 40, &history);
    let mut out = Vec::new();
    for byte in "echo worse".bytes() {
        editor.byte(byte, &mut out);
    }
    assert_eq!(editor.byte(b'\t', &mut out), Event::Complete);
    out.clear();
    editor.complete(&mut world(), &mut out);
    let shown = String::from_utf8(out).unwrap();
    assert!(
        shown.contains("\n$'worse\\xfd'    $'worse\\xfe\\n'\n"),
        "{shown:?}"
    );
    let mut out = Vec::new();
    editor.byte(3, &mut out);
    editor.complete(&mut World(BTreeMap::new()), &mut out);
    assert!(out.contains(&7));
}

/// The words of a simple command, as bytes.
fn words(text: &str) -> Vec<Vec<u8>> {
    let list = dormouse_shell::parse(text, &Aliases::new()).unwrap();
    let Command::Simple { words, .. } = &*list[0].first.stages[0].command else {
        panic!("{text}");
    };
    let parts = words.iter().map(|word| {
        let texts = word.0.iter().map(|part| match part {
            Part::Plain(text) | Part::Quoted(text) => text.as_str(),
            part => panic!("{text}: {part:?}"),
        });
        to_bytes(&texts.collect::<String>()).into_owned()
    });
    parts.collect()
}

proptest! {
    /// What is completed is the name, byte for byte, whatever is in it.
    #[test]
    fn a_completed_word_is_read_back_as_the_name(
        name in proptest::collection::vec(any::<u8>().prop_filter("a name", |b| *b != b'/' && *b != 0), 1..12),
    ) {
        let name = from_bytes(&name);
        prop_assume!(name != "." && name != "..");
        let mut world = World(BTreeMap::from([("dir/", Vec::from([name.clone()]))]));
        let start: String = if name.starts_with('.') { "echo dir/.".into() } else { "echo dir/".into() };
        let chars: Vec<char> = start.chars().collect();
        let done = complete(&chars, &mut world).unwrap();
        let whole = chars[..done.from].iter().collect::<String>() + &done.text;
        let words = words(&whole);
        prop_assert_eq!(words.len(), 2);
        prop_assert_eq!(&words[1], &[b"dir/", &*to_bytes(&name)].concat());
        // Completing again changes nothing but the end.
        let again: Vec<char> = whole.trim_end().chars().collect();
        if !whole.trim_end().ends_with('\\') {
            let again = complete(&again, &mut world).unwrap();
            prop_assert_eq!(again.text, done.text);
        }
    }

    #[test]
    fn any_text_can_be_completed(text in "[ab '\"\\\\$`x0-9;|&(<>)~/=\n]{0,30}") {
        let chars: Vec<char> = text.chars().collect();
        complete(&chars, &mut world());
    }
}
