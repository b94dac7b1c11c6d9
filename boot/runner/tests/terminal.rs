//! A user at a terminal: the runner behind a pseudo terminal gets keys, and its
//! output is read.

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Long enough to build the guest and boot it on a slow machine.
const PATIENCE: Duration = Duration::from_secs(150);

struct Person {
    terminal: File,
    shown: Receiver<Vec<u8>>,
    /// Output that was not searched yet.
    text: String,
    /// All that was shown.
    all: String,
    runner: Child,
}

impl Person {
    /// Starts the runner on a terminal of 24 rows and 80 columns.
    fn sit_down(args: &[&str]) -> Person {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).unwrap();
        let slave = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let runner = Command::new(std::env::var_os("CARGO_BIN_EXE_dormouse").unwrap())
            .args(args)
            .stdin(slave.try_clone().unwrap())
            .stdout(slave)
            .spawn()
            .unwrap();
        let terminal = File::from(master);
        let mut screen = terminal.try_clone().unwrap();
        let (sender, shown) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = screen.read(&mut bytes) {
                if sender.send(bytes[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Person {
            terminal,
            shown,
            text: String::new(),
            all: String::new(),
            runner,
        }
    }

    /// Waits for `wanted` in the output; discards the output up to it.
    #[track_caller]
    fn sees(&mut self, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.text.find(wanted) {
                self.text.drain(..at + wanted.len());
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(bytes) => {
                    let text = String::from_utf8_lossy(&bytes);
                    self.text.push_str(&text);
                    self.all.push_str(&text);
                }
                Err(_) => panic!("{wanted:?} is not shown; shown was:\n{}", self.all),
            }
        }
    }

    fn types(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }

    /// Types a line and waits for its output.
    #[track_caller]
    fn does(&mut self, keys: &str, wanted: &str) {
        self.types(keys);
        self.sees(wanted);
        self.sees(PROMPT);
    }

    /// Types a line, and Ctrl-C once it has been echoed and its command runs.
    #[track_caller]
    fn interrupts(&mut self, keys: &str, echo: &str, wanted: &str) {
        self.types(keys);
        self.sees(echo);
        thread::sleep(Duration::from_millis(300));
        self.does(CTRL_C, wanted);
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.runner.kill();
        let _ = self.runner.wait();
    }
}

const PROMPT: &str = "dormouse% ";
const LEFT: &str = "\x1b[D";
const UP: &str = "\x1b[A";
const CTRL_C: &str = "\x03";

#[test]
fn a_person_at_a_terminal_edits_interrupts_and_stops() {
    let share = tempfile::tempdir().unwrap();
    let share = share.path().to_str().unwrap();
    let mut person = Person::sit_down(&["--share", share, "--timeout", "140"]);
    person.sees(PROMPT);
    // Editing and history. Output begins on a new line; the echo does not.
    person.does(&format!("echo helo{LEFT}l\r"), "\nhello\r\n");
    person.does(&format!("{UP}\x17x\r"), "\nx\r\n");
    person.does("ehco\x15echo again\r", "\nagain\r\n");
    // Ctrl-C ends a line, a program, a pipeline and a loop of the shell.
    person.does(&format!("never{CTRL_C}"), "^C\r\n");
    person.interrupts("sleep 1000\r", "sleep 1000\r\n", "^C\r\n");
    person.does("echo $status\r", "\n130\r\n");
    person.interrupts("cat /dev/zero | wc\r", "wc\r\n", "^C\r\n");
    person.interrupts("while :; do :; done\r", "done\r\n", "^C\r\n");
    // Not the background.
    person.does("sleep 1000 &\r", "\n[");
    person.interrupts("sleep 1000\r", "sleep 1000\r\n", "^C\r\n");
    person.does("ps | grep -c 'sleep$'\r", "\n1\r\n");
    // Until it is brought to the foreground.
    person.does("jobs; bg\r", "\n[1] sleep 1000\r\n");
    person.interrupts("fg\r", "\nsleep 1000\r\n", "^C\r\n");
    person.does("echo $status; jobs\r", "\n130\r\n");
    // As a whole.
    person.does("sleep 1000 | cat | cat &\r", "\n[");
    person.interrupts("fg\r", "\nsleep 1000 | cat | cat\r\n", "^C\r\n");
    person.does(
        "echo $status; ps | grep -cE 'sleep$|cat$'\r",
        "\n130\r\n0\r\n",
    );
    person.does(
        "sleep 0.2 & wait\r",
        "[1] + Done                       sleep 0.2\r\n",
    );
    // A trap takes the place of the shell's own answer.
    person.does("trap 'echo trapped' INT\r", "");
    person.interrupts("sleep 1000\r", "sleep 1000\r\n", "^C\r\ntrapped\r\n");
    person.does("trap - INT\r", "");
    // Tab completes names, also those that are no text.
    person.does("mkdir /tmp/d; echo it > $'/tmp/d/a \\xff\\xfeb'\r", "");
    person.does("cat /tmp/d/a\t\r", "\nit\r\n");
    person.does("ec\tcompleted\r", "\ncompleted\r\n");
    person.types("cat /bin/s\t");
    person.sees("\nseq ");
    person.does(CTRL_C, "^C\r\n");
    // A program gets lines, also those typed ahead, and Ctrl-D ends it.
    person.types("cat\rahead\r");
    person.sees("\nahead\r\n");
    person.sees("ahead\r\n");
    person.types("wrnog\x15right\r");
    person.sees("\nright\r\n");
    person.does("\x04", "");
    // A command over several lines.
    person.types("for x in 1 2; do\r");
    person.sees("> ");
    person.does("echo n$x; done\r", "\nn1\r\nn2\r\n");
    person.types("halt 7\r");
    assert_eq!(
        person.runner.wait().unwrap().code(),
        Some(7),
        "{}",
        person.all
    );
}

/// Nothing of a text that is pasted is lost, whoever reads it, and however much faster it
/// comes.
#[test]
fn a_long_paste_arrives_whole() {
    let share = tempfile::tempdir().unwrap();
    let at = |name: &str| std::fs::read_to_string(share.path().join(name)).unwrap();
    let path = share.path().to_str().unwrap();
    let mut person = Person::sit_down(&["--share", path, "--timeout", "140"]);
    person.sees(PROMPT);
    person.types("cd /n/host; cat > got; wc -c got\r");
    person.sees("wc -c got\r\n");
    let line = |n: u32| format!("{n:05} grüße {}\n", "x".repeat(n as usize % 90));
    let text: String = (0..2000).map(line).collect();
    let typed = Instant::now();
    person.types(&text);
    person.does("\x04", &format!("{} got\r\n", text.len()));
    let took = typed.elapsed();
    assert!(at("got") == text);
    println!("{} bytes in {took:?}", text.len());
    // The shell, which reads keys, and runs programs in between.
    let line = |n: u32| format!("echo {n} >> lines; /bin/true\r");
    person.types(&(0..300).map(line).collect::<String>());
    person.does("wc -l lines\r", "\n300 lines\r\n");
    let lines: String = (0..300).map(|n| format!("{n}\n")).collect();
    assert_eq!(at("lines"), lines);
}

#[test]
fn a_pager_shows_a_file_a_screen_at_a_time() {
    let share = tempfile::tempdir().unwrap();
    let text: String = (1..=100)
        .map(|n| format!("row {n}.\u{7}\t{}\n", "x".repeat(n)))
        .collect();
    std::fs::write(share.path().join("file"), text).unwrap();
    let path = share.path().to_str().unwrap();
    let mut person = Person::sit_down(&["--share", path, "--timeout", "140"]);
    person.sees(PROMPT);
    person.types("less /n/host/file\r");
    person.sees("row 1.\u{fffd}");
    person.sees("row 23.");
    person.sees("/n/host/file");
    for (keys, first) in [
        (" ", "row 24."),
        ("b", "row 1."),
        ("j", "row 2."),
        ("\x1b[B", "row 3."),
        ("k", "row 2."),
        ("G", "row 78."),
        ("\x1b[5~", "row 55."),
        ("  ", "row 78."),
        ("g", "row 1."),
        ("/row 5[0-9]\r", "row 50."),
        ("n", "row 51."),
        ("\x1b[H", "row 1."),
    ] {
        person.types(keys);
        // The top of the screen.
        person.sees(&format!("\x1b[H{first}"));
    }
    person.types("/nothing such\r");
    person.sees("not found");
    person.does("q", "");
    person.types("seq 50 | less\r");
    person.sees("\x1b[H1\x1b[K");
    person.types("G");
    person.sees("\x1b[H28\x1b[K");
    person.does("q", "");
    // Ctrl-C gives lines back to the shell.
    person.types("less /n/host/file\r");
    person.sees("row 23.");
    person.does(CTRL_C, "");
    person.does("less 2>&1\r", "there is no file to show");
    person.does("echo and on\r", "\nand on\r\n");
}

#[test]
fn the_shell_follows_the_size_of_the_window() {
    let share = tempfile::tempdir().unwrap();
    let share = share.path().to_str().unwrap();
    let mut person = Person::sit_down(&["--share", share, "--timeout", "140"]);
    let ask = "\x1b[6n";
    person.sees(ask);
    // Keys before and after the answer are not mixed with it.
    person.types("cat \x1b[10;40R/dev/consctl\r");
    person.sees(PROMPT);
    person.sees("\nterminal 10x40\r\n");
    person.sees(ask);
    person.types("\x1b[10;30R");
    person.sees(PROMPT);
    person.types("echo a line longer than the window");
    person.sees("<");
    person.does("\r", "\na line longer than the window\r\n");
    // A terminal that does not answer is not waited for.
    person.does("cat /dev/consctl\r", "\nterminal 10x30\r\n");
    person.does("echo still here\r", "\nstill here\r\n");
}

#[test]
fn ctrl_c_ends_a_command_and_ctrl_d_the_shell() {
    let share = tempfile::tempdir().unwrap();
    let share = share.path().to_str().unwrap();
    let mut person = Person::sit_down(&["--share", share, "-c", "echo begun; sleep 1000"]);
    person.sees("begun");
    thread::sleep(Duration::from_millis(500));
    person.types(CTRL_C);
    assert_eq!(person.runner.wait().unwrap().code(), Some(130));
    let mut person = Person::sit_down(&["--share", share]);
    person.sees(PROMPT);
    person.does("false\r", "");
    person.types("\x04");
    assert_eq!(person.runner.wait().unwrap().code(), Some(1));
}
