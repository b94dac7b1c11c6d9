//! The build script of every program: links it with the runtime's layout.
//!
//! The linker script is part of this source and is written into cargo's output
//! folder, so that no build keeps a path into the checkout, which may be moved.

use std::{env, fs};

const LAYOUT: &str = include_str!("program.ld");

fn main() {
    // Without a line of this kind cargo would run the script at each change of
    // the program.
    println!("cargo:rerun-if-env-changed=CARGO_CFG_TARGET_OS");
    // For the host it is an ordinary program: see `boot/stub`.
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let folder = env::var("OUT_DIR").expect("cargo says where to put files");
    let copy = format!("{folder}/program.ld");
    fs::write(&copy, LAYOUT).expect("the program's layout can be written");
    println!("cargo:rustc-link-arg-bins=-T{copy}");
}
