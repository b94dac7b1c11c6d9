//! Regular expressions: `.` any byte, `[a-z]` and `[^a-z]` sets, `^` and `$`
//! the ends of the text, `*`, `+`, `?` repetition, `a|b` alternatives, `( )`
//! groups, `\` before a character to be taken literally.
//!
//! A pattern becomes a small program, which [`Search`](crate::Search) runs in
//! all its possible states at once. Texts are bytes: a set contains single
//! bytes.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Groups within each other, at most.
const DEPTH_MAX: usize = 50;

/// Whether upper and lower case differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// They differ.
    Differs,
    /// They are equal, for ASCII.
    Ignored,
}

/// A step of the program.
#[derive(Debug)]
pub(crate) enum Step {
    Byte(u8),
    Any,
    Set(Box<[bool; 256]>),
    Start,
    End,
    /// Go on at both.
    Split(usize, usize),
    Jump(usize),
    Match,
}

/// A regular expression, ready to run.
#[derive(Debug)]
pub struct Pattern {
    pub(crate) steps: Vec<Step>,
    pub(crate) case: Case,
}

impl Pattern {
    /// Compiles a pattern; the error describes a mistake in it.
    pub fn new(text: &str, case: Case) -> Result<Pattern, String> {
        let mut compiler = Compiler {
            text: text.as_bytes(),
            at: 0,
            depth: 0,
            case,
            steps: Vec::new(),
        };
        compiler.alternatives()?;
        if compiler.at < compiler.text.len() {
            return Err("a ) without a (".into());
        }
        compiler.steps.push(Step::Match);
        Ok(Pattern {
            steps: compiler.steps,
            case,
        })
    }
}

struct Compiler<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    case: Case,
    steps: Vec<Step>,
}

impl Compiler<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn alternatives(&mut self) -> Result<(), String> {
        let start = self.steps.len();
        self.sequence()?;
        if self.peek() == Some(b'|') {
            self.at += 1;
            self.insert(start, Step::Split(start + 1, self.steps.len() + 2));
            let jump = self.steps.len();
            self.steps.push(Step::Jump(0));
            self.alternatives()?;
            self.steps[jump] = Step::Jump(self.steps.len());
        }
        Ok(())
    }

    fn sequence(&mut self) -> Result<(), String> {
        while let Some(byte) = self.peek() {
            if matches!(byte, b'|' | b')') {
                break;
            }
            let start = self.steps.len();
            self.atom()?;
            while let Some(sign @ (b'*' | b'+' | b'?')) = self.peek() {
                self.at += 1;
                self.repeat(sign, start);
            }
        }
        Ok(())
    }

    /// Repeats the part that begins at `start`, as `sign` says.
    fn repeat(&mut self, sign: u8, start: usize) {
        let end = self.steps.len();
        match sign {
            b'+' => self.steps.push(Step::Split(start, end + 1)),
            b'?' => self.insert(start, Step::Split(start + 1, end + 1)),
            _ => {
                self.insert(start, Step::Split(start + 1, end + 2));
                self.steps.push(Step::Jump(start));
            }
        }
    }

    /// Puts a step before others, which then lie one further.
    fn insert(&mut self, at: usize, step: Step) {
        for moved in &mut self.steps[at..] {
            let further = |to: &mut usize| *to += usize::from(*to >= at);
            match moved {
                Step::Split(a, b) => {
                    further(a);
                    further(b);
                }
                Step::Jump(to) => further(to),
                _ => {}
            }
        }
        self.steps.insert(at, step);
    }

    fn atom(&mut self) -> Result<(), String> {
        let step = match self.next() {
            Some(b'(') => {
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err("groups are nested too deeply".into());
                }
                self.alternatives()?;
                self.depth -= 1;
                return match self.next() {
                    Some(b')') => Ok(()),
                    _ => Err("a ( is not closed".into()),
                };
            }
            Some(b'[') => self.set()?,
            Some(b'.') => Step::Any,
            Some(b'^') => Step::Start,
            Some(b'$') => Step::End,
            Some(b'\\') => match self.next() {
                Some(byte) => self.byte(byte),
                None => return Err("nothing follows the \\ at the end".into()),
            },
            Some(sign @ (b'*' | b'+' | b'?')) => {
                return Err(format!("nothing before the {}", char::from(sign)));
            }
            Some(byte) => self.byte(byte),
            None => return Ok(()),
        };
        self.steps.push(step);
        Ok(())
    }

    fn byte(&self, byte: u8) -> Step {
        Step::Byte(match self.case {
            Case::Differs => byte,
            Case::Ignored => byte.to_ascii_lowercase(),
        })
    }

    fn set(&mut self) -> Result<Step, String> {
        const OPEN: &str = "a [ is not closed";
        let negated = self.peek() == Some(b'^');
        self.at += usize::from(negated);
        let mut set = Box::new([false; 256]);
        let mut first = true;
        loop {
            let mut from = self.next().ok_or(OPEN)?;
            if from == b']' && !first {
                break;
            }
            first = false;
            if from == b'\\' {
                from = self.next().ok_or(OPEN)?;
            }
            let range = self.peek() == Some(b'-') && self.text.get(self.at + 1) != Some(&b']');
            let mut to = from;
            if range {
                self.at += 1;
                to = self.next().ok_or(OPEN)?;
            }
            for byte in from..=to {
                set[usize::from(byte)] = true;
                if self.case == Case::Ignored {
                    set[usize::from(byte.to_ascii_lowercase())] = true;
                }
            }
        }
        if negated {
            set.iter_mut().for_each(|is| *is = !*is);
        }
        Ok(Step::Set(set))
    }
}
