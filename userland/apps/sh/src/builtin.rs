//! Builtin commands: those that change the shell itself, and some that scripts
//! use all the time.

use crate::command::Meaning;
use crate::run::{Leave, Ran, USAGE};
use crate::state::Shell;
use crate::variables::{self, quoted};
use crate::{Shown, alias, job, trap};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytestr::text::to_bytes;
use rt::{File, eprintln, io, mode, print, println, sys};
use shell::condition;
use text::{Escapes, Output, Printed, unescape};

/// Runs with the arguments, without the name.
pub type Builtin = fn(&mut Shell, &[&str]) -> Ran;

/// The special builtins (in POSIX's sense): functions cannot have their names, and
/// variables set before them stay set.
const SPECIAL: &[(&str, Builtin)] = &[
    (":", |_, _| Ok(0)),
    (".", source),
    ("break", |shell, args| {
        leave_loops(shell, args, Leave::Break)
    }),
    ("continue", |shell, args| {
        leave_loops(shell, args, Leave::Continue)
    }),
    ("eval", eval),
    // With its redirections, which stay: `Shell::command`.
    ("exec", |_, _| Ok(0)),
    ("exit", exit),
    ("export", variables::export),
    ("readonly", variables::readonly),
    ("return", leave_function),
    ("set", variables::set),
    ("shift", variables::shift),
    ("trap", trap::trap),
    ("unset", variables::unset),
];

/// The others.
const USUAL: &[(&str, Builtin)] = &[
    ("true", |_, _| Ok(0)),
    ("false", |_, _| Ok(1)),
    ("[", bracket),
    ("test", test),
    ("echo", echo),
    ("printf", printf),
    ("read", variables::read),
    ("local", variables::local),
    ("cd", cd),
    ("pwd", pwd),
    ("alias", alias::alias),
    ("bg", job::bg),
    ("command", command),
    ("fg", job::fg),
    ("getopts", alias::getopts),
    ("halt", halt),
    ("help", help),
    ("history", history),
    ("jobs", job::jobs),
    ("source", source),
    ("swapon", swapon),
    ("type", kind),
    ("unalias", alias::unalias),
    ("wait", job::wait),
];

fn look_up(table: &[(&str, Builtin)], name: &str) -> Option<Builtin> {
    let entry = table.iter().find(|(known, _)| *known == name);
    entry.map(|(_, builtin)| *builtin)
}

/// The special builtin of that name.
pub fn special(name: &str) -> Option<Builtin> {
    look_up(SPECIAL, name)
}

/// The other builtin of that name.
pub fn find(name: &str) -> Option<Builtin> {
    look_up(USUAL, name).or_else(|| unsupported(name))
}

/// The names of all builtins.
pub fn names() -> impl Iterator<Item = &'static str> {
    SPECIAL.iter().chain(USUAL).map(|(name, _)| *name)
}

/// Commands of other shells that cannot be programs: each is refused with a
/// message.
fn unsupported(name: &str) -> Option<Builtin> {
    macro_rules! refuse {
        ($($known:literal)*) => {
            match name {
                $($known => Some(|_, _| {
                    eprintln!(concat!($known, ": not supported"));
                    Ok(USAGE)
                }),)*
                _ => None,
            }
        };
    }
    refuse!("declare" "fc" "hash" "let" "mapfile" "popd" "pushd" "shopt" "times" "typeset" "ulimit"
        "umask")
}

pub fn usage(text: &str) -> Ran {
    eprintln!("usage: {text}");
    Ok(USAGE)
}

/// Refuses an option.
pub fn unsupported_option(command: &str, option: &str) -> Ran {
    eprintln!("{command}: {}: not supported", Shown(option));
    Ok(USAGE)
}

/// Writes to standard output; an error shows when it is flushed.
fn put(text: &str) {
    let _ = io::write(&to_bytes(text));
}

/// `echo [-neE] [TEXT...]`
fn echo(_: &mut Shell, args: &[&str]) -> Ran {
    let (mut newline, mut escapes) = (true, false);
    let mut texts = args;
    while let [option, rest @ ..] = texts
        && let Some(letters) = option.strip_prefix('-')
        && !letters.is_empty()
        && letters.chars().all(|letter| "neE".contains(letter))
    {
        for letter in letters.chars() {
            match letter {
                'n' => newline = false,
                letter => escapes = letter == 'e',
            }
        }
        texts = rest;
    }
    let text = texts.join(" ");
    if escapes {
        let mut bytes = Vec::new();
        let output = unescape(&to_bytes(&text), Escapes::Argument, &mut bytes);
        let _ = io::write(&bytes);
        newline &= output == Output::GoesOn;
    } else {
        put(&text);
    }
    if newline {
        put("\n");
    }
    Ok(0)
}

