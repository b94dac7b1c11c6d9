//! What QEMU calls: at its start and end, at each block of code that it translates, and
//! at each that it executes.

use crate::counts::Counts;
use crate::images::Images;
use crate::qemu;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fs;
use std::sync::{Mutex, PoisonError};

static COUNTS: Mutex<Option<Counts>> = Mutex::new(None);

fn with_counts<T>(f: impl FnOnce(&mut Counts) -> T) -> Option<T> {
    let mut counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    counts.as_mut().map(f)
}

/// The arguments: `images=FILE`, with a line `NAME PATH` for each program; `out=FILE`;
/// `switch=START-END`, the addresses of the function that switches stacks; `all=1` to
/// count from the first instruction on instead of between the marks.
fn start(words: &BTreeMap<String, String>) -> Result<Counts, String> {
    let word = |key: &str| {
        let found = words.get(key);
        found.ok_or_else(|| format!("no {key}="))
    };
    let switch = word("switch")?;
    let range = switch.split_once('-').and_then(|(start, end)| {
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some(number(start)?..number(end)?)
    });
    let range = range.ok_or_else(|| format!("switch={switch}: no range"))?;
    let list = word("images")?;
    let text = fs::read_to_string(list).map_err(|error| format!("{list}: {error}"))?;
    Ok(Counts::new(
        Images::load(&text)?,
        range,
        word("out")?.clone(),
        words.contains_key("all"),
    ))
}

/// Called by QEMU when it has loaded the plugin. A number other than 0 ends QEMU.
///
/// # Safety
/// QEMU passes `count` strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: u64,
    _info: *const c_void,
    count: c_int,
    words: *const *const c_char,
) -> c_int {
    let texts = (0..count.max(0) as usize).map(|index| {
        // SAFETY: QEMU passes `count` pointers to strings that end with a zero.
        unsafe { CStr::from_ptr(*words.add(index)) }.to_string_lossy()
    });
    let pair = |text: &str| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_string(), value.to_string())
    };
    match start(&texts.map(|text| pair(&text)).collect()) {
        Ok(counts) => {
            *COUNTS.lock().unwrap_or_else(PoisonError::into_inner) = Some(counts);
            qemu::register(id);
            0
        }
        Err(why) => {
            eprintln!("profiler: {why}");
            1
        }
    }
}

/// A block was translated.
pub extern "C" fn translated(_id: u64, block: *mut c_void) {
    let block = qemu::Block::new(block);
    with_counts(|counts| {
        let instructions: Vec<_> = block.instructions().collect();
        let mut code = Vec::new();
        let mut sizes = Vec::new();
        for instruction in &instructions {
            code.extend_from_slice(&instruction.bytes());
            sizes.push(instruction.bytes().len() as u8);
            match instruction.bytes().as_slice() {
                // The marks of `rt::profile`: operations that do nothing.
                [0x0f, 0x1f, 0x84, 0x00, b'M', b'R', b'K', b'B'] => {
                    instruction.on_execution(marked, 1);
                }
                [0x0f, 0x1f, 0x84, 0x00, b'M', b'R', b'K', b'E'] => {
                    instruction.on_execution(marked, 0);
                }
                _ if counts.switch.contains(&instruction.address()) => {
                    instruction.on_load(loaded);
                }
                _ => {}
            }
        }
        let index = counts.add_block(block.address(), &code, &sizes);
        block.on_execution(executed, index);
    });
}

extern "C" fn executed(_cpu: c_uint, index: *mut c_void) {
    with_counts(|counts| counts.execute(index as usize));
}

extern "C" fn marked(_cpu: c_uint, on: *mut c_void) {
    with_counts(|counts| counts.mark(on as usize == 1));
}

/// The function that switches stacks has popped from the new one.
extern "C" fn loaded(_cpu: c_uint, _info: u32, address: u64, _data: *mut c_void) {
    with_counts(|counts| counts.stack(address));
}

/// QEMU ends.
pub extern "C" fn ended(_id: u64, _data: *mut c_void) {
    with_counts(|counts| {
        if let Err(error) = counts.write() {
            eprintln!("profiler: {error}");
        }
    });
}
