//! Commands as the parser understands them.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::OnceCell;

/// A piece of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Characters as they were typed; `*`, `?` and `[` are a pattern.
    Plain(String),
    /// Characters that mean themselves.
    Quoted(String),
    /// A value that is put in.
    Value(Value, Quoting),
    /// `~`: the home directory.
    Home,
}

/// The quotes around a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quoting {
    /// No: it is split at blanks and is a pattern.
    Bare,
    /// Yes: it is taken as it is.
    Double,
}

/// A substitution, by its form after `$`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `$name`, `${name}`, or `${name` with an operator and a word `}`.
    Variable(String, Option<Change>),
    /// `${#name}`: its length in characters.
    Length(String),
    /// `$(list)`: the output of the commands, without newlines at the end.
    Output(List),
    /// `$((expression))`, itself expanded first.
    Number(Word),
}

/// A modification of a variable's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which operator.
    pub operator: Operator,
    /// With a colon: an empty variable counts as one that is not set.
    pub empty_too: bool,
    /// The operator's word.
    pub word: Word,
}

/// An operator between the name of a variable and a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `-`: the word if it is not set.
    Default,
    /// `=`: the same, and the variable is set to that.
    Assign,
    /// `?`: an error with the word as text if it is not set.
    Require,
    /// `+`: the word if it is set.
    Alternative,
    /// `%`, `%%`: without the shortest, the longest end that matches.
    Suffix(Extent),
    /// `#`, `##`: without the shortest, the longest beginning that matches.
    Prefix(Extent),
}

/// How much a pattern takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// As little as it can.
    Shortest,
    /// As much as it can.
    Longest,
}

/// A word: its pieces, joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word(pub Vec<Part>);

impl Word {
    /// The text of a word that is nothing but plain characters.
    pub fn plain(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Part::Plain(text)] => Some(text),
            _ => None,
        }
    }
}

/// Where a redirection leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `<`
    Read,
    /// `>`
    Write,
    /// `>>`
    Append,
    /// `<>`
    Both,
    /// `>&` and `<&`: the word is another descriptor, or `-`.
    Same,
    /// `<<`: a text in the script.
    Document,
}

/// The text of a here-document. It follows the line on which the redirection
/// stands, so the parser fills it in later; it is never empty in a finished
/// tree.
pub type Document = Rc<OnceCell<Word>>;

/// The target of a redirection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A path, or for [`Direction::Same`] a number.
    Word(Word),
    /// The text itself.
    Document(Document),
}

/// A descriptor and where it leads during a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirection {
    /// The descriptor that is redirected.
    pub fd: u32,
    /// The direction of the redirection.
    pub direction: Direction,
    /// The target of the redirection.
    pub target: Target,
}

/// A command without its redirections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `NAME=value... word...`
    Simple {
        /// Variables for this command, or for the shell if there is no word.
        assignments: Vec<(String, Word)>,
        /// The name and its arguments; may be empty.
        words: Vec<Word>,
    },
    /// `{ list; }`
    Group(List),
    /// `(list)`: in a process of its own.
    Subshell(List),
    /// `for name in words; do body; done`; without `in`: the arguments.
    For {
        /// The variable.
        name: String,
        /// The words it takes in turn; `None`: the arguments.
        words: Option<Vec<Word>>,
        /// The body of the loop.
        body: List,
    },
    /// `if condition; then list; elif ...; else list; fi`
    If {
        /// Pairs of a condition and its commands.
        arms: Vec<(List, List)>,
        /// The commands if no condition is true.
        otherwise: List,
    },
    /// `while condition; do body; done`
    While {
        /// Tested before each turn.
        condition: List,
        /// The answer that makes a turn happen: `until` is the opposite.
        wanted: bool,
        /// The body of the loop.
        body: List,
    },
    /// `case word in pattern | pattern) list;; ... esac`
    Case {
        /// The word that is matched.
        word: Word,
        /// Pairs of patterns and their commands.
        arms: Vec<(Vec<Word>, List)>,
    },
    /// `name() command`
    Function {
        /// Its name.
        name: String,
        /// The body of the function.
        body: Rc<Stage>,
    },
}

/// A command with its redirections, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The command of this stage.
    pub command: Box<Command>,
    /// Where its descriptors lead.
    pub redirections: Vec<Redirection>,
}

/// `stage | stage | ...`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// `!` before it turns success into failure and back.
    pub negated: bool,
    /// At least one.
    pub stages: Vec<Stage>,
}

/// The condition for the next pipeline to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Junction {
    /// `&&`: success before.
    And,
    /// `||`: failure before.
    Or,
}

/// `pipeline && pipeline || ...`, in the foreground or background.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The first.
    pub first: Pipeline,
    /// The others.
    pub rest: Vec<(Junction, Pipeline)>,
    /// True for `&`: the shell does not wait.
    pub background: bool,
    /// What was written, if it is in the background.
    pub text: String,
}

/// Items one after another.
pub type List = Vec<Item>;
