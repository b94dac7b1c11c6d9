//! The pages name files, folders, pages, functions, types and figures that
//! exist.

use dormouse_proof::{files, read, root};
use std::collections::BTreeSet;
use std::path::Path;

/// All pages.
fn pages() -> Vec<String> {
    let tracked = files(&root());
    let names = tracked.iter().filter_map(|file| file.to_str());
    let pages = names.filter(|name| name.ends_with(".md"));
    let pages: Vec<_> = pages.map(str::to_string).collect();
    assert!(pages.iter().any(|page| page == "docs/tour.md"), "{pages:?}");
    pages
}

/// The page without its blocks of code.
fn prose(page: &str) -> String {
    let text = read(&root().join(page));
    text.split("```").step_by(2).collect()
}

/// The words of a text that stand in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether a quoted word is the path of a file or folder of the tree.
fn is_path(word: &str, top: &BTreeSet<String>) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if !word.chars().all(plain) || word.contains("NAME") || word.starts_with(['/', '.']) {
        return false;
    }
    let source = [".rs", ".md", ".toml", ".tsv", ".sh", ".svg"];
    let file = source.iter().any(|ending| word.ends_with(ending));
    match word.split_once('/') {
        Some((first, _)) => top.contains(first),
        None => file,
    }
}

/// Whether a path, or the end of one, names a tracked file or its folder.
fn exists(word: &str, tracked: &[String]) -> bool {
    let word = word.trim_end_matches('/');
    let ends = format!("/{word}");
    let within = format!("{word}/");
    let has = |file: &String| file == word || file.ends_with(&ends) || file.starts_with(&within);
    tracked.iter().any(has)
}

#[test]
fn every_path_that_a_page_names_exists() {
    let tracked: Vec<String> = files(&root())
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let folders = tracked.iter().filter_map(|file| file.split_once('/'));
    let top = folders.map(|(first, _)| first.to_string()).collect();
    let mut missing = Vec::new();
    for page in pages() {
        let text = prose(&page);
        let paths = quoted(&text).filter(|word| is_path(word, &top));
        let gone = paths.filter(|path| !exists(path, &tracked));
        missing.extend(gone.map(|path| format!("{page}: {path}")));
    }
    assert!(missing.is_empty(), "no such files: {missing:#?}");
}

/// The comments of the source send readers to pages.
#[test]
fn every_page_that_the_source_names_exists() {
    let tracked = files(&root());
    let mut missing = Vec::new();
    let sources = tracked.iter().filter(|file| {
        let kind = file.extension().and_then(|kind| kind.to_str());
        matches!(kind, Some("rs" | "toml" | "sh"))
    });
    for source in sources {
        let text = read(&root().join(source));
        let pages = text.split("docs/").skip(1).filter_map(|rest| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
            let end = rest.find(|c| !plain(c)).unwrap_or(rest.len());
            let page = rest[..end].trim_end_matches('.');
            page.ends_with(".md").then(|| format!("docs/{page}"))
        });
        let gone = pages.filter(|page| !root().join(page).is_file());
        missing.extend(gone.map(|page| format!("{}: {page}", source.display())));
    }
    assert!(missing.is_empty(), "no such pages: {missing:#?}");
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let mut missing = Vec::new();
    for page in pages() {
        let text = prose(&page);
        let folder = root().join(&page);
        let folder = folder.parent().expect("a page is in a folder");
        let links = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        let local = links.filter(|link| !link.starts_with("http") && !link.starts_with('#'));
        for link in local {
            let path = link.split('#').next().unwrap_or(link);
            if !folder.join(path).exists() {
                missing.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(missing.is_empty(), "dead links: {missing:#?}");
}

/// Whether the source defines `name`, as an item, a variant or a field.
fn defines(source: &str, name: &str) -> bool {
    let name = name.rsplit("::").next().unwrap_or(name);
    const KEYWORDS: [&str; 9] = [
        "fn", "struct", "enum", "trait", "type", "const", "static", "mod", "union",
    ];
    let lines = source.lines().map(str::trim_start);
    lines.filter(|line| !line.starts_with("//")).any(|line| {
        let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        let words: Vec<_> = line.split(word).filter(|part| !part.is_empty()).collect();
        let item = words
            .windows(2)
            .any(|two| KEYWORDS.contains(&two[0]) && two[1] == name);
        // Variants and fields begin a line, behind their visibility.
        let first = words
            .iter()
            .find(|word| !["pub", "crate", "super"].contains(word));
        item || first == Some(&name)
    })
}

/// The cells with a path of a page's tables: each path with the names behind it.
fn named_beside_files(page: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let text = prose(page);
    for cell in text
        .lines()
        .filter(|line| line.starts_with("| "))
        .flat_map(|row| row.split(" | "))
    {
        let mut file = None;
        for word in quoted(cell) {
            match word.ends_with(".rs") && word.contains('/') {
                true => file = Some(word),
                false => pairs.extend(file.map(|file| (file.to_string(), word.to_string()))),
            }
        }
    }
    pairs
}

/// Asserts that each name stands for something in the file before it.
fn names_what_is_in_the_files(page: &str, at_least: usize) {
    let pairs = named_beside_files(page);
    assert!(
        pairs.len() >= at_least,
        "{page}: only {} names",
        pairs.len()
    );
    let missing: Vec<_> = pairs
        .iter()
        .filter(|(file, name)| {
            let path = root().join(file);
            !(path.is_file() && defines(&read(&path), name))
        })
        .collect();
    assert!(missing.is_empty(), "{page}: not in that file: {missing:#?}");
}

#[test]
fn every_function_of_the_tour_is_in_the_file_beside_it() {
    names_what_is_in_the_files("docs/tour.md", 30);
}

#[test]
fn every_word_of_the_glossary_is_carried_by_code_that_exists() {
    names_what_is_in_the_files("docs/words.md", 30);
    let text = prose("docs/words.md");
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| word"));
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 3, "{row}");
        assert!(
            quoted(cells[2]).next().is_some(),
            "no code carries it: {row}"
        );
    }
}

