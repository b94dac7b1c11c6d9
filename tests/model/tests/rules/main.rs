//! Rules and invariants one by one, each by a small program over VM core and
//! snapfs. (One test program, because their common part is slow to build.)

mod ahead;
mod elision;
mod forks;
mod lost;
mod ragged;
mod sharing;
mod swap;
mod tied;
mod trims;

use dormouse_model_tests::world::Config;

/// The default parameters of the kernel.
const CONFIG: Config = Config {
    iounit: 128 << 10,
    ops: vm::OPS_MAX,
    wmax: 8 << 20,
    pages: 1 << 20,
    trim_worth: 64 << 10,
    keeps_frames: true,
    run: 0,
};
