//! `cargo run -- --trace FILE`: what a guest does, drawn. The kernel writes a record at each
//! of its trace points to QEMU's debug console, a file; this module puts the records
//! together ([`story`]) and writes a page with pictures, a file for Perfetto, or folded
//! stacks of the faults.

mod chrome;
mod folded;
mod html;
mod picture;
pub mod record;
pub mod story;
mod words;

pub use words::KINDS;

use crate::Outcome;
use crate::failure::{Context, Failure, say};
use crate::guest::Guest;
use std::fs;
use std::path::{Path, PathBuf};
use story::Story;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A page with pictures.
    Page,
    /// Trace events for Perfetto and Chrome.
    Events,
    /// Stacks of the faults for a flame graph.
    Folded,
    /// An animated picture of one segment and its file.
    Picture,
}

impl Form {
    /// By the name of the file.
    fn of(file: &Path) -> Result<Form, Failure> {
        match file.extension().and_then(|end| end.to_str()) {
            Some("html") => Ok(Form::Page),
            Some("json" | "pftrace") => Ok(Form::Events),
            Some("folded") => Ok(Form::Folded),
            Some("svg") => Ok(Form::Picture),
            _ => Err(Failure::setup(format!(
                "--trace {}: not .html, .json, .pftrace, .folded or .svg",
                file.display()
            ))),
        }
    }
}

/// Runs a guest and writes its trace into files. The guest's time counts its instructions,
/// so that writing records takes none of it.
pub fn run(
    guest: Guest,
    files: &[PathBuf],
    show: impl FnOnce(&Guest) -> Result<Outcome, Failure>,
) -> Result<(Outcome, Story), Failure> {
    // Before anything is built.
    let forms = files.iter().map(|file| Form::of(file));
    let forms = forms.collect::<Result<Vec<_>, _>>()?;
    let folder = tempfile::tempdir().context(|| "cannot make a temporary directory".into())?;
    let records = folder.path().join("records");
    let guest = guest.icount(true).traced(&records);
    let outcome = show(&guest)?;
    let bytes = fs::read(&records)
        .map_err(|error| Failure::setup(format!("no trace: QEMU wrote none ({error})")))?;
    let story = Story::new(&record::read(&bytes));
    for (file, form) in files.iter().zip(forms) {
        let text = match form {
            Form::Page => html::page(&story),
            Form::Events => chrome::events(&story),
            Form::Folded => folded::stacks(&story, &guest.symbols()?),
            Form::Picture => picture::svg(&story)
                .ok_or_else(|| Failure::setup("no segment was read into: no picture"))?,
        };
        fs::write(file, text).context(|| file.display().to_string())?;
        say(format_args!("trace: {}", file.display()));
    }
    Ok((outcome, story))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_file_says_what_is_written() {
        let form = |name: &str| Form::of(Path::new(name)).ok();
        assert_eq!(form("a/b.html"), Some(Form::Page));
        assert_eq!(form("b.pftrace"), Some(Form::Events));
        assert_eq!(form("b.json"), Some(Form::Events));
        assert_eq!(form("b.folded"), Some(Form::Folded));
        assert_eq!(form("b.svg"), Some(Form::Picture));
        assert_eq!((form("b.png"), form("html"), form("")), (None, None, None));
    }
}
