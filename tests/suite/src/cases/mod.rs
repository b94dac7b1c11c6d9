//! The cases, one file per subject.

mod between;
mod bytes;
mod contract;
mod cost;
mod counters;
mod crowd;
pub mod death;
mod devices;
mod evict;
mod exchange;
mod exec;
mod exec_lazy;
mod failing;
mod fs;
mod fuzz;
mod gaps;
mod gaps_forked;
mod heap;
mod hostile;
mod inside;
mod kernel;
mod large;
mod larger;
mod lent;
mod lies;
mod limits;
mod limits_host;
mod links;
mod list;
mod loan;
mod lost;
mod lying;
mod names;
mod note;
mod pagers;
mod poison;
mod ports;
mod process;
mod protected;
mod ragged;
mod random;
pub mod registers;
mod released;
mod rfmem;
mod scale;
mod server;
mod sharing;
mod snapshot;
mod stacked;
mod steps;
mod swap;
mod threads;
mod tmp;
mod together;
mod trace;
mod twins;
mod wake;
mod write;

use crate::check::{Verdict, Why};
use rt::abi::privilege;

/// Started under this name, the suite prints its environment instead.
pub const ENVIRONMENT: &str = "environment";

/// How the process of a case must end.
pub enum Expect {
    /// By itself, with status 0.
    Passes,
    /// By the kernel, with a message that contains all of these.
    Dies(&'static [&'static str]),
}

/// When a case runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// In all modes.
    Usual,
    /// Only with deferral on: it counts the savings of deferral.
    Deferred,
    /// Only when asked for by name.
    Asked,
    /// Not under pressure. The kernel is told to fail, and a page of the program itself
    /// that comes back would fail in place of the call; or memory must be out although
    /// the program that has it does nothing, and there is swap for it then; or a program
    /// works all over its memory for long.
    Unpressed,
}

/// One case.
pub struct Case {
    pub name: &'static str,
    pub run: fn() -> Verdict,
    pub expect: Expect,
    pub when: When,
    /// The privileges that its process keeps, if the suite has them.
    pub privileges: u64,
}

impl Case {
    const fn new(name: &'static str, run: fn() -> Verdict) -> Case {
        Case {
            name,
            run,
            expect: Expect::Passes,
            when: When::Usual,
            privileges: 0,
        }
    }

    /// A case that counts the savings of deferral.
    const fn deferred(name: &'static str, run: fn() -> Verdict) -> Case {
        Case {
            when: When::Deferred,
            ..Case::new(name, run)
        }
    }

    /// A case that is not for a guest under pressure.
    const fn unpressed(name: &'static str, run: fn() -> Verdict) -> Case {
        Case {
            when: When::Unpressed,
            ..Case::new(name, run)
        }
    }

    /// A case that runs only on request.
    const fn asked(name: &'static str, run: fn() -> Verdict) -> Case {
        Case {
            when: When::Asked,
            ..Case::new(name, run)
        }
    }

    /// A case with the privileges of a driver, which runs only on request.
    const fn driver(name: &'static str, run: fn() -> Verdict) -> Case {
        Case {
            privileges: privilege::DEVICE | privilege::COUNTERS,
            ..Case::asked(name, run)
        }
    }

    /// One whose process the kernel has to end.
    const fn dies(
        name: &'static str,
        run: fn() -> Verdict,
        message: &'static [&'static str],
    ) -> Case {
        Case {
            expect: Expect::Dies(message),
            ..Case::new(name, run)
        }
    }

    pub fn only_when_asked(&self) -> bool {
        self.when == When::Asked
    }

    pub fn runs_here(&self, eager: bool, pressed: bool) -> bool {
        match self.when {
            When::Deferred => !eager,
            When::Unpressed => !pressed,
            When::Usual | When::Asked => true,
        }
    }
}

const SELF_TEST: &[Case] = &[Case::asked("must-fail", || Err(Why("as it must".into())))];

/// A case whose steps are drawn from random numbers, by its name. It runs for any seed.
type Seeded = (&'static str, fn(u64) -> Verdict);

/// Those cases.
pub const SEEDED: &[Seeded] = &[
    ("fuzz.calls", fuzz::calls),
    ("fuzz.wild", fuzz::wild),
    ("lies.random", lying::storm),
    ("random", random::random),
    ("random.liar", between::between),
];

/// All of them, in the order they run.
pub fn all() -> impl Iterator<Item = &'static Case> {
    [
        kernel::CASES,
        ports::CASES,
        protected::CASES,
        exchange::CASES,
        names::CASES,
        bytes::CASES,
        links::CASES,
        tmp::CASES,
        process::CASES,
        registers::CASES,
        rfmem::CASES,
        threads::CASES,
        exec::CASES,
        exec_lazy::CASES,
        note::CASES,
        trace::CASES,
        list::CASES,
        snapshot::CASES,
        wake::CASES,
        write::CASES,
        ragged::CASES,
        contract::CASES,
        cost::CASES,
        random::CASES,
        together::CASES,
        server::CASES,
        lies::CASES,
        steps::CASES,
        loan::CASES,
        lent::CASES,
        lost::CASES,
        lying::CASES,
        between::CASES,
        stacked::CASES,
        pagers::CASES,
        released::CASES,
        large::CASES,
        scale::CASES,
        sharing::CASES,
        heap::CASES,
        swap::CASES,
        larger::CASES,
        hostile::CASES,
        inside::CASES,
        limits::CASES,
        limits_host::CASES,
        failing::CASES,
        fs::CASES,
        fuzz::CASES,
        gaps::CASES,
        gaps_forked::CASES,
        poison::CASES,
        counters::CASES,
        crowd::CASES,
        devices::CASES,
        evict::CASES,
        twins::CASES,
        death::CASES,
        SELF_TEST,
    ]
    .into_iter()
    .flatten()
}
