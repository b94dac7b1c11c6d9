//! `hello [NAME]`: greets, and checks something.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use rt::{Args, Failure, Named, Segment, println};

rt::main!(main);

/// An error ends the program with status 1 and its text on standard error.
fn main(args: Args) -> Result<(), Failure> {
    println!("hello, {}", args.get(0).unwrap_or("world".into()));
    let mut segment = Segment::attach("memory", 4096).about("a page")?;
    segment.bytes_mut()[0] += 1;
    match segment.bytes_mut()[..2] {
        [1, 0] => Ok(()),
        _ => Err(Failure::new("memory did not begin as zeros")),
    }
}
