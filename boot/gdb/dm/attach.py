"""Programs under gdb: symbols at the addresses where a program runs, breakpoints that stop
in its processes alone, and the way back from the kernel to the program.

All programs of a fixed address lie at the same one, so gdb knows the symbols of one
program at a time.
"""

import os

import gdb

from . import kernel, processes, tables
from .kernel import Source

IMAGE = Source("kernel/image/src/lib.rs", "PIE_BASE")
MEMORY = Source("kernel/abi/src/lib.rs", "USER_END")
TASKS = kernel.Static("dormouse_hw::task::TABLE")
EXCEPTION = kernel.Function("dormouse_kernel::trap::exception")
BREAKPOINT_VECTOR = 3
SHARE = "/n/host/"


class Target:
    """A program whose processes breakpoints are for, or one of its processes."""

    all = []

    def __init__(self, file, name, pid):
        self.file = file
        self.name = name
        self.pid = pid
        self.number = len(Target.all)
        Target.all.append(self)

    def has(self, process):
        """Whether it is that process, or shares its memory, or runs the program."""
        if self.pid is None:
            return self.name in (process.name, process.program)
        if process.pid == self.pid:
            return True
        mine = [p for p in processes.everyone() if p.pid == self.pid]
        return bool(mine) and mine[0].root() == process.root()

    def runs(self):
        """Whether the processor is in it now: by the running process, and `cr3`."""
        process = processes.at(kernel.current_slot())
        return process is not None and process.root() == tables.root_in_use() and self.has(process)

    def __str__(self):
        return self.name if self.pid is None else f"{self.name} ({self.pid})"


# The program whose symbols gdb has.
attached = None
# The folder of the session: `bin` and `share`.
folder = None


def file_of(program):
    """The file with the symbols of a program, by its path or name in the guest."""
    if program.startswith(SHARE):
        top = os.path.realpath(os.path.join(folder, "share"))
        path = os.path.realpath(os.path.join(top, program[len(SHARE):]))
        inside = path.startswith(top + os.sep)
    else:
        name = program[len("/bin/"):] if program.startswith("/bin/") else program
        path = os.path.join(folder, "bin", name)
        inside = name and "/" not in name
    # The path becomes part of a line for gdb, and the guest may have named the file.
    plain = path.isprintable() and not set(path) & set("\"\\'`$")
    if not inside or not plain or not os.path.isfile(path):
        raise gdb.GdbError(f"no program {program}: a name of /bin, a path below {SHARE}, or a pid")
    return path


def base_of(path):
    """The address that a program is loaded at, less the one in its file."""
    with open(path, "rb") as file:
        head = file.read(20)
    if head[:4] != b"\x7fELF":
        raise gdb.GdbError(f"{path} is not a program")
    position_independent = int.from_bytes(head[16:18], "little") == 3
    return IMAGE.constant("PIE_BASE") if position_independent else 0


def forget():
    """Removes the symbols of the program."""
    global attached
    if attached:
        try:
            gdb.execute(f'remove-symbol-file "{attached.file}"', to_string=True)
        except gdb.error:
            pass  # The user has removed them.
        attached = None


def attach(word):
    """Makes a program, by name or pid, the one that gdb has the symbols of."""
    global attached
    pid = None
    if word.isdigit():
        kernel.require_start()
        process = processes.find(word)
        program, pid = process.program, process.pid
    else:
        program = word
    path = os.path.realpath(file_of(program))
    base = base_of(path)
    forget()
    gdb.execute(f'add-symbol-file "{path}" -o {base:#x}', to_string=True)
    name = program if program.startswith(SHARE) else program.rsplit("/", 1)[-1]
    attached = Target(path, name, pid)
    Int3.provide()
    return attached, base


class Here(gdb.Function):
    """$dm_here(): 1 if the process that runs is the target of `dm attach`.

For breakpoints in the kernel: hbreak dormouse_kernel::syscall::dispatch if $dm_here() != 0"""

    def __init__(self):
        super().__init__("dm_here")

    def invoke(self):
        return int(attached is not None and attached.runs())


class Confined(gdb.Function):
    """$dm_confined(N): 1 if the processor is in target N of `dm attach`, or in the kernel:
the condition of breakpoints in programs."""

    def __init__(self):
        super().__init__("dm_confined")

    def invoke(self, number):
        return int(not in_program() or Target.all[int(number)].runs())


def confine(breakpoint):
    """A breakpoint in the program stops in the target alone; in the kernel it stops
    always."""
    # Those of these commands have negative numbers, and know where to stop.
    if not attached or breakpoint.number < 0 or not breakpoint.location:
        return
    try:
        places = gdb.decode_line(breakpoint.location)[1] or ()
    except gdb.error:
        return
    if not any(place.pc < MEMORY.constant("USER_END") for place in places):
        return
    here = f"$dm_confined({attached.number}) != 0"
    before = breakpoint.condition
    if before and "$dm_confined" in before:
        return
    breakpoint.condition = f"{here} && ({before})" if before else here


def registers(slot=None):
    """The registers of the program of a process, the running one without `slot`, as the
    kernel keeps them while it works for it: a `TrapFrame` at the top of its stack there."""
    if slot is None:
        slot = kernel.current_slot()
    top = int(TASKS.value()["__0"]["value"][slot]["stack_top"])
    of = gdb.lookup_type("dormouse_hw::arch::frame::TrapFrame")
    return gdb.Value(top - of.sizeof).cast(of.pointer()).dereference()


def place(address):
    """An address of a program, with its function and line if gdb has the symbols."""
    line = gdb.find_pc_line(address)
    block = gdb.block_for_pc(address)
    while block and not block.function:
        block = block.superblock
    known = f" in {block.function.print_name}" if block else ""
    return f"at {address:#x}{known}" + (f" ({line.symtab.filename}:{line.line})" if line.symtab else "")


def in_program():
    """Whether the processor executes a program's instructions."""
    return int(gdb.parse_and_eval("$cs")) & 3 == 3


class Int3(gdb.Breakpoint):
    """Stops where an attached program has executed `int3`."""

    one = None

    @classmethod
    def provide(cls):
        if cls.one is None or not cls.one.is_valid():
            entry = EXCEPTION.entries()[0]
            cls.one = cls(f"*{entry:#x}", type=gdb.BP_HARDWARE_BREAKPOINT, internal=True)

    def stop(self):
        targets = [t for t in Target.all if t.runs()]
        frame = registers()
        if not targets or int(frame["vector"]) != BREAKPOINT_VECTOR:
            return False
        behind = int(frame["rip"])
        print(f"{processes.current()} has executed int3 {place(behind - 1)}: `dm back` goes on behind it")
        return True


class Back(gdb.Breakpoint):
    """Stops where the program of one slot goes on."""

    def __init__(self, address, slot):
        super().__init__(f"*{address:#x}", type=gdb.BP_HARDWARE_BREAKPOINT, internal=True, temporary=True)
        self.slot = slot

    def stop(self):
        return kernel.current_slot() == self.slot and in_program()


def back():
    """Runs until the program of the running process goes on."""
    if in_program():
        raise gdb.GdbError("the processor is in the program already")
    frame = registers()
    newest = gdb.newest_frame()
    if EXCEPTION.is_at(newest) and int(frame["vector"]) == BREAKPOINT_VECTOR:
        # No note for it: the program asked for a stop, and has it.
        gdb.execute("return", to_string=True)
    Back(int(frame["rip"]), kernel.current_slot())
    gdb.execute("continue")
