//! The shell and the programs: one script with many checks a boot, and a
//! person at a terminal.

use dormouse_qemu_tests::{guest, run, scratch};
use std::fs;
use std::process::Command;

/// Runs a script in a guest, deferred and eager; each line of `wanted` must
/// come out in order, and nothing else.
#[track_caller]
fn prints(script: &str, wanted: &str) {
    for eager in [false, true] {
        let share = scratch();
        fs::write(share.path().join("script"), script).unwrap();
        let guest = guest(share.path()).eager(eager);
        let (console, status) = run(share.path(), &guest.command("cd /n/host; sh script"));
        assert_eq!((console.as_str(), status), (wanted, 0), "eager: {eager}");
    }
}

#[test]
fn the_language() {
    prints(
        r#"
# Pipelines end when their readers do, and have the status of the last.
seq 100000 | head -n 2 | tail -n 1
echo a b c | wc -w
false | true; echo $?; true | false; echo $status
! false; echo $?
# Lists and conditions.
true && echo and || echo or
false && echo and || echo or
if [ -f script ] && ! [ -d script ]; then echo file; elif true; then echo no; fi
if false; then :; else echo else; fi
for x in 1 "2 3" $(seq 4 5); do echo "<$x>"; done
i=0
while [ $i -lt 5 ]; do
    i=$((i + 1))
    if [ $i = 2 ]; then continue; fi
    if [ $i = 4 ]; then break; fi
    echo i=$i
done
# Words.
x="one  two"; echo $x "$x" '$x' ${none:-else} ${#x}
touch b.txt a.txt; mkdir -p d; touch d/c.txt
echo *.txt */*.txt *.none "*.txt"
cd d; pwd; echo *; cd ..
# Redirections, which end with the command.
echo first > out; echo second >> out; cat < out
{ echo inside; echo error >&2; } > both 2>&1; cat both
no-such-program 2> error; echo $?; cat error
cat no-such-file 2>&1 >/dev/null | cat
cat < no-such-file; echo $?
# Subshells, the background, the environment.
y=1; (y=2; echo $y); echo $y
{ sleep 0.3; echo late; } & wait; echo waited
export Z=z; sh -c 'echo $Z-$y-$0-$1' name arg
A=b sh -c 'echo $A'; echo "<$A>"
(exit 7); echo $?
set -- p "q r"; for a; do echo "<$a>"; done; shift; echo $# "$@"
printf_missing 2>/dev/null || echo missing
help true 2>&1; help none 2>&1; echo $?; help cat | head -n 1
eval 'echo ev''al'; . ./sourced 2>/dev/null || echo no source
echo 'echo script "$1" $#' > s; ./s "a b"
echo '#!/bin/sh -c' > t; echo '#!/bin/cat' > u; ./u
echo x | { read line; echo "got $line"; }
exec echo replaced
"#,
        "2\n3\n0\n1\n0\nand\nor\nfile\nelse\n<1>\n<2 3>\n<4>\n<5>\ni=1\ni=3\n\
         one two one  two $x else 8\n\
         a.txt b.txt d/c.txt *.none *.txt\n/n/host/d\nc.txt\n\
         first\nsecond\ninside\nerror\n127\nscript: no-such-program: no such program\n\
         cat: no-such-file: file does not exist\nscript: no-such-file: file does not exist\n1\n\
         2\n1\nlate\nwaited\nz--name-arg\nb\n<>\n7\n<p>\n<q r>\n1 q r\nmissing\n\
         help: true: part of the shell: see `help`\nhelp: none: no such program\n1\n\
         `cat [-nu] [FILE...]`: copies files, or standard input for none and for\n\
         eval\nno source\n\
         script a b 1\n#!/bin/cat\ngot x\nreplaced\n",
    );
}

#[test]
fn the_shell_refuses_by_name_and_only_from_there_on() {
    prints(
        r#"
# Earlier lines run before one that is not understood.
echo 'echo first; echo line
[[ a ]]
echo never' > s; sh s 2>&1; echo $?
echo 'if true; then echo a' > s; sh s 2>&1; echo $?
sh -c 'cat <<E
no end' 2>&1; echo $?
for c in 'a &> b' 'echo ${x/a/b}' 'function f { a; }' '((i++))' 'cat <<< a'; do sh -c "echo first
$c
echo never" 2>&1; echo $?; done
# Commands and options.
ulimit 5 2>&1; echo $?; read -p a b 2>&1; echo $?; sh -c 'set -o pipefail; echo never' 2>&1; echo $?
cd -P / 2>&1; echo $?; sh -c 'exec -a b c; echo never' 2>&1; echo $?; printf %f 1 2>&1; echo $?; read 2>&1; echo $?
# Expressions and values.
sh -c 'echo $((9223372036854775807 + 1)); echo never' 2>&1; echo $?; sh -c 'echo $((i++))' 2>&1; echo $?
sh -c 'echo ${x?gone}; echo never' 2>&1; echo $?; sh -uc 'echo $x; echo never' 2>&1; echo $?
# What nests has a bound.
f() { f; }; (f) 2>&1; echo $?; x='eval "$x"'; (eval "$x") 2>&1; echo $?; echo '. ./s' > s; (. ./s) 2>&1; echo $?
n() { [ $1 = 0 ] || n $(($1 - 1)); }; n 300; echo $?
# Substitutions of a command in a pipeline happen once.
echo $(echo x >> once; echo y) | cat; wc -l once; echo "$(echo x >> once)" & wait; wc -l once
# Descriptors of the shell are not in the way.
exec 3< s 9> t; { exec 4< s; read a <&4; echo $a; } < s; echo nine >&9; exec 9>&-; cat t; { echo a >&3; } 2> e; cat e
(exec 63< s; echo never); sh none 2>&1; echo $?; (exec none; echo never) 2>&1; echo $?; (exec ./d; echo never) 2>&1; true
"#,
        "first\nline\ns: line 2: not supported: [[\n2\n\
         s: line 2: the end comes before `fi`\n2\n\
         sh: line 2: the end comes before the line `E`\n2\n\
         first\nsh: line 2: not supported: &>\n2\n\
         first\nsh: line 2: not supported: ${x/...}\n2\n\
         first\nsh: line 2: not supported: function\n2\n\
         first\nsh: line 2: not supported: ((; write ( ( for two subshells\n2\n\
         first\nsh: line 2: not supported: <<<\n2\n\
         ulimit: not supported\n2\nread: -p: not supported\n2\nset: -o: not supported\n2\n\
         cd: -P: not supported\n2\nexec: -a: not supported\n2\nprintf: not supported: %f\n2\n\
         usage: read [-r] NAME...\n2\n\
         sh: $((9223372036854775807 + 1)): the result is too large\n2\n\
         sh: $((i++)): not supported: ++\n2\nsh: x: gone\n2\nsh: x: not set\n2\n\
         script: commands are nested too deeply\n2\n\
         script: commands are nested too deeply\n2\n\
         script: commands are nested too deeply\n2\n0\n\
         y\n1 once\n\n2 once\n. ./s\nnine\necho: standard output: bad file descriptor\n\
         script: 63: not a descriptor for redirections\nsh: none: file does not exist\n127\n\
         script: none: no such program\n127\nscript: ./d: file does not exist\n",
    );
}

#[test]
fn a_pipeline_in_the_background_is_known_by_its_last_program() {
    prints(
        r#"
cat /dev/zero | cat > /dev/null & kill $!; wait; ps | grep -c ' cat$'
sleep 100 | sleep 0.1 | sh -c 'exit 3' & wait $!; echo $?; ps | grep ' sleep$' | { read p rest; kill $p; }; wait
(exit 4) | (exit 5) & wait $!; echo $?; false && true & wait $!; echo $?; ! true & wait $!; echo $?
cat & wait $!; echo $?; echo a | cat & wait
"#,
        "cat: killed\n0\n3\nsleep: killed\n5\n1\n1\n0\na\n",
    );
}

#[test]
fn jobs_are_known_by_their_numbers_and_their_commands() {
    prints(
        r#"
sleep 100 & sleep 200 | sleep 300 & jobs; jobs -l > f; grep -c Running f; kill %1; wait %1; echo $?
kill -s TERM %?200; wait; jobs; sleep 100 & sleep 200 & kill %sleep; kill %+ %-; wait
kill %9; echo $?; fg; bg %1; echo $?; (jobs); kill -l | head -n 2; kill -Z 1 2>&1 | head -n 1
{ sleep 100; } & sleep 0.1; kill -INT %%; sleep 0.1; jobs; jobs
"#,
        "[1] - Running                    sleep 100\n[2] + Running                    sleep 200 | sleep 300\n2\n\
         sleep: killed\n128\nsleep: terminate\nsleep: terminate\n\
         kill: %sleep: more than one job\nsleep: killed\nsleep: killed\n\
         kill: %9: no such job\n1\nfg: no job control in a script\nbg: no job control in a script\n2\n\
         HUP\nINT\nkill: Z: no such signal\n[1] + interrupt                  { sleep 100; }\n",
    );
}

#[test]
fn all_programs_of_a_job_are_told_at_once() {
    prints(
        r#"
sleep 100 | cat | cat & sleep 0.2; kill -s TERM %1; wait; sleep 100 | cat & sleep 0.2; kill %cat %sleep 2>&1; kill %sleep; wait
true | sleep 100 | { cat; cat; } & sleep 0.2; kill -INT -- %1; wait $!; echo $?; kill -- -99999; kill -a -- -1 2>&1; kill -9999
echo a | { sleep 0.1; cat; } & wait; (sleep 100 & sleep 100 | cat & kill %1 %2; wait) 2>&1 | sort
"#,
        "sleep: terminate\ncat: terminate\ncat: terminate\nkill: %cat: no such job\nsleep: killed\ncat: killed\n\
         130\nkill: process -99999: no such process\nkill: -1: not a process\nkill: 9999: no such signal\n\
         a\ncat: killed\nsleep: killed\nsleep: killed\n",
    );
}

#[test]
fn the_programs() {
    prints(
        r#"
echo one > a; cp a b; cmp a b && echo equal; mv b c; ls
cp a c d; echo $?; mkdir d; cp a c d; ls d; cp -r d e; ls e; mv e/a f; ls e
rm d; echo $?; rm -r d e; rm nothing; rm -f nothing; ls
mkdir x/y; mkdir -p x/y/z; ls -d x/y/z; mkdir x
seq 12 > n; head -n 2 n; tail -n 2 n; head n | tail -n 1; wc -l n
sort -rn n | head -n 1; sort n | head -n 2 | tail -n 1; echo b a b | cat
grep -c 1 n; grep '^1.$' n | wc -l; grep -n 7 n; grep none n; echo $?
dd if=n of=m bs=2 count=3 skip=1 2> log; cat m log
dd if=/dev/zero bs=1k count=4 2>/dev/null | wc -c
touch -c none; ls none; touch t; wc -c t
echo abc | tee t | cat - t; xd t
true; echo $?; /bin/false; echo $?
date 0; sleep 0.1; echo $?; sleep x; echo $?
chmod 600 t; ls -l t | head -c 10; echo
kill 99999; echo $?
sleep 100 & kill $!; wait $!; echo $?
ps | grep -c ' ps$'; free | grep -c memory
sync; echo $?
cp a a; cat /n/host; rm -r /bin/echo; true
"#,
        "equal\na\nc\nscript\n\
         cp: d: file does not exist\n1\na\nc\na\nc\nc\n\
         rm: d: directory not empty\n1\nrm: nothing: file does not exist\na\nc\nf\nscript\n\
         mkdir: x/y: file does not exist\nx/y/z\nmkdir: x: file exists\n\
         1\n2\n11\n12\n10\n12 n\n\
         12\n10\nb a b\n\
         4\n3\n7:7\n1\n\
         2\n3\n4\n3+0 blocks, 6 bytes\n4096\n\
         ls: none: file does not exist\n0 t\nabc\nabc\n\
         0000000000  61 62 63 0a                                       abc.\n0000000004\n\
         0\n1\n\
         Thu Jan  1 00:00:00 UTC 1970\n0\nsleep: x: not a number of seconds\n2\n\
         -rw-------\nkill: process 99999: no such process\n1\nsleep: killed\n128\n1\n1\n0\n\
         cp: a and a are the same file\ncat: /n/host: is a directory\nrm: /bin/echo: read-only file system\n",
    );
}

#[test]
fn a_copy_moves_no_data_between_kernel_and_server() {
    let share = scratch();
    let content: Vec<u8> = (0..40_000_000u32).map(|n| (n ^ (n >> 9)) as u8).collect();
    fs::write(share.path().join("from"), &content).unwrap();
    let guest = guest(share.path()).command("cd /n/host; count -t cp from to");
    let (console, status) = run(share.path(), &guest);
    assert_eq!(status, 0, "{console}");
    let columns: Vec<&str> = console.trim().split('\t').collect();
    let ["cp", _, bytes_in, bytes_out, ..] = columns[..] else {
        panic!("{console}");
    };
    assert_eq!((bytes_in, bytes_out), ("0", "0"), "{console}");
    assert!(fs::read(share.path().join("to")).unwrap() == content);
}

#[test]
fn names_are_bound_and_servers_mounted() {
    prints(
        r#"
mkdir d; echo one > d/one
bind d /mnt; ls /mnt; cat /mnt/one
bind -a . /mnt; ls /mnt | head -n 3; unmount /mnt; ls /mnt
bind script d/one; head -n 2 d/one | wc -l; unmount d/one; cat d/one
mount /mnt no-such-server
echo $?
(sh -c 'cd d; pwd'); pwd
"#,
        "one\none\nd\none\nscript\n2\none\n\
         /bin/no-such-server: file does not exist\n\
         mount: /mnt: mounting /bin/no-such-server: input/output error\n1\n\
         /n/host/d\n/n/host\n",
    );
}

/// A server that was ended is restarted, without its content in memory.
#[test]
fn a_service_that_ends_is_started_again() {
    let share = scratch();
    let script = "echo lost >/tmp/a
kill $(ps | grep ramfs | head -n 1 | { read pid rest; echo $pid; })
for i in 1 2 3 4 5 6 7 8 9; do
    sleep 0.1
    echo kept 2>/dev/null >/tmp/b && break
done
cat /tmp/b
ls /tmp
";
    fs::write(share.path().join("script"), script).unwrap();
    // One server less has something open afterwards than before.
    let guest = guest(share.path()).option("left", "0");
    let outcome = guest.command("sh /n/host/script").run().unwrap();
    let console = &outcome.console;
    assert_eq!(outcome.status().unwrap(), 0, "{console}");
    assert!(
        console.contains("/bin/ramfs ended with status 128"),
        "{console}"
    );
    assert!(console.ends_with("kept\nb\n"), "{console}");
}

#[test]
fn every_program_shows_its_manual_and_refuses_unknown_options() {
    prints(
        r#"
for t in bind cat chmod cmp count cp date free grep head lazy ls mkdir mount mv ps rm sh sleep sort sync tail tee touch unmount wc xd; do
    $t -Z > out 2>&1 < /dev/null; s=$?
    grep -q "^$t: unknown option -Z" out && grep -q "^usage: $t" out && [ $s = 2 ] || { echo $t $s; cat out; }
    $t --none > out 2>&1 < /dev/null; s=$?
    grep -q "^$t: unknown option --none" out && [ $s = 2 ] || { echo $t $s; cat out; }
done
for t in bind cat chmod cmp count cp date dd free grep head kill lazy ls mkdir mount mv ps rm seq sh sleep sort sync tail tee touch unmount wc xd; do
    for o in --help -h; do
        $t $o > out 2>&1 || echo $t $o; head -n 1 out | grep -q "^.$t" || { echo $t $o; cat out; }
    done
done
free x 2>&1; ps -ef 2>&1; cp 2>&1; tail -n 1x script 2>&1; sort -o 2>&1; echo $?
"#,
        "free: usage: free\nps: unknown option -e\nusage: ps\n\
         cp: usage: cp [-r] FROM TO or cp [-r] FROM... DIRECTORY\n\
         tail: 1x: not a number of lines\nsort: option -o needs a value\n\
         usage: sort [-nru] [-o OUTPUT] [FILE...]\n2\n",
    );
}

#[test]
fn nothing_is_read_while_it_is_written_to() {
    let lines = r#"
seq 3 > g; mkdir d; echo x > d/f
for c in 'cat g >> g' 'cat < g >> g' 'cat - < g >> g' 'grep . g >> g' 'tail -n +1 g >> g' 'tail -c +1 g >> g' 'xd g >> g' \
    'tee g < g' 'tee -a g < g' 'cp g g' 'mv g g' 'cp -r d d/e' 'cp -r d d/e/../h' 'mv d d/e' 'cp -r d .' 'cp -r . d/e' 'cd d; cp -r /n/host/d new'; do
    sh -c "$c" 2>&1; echo $?; wc -l g; ls d; ls d/f > /dev/null
done
sort -r -o g g; cat g; head -n 1 g >> g; tail -n 1 g >> g; tail -n 1 g; wc -l g; cat g > g; wc -l g; cat g >> g
cat g d/f >> g; cat g; cat d/f >> g; wc -l g; { read a; cat >> g; } < g; wc -l g
"#;
    let mut wanted = String::new();
    for error in [
        "cat: g: input file is output file",
        "cat: standard input: input file is output file",
        "cat: standard input: input file is output file",
        "grep: g: input file is output file\n2",
        "tail: g: input file is output file",
        "tail: g: input file is output file",
        "xd: g: input file is output file",
        "tee: g: input file is output file",
        "tee: g: input file is output file",
        "cp: g and g are the same file",
        "mv: g and g are the same file",
        "cp: d: cannot be put into itself, d/e",
        "cp: d: cannot be put into itself, d/e/../h",
        "mv: d: cannot be put into itself, d/e",
        "cp: d: cannot be put into itself, ./d",
        "cp: .: cannot be put into itself, d/e",
        "cp: /n/host/d: cannot be put into itself, new",
    ] {
        let status = if error.ends_with('2') { "" } else { "\n1" };
        wanted += &format!("{error}{status}\n3 g\nf\n");
    }
    wanted += "3\n2\n1\n3\n5 g\n0 g\nx\n2 g\ncat: standard input: input file is output file\n2 g\n";
    prints(lines, &wanted);
}

#[test]
fn trees_are_copied_and_removed_deeper_than_paths_reach() {
    prints(
        r#"
p=t; i=0; while [ $i -lt 70 ]; do p=$p/x; i=$((i + 1)); done
cd /tmp; mkdir -p $p/y; echo end > $p/f
cp -r t u; echo $?; cat u${p#t}/f; rm -r t; echo $?; mv u /n/host/v; echo $?; ls; cd /n/host; cat v${p#t}/f
mkdir v/z; echo z > v/z/f; mv v/z v/x/z; rm -r v; echo $?; ls
# A path of 1,024 bytes does not reach all of it.
n=$(printf %0200d 0); mkdir a; echo end > a/f; i=0; while [ $i -lt 6 ]; do mkdir b; mv a b/$n; mv b a; i=$((i + 1)); done
cp -r a b; echo $?; rm -r a; echo $?; i=0; while [ $i -lt 6 ]; do mv b/$n a; rm -r b; mv a b; i=$((i + 1)); done; cat b/f; rm -r b; ls
"#,
        "0\nend\n0\n0\nend\n0\nscript\n0\n0\nend\nscript\n",
    );
}

#[test]
fn links_are_followed_where_a_file_is_made_or_its_attributes_are_set() {
    prints(
        r#"
echo one > f; ln -s f l; ln -s new d; ln -s none/x e; touch d; ls new; chmod 600 l d; ls -l f new | grep -c '^-rw-------'
echo more >> d; echo more | tee -a d; cat new; touch e; chmod 600 e; touch -c e; echo $?
chmod 000 f; touch f; chmod 644 f; cat l; mkdir to; ln -s ../f to/f; cp -r f l to; mkdir from; echo two > from/f
cp -r from/. to; echo $?; cat f; rm -r to/; ls f; rm -r l/; rm l; cat f
"#,
        "new\n2\nmore\nmore\nmore\n\
         touch: e: file does not exist\nchmod: e: file does not exist\n0\n\
         one\ncp: f and to/f are the same file\ncp: to/./f: a symbolic link, not written through\n1\none\nf\n\
         rm: l/: not a directory\none\n",
    );
}

#[test]
fn a_job_is_ended_with_all_that_it_has_started() {
    prints(
        r#"
sh -c 'sleep 100 & sleep 200 & wait' & sleep 0.3; kill -a $!; wait $!; echo $?; sleep 0.1; ps | grep -c ' sleep$'
sh -c 'sleep 300 & wait' & sleep 0.3; kill -a %1; wait; ps | grep -c ' sleep$'; kill -a $$ 2> err; echo $?; grep -c permitted err; kill -a 99999; true
"#,
        "sh: killed\n128\n0\nsh: killed\n0\n1\n1\nkill: process 99999: no such process\n",
    );
}

#[test]
fn what_cannot_be_removed_keeps_nothing_else() {
    prints(
        r#"
mkdir -p a/b/c a/d empty; echo x > a/f; echo x > a/b/f; echo x > a/d/f; bind empty a/b/c
rm -r a none empty/../a/d 2>&1; echo $?; ls a a/b; unmount a/b/c; rm -r a; echo $?; rm -r . 2>&1; rm -rf ../host/.. none 2>&1; ls
"#,
        "rm: a/b/c: in use\nrm: none: file does not exist\nrm: empty/../a/d: file does not exist\n1\n\
         a:\nb\na/b:\nc\n0\nrm: .: is not removed\nrm: ../host/..: is not removed\nempty\nscript\n",
    );
}

#[test]
fn devices_pipes_and_sockets_are_left_out_of_copied_trees() {
    let script = r#"
cp -r /dev /tmp/d 2> err; echo $?; sort err; ls /tmp/d; cp -r /dev/zero z 2>&1; cp /dev/null n; wc -c n
cp -r tree copy 2> err; echo $?; sort err; ls copy; cat copy/file; mv tree/pipe /tmp 2>&1; echo $?
"#;
    for eager in [false, true] {
        let share = scratch();
        let at = |name: &str| share.path().join(name);
        fs::write(at("script"), script).unwrap();
        fs::create_dir(at("tree")).unwrap();
        fs::write(at("tree/file"), "content\n").unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(at("tree/pipe"))
            .status();
        assert!(made.unwrap().success());
        let _socket = std::os::unix::net::UnixListener::bind(at("tree/socket")).unwrap();
        let guest = guest(share.path())
            .eager(eager)
            .command("cd /n/host; sh script < script");
        let (console, _) = run(share.path(), &guest);
        assert_eq!(
            console,
            "1\ncp: /dev/cons: a character device, not copied\n\
             cp: /dev/consctl: a character device, not copied\n\
             cp: /dev/null: a character device, not copied\n\
             cp: /dev/random: a character device, not copied\n\
             cp: /dev/term/cons: a character device, not copied\n\
             cp: /dev/term/consctl: a character device, not copied\n\
             cp: /dev/time: a character device, not copied\n\
             cp: /dev/zero: a character device, not copied\n\
             term\ncp: /dev/zero: a character device, not copied\n0 n\n\
             1\ncp: tree/pipe: a pipe, not copied\ncp: tree/socket: a socket, not copied\n\
             file\ncontent\nmv: tree/pipe: a pipe, not moved\n1\n",
            "eager: {eager}"
        );
    }
}

#[test]
fn the_name_space_is_shown_as_commands_that_would_make_it() {
    prints(
        r#"
mkdir "a 'b" c; ns > before; mount -ce /mnt ramfs; bind -a "a 'b" /mnt; cd c; ns > ../after; cd ..
tail -n 1 after; diff before after | grep -c '^[<>]'; grep -c mnt before
grep mnt after | while read -r what flags from to; do echo "$what $flags $to"; done; unmount /mnt; mount > now; diff now before
bind c /mnt; ns | grep ' /mnt$' | grep -c "^bind '#[0-9]*/c' /mnt$"; unmount /mnt; ns x 2>&1; grep -c '^mount ' now
"#,
        "cd /n/host/c\n4\n0\nmount -ce /mnt\nbind -a '\\''b' /mnt\n5a6\n> cd /n/host\n1\nns: usage: ns\n3\n",
    );
}

#[test]
fn trees_are_searched_and_measured() {
    prints(
        r#"
mkdir -p t/u/v t/w; echo 12345 > t/one; head -c 5000 /dev/zero > t/u/two; ln t/one t/u/three; ln -s u t/l; echo x > t/u/v/.dot
find t; find t/one t -type f -name '*[eo]'; find t -name '*' -type d; find t -type l -name l; cd t; find | wc -l; cd ..
find none t/one 2>&1; echo $?; find t -newer x 2>&1; echo $?; find t -name 2>&1; find -type x 2>&1 | head -n 1
du t; du -b t; du -abs t none 2>&1; echo $?; du -ab t/w t/one t/u/v
find /dev -type c -name 'n*'
"#,
        "t\nt/l\nt/one\nt/u\nt/w\nt/u/three\nt/u/two\nt/u/v\nt/u/v/.dot\n\
         t/one\nt/one\nt/u/three\nt/u/two\nt\nt/u\nt/w\nt/u/v\nt/l\n9\n\
         find: none: file does not exist\nt/one\n1\n\
         find: not supported: -newer\nusage: find [PATH...] [-name PATTERN] [-type LETTER]\n2\n\
         find: -name: no value\nusage: find [PATH...] [-name PATTERN] [-type LETTER]\n\
         find: -type: not supported: x\n\
         1\tt/u/v\n5\tt/u\n0\tt/w\n5\tt\n2\tt/u/v\n5002\tt/u\n0\tt/w\n5009\tt\n\
         5009\tt\ndu: none: file does not exist\n1\n\
         0\tt/w\n6\tt/one\n2\tt/u/v/.dot\n2\tt/u/v\n/dev/null\n",
    );
}

#[test]
fn differences_are_shown_as_other_tools_show_and_read_them() {
    let share = scratch();
    let at = |name: &str| share.path().join(name);
    let text: Vec<String> = (0..300).map(|n| format!("line {}\n", n * n % 97)).collect();
    let mut other = text.clone();
    other.drain(280..);
    other.drain(40..43);
    other.insert(100, "new\n".into());
    other[200] = "another".into();
    let mut same = text.clone();
    same.push("no end".into());
    for (name, lines) in [
        ("a", &text),
        ("b", &other),
        ("c", &same),
        ("e", &Vec::new()),
    ] {
        fs::write(at(name), lines.concat()).unwrap();
    }
    let mut commands = String::from("cd /n/host; ");
    let pairs = ["a b", "b a", "a c", "c a", "a e", "e a", "b c", "a a"];
    for (number, pair) in pairs.iter().enumerate() {
        commands += &format!("diff {pair} > n{number}; echo $?; diff -u {pair} > u{number}; ");
    }
    commands += "diff -q a b; diff a none; echo $?; mkdir d; cp b d/a; diff -q a d; diff - a < a; diff -r a b; echo $?";
    let (console, _) = run(share.path(), &guest(share.path()).command(commands));
    let said = "1\n1\n1\n1\n1\n1\n1\n0\na and b differ\n2\na and d/a differ\n2\n";
    let errors = |line: &&str| !line.starts_with("diff: ") && !line.starts_with("usage: ");
    let lines: Vec<_> = console.lines().filter(errors).collect();
    assert_eq!(lines, said.lines().collect::<Vec<_>>(), "{console}");
    for (number, pair) in pairs.iter().enumerate() {
        let (from, to) = pair.split_once(' ').unwrap();
        let normal = fs::read_to_string(at(&format!("n{number}"))).unwrap();
        let theirs = Command::new("diff").args([at(from), at(to)]).output();
        if let Ok(theirs) = theirs {
            let theirs = String::from_utf8(theirs.stdout).unwrap();
            assert_eq!(normal.lines().count(), theirs.lines().count(), "{pair}");
        }
        for script in ["n", "u"] {
            let patched = Command::new("patch")
                .args(["-s", "-o"])
                .args([at("patched"), at(from), at(&format!("{script}{number}"))])
                .status();
            if !patched.is_ok_and(|status| status.success()) || from == to {
                continue;
            }
            assert_eq!(
                fs::read(at("patched")).unwrap(),
                fs::read(at(to)).unwrap(),
                "{pair}"
            );
        }
    }
}

#[test]
fn hard_links_are_the_same_file() {
    let script = "cat g >> l; cp g l; mv g l; tee l < g; cp -r d e; ls";
    let share = scratch();
    let at = |name: &str| share.path().join(name);
    fs::write(at("g"), "content\n").unwrap();
    fs::hard_link(at("g"), at("l")).unwrap();
    let guest = guest(share.path()).command(format!("cd /n/host; {{ {script}; }} 2>&1"));
    let (console, _) = run(share.path(), &guest);
    assert_eq!(
        console,
        "cat: g: input file is output file\ncp: g and l are the same file\n\
         mv: g and l are the same file\ntee: l: input file is output file\n\
         cp: d: file does not exist\ng\nl\n"
    );
}
