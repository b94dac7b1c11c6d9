//! Names that stand for texts at the beginning of a command.

use alloc::collections::BTreeMap;
use alloc::string::String;

/// The texts by their names.
pub type Aliases = BTreeMap<String, String>;

/// Returns true if the text may be the name of an alias: no part of it may be
/// quoted, expanded or end a word.
pub fn is_alias_name(text: &str) -> bool {
    let special = |c: char| c.is_whitespace() || "|&;<>()$`\\\"'*?[]#~={}/".contains(c);
    !text.is_empty() && !text.chars().any(special)
}
