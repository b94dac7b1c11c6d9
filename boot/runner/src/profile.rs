//! `cargo run -- profile`: which functions of which programs execute the guest's
//! instructions. A plugin of QEMU (`boot/profiler`) counts them one by one; the guest
//! runs under `--icount`, so the sum agrees with its own counters.

use crate::command::Verbosity;
use crate::failure::{Context, Failure, say};
use crate::guest::Guest;
use crate::guests::{self, Guests, Profile};
use crate::qemu::escaped;
use crate::symbols::Functions;
use crate::{Outcome, checkout};
use object::{Object, ObjectSymbol};
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::fs;
use std::path::{Path, PathBuf};

/// The function of the kernel that switches stacks.
const SWITCH: &str = "switch_stacks";
/// Functions in the table.
const ROWS: usize = 40;

/// What to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// From the first instruction of the firmware to the end.
    All,
    /// Between the marks that `count` sets around its command.
    Marked,
}

/// The plugin with its arguments.
struct Plugin {
    library: PathBuf,
    images: PathBuf,
    out: PathBuf,
    switch: String,
    part: Part,
}

impl Plugin {
    /// The value of QEMU's option `-plugin`.
    fn option(&self) -> String {
        let path = |path: &Path| escaped(&path.display().to_string());
        let (library, images, out) = (path(&self.library), path(&self.images), path(&self.out));
        let all = match self.part {
            Part::All => ",all=1",
            Part::Marked => "",
        };
        format!(
            "{library},images={images},out={out},switch={}{all}",
            self.switch
        )
    }
}

/// The instructions of one function, or of a function inlined into it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The program on whose behalf they were executed.
    pub program: String,
    /// True in the kernel.
    pub kernel: bool,
    /// The function, and those inlined into it that they belong to, outermost first.
    pub functions: Vec<String>,
}

/// The profile of a run.
#[derive(Clone, Debug, Default)]
pub struct Profiled {
    places: BTreeMap<Place, u64>,
}

/// Runs a guest and counts a part of its instructions. `extra` are programs that are not
/// in the workspace, by name. The table is printed by the caller; the outcome is the
/// guest's.
pub fn run(
    guest: Guest,
    (profile, part, verbosity): (Profile, Part, Verbosity),
    extra: &[(String, PathBuf)],
    show: impl FnOnce(Guest) -> Result<Outcome, Failure>,
) -> Result<(Outcome, Profiled), Failure> {
    let guests = guests::build(profile, verbosity)?;
    // Several may run at once, also in one process.
    let folder = tempfile::tempdir().context(|| "cannot make a temporary directory".into())?;
    let plugin = Plugin {
        library: guests::build_profiler(verbosity)?,
        images: folder.path().join("images"),
        out: folder.path().join("counts"),
        switch: switch(&guests.kernel)?,
        part,
    };
    let images = images(&guests, extra);
    let list: String = images
        .iter()
        .map(|(name, path)| format!("{name} {}\n", path.display()))
        .collect();
    fs::write(&plugin.images, list).context(|| plugin.images.display().to_string())?;
    let outcome = show(guest.icount(true).plugin(plugin.option()))?;
    let counts = fs::read_to_string(&plugin.out).map_err(|error| {
        Failure::setup(format!(
            "no profile ({error}): does this QEMU load plugins?"
        ))
    })?;
    Ok((outcome, Profiled::new(&counts, &guests.kernel, &images)))
}

/// Programs and loader with their files.
fn images(guests: &Guests, extra: &[(String, PathBuf)]) -> BTreeMap<String, PathBuf> {
    let mut all = guests.programs.clone();
    all.insert("loader".into(), guests.loader.clone());
    all.extend(extra.iter().cloned());
    all
}

/// The addresses of the function that switches stacks.
fn switch(kernel: &Path) -> Result<String, Failure> {
    let name = || kernel.display().to_string();
    let bytes = fs::read(kernel).context(name)?;
    let file = object::File::parse(&*bytes).context(name)?;
    let named = |symbol: &object::Symbol| symbol.name().is_ok_and(|name| name.contains(SWITCH));
    let found = file.symbols().find(named);
    let found = found.ok_or_else(|| Failure::setup(format!("the kernel has no {SWITCH}")))?;
    let end = found.address() + found.size().max(1);
    Ok(format!("{:x}-{end:x}", found.address()))
}

/// The programs of the shared directory that a command names, by name.
pub fn shared_programs(share: Option<&Path>, words: &[String]) -> Vec<(String, PathBuf)> {
    let Some(share) = share else {
        return Vec::new();
    };
    let inside = words.iter().filter_map(|w| w.strip_prefix("/n/host/"));
    let files = inside.map(|name| (name.to_string(), share.join(name)));
    let program = |path: &Path| fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF"));
    files
        .filter(|(name, path)| !name.contains([' ', '\n']) && program(path))
        .collect()
}

