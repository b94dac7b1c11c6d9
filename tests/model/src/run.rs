//! Running a program on the VM core and on the eager model, and comparing them
//! after every step.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use abi::Errno;
use program::eager::{Eager, read_of};
use program::{FIRST_PAGE, Op, PAGES, pattern};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config as Runs, RngSeed, TestCaseError, TestError, TestRunner};

use crate::PAGE;
use crate::case::{Case, Step};
use crate::generate::{Files, Flavour, cases};
use crate::perform::{Outcome, perform};
use crate::server::Servers;
use crate::swap::Harm;
use crate::world::{Point, World};

/// The content of the file when a `read` took its snapshot.
fn captured(model: &Eager, op: &Op) -> Vec<u8> {
    match op {
        Op::Read { n, file, off, .. } => read_of(&model.files[*file], *off, *n).to_vec(),
        _ => Vec::new(),
    }
}

/// Performs an operation on the model, and compares the outcomes. `whole`: no
/// failure was injected.
fn apply(model: &mut Eager, op: &Op, outcome: &Outcome, read: &[u8], whole: Option<()>) {
    let count = match outcome {
        Outcome::Skipped => return check_skipped(model, op),
        Outcome::Done(_, Some(error)) if whole.is_some() => panic!("{error:?} out of nothing"),
        Outcome::Done(_, Some(_)) if is_foreign(op) => return,
        Outcome::Done(count, _) => *count,
        Outcome::Loaded(bytes) => return check_load(model, op, bytes),
        Outcome::Forked(child) => {
            return op.space().map_or((), |space| model.fork(space, *child));
        }
    };
    let right = |want: usize| {
        let short = whole.is_none() && count < want;
        assert!(count == want || short, "{count} bytes of {want}");
    };
    match *op {
        Op::Read { space, at, .. } => {
            right(read.len());
            model.store(space, at, &read[..count]);
        }
        Op::Write {
            space,
            at,
            n,
            file,
            off,
            ..
        } => {
            right(n);
            let off = off.unwrap_or(model.files[file].len());
            model.write(space, at, count, file, off);
        }
        Op::Store {
            space,
            at,
            n,
            value,
        } => model.store(space, at, &pattern(value, n)[..count]),
        Op::Free { space, at, .. } => model.store(space, at, &vec![0; count]),
        Op::Foreign {
            file,
            off,
            n,
            value,
        } => model.change(file, off, &pattern(value, n)[..count]),
        Op::Truncate { file, size } if count == size => model.files[file].resize(size, 0),
        Op::Remove { name } => assert!(model.remove(name), "no name {name}"),
        Op::Rename { from, to } => assert!(model.rename(from, to), "no name {from}"),
        Op::Exit { space } => model.spaces[space] = None,
        Op::Truncate { .. }
        | Op::Full { .. }
        | Op::Load { .. }
        | Op::Fork { .. }
        | Op::Evict { .. }
        | Op::PageOut { .. } => {}
    }
}

/// Checks that the operation had nothing to do.
fn check_skipped(model: &Eager, op: &Op) {
    let possible = match *op {
        Op::Remove { name } => model.names[name].is_some(),
        Op::Rename { from, .. } => model.names[from].is_some(),
        Op::Fork { space } => model.exists(space) && model.free_place().is_some(),
        _ => op.space().is_none_or(|space| model.exists(space)),
    };
    assert!(!possible, "skipped");
}

/// Checks the loaded bytes.
fn check_load(model: &mut Eager, op: &Op, bytes: &[u8]) {
    if let Op::Load { space, at, n } = *op {
        assert!(
            model.space(space)[at..at + n] == *bytes,
            "wrong bytes loaded"
        );
    }
}

/// One step on both. `whole`: nothing failed before that still may.
fn step<S: Servers + 'static>(
    world: &mut World<S>,
    model: &mut Eager,
    step: &Step,
    whole: Option<()>,
) {
    let fate = &step.fate;
    let other = Rc::new(RefCell::new(None));
    if let Some((point, op)) = fate.meanwhile.clone() {
        let other = other.clone();
        world.interrupt = Some((
            point,
            Box::new(move |world| *other.borrow_mut() = Some(perform(world, &op))),
        ));
    }
    if let Some(after) = fate.fail_message {
        world.lost.once(after, ());
    }
    if let Some(after) = fate.fail_frame {
        world.frames.borrow_mut().denied.once(after, ());
    }
    if let Some(k) = fate.fail_swap {
        let harm = [Harm::Error, Harm::FullOrFlipped][k as usize % 2];
        world.swap.failures.once(k / 2, harm);
    }
    world.servers.limit_commits(fate.short);
    let before = world.failures();
    let outcome = perform(&mut *world, &step.op);
    if fate.fail_message.is_some() {
        world.lost.heal();
    }
    if fate.fail_frame.is_some() {
        world.frames.borrow_mut().denied.heal();
    }
    if fate.fail_swap.is_some() {
        world.swap.failures.heal();
    }
    world.interrupt = None;
    let whole = whole.filter(|()| world.failures() == before);
    let meanwhile = fate.meanwhile.as_ref().zip(other.take());
    let Some(((point, op), other)) = meanwhile else {
        let read = captured(model, &step.op);
        apply(model, &step.op, &outcome, &read, whole);
        return;
    };
    // It may have had to wait for the operation it interrupted, and then died.
    let alone = !matches!(other, Outcome::Done(_, Some(Errno::EINTR))) && is_foreign(op);
    let theirs = alone.then_some(());
    let read = captured(model, op);
    let first = |model: &mut Eager| apply(model, op, &other, &read, theirs);
    match point {
        Point::BeforeSnap => {
            first(model);
            let read = captured(model, &step.op);
            apply(model, &step.op, &outcome, &read, whole);
        }
        Point::AfterSnap | Point::Fill | Point::Swap | Point::Swapped => {
            let mine = captured(model, &step.op);
            first(model);
            apply(model, &step.op, &outcome, &mine, whole);
        }
        Point::BeforeCommit | Point::AfterCommit => {
            apply(model, &step.op, &outcome, &[], whole);
            let read = captured(model, op);
            apply(model, op, &other, &read, theirs);
        }
        other => unreachable!("no program uses {other:?}"),
    }
}

