//! `test` and `[`: conditions on texts, numbers and files.

use alloc::format;
use alloc::string::String;

/// What a condition may ask about a file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Is it a directory?
    pub directory: bool,
    /// Is it an ordinary file?
    pub ordinary: bool,
    /// Bytes.
    pub size: u64,
}

/// Evaluates the arguments of `test`; `look` finds a file.
pub fn evaluate(args: &[&str], look: &dyn Fn(&str) -> Option<Facts>) -> Result<bool, String> {
    match args {
        [] => Ok(false),
        ["!", rest @ ..] if !rest.is_empty() => Ok(!evaluate(rest, look)?),
        [text] => Ok(!text.is_empty()),
        [operator, operand] => unary(operator, operand, look),
        [a, operator, b] => binary(a, operator, b),
        [.., extra] => {
            // `a -a b` and `a -o b` of simple conditions.
            let join = args.iter().rposition(|arg| *arg == "-o");
            let join = join.or_else(|| args.iter().rposition(|arg| *arg == "-a"));
            let Some(at) = join else {
                return Err(format!("{extra}: too many arguments"));
            };
            let (left, right) = (args.get(..at), args.get(at + 1..));
            let left = evaluate(left.unwrap_or(&[]), look)?;
            let right = evaluate(right.unwrap_or(&[]), look)?;
            Ok(match args.get(at) {
                Some(&"-o") => left || right,
                _ => left && right,
            })
        }
    }
}

fn unary(
    operator: &str,
    operand: &str,
    look: &dyn Fn(&str) -> Option<Facts>,
) -> Result<bool, String> {
    Ok(match operator {
        "-n" => !operand.is_empty(),
        "-z" => operand.is_empty(),
        "-e" => look(operand).is_some(),
        "-f" => look(operand).is_some_and(|facts| facts.ordinary),
        "-d" => look(operand).is_some_and(|facts| facts.directory),
        "-s" => look(operand).is_some_and(|facts| facts.size > 0),
        _ => return Err(format!("{operator}: not a condition")),
    })
}

fn binary(a: &str, operator: &str, b: &str) -> Result<bool, String> {
    let numbers = || {
        let number = |text: &str| {
            let parsed = text.trim().parse::<i64>();
            parsed.map_err(|_| format!("{text}: not a number"))
        };
        Ok::<_, String>((number(a)?, number(b)?))
    };
    Ok(match operator {
        "=" | "==" => a == b,
        "!=" => a != b,
        "-a" => !a.is_empty() && !b.is_empty(),
        "-o" => !a.is_empty() || !b.is_empty(),
        "-eq" => numbers().map(|(a, b)| a == b)?,
        "-ne" => numbers().map(|(a, b)| a != b)?,
        "-lt" => numbers().map(|(a, b)| a < b)?,
        "-le" => numbers().map(|(a, b)| a <= b)?,
        "-gt" => numbers().map(|(a, b)| a > b)?,
        "-ge" => numbers().map(|(a, b)| a >= b)?,
        _ => return Err(format!("{operator}: not a condition")),
    })
}
