//! Programs that work on any number of files.

use crate::{Args, ByteStr, Failure, File, Named, mode};

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
