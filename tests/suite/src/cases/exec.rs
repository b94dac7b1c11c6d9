//! Program files of every kind of wrong: refused with the rule they break, or
//! run into the ground.

use super::Case;
use crate::check::{PG, Verdict, Why, fails, other, pressed, same};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;
use rt::process::{self, exec};
use rt::{Errno, File, Named, Shared, mode, sys};

pub const CASES: &[Case] = &[
    Case::new("exec.prefixes", prefixes),
    Case::new("exec.every-byte", every_byte),
    Case::new("exec.reasons", reasons),
];

/// Bytes of an ELF header and of a program header.
const HEADER: usize = 64;
const ENTRY: usize = 56;

/// A file of that content, which is removed again.
struct Image {
    path: String,
    file: File,
}

impl Image {
    fn new(path: &str) -> Result<Image, Why> {
        let file = File::create(path, mode::ORDWR, 0o755).about(path)?;
        let path = path.into();
        Ok(Image { path, file })
    }

    /// Makes this process that program; the error if it cannot be.
    fn exec(&self) -> Result<(), Errno> {
        Err(exec(&self.path, &["image"]))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // A case that failed may have removed it.
        let _ = sys::remove(&self.path);
    }
}

/// The first bytes of a program and how many of them are headers.
fn good() -> Result<(Vec<u8>, usize), Why> {
    let mut head = alloc::vec![0; PG];
    File::open("/bin/echo", mode::OREAD)?.read_full_at(&mut head, 0)?;
    let headers = HEADER + ENTRY * usize::from(head[56]);
    Ok((head, headers))
}

/// A program that ends anywhere, at every kind of server.
fn prefixes() -> Verdict {
    let (head, headers) = good()?;
    let refused = Shared::new(PG)?;
    let refused = refused.number(0)?;
    let check = |what: &str, image: &Image| {
        let before = refused.load(Relaxed);
        // If it were run, it would end well and never come to count.
        other(|| {
            fails(what, image.exec(), Errno::ENOEXEC)?;
            refused.fetch_add(1, Relaxed);
            Ok(())
        })?;
        same(what, refused.load(Relaxed), before + 1)
    };
    let step = if pressed()? { 13 } else { 1 };
    let places = [
        ("/tmp/prefix", headers + 16),
        ("/n/host/prefix", HEADER + 2),
    ];
    for (path, most) in places {
        let image = Image::new(path)?;
        for len in (0..=most).step_by(step) {
            check(&format!("{path} of {len} bytes"), &image)?;
            let next = head.len().min(len + step);
            image.file.write_all_at(&head[len..next], len as u64)?;
        }
        image.file.set_size(0)?;
        for text in ["a", "ab", "#!", "\0\0\0"] {
            image.file.write_all_at(text.as_bytes(), 0)?;
            check(text, &image)?;
        }
    }
    Ok(())
}

/// Each byte of the headers is something else.
fn every_byte() -> Verdict {
    let (head, headers) = good()?;
    let image = Image::new("/tmp/byte")?;
    // The program's instructions are invalid.
    image.file.write_all_at(&[0x0f, 0x0b].repeat(4 * PG), 0)?;
    let changes: [fn(u8) -> u8; 4] = [|_| 0, |_| 0xff, |b| b ^ 1, |b| b ^ 0x80];
    let next = Shared::new(PG)?;
    let next = next.number(0)?;
    // A child goes on until one of them runs, which ends it.
    let step = if pressed()? { 11 } else { 1 };
    while (next.load(Relaxed) as usize) < headers * changes.len() {
        let pid = process::spawn(|| {
            while let Some(step) = Some(next.fetch_add(step, Relaxed) as usize)
                && step < headers * changes.len()
            {
                let mut bytes = head[..headers].to_vec();
                let byte = &mut bytes[step / changes.len()];
                *byte = changes[step % changes.len()](*byte);
                if image.file.write_all_at(&bytes, 0).is_err() {
                    return 1;
                }
                exec(&image.path, &["byte"]);
            }
            0
        })?;
        let status = process::wait_for(pid)?.status();
        ensure!(status == 0 || status == 128, "status {status}");
    }
    Ok(())
}

/// The error's text names the file and the rule.
fn reasons() -> Verdict {
    let (head, headers) = good()?;
    let image = Image::new("/tmp/reason")?;
    let change = |at: usize, byte: u8| {
        let mut bytes = head[..headers].to_vec();
        bytes[at] = byte;
        bytes
    };
    let kind_of_first = HEADER;
    let cases = [
        (b"\x7fELF".to_vec(), "cut short"),
        (b"neither".to_vec(), "no ELF file"),
        (change(18, 3), "not for x86-64"),
        (change(kind_of_first, 3), "dynamically linked"),
        (change(kind_of_first, 7), "a Linux program"),
        (change(kind_of_first + 4, 7), "writable and executable"),
    ];
    for (bytes, rule) in cases {
        image.file.set_size(0)?;
        image.file.write_all_at(&bytes, 0)?;
        let errno = image.exec();
        fails(rule, errno, Errno::ENOEXEC)?;
        let mut buffer = [0; 400];
        let text = sys::errstr(&mut buffer);
        let named = text.starts_with("/tmp/reason: not an executable") && text.contains(rule);
        ensure!(named, "{rule}: {text}");
    }
    Ok(())
}
