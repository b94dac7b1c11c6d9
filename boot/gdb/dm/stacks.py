"""The stacks of processes that do not run: where each is in the kernel and in its program.

All guest code keeps frame pointers, so a stack is a chain of pairs: the address of the next
pair, and the return address.
"""

import gdb

from . import attach, kernel, tables
from .kernel import PAGE, Source, cell

SIZE = Source("kernel/hw/src/mem/stack.rs", "STACK_SIZE")
FRAMES_MOST = 48


def plain(name):
    """The name of a function without its types."""
    depth, letters = 0, []
    # An arrow is part of a type, and no bracket.
    for letter in name.replace("->", "").split("(")[0]:
        depth += (letter == "<") - (letter == ">")
        if depth == 0 and letter != ">":
            letters.append(letter)
    return "".join(letters)


def place(address):
    """The functions around an instruction, those inlined there first, and its line."""
    names = []
    block = gdb.block_for_pc(address)
    while block and not block.is_static and not block.is_global:
        if block.function:
            names.append(plain(block.function.print_name))
        block = block.superblock
    # What the kernel's functions use of Rust's library is not what one looks for.
    own = [name for name in names if not name.startswith(("core::", "alloc::"))]
    line = gdb.find_pc_line(address)
    is_own = line.symtab and names[:1] == own[:1]
    where = f" at {line.symtab.filename}:{line.line}" if is_own else ""
    return f"{address:#x} {' < '.join(own or names) or '?'}{where}"


def chain(pair, read, low, high):
    """The return addresses from a pair on; `read` gives 16 bytes of it."""
    for _ in range(FRAMES_MOST):
        if not low <= pair <= high - 16:
            return
        data = read(pair)
        if data is None:
            return
        following, address = (int.from_bytes(data[at : at + 8], "little") for at in (0, 8))
        if address == 0:
            return
        yield address
        if following <= pair:
            return
        pair = following


def now():
    """The processor's instruction and pair, whichever frame is selected."""
    frame = gdb.newest_frame()
    return tuple(int(frame.read_register(name)) & (1 << 64) - 1 for name in ("rip", "rbp"))


def in_kernel(process):
    """Where a process is in the kernel: instructions, innermost first. A return address is
    behind its call."""
    hardware = attach.TASKS.value()["__0"]["value"][process.slot]
    top = int(hardware["stack_top"])
    if process.is_current():
        if attach.in_program():
            return
        here, pair = now()
    else:
        pointer = cell(hardware["context"])
        saved = gdb.lookup_type("dormouse_hw::arch::context::Saved")
        if pointer == 0:
            return
        saved = gdb.Value(pointer).cast(saved.pointer()).dereference()
        here, pair = int(saved["rip"]) - 1, int(saved["rbp"])
    yield here
    for address in chain(pair, lambda at: kernel.memory(at, 16), top - SIZE.constant("STACK_SIZE"), top):
        yield address - 1


def in_program(process):
    """Where a process is in its program."""
    if process.is_current() and attach.in_program():
        here, pair = now()
    else:
        frame = attach.registers(process.slot)
        here, pair = int(frame["rip"]), int(frame["rbp"])
    root = process.root()

    def read(va):
        entry, frame = tables.translation(root, va)
        inside = va % PAGE
        return kernel.frame(frame, inside, 16) if entry and inside <= PAGE - 16 else None

    yield here
    for address in chain(pair, read, 0, attach.MEMORY.constant("USER_END")):
        yield address - 1


def show(process):
    """Prints both stacks."""
    print(f"{process} is {process.state()}" + (f": {process.reason()[1]}" if process.reason()[1] else ""))
    print("  in the kernel:")
    for address in in_kernel(process):
        print(f"    {place(address)}")
    print("  in the program:")
    known = attach.attached and attach.attached.has(process)
    for address in in_program(process):
        print(f"    {place(address) if known else hex(address)}")
    if not known:
        print(f"    (`dm attach {process.name}` gives these names)")
