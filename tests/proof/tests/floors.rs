//! The kernel's source is built in floors: an import points to a lower floor or
//! stays on its own, and no two files of a floor need each other.

use dormouse_proof::{files, read, root};
use std::collections::{BTreeMap, BTreeSet};

/// The floors of `kernel/src`, lowest first: folders, or files without `.rs`. Below
/// all of them are the crates `hw` and `vm`.
const FLOORS: &[&[&str]] = &[
    &["text", "bundle", "counters", "trace"],
    &["options"],
    &["sched"],
    &["chan"],
    &["client"],
    &["seg", "name"],
    &["file"],
    &["proc"],
    &["syscall", "trap"],
    &["run"],
    &["start"],
    &["main"],
];

/// The floor of a module: an index into [`FLOORS`].
fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|names| names.contains(&module))
}

/// The paths below `crate` and `super` that a source text names, as parts. The
/// prefix is the first part.
fn paths(text: &str) -> Vec<Vec<String>> {
    let code: String = text
        .lines()
        .filter(|l| !l.trim_start().starts_with("//"))
        .collect();
    let mut found = Vec::new();
    for prefix in ["crate", "super"] {
        for (at, _) in code.match_indices(&format!("{prefix}::")) {
            let whole = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            if whole {
                walk(&code[at..], &mut Vec::new(), &mut found);
            }
        }
    }
    found
}

/// Adds the paths that `text` begins with: one, or those of a tree in braces. Returns
/// what is behind it.
fn walk<'t>(text: &'t str, before: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'t str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = walk(rest, before, found).trim_start();
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_'));
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    before.push(name.to_string());
    let rest = match rest.strip_prefix("::") {
        Some(more) if more.starts_with(|c: char| c.is_alphabetic() || c == '{' || c == '_') => {
            walk(more, before, found)
        }
        _ => {
            found.extend((before.len() > 1).then(|| before.clone()));
            rest
        }
    };
    before.pop();
    rest
}

/// The imports in a module's text that point up.
fn upward(module: &str, text: &str) -> Vec<String> {
    let own = floor(module);
    let named = paths(text).into_iter().filter(|path| path[0] == "crate");
    let points_up = |path: &Vec<String>| floor(&path[1]) > own || floor(&path[1]).is_none();
    named
        .filter(points_up)
        .map(|path| path.join("::"))
        .collect()
}

/// The texts in a folder by path: `chan/port` for `chan/port.rs`, `chan` for
/// `chan/mod.rs`.
fn sources(folder: &str) -> BTreeMap<String, String> {
    let tracked = files(&root());
    let names = tracked.iter().filter_map(|file| file.to_str());
    let inside = names.filter_map(|name| name.strip_prefix(folder)?.strip_suffix(".rs"));
    let text = |name: &str| read(&root().join(format!("{folder}{name}.rs")));
    inside
        .map(|name| (name.trim_end_matches("/mod").to_string(), text(name)))
        .collect()
}

const KERNEL: &str = "kernel/src/";
const HW: &str = "kernel/hw/src/";

fn module(source: &str) -> &str {
    source.split('/').next().unwrap_or(source)
}

#[test]
fn no_import_of_the_kernel_points_up() {
    let mut wrong = Vec::new();
    for (name, text) in sources(KERNEL) {
        assert!(floor(module(&name)).is_some(), "no floor has {name}");
        let up = upward(module(&name), &text);
        wrong.extend(up.into_iter().map(|path| format!("{name}: {path}")));
    }
    assert!(wrong.is_empty(), "imports that point up: {wrong:#?}");
}

/// The file that a path leads to, seen from `source`; none if that is its own
/// folder's `mod.rs`, which is one unit with the files in it.
fn target(source: &str, path: &[String], all: &BTreeMap<String, String>) -> Option<String> {
    let inside = match path[0].as_str() {
        "super" => format!("{}/{}", module(source), path[1]),
        _ => path[1..]
            .iter()
            .take(2)
            .cloned()
            .collect::<Vec<_>>()
            .join("/"),
    };
    let file = if all.contains_key(&inside) {
        inside
    } else {
        module(&inside).to_string()
    };
    (file != module(source) && file != source && all.contains_key(&file)).then_some(file)
}

