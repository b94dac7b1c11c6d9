//! Hands the linker script to the linker.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo:rerun-if-changed=loader.ld");
    println!("cargo:rustc-link-arg-bins=-T{folder}/loader.ld");
}
