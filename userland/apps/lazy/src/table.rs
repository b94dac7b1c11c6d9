//! Prints the traffic of the steps.

use rt::ByteStr;
use rt::stats::{Cell, Figures};
use rt::{print, println};

/// `step` and the columns, separated by tabs; `-` for columns without a value.
pub fn tabs(steps: &[(&str, Figures)]) {
    for (name, figures) in steps {
        print!("{name}");
        for column in figures.columns() {
            match column {
                Some(number) => print!("\t{number}"),
                None => print!("\t-"),
            }
        }
        println!();
    }
}

/// A table for people.
pub fn pretty(steps: &[(&str, Figures)], path: ByteStr<'_>, size: u64) {
    println!("{path}, {} bytes", Cell(Some(size)));
    print!("{:8}", "step");
    Figures::HEADS.iter().for_each(|head| print!("{head:>14}"));
    println!();
    for (name, figures) in steps {
        print!("{name:8}");
        let columns = figures.columns();
        columns
            .iter()
            .for_each(|column| print!("{:>14}", Cell(*column)));
        println!();
    }
    println!("messages and bytes_in/out: kernel and file server; device_in/out: driver and QEMU");
}
