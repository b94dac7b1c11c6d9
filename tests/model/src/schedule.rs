//! Concurrent operations, in every order.
//!
//! A [`Scenario`] has flows: processes, or threads of one, in system calls and
//! faults. Each runs on a stack of its own over the one simulated kernel, and
//! stops before every step, so that any other may go first. [`explore`] runs
//! all orders of all steps, each from the beginning, and checks each end:
//! files, memory and results must be those of one of the orders of eager
//! operations ([`crate::orders`]); the books must balance ([`World::check`]);
//! nothing may be left when all processes have ended; and no flow may wait
//! forever.
//!
//! **Why this is the kernel.** The kernel has one processor and is not
//! preempted: between two messages of a system call or fault nothing else runs,
//! so a call of [`vm::Host::with`] is one step there too, and a user's load or
//! store is one instruction. [`Points::Messages`] is that kernel exactly.
//! [`Points::Every`] stops before each step, also where today's kernel cannot
//! be interrupted, with two exceptions that the VM core relies on, because the
//! kernel's lock order gives them to a kernel with more processors as well: a
//! wait for a fill begins where the fill was seen, and a copied segment gets its
//! references to snapshots where it was copied.
//!
//! There is nothing here for `loom` or `shuttle`, which try the orders that
//! processors may see loads and stores of atomics in. The kernel's atomics are
//! counters, numbers that only grow, switches set once, and the scheduler's
//! queues, which are used with interrupts off on the one processor: none of
//! them publishes other memory to a reader that runs at the same time.
//!
//! **Equivalent orders are tried once.** Steps with nothing in common
//! ([`Footprint`]) have the same result in both orders; a step that has been
//! tried stays *asleep* until something it depends on has happened (Godefroid's
//! sleep sets). [`Options::all`] tries every order; a test compares the two.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use abi::Errno;
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, Yielder};
use program::eager::Eager;
use program::{FIRST_PAGE, Op};

use crate::PAGE;
use crate::footprint::{Footprint, Object};
use crate::orders::{End, ends};
use crate::perform::{Outcome, perform};
use crate::process::{Fill, Reach};
use crate::server::Servers;
use crate::world::{Config, Point, World};

/// Pages of a process that flows use, and that are compared.
pub const PAGES: usize = 3;

/// Where a flow can be interrupted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Points {
    /// Before every step.
    Every,
    /// Where the kernel waits for a message, and in user mode.
    Messages,
}

impl Points {
    fn has(self, at: Point) -> bool {
        match at {
            Point::Access
            | Point::Pause
            | Point::BeforeSnap
            | Point::Fetch
            | Point::Send
            | Point::Deliver
            | Point::Swap => true,
            Point::Look | Point::Release | Point::Wake => self == Points::Every,
            // The answer arrives; with points everywhere, the next one is enough.
            Point::AfterSnap | Point::Fill | Point::AfterCommit | Point::Swapped => {
                self == Points::Messages
            }
            Point::BeforeCommit => false,
        }
    }
}

/// Flows, and the operations before them.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The subject.
    pub name: &'static str,
    /// Done one after the other, by the first process.
    pub before: Vec<Op>,
    /// Done at the same time.
    pub flows: Vec<Vec<Op>>,
}

/// The options of an exploration.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The points at which flows stop.
    pub points: Points,
    /// Also orders that cannot differ.
    pub all: bool,
    /// The most interruptions of a flow that could go on.
    pub preemptions: Option<u32>,
}

/// The counts of an exploration.
#[derive(Clone, Debug, Default)]
pub struct Explored {
    /// Schedules run to the end.
    pub schedules: u64,
    /// Steps in all of them.
    pub steps: u64,
    /// The ends that were met.
    pub met: HashSet<End>,
    /// The number of ends that eager operations may have.
    pub allowed: usize,
}

/// The state shared by the flows.
struct Stage<S> {
    world: RefCell<World<S>>,
    points: Points,
    outcomes: RefCell<Vec<Vec<Outcome>>>,
    asleep: RefCell<Vec<(Fill, usize)>>,
    /// Where the flow that ran last stopped.
    stopped: Cell<Option<Point>>,
}

