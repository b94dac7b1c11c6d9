//! Running a program on the VM core and on the eager model, comparing them
//! after every step, and finding a small program where they differ.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use abi::Errno;

use crate::PAGE;
use crate::eager::{Eager, read_of};
use crate::perform::{Outcome, pattern, perform, space_of};
use crate::program::{FIRST_PAGE, Flavour, Op, PAGES, Random, Step, random_config, random_program};
use crate::server::Servers;
use crate::world::{Config, Point, World};

/// What was in the file when a `read` took its snapshot.
fn captured(model: &Eager, op: &Op) -> Vec<u8> {
    match op {
        Op::Read { n, file, off, .. } => read_of(&model.files[*file], *off, *n).to_vec(),
        _ => Vec::new(),
    }
}

/// Does on the model what was done on the real thing, and compares the result.
/// `whole`: nothing was made to fail.
fn apply(model: &mut Eager, op: &Op, outcome: &Outcome, read: &[u8], whole: Option<()>) {
    let count = match outcome {
        Outcome::Skipped => return,
        Outcome::Done(_, Some(error)) if whole.is_some() => panic!("{error:?} out of nothing"),
        Outcome::Done(count, _) => *count,
        Outcome::Loaded(bytes) => return check_load(model, op, bytes),
        Outcome::Forked(child) => {
            return space_of(op).map_or((), |space| model.fork(space, *child));
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
        } => model.change(file, off, &pattern(value, n)),
        Op::Truncate { file, size } => model.files[file].resize(size, 0),
        Op::Exit { space } => model.spaces[space] = None,
        Op::Load { .. } | Op::Fork { .. } | Op::Evict { .. } => {}
    }
}

/// Were those the right bytes?
fn check_load(model: &mut Eager, op: &Op, bytes: &[u8]) {
    if let Op::Load { space, at, n } = *op {
        assert!(
            model.space(space)[at..at + n] == *bytes,
            "wrong bytes loaded"
        );
    }
}

