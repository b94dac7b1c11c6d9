//! How long a machine that stops waits for servers that programs have used.

use dormouse_qemu_tests::{guest, scratch};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Stops a machine with the server of `suite halting NAME`; what it said in the end, and the
/// seconds in which it said it.
fn said(server: &str) -> (Vec<String>, f64) {
    let share = scratch();
    // Without a look at what programs leave, which takes time.
    let guest = guest(share.path()).option("left", "0");
    let guest = guest.option("services", "1").option("log", "info");
    let command = format!("suite halting {server}; exit 4");
    let outcome = guest.command(command).run().unwrap();
    assert_eq!(outcome.status().unwrap(), 4, "{}", outcome.console);
    let lines = outcome.console.lines();
    let said = lines.filter_map(|line| line.strip_prefix('[')?.split_once("] suite: "));
    let (times, texts): (Vec<f64>, Vec<String>) = said
        .map(|(time, text)| (time.trim().parse::<f64>().unwrap(), text.to_string()))
        .unzip();
    assert!(!times.is_empty(), "{}", outcome.console);
    (texts, times[times.len() - 1] - times[0])
}

#[test]
fn a_server_that_gives_back_much_is_heard_out() {
    let (texts, _) = said("slow");
    assert_eq!(texts.last().unwrap(), "closed 30", "{texts:?}");
}

#[test]
fn a_server_that_does_nothing_or_computes_holds_up_the_end_for_a_second() {
    for server in ["mute", "spins"] {
        let (texts, seconds) = said(server);
        assert!(texts.iter().all(|text| text == "still here"), "{texts:?}");
        assert!((0.5..3.0).contains(&seconds), "{server}: {seconds} s");
    }
}

#[test]
fn a_server_that_has_others_answer_for_ever_holds_up_the_end_for_half_a_minute() {
    let (_, seconds) = said("stalls");
    assert!((25.0..35.0).contains(&seconds), "{seconds} s");
}

/// Some hosts tell the disk of each piece of a file that they free, and that takes a
/// millisecond or two.
#[test]
fn a_file_in_many_pieces_that_was_removed_in_use_leaves_nothing_in_the_share() {
    const PIECES: u64 = 6000;
    const PIECE: [u8; 4096] = [7; 4096];
    let share = scratch();
    let file = File::create(share.path().join("pieces")).unwrap();
    for piece in 0..PIECES {
        file.write_all_at(&PIECE, piece * 8192).unwrap();
    }
    // Each has a place on the disk.
    file.sync_all().unwrap();
    drop(file);
    let guest = guest(share.path()).option("left", "0");
    let command = "cd /n/host; exec 3<pieces; rm pieces; ls -a; exit 4";
    let outcome = guest.command(command).run().unwrap();
    assert_eq!(outcome.status().unwrap(), 4, "{}", outcome.console);
    let left = share.path().read_dir().unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(left.is_empty(), "{left:?}; {}", outcome.console);
}
