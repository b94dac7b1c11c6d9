//! The jobs about threads.

use crate::Round;
use crate::jobs::repeat;
use core::hint;
use rt::thread::Builder;
use rt::{Failure, Named};

/// A thread started, and its value taken.
pub fn spawn() -> Result<Round, Failure> {
    repeat(100, || {
        let handle = Builder::new().spawn(|| 1).about("thread")?;
        hint::black_box(handle.join());
        Ok(())
    })
}
