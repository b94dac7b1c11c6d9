//! Built-in commands that are about variables and arguments.

use crate::Shown;
use crate::builtin::{unsupported_option, usage};
use crate::run::{Leave, Ran, USAGE};
use crate::state::{Options, Shell};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytestr::text::from_bytes;
use rt::{File, eprintln, println};
use shell::split::{self, Line};
use shell::{Host, is_name};

/// Bytes of a line that `read` takes, at most.
const LINE_MAX: usize = 1 << 20;

/// The text, quoted so that the shell reads it back.
pub fn quoted(text: &str) -> String {
    match text.chars().any(|c| c.is_control()) {
        true => Shown(text).to_string(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

/// Reports the wrong use of a special builtin, which ends a script.
fn wrong(text: String) -> Leave {
    eprintln!("{text}");
    Leave::Wrong(USAGE)
}

/// `set`: shows variables; `set -OPTIONS`, `set +OPTIONS`; `set [--] ARG...`:
/// sets the arguments.
pub fn set(shell: &mut Shell, args: &[&str]) -> Ran {
    if args.is_empty() {
        for (name, variable) in &shell.variables {
            println!("{name}={}", quoted(&variable.text));
        }
        return Ok(0);
    }
    let mut options = shell.options;
    let mut rest = args;
    while let [arg, after @ ..] = rest {
        if *arg == "--" {
            rest = after;
            shell.arguments = rest.iter().map(ToString::to_string).collect();
            break;
        }
        let Some((on, letters)) = option(arg) else {
            break;
        };
        switch(&mut options, on, letters).map_err(|text| wrong(format!("set: {text}")))?;
        rest = after;
    }
    shell.options = options;
    if !rest.is_empty() {
        shell.arguments = rest.iter().map(ToString::to_string).collect();
    }
    Ok(0)
}

/// The letters of an option, and whether they are turned on.
pub fn option(arg: &str) -> Option<(bool, &str)> {
    let on = arg.strip_prefix('-').map(|letters| (true, letters));
    let option = on.or_else(|| arg.strip_prefix('+').map(|letters| (false, letters)));
    option.filter(|(_, letters)| !letters.is_empty())
}

/// Turns options on or off.
pub fn switch(options: &mut Options, on: bool, letters: &str) -> Result<(), String> {
    for letter in letters.chars() {
        match options.of(letter) {
            Some(option) => *option = on,
            None => {
                let sign = if on { '-' } else { '+' };
                return Err(format!("{sign}{}: not supported", letter.escape_default()));
            }
        }
    }
    Ok(())
}

/// `shift [COUNT]`
pub fn shift(shell: &mut Shell, args: &[&str]) -> Ran {
    let count = match args {
        [] => Ok(1),
        [count, ..] => count.parse::<usize>(),
    };
    match count {
        Ok(count) if count <= shell.arguments.len() => {
            shell.arguments.drain(..count);
            Ok(0)
        }
        _ => {
            eprintln!("shift: there are {} arguments", shell.arguments.len());
            Ok(1)
        }
    }
}

/// Sets the variables of `NAME=TEXT` and applies `mark` to each.
fn declare(
    shell: &mut Shell,
    command: &str,
    args: &[&str],
    mark: impl Fn(&mut Shell, &str),
) -> Ran {
    for arg in args {
        let (name, text) = match arg.split_once('=') {
            Some((name, text)) => (name, Some(text)),
            None => (*arg, None),
        };
        if !is_name(name) {
            return Err(wrong(format!("{command}: {}: not a name", Shown(name))));
        }
        if let Some(text) = text {
            let set = shell.set_variable(name, text.to_string());
            set.map_err(|text| wrong(format!("{command}: {text}")))?;
        }
        mark(shell, name);
    }
    Ok(0)
}

/// `export [-p]`, `export NAME[=TEXT]...`
pub fn export(shell: &mut Shell, args: &[&str]) -> Ran {
    match args {
        [] | ["-p"] => {
            for (name, variable) in &shell.variables {
                if variable.exported {
                    println!("export {name}={}", quoted(&variable.text));
                }
            }
            Ok(0)
        }
        [option, ..] if option.starts_with('-') => unsupported_option("export", option),
        args => declare(shell, "export", args, |shell, name| {
            shell
                .variables
                .entry(name.to_string())
                .or_default()
                .exported = true;
        }),
    }
}

/// `readonly [-p]`, `readonly NAME[=TEXT]...`
pub fn readonly(shell: &mut Shell, args: &[&str]) -> Ran {
    match args {
        [] | ["-p"] => {
            for (name, variable) in &shell.variables {
                if variable.fixed {
                    println!("readonly {name}={}", quoted(&variable.text));
                }
            }
            Ok(0)
        }
        [option, ..] if option.starts_with('-') => unsupported_option("readonly", option),
        args => declare(shell, "readonly", args, |shell, name| {
            shell.variables.entry(name.to_string()).or_default().fixed = true;
        }),
    }
}

/// `local NAME[=TEXT]...`: variables that are restored after the function.
pub fn local(shell: &mut Shell, args: &[&str]) -> Ran {
    for arg in args {
        let name = arg.split_once('=').map_or(*arg, |(name, _)| name);
        let before = shell.variables.get(name).cloned();
        match shell.locals.last_mut() {
            Some(locals) => locals.push((name.to_string(), before)),
            None => return Err(wrong("local: not in a function".into())),
        }
    }
    declare(shell, "local", args, |_, _| {})
}

/// `unset [-fv] NAME...`
pub fn unset(shell: &mut Shell, args: &[&str]) -> Ran {
    let (functions, names) = match args {
        ["-f", names @ ..] => (true, names),
        ["-v", names @ ..] => (false, names),
        [option, ..] if option.starts_with('-') => return unsupported_option("unset", option),
        names => (false, names),
    };
    for name in names {
        if functions {
            shell.functions.remove(*name);
            continue;
        }
        shell
            .check(name)
            .map_err(|text| wrong(format!("unset: {text}")))?;
        shell.variables.remove(*name);
    }
    Ok(0)
}

/// `read [-r] NAME...`: reads a line of standard input; the last name gets the
/// rest. A backslash quotes the next character and joins lines; with `-r` it is
/// an ordinary character.
pub fn read(shell: &mut Shell, args: &[&str]) -> Ran {
    let mut names = args;
    let mut raw = false;
    while let [option, rest @ ..] = names
        && option.len() > 1
        && option.starts_with('-')
    {
        names = rest;
        match *option {
            "-r" => raw = true,
            "--" => break,
            option => return unsupported_option("read", option),
        }
    }
    if names.is_empty() {
        return usage("read [-r] NAME...");
    }
    let mut line = Line::default();
    let status = loop {
        let (text, ended) = match next_line() {
            Ok(line) => line,
            Err(text) => {
                // Its trap runs after this command.
                if let Some(status) = shell.trapped() {
                    return Ok(status);
                }
                eprintln!("read: standard input: {text}");
                return Ok(USAGE);
            }
        };
        let joined = match raw {
            true => {
                line = Line::raw(&text);
                false
            }
            false => line.add(&text),
        };
        if !ended || !joined {
            break u8::from(!ended);
        }
    };
    let separators = shell.variable(split::NAME);
    let separators = separators.unwrap_or_else(|| split::USUAL.into());
    let mut fields = line.fields(&separators, names.len()).into_iter();
    for name in names {
        let text = fields.next().unwrap_or_default();
        let set = shell.set_variable(name, text);
        set.map_err(|text| wrong(format!("read: {text}")))?;
    }
    Ok(status)
}

/// Reads a line; returns false if the input ended first. Reads single bytes,
/// because the bytes after the line belong to other readers.
fn next_line() -> Result<(String, bool), String> {
    let input = File::borrowed(0);
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        match input.read(&mut byte) {
            Ok(0) => return Ok((from_bytes(&line), false)),
            Ok(_) if byte == *b"\n" => return Ok((from_bytes(&line), true)),
            Ok(_) if line.len() < LINE_MAX => line.push(byte[0]),
            Ok(_) => return Err("a line that is too long".into()),
            Err(errno) => return Err(errno.to_string()),
        }
    }
}
