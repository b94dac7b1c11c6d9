//! A program with injected events: the model tests run, print and parse it.

use std::fmt;

use program::{Bad, Op, Program, Words};

use crate::world::{Config, Point};

/// An operation with its injected events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The operation.
    pub op: Op,
    /// Its injected events.
    pub fate: Fate,
}

/// The events injected into an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// Another one that happens in the middle of it.
    pub meanwhile: Option<(Point, Op)>,
    /// The number of messages before the one that fails.
    pub fail_message: Option<u64>,
    /// The number of allocations before the one that fails.
    pub fail_frame: Option<u64>,
    /// Twice the number of requests to the swap server before the one that fails;
    /// one more, if it fails in the other way ([`crate::swap::Harm`]).
    pub fail_swap: Option<u64>,
    /// The server's commits are short.
    pub short: Option<u64>,
}

/// A program on a certain kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The kernel.
    pub config: Config,
    /// The sizes of the files.
    pub files: Vec<usize>,
    /// The program.
    pub steps: Vec<Step>,
}

/// Where a program can say that something happens.
const POINTS: [(&str, Point); 7] = [
    ("before-snap", Point::BeforeSnap),
    ("after-snap", Point::AfterSnap),
    ("fill", Point::Fill),
    ("before-commit", Point::BeforeCommit),
    ("after-commit", Point::AfterCommit),
    ("swap", Point::Swap),
    ("swapped", Point::Swapped),
];

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(k) = self.fail_message {
            write!(f, "fail-message {k} ")?;
        }
        if let Some(k) = self.fail_frame {
            write!(f, "fail-frame {k} ")?;
        }
        if let Some(k) = self.fail_swap {
            write!(f, "fail-swap {k} ")?;
        }
        if let Some(bytes) = self.short {
            write!(f, "short {bytes} ")?;
        }
        if let Some((point, op)) = &self.meanwhile {
            let name = POINTS.iter().find(|(_, known)| known == point);
            write!(f, "meanwhile {} {op}", name.map_or("?", |(name, _)| name))?;
        }
        Ok(())
    }
}

impl Fate {
    fn parse(text: &str) -> Result<Fate, Bad> {
        let (text, meanwhile) = match text.split_once("meanwhile ") {
            Some((text, meanwhile)) => (text, Some(meanwhile)),
            None => (text, None),
        };
        let mut fate = Fate::default();
        let mut words = Words::new(text);
        while !words.is_empty() {
            match words.word()? {
                "fail-message" => fate.fail_message = Some(words.number()?),
                "fail-frame" => fate.fail_frame = Some(words.number()?),
                "fail-swap" => fate.fail_swap = Some(words.number()?),
                "short" => fate.short = Some(words.number()?),
                other => return Err(Bad(format!("{other} befalls nothing"))),
            }
        }
        if let Some((name, op)) = meanwhile.and_then(|text| text.split_once(' ')) {
            let point = POINTS.iter().find(|(known, _)| *known == name);
            let (_, point) = point.ok_or_else(|| Bad(format!("{name} is not a point")))?;
            fate.meanwhile = Some((*point, Op::parse(op)?));
        }
        Ok(fate)
    }
}

fn parse_config(text: &str) -> Result<Config, Bad> {
    let mut config = Config {
        iounit: 128 << 10,
        ops: vm::OPS_MAX,
        wmax: 8 << 20,
        pages: program::SEGMENT_PAGES as u64,
        trim_worth: 64 << 10,
        keeps_frames: false,
        run: 0,
    };
    let mut words = Words::new(text);
    while !words.is_empty() {
        match words.word()? {
            "iounit" => config.iounit = words.number()?,
            "ops" => config.ops = words.number()?,
            "wmax" => config.wmax = words.number()?,
            "trim" => config.trim_worth = words.number()?,
            "run" => config.run = words.number()?,
            "keeps-frames" => config.keeps_frames = true,
            other => return Err(Bad(format!("no kernel has {other}"))),
        }
    }
    Ok(config)
}

impl Case {
    /// Parses the output of [`Case`]'s `Display`.
    ///
    /// # Errors
    /// The error in the text.
    pub fn parse(text: &str) -> Result<Case, Bad> {
        let program = Program::parse(text)?;
        let step = |(op, fate): (Op, String)| {
            let fate = Fate::parse(&fate)?;
            Ok(Step { op, fate })
        };
        Ok(Case {
            config: parse_config(&program.config)?,
            files: program.files,
            steps: program
                .steps
                .into_iter()
                .map(step)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.config;
        let keeps = if config.keeps_frames {
            " keeps-frames"
        } else {
            ""
        };
        let step = |step: &Step| (step.op.clone(), step.fate.to_string().trim().to_string());
        let program = Program {
            files: self.files.clone(),
            steps: self.steps.iter().map(step).collect(),
            config: format!(
                "iounit {} ops {} wmax {} trim {} run {}{keeps}",
                config.iounit, config.ops, config.wmax, config.trim_worth, config.run
            ),
        };
        write!(f, "{program}")
    }
}
