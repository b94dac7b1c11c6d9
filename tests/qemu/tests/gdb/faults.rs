//! Faults, step by step.

use crate::session::{has_gdb, running, session, share};
use std::fs;
use std::path::Path;

/// Follows a load that needs a message, then the first store to the same page.
const FAULTS: &str = r#"
dm fault lazy snapshot asleep
echo == page\n
dm page $cr2
set $va = $cr2
python
from dm import fault
for step in range(30):
    if fault.current is None:
        break
    gdb.execute("continue")
end
echo == after\n
dm page $va
dm fault $va
echo == store\n
dm page $va
dm fault rest
echo == stored\n
dm page $va
dm attach lazy
echo == inlined\n
python
from dm import kernel
fault.Publish.function = kernel.Function("dormouse_kernel::gone")
end
dm fault sh
dm fault rest
echo == shell\n
dm ps
dm fault off
delete
detach
"#;

#[test]
fn a_fault_is_followed_step_by_step() {
    if !has_gdb(true) {
        return;
    }
    let log = session(&share(), "lazy -n 3 /n/host/file; sh -c true", FAULTS);
    let (load, store) = log.0.split_once("== after").unwrap();
    let mut rest = load;
    for step in [
        "trap: lazy (",
        "look-up: page ",
        "asleep: its content is that of /n/host/file from byte 0x",
        "fill: page ",
        "request: the kernel puts a Tread into the channel of mount ",
        ", 4096 bytes from byte 0x",
        "park: lazy (",
        "waits for: reply of a server",
        "server: hostfs (",
        "device: interrupt ",
        "reply: hostfs (",
        "publish: frame 0x",
        "map: page ",
        "return: lazy (",
    ] {
        let found = rest.find(step);
        rest = &rest[found.unwrap_or_else(|| panic!("no {step}:\n{load}"))..];
    }
    assert!(load.contains(" loads from 0x"), "{load}");
    assert!(store.contains(" stores to 0x"), "{store}");
    assert!(
        store.contains("and the translation is read-only, user"),
        "{store}"
    );
    assert!(
        store.contains("detach: nobody else has the frame: page "),
        "{store}"
    );
    assert!(store.contains("return: lazy ("), "{store}");
    assert!(log.line("page", "state").starts_with("asleep"));
    assert!(log.line("after", "state").starts_with("resident, frame"));
    assert!(log.line("store", "state").starts_with("resident, frame"));
    assert!(log.line("stored", "state").starts_with("dirty, frame"));
    assert!(log.line("stored", "translation").contains(", write, user"));
    log.has(
        "inlined",
        "no stop at publish: the kernel has no function dormouse_kernel::gone",
    );
    // The fault of a program that gdb has no symbols of.
    assert_eq!(running(log.part("shell"))[2], "/bin/sh");
}

#[test]
fn the_script_that_follows_a_page_does() {
    if !has_gdb(true) {
        return;
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/follow.gdb");
    let script = fs::read_to_string(file).unwrap() + "detach\n";
    let log = session(&share(), "lazy /n/host/file", &script).0;
    let (before, after) = log.split_once("--- The steps of the fault.").unwrap();
    assert!(before.contains("state        asleep"), "{log}");
    assert!(before.contains("40 asleep\n"), "{log}");
    assert!(after.contains("return: lazy ("), "{log}");
    assert!(after.contains("state        resident"), "{log}");
    assert!(after.contains("39 asleep, 1 resident\n"), "{log}");
}
