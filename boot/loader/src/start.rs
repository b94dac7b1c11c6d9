//! The first instructions: from PVH's 32-bit entry to [`crate::load`] in long
//! mode.
//!
//! PVH enters with paging off, flat segments, interrupts off and the address of
//! `hvm_start_info` in `ebx` (Xen's docs/misc/pvh.pandoc). The page tables
//! built here are provisional: they identity-map the first 4 GiB in 2 MiB
//! pages, writable and executable. [`crate::load`] replaces them by the final
//! tables, in which no page is both.

// The host's linker cannot place it: see `boot/stub`.
#[cfg(target_os = "none")]
core::arch::global_asm!(
    r#"
    # "Start here": an ELF note of the owner Xen, type 18, with the entry.
    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 4, 18
    .asciz "Xen"
    .long pvh_start

    .section .text.pvh, "ax"
    .code32
    .global pvh_start
pvh_start:
    cli
    cld
    mov esp, offset early_stack_top
    mov esi, ebx                    # start_info, kept for load()

    # Level 4 -> level 3 -> four level 2 tables of 512 pages of 2 MiB.
    mov eax, offset early_level3 + 3
    mov [early_level4], eax
    mov eax, offset early_level2 + 3
    mov edi, offset early_level3
    mov ecx, 4
1:  mov [edi], eax
    add eax, 4096
    add edi, 8
    loop 1b
    mov eax, 0x83                   # present, writable, 2 MiB
    mov edi, offset early_level2
    mov ecx, 2048
2:  mov [edi], eax
    add eax, 0x200000
    add edi, 8
    loop 2b

    # PAE, the tables, long mode with no-execute, then paging with WP.
    mov eax, cr4
    or eax, 1 << 5
    mov cr4, eax
    mov eax, offset early_level4
    mov cr3, eax
    mov ecx, 0xc0000080             # EFER: LME | NXE
    rdmsr
    or eax, (1 << 8) | (1 << 11)
    wrmsr
    mov eax, cr0
    or eax, (1 << 31) | (1 << 16)
    mov cr0, eax

    lgdt [early_gdt_pointer]
    ljmp 0x08, offset long_mode

    .code64
long_mode:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    xor ebp, ebp
    mov edi, esi                    # clears the upper half of rdi as well
    call {load}
    ud2

    # Code and data for ring 0, already marked as accessed: the processor
    # never writes to this table, which is mapped read-only later.
    .balign 8
early_gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
early_gdt_pointer:
    .word 23
    .long early_gdt

    .section .bss, "aw", @nobits
    .balign 4096
early_level4: .skip 4096
early_level3: .skip 4096
early_level2: .skip 4 * 4096
early_stack:  .skip 64 * 1024
early_stack_top:
"#,
    load = sym crate::load,
);

unsafe extern "C" {
    static loader_start: u8;
    static loader_rodata: u8;
    static loader_data: u8;
    static loader_end: u8;
}

/// Where the parts of the loader lie: text from `start`, constants from
/// `rodata`, data and stack from `data`, up to `end`. All page aligned.
pub struct Extent {
    /// First byte of the text.
    pub start: u64,
    /// First byte of the constants.
    pub rodata: u64,
    /// First byte of the writable data.
    pub data: u64,
    /// One past the last byte.
    pub end: u64,
}

/// The loader's own place in memory, from the linker script.
pub fn extent() -> Extent {
    Extent {
        start: (&raw const loader_start) as u64,
        rodata: (&raw const loader_rodata) as u64,
        data: (&raw const loader_data) as u64,
        end: (&raw const loader_end) as u64,
    }
}
