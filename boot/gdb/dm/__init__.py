"""What gdb knows of the kernel, by concept.

| module | knows |
|---|---|
| `kernel` | statics, locks, vectors, options; frames; constants of the source |
| `processes` | the process table, and the scheduler's half of each process |
| `segments` | spaces, segments, their overlays and extents |
| `tables` | page tables, and the words of frames |
| `servers` | snapshots, mounts, channels and ports |
| `stacks` | where each process is, in the kernel and in its program |
| `attach` | programs: symbols at their addresses, breakpoints for one process |
| `fault` | the steps of a page fault |
| `printers` | how gdb prints the kernel's types |
| `commands` | the commands, each with its help |

All of it reads and nothing writes, but for `dm back` behind an int3: the guest goes on as
if nobody had looked. Locks are read through, for nothing runs while gdb has the guest. What
is read may be half changed, or broken: every loop has a bound, and a bad address is an
error message.
"""
