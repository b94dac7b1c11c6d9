//! Programs that work on any number of files.

use crate::{Args, ByteStr, Failure, File, Named, copy, io, mode};
use abi::Errno;

/// Returns true if `input` and `output` are the same ordinary file and `input`
/// has content left. Copying would then never end, because it reads its own
/// output.
pub fn feeds(input: &File, output: &File) -> bool {
    let (Ok(from), Ok(to)) = (input.stat(), output.stat()) else {
        return false;
    };
    let ordinary = !from.is_dir() && copy::special(&from).is_none();
    let at = || input.seek(0, abi::whence::CURRENT);
    copy::same(&from, &to) && ordinary && at().is_ok_and(|at| at < from.size)
}

/// An error for an input that is standard output too; see [`feeds`].
pub fn check_output(name: ByteStr<'_>, input: &File) -> Result<(), Failure> {
    match feeds(input, &File::borrowed(1)) {
        true => Err(Failure::new(format_args!(
            "{name}: input file is output file"
        ))),
        false => Ok(()),
    }
}

/// Hands each of the named files, or standard input for none and for `-`, to
/// `each`. A failure is reported with its name, and the others still follow;
/// returns the exit status, 1 after a failure.
pub fn each(
    program: &str,
    paths: Args,
    mut each: impl FnMut(ByteStr<'_>, &File) -> Result<(), Failure>,
) -> u8 {
    let mut status = 0;
    let mut run = |path: ByteStr<'_>| {
        let done = match path.bytes() {
            b"-" => each("standard input".into(), &File::borrowed(0)),
            _ => File::open(path, mode::OREAD)
                .about(path)
                .and_then(|file| each(path, &file)),
        };
        if let Err(failure) = done {
            crate::eprintln!("{program}: {failure}");
            status = 1;
        }
    };
    match paths.is_empty() {
        true => run("-".into()),
        false => paths.iter().for_each(run),
    }
    status
}

/// A line that says which file follows.
pub fn title(name: ByteStr<'_>) -> Result<(), Errno> {
    io::write(b"==> ")?;
    io::write_name(name)?;
    io::write(b" <==\n")
}
