//! Words become texts.

use dormouse_shell::arithmetic::{self, Variables};
use dormouse_shell::condition::{self, Access, Facts, FileType, Files};
use dormouse_shell::glob::{self, Names, marks, matches};
use dormouse_shell::split::Line;
use dormouse_shell::tree::{Command, List};
use dormouse_shell::{Aliases, Host, Settings, Wrong, expand, expand_one};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn parse(text: &str) -> Result<List, Wrong> {
    dormouse_shell::parse(text, &Aliases::new())
}

#[derive(Default)]
struct World {
    variables: BTreeMap<String, String>,
    arguments: Vec<String>,
    files: Vec<&'static str>,
    settings: Settings,
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

    fn is_directory(&mut self, path: &str) -> bool {
        let inside = format!("{}/", path.trim_end_matches('/'));
        self.files.iter().any(|file| file.starts_with(&inside))
    }
}

impl Host for World {
    fn variable(&self, name: &str) -> Option<String> {
        match name.parse::<usize>() {
            Ok(n) => self.arguments.get(n.checked_sub(1)?).cloned(),
            Err(_) if name == "#" => Some(self.arguments.len().to_string()),
            Err(_) => self.variables.get(name).cloned(),
        }
    }

    fn set_variable(&mut self, name: &str, text: String) -> Result<(), String> {
        match dormouse_shell::is_name(name) {
            true => self.variables.insert(name.to_string(), text),
            false => return Err(format!("{name}: not to be set")),
        };
        Ok(())
    }

