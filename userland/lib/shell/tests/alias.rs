//! Aliases, and the options of scripts.

use dormouse_shell::getopts::{Place, Step, next};
use dormouse_shell::tree::{Command, List};
use dormouse_shell::{Aliases, Script, Wrong, parse};
use proptest::prelude::*;

fn aliases(pairs: &[(&str, &str)]) -> Aliases {
    let pairs = pairs.iter();
    pairs.map(|(a, b)| (a.to_string(), b.to_string())).collect()
}

/// The plain words of all simple commands.
fn words(list: &List) -> Vec<Vec<String>> {
    let stages = list.iter().flat_map(|item| {
        let pipelines = item.rest.iter().map(|(_, pipeline)| pipeline);
        [&item.first].into_iter().chain(pipelines)
    });
    let stages = stages.flat_map(|pipeline| &pipeline.stages);
    let commands = stages.map(|stage| match &*stage.command {
        Command::Simple { words, .. } => {
            let plain = words.iter().map(|word| word.plain().unwrap_or("?"));
            plain.map(String::from).collect()
        }
        Command::Group(list) | Command::Subshell(list) => words(list).concat(),
        _ => Vec::from(["...".to_string()]),
    });
    commands.collect()
}

fn expanded(pairs: &[(&str, &str)], text: &str) -> Vec<String> {
    let list = parse(text, &aliases(pairs)).unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
    words(&list).iter().map(|words| words.join(" ")).collect()
}

#[test]
fn an_alias_counts_where_a_command_begins() {
    let pairs = [("l", "ls -l"), ("e", "echo"), ("two", "a; b"), ("no", "")];
    for (text, commands) in [
        ("l x", &["ls -l x"][..]),
        ("e l; l | l && l", &["echo l", "ls -l", "ls -l", "ls -l"]),
        ("'l' x; \\l; \"l\"", &["? x", "?", "?"]),
        ("x=1 l", &["ls -l"]),
        (">f l", &["ls -l"]),
        ("two c", &["a", "b c"]),
        ("! l", &["ls -l"]),
        ("{ l; }; (l)", &["ls -l", "ls -l"]),
        ("no", &[]),
        ("no l", &["ls -l"]),
        ("no\nl", &["ls -l"]),
        ("l&", &["ls -l"]),
    ] {
        assert_eq!(expanded(&pairs, text), commands, "{text}");
    }
}

#[test]
fn an_alias_in_its_own_text_stands_for_itself() {
    let pairs = [
        ("a", "b x"),
        ("b", "a y"),
        ("ls", "ls -F"),
        ("again", "again; again"),
    ];
    assert_eq!(expanded(&pairs, "a z"), ["a y x z"]);
    assert_eq!(expanded(&pairs, "ls; ls"), ["ls -F", "ls -F"]);
    assert_eq!(expanded(&pairs, "again"), ["again", "again"]);
}

#[test]
fn a_blank_at_the_end_lets_the_next_word_be_an_alias() {
    let pairs = [
        ("sudo", "run as "),
        ("l", "ls"),
        ("in", "sudo "),
        ("x", "y"),
    ];
    assert_eq!(expanded(&pairs, "sudo l l"), ["run as ls l"]);
    assert_eq!(expanded(&pairs, "in l l"), ["run as ls l"]);
    assert_eq!(expanded(&pairs, "x l"), ["y l"]);
    assert_eq!(expanded(&pairs, "sudo; x l"), ["run as", "y l"]);
}

#[test]
fn words_of_the_grammar_keep_their_meaning_and_can_come_from_an_alias() {
    let pairs = [
        ("if", "echo"),
        ("then", "no"),
        ("begin", "{"),
        ("end", "}"),
        ("when", "if"),
    ];
    assert_eq!(expanded(&pairs, "if a; then b; fi"), ["..."]);
    assert_eq!(expanded(&pairs, "when a; then b; fi"), ["..."]);
    assert_eq!(expanded(&pairs, "begin a; end"), ["a"]);
    let text = "echo $(l) `l`; cat <<E\n$(l)\nE\n";
    let list = format!("{:?}", parse(text, &aliases(&[("l", "ls -l")])).unwrap());
    assert_eq!(list.matches("Plain(\"ls\")").count(), 3, "{list}");
}

