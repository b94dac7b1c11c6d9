//! The code of the programs, by which a block tells whose it is.

use object::{Object, ObjectSegment};
use std::fs;

/// A program file.
struct Image {
    name: String,
    /// Address and content of each loaded part.
    parts: Vec<(u64, Vec<u8>)>,
}

impl Image {
    fn has(&self, address: u64, code: &[u8]) -> bool {
        self.parts.iter().any(|(start, bytes)| {
            let inside = || {
                let at = usize::try_from(address.checked_sub(*start)?).ok()?;
                bytes.get(at..at.checked_add(code.len())?)
            };
            inside() == Some(code)
        })
    }
}

/// All programs, by number.
pub struct Images(Vec<Image>);

/// The number for code that belongs to no program known here.
pub const OTHER: usize = 0;

impl Images {
    /// Loads the programs of a list, a line `NAME PATH` each. Files that are not there
    /// are left out.
    pub fn load(list: &str) -> Result<Images, String> {
        let mut all = vec![Image {
            name: "other".into(),
            parts: Vec::new(),
        }];
        for line in list.lines() {
            let Some((name, path)) = line.split_once(' ') else {
                return Err(format!("a line of the list of programs is {line}"));
            };
            let Ok(bytes) = fs::read(path) else { continue };
            let file = object::File::parse(&*bytes).map_err(|error| format!("{path}: {error}"))?;
            let parts = file.segments().filter_map(|part| {
                let bytes = part.data().ok()?;
                Some((part.address(), bytes.to_vec()))
            });
            all.push(Image {
                name: name.into(),
                parts: parts.collect(),
            });
        }
        Ok(Images(all))
    }

    /// The programs that have this code at this address.
    pub fn with(&self, address: u64, code: &[u8]) -> Vec<usize> {
        let numbers = 1..self.0.len();
        let has = |number: &usize| self.0.get(*number).is_some_and(|i| i.has(address, code));
        numbers.filter(has).collect()
    }

    /// The name of a program.
    pub fn name(&self, number: usize) -> &str {
        self.0.get(number).map_or("other", |image| &image.name)
    }
}
