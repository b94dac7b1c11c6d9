//! `-c` and the prompt: commands, words, exit statuses, files and programs of
//! the host.

use dormouse_qemu_tests::{guest, run, scratch};
use runner::guests::Profile;
use runner::judge::NOTHING;
use runner::swap::Swap;
use runner::{Guest, Input, Verbosity, guests};
use std::fs;
use std::time::Duration;

#[test]
fn commands_see_the_hosts_files_and_give_their_status() {
    let share = scratch();
    fs::write(share.path().join("a"), "one\ntwo\n").unwrap();
    fs::write(share.path().join("b"), "one\ntwo!\n").unwrap();
    let echo = &guests::build(Profile::Quick, Verbosity::Normal)
        .unwrap()
        .programs["echo"];
    fs::copy(echo, share.path().join("mine")).unwrap();
    let commands = "cat /n/host/a; echo 'two  words' \"and ; this\"; /n/host/mine by path; cmp /n/host/a /n/host/b";
    let wanted = "one\ntwo\ntwo  words and ; this\nby path\n";
    let both = [false, true].map(|eager| {
        let guest = guest(share.path()).eager(eager).command(commands);
        let (console, status) = run(share.path(), &guest);
        assert!(console.starts_with(wanted), "{console}");
        assert_eq!(status, 1);
        console
    });
    assert_eq!(both[0], both[1]);
}

#[test]
fn commands_of_several_lines_are_a_script() {
    let share = scratch();
    let commands = "echo one\nfor x in 2 3\ndo echo $x=three\ndone\n";
    let (console, status) = run(share.path(), &guest(share.path()).command(commands));
    assert_eq!((console.as_str(), status), ("one\n2=three\n3=three\n", 0));
}

#[test]
fn the_least_memory_is_enough() {
    let share = scratch();
    let command = "echo enough; echo of it >/tmp/f; cat /tmp/f | sort | tail -n 1";
    let guest = guest(share.path()).mem("20M").command(command);
    for swap in [Swap::None, Swap::Size(64 << 20)] {
        let ran = run(share.path(), &guest.clone().swap(swap));
        assert_eq!(ran, ("enough\nof it\n".into(), 0));
    }
}

#[test]
fn the_status_is_that_of_the_last_command() {
    let share = scratch();
    let boot = |command: &str| run(share.path(), &guest(share.path()).command(command));
    let (console, status) = boot("cat /n/host/nothing; echo fine");
    assert!(console.contains("nothing"), "{console}");
    assert_eq!(status, 0);
    let (console, status) = boot("echo fine; no-such-program");
    assert!(console.contains("no-such-program"), "{console}");
    assert_ne!(status, 0);
}

#[test]
fn a_prompt_reads_a_pipe_to_its_end() {
    let share = scratch();
    let input = Input::Text(b"echo first\ncat\ntyped to cat\n".to_vec());
    let (console, status) = run(share.path(), &guest(share.path()).input(input));
    // Type-ahead is echoed when it is read.
    let wanted = "% echo first\nfirst\ndormouse% cat\ntyped to cat\ntyped to cat\ndormouse% ";
    assert!(console.contains(wanted), "{console}");
    assert_eq!(status, 0);
}

#[test]
fn lines_from_a_pipe_are_in_the_history() {
    let share = scratch();
    let input =
        Input::Text(b"echo one\nif true\nthen echo two; fi\nhistory | tail -n 3\n".to_vec());
    let (console, status) = run(share.path(), &guest(share.path()).input(input));
    let wanted = "    1  echo one\n    2  if true then echo two; fi\ndormouse% ";
    assert!(console.contains(wanted), "{console}");
    assert_eq!(status, 0);
}

/// Bytes that a terminal's line would edit, end or drop, lines of any length,
/// and more of them than the console keeps.
#[test]
fn input_from_a_pipe_reaches_a_program_as_it_is() {
    let share = scratch();
    let mut bytes: Vec<u8> = (0..=255).chain(0..=255).collect();
    bytes.extend(b"\r\n\x10\x10\x04\x10\x08\x7f\x15\x17\x03\x01x\x1b\n");
    bytes.extend([b'l'; 100_000]);
    bytes.extend(b"\nno line's end\x10");
    let input = Input::Text(bytes.clone());
    let guest = guest(share.path()).input(input);
    let (console, status) = run(share.path(), &guest.command("cat > /n/host/got; cat"));
    assert_eq!(status, 0);
    assert_eq!(console, "", "an echo");
    let got = fs::read(share.path().join("got")).unwrap();
    assert!(got == bytes, "{} bytes of {}", got.len(), bytes.len());
}

#[test]
fn a_prompt_takes_long_lines_from_a_pipe() {
    let share = scratch();
    let input = Input::Text(format!("echo {} | wc -c\n", "w".repeat(20_000)).into());
    let (console, status) = run(share.path(), &guest(share.path()).input(input));
    assert!(console.contains("\n20001\n"), "{}", console.len());
    assert_eq!(status, 0);
}

#[test]
fn a_guest_without_a_shared_directory_says_so_and_goes_on() {
    let guest = Guest::new().mem("256M").command("echo still here");
    let outcome = guest.timeout(Duration::from_secs(60)).run().unwrap();
    assert!(outcome.console.contains("/n/host"), "{}", outcome.console);
    assert!(
        outcome.console.contains("still here\n"),
        "{}",
        outcome.console
    );
    assert_eq!(outcome.status().unwrap(), 0);
}

/// Each way of leaving something is seen, so that other tests may rely on it.
#[test]
fn what_programs_leave_is_seen() {
    let share = scratch();
    fs::write(share.path().join("file"), "content").unwrap();
    for (command, seen) in [
        ("true", NOTHING),
        ("sleep 99 &", "processes: "),
        ("sleep 99 < /n/host/file &", "fids: "),
        ("sleep 99 < /n/host/file &", "files in use at servers: "),
        ("sleep 99 | sleep 98 &", "channels: "),
        ("mount /mnt ramfs", "processes: "),
    ] {
        let outcome = guest(share.path()).command(command).run().unwrap();
        assert_eq!(outcome.status().unwrap(), 0, "{}", outcome.console);
        let left = outcome.report().left.unwrap_or_default();
        assert!(left.contains(seen), "{command}: {left}");
        let told = outcome.report().problems(outcome.exit_code).join("; ");
        assert_eq!(told.contains("programs left"), seen != NOTHING, "{told}");
    }
}
