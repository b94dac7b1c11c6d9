//! Words become texts.

use dormouse_shell::glob::{self, Names, marks, matches};
use dormouse_shell::tree::{Command, List};
use dormouse_shell::{Host, arithmetic, condition, expand, expand_one, parse};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Default)]
struct World {
    variables: BTreeMap<&'static str, &'static str>,
    arguments: Vec<String>,
    files: Vec<&'static str>,
}

impl Names for World {
    fn names(&mut self, directory: &str) -> Vec<String> {
        let mut names: Vec<String> = self
            .files
            .iter()
            .filter_map(|file| file.strip_prefix(directory))
            .filter_map(|rest| rest.split('/').next())
            .map(String::from)
            .collect();
        names.dedup();
        names
    }

    fn exists(&mut self, path: &str) -> bool {
        self.files
            .iter()
            .any(|file| *file == path || file.starts_with(&format!("{path}/")))
    }
}

impl Host for World {
    fn variable(&self, name: &str) -> Option<String> {
        match name.parse::<usize>() {
            Ok(n) => self.arguments.get(n.checked_sub(1)?).cloned(),
            Err(_) if name == "#" => Some(self.arguments.len().to_string()),
            Err(_) => self.variables.get(name).map(|text| text.to_string()),
        }
    }

    fn arguments(&self) -> Vec<String> {
        self.arguments.clone()
    }

    fn output(&mut self, list: &List) -> Result<String, String> {
        let Command::Simple { words, .. } = &*list[0].first.stages[0].command else {
            return Err("not simple".into());
        };
        Ok(format!("{}\n\n", expand(words, self)?.join(" ")))
    }
}

fn world() -> World {
    World {
        variables: [("x", "one  two"), ("star", "*"), ("empty", ""), ("n", "7")].into(),
        arguments: vec!["a b".into(), "c".into()],
        files: vec![
            "a.txt",
            "b.txt",
            "c.rs",
            ".hidden",
            "dir/x.txt",
            "dir/y",
            "dir2/x.txt",
        ],
    }
}

#[track_caller]
fn expands(text: &str, wanted: &[&str]) {
    let list = parse(text).unwrap();
    let Command::Simple { words, .. } = &*list[0].first.stages[0].command else {
        panic!("{text}")
    };
    assert_eq!(expand(words, &mut world()).unwrap(), wanted, "{text}");
}

#[test]
fn values_are_split_unless_quoted() {
    expands("echo $x", &["echo", "one", "two"]);
    expands("echo \"$x\"", &["echo", "one  two"]);
    expands("echo a$x''b", &["echo", "aone", "twob"]);
    expands("echo $none $empty", &["echo"]);
    expands("echo \"$none\" ''", &["echo", "", ""]);
    expands("echo '$x' \\$x \"\\$x\"", &["echo", "$x", "$x", "$x"]);
    expands(
        "echo ${none:-d e} ${x:-d}",
        &["echo", "d", "e", "one", "two"],
    );
    expands("echo ${#x} ${#none}", &["echo", "8", "0"]);
}

#[test]
fn arguments_keep_their_borders_in_quotes() {
    expands("echo \"$@\"", &["echo", "a b", "c"]);
    expands("echo \"p$@s\"", &["echo", "pa b", "cs"]);
    expands("echo $@", &["echo", "a", "b", "c"]);
    expands("echo \"$*\" $# $1", &["echo", "a b c", "2", "a", "b"]);
    let mut none = World::default();
    let list = parse("echo \"$@\"").unwrap();
    let Command::Simple { words, .. } = &*list[0].first.stages[0].command else {
        panic!()
    };
    assert_eq!(expand(words, &mut none).unwrap(), ["echo"]);
}

#[test]
fn patterns_become_names() {
    expands("echo *.txt", &["echo", "a.txt", "b.txt"]);
    expands("echo */*.txt", &["echo", "dir/x.txt", "dir2/x.txt"]);
    expands("echo dir/?", &["echo", "dir/y"]);
    expands("echo [!a]*", &["echo", "b.txt", "c.rs", "dir", "dir2"]);
    expands("echo .h*", &["echo", ".hidden"]);
    expands(
        "echo *.none '*.txt' \\*.txt \"*\"",
        &["echo", "*.none", "*.txt", "*.txt", "*"],
    );
    expands("echo $star.rs \"$star.rs\"", &["echo", "c.rs", "*.rs"]);
    expands("echo */y", &["echo", "dir/y"]);
}

#[test]
fn output_and_numbers_are_values() {
    expands(
        "echo $(echo $x) \"$(echo $x)\"",
        &["echo", "echo", "one", "two", "echo one two"],
    );
    expands(
        "echo $((n * (2 + 3) - -1)) $((n % 4 == 3 && !0))",
        &["echo", "36", "1"],
    );
}

