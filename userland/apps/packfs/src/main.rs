//! `packfs -c FROM TO`, `mount PLACE packfs FILE`: files packed in blocks
//!
//! With `-c`, packs the content of FROM, as it is at this moment, into the file TO.
//! Mounted, serves the content of the packed FILE under its name, without `.packed` at the
//! end. A block of 64 KiB is unpacked when one of its pages is touched. What is damaged, and
//! every block that is unpacked after FILE got another size or modification time, is an
//! error.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use packed::Unpacked;
use pager::Computed;
use rt::{Args, ByteStr, Errno, Failure, File, Named, Segment, Stat, manual, mode};

rt::main!(main, include_str!("main.rs"));

fn main(args: Args) -> Result<(), Failure> {
    let mut options = args.options("c");
    let packs = options.next_option()?.is_some();
    let files = options.rest();
    match (packs, files.get(0), files.get(1), files.len()) {
        (true, Some(from), Some(to), 2) => pack(from, to),
        (false, Some(path), None, _) => serve(path),
        _ => Err(manual::misused()),
    }
}

fn pack(from: ByteStr<'_>, to: ByteStr<'_>) -> Result<(), Failure> {
    let file = File::open(from, mode::OREAD).about(from)?;
    let size = file.stat().about(from)?.size;
    let too_large = |_| Failure::new(format_args!("{from}: too large"));
    let room = usize::try_from(size.max(1)).map_err(too_large)?;
    // One read, so that all of it is of one moment.
    let mut segment = Segment::attach("snapshot", room).about(from)?;
    let memory = segment.bytes_mut().get_mut(..size as usize);
    let n = file.read_full_at(memory.unwrap_or_default(), 0);
    let content = segment.bytes().get(..n.about(from)?).unwrap_or_default();
    let out = File::create(to, mode::OWRITE | mode::OTRUNC, 0o644).about(to)?;
    let read = |at: u64, block: &mut [u8]| {
        let piece = content
            .get(at as usize..)
            .and_then(|rest| rest.get(..block.len()));
        block.copy_from_slice(piece.ok_or(Errno::EIO)?);
        Ok(())
    };
    let write = |at, bytes: &[u8]| out.write_all_at(bytes, at);
    packed::pack::<Errno>(content.len() as u64, read, write).about(to)
}

fn serve(path: ByteStr<'_>) -> Result<(), Failure> {
    let file = File::open(path, mode::OREAD).about(path)?;
    let identity = |stat: &Stat| (stat.qid_path, stat.size, stat.mtime_ns);
    let opened = file.stat().about(path)?;
    // The content has to stay what it is: of a file that changes, nothing more is given.
    let read = |at, to: &mut [u8]| {
        let n = file.read_full_at(to, at)?;
        let now = file.stat()?;
        let same = n == to.len() && identity(&now) == identity(&opened);
        same.then_some(()).ok_or(Errno::EIO)
    };
    let mut unpacked = Unpacked::new(opened.size, read).map_err(|errno| match errno {
        Errno::EINVAL => Failure::new(format_args!("{path}: not a packed file")),
        errno => Failure::new(format_args!("{path}: {errno}")),
    })?;
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let name = name.strip_suffix(b".packed").unwrap_or(name);
    let size = unpacked.size();
    let content = |offset, page: &mut [u8]| unpacked.read(offset, page);
    pager::serve([Computed::new(ByteStr(name), size, content)])
}