/// A number as the pages write it: `12,288`.
fn grouped(number: &str) -> String {
    let digits = number.len();
    let mut out = String::new();
    for (i, digit) in number.chars().enumerate() {
        if i > 0 && (digits - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[test]
fn the_figures_of_the_readme_are_those_of_the_bench() {
    let bench = read(&root().join("docs/bench.tsv"));
    let text = read(&root().join(Path::new("README.md")));
    let mut found = 0;
    for line in bench.lines() {
        let mut fields = line.split('\t');
        let (name, figure) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
        let row = text
            .lines()
            .find(|row| row.starts_with(&format!("| `{name}`:")));
        let Some(row) = row else { continue };
        found += 1;
        let cells: Vec<_> = row.split(" | ").collect();
        assert_eq!(cells[1], grouped(figure), "{name}");
    }
    assert!(found > 4, "only {found} figures");
}

#[test]
fn every_program_of_bin_is_on_the_page_of_the_shell() {
    let text = prose("docs/shell.md");
    let named: BTreeSet<_> = quoted(&text).flat_map(str::split_whitespace).collect();
    for file in files(&root()) {
        let mut parts = file.iter().skip(2).filter_map(|part| part.to_str());
        let name = match file.starts_with("userland/bin") || file.starts_with("userland/apps") {
            true => parts.next().unwrap_or("").trim_end_matches(".rs"),
            false => continue,
        };
        let program = !["", "Cargo.toml", "template"].contains(&name);
        assert!(!program || named.contains(name), "docs/shell.md: no {name}");
    }
}

#[test]
fn the_pager_of_the_page_is_the_program_of_bin() {
    let page = read(&root().join("docs/pagers.md"));
    let block = page.split("```rust\n").nth(1).expect("a block");
    let block = block.split("```").next().unwrap_or("");
    let program = read(&root().join("userland/apps/numbers/src/main.rs"));
    assert_eq!(block, program);
}

/// The words that follow `option` in the page, in prose and blocks of code.
fn arguments_of(page: &str, option: &str) -> Vec<String> {
    let text = read(&root().join(page)).replace(['`', '\n'], " ");
    let words: Vec<_> = text.split_whitespace().collect();
    let pairs = words.windows(2).filter(|pair| pair[0] == option);
    let argument = |word: &str| word.trim_end_matches([',', ')', '.', ';']).to_string();
    let placeholder = |word: &String| *word == word.to_uppercase();
    let given = pairs.map(|pair| argument(pair[1]));
    given.filter(|word| !placeholder(word)).collect()
}

#[test]
fn every_package_and_test_of_a_command_exists() {
    let tracked: Vec<String> = files(&root())
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let manifests = tracked.iter().filter(|file| file.ends_with("Cargo.toml"));
    let manifests: String = manifests.map(|file| read(&root().join(file))).collect();
    for page in pages() {
        for package in arguments_of(&page, "-p") {
            let line = format!("name = \"{package}\"");
            let known = manifests.contains(&line) || !package.starts_with("dormouse");
            assert!(known, "{page}: no package {package}");
        }
        for test in arguments_of(&page, "--test") {
            let ends = [format!("tests/{test}.rs"), format!("tests/{test}/main.rs")];
            let known = tracked
                .iter()
                .any(|file| ends.iter().any(|end| file.ends_with(end)));
            assert!(known, "{page}: no test {test}");
        }
    }
}

#[test]
fn every_option_of_the_runner_that_the_readme_lists_exists() {
    let cli = read(&root().join("boot/runner/src/cli.rs"));
    let text = prose("README.md");
    let sentence = text
        .split("explains the options:")
        .nth(1)
        .expect("the list");
    let list = sentence.split('.').next().unwrap_or("");
    let options: Vec<_> = quoted(list)
        .filter_map(|word| word.strip_prefix("--"))
        .collect();
    assert!(options.len() > 5, "{options:?}");
    for option in options {
        let field = format!("{}:", option.replace('-', "_"));
        assert!(cli.contains(&field), "README.md: no option --{option}");
    }
}
