//! The text of `help`.

/// What is printed.
pub const TEXT: &str = "\
The shell's language is the Bourne shell's:
  a | b   a && b   a || b   a; b   a &   ! a   (a; b)   { a; b; }
  < FILE  > FILE  >> FILE  2> FILE  2>&1  N>&-
  'as is'  \"with $values\"  \\c  * ? [a-z]  $NAME ${NAME} ${NAME:-else} ${#NAME}
  $? or $status  $$  $!  $1 $# \"$@\"  $(commands)  $((1 + 2))
  NAME=value   for x in ...; do ...; done   while ...; do ...; done
  if ...; then ...; elif ...; then ...; else ...; fi   # comment
Part of the shell:
  : true false echo test [ cd pwd set shift export unset read eval exec .
  break continue wait history exit halt help
Programs are in /bin (`ls /bin`), the shared directory is /n/host, /tmp is memory.
Keys: arrows, Home, End, Ctrl-E K U W Y L edit; up and down: history; Ctrl-C stops
the program in the foreground; Ctrl-D or `halt` ends; Ctrl-A x leaves QEMU.
";