/// A flow's way to the kernel.
struct Flow<'y, S> {
    stage: Rc<Stage<S>>,
    me: usize,
    yielder: &'y Yielder<(), ()>,
    /// Nothing has been done since the last stop.
    fresh: bool,
}

impl<S: Servers> Reach for &mut Flow<'_, S> {
    type Servers = S;

    fn with<R>(&mut self, f: impl FnOnce(&mut World<S>) -> R) -> R {
        self.fresh = false;
        f(&mut self.stage.world.borrow_mut())
    }

    fn look<R>(&self, f: impl FnOnce(&World<S>) -> R) -> R {
        f(&self.stage.world.borrow())
    }

    fn pause(&mut self, at: Point) {
        if self.fresh || !self.stage.points.has(at) {
            return;
        }
        self.stage.stopped.set(Some(at));
        self.yielder.suspend(());
        self.fresh = true;
    }

    fn sleep(&mut self, fill: Fill) -> Result<(), Errno> {
        let note = Object::Sleepers(fill.0, fill.1.number());
        self.stage.world.borrow().trace(|t| t.changes(note));
        self.stage.asleep.borrow_mut().push((fill, self.me));
        self.yielder.suspend(());
        self.fresh = true;
        Ok(())
    }

    fn wake(&mut self, fill: Fill) {
        self.fresh = false;
        let note = Object::Sleepers(fill.0, fill.1.number());
        self.stage.world.borrow().trace(|t| t.changes(note));
        self.stage
            .asleep
            .borrow_mut()
            .retain(|(sleeps, _)| *sleeps != fill);
    }
}

type Running = Coroutine<(), (), (), DefaultStack>;

/// One run of a scenario.
struct Play<S> {
    stage: Rc<Stage<S>>,
    running: Vec<Running>,
}

impl<S: Servers + 'static> Play<S> {
    fn new(
        world: World<S>,
        flows: &[Vec<Op>],
        points: Points,
        stacks: &mut Vec<DefaultStack>,
    ) -> Self {
        let stage = Rc::new(Stage {
            world: RefCell::new(world),
            points,
            outcomes: RefCell::new(vec![Vec::new(); flows.len()]),
            asleep: RefCell::default(),
            stopped: Cell::new(None),
        });
        let start = |(me, ops): (usize, &Vec<Op>)| {
            let (stage, ops) = (stage.clone(), ops.clone());
            let stack = stacks.pop().unwrap_or_default();
            Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
                let mut flow = Flow {
                    stage: stage.clone(),
                    me,
                    yielder,
                    fresh: true,
                };
                for op in &ops {
                    (&mut flow).pause(Point::Access);
                    let outcome = perform(&mut flow, op);
                    stage.outcomes.borrow_mut()[me].push(outcome);
                }
            })
        };
        let running = flows.iter().enumerate().map(start).collect();
        Play { stage, running }
    }

    /// The flows that can go on, as bits.
    fn ready(&self) -> u32 {
        let asleep = self.stage.asleep.borrow();
        let can = |flow: &usize| {
            !self.running[*flow].done() && asleep.iter().all(|(_, sleeper)| sleeper != flow)
        };
        (0..self.running.len())
            .filter(can)
            .fold(0, |all, flow| all | 1 << flow)
    }

    /// One flow does its next step.
    fn step(&mut self, flow: usize) -> Footprint {
        let begin = |stage: &Stage<S>| stage.world.borrow().trace(|t| t.begin());
        begin(&self.stage);
        self.running[flow].resume(());
        let mut footprint = Footprint::default();
        self.stage.world.borrow().trace(|t| footprint = t.end());
        footprint
    }

    /// Checks the state after all flows have ended.
    fn end(self, stacks: &mut Vec<DefaultStack>) -> End {
        stacks.extend(self.running.into_iter().map(Coroutine::into_stack));
        let stage = Rc::into_inner(self.stage).expect("the flows have ended");
        let mut world = stage.world.into_inner();
        world.check();
        let end = End {
            model: model_of(&mut world),
            outcomes: stage.outcomes.into_inner(),
        };
        // The translations say the same.
        for space in 0..world.spaces.len() {
            let Some(Some(bytes)) = end.model.spaces.get(space) else {
                continue;
            };
            let loaded = world.load(space, FIRST_PAGE * PAGE, PAGES * PAGE);
            assert!(
                loaded.as_ref() == Ok(bytes),
                "process {space} loads other bytes"
            );
            world.exit(space);
        }
        assert_eq!(world.frames.borrow().used(), 0, "frames left");
        assert_eq!(world.swap.handles().count(), 0, "swap files left");
        world.servers.check_idle();
        end
    }

    /// Abandons the flows.
    fn abandon(self, stacks: &mut Vec<DefaultStack>) {
        for mut running in self.running {
            running.force_unwind();
            stacks.push(running.into_stack());
        }
    }
}

