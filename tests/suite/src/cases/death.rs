//! Programs that break the rules: each is ended with a message that names its
//! offence, and all others go on.

use super::Case;
use crate::check::{PG, Verdict, Why};
use core::arch::asm;
use rt::Segment;

pub const CASES: &[Case] = &[
    Case::dies("death.load.null", || load(0), &["no segment"]),
    Case::dies(
        "death.load.nowhere",
        || load(0x1234_5678_9abc),
        &["no segment", "0x123456789abc"],
    ),
    Case::dies(
        "death.load.kernel",
        || load(0xffff_8000_0000_0000),
        &["0xffff800000000000"],
    ),
    Case::dies(
        "death.load.noncanonical",
        || load(0x4141_4141_4141_4141),
        &["protection"],
    ),
    Case::dies(
        "death.store.text",
        store_text,
        &["store to read-only segment"],
    ),
    Case::dies(
        "death.store.constant",
        store_constant,
        &["store to read-only segment"],
    ),
    Case::dies("death.jump.null", || jump(0), &["no segment"]),
    Case::dies(
        "death.jump.nowhere",
        || jump(0x1234_5678_9000),
        &["no segment", "0x123456789000"],
    ),
    Case::dies(
        "death.jump.kernel",
        || jump(0xffff_ffff_8000_0000),
        &["0xffffffff80000000"],
    ),
    Case::dies(
        "death.jump.noncanonical",
        || jump(0x8000_0000_0000),
        &["protection"],
    ),
    Case::dies("death.jump.data", jump_data, &["jump into data"]),
    Case::dies("death.stack.overflow", stack_overflow, &["stack overflow"]),
    Case::dies("death.stack.lost", stack_lost, &["fault"]),
    Case::dies("death.divide", divide, &["divi"]),
    Case::dies("death.cli", cli, &["protection"]),
    Case::dies("death.hlt", hlt, &["protection"]),
    Case::dies("death.port", port, &["protection"]),
    Case::dies("death.msr", msr, &["protection"]),
    Case::dies("death.cr3", cr3, &["protection"]),
    Case::dies("death.undefined", undefined, &["invalid"]),
    Case::dies("death.breakpoint", breakpoint, &["breakpoint"]),
    Case::dies("death.interrupt", interrupt, &["protection"]),
    Case::dies("death.segment.detached", detached, &["no segment"]),
    Case::dies("death.memory.out", memory_out, &["out of memory"]),
    Case::new("death.flags", flags),
];

fn survived() -> Verdict {
    Err(Why("it went on".into()))
}

fn load(address: u64) -> Verdict {
    // SAFETY: not valid on purpose; the process ends here.
    unsafe {
        asm!("mov al, [{at}]", at = in(reg) address, out("al") _, options(nostack));
    }
    survived()
}

fn store(address: u64) -> Verdict {
    // SAFETY: not valid on purpose; the process ends here.
    unsafe {
        asm!("mov byte ptr [{at}], 0", at = in(reg) address, options(nostack));
    }
    survived()
}

fn store_text() -> Verdict {
    store(survived as fn() -> Verdict as usize as u64)
}

fn store_constant() -> Verdict {
    static CONSTANT: [u8; 64] = [3; 64];
    store(CONSTANT.as_ptr() as u64)
}

fn jump(address: u64) -> Verdict {
    // SAFETY: not valid on purpose; the process ends here.
    unsafe {
        asm!("jmp {to}", to = in(reg) address, options(noreturn));
    }
}

fn jump_data() -> Verdict {
    let segment = Segment::attach("memory", PG)?;
    jump(segment.address())
}

fn stack_overflow() -> Verdict {
    fn deeper(depth: u64) -> u64 {
        let here = core::hint::black_box([depth; 64]);
        if here[0] == u64::MAX {
            return 0;
        }
        deeper(depth + 1) + here[core::hint::black_box(3)]
    }
    core::hint::black_box(deeper(0));
    survived()
}

fn stack_lost() -> Verdict {
    // SAFETY: not valid on purpose; the process ends here.
    unsafe {
        asm!("mov rsp, {nowhere}", "push rax", nowhere = in(reg) 0x8000_0000_1000u64,
            options(noreturn));
    }
}

fn divide() -> Verdict {
    // SAFETY: raises an exception, touches no memory.
    unsafe {
        asm!("xor ecx, ecx", "div ecx", inout("eax") 1 => _, inout("edx") 0 => _, out("ecx") _);
    }
    survived()
}

macro_rules! forbidden {
    ($($name:ident: $($line:literal),+;)*) => { $(
        fn $name() -> Verdict {
            // SAFETY: not allowed in user mode; the process ends here.
            unsafe {
                asm!($($line),+, out("rax") _, out("rcx") _, out("rdx") _);
            }
            survived()
        }
    )* };
}

forbidden! {
    cli: "cli";
    hlt: "hlt";
    port: "mov dx, 0xf4", "mov al, 0x10", "out dx, al";
    msr: "mov ecx, 0xc0000080", "rdmsr";
    cr3: "mov rax, cr3";
    undefined: "ud2";
    breakpoint: "int3";
    interrupt: "int 0x20";
}

fn detached() -> Verdict {
    let segment = Segment::attach("memory", PG)?;
    let address = segment.address();
    drop(segment);
    load(address)
}

/// More memory than there is: the process that asks is ended, not the kernel.
fn memory_out() -> Verdict {
    let mut all = Segment::attach("memory", 1 << 40)?;
    let bytes = all.bytes_mut();
    for page in 0..bytes.len() / PG {
        bytes[page * PG] = 1;
    }
    survived()
}

/// Odd flags at a system call do no harm: direction, alignment check, nested
/// task.
fn flags() -> Verdict {
    for flag in [1u64 << 10, 1 << 18, 1 << 14] {
        // SAFETY: the direction flag is cleared again before Rust code runs;
        // the call touches no memory.
        unsafe {
            asm!(
                "pushfq",
                "or [rsp], {flag}",
                "popfq",
                "xor eax, eax",
                "syscall",
                "pushfq",
                "and qword ptr [rsp], {keep}",
                "popfq",
                flag = in(reg) flag,
                keep = const -0x44401i32,
                out("rax") _, out("rcx") _, out("r11") _,
            );
        }
    }
    crate::check::other(|| Ok(()))
}

/// Puts a value into a vector register and looks at it after each of `rounds`
/// turns of others.
pub fn keeps_vector(value: u64, rounds: u32) -> bool {
    for round in 0..rounds {
        let want = value + u64::from(round);
        let got: u64;
        // SAFETY: soft-float code never uses the vector register; `sleep(0)`
        // (call 22) touches no memory.
        unsafe {
            asm!(
                "movq xmm5, {want}",
                "mov eax, 22",
                "xor edi, edi",
                "syscall",
                "movq {got}, xmm5",
                want = in(reg) want,
                got = lateout(reg) got,
                out("rax") _, out("rdi") _, out("rcx") _, out("r11") _,
            );
        }
        if got != want {
            return false;
        }
    }
    true
}