/// Writes folded stacks to `target/profile.folded`, and says so.
pub fn save(profiled: &Profiled) -> Result<(), Failure> {
    let path = checkout::target_dir()?.join("profile.folded");
    fs::write(&path, profiled.folded()).context(|| path.display().to_string())?;
    say(format_args!(
        "folded stacks for a flame graph: {}",
        path.display()
    ));
    Ok(())
}

impl Profiled {
    /// Gives names to the plugin's lines.
    fn new(counts: &str, kernel: &Path, images: &BTreeMap<String, PathBuf>) -> Profiled {
        let mut functions: BTreeMap<&str, Functions> = BTreeMap::new();
        let mut profiled = Profiled::default();
        for line in counts.lines() {
            let mut words = line.split('\t');
            let (Some(program), Some(mode), Some(address), Some(count)) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                continue;
            };
            let (Ok(address), Ok(count)) = (u64::from_str_radix(address, 16), count.parse::<u64>())
            else {
                continue;
            };
            let in_kernel = mode == "kernel";
            let (key, path) = match in_kernel {
                true => ("", Some(kernel)),
                false => (program, images.get(program).map(PathBuf::as_path)),
            };
            let names = functions.entry(key).or_insert_with(|| Functions::of(path));
            let place = Place {
                program: program.into(),
                kernel: in_kernel,
                functions: names.at(address),
            };
            *profiled.places.entry(place).or_default() += count;
        }
        profiled
    }

    /// All instructions.
    pub fn total(&self) -> u64 {
        self.places.values().sum()
    }

    /// The instructions of the functions whose names contain `name`, those inlined into
    /// them left out unless they are asked for by their own.
    pub fn of(&self, kernel: bool, name: &str) -> u64 {
        let matches = |place: &Place| {
            place.kernel == kernel && place.functions.iter().any(|f| f.contains(name))
        };
        let all = self.places.iter().filter(|(place, _)| matches(place));
        all.map(|(_, count)| count).sum()
    }

    /// Sums by a part of the place, largest first.
    fn by<K: Ord>(&self, key: impl Fn(&Place) -> K) -> Vec<(K, u64)> {
        let mut sums: BTreeMap<K, u64> = BTreeMap::new();
        for (place, count) in &self.places {
            *sums.entry(key(place)).or_default() += count;
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        sums
    }

    /// Lines `program;kernel;function;inlined COUNT`, as flame graph programs read them.
    pub fn folded(&self) -> String {
        let mut text = String::new();
        for (place, count) in &self.places {
            let mode = mode(place);
            let functions = place.functions.join(";");
            let _ = writeln!(text, "{};{mode};{functions} {count}", place.program);
        }
        text
    }
}

fn mode(place: &Place) -> &'static str {
    match place.kernel {
        true => "kernel",
        false => "program",
    }
}

/// A number with a comma at each third digit.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl fmt::Display for Profiled {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let total = self.total().max(1);
        let row = |f: &mut fmt::Formatter, count: u64, name: fmt::Arguments| {
            let percent = count as f64 * 100.0 / total as f64;
            writeln!(f, "{:>16} {percent:>5.1}  {name}", grouped(count))
        };
        writeln!(f, "{:>16} {:>5}  program", "instructions", "%")?;
        for ((program, mode), count) in self.by(|p| (p.program.clone(), mode(p))) {
            row(f, count, format_args!("{program:<12} {mode}"))?;
        }
        row(f, self.total(), format_args!("all"))?;
        writeln!(f, "\n{:>16} {:>5}  function", "instructions", "%")?;
        let owner = |place: &Place| match place.kernel {
            true => "kernel".to_string(),
            false => place.program.clone(),
        };
        let function = |place: &Place| (owner(place), place.functions.first().cloned());
        for ((owner, function), count) in self.by(function).into_iter().take(ROWS) {
            row(
                f,
                count,
                format_args!("{owner:<12} {}", function.unwrap_or_default()),
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1234567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn counts_of_unknown_code_keep_their_address() {
        let counts = "ls\tkernel\tffffffff80000000\t5\nother\tprogram\t400000\t3\nbad\n";
        let profiled = Profiled::new(counts, Path::new("/nowhere"), &BTreeMap::new());
        assert_eq!(profiled.total(), 8);
        assert_eq!(
            profiled.folded(),
            "ls;kernel;[unknown] 5\nother;program;[unknown] 3\n"
        );
    }
}
