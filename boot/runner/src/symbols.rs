//! Gives names to the addresses in the guest's backtraces.
//!
//! The kernel prints `backtrace: 0xADDRESS` for itself and `user backtrace:
//! PATH 0xADDRESS` for a program, each on its own line. The addresses lie in the
//! instructions meant: that of the fault, and the calls that led to it.

use crate::checkout;
use addr2line::Loader;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const KERNEL: &str = "backtrace: ";
const PROGRAM: &str = "user backtrace: ";

/// Finds functions and lines; loads a file's debug information at the first
/// request.
#[derive(Debug, Default)]
pub struct Symbols {
    kernel: PathBuf,
    programs: BTreeMap<String, PathBuf>,
    share: Option<PathBuf>,
}

impl Symbols {
    /// Symbols of this kernel, of the programs in `/bin` and of those in the
    /// shared directory.
    pub fn new(
        kernel: PathBuf,
        programs: BTreeMap<String, PathBuf>,
        share: Option<PathBuf>,
    ) -> Symbols {
        Symbols {
            kernel,
            programs,
            share,
        }
    }

    /// The text to append to `line`, like ` -> function (file:line)`, if it is
    /// a line of a backtrace.
    pub fn annotate(&self, line: &str) -> Option<String> {
        let (path, address) = if let Some((_, rest)) = line.split_once(PROGRAM) {
            let (program, address) = rest.trim().rsplit_once(' ')?;
            (self.program(program)?, address)
        } else {
            let (_, rest) = line.split_once(KERNEL)?;
            (self.kernel.clone(), rest.trim())
        };
        let address = u64::from_str_radix(address.strip_prefix("0x")?, 16).ok()?;
        describe(&path, address)
    }

    /// The file of a program, by its path in the guest or its name.
    pub(crate) fn program(&self, name: &str) -> Option<PathBuf> {
        if let Some(path) = name.strip_prefix("/n/host/") {
            // The guest supplies the name, which must not lead out of the
            // directory.
            let share = self.share.as_ref()?.canonicalize().ok()?;
            let path = share.join(path).canonicalize().ok()?;
            return (path.starts_with(share) && path.is_file()).then_some(path);
        }
        self.programs
            .get(name.strip_prefix("/bin/").unwrap_or(name))
            .cloned()
    }
}

/// The functions of a program, by the addresses of their instructions.
pub(crate) struct Functions(Option<Loader>);

impl Functions {
    /// Those of a file; none if there is none.
    pub(crate) fn of(path: Option<&Path>) -> Functions {
        Functions(path.and_then(|path| Loader::new(path).ok()))
    }

    /// The function that an instruction belongs to, and those inlined into it around the
    /// instruction, outermost first.
    pub(crate) fn at(&self, address: u64) -> Vec<String> {
        let mut found = self.frames(address).unwrap_or_default();
        found.reverse();
        if found.is_empty() {
            let symbol = self.0.as_ref().and_then(|file| file.find_symbol(address));
            found.push(symbol.map_or("[unknown]".into(), |name| {
                addr2line::demangle_auto(Cow::from(name), None).into_owned()
            }));
        }
        found
    }

    /// Innermost first.
    fn frames(&self, address: u64) -> Option<Vec<String>> {
        let mut frames = self.0.as_ref()?.find_frames(address).ok()?;
        let mut found = Vec::new();
        while let Some(frame) = frames.next().ok()? {
            let name = frame.function?;
            // A semicolon separates functions where stacks are folded.
            found.push(name.demangle().ok()?.replace(';', ","));
        }
        Some(found)
    }
}

/// The function and line of an instruction.
fn describe(path: &Path, address: u64) -> Option<String> {
    let loader = Loader::new(path).ok()?;
    let function = match loader
        .find_frames(address)
        .ok()?
        .next()
        .ok()?
        .and_then(|frame| frame.function)
    {
        Some(function) => function.demangle().ok()?.into_owned(),
        None => {
            addr2line::demangle_auto(Cow::from(loader.find_symbol(address)?), None).into_owned()
        }
    };
    let location = loader.find_location(address).ok().flatten();
    let place = location.and_then(|at| Some(format!(" ({}:{})", short(at.file?), at.line?)));
    Some(format!(" -> {function}{}", place.unwrap_or_default()))
}

/// The name of a source file, relative to the workspace's root if it lies in
/// it.
fn short(file: &str) -> String {
    let root = checkout::workspace().ok();
    inside(root.as_deref(), Path::new(file))
        .display()
        .to_string()
}

/// `file` relative to `root`, if it lies in it; `/a-b/c` does not lie in `/a`.
fn inside<'a>(root: Option<&Path>, file: &'a Path) -> &'a Path {
    let inner = root.and_then(|root| file.strip_prefix(root).ok());
    inner.unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_this_test_gets_its_name() {
        let own = std::env::current_exe().unwrap();
        let symbols = Symbols::new(
            own.clone(),
            BTreeMap::from([("me".into(), own.clone())]),
            None,
        );
        let object = Loader::new(&own).unwrap();
        // The executable is position independent, so symbols have the address
        // in the file. The very first instruction belongs to the function too.
        let address = describe as *const () as u64 - base();
        assert!(object.find_symbol(address).is_some());
        for prefix in [
            "  backtrace: ",
            "  user backtrace: me ",
            "  user backtrace: /bin/me ",
        ] {
            let found = symbols.annotate(&format!("{prefix}{address:#x}")).unwrap();
            assert!(found.contains("describe"), "{found}");
            assert!(found.contains("symbols.rs:"), "{found}");
        }
        assert_eq!(symbols.annotate("  user backtrace: other 0x1000"), None);
        assert_eq!(symbols.annotate("  backtrace: soon"), None);
        assert_eq!(symbols.annotate("nothing"), None);
    }

    #[test]
    fn only_sources_in_the_workspace_are_shortened() {
        let shown = |file: &str| inside(Some(Path::new("/home/me/dm")), Path::new(file)).to_owned();
        assert_eq!(shown("/home/me/dm/kernel/a.rs"), Path::new("kernel/a.rs"));
        let other = "/home/me/dm-prog/src/crash.rs";
        assert_eq!(shown(other), Path::new(other));
    }

    /// The load address of the running test.
    fn base() -> u64 {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let first = maps.lines().next().unwrap();
        u64::from_str_radix(first.split('-').next().unwrap(), 16).unwrap()
    }
}
