//! `$((...))`: whole numbers of 64 bits with C's operators. A number that has
//! no place in 64 bits is an error.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Expressions within each other, at most; a stack is finite.
const DEPTH_MAX: usize = 50;

/// Characters of an expression that an error shows.
const SHOWN_MAX: usize = 60;

/// Where the variables of an expression are.
pub trait Variables {
    /// The text of one; an error if it should be set and is not.
    fn value(&self, name: &str) -> Result<Option<String>, String>;
    /// Assigns a number to a variable.
    fn assign(&mut self, name: &str, number: i64) -> Result<(), String>;
}

/// Evaluates an expression; an empty one is 0.
pub fn evaluate(text: &str, variables: &mut dyn Variables) -> Result<i64, String> {
    let about = |wrong: String| {
        let mut chars = text.trim().chars();
        let shown: String = chars.by_ref().take(SHOWN_MAX).collect();
        let more = if chars.next().is_some() { "..." } else { "" };
        format!("$(({shown}{more})): {wrong}")
    };
    let mut expression = Expression {
        tokens: tokens(text).map_err(about)?,
        at: 0,
        variables,
        depth: 0,
    };
    if expression.tokens.is_empty() {
        return Ok(0);
    }
    let result = expression.assignment(true).map_err(about)?;
    match expression.tokens.get(expression.at) {
        None => Ok(result),
        Some(token) => Err(about(format!("unexpected `{}`", token.text()))),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Number(i64),
    Name(String),
    Op(&'static str),
}

impl Token {
    fn text(&self) -> String {
        match self {
            Token::Number(number) => number.to_string(),
            Token::Name(name) => name.clone(),
            Token::Op(op) => op.to_string(),
        }
    }
}

/// All there are, longer ones before their beginnings.
const OPERATORS: &[&str] = &[
    "<<=", ">>=", "**", "++", "--", "||", "&&", "==", "!=", "<=", ">=", "<<", ">>", "+=", "-=",
    "*=", "/=", "%=", "&=", "^=", "|=", "+", "-", "*", "/", "%", "<", ">", "&", "^", "|", "!", "~",
    "?", ":", "(", ")", "=",
];

/// Those of other languages, which would be taken for something else.
const FOREIGN: &[&str] = &["**", "++", "--"];

/// Operators with two operands by how tightly they bind.
const LEVELS: [&[&str]; 10] = [
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let in_word = |c: char| c == '_' || c.is_ascii_alphanumeric();
        let len = rest.find(|c| !in_word(c)).unwrap_or(rest.len());
        let (token, after) = if len > 0 {
            let (word, after) = rest.split_at(len);
            let token = match first.is_ascii_digit() {
                true => Token::Number(number(word)?),
                false => Token::Name(word.to_string()),
            };
            (token, after)
        } else {
            let Some(op) = OPERATORS.iter().find(|op| rest.starts_with(**op)) else {
                return Err(format!("unexpected `{first}`"));
            };
            if FOREIGN.contains(op) {
                return Err(format!("not supported: {op}"));
            }
            (Token::Op(op), &rest[op.len()..])
        };
        tokens.push(token);
        rest = after.trim_start();
    }
    Ok(tokens)
}

/// A number as C writes it: decimal, octal after `0`, hexadecimal after `0x`.
fn number(text: &str) -> Result<i64, String> {
    let (digits, radix) = match text.strip_prefix('0') {
        Some("") | None => (text, 10),
        Some(rest) => match rest.strip_prefix(['x', 'X']) {
            Some(digits) => (digits, 16),
            None => (rest, 8),
        },
    };
    let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    match i64::from_str_radix(digits, radix) {
        Ok(number) if is_number => Ok(number),
        Err(_) if is_number => Err(format!("{text}: too large")),
        _ => Err(format!("{text}: not a number")),
    }
}

/// A number that a variable holds.
fn held(text: &str) -> Result<i64, String> {
    let text = text.trim();
    match text.strip_prefix('-') {
        _ if text.is_empty() => Ok(0),
        // The smallest number has no positive.
        Some(_) if text.parse() == Ok(i64::MIN) => Ok(i64::MIN),
        Some(digits) => number(digits).map(|number| -number),
        None => number(text.strip_prefix('+').unwrap_or(text)),
    }
}

/// Evaluates while parsing. Operands that `&&`, `||` and `?` skip are parsed
/// without `live`: they assign nothing and raise no errors.
struct Expression<'a> {
    tokens: Vec<Token>,
    at: usize,
    variables: &'a mut dyn Variables,
    depth: usize,
}

