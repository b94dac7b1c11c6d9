//! The functions of QEMU that the plugin calls (`qemu-plugin.h`, version 1 of the
//! interface, that of QEMU 6.0 to 8.1 and accepted by later ones up to 8.2).

use crate::plugin;
use std::ffi::{c_int, c_uint, c_void};

/// The version of the interface that this plugin was written for.
#[unsafe(no_mangle)]
pub static qemu_plugin_version: c_int = 1;

/// A function called with what it was registered with.
type Executed = extern "C" fn(c_uint, *mut c_void);
/// The same for an access to memory, with its address.
type Accessed = extern "C" fn(c_uint, u32, u64, *mut c_void);

/// The called function reads no registers.
const NO_REGISTERS: c_int = 0;
/// Loads only.
const LOADS: c_int = 1;

unsafe extern "C" {
    fn qemu_plugin_register_vcpu_tb_trans_cb(id: u64, f: extern "C" fn(u64, *mut c_void));
    fn qemu_plugin_register_atexit_cb(
        id: u64,
        f: extern "C" fn(u64, *mut c_void),
        data: *mut c_void,
    );
    fn qemu_plugin_register_vcpu_tb_exec_cb(
        block: *mut c_void,
        f: Executed,
        flags: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_register_vcpu_insn_exec_cb(
        instruction: *mut c_void,
        f: Executed,
        flags: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_register_vcpu_mem_cb(
        instruction: *mut c_void,
        f: Accessed,
        flags: c_int,
        accesses: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_tb_n_insns(block: *const c_void) -> usize;
    fn qemu_plugin_tb_vaddr(block: *const c_void) -> u64;
    fn qemu_plugin_tb_get_insn(block: *const c_void, index: usize) -> *mut c_void;
    fn qemu_plugin_insn_data(instruction: *const c_void) -> *const u8;
    fn qemu_plugin_insn_size(instruction: *const c_void) -> usize;
    fn qemu_plugin_insn_vaddr(instruction: *const c_void) -> u64;
}

/// Asks QEMU to tell of each block that it translates, and of its end.
pub fn register(id: u64) {
    // SAFETY: `id` is what QEMU gave the plugin; both functions stay.
    unsafe {
        qemu_plugin_register_vcpu_tb_trans_cb(id, plugin::translated);
        qemu_plugin_register_atexit_cb(id, plugin::ended, std::ptr::null_mut());
    }
}

/// A block that QEMU translates; valid until the call that was given it returns.
pub struct Block(*mut c_void);

impl Block {
    /// The block that QEMU names.
    pub fn new(block: *mut c_void) -> Block {
        Block(block)
    }

    /// Address of its first instruction.
    pub fn address(&self) -> u64 {
        // SAFETY: the block is valid during the call.
        unsafe { qemu_plugin_tb_vaddr(self.0) }
    }

    /// Its instructions, in order.
    pub fn instructions(&self) -> impl Iterator<Item = Instruction> + '_ {
        // SAFETY: the block is valid during the call, and has that many instructions.
        let count = unsafe { qemu_plugin_tb_n_insns(self.0) };
        // SAFETY: as above; the index is below the count.
        (0..count).map(|index| Instruction(unsafe { qemu_plugin_tb_get_insn(self.0, index) }))
    }

    /// Has `f` called with `data` before each execution of the block.
    pub fn on_execution(&self, f: Executed, data: usize) {
        // SAFETY: the block is valid during the call; `f` takes `data` for a number.
        unsafe {
            qemu_plugin_register_vcpu_tb_exec_cb(self.0, f, NO_REGISTERS, data as *mut c_void);
        }
    }
}

/// An instruction of a block; valid as long as the block.
pub struct Instruction(*mut c_void);

impl Instruction {
    /// Its address.
    pub fn address(&self) -> u64 {
        // SAFETY: the instruction is valid during the call.
        unsafe { qemu_plugin_insn_vaddr(self.0) }
    }

    /// Its code.
    pub fn bytes(&self) -> Vec<u8> {
        // SAFETY: the instruction is valid during the call and has that many bytes.
        unsafe {
            let len = qemu_plugin_insn_size(self.0);
            std::slice::from_raw_parts(qemu_plugin_insn_data(self.0), len).to_vec()
        }
    }

    /// Has `f` called with `data` before each execution.
    pub fn on_execution(&self, f: Executed, data: usize) {
        // SAFETY: as for blocks.
        unsafe {
            qemu_plugin_register_vcpu_insn_exec_cb(self.0, f, NO_REGISTERS, data as *mut c_void);
        }
    }

    /// Has `f` called with the address of each load.
    pub fn on_load(&self, f: Accessed) {
        // SAFETY: the instruction is valid during the call.
        unsafe {
            let data = std::ptr::null_mut();
            qemu_plugin_register_vcpu_mem_cb(self.0, f, NO_REGISTERS, LOADS, data);
        }
    }
}
