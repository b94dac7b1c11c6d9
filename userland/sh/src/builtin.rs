//! Commands that are part of the shell: those that change it, and some that
//! scripts use all the time.

use crate::Shown;
use crate::run::{Leave, NOT_BEGUN, Ran};
use crate::spawn::reason;
use crate::state::{Shell, Variable};
use alloc::string::ToString;
use alloc::vec::Vec;
use bytestr::text::{from_bytes, to_bytes};
use rt::{File, eprintln, io, print, println, sys};
use shell::condition::{self, Facts};
use shell::parse::is_name;

/// Runs with the arguments, without the name.
pub type Builtin = fn(&mut Shell, &[&str]) -> Ran;

/// Status of a command that was used wrongly.
const USAGE: u8 = 2;

/// The command of that name.
pub fn find(name: &str) -> Option<Builtin> {
    Some(match name {
        ":" | "true" => |_, _| Ok(0),
        "false" => |_, _| Ok(1),
        "echo" => echo,
        "test" => test,
        "[" => bracket,
        "cd" => cd,
        "pwd" => pwd,
        "set" => set,
        "shift" => shift,
        "export" => export,
        "unset" => unset,
        "read" => read,
        "eval" => eval,
        "exec" => exec,
        "." => source,
        "break" => |shell, args| leave_loops(shell, args, Leave::Break),
        "continue" => |shell, args| leave_loops(shell, args, Leave::Continue),
        "wait" => wait,
        "history" => history,
        "exit" => exit,
        "halt" => halt,
        "help" => |_, _| {
            print!("{}", crate::help::TEXT);
            Ok(0)
        },
        _ => return None,
    })
}

fn usage(text: &str) -> Ran {
    eprintln!("usage: {text}");
    Ok(USAGE)
}

/// Adds to standard output; a failure shows when that is flushed.
fn put(text: &str) {
    let _ = io::write(&to_bytes(text));
}

fn echo(_: &mut Shell, args: &[&str]) -> Ran {
    match args {
        ["-n", rest @ ..] => put(&rest.join(" ")),
        args => {
            put(&args.join(" "));
            put("\n");
        }
    }
    Ok(0)
}