#[test]
fn a_single_text_is_neither_split_nor_matched() {
    let list = parse("v=$x*$@").unwrap();
    let Command::Simple { assignments, .. } = &*list[0].first.stages[0].command else {
        panic!()
    };
    assert_eq!(
        expand_one(&assignments[0].1, &mut world()).unwrap(),
        "one  two*a b c"
    );
}

#[test]
fn arithmetic_has_cs_order_and_names_what_is_wrong() {
    let value = |text: &str| arithmetic::evaluate(text, &|name| (name == "i").then(|| "5".into()));
    assert_eq!(value("1 + 2 * 3 - 4 / 2"), Ok(5));
    assert_eq!(value("$i*-i"), Ok(-25));
    assert_eq!(value("1 < 2 || 1 / 0"), Err("division by zero".into()));
    assert_eq!(value("9223372036854775807 + 1"), Ok(i64::MIN));
    assert_eq!(value("(-9223372036854775807 - 1) / -1"), Ok(i64::MIN));
    assert_eq!(value("0x10 + unknown"), Ok(16));
    assert!(value("1 +").unwrap_err().contains("lacks a number"));
    assert!(value("1 2").unwrap_err().contains("unexpected `2`"));
    assert!(
        value(&"(".repeat(100_000))
            .unwrap_err()
            .contains("too deeply")
    );
    assert!(value("12x").unwrap_err().contains("not a number"));
}

#[test]
fn conditions() {
    let facts = |path: &str| {
        let facts = condition::Facts {
            directory: path == "d",
            ordinary: path != "d",
            size: 0,
        };
        (path != "none").then_some(facts)
    };
    let test = |args: &str| {
        let args: Vec<&str> = args.split_whitespace().collect();
        condition::evaluate(&args, &facts)
    };
    for yes in [
        "a",
        "a = a",
        "a != b",
        "-d d",
        "-f f",
        "! -e none",
        "2 -lt 10",
        "-e f -a -d d",
        "-e none -o -d d",
        "! ! a",
        "-n x",
        "3 -ge 3",
    ] {
        assert_eq!(test(yes), Ok(true), "{yes}");
    }
    for no in [
        "",
        "a = b",
        "-f d",
        "-d none",
        "-s f",
        "! a",
        "10 -lt 2",
        "-e f -a -d f",
    ] {
        assert_eq!(test(no), Ok(false), "{no}");
    }
    assert_eq!(test("x -eq 1"), Err("x: not a number".into()));
    assert_eq!(test("a -? b"), Err("-?: not a condition".into()));
    assert!(test("a b c d e").is_err());
}

/// What a pattern of `*`, `?` and letters means, in the plainest way.
fn naive(pattern: &[char], name: &[char]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some(('*', rest)) => (0..=name.len()).any(|n| naive(rest, &name[n..])),
        Some((p, rest)) => {
            name.first().is_some_and(|c| *p == '?' || p == c) && naive(rest, &name[1..])
        }
    }
}

#[test]
fn sets() {
    for (pattern, yes, no) in [
        ("[a-c]x", "bx", "dx"),
        ("[!a-c]x", "dx", "bx"),
        ("[]a]", "]", "b"),
        ("[a-]", "-", "b"),
        ("[ab", "[ab", "a"),
        ("[*]", "*", "a"),
    ] {
        assert!(matches(&marks(pattern), yes), "{pattern} {yes}");
        assert!(!matches(&marks(pattern), no), "{pattern} {no}");
    }
}

#[test]
fn many_stars_take_no_longer_than_they_must() {
    let pattern = marks(&"a*".repeat(40));
    assert!(!matches(
        &pattern,
        &format!("{}b", "a".repeat(4000)).replace('b', "")[..39]
    ));
    assert!(matches(&pattern, &"a".repeat(4000)));
    assert!(!matches(
        &marks(&format!("{}b", "*a".repeat(20))),
        &"a".repeat(2000)
    ));
}

proptest! {
    #[test]
    fn patterns_match_as_the_plainest_matcher(pattern in "[ab*?]{0,8}", name in "[ab]{0,10}") {
        let (p, n): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
        prop_assert_eq!(matches(&marks(&pattern), &name), naive(&p, &n));
    }

    #[test]
    fn no_pattern_breaks_the_matcher(pattern in "[ab*?\\[\\]!^-]{0,12}", name in "[ab\\]-]{0,8}") {
        let _ = matches(&marks(&pattern), &name);
        let _ = glob::paths(&marks(&pattern), &mut world());
    }
}
