//! Passes the linker script to the linker. It is copied into cargo's output
//! folder, so that no build keeps a path into the checkout.

use std::{env, fs};

fn main() {
    const SCRIPT: &str = "kernel.ld";
    println!("cargo:rerun-if-changed={SCRIPT}");
    // For the host it is an ordinary program: see `boot/stub`.
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let folder = env::var("OUT_DIR").expect("cargo says where to put files");
    let copy = format!("{folder}/{SCRIPT}");
    fs::copy(SCRIPT, &copy).expect("the linker script can be copied");
    println!("cargo:rustc-link-arg-bins=-T{copy}");
}
