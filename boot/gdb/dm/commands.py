"""The commands, each with its help."""

import os

import gdb

from . import attach, fault, kernel, processes, segments, servers, stacks, tables
from .kernel import PAGE

EXTENTS_SHOWN = 200


class Group(gdb.Command):
    """Look at Dormouse: processes, segments, pages, servers.

`help dm COMMAND` explains each. PID may be the name of a program too, and is the process
that runs if it is left out. VA is any expression of gdb, such as $cr2."""

    def __init__(self):
        super().__init__("dm", gdb.COMMAND_DATA, gdb.COMPLETE_NONE, True)


class Command(gdb.Command):
    """A command of the group; `run` gets the words of its line."""

    # At which stops it works.
    anytime = False
    name = ""
    words = (0, 0)

    def __init__(self):
        super().__init__(f"dm {self.name}", gdb.COMMAND_DATA, gdb.COMPLETE_NONE)

    def invoke(self, line, _from_tty):
        words = gdb.string_to_argv(line)
        least, most = self.words
        if not least <= len(words) <= most:
            raise gdb.GdbError(f"usage: {self.__doc__.splitlines()[0].rstrip('.')}")
        if not self.anytime:
            kernel.require_start()
        try:
            self.run(*words)
        except gdb.MemoryError as error:
            raise gdb.GdbError(f"the kernel's data is not sound here: {error}") from None
        except gdb.error as error:
            # In one line, without Python's own.
            raise gdb.GdbError(str(error)) from None


def address(word):
    """The value of an expression as an address."""
    return int(gdb.parse_and_eval(word)) & (1 << 64) - 1


def table(rows):
    """Prints rows in columns; the first is the heading. Columns of numbers are flush
    right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        cells = (c.rjust(w) if c.isdigit() else c.ljust(w) for c, w in zip(row, widths))
        print("  ".join(cells).rstrip())


class Ps(Command):
    """dm ps: the processes.

Pid, parent, program, state, what each waits for, and the frame of its page tables' root
(bits 12 and up of its cr3). A star marks the one that runs."""

    name = "ps"

    def run(self):
        rows = [("", "PID", "PARENT", "PROGRAM", "STATE", "WAITS FOR", "ROOT")]
        for process in sorted(processes.everyone(), key=lambda process: process.pid):
            star = "*" if process.is_current() else ""
            rows.append((star, str(process.pid), str(process.parent), process.program,
                         process.state(), process.reason()[1], f"{process.root():#x}"))
        table(rows)


class Stack(Command):
    """dm stack [PID]: where a process is, in the kernel and in its program.

Also of processes that wait: each line is an instruction, innermost first, with the
functions around it (inlined ones first) and the line. Names of the program need dm attach."""

    name = "stack"
    words = (0, 1)

    def run(self, pid=None):
        stacks.show(processes.find(pid))


class Segs(Command):
    """dm segs [PID]: the segments of a process.

Kind, range, permissions, and the number of pages in each state: asleep (an extent says
where the content is), zero (never touched, under no extent), filling, resident, dirty,
sending, swapped, loading, backed. docs/words.md explains the words."""

    name = "segs"
    words = (0, 1)

    def run(self, pid=None):
        process = processes.find(pid)
        print(f"segments of {process}")
        rows = [("ID", "KIND", "RANGE", "PERM", "PAGES", "STATES")]
        for segment in segments.of(process.space()):
            states = "frames that are fixed"
            if segment.content is not None:
                states = ", ".join(f"{n} {kind}" for kind, n in sorted(segment.counts().items()))
            rows.append((str(segment.id), segment.kind, f"{segment.base:#x}-{segment.end:#x}",
                         segment.permissions(), str(segment.count), states))
        table(rows)


def named(number):
    """A snapshot, and the file that it is of."""
    snap = servers.snapshot(number)
    return f"snapshot {number}, {snap.path if snap else 'which is gone'}"


def waiters(process, state):
    """Who waits for a page in that state."""
    number = int(process.space()["number"])
    if state.kind not in ("Filling", "Loading", "Sending"):
        return []
    found = []
    for other in processes.of_space(number):
        reason = other.reason()[0]
        if reason in ("Reply", "Tag", "Message"):
            found.append(f"{other}, for the server's reply")
    for other in processes.waiting_for_fills():
        if int(other.space()["number"]) == number:
            found.append(f"{other}, for a fill by another")
    return found


class Page(Command):
    """dm page VA [PID]: what a page holds.

