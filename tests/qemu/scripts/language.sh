# The language, as another shell runs it: a part for each subject. What a part
# prints and its status are those of dash.

## quoting
x='a  b'; y="a\"b\\c\$d\`e"; z='it'"'"'s'
printf '<%s>\n' "$x" $x "$y" "$z" 'a"b' a\ b "a\
b" c\
d "" ''
printf '[%s]' "a b"c'd e' '$x' \$x "\q" '\q'; printf '\n'
printf '%s\n' a#b '#c' \#d # a comment; printf no
printf '%s.' "*" '?' \[a]; printf '%s\n' "${x}"'*'

## values
unset u; e=; s=set; n='1 2  3'
printf '<%s>' ${u-a} ${u:-b} ${e-c} ${e:-d} ${s-e} ${s:-f} "${u-g h}" ${u-i j} "${e:-k  l}"; echo
printf '<%s>' ${u+a} ${e+b} ${e:+c} ${s+d} ${s:+e f} "${s:+g  h}" "${u+i}"; echo
printf '<%s>' ${v=a b} "$v" ${e:=new} $e ${s=x} "$s"; echo
printf '<%s>' ${u-"a b"} ${u-'c  d'} ${u-$n} "${u-$n}" ${u-"$n"} ${u-a"b c"d}; echo
printf '<%s>' ${#s} ${#n} ${#u} ${#}; echo
f=/usr/local/lib.tar.gz
printf '<%s>' ${f%.*} ${f%%.*} ${f#*/} ${f##*/} ${f%/*} ${f%none} ${f#/usr} "${f%.tar*}" ${f%%/*}; echo
p='*.gz'; printf '<%s>' ${f%$p} "${f%$p}" "${f%"$p"}" ${f##*"/"} ${f%"."*}; echo
a=aXbXc; printf '<%s>' ${a#*X} ${a##*X} ${a%X*} ${a%%X*} ${a#[a-b]} ${a%[!a-b]} ${a#?X}; echo
printf '<%s>' "${u:-${e:-${s}}}" "${u:-"quoted"}" ${u:-${f##*/}}; echo
(echo ${u?gone} never) 2>/dev/null; echo $?
(echo ${u:?} never) 2>/dev/null; echo $?
echo ${s?} ${1-none} ${10-none}

## arguments
set -- a 'b c' '' d
for x in "$@"; do printf '<%s>' "$x"; done; echo
for x in $@; do printf '<%s>' "$x"; done; echo
for x in "$*"; do printf '<%s>' "$x"; done; echo
for x in $*; do printf '<%s>' "$x"; done; echo
for x in "1$@2"; do printf '<%s>' "$x"; done; echo
for x; do printf '<%s>' "$x"; done; echo
IFS=,; printf '<%s>' "$*" "$@"; echo; IFS=; printf '<%s>' "$*"; echo; unset IFS; printf '<%s>' "$*" $*; echo
echo $# "$2" ${4}; shift; echo $# "$1"; shift 2; echo $# $1
set --; echo $#; for x in "$@"; do echo never; done; printf '<%s>\n' "$@" "a$@b"
set a b; echo $1 $#; set -- -x; echo $1; set x -y; echo $2
set 1 2 3 4 5 6 7 8 9 ten eleven; echo $10 ${10} ${11}; x="$*"; echo "$x"
v=$*; echo "$v"; v=$@; echo "$v"; echo ${1+"$@"}

## fields
x='  a b	c
d  '; printf '<%s>' $x; echo; printf '<%s>' "$x"; echo
IFS=:; y=':a::b c:'; printf '<%s>' $y; echo; printf '<%s>' x$y'z'; echo
IFS=' :'; y=' a : b:c  d '; printf '<%s>' $y; echo
IFS=; y='a b'; printf '<%s>' $y; echo
unset IFS; y='a b'; printf '<%s>' $y; echo
IFS=x; printf '<%s>' axb; echo; z=axb; printf '<%s>' $z "$z" $(echo 1x2) ${none-axb}; echo
unset IFS; a=' x '; b=' y '; printf '<%s>' $a$b a$b $a"b" "$a"$b ''$a; echo
printf '<%s>' $(printf 'a\n\nb\n\n'); printf '<%s>' "$(printf 'a\n\nb\n\n')"; echo

## names
touch a.txt b.txt c.rs .hidden 'd e.txt'; mkdir dir other .dot; touch dir/x.txt dir/y other/x.txt
printf '<%s>' *; echo; printf '<%s>' *.txt; echo; printf '<%s>' */; echo; printf '<%s>' */*.txt; echo
printf '<%s>' [ab]* [!a]*.txt ?.rs .h* *.none "*" \*.txt '*'.txt; echo
printf '<%s>' d*/ d*/y */none ./*.rs; echo; x='*.rs'; printf '<%s>' $x "$x"; echo
printf '<%s>' [[:alpha:]].rs [[:digit:]]* [a-c].txt; echo
for f in *.txt; do printf '<%s>' "$f"; done; echo
set -f; printf '<%s>' *.txt $x; echo; set +f; printf '<%s>' *.rs; echo
y=*.rs; printf '<%s>' "$y" $y; echo

## arithmetic
echo $((1 + 2 * 3)) $(((1 + 2) * 3)) $((7 / 2)) $((-7 / 2)) $((-7 % 3)) $((1 - -1)) $((2 - 3 - 4))
echo $((1 << 4)) $((256 >> 2)) $((-16 >> 2)) $((6 & 3)) $((6 | 3)) $((6 ^ 3)) $((~5)) $((!5)) $((!0))
echo $((1 < 2)) $((2 <= 2)) $((3 > 4)) $((4 >= 4)) $((1 == 1)) $((1 != 1)) $((1 && 0)) $((1 || 0)) $((0 || 0))
echo $((1 ? 2 : 3)) $((0 ? 2 : 3)) $((0 ? 1 : 0 ? 2 : 3)) $((1 | 2 ^ 3 & 4 == 4 << 1 + 1))
echo $((0x1f)) $((0X1F)) $((017)) $((0)) $((-0)) $((+5))
x=5; echo $((x)) $(($x)) $((x + x)) $((x * $x)) $((-x)) $((${x} + $(echo 1)))
echo $((y = 3)) $y $((y += 2)) $y $((y -= 1)) $((y *= 6)) $((y /= 5)) $((y %= 3)) $y
echo $((y <<= 3)) $((y |= 1)) $((y &= 5)) $((y ^= 7)) $((y >>= 1)) $y $((a = b = 4)) $a $b
echo $((0 && (y = 9))) $((1 || (y = 9))) $((1 ? x : (y = 9))) $y $((1 || 1 / 0)) $((0 && 1 / 0))
e=; echo $((e + 1)) $((unset_one + 1)) "$((1 +
2))" $(( 3 )); hex=0x10; echo $((hex + 1)) $((9223372036854775807)) $((-9223372036854775807 - 1))
i=0; while [ $i -lt 3 ]; do i=$((i + 1)); printf '%s ' "$i"; done; echo
(echo $((1 / 0)) never) 2>/dev/null; echo $?
(echo $((1 % 0)) never) 2>/dev/null; echo $?
(echo $((1 +)) never) 2>/dev/null; echo $?
(x=abc; echo $((x + 1)) never) 2>/dev/null; echo $?

## output
echo `echo a b` "`echo 'c  d'`" $(echo e) `echo \`echo f\`` `echo "\\$x"` "`echo \"g h\"`"
x=$(echo a; exit 3); echo $? "$x"; x=`false`; echo $?; y=1 z=$(exit 5); echo $? $y
echo $(echo $(echo $(echo deep))) "$(echo "$(echo "a  b")")"
echo "$(case a in a) echo in a case;; esac)" $( (echo sub) ) $(( (1) ))
f=$(cat <<E
here $(echo it) is
E
); echo "$f"
echo $(
  echo lines # with ) a comment
  echo more
)

## conditions
if true; then echo 1; elif true; then echo 2; else echo 3; fi
if false; then echo 1; elif true; then echo 2; else echo 3; fi
if false; then echo 1; elif false; then echo 2; else echo 3; fi
if false; then echo 1; fi; echo $?
true && echo a || echo b; false && echo a || echo b; false || false || echo c; ! true; echo $?; ! false; echo $?
true && false; echo $?; { true; false; }; echo $?; (exit 4); echo $?; ! { exit 3; } ; echo never

## tests
t() { if "$@"; then echo yes; else echo no $?; fi; }
echo x > f; : > empty; mkdir d
t test; t test a; t test ''; t test ! a; t test ! ''; t test -n a; t test -z a; t test -n; t test -z
t test a = a; t test a != a; t test a = b; t test ! a = b; t [ a = a ]; t [ -f f ]; t [ ! -d f ]
t test 1 -eq 1; t test 1 -ne 1; t test 1 -lt 2; t test 2 -le 1; t test 2 -gt 1; t test 1 -ge 2; t test -1 -lt 0
t test -e f; t test -e none; t test -f f; t test -f d; t test -d d; t test -s f; t test -s empty; t test -r f
t test -r none; t test -x f; t test -x d; t test -w f; t test f -ef f; t test f -ef empty; t test none -nt f
t test -p f; t test -S f; t test -b f; t test -c f; t test -c /dev/null; t test -h f; t test -L none
t test a = a -a b = b; t test a = a -a b = c; t test a = b -o b = b; t test '(' a = b ')' -o c
t test ! -f f -o -d d; t test '(' ! a ')'; t test = = =; t test ! = !; t test '(' = '('; t test -f = -f
t test x -eq 1 2>/dev/null; t test a -foo b 2>/dev/null; t [ a 2>/dev/null

## loops
for x in 1 2 3; do echo $x; done; for x in; do echo never; done; echo $x
for x in 1 2 3 4; do if [ $x = 2 ]; then continue; fi; if [ $x = 4 ]; then break; fi; echo $x; done
i=0; while [ $i -lt 2 ]; do i=$((i + 1)); echo w$i; done; until [ $i = 0 ]; do i=$((i - 1)); echo u$i; done
for a in 1 2; do for b in x y z; do if [ $b = y ]; then continue 2; fi; echo $a$b; done; done
for a in 1 2; do for b in x y z; do if [ $b = y ]; then break 2; fi; echo $a$b; done; done
while false; do :; done; echo $?; for x in a; do false; done; echo $?
for x in a b
do
    echo $x
done | while read y; do echo "<$y>"; done
for x in 1 2 3; do echo $x; done > out; cat out; while read z; do echo "$z$z"; done < out
while :; do break; echo never; done; echo $?

## cases
for x in a b ab '' '*' abc 12 'a b' -; do
    case $x in
        a) echo one;;
        b | ab) echo two;;
        '') echo empty;;
        \*) echo star;;
        [0-9]*) echo number;;
        "a b") echo blank;;
        a*) echo begins with a;;
        (*) echo other
    esac
done
case x in y) echo never;; esac; echo $?; case x in esac; echo $?
p='a*'; case abc in $p) echo pattern;; esac; case abc in "$p") echo never;; *) echo text;; esac
case $(echo a) in [!a]) echo never;; ?) echo one;; esac
case a in a) false;; esac; echo $?
case "$p" in 'a*') echo quoted;; esac; case ~ in "$HOME") echo home;; esac
case a in a) case b in b) echo inner;; esac; echo outer;; esac

## functions
f() { echo "f $# $1"; return 3; echo never; }
f a b; echo $?; f; echo $?
g() (x=inner; echo $x); x=outer; g; echo $x
h() { x=changed; }; h; echo $x; set -- mine; f other; echo $1
k() { for i in 1 2 3; do if [ $i = 2 ]; then return; fi; echo $i; done; }; k; echo $?
fact() { if [ $1 -le 1 ]; then echo 1; else echo $(($1 * $(fact $(($1 - 1))))); fi; }; fact 5
count() { [ $1 -eq 0 ] && return 7; count $(($1 - 1)); }; count 50; echo $?
out() { echo to out; } > out; out; cat out; inner() { read a; echo "$a"; } < out; inner
p() { cat; }; echo piped | p | p; y=$(f z); echo "$y"; A=temp f a; l() { local x=local; echo $x; }; l; echo $x
f() { echo new; }; f; unset -f f; f 2>/dev/null; echo $?
true() { echo mine; }; true; command true; unset -f true
m() { set -- a b; echo $#; }; m 1 2 3; echo $#
n() if [ $1 ]; then echo if; fi; n 1

## redirections
echo a > f; echo b >> f; cat < f; cat 0< f; { echo c; echo d; } > f; cat f; (echo e) >> f; cat f
echo out; echo err >&2 2>/dev/null; { echo both; echo err >&2; } > f 2>&1; cat f
exec 3< f; read a <&3; read b <&3; echo "$a $b"; exec 3<&-; read c <&3 2>/dev/null || echo failed
exec 4> g; echo one >&4; echo two 1>&4; exec 4>&-; cat g; echo three >&4 2>/dev/null || echo failed
exec 5>> g; { echo four; echo five >&5; } >&5; exec 5>&-; cat g
exec 3<> g; read a <&3; echo "$a"; echo X >&3; exec 3>&-; cat g
exec 6>&1; exec > h; echo in h; exec >&6 6>&-; echo out again; cat h
{ echo x >&3; } 3>&1; { cat <&3; } 3< h; cat 3< h <&3; (echo sub >&7) 7>&1
f() { echo to 3 >&3; }; f 3> i; cat i; echo moved 3>&1 >j 1>&3; cat j
while read x <&3; do echo "got $x"; read y <&4; echo "and $y"; done 3< g 4< f
exec 3< g; cat > k <&3; cat k; { exec 3< f; } ; cat <&3; > empty; cat empty; : > k; cat k; echo >| k a; cat k
cat < none 2>/dev/null; echo never > none/x 2>/dev/null || echo failed; read x < g && echo $x
for x in 1 2; do echo $x; done > f 2>&1; cat f; if true; then cat; fi < f; case a in a) cat;; esac < f
exec 3>&-; echo a 2>&1 >f; cat f; sh -c 'echo a; echo b >&2' > f 2>&1; cat f

## documents
x=value
cat <<E
plain $x ${x} $(echo output) `echo old` $((1 + 1)) \$x \\ \` "q" 'q' a\
b
E
cat <<'E'
quoted $x $(echo) \$ \
E
cat <<\E
again $x
E
	cat <<-E
		tabs $x
	  mixed
	E
cat <<A; cat <<B; echo after
a
A
b
B
f() { cat <<E
in a function $1
E
}
f 1; f 2
while read l; do echo "<$l>"; done <<E
1
2 $x
E
cat <<E | sort -r
a
b
E
cat 3<<E <&3
three
E
cat <<"A B"
a blank
A B
cat <<E
E
if true; then cat <<E
nested
E
fi; echo ${none-`cat <<E
in output
E
`}

## read
echo 'a b  c ' | { read x; echo "<$x>"; }; echo 'a b  c ' | { read x y; echo "<$x><$y>"; }
echo ' a b' | { read x y z; echo "<$x><$y><$z>"; }; printf '%s\n' 'a\ b c\\d\e' | { read x y; echo "<$x>"; printf '%s\n' "$y"; }
printf '%s\n' 'a\ b c\\d\e' | { read -r x y; printf '<%s>' "$x" "$y"; echo; }; printf 'a\\\nb c\nd\n' | { read x; read y; echo "<$x><$y>"; }
printf 'a\\\nb\n' | { read -r x; printf '%s\n' "$x"; }; echo a:b:c | { IFS=: read x y; echo "<$x><$y>"; printf '<%s>' "$IFS"; }; echo
echo 'a:b:' | { IFS=: read x y; echo "<$x><$y>"; }; echo '::a' | { IFS=: read x y z; echo "<$x><$y><$z>"; }
echo '  a  ' | { IFS= read x; echo "<$x>"; }; printf 'no end' | { read x; echo "$? <$x>"; }; printf '' | { read x; echo "$? <$x>"; }
printf '1\n2\n3\n' | { read a; read b; cat; echo "$a$b"; }; printf 'a b\nc\n' | while read -r x y; do echo "$x,$y"; done
echo x | { x=old; read y; echo $x $y; }; echo 'a  b   c' | { read x y; printf '%s\n' "$y"; }

## environment
A=1; export A B=2; sh -c 'echo $A$B$C'; C=3 sh -c 'echo $A$B$C'; echo "<$C>"; unset A; sh -c 'echo "<$A>"'
D=4 true; echo "<$D>"; E=5 :; echo "<$E>"; F=6 eval 'echo $F'; G=a H=${G}b; echo $H
x=1; (x=2; echo $x); echo $x; x=a y=b; echo $x$y; export x; x=changed; sh -c 'echo $x'
readonly R=fixed; echo $R; (R=other) 2>/dev/null; echo $?; echo $R; PATH=/nowhere; cat f 2>/dev/null; echo $?

## special
false; echo $?; (exit 300) 2>/dev/null; sh -c 'exit 7'; echo $?; sh -c 'echo $0 $1 $#' name a b
sh -c 'echo $#'; none-such 2>/dev/null; echo $?; ./none-such 2>/dev/null; echo $?; mkdir d; ./d 2>/dev/null; echo $?
eval 'x=1; echo $x' "; echo" '"a  b"'; eval; echo $?; eval false; echo $?; eval 'for i in 1 2' '; do echo $i; done'
echo 'x=sourced; return 4; echo never' > s; . ./s; echo $? $x; echo 'echo "in s $1"' > s; . ./s
: a b c; echo $?; true ignored; sleep 0.01 & wait; echo $?; (exit 3) & wait $!; echo $?; { exit 5; } & wait $!; echo $?
cd /; pwd; cd - >/dev/null; cd /tmp; cd ..; pwd; echo $PWD; cd none-such 2>/dev/null || echo failed
command echo plain; command -v echo; command -v none-such; echo $?; x=1; unset x; echo "<$x>"

## errexit
sh -c 'set -e; false; echo no'; echo $?; sh -ec 'true; false; echo no'; echo $?; sh -e -c 'false || true; echo a; false && true; echo b'
sh -ec 'if false; then :; fi; echo a; while false; do :; done; ! true; echo b; until true; do :; done; echo c'
sh -ec 'f() { false; echo in f; }; f || echo not; f; echo no'; echo $?; sh -ec '(false); echo no'; echo $?
sh -ec '{ false; }; echo no'; echo $?; sh -ec 'true | false; echo no'; echo $?; sh -ec 'false | true; echo yes'
sh -ec 'x=$(false); echo no'; echo $?; sh -ec 'echo $(false) yes'; sh -ec 'set +e; false; echo yes'
sh -ec 'f() { return 3; }; if f; then :; else echo $?; fi; f; echo no'; echo $?; sh -ec 'exit 4'; echo $?
sh -ec 'for x in 1 2; do test $x = 1; done; echo no'; echo $?; sh -ec 'case a in a) false;; esac; echo no'; echo $?

## nounset
sh -uc 'echo $none; echo no' 2>/dev/null; echo $?; sh -uc 'echo ${none-yes} ${none:-yes} "$@" $# $*; x=; echo $x yes'
sh -uc 'x=1; unset x; echo ${#x}; echo no' 2>/dev/null; echo $?; sh -uc 'echo ${1-none}; echo $1; echo no' 2>/dev/null; echo $?
sh -c 'set -u; set +u; echo "<$none>"'; echo $-

## printf
printf 'a\tb\n\101\\%%\n'; printf '%s %s\n' a b c; printf '%d %i %o %x %X %u\n' 10 -10 8 255 255 7
printf '[%5s][%-5s][%.2s][%5.1s]\n' abc abc abc abc; printf '[%5d][%-5d][%05d][%+d][% d][%.3d]\n' 42 42 42 42 42 42
printf '%c%c\n' abc d; printf '%b|%s\n' 'a\tb\0101' 'a\tb'; printf '%d %d %d\n' 0x10 010 "'A"; printf '%s\n'
printf '%#x %#o\n' 255 8; printf 'no newline'; echo; printf '%*d|%-*d|\n' 5 42 4 7; printf '%s-%d\n' a 1 b
printf '%b' 'a\cb' c; echo; printf '%d\n' abc 2>/dev/null; echo $?; printf '%%s %%\n'

## pipes
echo a | cat | cat; { echo a; echo b; } | { read x; echo "first $x"; cat; }; echo a | { x=1; }; echo "<$x>"
false | true; echo $?; true | false; echo $?; ! false | true; echo $?; (echo a; echo b) | while read x; do echo "<$x>"; done
seq 100000 | head -n 1; echo a | (cat; echo b) | sort -r; cat < /dev/null | cat; echo $?
echo x |
  cat |

  cat; echo a && echo b ||
  echo c; echo $(echo a | cat) `echo b | cat`

## traps
trap 'echo end $?' EXIT; trap 'echo int $?' INT; trap 'echo term' TERM; trap '' HUP; trap
kill -s INT $$; echo after $?; false; kill -s TERM $$; kill -HUP $$; echo hup is ignored
trap - TERM HUP; trap; trap 2; trap
(trap 'echo sub' EXIT; echo in sub); (trap 'echo never' EXIT; trap - EXIT); (trap 'echo sub $?; exit 7' 0; exit 3); echo $?
(trap 'exit' EXIT; exit 4); echo $?; (trap '(exit 9)' EXIT; exit 5); echo $?; (trap 'echo x' EXIT; false); echo $?
x=$(trap 'echo in output' EXIT; echo first); echo "$x"; echo a | { trap 'echo last' EXIT; cat; }
f() { trap 'echo from a function' USR1; }; f; kill -USR1 $$; echo done
i=0; trap 'i=$((i + 1)); echo $i' USR1; for n in 1 2 3; do kill -USR1 $$; done; echo $i
trap 'echo woken' USR1; (sleep 0.3; kill -USR1 $$) & wait; wait
trap 'echo alarm; trap - ALRM' ALRM; { sleep 0.3; kill -ALRM $$; } & while trap | grep -q ALRM; do :; done; wait
sleep 100 & kill -s TERM $!; wait $! 2>/dev/null; echo $?; sleep 100 & kill -INT $!; wait $!; echo $?
trap 'echo x' none 2>/dev/null; echo $?; trap 'nothing such' EXIT; trap -- 'echo "last"' EXIT; trap; exit 6

## aliases
alias l='echo listed' e=echo two='echo 1; echo 2' sp='e ' w=word
l x; e w; sp w w; two; l | cat; l && l; { l; }; (l); if l; then l; fi; x=1 l; >f l; cat f
'l' 2>/dev/null || echo quoted; \l 2>/dev/null || echo quoted; $(echo l) 2>/dev/null || echo expanded
alias l; alias w; alias none 2>/dev/null; echo $?; alias | sort | head -n 2; unalias w; alias w 2>/dev/null; echo $?
alias echo='echo again'; echo 1; unalias echo; echo 2
alias a=b b=a; a 2>/dev/null; echo $?; unalias a b
alias same=echo; same now; alias later='echo later'
later; eval 'alias now="echo at once"
now'; alias empty=; empty
empty l; alias begin='{' end='}' when=if; begin e in; end
when true; then e when; fi; f() { l in f; }; unalias l; alias l='echo other'; f
alias if=never; if true; then e kept; fi; echo $(e w) `e w` "$(l)"
unalias none 2>/dev/null; echo $?; unalias -a; alias; command -v e; echo $?

## options
show() { echo "$? <$o> <$OPTARG> $OPTIND"; }
set -- -a -b value -cvalue -dd -- x -a
echo $OPTIND; while getopts ab:c:d o; do show; done; echo "$? <$o> $OPTIND"; shift $((OPTIND - 1)); echo "$@"
OPTIND=1; set -- -abx; getopts ab:c o; show; getopts ab:c o; show; getopts ab:c o; echo $? "$o"
OPTIND=1; set -- -x -a; getopts a o 2>/dev/null; show; getopts a o; show; getopts a o; echo $? "$o" $OPTIND
OPTIND=1; set -- -x -b; getopts :ab: o; show; getopts :ab: o; show; getopts :ab: o; echo $? "$o" $OPTIND
OPTIND=1; getopts ab: o -b; echo $? "$o" "${OPTARG-unset}"; OPTIND=1; getopts ab: o -b '' x; show; getopts ab: o -b '' x; echo $?
f() { while getopts xy: o; do echo "f $o $OPTARG"; done; echo $OPTIND; }
OPTIND=1; set -- -a -b; getopts ab o; f -x -y z; getopts ab o; echo $o
set -- ; OPTIND=1; getopts ab o; echo $? $o $OPTIND; set -- a -b; getopts ab o; echo $? $OPTIND

## jobs
show() { jobs > f; sort f | while read a b c d; do echo "$a $b $c"; done; }
sleep 0.5 & show; sleep 0.5 | cat & show; jobs -p > f; while read p; do echo one; done < f; wait; show > g; show; echo none
(exit 3) & wait %1; echo $?; (exit 4) & p=$!; sleep 0.2; wait $p; echo $?; true & false & wait; echo $?
sleep 0.1 & a=$!; (exit 5) & wait $! $a; echo $?; sleep 0.1 & (exit 5) & wait %1 %2; echo $?
wait 99999 2>/dev/null; echo $?; wait %9 2>/dev/null; [ $? -gt 0 ] && echo no such job; fg %1 2>/dev/null; echo $?
(exit 6) & sleep 0.3; show; show; (exit 0) & sleep 0.3; show

## lines
echo a; echo b;echo c
  echo d   ;   echo e
if true
then
    echo f
fi
{
echo g
}
( echo h )
echo i \
  j; echo "k
l"
# nothing

true &&

echo m
{ echo n; };{ echo o;}
echo p;
! true
echo $?
exit 9
echo never
