"""Follows one page fault from the trap to the instruction that is tried again.

Each `Station` is a function on the way; docs/tour.md has the whole of it. The guest stops
where the fault gets there, and a sentence says what happens. Faults of others pass.
"""

import gdb

from . import attach, kernel, processes, segments, servers, tables
from .kernel import PAGE, Function, cell, variant

WRITE, FETCH = 1 << 1, 1 << 4
TREAD = 116


class Fault:
    """The fault that is followed; `va` is None until there is one."""

    def __init__(self, wanted):
        self.wanted = wanted
        self.va = self.slot = self.pc = None
        # Fid and offset of the Tread that was sent last.
        self.asked = None
        self.access = "loads"
        self.sent = self.received = False
        # The steps are told, and the guest stops at the last one alone.
        self.passing = False
        self.stops = [stop for station in STATIONS for stop in self.stops_of(station)]

    def stops_of(self, station):
        """The stops of a station: one for each copy of its function."""
        try:
            return [station(self, entry) for entry in station.function.entries()]
        except gdb.GdbError as error:
            # The kernel of --release has fewer functions: the compiler sees more at once.
            print(f"no stop at {station.name}: {error}")
            return []

    def end(self):
        """Makes the stops pass. They cannot be deleted while one of them is asked."""
        for stop in self.stops:
            stop.enabled = False

    def delete(self):
        """Deletes the stops."""
        for stop in self.stops:
            if stop.is_valid():
                stop.delete()

    def process(self):
        return processes.at(self.slot)

    def is_mine(self):
        return kernel.current_slot() == self.slot

    def page(self):
        """The segment, the page's number in it, and its state."""
        segment = segments.at(self.process(), self.va)
        page = (self.va - segment.base) // PAGE
        state = segment.overlay().state(page) if segment.content is not None else None
        return segment, page, state


class Station(gdb.Breakpoint):
    """A function on the way. `sentence` is None if the stop is not about the fault."""

    function = None
    name = ""

    def __init__(self, fault, entry):
        super().__init__(f"*{entry:#x}", type=gdb.BP_HARDWARE_BREAKPOINT, internal=True)
        self.fault = fault

    def stop(self):
        if self.fault is not current:
            return False
        try:
            sentence = self.sentence(self.fault)
        except (gdb.error, gdb.GdbError, AttributeError) as error:
            sentence = f"(what is here cannot be read: {error})"
        if sentence:
            print(f"{self.name}: {sentence}")
        return bool(sentence) and not (self.fault is current and self.fault.passing)


def argument(name):
    """An argument of the function where the guest has stopped; None if it was optimised
    away."""
    try:
        value = gdb.newest_frame().read_var(name)
        return None if value.is_optimized_out else value
    except (gdb.error, ValueError):
        return None


class Trap(Station):
    """The first function that sees the fault."""

    function = Function("dormouse_kernel::trap::quick_fault")
    name = "trap"

    def sentence(self, fault):
        va = int(gdb.parse_and_eval("$cr2")) & (1 << 64) - 1
        process = processes.current()
        if fault.va is not None or not fault.wanted(process, va):
            return None
        frame = attach.registers()
        error = int(frame["error"])
        fault.va, fault.slot, fault.pc = va, process.slot, int(frame["rip"])
        fault.access = "stores to" if error & WRITE else "fetches" if error & FETCH else "loads from"
        entry, _ = tables.translation(process.root(), va)
        why = f"the translation is {entry.flags()}" if entry else "the page has no translation"
        fault.stops.append(Return(fault))
        return (f"{process} at {fault.pc:#x} {fault.access} {va:#x}, and {why}: "
                "the processor enters the kernel")


class LookUp(Station):
    """The segment is found, and its rules are checked."""

    function = Function("dormouse_kernel::seg::fault::resolve")
    name = "look-up"

    def sentence(self, fault):
        if not fault.is_mine():
            return None
        segment, page, state = fault.page()
        if state is None:
            return f"the address is in segment {segment.id} ({segment.kind}), whose frames are fixed"
        if state.kind != "Absent":
            return f"page {page} of segment {segment.id} ({segment.kind}) is {state}"
        for extent in segment.extents():
            if extent.start < (page + 1) * PAGE and page * PAGE < extent.end:
                snap = servers.snapshot(extent.snap)
                at = extent.soff + max(page * PAGE, extent.start) - extent.start
                return (f"page {page} of segment {segment.id} ({segment.kind}) is asleep: its content is that of "
                        f"{snap.path if snap else 'a file'} from byte {at:#x}, in snapshot {extent.snap}")
        return (f"page {page} of segment {segment.id} ({segment.kind}) is under no extent: "
                "it will be a frame of zeros")


class Asleep(Station):
    """The page needs something before it can be mapped."""

    function = Function("dormouse_kernel::seg::fault::wait_for")
    name = "fill"

    def sentence(self, fault):
        if not fault.is_mine():
            return None
        _, page, state = fault.page()
        if state.kind == "Filling":
            return (f"page {page} is {state}: the first who touches it asks the server, and all "
                    "others wait for that answer")
        return f"page {page} is {state}: its content must come back from its swap file"


class Request(Station):
    """A message to a server: the snapshot's, or that of swap."""

    function = Function("dormouse_kernel::client::Mount::send")
    name = "request"

    def sentence(self, fault):
        if not fault.is_mine():
            return None
        mount = cell(argument("self").dereference()["id"])
        request = argument("request").dereference()
        name, _ = variant(request)
        fault.sent = True
        what = ""
        if name == "Read":
            fid, offset, count = (int(request[name][field]) for field in ("fid", "offset", "count"))
            fault.asked = fid, offset
            what = f": fid {fid}, {count} bytes from byte {offset:#x}"
        return f"the kernel puts a T{name.lower()} into the channel of mount {mount}{what}"


