//! `-c` and the prompt: commands, words, exit statuses, files and programs of
//! the host.

use dormouse_qemu_tests::scratch;
use runner::{Guest, Input, Outcome, Verbosity, guests};
use std::fs;
use std::time::Duration;

fn boot(guest: Guest) -> Outcome {
    guest
        .mem("256M")
        .timeout(Duration::from_secs(60))
        .run()
        .unwrap()
}

#[track_caller]
fn status(outcome: &Outcome) -> u8 {
    outcome
        .status()
        .unwrap_or_else(|failure| panic!("{failure}\n{}", outcome.console))
}

#[test]
fn commands_see_the_hosts_files_and_give_their_status() {
    let share = scratch();
    fs::write(share.path().join("a"), "one\ntwo\n").unwrap();
    fs::write(share.path().join("b"), "one\ntwo!\n").unwrap();
    let echo = &guests::build(Verbosity::Normal).unwrap().programs["echo"];
    fs::copy(echo, share.path().join("mine")).unwrap();
    let commands = "cat /n/host/a; echo 'two  words' \"and ; this\"; /n/host/mine by path; cmp /n/host/a /n/host/b";
    let outcome = boot(Guest::new().share(share.path()).command(commands));
    let wanted = "one\ntwo\ntwo  words and ; this\nby path\n";
    assert!(outcome.console.starts_with(wanted), "{}", outcome.console);
    assert_eq!(status(&outcome), 1);
}

#[test]
fn the_status_is_that_of_the_last_command() {
    let share = scratch();
    let outcome = boot(
        Guest::new()
            .share(share.path())
            .command("cat /n/host/nothing; echo fine"),
    );
    assert!(outcome.console.contains("nothing"), "{}", outcome.console);
    assert_eq!(status(&outcome), 0);
    let outcome = boot(
        Guest::new()
            .share(share.path())
            .command("echo fine; no-such-program"),
    );
    assert!(
        outcome.console.contains("no-such-program"),
        "{}",
        outcome.console
    );
    assert_ne!(status(&outcome), 0);
}

#[test]
fn a_prompt_reads_a_pipe_to_its_end() {
    let share = scratch();
    let input = Input::Text(b"echo first\ncat\ntyped to cat\n".to_vec());
    let outcome = boot(Guest::new().share(share.path()).input(input));
    // What is typed ahead is echoed where it is read.
    let wanted = "% echo first\nfirst\ndormouse% cat\ntyped to cat\ntyped to cat\ndormouse% ";
    assert!(outcome.console.contains(wanted), "{}", outcome.console);
    assert_eq!(status(&outcome), 0);
}

#[test]
fn a_guest_without_a_shared_directory_says_so_and_goes_on() {
    let outcome = boot(Guest::new().command("echo still here"));
    assert!(outcome.console.contains("/n/host"), "{}", outcome.console);
    assert!(
        outcome.console.contains("still here\n"),
        "{}",
        outcome.console
    );
    assert_eq!(status(&outcome), 0);
}