impl Expression<'_> {
    /// Takes one of these if it comes next.
    fn operator(&mut self, operators: &[&'static str]) -> Option<&'static str> {
        match self.tokens.get(self.at) {
            Some(Token::Op(op)) if operators.contains(op) => {
                self.at += 1;
                Some(op)
            }
            _ => None,
        }
    }

    fn deeper(
        &mut self,
        evaluate: impl FnOnce(&mut Self) -> Result<i64, String>,
    ) -> Result<i64, String> {
        if self.depth == DEPTH_MAX {
            return Err("nested too deeply".into());
        }
        self.depth += 1;
        let result = evaluate(self);
        self.depth -= 1;
        result
    }

    /// `NAME = ...`, `NAME += ...` and so on, or anything else.
    fn assignment(&mut self, live: bool) -> Result<i64, String> {
        let (Some(Token::Name(name)), Some(Token::Op(op))) =
            (self.tokens.get(self.at), self.tokens.get(self.at + 1))
        else {
            return self.conditional(live);
        };
        let compares = ["==", "!=", "<=", ">="].contains(op);
        let Some(operator) = op.strip_suffix('=').filter(|_| !compares) else {
            return self.conditional(live);
        };
        let name = name.clone();
        self.at += 2;
        let right = self.deeper(|inner| inner.assignment(live))?;
        if !live {
            return Ok(0);
        }
        let result = match operator {
            "" => right,
            operator => apply(operator, self.variable(&name)?, right)?,
        };
        self.variables.assign(&name, result)?;
        Ok(result)
    }

    fn conditional(&mut self, live: bool) -> Result<i64, String> {
        let condition = self.binary(0, live)?;
        if self.operator(&["?"]).is_none() {
            return Ok(condition);
        }
        let (yes, no) = (live && condition != 0, live && condition == 0);
        let first = self.deeper(|inner| inner.assignment(yes))?;
        if self.operator(&[":"]).is_none() {
            return Err("a ? lacks its :".into());
        }
        let second = self.deeper(|inner| inner.conditional(no))?;
        Ok(if condition != 0 { first } else { second })
    }

    fn binary(&mut self, level: usize, live: bool) -> Result<i64, String> {
        let Some(operators) = LEVELS.get(level) else {
            return self.unary(live);
        };
        let mut left = self.binary(level + 1, live)?;
        while let Some(operator) = self.operator(operators) {
            let right_live = match operator {
                "||" => live && left == 0,
                "&&" => live && left != 0,
                _ => live,
            };
            let right = self.binary(level + 1, right_live)?;
            left = match (operator, live) {
                ("||", _) => i64::from(left != 0 || right != 0),
                ("&&", _) => i64::from(left != 0 && right != 0),
                (_, false) => 0,
                (operator, true) => apply(operator, left, right)?,
            };
        }
        Ok(left)
    }

    fn unary(&mut self, live: bool) -> Result<i64, String> {
        match self.operator(&["-", "+", "!", "~", "("]) {
            Some("-") => {
                let value = self.deeper(|inner| inner.unary(live))?;
                value.checked_neg().ok_or_else(too_large)
            }
            Some("+") => self.deeper(|inner| inner.unary(live)),
            Some("!") => self
                .deeper(|inner| inner.unary(live))
                .map(|n| i64::from(n == 0)),
            Some("~") => self.deeper(|inner| inner.unary(live)).map(|n| !n),
            Some(_) => {
                let inner = self.deeper(|inner| inner.assignment(live))?;
                match self.operator(&[")"]) {
                    Some(_) => Ok(inner),
                    None => Err("a ( is not closed".into()),
                }
            }
            None => self.operand(live),
        }
    }

    fn operand(&mut self, live: bool) -> Result<i64, String> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        match token {
            Some(Token::Number(number)) => Ok(number),
            Some(Token::Name(name)) if live => self.variable(&name),
            Some(Token::Name(_)) => Ok(0),
            Some(Token::Op(op)) => Err(format!("`{op}` where a number was expected")),
            None => Err("it lacks a number".into()),
        }
    }

    fn variable(&self, name: &str) -> Result<i64, String> {
        match self.variables.value(name)? {
            Some(text) => held(&text).map_err(|wrong| format!("{name}: {wrong}")),
            None => Ok(0),
        }
    }
}

fn too_large() -> String {
    "the result is too large".into()
}

fn apply(operator: &str, a: i64, b: i64) -> Result<i64, String> {
    let distance = || {
        let distance = u32::try_from(b).ok().filter(|distance| *distance < 64);
        distance.ok_or_else(|| format!("{b}: no distance to shift by"))
    };
    Ok(match operator {
        "==" => i64::from(a == b),
        "!=" => i64::from(a != b),
        "<=" => i64::from(a <= b),
        ">=" => i64::from(a >= b),
        "<" => i64::from(a < b),
        ">" => i64::from(a > b),
        "&" => a & b,
        "^" => a ^ b,
        "|" => a | b,
        "+" => a.checked_add(b).ok_or_else(too_large)?,
        "-" => a.checked_sub(b).ok_or_else(too_large)?,
        "*" => a.checked_mul(b).ok_or_else(too_large)?,
        "<<" => {
            let distance = distance()?;
            let shifted = a << distance;
            // Bits shifted out are an error, like the overflow of a product.
            match shifted >> distance == a {
                true => shifted,
                false => return Err(too_large()),
            }
        }
        ">>" => a >> distance()?,
        _ if b == 0 => return Err("division by zero".into()),
        "/" => a.checked_div(b).ok_or_else(too_large)?,
        _ => a.checked_rem(b).ok_or_else(too_large)?,
    })
}