/// `printf FORMAT [ARG...]`
fn printf(_: &mut Shell, args: &[&str]) -> Ran {
    let (format, arguments) = match args {
        ["--", format, arguments @ ..] => (format, arguments),
        [format, ..] if format.len() > 1 && format.starts_with('-') => {
            return unsupported_option("printf", format);
        }
        [format, arguments @ ..] => (format, arguments),
        [] => return usage("printf FORMAT [ARG...]"),
    };
    let arguments: Vec<_> = arguments
        .iter()
        .map(|argument| to_bytes(argument))
        .collect();
    let arguments: Vec<&[u8]> = arguments.iter().map(|argument| &**argument).collect();
    let mut printed = Printed::default();
    let done = text::printf(&to_bytes(format), &arguments, &mut printed);
    let _ = io::write(&printed.bytes);
    let mut wrong = printed.wrong;
    let status = match done {
        Ok(()) => u8::from(!wrong.is_empty()),
        Err(text) => {
            wrong.push(text);
            USAGE
        }
    };
    for text in wrong {
        eprintln!("printf: {}", Shown(&text));
    }
    Ok(status)
}

fn test(_: &mut Shell, args: &[&str]) -> Ran {
    match condition::evaluate(args, &crate::files::Files) {
        Ok(is) => Ok(u8::from(!is)),
        Err(wrong) => {
            eprintln!("test: {}", Shown(&wrong));
            Ok(USAGE)
        }
    }
}

fn bracket(shell: &mut Shell, args: &[&str]) -> Ran {
    match args {
        [args @ .., "]"] => test(shell, args),
        _ => usage("[ CONDITION ]"),
    }
}

/// `cd [DIRECTORY]`, `cd -`
fn cd(shell: &mut Shell, args: &[&str]) -> Ran {
    let path = match args {
        [] => shell.get("HOME").unwrap_or("/").to_string(),
        ["-"] => match shell.get("OLDPWD") {
            Some(path) => path.to_string(),
            None => {
                eprintln!("cd: OLDPWD: not set");
                return Ok(1);
            }
        },
        ["--", path] => path.to_string(),
        [option, ..] if option.starts_with('-') => return unsupported_option("cd", option),
        [path] => path.to_string(),
        _ => return usage("cd [DIRECTORY]"),
    };
    match sys::chdir(to_bytes(&path)) {
        Ok(()) => {
            let directory = shell.directory_after(&path);
            let before = shell.get("PWD").unwrap_or("/").to_string();
            shell.set("OLDPWD", before);
            shell.export("PWD", directory);
            match args {
                ["-"] => pwd(shell, &[]),
                _ => Ok(0),
            }
        }
        Err(errno) => {
            eprintln!("cd: {}: {errno}", Shown(&path));
            Ok(1)
        }
    }
}

fn pwd(shell: &mut Shell, args: &[&str]) -> Ran {
    if let [option, ..] = args {
        return unsupported_option("pwd", option);
    }
    let _ = io::write_name(to_bytes(shell.get("PWD").unwrap_or("/")));
    put("\n");
    Ok(0)
}

fn eval(shell: &mut Shell, args: &[&str]) -> Ran {
    let text = args.join(" ");
    shell.deeper(|shell| shell.run_text("eval", &text))
}

/// `. FILE`: runs the file's commands in this shell.
fn source(shell: &mut Shell, args: &[&str]) -> Ran {
    let [path] = args else {
        return usage(". FILE");
    };
    match crate::read_script(path) {
        Ok(text) => {
            shell.sourced += 1;
            let ran = shell.deeper(|shell| shell.run_text(path, &text));
            shell.sourced -= 1;
            match ran {
                Err(Leave::Return(status)) => Ok(status),
                ran => ran,
            }
        }
        Err(failure) => {
            eprintln!(".: {failure}");
            Ok(1)
        }
    }
}

/// `return [STATUS]`
fn leave_function(shell: &mut Shell, args: &[&str]) -> Ran {
    if shell.locals.is_empty() && shell.sourced == 0 {
        return usage("return [STATUS], in a function or a file of `.`");
    }
    match status(shell, args) {
        Some(status) => Err(Leave::Return(status)),
        None => usage("return [STATUS], 0 to 255"),
    }
}