#[test]
fn a_script_sees_the_aliases_of_its_earlier_lines() {
    let mut script = Script::new("l; l\nl\nl");
    let mut seen = aliases(&[("l", "a\nb")]);
    let line = script.next_line(&seen).unwrap().unwrap();
    assert_eq!(words(&line), [["a"]]);
    let line = script.next_line(&seen).unwrap().unwrap();
    assert_eq!(words(&line), [["b"], ["a"]]);
    seen.clear();
    let line = script.next_line(&seen).unwrap().unwrap();
    assert_eq!(words(&line), [["b"]]);
    for _ in 0..2 {
        let line = script.next_line(&seen).unwrap().unwrap();
        assert_eq!(words(&line), [["l"]]);
    }
    assert!(script.next_line(&seen).is_none());
}

#[test]
fn aliases_that_double_end_with_an_error() {
    let names: Vec<String> = (0..64).map(|n| format!("a{n}")).collect();
    let pairs: Vec<(String, String)> = names
        .windows(2)
        .map(|pair| (pair[0].clone(), format!("{0} ; {0} ", pair[1])))
        .collect();
    let aliases: Aliases = pairs.into_iter().collect();
    let wrong = parse("a0", &aliases).unwrap_err();
    assert!(
        matches!(&wrong, Wrong::Syntax(text) if text.contains("too long")),
        "{wrong}"
    );
}

#[test]
fn a_background_item_knows_its_text() {
    let list = parse("sleep 5 &\na | b && c\\ d & e; (x\ny)&", &Aliases::new()).unwrap();
    let texts: Vec<&str> = list.iter().map(|item| &*item.text).collect();
    assert_eq!(texts, ["sleep 5", "a | b && c\\ d", "", "(x y)"]);
}

proptest! {
    #[test]
    fn any_aliases_end(texts in proptest::collection::vec("[abc ;|&(){}$`\"'<>\n]{0,12}", 3), text in "[abc ;|&(){}$`\n]{0,40}") {
        let pairs = ["a", "b", "c"].iter().zip(&texts);
        let aliases = pairs.map(|(name, text)| (name.to_string(), text.clone())).collect();
        let _ = parse(&text, &aliases);
        let mut script = Script::new(&text);
        while script.next_line(&aliases).is_some() {}
    }
}

/// The steps through arguments up to the end, and the place there.
fn steps(letters: &str, arguments: &[&str]) -> (Vec<Step>, usize) {
    let mut place = Place::at(1);
    let mut steps = Vec::new();
    loop {
        match next(letters, arguments, &mut place) {
            Step::End => return (steps, place.index),
            step => steps.push(step),
        }
        assert!(steps.len() < 100);
    }
}

#[test]
fn options_are_taken_in_turn() {
    let yes = |letter| Step::Option(letter, None);
    let with = |letter, value: &str| Step::Option(letter, Some(value.into()));
    for (arguments, wanted, index) in [
        (&[][..], Vec::new(), 1),
        (&["x", "-a"], Vec::new(), 1),
        (&["-"], Vec::new(), 1),
        (&["-a", "--", "-b"], Vec::from([yes('a')]), 3),
        (&["-ab", "x"], Vec::from([yes('a'), yes('b')]), 2),
        (&["-avx", "y"], Vec::from([yes('a'), with('v', "x")]), 2),
        (
            &["-v", "-a", "-a"],
            Vec::from([with('v', "-a"), yes('a')]),
            4,
        ),
        (&["-v"], Vec::from([Step::NoValue('v')]), 2),
        (&["-v", ""], Vec::from([with('v', "")]), 3),
        (&["-xa"], Vec::from([Step::Unknown('x'), yes('a')]), 2),
        (&["-:a"], Vec::from([Step::Unknown(':'), yes('a')]), 2),
    ] {
        assert_eq!(steps("abv:", arguments), (wanted, index), "{arguments:?}");
    }
}

proptest! {
    #[test]
    fn any_options_end(letters in "[ab:]{0,5}", arguments in proptest::collection::vec("[-ab:ä]{0,4}", 0..5), at in 0usize..9) {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        steps(&letters, &arguments);
        let mut place = Place::at(at);
        // The arguments may change between two steps.
        for count in (0..arguments.len()).rev() {
            next(&letters, &arguments[..count], &mut place);
        }
    }
}