The state and the frame that the overlay names, the snapshot, file and offset that the
extents name, the translation, and who waits."""

    name = "page"
    words = (1, 2)

    def run(self, va, pid=None):
        process = processes.find(pid)
        va = address(va)
        segment = segments.at(process, va)
        page = (va - segment.base) // PAGE
        print(f"page {page} of segment {segment.id} ({segment.kind}) of {process}, at {segment.base + page * PAGE:#x}")
        if segment.content is not None:
            state = segment.overlay().state(page)
            pieces = self.pieces(segment, page)
            shown = "zero, never touched" if state.kind == "Absent" and not pieces else state
            print(f"  state        {shown}")
            if state.frame is not None:
                print(f"  frame        {state.frame:#x}: {tables.use_of(state.frame)}")
            for piece in pieces:
                print(f"  content      {piece}")
            for waiter in waiters(process, state):
                print(f"  waits        {waiter}")
        entry, frame = tables.translation(process.root(), va)
        print(f"  translation  " + (f"frame {frame:#x}, {entry.flags()}" if entry else "none"))

    def pieces(self, segment, page):
        start, end = page * PAGE, (page + 1) * PAGE
        found = []
        for extent in segment.extents():
            first, last = max(extent.start, start), min(extent.end, end)
            if first < last:
                at = extent.soff + first - extent.start
                found.append(f"{named(extent.snap)}, bytes {at:#x}-{at + last - first:#x}"
                             + ("" if last - first == PAGE else f" at byte {first - start} of the page"))
        return found[:EXTENTS_SHOWN]


class Extents(Command):
    """dm extents VA|SEGMENT [PID]: the association map of a segment.

Which bytes of the segment are bytes of which snapshot. SEGMENT is an id of `dm segs`."""

    name = "extents"
    words = (1, 2)

    def run(self, which, pid=None):
        process = processes.find(pid)
        number = address(which)
        found = [s for s in segments.of(process.space()) if s.id == number or s.base <= number < s.end]
        if not found:
            raise gdb.GdbError(f"{process} has no segment {which}: `dm segs` lists them")
        segment = found[0]
        print(f"extents of segment {segment.id} ({segment.kind}) of {process}")
        if segment.content is None:
            raise gdb.GdbError("it has fixed frames, and no extents")
        every = segment.extents()
        for extent in every[:EXTENTS_SHOWN]:
            start, end = segment.base + extent.start, segment.base + extent.end
            print(f"  {start:#x}-{end:#x}  {named(extent.snap)}, from byte {extent.soff:#x}")
        if len(every) > EXTENTS_SHOWN:
            print(f"  and {len(every) - EXTENTS_SHOWN} more")
        if not every:
            print("  none: pages without a state of their own are zeros")


class Snaps(Command):
    """dm snaps: the snapshots that the kernel holds.