/// Returns true for operations of another client.
const fn is_foreign(op: &Op) -> bool {
    op.space().is_none()
}

fn compare<S: Servers>(world: &mut World<S>, model: &Eager) {
    for (file, content) in model.files.iter().enumerate() {
        assert!(
            world.servers.content(file) == *content,
            "file {file} differs"
        );
    }
    for (name, file) in model.names.iter().enumerate() {
        assert_eq!(world.servers.named(name), *file, "name {name}");
    }
    for (space, bytes) in model.spaces.iter().enumerate() {
        let exists = matches!(world.spaces.get(space), Some(Some(_)));
        assert_eq!(exists, bytes.is_some(), "process {space}");
        if let Some(bytes) = bytes {
            let first = FIRST_PAGE as u64;
            let real = world.peek(space, first, first + PAGES as u64);
            let differs = real.iter().zip(bytes).position(|(a, b)| a != b);
            assert_eq!(differs, None, "process {space} differs at that byte");
        }
    }
}

/// An injected failure, counted from the beginning of the program.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// What.
    pub kind: FailureKind,
    /// The first to fail, from 0.
    pub at: u64,
    /// All after it, too.
    pub for_good: bool,
}

/// The operations that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Messages of the kernel.
    Message,
    /// Requests for snapshots, for which the server has no room.
    Snapshot,
    /// Allocations of frames, nodes and page tables.
    Frame,
    /// The server's exchanges with its temporary files.
    Store,
    /// Requests to the swap server.
    Swap(Harm),
}

/// Runs a program, panics where the two differ or something is left behind.
pub fn run<S: Servers + 'static>(servers: S, case: &Case) {
    run_failing(servers, case, None);
}

/// The same with something failing; how often it did.
pub fn run_failing<S: Servers + 'static>(
    mut servers: S,
    case: &Case,
    failure: Option<Failure>,
) -> u64 {
    let files = (0..servers.files()).map(|f| servers.content(f)).collect();
    let mut model = Eager::new(files, PAGES * PAGE);
    let mut world = World::new(servers, case.config);
    if let Some(failure) = failure {
        world.fail(failure);
    }
    let mut full = false;
    for next in &case.steps {
        if let Op::Full { on } = next.op {
            full = on;
        }
        let broken = full || failure.is_some_and(|f| f.for_good) && world.failures() > 0;
        let whole = (!broken).then_some(());
        step(&mut world, &mut model, next, whole);
        compare(&mut world, &model);
        world.check();
    }
    let failures = world.failures() + world.refused.failed;
    world.heal();
    for space in 0..world.spaces.len() {
        if world.spaces[space].is_some() {
            world.exit(space);
        }
    }
    assert_eq!(world.frames.borrow().used(), 0, "frames left");
    assert_eq!(world.swap.handles().count(), 0, "swap files left");
    world.servers.check_idle();
    failures
}

/// The programs in `tests/model/programs`, by name, with their texts. The suite
/// runs them in a guest, too.
pub fn recorded() -> Vec<(String, String)> {
    // Tests run in the folder of their package.
    let entries = std::fs::read_dir("programs").expect("the programs");
    let mut programs: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("a program").path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let text = std::fs::read_to_string(&path).expect("a program's text");
            (name.into_owned(), text)
        })
        .collect();
    programs.sort();
    programs
}

/// A random program with that seed.
pub fn sample(seed: u64, flavour: Flavour, files: Files) -> Case {
    let mut runner = TestRunner::new(Runs {
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Runs::default()
    });
    let tree = cases(flavour, files).new_tree(&mut runner);
    tree.expect("a program").current()
}

/// Runs random programs; a failing one is made small and printed.
pub fn run_random<S: Servers + 'static>(
    name: &str,
    programs: u32,
    flavour: Flavour,
    files: Files,
    servers: impl Fn(&[usize]) -> S,
) {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let seed = number("DORMOUSE_SEED").unwrap_or(1);
    let programs = number("DORMOUSE_PROGRAMS").map_or(programs, |n| n as u32);
    println!("{name}: {programs} programs with DORMOUSE_SEED={seed}");
    let mut runner = TestRunner::new(Runs {
        cases: programs,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 5000,
        ..Runs::default()
    });
    let (steps, quiet) = (Cell::new(0), Cell::new(false));
    let found = runner.run(&cases(flavour, files), |case| {
        let ran = catch_unwind(AssertUnwindSafe(|| run(servers(&case.files), &case)));
        steps.set(steps.get() + case.steps.len());
        ran.map_err(|_| {
            // Attempts at minimising are not printed.
            if !quiet.replace(true) {
                std::panic::set_hook(Box::new(|_| {}));
            }
            TestCaseError::fail("they differ")
        })
    });
    if quiet.get() {
        drop(std::panic::take_hook());
    }
    match found {
        Ok(()) => println!("{name}: {programs} programs, {} steps", steps.get()),
        Err(TestError::Fail(_, case)) => {
            println!("{name}: made small (to be replayed with DORMOUSE_REPLAY=FILE):\n{case}");
            run(servers(&case.files), &case);
            panic!("{name}: it failed, and does so no more");
        }
        Err(TestError::Abort(why)) => panic!("{name}: {why}"),
    }
}
