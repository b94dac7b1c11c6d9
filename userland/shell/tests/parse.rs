//! What is understood, and what is refused with which words.

use dormouse_shell::tree::{Command, Direction, Item, Junction, Part, Quoting, Value};
use dormouse_shell::{Wrong, parse};
use proptest::prelude::*;

fn one(text: &str) -> Command {
    let list = parse(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
    assert_eq!(list.len(), 1, "{text}");
    (*list[0].first.stages[0].command).clone()
}

/// The words of a simple command, plain and quoted parts joined.
fn words(text: &str) -> Vec<String> {
    let Command::Simple { words, .. } = one(text) else {
        panic!("{text}: not a simple command");
    };
    let text = |part: &Part| match part {
        Part::Plain(text) | Part::Quoted(text) => text.clone(),
        Part::Value(value, quoting) => format!("<{value:?} {quoting:?}>"),
    };
    let word = |word: &dormouse_shell::tree::Word| word.0.iter().map(text).collect();
    words.iter().map(word).collect()
}

fn syntax(text: &str) -> String {
    match parse(text) {
        Err(Wrong::Syntax(why)) => why,
        other => panic!("{text}: {other:?}"),
    }
}

fn incomplete(text: &str) -> bool {
    matches!(parse(text), Err(Wrong::Incomplete(_)))
}

#[test]
fn quotes_keep_blanks_and_operators() {
    assert_eq!(
        words("echo 'a  b' \"c ; d\" e\\ f"),
        ["echo", "a  b", "c ; d", "e f"]
    );
    assert_eq!(
        words(r#"echo "a\"b\\c\d" '\n'"#),
        ["echo", r#"a"b\c\d"#, r"\n"]
    );
    assert_eq!(words("echo a'b'\"c\"d ''"), ["echo", "abcd", ""]);
    assert_eq!(words("echo one \\\n two"), ["echo", "one", "two"]);
}

#[test]
fn a_comment_begins_only_where_a_word_may() {
    assert_eq!(words("echo a#b # c ; d"), ["echo", "a#b"]);
    assert_eq!(parse("# nothing\n\n # more").unwrap(), []);
}

#[test]
fn lists_have_separators_and_backgrounds() {
    let list = parse("a; b & c\nd &").unwrap();
    let background: Vec<bool> = list.iter().map(|item| item.background).collect();
    assert_eq!(background, [false, true, false, true]);
    let Item { first, rest, .. } = &parse("a | b && ! c || d").unwrap()[0];
    assert_eq!(first.stages.len(), 2);
    let junctions: Vec<_> = rest
        .iter()
        .map(|(junction, p)| (*junction, p.negated))
        .collect();
    assert_eq!(junctions, [(Junction::And, true), (Junction::Or, false)]);
}

#[test]
fn redirections_take_descriptors() {
    let list = parse("2>err cmd <in >>out 2>&1 3<>both a2>x").unwrap();
    let stage = &list[0].first.stages[0];
    let found: Vec<_> = stage
        .redirections
        .iter()
        .map(|r| (r.fd, r.direction, r.target.plain().unwrap()))
        .collect();
    let wanted = [
        (2, Direction::Write, "err"),
        (0, Direction::Read, "in"),
        (1, Direction::Append, "out"),
        (2, Direction::Same, "1"),
        (3, Direction::Both, "both"),
        (1, Direction::Write, "x"),
    ];
    assert_eq!(found, wanted);
}

#[test]
fn assignments_stand_before_the_command() {
    let Command::Simple { assignments, words } = one("A=1 B= cmd C=3") else {
        panic!()
    };
    let names: Vec<&str> = assignments.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["A", "B"]);
    assert_eq!(words.len(), 2);
    assert!(matches!(one("1A=2"), Command::Simple { words, .. } if words.len() == 1));
}

#[test]
fn compound_commands_nest() {
    let Command::If { arms, otherwise } =
        one("if a; then b; elif c\nthen d; else for x in 1 2; do e; done; fi")
    else {
        panic!()
    };
    assert_eq!(arms.len(), 2);
    assert!(matches!(
        *otherwise[0].first.stages[0].command,
        Command::For { .. }
    ));
    assert!(matches!(
        one("while a; do b; done"),
        Command::While { wanted: true, .. }
    ));
    assert!(matches!(
        one("until a; do b; done"),
        Command::While { wanted: false, .. }
    ));
    assert!(matches!(one("{ a; b; } > f"), Command::Group(list) if list.len() == 2));
    assert!(matches!(one("(a; b)"), Command::Subshell(list) if list.len() == 2));
    assert!(matches!(
        one("for x; do a; done"),
        Command::For { words: None, .. }
    ));
    // Where no command begins they are ordinary words.
    assert_eq!(
        words("echo if then fi done }"),
        ["echo", "if", "then", "fi", "done", "}"]
    );
}

#[test]
fn dollars_stand_for_values() {
    let Command::Simple { words, .. } =
        one("echo $a${b}c \"$d\" ${e:-f g} $(h | i) $((1+2)) ${#j} $ 5$")
    else {
        panic!()
    };
    let value = |word: usize, part: usize| match &words[word].0[part] {
        Part::Value(value, quoting) => (value.clone(), *quoting),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        value(1, 0),
        (Value::Variable("a".into(), None), Quoting::Bare)
    );
    assert_eq!(
        value(1, 1),
        (Value::Variable("b".into(), None), Quoting::Bare)
    );
    assert_eq!(
        value(2, 1),
        (Value::Variable("d".into(), None), Quoting::Double)
    );
    let Value::Variable(name, Some(default)) = value(3, 0).0 else {
        panic!()
    };
    assert_eq!((name.as_str(), default.0.len()), ("e", 2));
    assert!(matches!(value(4, 0).0, Value::Output(list) if list[0].first.stages.len() == 2));
    assert_eq!(value(5, 0).0, Value::Number("1+2".into()));
    assert_eq!(value(6, 0).0, Value::Length("j".into()));
    assert_eq!(words[7].plain(), Some("$"));
    assert_eq!(words[8].plain(), Some("5$"));
    // Two subshells, not an expression.
    assert!(matches!(one("echo $( (a) )"), Command::Simple { .. }));
}

#[test]
fn what_is_not_finished_asks_for_more() {
    for text in [
        "echo 'a",
        "echo \"a",
        "echo \\",
        "a |",
        "a &&",
        "if a",
        "if a; then",
        "if a; then b",
        "for x in a",
        "for x in a; do b",
        "while a; do",
        "{ a;",
        "(a",
        "echo $(a",
        "echo ${a",
        "echo ${a:-b",
        "echo $((1",
        "a >",
        "!",
        "for",
    ] {
        assert!(incomplete(text), "{text}: {:?}", parse(text));
    }
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    assert_eq!(syntax("a\nfi"), "line 2: unexpected `fi`");
    assert_eq!(syntax("a | | b"), "line 1: unexpected `|`");
    assert_eq!(syntax("(a))"), "line 1: unexpected `)`");
    assert_eq!(
        syntax("for 1 in a; do b; done"),
        "line 1: `the name of a variable` was expected, not `1`"
    );
    assert_eq!(
        syntax("a > ; b"),
        "line 1: `where to redirect` was expected, not `;`"
    );
    assert_eq!(syntax("if a; b; fi"), "line 1: unexpected `fi`");
    assert_eq!(syntax("if ; then b; fi"), "line 1: unexpected `;`");
    assert_eq!(syntax("{ a; } b"), "line 1: unexpected `b`");
    assert!(syntax(&"(".repeat(10_000)).contains("nested too deeply"));
    assert!(incomplete(&"echo $(".repeat(10_000)));
}

#[test]
fn deep_nesting_is_refused_not_a_crash() {
    for depth in [10, 49, 60, 2000] {
        let text = format!("{}true{}", "$(echo ".repeat(depth), ")".repeat(depth));
        let _ = parse(&text);
        let text = format!("{}true{}", "( ".repeat(depth), " )".repeat(depth));
        assert_eq!(parse(&text).is_ok(), depth <= 50, "{depth}");
    }
}

proptest! {
    #[test]
    fn no_text_breaks_the_parser(text in "[a-c $(){}'\"\\\\;&|<>=!#*\n12:@?-]{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn words_of_shell_syntax_do_not_break_it(words in prop::collection::vec(
        prop::sample::select(vec!["if", "then", "else", "elif", "fi", "for", "in", "do", "done",
            "while", "{", "}", "(", ")", ";", "&", "&&", "|", "x", "$(", "\"", "'", ">", "\n", "!"]), 0..25)) {
        let _ = parse(&words.join(" "));
    }
}
