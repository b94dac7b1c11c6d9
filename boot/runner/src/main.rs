//! The program behind `cargo run`; the library does the work.

use clap::Parser;
use dormouse::cli::Cli;
use dormouse::failure::say;
use std::process::ExitCode;

fn main() -> ExitCode {
    match Cli::parse().execute() {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            say(&failure);
            ExitCode::from(failure.status)
        }
    }
}
