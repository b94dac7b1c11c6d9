//! The demo, seen from the host: the traffic of `lazy`, and the same final file
//! as with eager I/O.

use dormouse_qemu_tests::{guest, run, scratch};
use std::fs;
use std::path::Path;

const PAGE: u64 = 4096;
/// 64 MiB and a piece of a page; small enough to be moved whole.
const SIZE: usize = (64 << 20) + 100;

/// A step's figures, as `lazy -t` prints them.
#[derive(Debug)]
struct Step {
    name: String,
    messages: u64,
    bytes_in: u64,
    bytes_out: u64,
    device_in: u64,
    device_out: u64,
}

fn steps(console: &str) -> Vec<Step> {
    let lines = console
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>());
    let lines = lines.filter(|words| words.len() == 7 && words[1].parse::<u64>().is_ok());
    lines
        .map(|words| {
            let number = |at: usize| words[at].parse().unwrap_or_else(|_| panic!("{words:?}"));
            Step {
                name: words[0].into(),
                messages: number(1),
                bytes_in: number(2),
                bytes_out: number(3),
                device_in: number(4),
                device_out: number(5),
            }
        })
        .collect()
}

/// Runs `lazy` on a file of these bytes; its steps and the file afterwards.
fn lazy(content: &[u8], eager: bool) -> (Vec<Step>, Vec<u8>) {
    let share = scratch();
    let file = share.path().join("file");
    fs::write(&file, content).unwrap();
    let guest = guest(share.path()).mem("512M").eager(eager);
    let (console, status) = run(share.path(), &guest.command("lazy -t -s 7 /n/host/file"));
    assert_eq!(status, 0, "{console}");
    assert_eq!(left_beside(&file), Vec::<String>::new());
    (steps(&console), fs::read(&file).unwrap())
}

fn left_beside(file: &Path) -> Vec<String> {
    let entries = file.parent().unwrap().read_dir().unwrap().flatten();
    let names = entries.filter(|entry| entry.path() != file);
    names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Bytes without a pattern that pages share.
fn content() -> Vec<u8> {
    let mut state = 1u64;
    let mut bytes = Vec::with_capacity(SIZE + 8);
    while bytes.len() < SIZE {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        bytes.extend_from_slice(&(state ^ state >> 29).to_le_bytes());
    }
    bytes.truncate(SIZE);
    bytes
}

#[test]
fn deferred_moves_only_what_is_used_and_leaves_what_eager_leaves() {
    let content = content();
    let (deferred, after_deferred) = lazy(&content, false);
    let (eager, after_eager) = lazy(&content, true);
    for steps in [&deferred, &eager] {
        let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names, ["read", "touch", "change", "write"]);
    }
    assert!(after_deferred == after_eager, "the files differ");
    let changed = content
        .chunks(PAGE as usize)
        .zip(after_deferred.chunks(PAGE as usize));
    assert_eq!(changed.filter(|(before, after)| before != after).count(), 3);
    assert_eq!(after_deferred.len(), SIZE);

    let [read, touch, change, write] = deferred.as_slice() else {
        unreachable!("four names, above")
    };
    assert!(read.messages <= 4, "{read:?}");
    // The ragged end of the buffer may be fetched at once.
    assert!(read.bytes_in <= PAGE && read.device_in <= PAGE, "{read:?}");
    assert!(
        touch.bytes_in <= 16 * PAGE && touch.bytes_in >= 15 * PAGE,
        "{touch:?}"
    );
    assert_eq!(touch.device_in, touch.bytes_in, "{touch:?}");
    assert_eq!((touch.bytes_out, change.bytes_out), (0, 0));
    assert!(
        write.bytes_out <= 3 * PAGE && write.bytes_out > 2 * PAGE,
        "{write:?}"
    );
    assert_eq!(
        (write.bytes_in, write.device_out),
        (0, write.bytes_out),
        "{write:?}"
    );
    assert!(write.messages <= 6, "{write:?}");

    assert!(eager[0].bytes_in >= SIZE as u64, "{:?}", eager[0]);
}

/// A line of `lazy --curve`: its setting, and per cent, instructions, messages, bytes.
fn curve(console: &str) -> Vec<(String, f64, u64)> {
    let lines = console
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let figures = lines.filter(|words| words.len() == 7 && words[3].parse::<f64>().is_ok());
    figures
        .map(|words| {
            let setting = words[..3].join(" ");
            (
                setting,
                words[3].parse().unwrap(),
                words[6].parse().unwrap(),
            )
        })
        .collect()
}

#[test]
fn the_curve_has_each_setting_and_leaves_nothing_behind() {
    let share = scratch();
    let file = share.path().join("file");
    let content: Vec<u8> = (0..1 << 20).map(|at| (at % 251) as u8 | 1).collect();
    fs::write(&file, &content).unwrap();
    let command = "lazy --curve /n/host/file";
    let (console, status) = run(share.path(), &guest(share.path()).command(command));
    assert_eq!(status, 0, "{console}");
    let curve = curve(&console);
    assert_eq!(curve.len(), 2 * 2 * 2 * 7, "{console}");
    let size = content.len() as u64;
    for (setting, part, bytes) in &curve {
        let expected = match (setting.ends_with("eager"), *part) {
            (true, _) | (false, 100.0) => *bytes == size,
            (false, 0.0) => *bytes == 0,
            (false, _) => *bytes <= size,
        };
        assert!(expected, "{setting} {part}: {bytes}\n{console}");
    }
    assert_eq!(fs::read(&file).unwrap(), content);
    assert_eq!(left_beside(&file), Vec::<String>::new());
}
