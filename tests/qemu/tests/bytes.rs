//! Names of the host that are no text: listed apart, read, copied and removed,
//! and never shown to a terminal as they are.

use dormouse_qemu_tests::{guest, run, scratch};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

#[test]
fn names_that_are_no_text_are_listed_read_and_removed() {
    for eager in [false, true] {
        let share = scratch();
        let odd = share.path().join("odd");
        fs::create_dir(&odd).unwrap();
        for name in [
            &b"\xe8"[..],
            b"\xe9",
            b"\x1b[2J",
            b"a\nb",
            b"$'x'",
            b"plain name",
        ] {
            fs::write(odd.join(OsStr::from_bytes(name)), name).unwrap();
        }
        let script = r#"cd /n/host/odd
ls
ls | wc -l
cat * | wc -c
for name in *; do cmp "$name" "$name" || echo differs; done
cat missing* "$(echo nothing)"
mkdir ../copy; cp * ../copy; ls -d ../copy/*
for name in ./*2J; do cat "$name/below"; done
cd ..; rm -r odd; ls
"#;
        fs::write(share.path().join("script"), script).unwrap();
        let guest = guest(share.path()).eager(eager);
        let (console, _) = run(share.path(), &guest.command("sh /n/host/script"));
        let wanted = r"$'\e[2J'
$'$\'x\''
$'a\nb'
plain name
$'\xe8'
$'\xe9'
7
23
cat: missing*: file does not exist
cat: nothing: file does not exist
$'../copy/\e[2J'
../copy/$'x'
$'../copy/a\nb'
../copy/plain name
$'../copy/\xe8'
$'../copy/\xe9'
cat: $'./\e[2J/below': not a directory
copy
script
";
        assert_eq!(console, wanted, "eager: {eager}");
        let mut copied: Vec<_> = fs::read_dir(share.path().join("copy"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().as_bytes().to_vec())
            .collect();
        copied.sort();
        assert_eq!(copied[0], b"\x1b[2J");
        assert_eq!(copied[4..], [b"\xe8".to_vec(), b"\xe9".to_vec()]);
    }
}
