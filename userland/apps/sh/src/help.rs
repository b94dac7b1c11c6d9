//! The text of `help`.

/// The text of the builtin `help`.
pub const TEXT: &str = "\
The shell's language is that of POSIX:
  a | b   a && b   a || b   a; b   a &   ! a   (a; b)   { a; b; }
  < FILE  > FILE  >> FILE  <> FILE  2> FILE  N>&M  N<&M  N>&-  << END
  'as is'  \"with $values\"  \\c  $'\\n'  * ? [a-z]  ~
  $NAME ${NAME} ${NAME:-else} ${NAME%END} ${NAME#START} ${#NAME}
  $? or $status  $$  $!  $1 $# \"$@\"  $(commands)  $((1 + 2))
  NAME=value   for x in ...; do ...; done   while ...; do ...; done   until
  if ...; then ...; elif ...; then ...; else ...; fi   # comment
  case ... in PATTERN) ...;; esac   NAME() { ...; }
Builtin commands:
  : . alias bg break cd command continue echo eval exec exit export false fg
  getopts halt help history jobs local printf pwd read readonly return set
  shift source swapon test [ trap true type unalias unset wait
Unsupported features are refused by name; see docs/shell.md.
Programs are in /bin (`ls /bin`), the shared directory is /n/host, /tmp is memory.
Keys: arrows, Home, End, Ctrl-E K U W Y L edit; Tab completes names; up and down:
history; Ctrl-C stops the program in the foreground; Ctrl-D or `halt` ends; Ctrl-A x leaves QEMU.
";