Number, file, where it is (the kernel's own bundle, or a mount and its fid there), the
segments and operations that hold it, and trims without an answer."""

    name = "snaps"

    def run(self):
        rows = [("NUMBER", "FILE", "WHERE", "HOLDERS", "TRIMS")]
        for snap in servers.snapshots():
            rows.append((str(snap.number), snap.path, snap.where(), str(snap.holders), str(snap.trims)))
        table(rows)


class Chan(Command):
    """dm chan: the channels.

Both sides of each: who has it, messages queued there, and who waits. Found through
name spaces, descriptors, ports and snapshots; a channel that none of them leads to is not
shown."""

    name = "chan"

    def run(self):
        for channel in servers.channels():
            print(f"channel {channel.address:#x}")
            for side in (0, 1):
                print(f"  side {side}: {channel.side(side)}")


class Walk(Command):
    """dm walk VA [PID]: the page-table walk to an address.

The entry of each level, with its flags. `counted` and `read ahead` are the kernel's own
bits. Without PID the walk begins at cr3."""

    name = "walk"
    words = (1, 2)

    def run(self, va, pid=None):
        va = address(va)
        root = processes.find(pid).root() if pid else tables.root_in_use()
        print(f"walk to {va:#x} from the root in frame {root:#x}")
        for entry in tables.walk(root, va):
            frame = f" -> frame {entry.frame:#x}" if entry.is_set("PRESENT") else ""
            print(f"  {tables.LEVELS[entry.level]:6} entry {entry.index:3}: {entry.word:#018x}{frame}  {entry.flags()}")


class Word(Command):
    """dm word WORD: a word of an overlay's leaf, as the state of a page.

WORD is any expression of gdb."""

    name = "word"
    words = (1, 1)
    anytime = True

    def run(self, word):
        print(segments.State(address(word)))


class Attach(Command):
    """dm attach [PROGRAM|PID]: take up a program.

gdb gets the symbols of the program, at the address where it runs, and breakpoints that are
set in it from now on stop in processes that run it and nowhere else, also in those that
begin later, such as the children of a shell. With a pid they stop in that process, and in
those that share its memory. For breakpoints in the kernel there is $dm_here(): `hbreak
dormouse_kernel::syscall::dispatch if $dm_here() != 0`. PROGRAM is a name of /bin, or a path below /n/host. An int3
of the program stops the guest. Without PROGRAM: tells which is attached."""

    name = "attach"
    words = (0, 1)
    anytime = True

    def run(self, word=None):
        if word is None:
            print(f"attached to {attach.attached}" if attach.attached else "attached to nothing")
            return
        target, base = attach.attach(word)
        at = f" at {base:#x}" if base else ""
        file = target.file
        if file.startswith(kernel.ROOT + os.sep):
            file = os.path.relpath(file, kernel.ROOT)
        print(f"attached to {target}: symbols of {file}{at}; breakpoints in it stop in it alone")


class Back(Command):
    """dm back: go back to the program.

Runs until the program of the running process goes on behind the system call, fault,
interrupt or int3 for which the kernel works now. The int3 of an attached program is then
over: it gets no note for it."""

    name = "back"

    def run(self):
        attach.back()


class Fault(Command):
    """dm fault [WHICH]...|off|rest: follow a page fault.

Continues to the next fault that is as all the words say, and stops: of a process (PID, or a
program's name); on the page of VA; in a range START-END; in a segment of a kind, such as
snapshot; on a page in a state, such as asleep or swapped. Each `continue` then goes to the
next step of this fault, until the program tries its instruction again, and a sentence says
what happens at each. `dm fault rest` goes through the steps that are left in one go; `dm
fault off` gives up. Addresses begin with 0x or $; `dm segs` shows kinds and states."""

    name = "fault"
    words = (0, 4)
    anytime = True

    def run(self, *words):
        if words == ("off",):
            fault.end()
            return
        if words == ("rest",):
            fault.rest()
            return
        tests = [self.test(word) for word in words]
        fault.start(lambda process, va: all(test(process, va) for test in tests))

    def test(self, word):
        """Whether a fault of a process at an address is as a word of the line says."""
        if word.startswith(("0x", "$")):
            start, dash, end = word.partition("-")
            first = address(start) // PAGE * PAGE
            last = address(end) if dash else first + PAGE
            return lambda _process, va: first <= va < last
        if word in segments.kinds():
            return lambda process, va: segments.kind_at(process, va) == word
        if word in segments.states():
            return lambda process, va: segments.state_at(process, va) == word
        return lambda process, _va: word in (str(process.pid), process.name, process.program)


class Check(Command):
    """dm check: are all names that these commands use in the kernel and its source?"""

    name = "check"
    anytime = True

    def run(self):
        missing = []
        for static in kernel.Static.all:
            try:
                static.symbol()
            except gdb.GdbError as error:
                missing.append(str(error))
        for function in kernel.Function.all:
            try:
                function.spec()
            except gdb.GdbError as error:
                missing.append(str(error))
        for source in kernel.Source.all:
            for name in source.names:
                try:
                    source.constant(name)
                except (gdb.GdbError, OSError) as error:
                    missing.append(f"constant {name}: {error}")
        for line in missing:
            print(line)
        print(f"{len(missing)} names are missing")


def register(folder):
    """Makes the commands known to gdb; `folder` is the session's."""
    attach.folder = folder
    for command in (Group, Ps, Stack, Segs, Page, Extents, Snaps, Chan, Walk, Word, Attach, Back, Fault, Check):
        command()
    attach.Here()
    attach.Confined()
    gdb.events.breakpoint_created.connect(attach.confine)