/// `command -v NAME`: prints the meaning of a name. (`command NAME` is in
/// `Shell::command`.)
fn command(shell: &mut Shell, args: &[&str]) -> Ran {
    match args {
        [] => Ok(0),
        ["-v", name] if shell.aliases.contains_key(*name) => {
            put("alias ");
            alias::alias(shell, &[name])
        }
        ["-v", name] => Ok(match shell.meaning(name, true) {
            Meaning::Program(None) => crate::spawn::NOT_FOUND,
            Meaning::Program(Some(path)) => {
                put(&format!("{path}\n"));
                0
            }
            _ => {
                put(&format!("{name}\n"));
                0
            }
        }),
        [option, ..] => unsupported_option("command", option),
    }
}

/// `type NAME...`: describes the meaning of names.
fn kind(shell: &mut Shell, args: &[&str]) -> Ran {
    let mut status = 0;
    for name in args {
        if let Some(text) = shell.aliases.get(*name) {
            println!("{}: an alias for {}", Shown(name), quoted(text));
            continue;
        }
        let text: String = match shell.meaning(name, true) {
            Meaning::Special(_) | Meaning::Builtin(_) => "part of the shell".into(),
            Meaning::Function => "a function".into(),
            Meaning::Program(Some(path)) => path,
            Meaning::Program(None) => {
                status = crate::spawn::NOT_FOUND;
                "no such program".into()
            }
        };
        println!("{}: {}", Shown(name), Shown(&text));
    }
    Ok(status)
}

fn leave_loops(shell: &mut Shell, args: &[&str], leave: fn(usize) -> Leave) -> Ran {
    let loops = match args {
        [] => 1,
        [count, ..] => count.parse().unwrap_or(0),
    };
    match loops.min(shell.loops) {
        0 => usage("break and continue stand in loops: break [LOOPS]"),
        loops => Err(leave(loops)),
    }
}

/// `help [NAME]`: the shell's page, or what a program says of itself.
fn help(shell: &mut Shell, args: &[&str]) -> Ran {
    let name = match args {
        [] => {
            print!("{}", crate::help::TEXT);
            return Ok(0);
        }
        [name] => name,
        _ => return usage("help [NAME]"),
    };
    let why = match shell.meaning(name, true) {
        Meaning::Program(Some(_)) => {
            return shell.run_text("help", &format!("command {} --help", quoted(name)));
        }
        Meaning::Program(None) => "no such program",
        Meaning::Function => "a function",
        Meaning::Special(_) | Meaning::Builtin(_) => "part of the shell: see `help`",
    };
    eprintln!("help: {}: {why}", Shown(name));
    Ok(1)
}

fn history(shell: &mut Shell, _: &[&str]) -> Ran {
    for (index, line) in shell.history.iter().enumerate() {
        println!("{:5}  {}", index + 1, Shown(line));
    }
    Ok(0)
}

/// The exit status for `exit` and `halt`.
fn status(shell: &Shell, args: &[&str]) -> Option<u8> {
    match args {
        // In a trap: that of the command before it.
        [] => Some(shell.traps.running.unwrap_or(shell.status)),
        [status] => status.parse().ok(),
        _ => None,
    }
}

fn exit(shell: &mut Shell, args: &[&str]) -> Ran {
    match status(shell, args) {
        Some(status) => Err(Leave::Exit(status)),
        None => usage("exit [STATUS], 0 to 255"),
    }
}

/// Changed pages that do not fit into memory go to files in a directory from now on.
fn swapon(_: &mut Shell, args: &[&str]) -> Ran {
    let [directory] = args else {
        return usage("swapon DIRECTORY");
    };
    let opened = File::open(to_bytes(directory), mode::OREAD);
    match opened.and_then(|file| file.swap_on()) {
        Ok(()) => Ok(0),
        Err(errno) => {
            eprintln!("swapon: {}: {errno}", Shown(directory));
            Ok(1)
        }
    }
}

/// Stops the machine.
fn halt(_: &mut Shell, args: &[&str]) -> Ran {
    let status = match args {
        [] => Ok(0),
        [status] => status.parse(),
        _ => return usage("halt [STATUS]"),
    };
    let Ok(status) = status else {
        return usage("halt [STATUS], 0 to 255");
    };
    let errno = sys::halt(status);
    eprintln!("halt: {errno}");
    Ok(1)
}