class Park(Station):
    """The process gives up the processor."""

    function = Function("dormouse_kernel::sched::leave_cpu")
    name = "park"

    def sentence(self, fault):
        if not fault.is_mine():
            return None
        reason = fault.process().reason()[1]
        return f"{fault.process()} gives up the processor" + (f", and waits for: {reason}" if reason else "")


class Receive(Station):
    """The server takes the request."""

    function = Function("dormouse_kernel::syscall::message::tell")
    name = "server"

    def sentence(self, fault):
        if not fault.sent or fault.is_mine():
            return None
        name, message = variant(argument("event").dereference()["what"])
        if name != "Message":
            return None
        head = message["__0"].dereference()["small"]
        head = kernel.memory(int(head.address), 23)
        fid, offset = int.from_bytes(head[7:11], "little"), int.from_bytes(head[11:19], "little")
        if head[4] != TREAD or (fid, offset) != fault.asked:
            return None
        fault.received = True
        count = int.from_bytes(head[19:23], "little")
        return (f"{processes.current()} receives the Tread, for {count} bytes, at its port, "
                "and works in user mode until it answers")


class Device(Station):
    """An interrupt of a device."""

    function = Function("dormouse_kernel::chan::port::interrupt::raise")
    name = "device"

    def sentence(self, fault):
        if not fault.received:
            return None
        vector = argument("vector")
        which = "an interrupt" if vector is None else f"interrupt {int(vector)}"
        return (f"{which}: a device has done what it was asked, and the port of its driver "
                "gets a message that says so")


class Reply(Station):
    """A reply has been taken, and its data is in the frame."""

    function = Function("dormouse_kernel::client::deliver::apply")
    name = "reply"

    def sentence(self, fault):
        if not fault.sent:
            return None
        effects = argument("effects")
        woken = kernel.some(effects["wake"]) if effects is not None else None
        if woken is None or int(woken) != fault.slot:
            return None
        fault.sent = fault.received = False
        return (f"{processes.current()} has answered: the data is in the frame that waits "
                f"for it, and {fault.process()} is ready again")


class Publish(Station):
    """The frame enters the frame cache."""

    function = Function("dormouse_kernel::seg::view::{impl}::publish")
    name = "publish"

    def sentence(self, fault):
        if not fault.is_mine():
            return None
        frame = argument("frame")
        which = "the frame" if frame is None else f"frame {cell(frame):#x}"
        return (f"{which} has the content; the frame cache names it, so that other readers "
                "of this page of the file share it")


class Zero(Station):
    """The page becomes a frame of zeros."""

    function = Function("dormouse_kernel::seg::view::{impl}::alloc_zeroed")
    name = "zero"

    def sentence(self, fault):
        return "a frame of zeros is taken for the page" if fault.is_mine() else None


class Copy(Station):
    """The page gets a frame of its own."""

    function = Function("dormouse_kernel::seg::view::{impl}::alloc_copy")
    name = "copy"

    def sentence(self, fault):
        if not fault.is_mine():
            return None
        return "others have the frame too, so that its content is copied to one of the process's own"


class Detach(Station):
    """A store to a page that nobody else has."""

    function = Function("dormouse_kernel::seg::view::{impl}::allow_stores")
    name = "detach"

    def sentence(self, fault):
        if not fault.is_mine():
            return None
        _, page, state = fault.page()
        which = "is the process's own again" if state.kind == "Dirty" else "leaves its snapshot"
        return f"nobody else has the frame: page {page} {which}, and its translation permits stores"


class Map(Station):
    """The page gets its translation."""

    function = Function("dormouse_kernel::seg::view::{impl}::map")
    name = "map"

    def sentence(self, fault):
        if not fault.is_mine():
            return None
        _, number, state = fault.page()
        page, frame = argument("page"), argument("frame")
        if page is not None and int(page) != number:
            return None
        which = "its frame" if frame is None else f"frame {cell(frame):#x}"
        return f"page {number} is {state}, and the page tables get a translation to {which}"


class Note(Station):
    """The access cannot be, and the program gets a note for it."""

    function = Function("dormouse_kernel::proc::note::fault")
    name = "note"

    def sentence(self, fault):
        if not fault.is_mine():
            return None
        end()
        return f"the access cannot be, and {fault.process()} gets a note; without a handler that ends it"


class Return(gdb.Breakpoint):
    """The program tries the instruction again."""

    def __init__(self, fault):
        super().__init__(f"*{fault.pc:#x}", type=gdb.BP_HARDWARE_BREAKPOINT, internal=True)
        self.fault = fault

    def stop(self):
        fault = self.fault
        if fault is not current or not fault.is_mine() or not attach.in_program():
            return False
        end()
        entry, frame = tables.translation(fault.process().root(), fault.va)
        found = f"frame {frame:#x}, {entry.flags()}" if entry else "nothing: the page has left already"
        print(f"return: {fault.process()} is at {fault.pc:#x} again, and {fault.va:#x} is translated to {found}")
        return True


STATIONS = (Trap, LookUp, Asleep, Request, Park, Receive, Device, Reply, Publish, Zero, Copy, Detach, Map, Note)
# The fault that is followed, and the one that was followed last.
current = last = None


def end():
    """Follows no fault any more."""
    global current
    if current:
        current.end()
        current = None


def start(wanted):
    """Follows the next fault for whose process and address `wanted` is true."""
    global current, last
    end()
    if last:
        last.delete()
    current = last = Fault(wanted)
    gdb.execute("continue")


def rest():
    """Goes through all steps that are left."""
    if current is None or current.va is None:
        raise gdb.GdbError("no fault is followed: `dm fault` begins with one")
    current.passing = True
    gdb.execute("continue")
