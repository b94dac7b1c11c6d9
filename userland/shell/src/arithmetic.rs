//! `$((...))`: whole numbers of 64 bits with C's operators.

use alloc::format;
use alloc::string::String;
use core::iter::Peekable;
use core::str::Chars;

/// Parentheses and signs within each other, at most.
const DEPTH_MAX: usize = 50;

/// Evaluates an expression; `value` gives the text of variables.
pub fn evaluate(text: &str, value: &dyn Fn(&str) -> Option<String>) -> Result<i64, String> {
    let mut expression = Expression {
        rest: text.chars().peekable(),
        value,
        depth: 0,
    };
    let result = expression.binary(0)?;
    expression.blanks();
    match expression.rest.next() {
        None => Ok(result),
        Some(c) => Err(format!("$(({text})): unexpected `{c}`")),
    }
}

struct Expression<'a> {
    rest: Peekable<Chars<'a>>,
    value: &'a dyn Fn(&str) -> Option<String>,
    depth: usize,
}

/// Operators by how tightly they bind, longer ones before their beginnings.
const OPERATORS: [&[&str]; 6] = [
    &["||"],
    &["&&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["+", "-"],
    &["*", "/", "%"],
];

impl Expression<'_> {
    fn blanks(&mut self) {
        while self.rest.next_if(|c| c.is_whitespace()).is_some() {}
    }

    /// Takes one of these if it comes next.
    fn operator(&mut self, operators: &[&'static str]) -> Option<&'static str> {
        self.blanks();
        let operator = operators.iter().find(|operator| {
            let mut ahead = self.rest.clone();
            operator.chars().all(|c| ahead.next() == Some(c))
        })?;
        for _ in operator.chars() {
            self.rest.next();
        }
        Some(operator)
    }

    fn binary(&mut self, level: usize) -> Result<i64, String> {
        let Some(operators) = OPERATORS.get(level) else {
            return self.unary();
        };
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = self.operator(operators) {
            let right = self.binary(level + 1)?;
            left = apply(operator, left, right)?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<i64, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("an expression is nested too deeply".into());
        }
        let result = match self.operator(&["-", "+", "!", "("]) {
            Some("-") => self.unary().map(i64::wrapping_neg),
            Some("+") => self.unary(),
            Some("!") => self.unary().map(|n| i64::from(n == 0)),
            Some(_) => {
                let inner = self.binary(0)?;
                match self.operator(&[")"]) {
                    Some(_) => Ok(inner),
                    None => Err("a ( in an expression is not closed".into()),
                }
            }
            None => self.operand(),
        };
        self.depth -= 1;
        result
    }

    fn operand(&mut self) -> Result<i64, String> {
        self.blanks();
        self.rest.next_if_eq(&'$');
        let mut word = String::new();
        while let Some(c) = self
            .rest
            .next_if(|c| *c == '_' || c.is_ascii_alphanumeric())
        {
            word.push(c);
        }
        if word.is_empty() {
            return Err("an expression lacks a number".into());
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return number(&word);
        }
        match (self.value)(&word) {
            Some(text) if !text.trim().is_empty() => number(text.trim()),
            _ => Ok(0),
        }
    }
}

fn number(text: &str) -> Result<i64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{text}: not a number"))
}

fn apply(operator: &str, a: i64, b: i64) -> Result<i64, String> {
    Ok(match operator {
        "||" => i64::from(a != 0 || b != 0),
        "&&" => i64::from(a != 0 && b != 0),
        "==" => i64::from(a == b),
        "!=" => i64::from(a != b),
        "<=" => i64::from(a <= b),
        ">=" => i64::from(a >= b),
        "<" => i64::from(a < b),
        ">" => i64::from(a > b),
        "+" => a.wrapping_add(b),
        "-" => a.wrapping_sub(b),
        "*" => a.wrapping_mul(b),
        _ if b == 0 => return Err("division by zero".into()),
        "/" => a.wrapping_div(b),
        _ => a.wrapping_rem(b),
    })
}
