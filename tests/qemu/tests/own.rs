//! Users' own programs: built as docs/first-program.md says, run from the
//! shared directory, and judged by `cargo run -- test`.

use dormouse_qemu_tests::scratch;
use runner::failure::status;
use runner::guests::Profile;
use runner::{Guest, Outcome, Verbosity, checkout, guests, own, setup};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

fn guest(share: &Path) -> Guest {
    Guest::new()
        .mem("256M")
        .share(share)
        .timeout(Duration::from_secs(60))
}

fn boot(share: &Path, command: &str) -> Outcome {
    guest(share).command(command).run().unwrap()
}

/// Runs the commands of the first block of a page that contains `part`, in the
/// workspace, with `home` for `~`.
fn follow_the_page(page: &str, part: &str, home: &Path) {
    let page = checkout::workspace().unwrap().join("docs").join(page);
    let page = fs::read_to_string(page).unwrap();
    let blocks = page.split("```sh\n").skip(1);
    let mut blocks = blocks.map(|rest| rest.split("```").next().unwrap_or(rest));
    let block = blocks.find(|block| block.contains(part)).unwrap();
    // The test boots the guest itself.
    let lines = block.lines().filter(|line| !line.starts_with("cargo run"));
    let output = Command::new("sh")
        .args(["-ec", &lines.collect::<Vec<_>>().join("\n")])
        .current_dir(checkout::workspace().unwrap())
        .env("HOME", home)
        // HOME is where cargo and rustup look for themselves otherwise.
        .env("CARGO_HOME", folder("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", folder("RUSTUP_HOME", ".rustup"))
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{block}: {said}");
}

fn folder(variable: &str, usual: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(usual),
        PathBuf::from,
    )
}

#[test]
fn the_first_programs_of_the_page_run() {
    setup::provide_target(Verbosity::Normal).unwrap();
    let home = scratch();
    let page = "first-program.md";
    follow_the_page(page, "cp -r userland/apps/template ~/hello\n", home.path());
    follow_the_page(page, "gcc ", home.path());
    let built = "hello/target/x86_64-unknown-none/release/hello";
    let share = home.path();
    let outcome = boot(
        share,
        &format!("/n/host/{built} 'you in Rust'; /n/host/hello/hello 'you in C'"),
    );
    let wanted = "hello, you in Rust\nhello, you in C\n";
    assert_eq!(outcome.console, wanted);
    assert_eq!(outcome.status().unwrap(), 0);
}

#[test]
fn the_first_server_of_the_page_serves() {
    setup::provide_target(Verbosity::Normal).unwrap();
    let home = scratch();
    follow_the_page("first-server.md", "~/serve", home.path());
    let built = home.path().join("serve/target/x86_64-unknown-none/release");
    let command = "mount /mnt /n/host/serve; cd /mnt; ls -l | wc -l; ls; cat hello hello | wc; \
        cat none; cat hello/x; ls hello; echo x > hello; echo x > new; rm hello; head -c 5 hello; echo; \
        cat < hello | tail -c 7; cp hello /tmp/copy; cmp hello /tmp/copy; echo $?; \
        mkdir /tmp/d; mount /tmp/d snapfs /n/host/serve; cat /tmp/d/hello; unmount /tmp/d; cd /; unmount /mnt; \
        ps | grep -c serve";
    let outcome = boot(&built, command);
    let wanted = "1\nhello\n      2      10      50\n\
        cat: none: file does not exist\ncat: hello/x: not a directory\nhello\n\
        sh: hello: operation not supported\nsh: new: operation not supported\nrm: hello: operation not supported\nhello\n\
        server\n0\nhello from a file server\n0\n";
    assert_eq!(outcome.console, wanted);
}

#[test]
fn own_tests_pass_by_status_0_only() {
    let programs = &guests::build(Profile::Quick, Verbosity::Normal)
        .unwrap()
        .programs;
    let good = programs["true"].clone();
    let bad = programs["false"].clone();
    let share = scratch();
    let run = |programs: &[PathBuf]| own::run(guest(share.path()), programs);
    assert_eq!(run(std::slice::from_ref(&good)).unwrap(), 0);
    assert_eq!(run(&[bad, good]).unwrap(), 1);
}

/// The example of docs/contract.md, and two that cannot pass.
#[test]
fn a_sceptics_programs_are_replayed() {
    let page = fs::read_to_string(checkout::workspace().unwrap().join("docs/contract.md")).unwrap();
    let example = page.split("```\n").nth(1);
    let share = scratch();
    let text = |name: &str, text: &str| {
        let path = share.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let replay = |texts: &[PathBuf], eager: bool| {
        own::replay(guest(share.path()).eager(eager), texts).unwrap()
    };
    let good = text("good", example.unwrap());
    for eager in [false, true] {
        assert_eq!(replay(std::slice::from_ref(&good), eager), 0);
    }
    let unknown = text("unknown", "files 9\nreed 0 0 9 file0 0\n");
    let outside = text("outside", "files 9\nload 0 24570 7\n");
    assert_eq!(replay(&[good.clone(), unknown], false), 1);
    assert_eq!(replay(&[outside], false), 1);
}

#[test]
fn an_own_test_that_is_no_program_is_named() {
    let share = scratch();
    let file = share.path().join("text");
    fs::write(&file, "no program").unwrap();
    let failure = own::run(guest(share.path()), &[file]).unwrap_err();
    assert_eq!(failure.status, status::SETUP);
    assert!(failure.text.contains("/text"), "{failure}");
}
