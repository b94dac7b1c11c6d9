//! `alias` and `unalias`, and the options of scripts: `getopts`.

use crate::Shown;
use crate::builtin::{unsupported_option, usage};
use crate::run::{Leave, Ran, USAGE};
use crate::state::Shell;
use crate::variables::quoted;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use rt::{eprintln, println};
use shell::alias::is_alias_name;
use shell::getopts::{self, Place, Step};
use shell::{Host, is_name};

/// `alias [NAME[=TEXT]...]`
pub fn alias(shell: &mut Shell, args: &[&str]) -> Ran {
    let args = match args {
        ["--", args @ ..] => args,
        [option, ..] if option.starts_with('-') => return unsupported_option("alias", option),
        args => args,
    };
    let show = |name: &str, text: &str| println!("{name}={}", quoted(text));
    if args.is_empty() {
        for (name, text) in &shell.aliases {
            show(name, text);
        }
    }
    let mut status = 0;
    for arg in args {
        let wrong = match arg.split_once('=') {
            Some((name, text)) if is_alias_name(name) => {
                shell.aliases.insert(name.to_string(), text.to_string());
                continue;
            }
            Some(_) => "not a name for an alias",
            None => match shell.aliases.get(*arg) {
                Some(text) => {
                    show(arg, text);
                    continue;
                }
                None => "no such alias",
            },
        };
        eprintln!("alias: {}: {wrong}", Shown(arg));
        status = 1;
    }
    Ok(status)
}

/// `unalias -a`, `unalias NAME...`
pub fn unalias(shell: &mut Shell, args: &[&str]) -> Ran {
    let names = match args {
        [] => return usage("unalias -a | NAME..."),
        ["-a"] => {
            shell.aliases.clear();
            return Ok(0);
        }
        ["--", names @ ..] => names,
        [option, ..] if option.starts_with('-') => return unsupported_option("unalias", option),
        names => names,
    };
    let mut status = 0;
    for name in names {
        if shell.aliases.remove(*name).is_none() {
            eprintln!("unalias: {}: no such alias", Shown(name));
            status = 1;
        }
    }
    Ok(status)
}

/// The variables of `getopts`: the number of the next argument, and the value of the
/// option.
pub const INDEX: &str = "OPTIND";
const VALUE: &str = "OPTARG";

/// `getopts LETTERS NAME [ARG...]`: the next option of the shell's arguments or of
/// ARG.
pub fn getopts(shell: &mut Shell, args: &[&str]) -> Ran {
    let args = match args {
        ["--", args @ ..] => args,
        args => args,
    };
    let [letters, name, given @ ..] = args else {
        return usage("getopts LETTERS NAME [ARG...]");
    };
    if !is_name(name) {
        eprintln!("getopts: {}: not a name", Shown(name));
        return Ok(USAGE);
    }
    let own = shell.arguments.clone();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let arguments = if given.is_empty() { &own } else { given };
    let quiet = letters.starts_with(':');
    let mut place = shell.place;
    let step = getopts::next(letters.trim_start_matches(':'), arguments, &mut place);
    let complain = |letter: char, what: &str| {
        if !quiet {
            eprintln!(
                "{}: -{}: {what}",
                Shown(&shell.name),
                Shown(&letter.to_string())
            );
        }
        quiet.then(|| letter.to_string())
    };
    let ended = step == Step::End;
    let (found, value) = match step {
        Step::Option(letter, value) => (letter, Some(value.unwrap_or_default())),
        Step::Unknown(letter) => ('?', complain(letter, "no such option")),
        Step::NoValue(letter) => {
            let value = complain(letter, "its value is missing");
            (if quiet { ':' } else { '?' }, value)
        }
        Step::End => ('?', None),
    };
    match value {
        Some(value) => set(shell, VALUE, value)?,
        None if ended => {}
        None => drop(shell.variables.remove(VALUE)),
    }
    set(shell, INDEX, place.index.to_string())?;
    shell.place = place;
    set(shell, name, found.into())?;
    Ok(u8::from(ended))
}

fn set(shell: &mut Shell, name: &str, text: String) -> Result<(), Leave> {
    shell.set_variable(name, text).map_err(|text| {
        eprintln!("getopts: {text}");
        Leave::Wrong(USAGE)
    })
}

/// The place that a new value of [`INDEX`] means.
pub fn place(text: &str) -> Place {
    Place::at(text.parse().unwrap_or(1))
}
