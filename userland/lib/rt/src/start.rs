//! From the kernel's initial stack to `main` and out again.

use crate::{Args, Outcome, args, env, heap};

/// Names the program's `main`: `rt::main!(main);`. The documentation at the
/// beginning of its source is its [`manual`](crate::manual) if the source is
/// given: `rt::main!(main, include_str!("main.rs"));`.
///
/// It takes [`Args`](crate::Args) and returns anything that is an
/// [`Outcome`](crate::Outcome): nothing, a status, or a `Result`.
#[macro_export]
macro_rules! main {
    ($main:path) => {
        $crate::main!($main, "");
    };
    ($main:path, $source:expr) => {
        #[unsafe(no_mangle)]
        fn dormouse_manual() -> &'static str {
            const { $crate::manual::head($source) }
        }

        #[unsafe(no_mangle)]
        fn dormouse_main(args: $crate::Args) -> ! {
            $crate::run(args, $main)
        }
    };
}

unsafe extern "Rust" {
    /// Defined by [`main!`] in the program.
    safe fn dormouse_main(args: Args) -> !;
}

/// The first instruction of every program. The kernel leaves the System V
/// layout at `rsp`: argc, the argv pointers, 0, the environment, 0, and pairs
/// of words that tell about the system.
#[cfg_attr(target_os = "none", unsafe(no_mangle))]
#[unsafe(naked)]
unsafe extern "C" fn _start() -> ! {
    core::arch::naked_asm!(
        "xor ebp, ebp",
        "mov rdi, rsp",
        "and rsp, -16",
        "call {entry}",
        "ud2",
        entry = sym entry,
    )
}

extern "C" fn entry(stack: *const u64) -> ! {
    // SAFETY: called once, by `_start`, with the kernel's initial stack, which
    // is never changed afterwards.
    let args = unsafe {
        env::from_stack(stack);
        args::from_stack(stack)
    };
    heap::choose_kind();
    dormouse_main(args)
}

/// Runs `main` and ends the process with its outcome.
pub fn run<T: Outcome>(args: Args, main: fn(Args) -> T) -> ! {
    main(args).finish(args.program())
}
