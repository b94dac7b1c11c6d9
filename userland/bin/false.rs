//! `false`: fails.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

rt::main!(main);

fn main(_args: rt::Args) -> u8 {
    1
}
