//! Programs sleep until they run: what is loaded, who shares it, and that nothing that is
//! done to the file afterwards changes the program.

use super::Case;
use crate::check::{PG, Scratch, Verdict, Why, at_most, at_rest, equal, pressed, same};
use crate::stepper::Stepper;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use rt::abi::PAGE;
use rt::process::{self, Fork};
use rt::stats::{Counters, Figures};
use rt::{File, Named, mode, sys};

pub const CASES: &[Case] = &[
    Case::deferred("exec.touched", touched),
    Case::deferred("exec.shared", shared),
    Case::deferred("exec.again", again),
    Case::new("exec.overwritten", || damaged(overwrite)),
    Case::new("exec.cut", || damaged(cut)),
    Case::new("exec.removed", || damaged(remove)),
    Case::new("exec.replaced", || damaged(replace)),
    Case::new("exec.elsewhere", elsewhere),
    Case::new("exec.forked", forked),
    Case::asked("exec.larger", larger),
];

/// Writes the program to an empty file.
fn put(file: &File, stepper: Stepper) -> Verdict {
    // Small parts are written together.
    let (mut start, mut block) = (0, vec![0; BLOCK]);
    for (at, bytes) in stepper.parts() {
        if at >= start + BLOCK as u64 {
            file.write_all_at(&block, start)?;
            block.fill(0);
            start = at;
        }
        let at = (at - start) as usize;
        block[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    Ok(file.write_all_at(&block, start)?)
}

/// Bytes of a program that are written by one call.
const BLOCK: usize = 256 * PG;

/// A process that runs the file, with `input` as its standard input.
fn start(path: &str, input: &File) -> Result<u64, Why> {
    match process::fork()? {
        Fork::Child => {
            let errno = input.dup_to(0).map(|stdin| {
                stdin.into_fd();
                process::exec(path, &["stepper"])
            });
            process::exit_now(255, errno.unwrap_or_else(|errno| errno).text())
        }
        Fork::Parent(pid) => Ok(pid),
    }
}

fn ends_well(pid: u64) -> Verdict {
    let ended = process::wait_for(pid)?;
    let (status, text) = (ended.status(), ended.text());
    ensure!(status == 0, "the program: status {status}: {text}");
    Ok(())
}

fn run(path: &str) -> Verdict {
    let input = File::open("/dev/null", mode::OREAD)?;
    ends_well(start(path, &input)?)
}

/// The pages that run are loaded, and no others but those of headers and data.
fn touched() -> Verdict {
    let stepper = Stepper {
        pages: 1000,
        stride: 100,
        waits: None,
    };
    let scratch = Scratch::empty("touched")?;
    put(&scratch.file, stepper)?;
    let before = Counters::now()?;
    run(&scratch.path)?;
    let figures = Figures::between(&before, &Counters::now()?);
    let expected = u64::from(stepper.steps()) + 3;
    at_most("bytes loaded", figures.bytes_in, expected * PAGE)
}

/// Who runs a file that another process runs has the frames of that one: nothing is loaded
/// but the headers, and the page of data that the other has stored to.
fn shared() -> Verdict {
    let stepper = Stepper {
        pages: 64,
        stride: 1,
        waits: Some(63),
    };
    let scratch = Scratch::empty("shared")?;
    put(&scratch.file, stepper)?;
    let (ours, theirs) = File::pipe()?;
    let first = start(&scratch.path, &theirs)?;
    at_rest()?;
    let before = Counters::now()?;
    let second = start(&scratch.path, &theirs)?;
    at_rest()?;
    let figures = Figures::between(&before, &Counters::now()?);
    at_most("bytes loaded", figures.bytes_in, 2 * PAGE)?;
    ours.write_all(b"1")?;
    ours.write_all(b"2")?;
    ends_well(first)?;
    ends_well(second)
}

/// A program that runs again, and whose file nobody has had since, loads its headers and the
/// page of data that it stores to. The file must be old for that, by a clock of seconds
/// (`old=0`).
fn again() -> Verdict {
    let stepper = Stepper {
        pages: 64,
        stride: 1,
        waits: None,
    };
    let scratch = Scratch::empty("again")?;
    put(&scratch.file, stepper)?;
    // Nobody has it open.
    let null = File::open("/dev/null", mode::OREAD)?;
    null.dup_to(scratch.file.fd())?.into_fd();
    let mut loaded = Vec::new();
    for _ in 0..10 {
        let before = Counters::now()?;
        run(&scratch.path)?;
        let figures = Figures::between(&before, &Counters::now()?);
        loaded.push(figures.bytes_in);
        if figures.bytes_in <= 2 * PAGE || pressed()? {
            return Ok(());
        }
        sys::sleep(700_000_000)?;
    }
    Err(Why(format!("bytes loaded: {loaded:?}")))
}

/// Does something to a file of that many bytes of text from the second page on.
type Damage = fn(&Scratch, usize) -> Verdict;

/// A program that has run its first page of many goes on as it was, whatever is done to
/// its file meanwhile.
fn damaged(damage: Damage) -> Verdict {
    let stepper = Stepper {
        pages: 40,
        stride: 1,
        waits: Some(0),
    };
    let scratch = Scratch::empty("damaged")?;
    put(&scratch.file, stepper)?;
    let (ours, theirs) = File::pipe()?;
    let pid = start(&scratch.path, &theirs)?;
    at_rest()?;
    damage(&scratch, stepper.pages as usize * PG)?;
    ours.write_all(b"1")?;
    ends_well(pid)
}

fn overwrite(scratch: &Scratch, len: usize) -> Verdict {
    let traps = vec![0xcc; len + 2 * PG];
    Ok(scratch.file.write_all_at(&traps, 0)?)
}

fn cut(scratch: &Scratch, _: usize) -> Verdict {
    Ok(scratch.file.set_size(0)?)
}

fn remove(scratch: &Scratch, _: usize) -> Verdict {
    Ok(sys::remove(&scratch.path)?)
}

/// Another file takes its name; which is what is run from then on.
fn replace(scratch: &Scratch, len: usize) -> Verdict {
    let other = Scratch::patterned("other", 1, len)?;
    sys::rename(&other.path, &scratch.path)?;
    let errno = process::exec(&scratch.path, &["other"]);
    same("the new one", errno, rt::Errno::ENOEXEC)?;
    let mut head = [0; 8];
    File::open(&scratch.path, mode::OREAD)?.read_full_at(&mut head, 0)?;
    equal("it", &head, &crate::check::patterned(1, 0, 8))
}

/// From a server in memory, and with all pages run one after the other.
fn elsewhere() -> Verdict {
    let stepper = Stepper {
        pages: 50,
        stride: 1,
        waits: None,
    };
    let path = "/tmp/stepper";
    let file = File::create(path, mode::ORDWR | mode::OTRUNC, 0o755).about(path)?;
    put(&file, stepper)?;
    let ran = run(path);
    sys::remove(path)?;
    ran
}

/// A program of which most sleeps makes a child: both find what they run.
fn forked() -> Verdict {
    let scratch = Scratch::empty("forked")?;
    let shell = File::open("/bin/sh", mode::OREAD)?.read_to_end()?;
    scratch.file.write_all_at(&shell, 0)?;
    let script = "(true) && true | true && true";
    let args = [scratch.path.as_str(), "-c", script];
    let pid = process::spawn(|| {
        let errno = process::exec(&scratch.path, &args);
        process::exit_now(255, errno.text())
    })?;
    ends_well(pid)
}

/// All pages of a program that does not fit into memory run.
fn larger() -> Verdict {
    let stepper = Stepper {
        pages: 17_000,
        stride: 1,
        waits: None,
    };
    let scratch = Scratch::empty("larger")?;
    put(&scratch.file, stepper)?;
    run(&scratch.path)
}