fn test(_: &mut Shell, args: &[&str]) -> Ran {
    let look = |path: &str| {
        let stat = File::stat_path(to_bytes(path)).ok()?;
        Some(Facts {
            directory: stat.is_dir(),
            ordinary: stat.mode & 0o170_000 == 0o100_000,
            size: stat.size,
        })
    };
    match condition::evaluate(args, &look) {
        Ok(is) => Ok(u8::from(!is)),
        Err(wrong) => {
            eprintln!("test: {wrong}");
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

fn cd(shell: &mut Shell, args: &[&str]) -> Ran {
    let path = match args {
        [] => shell.get("HOME").unwrap_or("/").to_string(),
        [path] => path.to_string(),
        _ => return usage("cd [DIRECTORY]"),
    };
    match sys::chdir(to_bytes(&path)) {
        Ok(()) => {
            let directory = shell.directory_after(&path);
            shell.export("PWD", directory);
            Ok(0)
        }
        Err(errno) => {
            eprintln!("cd: {}: {errno}", Shown(&path));
            Ok(1)
        }
    }
}

fn pwd(shell: &mut Shell, _: &[&str]) -> Ran {
    let _ = io::write_name(to_bytes(shell.get("PWD").unwrap_or("/")));
    put("\n");
    Ok(0)
}

/// `set`: shows variables; `set -- ARG...`: sets the arguments.
fn set(shell: &mut Shell, args: &[&str]) -> Ran {
    match args {
        [] => {
            for (name, variable) in &shell.variables {
                println!("{name}={}", Shown(&variable.text));
            }
        }
        ["--", arguments @ ..] => {
            shell.arguments = arguments.iter().map(ToString::to_string).collect();
        }
        _ => return usage("set [-- ARG...]"),
    }
    Ok(0)
}

fn shift(shell: &mut Shell, args: &[&str]) -> Ran {
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

fn export(shell: &mut Shell, args: &[&str]) -> Ran {
    if args.is_empty() {
        for (name, variable) in &shell.variables {
            if variable.exported {
                println!("{name}={}", Shown(&variable.text));
            }
        }
    }
    for arg in args {
        let (name, text) = match arg.split_once('=') {
            Some((name, text)) => (name, Some(text)),
            None => (*arg, None),
        };
        if !is_name(name) {
            eprintln!("export: {}: not a name", Shown(name));
            return Ok(1);
        }
        let entry = shell.variables.entry(name.to_string());
        let variable: &mut Variable = entry.or_default();
        variable.exported = true;
        if let Some(text) = text {
            variable.text = text.to_string();
        }
    }
    Ok(0)
}

fn unset(shell: &mut Shell, args: &[&str]) -> Ran {
    for name in args {
        shell.variables.remove(*name);
    }
    Ok(0)
}

/// `read NAME...`: a line of standard input; the last name gets the rest.
fn read(shell: &mut Shell, args: &[&str]) -> Ran {
    let input = File::borrowed(0);
    let mut line = Vec::new();
    let mut byte = [0];
    let status = loop {
        match input.read(&mut byte) {
            Ok(0) => break 1,
            Ok(_) if byte == *b"\n" => break 0,
            Ok(_) => line.push(byte[0]),
            Err(errno) => {
                eprintln!("read: standard input: {errno}");
                break 1;
            }
        }
    };
    let line = from_bytes(&line);
    let mut rest = line.trim();
    for (index, name) in args.iter().enumerate() {
        let (word, after) = match rest.split_once(char::is_whitespace) {
            Some((word, after)) if index + 1 < args.len() => (word, after),
            _ => (rest, ""),
        };
        shell.set(name, word.to_string());
        rest = after.trim_start();
    }
    Ok(status)
}

/// Runs a text in this shell.
fn run_text(shell: &mut Shell, what: &str, text: &str) -> Ran {
    match shell::parse(text) {
        Ok(list) => shell.list(&list),
        Err(wrong) => {
            eprintln!("{what}: {wrong}");
            Ok(USAGE)
        }
    }
}

fn eval(shell: &mut Shell, args: &[&str]) -> Ran {
    run_text(shell, "eval", &args.join(" "))
}

fn source(shell: &mut Shell, args: &[&str]) -> Ran {
    let [path, ..] = args else {
        return usage(". FILE");
    };
    match crate::read_script(path) {
        Ok(text) => run_text(shell, path, &text),
        Err(failure) => {
            eprintln!(".: {failure}");
            Ok(1)
        }
    }
}

/// `exec PROGRAM [ARG...]`: this process becomes the program.
fn exec(shell: &mut Shell, args: &[&str]) -> Ran {
    let Some(name) = args.first() else {
        return Ok(0);
    };
    let environment = shell.environment(core::iter::empty());
    let errno = shell.execute(name, args, &environment);
    eprintln!("exec: {}", reason(name, errno));
    Err(Leave::Exit(NOT_BEGUN))
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

fn wait(shell: &mut Shell, args: &[&str]) -> Ran {
    match args {
        [] => shell.wait_background(None),
        [pid] => match pid.parse() {
            Ok(pid) => shell.wait_background(Some(pid)),
            Err(_) => usage("wait [PROCESS]"),
        },
        _ => usage("wait [PROCESS]"),
    }
}

fn history(shell: &mut Shell, _: &[&str]) -> Ran {
    for (index, line) in shell.history.iter().enumerate() {
        println!("{:5}  {}", index + 1, Shown(line));
    }
    Ok(0)
}

/// The status that `exit` and `halt` leave with.
fn status(shell: &Shell, args: &[&str]) -> Option<u8> {
    match args {
        [] => Some(shell.status),
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
