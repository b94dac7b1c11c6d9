"""The shape of the kernel's data.

Fields are found by name in the debug information, so that this follows the kernel.
Constants are not in the debug information; they come from the source that lies beside
these files. `dm check` tells whether all names are still there.
"""

import os
import re

import gdb

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../.."))

# The items of one list that are looked at, and the bytes of one text that are shown.
ITEMS_MOST = 65536
TEXT_MOST = 4096
IMPLS_MOST = 16


class Static:
    """A static of the kernel, by its path."""

    all = []

    def __init__(self, path):
        self.path = path
        Static.all.append(self)

    def symbol(self):
        # Not as an expression: its meaning depends on the language of the program where
        # the guest has stopped.
        symbol = gdb.lookup_static_symbol(self.path) or gdb.lookup_global_symbol(self.path)
        if symbol is None:
            raise gdb.GdbError(f"the kernel has no static {self.path}")
        return symbol

    def value(self):
        return self.symbol().value()


class Function:
    """A function of the kernel, by its path. `{impl}` in it stands for the number that
    the compiler gives an impl block."""

    all = []

    def __init__(self, path):
        self.path = path
        self.found = None
        Function.all.append(self)

    def spec(self):
        """Its location, as breakpoints take it."""
        for number in range(IMPLS_MOST if self.found is None else 0):
            name = self.path.replace("{impl}", f"{{impl#{number}}}")
            try:
                if gdb.decode_line(name)[1]:
                    self.found = name
                    break
            except gdb.error:
                continue
        if self.found is None:
            raise gdb.GdbError(f"the kernel has no function {self.path}")
        return self.found

    def entries(self):
        """The addresses of its first instructions; the compiler may have made several
        copies of it. There its arguments are where the caller has put them."""
        found = []
        for place in gdb.decode_line(self.spec())[1]:
            block = gdb.block_for_pc(place.pc)
            for _ in range(64):
                if block.function and block.function.print_name.split("(")[0] == self.found:
                    break
                block = block.superblock
            found.append(block.start)
        return found

    def is_at(self, frame):
        """Whether a frame is one of it."""
        return frame.name() == self.spec()


class Source:
    """The constants and tables of one source file of the kernel."""

    all = []

    def __init__(self, path, *names):
        self.path = path
        self.names = names
        self.text = None
        self.known = {}
        Source.all.append(self)

    def read(self):
        if self.text is None:
            with open(os.path.join(ROOT, self.path), encoding="utf-8") as file:
                self.text = file.read()
        return self.text

    def constant(self, name):
        """The value of `const NAME: TYPE = VALUE;`, where VALUE is numbers and
        constants of the same file."""
        if name not in self.names:
            raise KeyError(f"{name} is not declared for `dm check`")
        if name not in self.known:
            self.known[name] = self._constant(name, 8)
        return self.known[name]

    def _constant(self, name, depth):
        found = re.search(rf"\bconst {name}: \w+ = ([^;]+);", self.read())
        if not found or depth == 0:
            raise gdb.GdbError(f"{self.path} has no constant {name}")
        words = re.findall(r"[A-Za-z_]\w*|\d\w*|<<|>>|[-+*/|&()]", found.group(1))
        value = ""
        for word in words:
            if re.match(r"[A-Za-z_]", word):
                word = str(self._constant(word, depth - 1))
            else:
                word = re.sub(r"(?<=[0-9a-f])_?(?:[ui]\d+|[ui]size)$", "", word)
            value += word + " "
        return eval(value, {"__builtins__": {}})  # Numbers and operators only.

    def pairs(self, pattern):
        """All matches of a pattern with two groups."""
        if pattern not in self.known:
            found = re.findall(pattern, self.read(), re.MULTILINE)
            if not found:
                raise gdb.GdbError(f"{self.path} has nothing like {pattern}")
            self.known[pattern] = found
        return self.known[pattern]


MEMORY = Source("kernel/hw/src/mem/mod.rs", "PHYSICAL_MAP")
PAGE = 4096
CPU = Static("dormouse_hw::cpu::CPU")
NO_SLOT = 0xFFFF