/// Files and memory as they are.
fn model_of<S: Servers>(world: &mut World<S>) -> Eager {
    let files = (0..world.servers.files()).map(|file| world.servers.content(file));
    let files = files.collect();
    let first = FIRST_PAGE as u64;
    let spaces = (0..world.spaces.len())
        .map(|space| {
            let exists = world.spaces[space].is_some();
            exists.then(|| world.peek(space, first, first + PAGES as u64))
        })
        .collect();
    let names = (0..world.servers.files()).map(|name| world.servers.named(name));
    let names = names.collect();
    Eager {
        files,
        names,
        spaces,
    }
}

/// A choice among flows.
struct Node {
    ready: u32,
    /// The flow that goes on.
    chosen: usize,
    /// The objects that its step used.
    footprint: Footprint,
    /// Flows whose next step has been tried, here or before something that is
    /// independent of it.
    asleep: Vec<(usize, Footprint)>,
    /// Flows that have been tried here.
    tried: u32,
    /// The flow that ran before, and interruptions so far.
    last: Option<usize>,
    preemptions: u32,
}

impl Node {
    /// Before any step.
    fn first(ready: u32) -> Node {
        Node {
            ready,
            chosen: 0,
            footprint: Footprint::default(),
            asleep: Vec::new(),
            tried: 0,
            last: None,
            preemptions: 0,
        }
    }

    /// Interruptions if `flow` is next.
    fn preemptions_with(&self, flow: usize) -> u32 {
        let interrupts = |last: usize| last != flow && self.ready & 1 << last != 0;
        self.preemptions + u32::from(self.last.is_some_and(interrupts))
    }

    /// Picks a flow that has not been tried.
    fn choose(&mut self, options: &Options) -> bool {
        let free = |flow: &usize| {
            self.ready & !self.tried & 1 << flow != 0
                && (options.all || self.asleep.iter().all(|(asleep, _)| asleep != flow))
                && options
                    .preemptions
                    .is_none_or(|most| self.preemptions_with(*flow) <= most)
        };
        // The one that ran before goes first: few interruptions.
        let order = self.last.into_iter().chain(0..32);
        let Some(flow) = order.into_iter().find(free) else {
            return false;
        };
        (self.chosen, self.tried) = (flow, self.tried | 1 << flow);
        true
    }

    /// The node after the chosen step.
    fn child(&self, ready: u32) -> Node {
        let stays = |(flow, next): &&(usize, Footprint)| {
            *flow != self.chosen && next.independent(&self.footprint)
        };
        Node {
            asleep: self.asleep.iter().filter(stays).cloned().collect(),
            last: Some(self.chosen),
            preemptions: self.preemptions_with(self.chosen),
            ..Node::first(ready)
        }
    }
}

