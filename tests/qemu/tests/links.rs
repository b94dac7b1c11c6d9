//! Symbolic links that were made on the host, as a person meets them.

use dormouse_qemu_tests::{guest, run, scratch};
use std::fs;
use std::os::unix::fs::symlink;

/// The commands of the test, in a share with the links that it makes.
const SCRIPT: &str = r#"cd /n/host
cat l lib/code chain/up chain/../code rooted
cat me; cat dangling; cat absolute; cat relative
echo more >> l; cat hello
echo x > dangling; cat gone
echo x > relative; echo $?
readlink absolute > /dev/null; echo $?; readlink lib hello; echo $?
ls -d chain lib; ls lib; ls -l me | tail -n 1 | wc -w
[ -h l ] && [ -f l ] && [ ! -h hello ] && [ -d lib ] && echo kinds
cp -r project copy; readlink copy/lib/deep/up; cp l plain; [ -h plain ] || cat plain
ln -s hello made; cat made; ln hello hard; rm hello; cat hard; cat made
mv lib moved; ls moved; cd moved; pwd; cat code ../lib/code
cd /n/host; rm -r moved; ls project/lib; rm -r project; ls
"#;

/// The output of [`SCRIPT`].
const PRINTED: &str = "hello
code
hello
code
code
cat: me: too many symbolic links
cat: dangling: file does not exist
cat: absolute: file does not exist
cat: relative: not on the same file server
hello
more
x
/n/host/script: relative: not on the same file server
1
0
project/lib
readlink: hello: invalid argument
1
chain
lib
code
deep
10
kinds
../../../hello
hello
more
hello
more
hello
more
cat: made: file does not exist
code
deep
/n/host/moved
code
code
code
deep
absolute
chain
copy
dangling
gone
hard
l
made
me
plain
relative
rooted
script
";

#[test]
fn links_of_the_host_are_followed_and_lead_nowhere_else() {
    let outside = scratch();
    fs::write(outside.path().join("secret"), "secret\n").unwrap();
    for eager in [false, true] {
        let share = scratch();
        let at = |name: &str| share.path().join(name);
        fs::create_dir_all(at("project/lib/deep")).unwrap();
        fs::write(at("project/lib/code"), "code\n").unwrap();
        fs::write(at("hello"), "hello\n").unwrap();
        symlink("hello", at("l")).unwrap();
        symlink("project/lib", at("lib")).unwrap();
        symlink("lib/deep", at("chain")).unwrap();
        symlink("../../../hello", at("project/lib/deep/up")).unwrap();
        symlink("/project/lib/code", at("rooted")).unwrap();
        symlink("me", at("me")).unwrap();
        symlink("gone", at("dangling")).unwrap();
        symlink(outside.path().join("secret"), at("absolute")).unwrap();
        symlink("../secret", at("relative")).unwrap();
        fs::write(at("script"), SCRIPT).unwrap();
        let guest = guest(share.path()).eager(eager);
        let (console, _) = run(share.path(), &guest.command("sh /n/host/script"));
        assert_eq!(console, PRINTED, "eager: {eager}");
        assert_eq!(fs::read_link(at("made")).unwrap().as_os_str(), "hello");
        let secret = fs::read_to_string(outside.path().join("secret")).unwrap();
        assert_eq!(secret, "secret\n");
    }
}
