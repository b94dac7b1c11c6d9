//! The syntax that is accepted, and the messages for syntax that is refused.

use dormouse_shell::tree::{
    Command, Direction, Item, Junction, List, Operator, Part, Quoting, Redirection, Target, Value,
    Word,
};
use dormouse_shell::{Aliases, Script, Wrong};
use proptest::prelude::*;

fn parse(text: &str) -> Result<List, Wrong> {
    dormouse_shell::parse(text, &Aliases::new())
}

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
    words.iter().map(word).collect()
}

/// A word, plain and quoted parts joined.
fn word(word: &Word) -> String {
    let text = |part: &Part| match part {
        Part::Plain(text) | Part::Quoted(text) => text.clone(),
        Part::Value(value, quoting) => format!("<{value:?} {quoting:?}>"),
        Part::Home => "<home>".into(),
    };
    word.0.iter().map(text).collect()
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
fn escapes_stand_for_bytes() {
    assert_eq!(
        words(r#"echo $'a\n\t\x41\101\'\\' a$'\e'b "$'a'" 'a'$'b'"#),
        ["echo", "a\n\tAA'\\", "a\x1bb", "$'a'", "ab"]
    );
    let bytes = |text: &str| bytestr::text::to_bytes(&words(text)[0]).into_owned();
    assert_eq!(bytes(r"$'\xff\xc3\xa9\377'"), b"\xff\xc3\xa9\xff");
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
        .map(|r| match &r.target {
            Target::Word(word) => (r.fd, r.direction, word.plain().unwrap()),
            Target::Document(_) => panic!("{r:?}"),
        })
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
    let Value::Variable(name, Some(change)) = value(3, 0).0 else {
        panic!()
    };
    assert_eq!((name.as_str(), change.word.plain()), ("e", Some("f g")));
    assert_eq!(
        (change.operator, change.empty_too),
        (Operator::Default, true)
    );
    assert!(matches!(value(4, 0).0, Value::Output(list) if list[0].first.stages.len() == 2));
    let sum = Word(vec![Part::Quoted("1+2".into())]);
    assert_eq!(value(5, 0).0, Value::Number(sum));
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
        "line 1: the name of a variable was expected, not `1`"
    );
    assert_eq!(
        syntax("a > ; b"),
        "line 1: where to redirect was expected, not `;`"
    );
    assert_eq!(syntax("if a; b; fi"), "line 1: unexpected `fi`");
    assert_eq!(syntax("if ; then b; fi"), "line 1: unexpected `;`");
    assert_eq!(syntax("{ a; } b"), "line 1: unexpected `b`");
    assert!(syntax(&"( ".repeat(10_000)).contains("nested too deeply"));
    assert!(syntax(&"echo $(".repeat(10_000)).contains("nested too deeply"));
}

#[test]
fn deep_nesting_is_refused_not_a_crash() {
    for depth in [10, 49, 60, 2000] {
        for (open, close) in [
            ("( ", " )"),
            ("$(echo ", ")"),
            ("echo ${a:-", "}"),
            ("echo \"${a%", "}\""),
            ("echo $((1 + ", "))"),
            ("f() { ", "; }"),
            ("case a in a) ", ";; esac"),
            ("if ", "; then b; fi"),
        ] {
            let text = format!("{}true{}", open.repeat(depth), close.repeat(depth));
            assert_eq!(parse(&text).is_ok(), depth <= 50, "{depth} {open}");
        }
        // A level more for each backslash before a backquote.
        let text = format!("{}true{}", "`echo ".repeat(depth), "`".repeat(depth));
        let _ = parse(&text);
    }
}

#[test]
fn functions_and_cases_are_commands() {
    let Command::Function { name, body } = one("f() { a; b; } > out") else {
        panic!()
    };
    assert_eq!((name.as_str(), body.redirections.len()), ("f", 1));
    assert!(matches!(&*body.command, Command::Group(list) if list.len() == 2));
    assert!(matches!(one("g ( )\n\n( a )"), Command::Function { .. }));
    let Command::Case { arms, .. } = one("case $x in (a|b) c;; *) ;; d) e; esac") else {
        panic!()
    };
    let counts: Vec<_> = arms.iter().map(|(p, list)| (p.len(), list.len())).collect();
    assert_eq!(counts, [(2, 1), (1, 0), (1, 1)]);
    // A `)` in a pattern does not end the list around it.
    assert!(matches!(
        one("echo $(case a in a) b;; esac)"),
        Command::Simple { words, .. } if words.len() == 2
    ));
}

/// The texts of the here-documents of the first command.
fn documents(text: &str) -> Vec<Word> {
    let list = parse(text).unwrap();
    let redirections = &list[0].first.stages[0].redirections;
    let document = |r: &Redirection| match &r.target {
        Target::Document(document) => document.get().unwrap().clone(),
        Target::Word(word) => panic!("{word:?}"),
    };
    redirections.iter().map(document).collect()
}

#[test]
fn here_documents_follow_their_line() {
    let text = "cat <<A 3<<-'B' | wc\n1\nA \nA\n\t$2\n\tB\necho";
    let documents = documents(text);
    let texts: Vec<String> = documents.iter().map(word).collect();
    assert_eq!(texts, ["1\nA \n", "$2\n"]);
    assert_eq!(parse(text).unwrap().len(), 2);
    let Word(parts) = &self::documents("cat <<A\n$x \\$y \\\nz \"'\nA")[0];
    assert!(
        matches!(&parts[1], Part::Value(Value::Variable(name, None), Quoting::Double) if name == "x")
    );
    assert_eq!(parts[2], Part::Quoted(" $y z \"'\n".into()));
    assert!(incomplete("cat <<A"));
    assert!(incomplete("cat <<A\na"));
    assert!(
        matches!(parse("cat <<A; echo $(cat <<B\nb\nB\n)\na\nA\nc"), Ok(list) if list.len() == 3)
    );
}

#[test]
fn a_script_is_understood_line_by_line() {
    let none = Aliases::new();
    let mut script = Script::new("a; b\n\n# c\nif d\nthen e; fi; f\n)\ng");
    assert_eq!(script.next_line(&none).unwrap().unwrap().len(), 2);
    assert_eq!(script.next_line(&none).unwrap().unwrap().len(), 2);
    let wrong = script.next_line(&none).unwrap().unwrap_err();
    assert_eq!(wrong.to_string(), "line 6: unexpected `)`");
    assert_eq!(script.next_line(&none), None);
    assert_eq!(Script::new(" \n# nothing").next_line(&none), None);
    let mut script = Script::new("a\nif b\n");
    assert_eq!(script.next_line(&none).unwrap().unwrap().len(), 1);
    let wrong = script.next_line(&none).unwrap().unwrap_err();
    assert_eq!(wrong.to_string(), "line 3: the end comes before `then`");
    assert_eq!(script.next_line(&none), None);
}

#[test]
fn other_shells_words_are_refused_by_name() {
    for (text, name) in [
        ("a\n[[ a ]]", "line 2: not supported: [["),
        ("((i++))", "line 1: not supported: (("),
        ("function f { a; }", "not supported: function"),
        ("select x in a; do b; done", "not supported: select"),
        ("a &> b", "not supported: &>"),
        ("a |& b", "not supported: |&"),
        ("a <<< b", "not supported: <<<"),
        ("a <(b)", "not supported: <("),
        ("a $\"b\"", "not supported: $\"...\""),
        ("a $'\\u00e9'", "not supported: \\u in $'...'"),
        ("a ${b/c/d}", "not supported: ${b/...}"),
        ("a ${b:1}", "not supported: ${b:1...}"),
        ("a ${!b}", "not supported: ${!...}"),
        ("case a in a) b;& esac", "not supported: ;&"),
    ] {
        assert!(syntax(text).contains(name), "{text}: {}", syntax(text));
    }
}

proptest! {
    #[test]
    fn no_text_breaks_the_parser(text in "[a-c $(){}'\"\\\\;&|<>=!#*\n12:@?`%~-]{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn words_of_shell_syntax_do_not_break_it(words in prop::collection::vec(
        prop::sample::select(vec!["if", "then", "else", "elif", "fi", "for", "in", "do", "done",
            "while", "case", "esac", ";;", "<<x", "x\n", "f()", "`", "$((", "${x%", "{", "}", "(", ")", ";", "&", "&&", "|", "x", "$(", "\"", "'", ">", "\n", "!"]), 0..25)) {
        let _ = parse(&words.join(" "));
    }
}
