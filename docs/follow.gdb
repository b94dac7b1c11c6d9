# Watch one page wake up:
#
#   cargo run -- gdb -c 'lazy /n/host/big' -- -x docs/follow.gdb
#
# lazy reads a file of 1 GiB into a snapshot segment, in one message, and touches some of
# its pages. The script follows the first of these touches from the page fault to the
# instruction that is tried again. docs/debugging.md explains the commands.

set pagination off
set width 0
dm attach lazy
dm fault lazy snapshot

echo \n--- The page before: asleep, under an extent.\n
set $page = $cr2
dm page $page
dm segs

echo \n--- The steps of the fault.\n
dm fault rest

echo \n--- The page after: in a frame, which is translated.\n
dm page $page
dm walk $page
dm segs