    fn settings(&self) -> Settings {
        self.settings
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
        variables: [
            ("x", "one  two"),
            ("star", "*"),
            ("empty", ""),
            ("n", "7"),
            ("path", "/a/b.c.d"),
            ("HOME", "/home"),
        ]
        .map(|(name, text)| (name.to_string(), text.to_string()))
        .into(),
        settings: Settings::default(),
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
    expands(
        "echo $(($n*${n}-$(9))) `echo $x` \"`echo \\`echo a\\``\" $((none = 3))$none",
        &["echo", "40", "echo", "one", "two", "echo echo a", "33"],
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

impl Variables for World {
    fn value(&self, name: &str) -> Result<Option<String>, String> {
        Ok(self.variable(name))
    }

    fn assign(&mut self, name: &str, number: i64) -> Result<(), String> {
        self.set_variable(name, number.to_string())
    }
}

#[test]
fn arithmetic_has_cs_order() {
    let mut world = world();
    world.variables.insert("i".into(), "5".into());
    let mut value = |text: &str| arithmetic::evaluate(text, &mut world);
    for (text, number) in [
        ("", 0),
        ("1 + 2 * 3 - 4 / 2", 5),
        ("i*-i", -25),
        ("1 < 2 || 1 / 0", 1),
        ("0 && 1 / 0", 0),
        ("0 && (i = 9)", 0),
        ("1 ? i : (i = 9)", 5),
        ("0 ? 1 : 0 ? 2 : 3", 3),
        ("(-9223372036854775807 - 1) + 1", -i64::MAX),
        ("0x10 + 010 + unknown", 24),
        ("1 << 4 | 1 << 2 ^ 5 & 6", 16),
        ("-7 / 2 * 10 + -7 % 3", -31),
        ("-16 >> 2", -4),
        ("~5 + !3 + !0", -5),
        ("2 <= 2 == 1 != 0", 1),
        ("j = k = 6", 6),
        ("j += 4", 10),
        ("j <<= 2", 40),
        ("j - k - i", 29),
        ("i > 4 && i < 6", 1),
    ] {
        assert_eq!(value(text), Ok(number), "{text}");
    }
}

#[test]
fn arithmetic_names_what_is_wrong() {
    let mut world = world();
    world.variables.insert("i".into(), "5".into());
    let mut value = |text: &str| arithmetic::evaluate(text, &mut world);
    for (text, wrong) in [
        ("9223372036854775807 + 1", "too large"),
        ("9223372036854775808", "too large"),
        ("-9223372036854775807 - 2", "too large"),
        ("4611686018427387904 * 2", "too large"),
        ("(-9223372036854775807 - 1) / -1", "too large"),
        ("(-9223372036854775807 - 1) % -1", "too large"),
        ("1 << 63", "too large"),
        ("1 << 64", "no distance to shift by"),
        ("1 >> -1", "no distance to shift by"),
        ("1 / 0", "division by zero"),
        ("1 % (i - 5)", "division by zero"),
        ("1 +", "lacks a number"),
        ("1 2", "unexpected `2`"),
        ("12x", "12x: not a number"),
        ("08", "08: not a number"),
        ("x + 1", "x: one  two: not a number"),
        ("(1", "a ( is not closed"),
        ("1 ? 2", "a ? lacks its :"),
        ("i++", "not supported: ++"),
        ("--i", "not supported: --"),
        ("2 ** 3", "not supported: **"),
        ("1 = 2", "unexpected `=`"),
        ("1, 2", "unexpected `,`"),
    ] {
        let found = value(text).unwrap_err();
        assert!(found.contains(wrong), "{text}: {found}");
    }
    for deep in ["(", "- ", "~", "x = ", "1 ? "] {
        let found = value(&deep.repeat(100_000)).unwrap_err();
        assert!(found.contains("too deeply") && found.len() < 200, "{deep}");
    }
}

/// Files `f` and, older, `g`, a directory `d`, a link `l`; one may only read.
struct Tree;

impl Files for Tree {
    fn facts(&self, path: &str) -> Option<Facts> {
        self.link_facts(if path == "l" { "f" } else { path })
    }

    fn link_facts(&self, path: &str) -> Option<Facts> {
        let (kind, number) = match path {
            "d" => (FileType::Directory, 1),
            "f" | "f2" => (FileType::Ordinary, 3),
            "g" => (FileType::Ordinary, 2),
            "l" => (FileType::Link, 4),
            _ => return None,
        };
        Some(Facts {
            kind,
            size: 0,
            changed: number,
            identity: (1, number),
        })
    }

    fn may(&self, path: &str, access: Access) -> bool {
        self.facts(path).is_some() && access == Access::Read
    }

    fn is_terminal(&self, fd: u32) -> bool {
        fd == 2
    }
}

/// Evaluates the condition of these arguments.
fn test(args: &str) -> Result<bool, String> {
    let args: Vec<&str> = args.split_whitespace().collect();
    condition::evaluate(&args, &Tree)
}

#[test]
fn conditions_that_hold() {
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
        "-n",
        "!",
        "! = !",
        "( a )",
        "( = (",
        "! ( -e none )",
        "( a = b -o c ) -a ! ( d = e )",
        "a = b -o a = b -o c -a d",
        "-L l",
        "-h l",
        "-f l",
        "f -ef f2",
        "f -nt g",
        "g -ot f",
        "f -nt none",
        "-r f",
        "-t 2",
    ] {
        assert_eq!(test(yes), Ok(true), "{yes}");
    }
}

#[test]
fn conditions_that_do_not_hold_or_are_wrong() {
    for no in [
        "",
        "a = b",
        "-f d",
        "-d none",
        "-s f",
        "! a",
        "10 -lt 2",
        "-e f -a -d f",
        "-L f",
        "f -ef g",
        "none -nt f",
        "none -ef none",
        "-w f",
        "-x f",
        "-r none",
        "-t 0",
    ] {
        assert_eq!(test(no), Ok(false), "{no}");
    }
    assert_eq!(test("x -eq 1"), Err("x: not a number".into()));
    assert_eq!(test("a -? b"), Err("-?: not a condition".into()));
    assert_eq!(test("-y f"), Err("-y: not a condition".into()));
    assert!(test("a b c d e").is_err());
    assert!(test("a -a").is_err());
    assert_eq!(test(&"! ".repeat(100_001)), Ok(true));
    assert!(test(&"( ".repeat(100_000)).is_err());
}

#[test]
fn operators_change_values() {
    expands("echo ${none-a} ${empty-a} ${empty:-a}", &["echo", "a", "a"]);
    expands(
        "echo ${x+a} ${none+a} ${empty:+a} ${n:+b}",
        &["echo", "a", "b"],
    );
    expands("echo ${none=a b} $none", &["echo", "a", "b", "a", "b"]);
    expands("echo \"${none:-a  \"b\"  'c'}\"", &["echo", "a  b  'c'"]);
    expands(
        "echo ${none:-'a  b' \"c  d\" *.rs}",
        &["echo", "a  b", "c  d", "c.rs"],
    );
    expands("echo ${1+\"$@\"} ${3+\"$@\"}", &["echo", "a b", "c"]);
    expands(
        "echo ${path%.*} ${path%%.*} ${path#*/} ${path##*/}",
        &["echo", "/a/b.c", "/a/b", "a/b.c.d", "b.c.d"],
    );
    expands(
        "echo \"${path%'.d'}\" ${path%\"*\"} ${path%none} ${path%\\.d}",
        &["echo", "/a/b.c", "/a/b.c.d", "/a/b.c.d", "/a/b.c"],
    );
    expands("echo ${#x} ${##} ${#} $#", &["echo", "8", "1", "2", "2"]);
    for (text, wrong) in [
        ("echo ${none?so it is}", "none: so it is"),
        ("echo ${empty:?}", "empty: not set"),
        ("echo ${1:=a}${3:=a}", "3: not to be set"),
        ("echo $((1 / 0))", "division by zero"),
        ("echo ${@%a}", "not supported"),
    ] {
        let list = parse(text).unwrap();
        let Command::Simple { words, .. } = &*list[0].first.stages[0].command else {
            panic!("{text}")
        };
        let found = expand(words, &mut world()).unwrap_err();
        assert!(found.contains(wrong), "{text}: {found}");
        let mut strict = World {
            settings: Settings {
                unset_is_wrong: true,
                ..Settings::default()
            },
            ..World::default()
        };
        assert!(expand(words, &mut strict).is_err());
    }
}

#[test]
fn a_tilde_is_the_home_directory_where_a_word_begins() {
    expands(
        "echo ~ ~/a a~ '~' \"~\" \\~ ~user ~/*.none",
        &[
            "echo",
            "/home",
            "/home/a",
            "a~",
            "~",
            "~",
            "~",
            "~user",
            "/home/*.none",
        ],
    );
    let list = parse("v=~:~/a:b~:~").unwrap();
    let Command::Simple { assignments, .. } = &*list[0].first.stages[0].command else {
        panic!()
    };
    let text = expand_one(&assignments[0].1, &mut world()).unwrap();
    assert_eq!(text, "/home:/home/a:b~:/home");
}

#[test]
fn fields_end_where_the_separators_say() {
    let mut world = world();
    world.variables.insert("IFS".into(), ": ".into());
    for (value, wanted) in [
        ("a:b", vec!["a", "b"]),
        (":a::b:", vec!["", "a", "", "b"]),
        (" a : b c ", vec!["a", "b", "c"]),
        ("a\tb", vec!["a\tb"]),
        ("", vec![]),
        (" ", vec![]),
        (":", vec![""]),
    ] {
        world.variables.insert("v".into(), value.into());
        let list = parse("$v").unwrap();
        let Command::Simple { words, .. } = &*list[0].first.stages[0].command else {
            panic!()
        };
        assert_eq!(expand(words, &mut world).unwrap(), wanted, "{value}");
    }
    let joined = parse("\"$*\"").unwrap();
    let Command::Simple { words, .. } = &*joined[0].first.stages[0].command else {
        panic!()
    };
    assert_eq!(expand(words, &mut world).unwrap(), ["a b:c"]);
}

#[test]
fn a_line_is_read_into_fields() {
    let read = |line: &str, separators: &str, count| {
        let mut read = Line::default();
        assert!(!read.add(line));
        read.fields(separators, count)
    };
    assert_eq!(read(" a  b c ", " ", 2), ["a", "b c"]);
    assert_eq!(read(" a  b c ", " ", 1), ["a  b c"]);
    assert_eq!(read("a", " ", 3), ["a"]);
    assert_eq!(read("a\\ b c", " ", 2), ["a b", "c"]);
    assert_eq!(read("a\\\\b\\c", " ", 1), ["a\\bc"]);
    assert_eq!(read("a:b:c", ":", 2), ["a", "b:c"]);
    assert_eq!(read("a:b:", ":", 2), ["a", "b"]);
    assert_eq!(read("a::b", ":", 3), ["a", "", "b"]);
    assert_eq!(read(":a", ":", 2), ["", "a"]);
    assert_eq!(read("  a b  ", "", 1), ["  a b  "]);
    assert_eq!(Line::raw("a\\ b").fields(" ", 2), ["a\\", "b"]);
    let mut joined = Line::default();
    assert!(joined.add("a\\"));
    assert!(!joined.add("b c"));
    assert_eq!(joined.fields(" ", 2), ["ab", "c"]);
}

#[test]
fn a_pattern_that_ends_in_a_slash_is_for_directories() {
    expands(
        "echo */ d*/ */x.txt",
        &[
            "echo",
            "dir/",
            "dir2/",
            "dir/",
            "dir2/",
            "dir/x.txt",
            "dir2/x.txt",
        ],
    );
    expands("echo a*/ *//", &["echo", "a*/", "dir//", "dir2//"]);
}

/// The meaning of a pattern of `*`, `?` and letters, by a naive matcher.
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
        ("[[:digit:]]", "7", "a"),
        ("[![:alpha:]_]x", "7x", "_x"),
        ("[[:upper:]0-3]", "2", "a"),
        ("[[:none:]]", ":]", "a"),
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