/// The files that can be reached from `file`.
fn reach(file: &str, needs: &BTreeMap<String, BTreeSet<String>>, seen: &mut BTreeSet<String>) {
    for next in needs.get(file).into_iter().flatten() {
        if seen.insert(next.clone()) {
            reach(next, needs, seen);
        }
    }
}

/// Files that need each other, over whatever others.
fn circles(all: &BTreeMap<String, String>) -> Vec<String> {
    let needs_of = |name: &String| {
        let paths = paths(&all[name]);
        paths
            .iter()
            .filter_map(|path| target(name, path, all))
            .collect()
    };
    let needs: BTreeMap<_, BTreeSet<_>> = all.keys().map(|n| (n.clone(), needs_of(n))).collect();
    let returns = |name: &&String| {
        let mut seen = BTreeSet::new();
        reach(name, &needs, &mut seen);
        // A folder's `mod.rs` may use the files in it.
        name.contains('/') && seen.contains(*name)
    };
    all.keys().filter(returns).cloned().collect()
}

#[test]
fn no_files_of_the_kernel_need_each_other() {
    for folder in [KERNEL, HW] {
        let found = circles(&sources(folder));
        assert!(found.is_empty(), "{folder}: files in a circle: {found:#?}");
    }
}

/// A function of `hw::named` with a wrong name harms another program, though not the
/// kernel.
#[test]
fn only_segments_use_frames_by_name() {
    let named = |text: &&String| text.contains("named::") || text.contains("::named");
    let users: BTreeSet<_> = sources(KERNEL)
        .iter()
        .filter(|(_, text)| named(text))
        .map(|(name, _)| module(name).to_string())
        .collect();
    assert_eq!(users, BTreeSet::from(["seg".to_string()]));
}

#[test]
fn only_hw_has_unsafe_code() {
    let tracked = files(&root());
    let names = tracked.iter().filter_map(|file| file.to_str());
    let roots = names.filter(|name| {
        let whole = name.ends_with("/src/lib.rs") || *name == "kernel/src/main.rs";
        let kernel = name.starts_with("kernel/") && !name.starts_with(HW);
        whole && (kernel || name.starts_with("userland/lib/ninep/"))
    });
    let allow = |name: &&str| !read(&root().join(name)).contains("#![forbid(unsafe_code)]");
    let found: Vec<_> = roots.filter(allow).collect();
    assert!(found.is_empty(), "crates that allow unsafe code: {found:?}");
}

#[test]
fn an_import_that_points_up_is_found() {
    let fine = "use crate::sched::{self, Wait};\nuse crate::{options, text};\n// crate::proc::x";
    assert!(
        upward("chan", fine).is_empty(),
        "{:?}",
        upward("chan", fine)
    );
    let one = "use crate::sched;\nuse crate::seg::{user, SpaceLock};";
    assert_eq!(
        upward("chan", one),
        ["crate::seg::user", "crate::seg::SpaceLock"]
    );
    let inside = "fn f() { crate::proc::current(); }";
    assert_eq!(upward("file", inside), ["crate::proc::current"]);
    assert_eq!(
        upward("sched", "use crate::{text, chan::End};"),
        ["crate::chan::End"]
    );
    assert_eq!(upward("chan", "use crate::new::f;"), ["crate::new::f"]);
}

#[test]
fn files_that_need_each_other_are_found() {
    let text = |name: &str, text: &str| (name.to_string(), text.to_string());
    let both = [
        text("chan", "mod a;\npub use a::A;"),
        text("chan/a", "use super::b::B;"),
        text("chan/b", "use super::{c, D};"),
        text("chan/c", "use crate::chan::a::A;"),
        text("chan/d", "use super::a::A;"),
    ];
    assert_eq!(circles(&both.into()), ["chan/a", "chan/b", "chan/c"]);
}