/// One step on both. Did something fail that was told to?
fn step<S: Servers + 'static>(world: &mut World<S>, model: &mut Eager, step: &Step) -> bool {
    let other = Rc::new(RefCell::new(None));
    if let Some((point, op)) = step.meanwhile.clone() {
        let other = other.clone();
        world.interrupt = Some((
            point,
            Box::new(move |world| *other.borrow_mut() = Some(perform(world, &op))),
        ));
    }
    world.fail_after = step.fail_message;
    world.frames.borrow_mut().fail_after = step.fail_frame;
    world.servers.limit_commits(step.short);
    let outcome = perform(&mut *world, &step.op);
    let failing = step.fail_message.is_some() || step.fail_frame.is_some();
    let failed =
        failing && world.fail_after.is_none() && world.frames.borrow().fail_after.is_none();
    world.fail_after = None;
    world.frames.borrow_mut().fail_after = None;
    world.interrupt = None;
    let whole = (!failed).then_some(());
    let meanwhile = step.meanwhile.as_ref().zip(other.take());
    let Some(((point, op), other)) = meanwhile else {
        let read = captured(model, &step.op);
        apply(model, &step.op, &outcome, &read, whole);
        return failed;
    };
    // It may have had to wait for the operation it interrupted, and then died.
    let alone = !matches!(other, Outcome::Done(_, Some(Errno::EINTR))) && !touches_memory(op);
    let theirs = alone.then_some(());
    let read = captured(model, op);
    let first = |model: &mut Eager| apply(model, op, &other, &read, theirs);
    match point {
        Point::BeforeSnap => {
            first(model);
            let read = captured(model, &step.op);
            apply(model, &step.op, &outcome, &read, whole);
        }
        Point::AfterSnap | Point::Fill => {
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
    failed
}

/// May it meet a page that is being filled?
fn touches_memory(op: &Op) -> bool {
    !matches!(op, Op::Foreign { .. } | Op::Truncate { .. })
}

fn compare<S: Servers>(world: &mut World<S>, model: &Eager) {
    for (file, content) in model.files.iter().enumerate() {
        assert!(
            world.servers.content(file) == *content,
            "file {file} differs"
        );
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

/// Runs a program, panics where the two differ or something is left behind.
/// Did something fail that was told to?
pub fn run<S: Servers + 'static>(mut servers: S, config: Config, program: &[Step]) -> bool {
    let mut failed = false;
    let files = (0..servers.files()).map(|f| servers.content(f)).collect();
    let mut model = Eager::new(files, PAGES * PAGE);
    let mut world = World::new(servers, config);
    for next in program {
        failed |= step(&mut world, &mut model, next);
        compare(&mut world, &model);
        world.check();
    }
    for space in 0..world.spaces.len() {
        if world.spaces[space].is_some() {
            world.exit(space);
        }
    }
    assert_eq!(world.frames.borrow().used(), 0, "frames left");
    world.servers.check_idle();
    failed
}

/// Runs each of some random programs again and again: with the first message
/// of its first step failing, the second, and so on until the step has no
/// more, then the allocations, then the next step.
pub fn fail_each<S: Servers + 'static>(
    name: &str,
    programs: u64,
    plain: usize,
    servers: impl Fn() -> S,
) {
    let mut failures = 0;
    for seed in 1..=programs {
        let mut random = Random(seed);
        let config = random_config(&mut random, Flavour::Failing);
        let files = servers().files();
        let program = random_program(&mut random, Flavour::Plain, files, plain);
        for at in 0..program.len() {
            for kind in 0..2 {
                for k in 0.. {
                    let mut failing = program.clone();
                    match kind {
                        0 => failing[at].fail_message = Some(k),
                        _ => failing[at].fail_frame = Some(k),
                    }
                    // Shown if the run panics.
                    println!("{name}: seed {seed}, {config:?}: {:?}", failing[at]);
                    if !run(servers(), config, &failing) {
                        break;
                    }
                    failures += 1;
                }
            }
        }
    }
    println!("{name}: {failures} failures");
}

/// Runs `programs` random programs; a failing one is made small and shown.
pub fn run_random<S: Servers + 'static>(
    name: &str,
    programs: u64,
    flavour: Flavour,
    plain: usize,
    servers: impl Fn() -> S,
) {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let first = number("DORMOUSE_SEED").unwrap_or(1);
    let programs = number("DORMOUSE_PROGRAMS").unwrap_or(programs);
    println!(
        "{name}: programs with seeds {first} to {}",
        first + programs - 1
    );
    let mut steps = 0;
    for seed in first..first + programs {
        let mut random = Random(seed);
        let config = random_config(&mut random, flavour);
        let files = servers().files();
        let program = random_program(&mut random, flavour, files, plain);
        let fails = |program: &[Step]| {
            catch_unwind(AssertUnwindSafe(|| run(servers(), config, program))).is_err()
        };
        if fails(&program) {
            let hook = std::panic::take_hook();
            std::panic::set_hook(Box::new(|_| {}));
            let small = shrink(program, fails);
            std::panic::set_hook(hook);
            println!("{name}: seed {seed}, {config:?}, shrunk to:");
            for step in &small {
                println!("    {step:?}");
            }
            run(servers(), config, &small);
            panic!("{name}: seed {seed} failed once and not again");
        }
        steps += program.len();
    }
    println!("{name}: {programs} programs, {steps} steps");
}

/// The program without the steps it does not need to fail.
fn shrink(mut program: Vec<Step>, fails: impl Fn(&[Step]) -> bool) -> Vec<Step> {
    let mut chunk = program.len().div_ceil(2);
    loop {
        let mut at = 0;
        while at < program.len() {
            let mut shorter = program.clone();
            shorter.drain(at..(at + chunk).min(program.len()));
            if fails(&shorter) {
                program = shorter;
            } else {
                at += chunk;
            }
        }
        if chunk == 1 {
            return program;
        }
        chunk = chunk.div_ceil(2);
    }
}
