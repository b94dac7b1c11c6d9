//! The client's state machine: all orders of what can happen to a few requests, and
//! long random runs with a server that lies.
mod message;
mod process;
mod server;
mod world;

use crate::message::MSIZE;
use dormouse_ninep::Request;
use dormouse_ninep::client::{Client, Then};
use message::Way;
use process::Job;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use world::{Event, World};

fn hash(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// Visits every state that processes with these jobs can get into, whatever comes
/// first, with at most that many notes, kills and hang-ups. How many states.
fn explore(tags: u16, jobs: &[Job], trouble: u8) -> usize {
    let mut seen = HashSet::new();
    let mut left = vec![(World::new(tags, jobs), trouble, Vec::new())];
    while let Some((world, trouble, trace)) = left.pop() {
        if !seen.insert((hash(&world), trouble)) {
            continue;
        }
        let trace: Vec<Event> = trace;
        let mut visit = |event: Event, trouble| {
            let mut next = world.clone();
            let mut trace = trace.clone();
            trace.push(event);
            let happened = std::panic::AssertUnwindSafe(|| next.happen(event));
            if let Err(why) = std::panic::catch_unwind(happened) {
                eprintln!("after {trace:#?}\nof {jobs:?}");
                std::panic::resume_unwind(why);
            }
            left.push((next, trouble, trace));
        };
        let progress = world.progress();
        progress.iter().for_each(|event| visit(*event, trouble));
        if trouble > 0 {
            let troubles = world.trouble();
            troubles
                .into_iter()
                .for_each(|event| visit(event, trouble - 1));
        }
        let checked = std::panic::AssertUnwindSafe(|| {
            world.lie();
            if progress.is_empty() {
                world.check_end();
            }
        });
        if let Err(why) = std::panic::catch_unwind(checked) {
            eprintln!("after {trace:#?}\nof {jobs:?}");
            std::panic::resume_unwind(why);
        }
    }
    seen.len()
}

const JOBS: [Job; 5] = [Job::Stat, Job::Walk, Job::Snap, Job::Write(1), Job::Trim];

/// All choices of `count` jobs, whatever their order.
fn choices(count: usize) -> Vec<Vec<Job>> {
    let mut choices = vec![(vec![], 0)];
    for _ in 0..count {
        let longer = choices.into_iter().flat_map(|(jobs, from)| {
            (from..JOBS.len()).map(move |at| ([jobs.as_slice(), &[JOBS[at]]].concat(), at))
        });
        choices = longer.collect();
    }
    choices.into_iter().map(|(jobs, _)| jobs).collect()
}

fn writes(jobs: &[Job]) -> usize {
    jobs.iter()
        .filter(|job| matches!(job, Job::Write(_)))
        .count()
}

#[test]
fn requests_of_one_process_end_once_in_every_order() {
    for job in JOBS.into_iter().chain([Job::Write(2)]) {
        explore(3, &[job], 3);
    }
}

#[test]
fn requests_of_two_processes_end_once_in_every_order() {
    for jobs in choices(2) {
        for (tags, trouble) in [(1, 2), (2, 2), (3, 1)] {
            explore(tags, &jobs, trouble);
        }
    }
}

#[test]
fn requests_of_three_processes_end_once_in_every_order() {
    for jobs in choices(3) {
        let few = writes(&jobs) == 0 || writes(&jobs) == 1 && !jobs.contains(&Job::Snap);
        if few {
            explore(2, &jobs, 1);
        }
    }
}

/// Ten minutes: ten million states.
#[test]
#[ignore = "long"]
fn requests_of_many_writers_end_once_in_every_order() {
    for jobs in choices(3) {
        let (tags, trouble) = match writes(&jobs) {
            0 => (4, 2),
            1 => (3, 1),
            _ => (2, 1),
        };
        let states = explore(tags, &jobs, trouble);
        println!("{jobs:?}: {states} states");
    }
}

/// The next number of a sequence (xorshift).
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Eight processes and a server that answers with anything, until they are done or the
/// connection is.
fn random_run(seed: u64, steps: usize) {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut pick = |below: usize| (next(&mut random) % below as u64) as usize;
    let mut world = World::new(2 + pick(6) as u16, &[Job::Stat; 8]);
    for step in 0..steps {
        let mut events = world.progress();
        if pick(20) == 0 {
            events = world.trouble();
            let ends = |event: &Event| matches!(event, Event::HangUp);
            events.retain(|event| !ends(event) || step + 10 > steps);
        }
        if !events.is_empty() {
            let mut event = events[pick(events.len())];
            if let Event::Answer(_, way) = &mut event {
                *way = [Way::Right, Way::Right, *way, Way::Wrong, Way::Long][pick(5)];
            }
            world.happen(event);
        }
        if step % 64 == 0 {
            world.lie();
        }
        let job = [JOBS.as_slice(), &[Job::Write(4)]].concat()[pick(6)];
        world.begin_again(pick(8), job);
    }
    while let Some(event) = world.progress().first() {
        world.happen(*event);
    }
    world.check_end();
}

#[test]
fn requests_end_once_whatever_a_server_says() {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let seeds = match number("DORMOUSE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("DORMOUSE_CASES").unwrap_or(100),
    };
    for seed in seeds {
        println!("DORMOUSE_SEED={seed}");
        random_run(seed, 5000);
    }
}

#[test]
fn a_write_given_up_before_it_is_sent_leaves_nothing() {
    let mut client = Client::<u8, u8, u8>::new(1, MSIZE).expect("there is memory");
    let request = Request::Clunk { fid: 1 };
    let tag = client.begin(&request, 11, Then::Wake(0));
    let tag = tag.expect("a connection").expect("a tag");
    // A server that does not answer keeps the only tag.
    let mut last = 0;
    for _ in 0..100 {
        last = client.begin_write().expect("there is memory");
        client.abort_write(last, 5);
    }
    assert_eq!(client.oldest_write(), last + 1, "none is remembered");
    client.unsent(tag);
    assert_eq!(client.own(), None, "the server has nothing to forget");
}
