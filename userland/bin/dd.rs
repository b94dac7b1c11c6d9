//! `dd [if=FILE] [of=FILE] [bs=SIZE] [count=BLOCKS] [skip=BLOCKS] [seek=BLOCKS]
//! [conv=notrunc]`: copies blocks, from SKIP blocks into the input to SEEK
//! blocks into the output, and says how many on standard error. Sizes may end
//! in k, M or G.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec;
use rt::{Args, ByteStr, Errno, Failure, File, Named, eprintln, mode};
use text::size;

rt::main!(main, include_str!("dd.rs"));

struct Order {
    input: Option<ByteStr<'static>>,
    output: Option<ByteStr<'static>>,
    block: usize,
    count: u64,
    skip: u64,
    seek: u64,
    truncate: bool,
}

/// Largest block.
const BLOCK_MAX: u64 = 256 << 20;

fn order(args: Args) -> Result<Order, Failure> {
    let mut order = Order {
        input: None,
        output: None,
        block: 512,
        count: u64::MAX,
        skip: 0,
        seek: 0,
        truncate: true,
    };
    for arg in args.iter() {
        let wrong = || Failure::usage(format_args!("{arg}: not understood"));
        let (key, value) = arg.split_once(b'=').ok_or_else(wrong)?;
        let number = || value.to_str().and_then(size).ok_or_else(wrong);
        match key.bytes() {
            b"if" => order.input = Some(value),
            b"of" => order.output = Some(value),
            b"bs" => {
                let block = number()?;
                if block == 0 || block > BLOCK_MAX {
                    return Err(wrong());
                }
                order.block = block as usize;
            }
            b"count" => order.count = number()?,
            b"skip" => order.skip = number()?,
            b"seek" => order.seek = number()?,
            b"conv" if value == "notrunc" => order.truncate = false,
            _ => return Err(wrong()),
        }
    }
    Ok(order)
}

fn main(args: Args) -> Result<(), Failure> {
    args.help();
    let order = order(args)?;
    let input_name = order.input.unwrap_or("standard input".into());
    let output_name = order.output.unwrap_or("standard output".into());
    let input = match order.input {
        Some(path) => File::open(path, mode::OREAD).about(path)?,
        None => File::from_fd(0),
    };
    let output = match order.output {
        Some(path) => open_output(path, &order).about(path)?,
        None => File::from_fd(1),
    };
    let block = order.block as u64;
    let start = |blocks: u64| {
        blocks
            .checked_mul(block)
            .filter(|at| *at <= i64::MAX as u64)
    };
    let (Some(skip), Some(seek)) = (start(order.skip), start(order.seek)) else {
        return Err(Failure::usage("skip or seek: too large"));
    };
    let mut buffer = vec![0; order.block];
    advance(&input, skip, &mut buffer).about(input_name)?;
    if seek > 0 {
        output
            .seek(seek as i64, rt::abi::whence::CURRENT)
            .about(output_name)?;
    }
    let (mut whole, mut partial, mut bytes) = (0u64, 0u64, 0u64);
    let mut failure = None;
    while whole + partial < order.count {
        let n = match input.read(&mut buffer).about(input_name) {
            Ok(0) => break,
            Ok(n) => n,
            Err(wrong) => {
                failure = Some(wrong);
                break;
            }
        };
        if let Err(wrong) = output.write_all(&buffer[..n]).about(output_name) {
            failure = Some(wrong);
            break;
        }
        bytes += n as u64;
        match n == order.block {
            true => whole += 1,
            false => partial += 1,
        }
    }
    eprintln!("{whole}+{partial} blocks, {bytes} bytes");
    failure.map_or(Ok(()), Err)
}

fn open_output(path: ByteStr<'_>, order: &Order) -> Result<File, Errno> {
    if order.truncate && order.seek == 0 {
        return File::create(path, mode::OWRITE, 0o644);
    }
    let file = File::create(path, mode::OWRITE | mode::OKEEP, 0o644)?;
    if order.truncate {
        // The content before the first block stays.
        let kept = order.seek.saturating_mul(order.block as u64);
        file.set_size(kept.min(file.stat()?.size))?;
    }
    Ok(file)
}

/// Skips bytes of the input, by reading where it cannot seek.
fn advance(input: &File, bytes: u64, buffer: &mut [u8]) -> Result<(), Errno> {
    if bytes == 0 || input.seek(bytes as i64, rt::abi::whence::CURRENT).is_ok() {
        return Ok(());
    }
    let mut left = bytes;
    while left > 0 {
        let want = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        match input.read(&mut buffer[..want])? {
            0 => return Ok(()),
            n => left -= n as u64,
        }
    }
    Ok(())
}
