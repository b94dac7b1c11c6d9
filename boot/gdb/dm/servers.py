"""Snapshots held at file servers, mounts, channels and ports."""

from . import processes
from .kernel import Static, arc, cell, locked, printable, some, text, variant, vector, vector_bytes

SNAPSHOTS = Static("dormouse_kernel::client::snapshots::TABLE")
SWAP = Static("dormouse_kernel::client::swap::PLACE")
SNAPSHOTS_MOST = 65536
DESCRIPTORS_MOST = 4096
NAMES_MOST = 1024


class Snapshot:
    """An entry of the table of snapshots: the kernel's `Held`."""

    def __init__(self, number, value):
        self.number = number
        self.path = text(value["path"])
        self.holders = cell(value["holders"])
        self.trims = cell(value["trims"])
        name, home = variant(value["home"])
        self.mount = self.fid = None
        if name == "Server":
            self.mount = cell(arc(home["mount"])["id"])
            self.fid = cell(home["snapfid"])
        self.down = bool(self.mount is not None and is_down(arc(home["mount"])))

    def where(self):
        if self.mount is None:
            return "bundle"
        return f"mount {self.mount}, fid {self.fid}" + (", server gone" if self.down else "")


def is_down(mount):
    """Whether the connection of a `Mount` is closed."""
    return some(locked(mount["state"])["machine"]["down"]) is not None


def snapshots():
    """All snapshots."""
    entries = locked(SNAPSHOTS.value())["entries"]["entries"]
    for number, entry in enumerate(vector(entries, SNAPSHOTS_MOST)):
        held = some(entry)
        if held is not None:
            yield Snapshot(number, held.dereference())


def snapshot(number):
    """The snapshot of that number, or None."""
    return next((snap for snap in snapshots() if snap.number == number), None)


class Channel:
    """A channel, found through somebody who has it."""

    def __init__(self, value):
        self.address = int(value.address)
        self.value = value
        # Who has each side.
        self.users = ([], [])

    def side(self, index):
        """A line about one side."""
        side = locked(self.value["sides"])[index]
        words = ["open" if side["open"] else "closed"]
        queued = int(side["queue"]["len"])
        words.append(f"{queued} message{'s' * (queued != 1)} queued")
        for name, verb in (("readers", "receive"), ("writers", "send")):
            waiting = [str(processes.at(slot)) for slot in processes.queue(side[name])]
            if waiting:
                words.append(f"{', '.join(waiting)} waiting to {verb}")
        if some(side["port"]) is not None:
            words.append("received by a port")
        users = ", ".join(self.users[index]) or "nobody found"
        return f"{users}: {', '.join(words)}"


def name_spaces():
    """All name spaces, each once: where names lead."""
    seen = set()
    for process in processes.everyone():
        space = arc(locked(process.value["names"]))
        if int(space.address) not in seen:
            seen.add(int(space.address))
            yield space


def mounted():
    """The servers that names lead to, each with the first of its names."""
    found = {}
    for space in name_spaces():
        for bound in vector(locked(space["table"])["__0"], NAMES_MOST):
            for member in vector(bound["members"], NAMES_MOST):
                name, server = variant(member["place"])
                if name == "Remote":
                    mount = arc(server)
                    data, _ = vector_bytes(bound["at"], NAMES_MOST)
                    found.setdefault(int(mount.address), (mount, printable(data)))
    return list(found.values())


class Channels:
    """The channels that somebody leads to, by address."""

    def __init__(self):
        self.found = {}

    def note(self, tap, user):
        """Somebody has that side of a channel."""
        channel = Channel(arc(tap["channel"]))
        channel = self.found.setdefault(channel.address, channel)
        users = channel.users[1 if int(tap["side"]) else 0]
        if user not in users:
            users.append(user)

    def mount(self, value, name=""):
        """The kernel is the client of that mount."""
        if name:
            name = f" ({name})"
        known = f"the kernel as client of mount {cell(value['id'])}"
        tap = arc(value["end"])["__0"]
        channel = self.found.get(int(arc(tap["channel"]).address))
        users = channel.users[1 if int(tap["side"]) else 0] if channel else []
        if not any(user.startswith(known) for user in users):
            self.note(tap, known + name)

    def descriptor(self, user, file):
        """A descriptor of a process leads to a file."""
        kind, node = variant(file["node"])
        if kind == "Channel":
            self.note(arc(node)["__0"], user)
        elif kind == "Remote":
            self.mount(arc(node["mount"]))
        elif kind == "Port":
            for source in vector(locked(arc(node)["state"])["sources"], 64):
                name, tap = variant(source["kind"])
                if name == "Channel":
                    self.note(tap, f"port of {user}")


def channels():
    """The channels that name spaces, swap, descriptors, ports and snapshots lead to."""
    found = Channels()
    for mount, name in mounted():
        found.mount(mount, name)
    swap = some(locked(SWAP.value()))
    if swap is not None:
        found.mount(arc(arc(swap)["directory"]["remote"]["mount"]), "swap")
    for process in processes.everyone():
        table = locked(arc(locked(process.value["descriptors"])))["table"]
        for number, entry in enumerate(vector(table, DESCRIPTORS_MOST)):
            file = some(entry)
            if file is not None:
                found.descriptor(f"{process} descriptor {number}", arc(file))
    for entry in vector(locked(SNAPSHOTS.value())["entries"]["entries"], SNAPSHOTS_MOST):
        held = some(entry)
        if held is not None:
            name, home = variant(held.dereference()["home"])
            if name == "Server":
                found.mount(arc(home["mount"]))
    return list(found.found.values())