/// Runs all schedules of a scenario over `servers`; panics where one goes wrong.
pub fn explore<S: Servers + 'static>(
    servers: impl Fn() -> S,
    config: Config,
    scenario: &Scenario,
    options: Options,
) -> Explored {
    let start = || {
        let mut world = World::new(servers(), config);
        for op in &scenario.before {
            perform(&mut world, op);
        }
        world
    };
    let allowed = ends(&model_of(&mut start()), &scenario.flows);
    let mut explored = Explored {
        allowed: allowed.len(),
        ..Explored::default()
    };
    let (mut nodes, mut stacks) = (Vec::new(), Vec::new());
    loop {
        let mut shown = Shown(scenario.name, Vec::new());
        let mut play = Play::new(start(), &scenario.flows, options.points, &mut stacks);
        if run(&mut play, &mut nodes, &options, &mut shown) {
            explored.schedules += 1;
            explored.steps += shown.1.len() as u64;
            let end = play.end(&mut stacks);
            assert!(allowed.contains(&end), "{}", describe(&end, &allowed));
            explored.met.insert(end);
        } else {
            play.abandon(&mut stacks);
        }
        // The next one: another choice, as late as there is one.
        while let Some(node) = nodes.last_mut() {
            let tried = (node.chosen, std::mem::take(&mut node.footprint));
            node.asleep.push(tried);
            if node.choose(&options) {
                break;
            }
            nodes.pop();
        }
        if nodes.is_empty() {
            return explored;
        }
    }
}

/// Runs one schedule: as `nodes` say, then on, adding to them. Whether it came
/// to the end; if not, others that come to the same have been run.
fn run<S: Servers + 'static>(
    play: &mut Play<S>,
    nodes: &mut Vec<Node>,
    options: &Options,
    shown: &mut Shown,
) -> bool {
    for depth in 0.. {
        let ready = play.ready();
        if ready == 0 {
            let waiting = play.stage.asleep.borrow();
            assert!(waiting.is_empty(), "waiting for ever: {waiting:?}");
            return true;
        }
        if depth == nodes.len() {
            let mut node = match nodes.last() {
                Some(before) => before.child(ready),
                None => Node::first(ready),
            };
            if !node.choose(options) {
                return false;
            }
            nodes.push(node);
        }
        let node = &mut nodes[depth];
        play.stage.stopped.set(None);
        node.footprint = play.step(node.chosen);
        shown.1.push((node.chosen, play.stage.stopped.get()));
    }
    true
}

/// The schedule so far: each step's flow, and where it stopped. Printed if
/// something goes wrong.
struct Shown(&'static str, Vec<(usize, Option<Point>)>);

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!(
                "{}: the schedule, flow by flow and where each stops:",
                self.0
            );
            for (flow, point) in &self.1 {
                println!("    {flow} {point:?}");
            }
        }
    }
}

/// The difference of an end from the permitted ones.
fn describe(end: &End, allowed: &HashSet<End>) -> String {
    let mut names = Vec::new();
    let mut text = format!(
        "an end that no eager order has:\n  {}",
        letters(end, &mut names)
    );
    text += &format!("\nthe {} allowed are:", allowed.len());
    for end in allowed.iter().take(20) {
        text += &format!("\n  {}", letters(end, &mut names));
    }
    text
}

/// Each page as a letter: the same letter, the same content.
fn letters(end: &End, names: &mut Vec<Vec<u8>>) -> String {
    let mut text = String::new();
    let mut name = |bytes: &[u8]| {
        let known = names.iter().position(|known| known == bytes);
        let index = known.unwrap_or_else(|| {
            names.push(bytes.to_vec());
            names.len() - 1
        });
        char::from_u32('A' as u32 + index as u32).unwrap_or('?')
    };
    let mut line = |what: String, bytes: &[u8]| {
        text += &what;
        text.extend(bytes.chunks(PAGE).map(&mut name));
        text.push(' ');
    };
    for (file, bytes) in end.model.files.iter().enumerate() {
        line(format!("file{file}({})=", bytes.len()), bytes);
    }
    for (space, bytes) in end.model.spaces.iter().enumerate() {
        line(
            format!("process{space}="),
            bytes.as_deref().unwrap_or_default(),
        );
    }
    for outcome in end.outcomes.iter().flatten() {
        match outcome {
            Outcome::Loaded(bytes) => line("loaded ".into(), bytes),
            other => line(format!("{other:?}"), &[]),
        }
    }
    text
}
