//! Judges a run of tests by the guest's output to its second serial port.
//!
//! The lines: `@plan N` first; for each case `@run NAME` before it and `@ok
//! NAME` or `@fail NAME WHY` after; `@done PASSED FAILED` at the end; `@note
//! TEXT` anywhere; `@left TEXT` when all programs have ended, `nothing` or what
//! they have leaked; `@exit N` when the machine stops; `@panic TEXT` if it
//! does not stop in good order. A run has passed when all of it fits together and
//! QEMU ended with the one good code: silence, a triple fault or a panic after
//! the last verdict are failures like any other.

use std::collections::BTreeSet;

/// QEMU's exit code when the guest stopped the machine on purpose.
pub const EXIT_HALT: i32 = 33;

/// The text of `@left` without leaks.
pub const NOTHING: &str = "nothing";

/// The outcome of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As expected.
    Passed,
    /// Not as expected, and why.
    Failed(String),
    /// Begun, but no verdict came.
    Missing,
}

/// A case that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// The outcome.
    pub verdict: Verdict,
}

/// The report of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many cases were announced.
    pub plan: Option<usize>,
    /// The cases, in order.
    pub cases: Vec<Case>,
    /// The guest's own count of passed and failed cases.
    pub tally: Option<(usize, usize)>,
    /// Remarks.
    pub notes: Vec<String>,
    /// The leaks, if the guest checked for them.
    pub left: Option<String>,
    /// The status the machine was stopped with.
    pub exit: Option<u8>,
    /// Breaches of the protocol, and panics.
    pub breaches: Vec<String>,
}

/// Reads the lines of a run.
pub fn parse(verdicts: &str) -> Report {
    let mut report = Report::default();
    for line in verdicts
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
    {
        if let Err(breach) = report.take(line) {
            report.breaches.push(format!("{breach}: {line}"));
        }
    }
    report
}

impl Report {
    fn take(&mut self, line: &str) -> Result<(), &'static str> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "@note" => self.notes.push(rest.into()),
            "@panic" => return Err("panic"),
            "@left" if self.left.is_none() && self.exit.is_none() => self.left = Some(rest.into()),
            "@exit" if self.exit.is_none() => {
                self.exit = Some(rest.parse().map_err(|_| "bad status")?)
            }
            _ if self.exit.is_some() => return Err("a line after the end of the machine"),
            _ if self.tally.is_some() => return Err("a line after the tally"),
            "@plan" if self.plan.is_none() && self.cases.is_empty() => {
                self.plan = Some(rest.parse().map_err(|_| "bad plan")?);
            }
            "@run" => self.begin(rest)?,
            "@ok" => self.end(rest, Verdict::Passed)?,
            "@fail" => {
                let (name, why) = rest.split_once(' ').unwrap_or((rest, "no reason given"));
                self.end(name, Verdict::Failed(why.into()))?;
            }
            "@done" => self.tally = Some(tally(rest).ok_or("bad tally")?),
            _ => return Err("unexpected line"),
        }
        Ok(())
    }

    fn begin(&mut self, name: &str) -> Result<(), &'static str> {
        if name.is_empty() {
            return Err("a case without a name");
        }
        self.cases.push(Case {
            name: name.into(),
            verdict: Verdict::Missing,
        });
        Ok(())
    }

    fn end(&mut self, name: &str, verdict: Verdict) -> Result<(), &'static str> {
        let case = self
            .cases
            .last_mut()
            .filter(|case| case.verdict == Verdict::Missing);
        let case = case
            .filter(|case| case.name == name)
            .ok_or("a verdict on a case that is not running")?;
        case.verdict = verdict;
        Ok(())
    }

    /// Number of cases with this kind of verdict.
    pub fn count(&self, matches: impl Fn(&Verdict) -> bool) -> usize {
        self.cases
            .iter()
            .filter(|case| matches(&case.verdict))
            .count()
    }

    /// The reasons why the run has not passed; empty if it has. `exit_code` is
    /// QEMU's, `None` if it was killed.
    pub fn problems(&self, exit_code: Option<i32>) -> Vec<String> {
        let mut problems = Vec::new();
        match exit_code {
            Some(EXIT_HALT) => {}
            Some(code) => problems.push(format!(
                "the machine ended with code {code} instead of {EXIT_HALT}"
            )),
            None => problems.push("the machine did not end".into()),
        }
        problems.extend(self.breaches.iter().cloned());
        for case in &self.cases {
            match &case.verdict {
                Verdict::Passed => {}
                Verdict::Failed(why) => problems.push(format!("case {} failed: {why}", case.name)),
                Verdict::Missing => problems.push(format!("case {} has no verdict", case.name)),
            }
        }
        match self.plan {
            None => problems.push("there is no plan".into()),
            Some(plan) if plan != self.cases.len() => {
                problems.push(format!(
                    "{} cases were run, {plan} planned",
                    self.cases.len()
                ));
            }
            Some(_) => {}
        }
        let names: BTreeSet<&str> = self.cases.iter().map(|case| case.name.as_str()).collect();
        if names.len() != self.cases.len() {
            problems.push("a case was run twice".into());
        }
        let counted = (
            self.count(|verdict| *verdict == Verdict::Passed),
            self.count(|verdict| matches!(verdict, Verdict::Failed(_))),
        );
        match self.tally {
            None => problems.push("there is no tally: the tests did not end".into()),
            Some(tally) if tally != counted => {
                problems.push(format!(
                    "the tally says {tally:?} (passed, failed), the verdicts {counted:?}"
                ));
            }
            Some(_) => {}
        }
        if let Some(left) = self.left.as_deref().filter(|left| *left != NOTHING) {
            problems.push(format!("programs left: {left}"));
        }
        if self.exit.is_none() {
            problems.push("the machine was not stopped in good order".into());
        }
        problems
    }
}

fn tally(rest: &str) -> Option<(usize, usize)> {
    let (passed, failed) = rest.split_once(' ')?;
    Some((passed.parse().ok()?, failed.parse().ok()?))
}
