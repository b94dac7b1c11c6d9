//! The build script of every program: links it with the runtime's layout.
//!
//! The layout is copied beside what cargo makes, so that no path into the
//! checkout is kept from one build to the next: it may have been moved.

use std::{env, fs};

fn main() {
    const LAYOUT: &str = "../rt/program.ld";
    println!("cargo:rerun-if-changed={LAYOUT}");
    // For the host it is an ordinary program: see `boot/stub`.
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let folder = env::var("OUT_DIR").expect("cargo says where to put files");
    let copy = format!("{folder}/program.ld");
    fs::copy(LAYOUT, &copy).expect("the runtime's layout can be copied");
    println!("cargo:rustc-link-arg-bins=-T{copy}");
}
