//! Registers that the kernel itself does not use: each process has its own.

use super::Case;
use crate::check::{PG, Verdict, Why, other, same};
use core::arch::asm;
use rt::{Named, Segment, process, sys};

pub const CASES: &[Case] = &[
    Case::new("registers.selectors", selectors),
    Case::dies("registers.local-table", local_table, &["protection"]),
    Case::new("registers.interrupt-return", interrupt_return),
];

const A_WHILE_NS: u64 = 1_000_000;
/// Selectors of the program's own data, at each privilege level.
const DATA: [u64; 4] = [0x18, 0x19, 0x1a, 0x1b];

/// DS, ES, FS, GS.
fn loaded() -> [u64; 4] {
    let [mut ds, mut es, mut fs, mut gs] = [0u64; 4];
    // SAFETY: reads registers.
    unsafe {
        asm!("mov {0:x}, ds", "mov {1:x}, es", "mov {2:x}, fs", "mov {3:x}, gs",
            inout(reg) ds, inout(reg) es, inout(reg) fs, inout(reg) gs,
            options(nomem, nostack, preserves_flags));
    }
    [ds, es, fs, gs]
}

fn load(to: [u64; 4]) {
    let [ds, es, fs, gs] = to;
    // SAFETY: the selectors are of data that programs may use, or null; 64-bit
    // code does not depend on them.
    unsafe {
        asm!("mov ds, {0:x}", "mov es, {1:x}", "mov fs, {2:x}", "mov gs, {3:x}",
            in(reg) ds, in(reg) es, in(reg) fs, in(reg) gs,
            options(nomem, nostack, preserves_flags));
    }
}

/// Keeps `mine` while others run.
fn keeps(mine: [u64; 4]) -> Verdict {
    for _ in 0..20 {
        load(mine);
        sys::sleep(0)?;
        same("selectors", loaded(), mine)?;
        sys::sleep(A_WHILE_NS)?;
        same("selectors", loaded(), mine)?;
    }
    Ok(())
}

/// No process sees or loses segment registers that another, or the program
/// before it, loaded.
fn selectors() -> Verdict {
    let before = loaded();
    load(DATA);
    let inherited = other(|| same("of a child", loaded(), DATA));
    load(before);
    inherited?;
    let pid = process::spawn(|| u8::from(keeps([0x1b, 0x1a, 0, 0x18]).is_err()))?;
    let kept = keeps([0x19, 0x1a, 0x23, 0]).and_then(|()| keeps([0; 4]));
    let status = process::wait_for(pid)?.status();
    load(before);
    kept?;
    same("the other's status", status, 0)?;
    let pid = process::spawn(|| {
        load(DATA);
        process::exec("/bin/suite", &[SHOW]);
        9
    })?;
    same("of a new program", process::wait_for(pid)?.status(), 0)
}

/// Started under this name, the suite ends with status 0 if it began with empty
/// selectors and FS at zero.
pub const SHOW: &str = "selectors";

/// The action of the suite under that name.
pub fn show() -> u8 {
    u8::from(loaded() != [0; 4] || rt::sys::thread_base(0) != Ok(0))
}

/// There is no table of descriptors where a program could put its own.
fn local_table() -> Verdict {
    let mut page = Segment::attach_with("memory", PG, 0xf000, 0).about("a page at 0xf000")?;
    // A data segment of everything, wherever it is looked for.
    let descriptor = 0x00cf_f300_0000_ffff_u64.to_le_bytes();
    page.bytes_mut().copy_from_slice(&descriptor.repeat(PG / 8));
    // SAFETY: the selector names nothing; the process ends here.
    unsafe { asm!("mov ds, {0:x}", in(reg) 0xffff, options(nostack)) };
    Err(Why("it went on".into()))
}

/// A fault of `iretq` in a program is reported once: QEMU takes the stack of a
/// program's `iretq` for the kernel's.
fn interrupt_return() -> Verdict {
    let pid = process::spawn(|| {
        // SAFETY: returns to the next instruction with the stack as it is.
        unsafe {
            asm!(
                "mov {rsp}, rsp",
                "push {ss}",
                "push {rsp}",
                "pushfq",
                "push 0x23",
                "lea {ss}, [rip + 2f]",
                "push {ss}",
                "iretq",
                "2:",
                rsp = out(reg) _,
                ss = inout(reg) 0x1b_u64 => _,
            );
        }
        0
    })?;
    let status = process::wait_for(pid)?.status();
    ensure!(status == 0 || status == 128, "status {status}");
    Ok(())
}
