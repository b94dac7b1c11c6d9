//! Binds and mounts, and the places that paths then lead to.
#![allow(clippy::disallowed_methods, reason = "not in the kernel")]

use abi::Errno;
use dormouse_names::{Member, Order, Path, Place, Table};

/// Servers by a letter.
type Names = Table<char>;

fn path(text: &str) -> Path {
    Path::clean(b"/home", text.as_bytes()).unwrap()
}

fn at(server: char, path: &str) -> Place<char> {
    Place::top(server).below(path.as_bytes()).unwrap()
}

fn root(path: &str) -> Place<char> {
    Place::Root(path.into())
}

fn member(place: Place<char>) -> Member<char> {
    let create = false;
    Member { place, create }
}

fn bind(names: &mut Names, name: &str, place: Place<char>, order: Order) {
    let under = root(&name[1..]);
    names
        .bind(&path(name), under, vec![member(place)], order)
        .unwrap();
}

/// The members that a path leads to as texts, and the rest of the path from there.
fn leads(names: &Names, name: &str) -> (Vec<String>, String) {
    let path = path(name);
    let trail = names.resolve(&path).unwrap();
    let text = |member: &Member<char>| match &member.place {
        Place::Root(path) => format!("/{}", String::from_utf8_lossy(path)),
        Place::Remote(server, path) => format!("{server}:{}", String::from_utf8_lossy(path)),
    };
    let members = trail.members.iter().map(text).collect();
    (members, String::from_utf8(trail.raw.to_vec()).unwrap())
}

fn one(member: &str, rest: &str) -> (Vec<String>, String) {
    (vec![member.to_string()], rest.to_string())
}

#[test]
fn what_is_bound_in_a_directory_is_known() {
    let mut names = Names::new();
    bind(&mut names, "/n/host", at('h', ""), Order::Replace);
    bind(&mut names, "/n/host/a/b", at('r', ""), Order::Replace);
    for (path, bound) in [
        ("/", false),
        ("/n", true),
        ("/n/host", false),
        ("/n/hos", false),
        ("/n/host/a", true),
        ("/n/host/a/b", false),
        ("/n/host/a/b/c", false),
    ] {
        assert_eq!(names.has_below(path.as_bytes()), bound, "{path}");
    }
    bind(&mut names, "/n", at('x', ""), Order::Replace);
    assert!(names.has_below(b"/"));
}

#[test]
fn paths_are_cleaned_by_their_text() {
    let clean = |text: &str| String::from_utf8(path(text).to_vec()).unwrap();
    assert_eq!(clean("a//b/./c/"), "/home/a/b/c");
    assert_eq!(clean("/a/../../b"), "/b");
    assert_eq!(clean("../.."), "/");
    assert!(path("a/").slash && !path("a").slash);
    assert_eq!(path("/a/../b").as_written(), b"/a/../b");
    assert_eq!(path("/../b").as_written(), b"/b");
    let empty = Path::clean(b"/", b"").map(drop);
    assert_eq!(empty, Err(Errno::ENOENT));
    let long = Path::clean(b"/", &[b'x'; abi::PATH_MAX]).map(drop);
    assert_eq!(long, Err(Errno::ENAMETOOLONG));
}

#[test]
fn the_nearest_bound_name_decides() {
    let mut names = Names::new();
    assert_eq!(leads(&names, "/n/host/a"), one("/", "n/host/a"));
    bind(&mut names, "/n", at('a', ""), Order::Replace);
    bind(&mut names, "/n/host", at('b', "x/y"), Order::Replace);
    assert_eq!(leads(&names, "/n/host/z"), one("b:x/y", "z"));
    assert_eq!(leads(&names, "/n/hosts"), one("a:", "hosts"));
    assert_eq!(leads(&names, "/n/host"), one("b:x/y", ""));
    assert!(names.resolve(&path("/n/host")).unwrap().point);
    bind(&mut names, "/", at('c', ""), Order::Replace);
    assert_eq!(leads(&names, "/n/host/z"), one("b:x/y", "z"));
    assert_eq!(leads(&names, "z"), one("c:", "home/z"));
    assert_eq!(names.unbind(b"/n/host").unwrap().len(), 1);
    assert_eq!(leads(&names, "/n/host/z"), one("a:", "host/z"));
    assert_eq!(names.unbind(b"/n/host").map(drop), Err(Errno::EINVAL));
}

#[test]
fn dots_that_stay_below_a_bound_name_are_kept_for_links() {
    let mut names = Names::new();
    bind(&mut names, "/n", at('a', ""), Order::Replace);
    assert_eq!(leads(&names, "/n/x/../y"), one("a:", "x/../y"));
    assert_eq!(leads(&names, "/n/x/../../n/y"), one("a:", "y"));
    bind(&mut names, "/n", at('b', ""), Order::After);
    let (members, raw) = leads(&names, "/n/x/../y");
    assert_eq!((members.len(), raw.as_str()), (2, "y"));
}

#[test]
fn a_union_keeps_what_was_there_in_the_order_asked_for() {
    let mut names = Names::new();
    bind(&mut names, "/bin", at('a', ""), Order::Before);
    assert_eq!(leads(&names, "/bin").0, ["a:", "/bin"]);
    bind(&mut names, "/bin", at('b', ""), Order::After);
    assert_eq!(leads(&names, "/bin").0, ["a:", "/bin", "b:"]);
    bind(&mut names, "/bin", at('c', ""), Order::Before);
    assert_eq!(leads(&names, "/bin").0, ["c:", "a:", "/bin", "b:"]);
    let copy = names.copy().unwrap();
    bind(&mut names, "/bin", at('d', ""), Order::Replace);
    assert_eq!(leads(&names, "/bin").0, ["d:"]);
    assert_eq!(leads(&copy, "/bin").0, ["c:", "a:", "/bin", "b:"]);
}

#[test]
fn an_absolute_path_is_found_at_the_server_that_it_names() {
    let mut names = Names::new();
    bind(&mut names, "/n", at('a', "top"), Order::Replace);
    bind(&mut names, "/n/in", at('a', "other"), Order::Replace);
    bind(&mut names, "/n/b", at('b', ""), Order::Replace);
    let found = |server, path: &str| {
        let found = names.path_at(|s| *s == server, path.as_bytes()).unwrap();
        found.map(|path| String::from_utf8(path).unwrap())
    };
    assert_eq!(found('a', "/n/x").as_deref(), Some("/top/x"));
    assert_eq!(found('a', "/n/in/x").as_deref(), Some("/other/x"));
    assert_eq!(found('a', "/n/b/x").as_deref(), Some("/top/b/x"));
    assert_eq!(found('b', "/n/b/x").as_deref(), Some("//x"));
    assert_eq!(found('b', "/n/x"), None);
}

#[test]
fn a_table_has_a_limit() {
    let mut names = Names::new();
    let mut bound = 0;
    let full = loop {
        let name = format!("/{bound}");
        let members = vec![member(at('a', ""))];
        match names.bind(name.as_bytes(), root(""), members, Order::Before) {
            Ok(_) => bound += 1,
            Err(errno) => break errno,
        }
    };
    assert_eq!((full, bound), (Errno::ENFILE, 128));
}

#[test]
fn a_place_knows_its_name_and_directory() {
    let place = at('a', "x/y");
    assert_eq!(place.last(), Some(&b"y"[..]));
    assert_eq!(place.directory().unwrap().path(), b"x");
    assert_eq!(at('a', "x").directory().unwrap().path(), b"");
    assert_eq!(at('a', "").last(), None);
}