def require_start():
    """Fails unless the kernel has begun to run processes."""
    if gdb.selected_inferior().pid == 0:
        raise gdb.GdbError("no guest: gdb is not connected")
    try:
        paging = int(gdb.parse_and_eval("$cr0")) >> 31 & 1
        slot = current_slot() if paging else NO_SLOT
    except (gdb.error, gdb.GdbError):
        slot = NO_SLOT
    if slot == NO_SLOT:
        raise gdb.GdbError("not yet: the kernel has no processes at this point of the boot")


def current_slot():
    """The slot of the process that runs."""
    return cell(CPU.value()["current"])


def memory(address, length):
    """Bytes of the guest."""
    try:
        return gdb.selected_inferior().read_memory(address, length).tobytes()
    except gdb.MemoryError:
        raise gdb.GdbError(f"cannot read {length} bytes at {address:#x}") from None


def frame(number, at=0, length=PAGE):
    """Bytes of a frame, through the kernel's map of all physical memory, which is part
    of every address space."""
    return memory(MEMORY.constant("PHYSICAL_MAP") + number * PAGE + at, length)


def word(number, index):
    """A word of a frame."""
    return int.from_bytes(frame(number, index * 8, 8), "little")


def cell(value):
    """The number in an atomic, a cell, or a structure with one field such as `Frame`."""
    for _ in range(8):
        if value.type.code not in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
            break
        value = value[value.type.fields()[0]]
    return int(value)


def locked(lock):
    """The value behind a `Lock` or `Mutex`, whether it is taken or not."""
    mutex = lock["inner"] if has(lock, "inner") else lock
    return mutex["value"]["value"]


def has(value, name):
    return any(field.name == name for field in value.type.fields())


def arc(value):
    """The value of an `Arc`, or of the `Weak` of one."""
    return value["ptr"]["pointer"].dereference()["data"]


def text(value):
    """The text of an `Arc<str>`."""
    pointer = value["ptr"]["pointer"]
    length = min(int(pointer["length"]), TEXT_MOST)
    start = int(pointer["data_ptr"].dereference()["data"].address)
    return printable(memory(start, length)) if length else ""


def printable(data):
    """Bytes as text without what a terminal obeys: programs choose names."""
    found = data.decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in found)


def variant(value):
    """The name of an enum's variant, and its first field if it has one."""
    if value.type.code == gdb.TYPE_CODE_ENUM:
        return str(value).rsplit("::", 1)[-1], None
    names = [field.name for field in value.type.fields() if field.name]
    if not names:
        return "?", None
    inner = value[names[-1]]
    fields = inner.type.fields() if inner.type.code == gdb.TYPE_CODE_STRUCT else []
    return names[-1], inner[fields[0]] if fields else None


def some(option):
    """The content of an `Option`, or None."""
    name, content = variant(option)
    return content if name == "Some" else None


def vector(vec, most=ITEMS_MOST):
    """The items of a `Vec`, as many as `most`."""
    item = vec.type.template_argument(0)
    first = vec["buf"]["inner"]["ptr"]["pointer"]["pointer"].cast(item.pointer())
    for at in range(min(int(vec["len"]), most)):
        yield (first + at).dereference()


def vector_bytes(vec, most=ITEMS_MOST):
    """The bytes of the items of a `Vec`, in one look, and the type of an item."""
    item = vec.type.template_argument(0)
    count = min(int(vec["len"]), most)
    first = int(vec["buf"]["inner"]["ptr"]["pointer"]["pointer"])
    return (memory(first, count * item.sizeof) if count else b""), item


def place(of, *path):
    """Where a field lies in a structure, in bytes, and its length; `path` leads to it
    through the structures around it."""
    at = 0
    for name in path:
        field = next(field for field in of.fields() if field.name == name)
        at += field.bitpos // 8
        of = field.type
    return at, of.sizeof


def number(data, start, where):
    """A field of a structure that begins at `start`; `where` is from `place`."""
    at, length = where
    return int.from_bytes(data[start + at : start + at + length], "little")
