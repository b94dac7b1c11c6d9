//! Random requests, in any order of completion, compared with plain maps; and
//! requests without any sense.

mod common;

use abi::Errno;
use common::{Disk, LEN, Outcome, Pages, ROOT, page};
use dormouse_swaptree::{Answer, PAGE};
use ninep::consts::setattr;
use ninep::{Reply, Request, SetAttr};

/// A small random generator (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A file and its fid, and its pages by the last word written to each.
struct Model {
    fid: u32,
    size: u64,
    pages: Pages,
    /// Pages whose content a failed write has made unknown.
    unknown: Vec<u64>,
}

/// What a transfer under way is to do.
struct Under {
    tag: u16,
    file: usize,
    start: u64,
    words: Vec<u64>,
    read: bool,
}

const BLOCKS: u32 = 40;
const SPAN: u64 = 24;

fn seed() -> u64 {
    let set = std::env::var("DORMOUSE_SEED").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// The blocks that a file must have.
fn blocks(model: &Model) -> u64 {
    model.pages.len() as u64
}

fn finish_one(disk: &mut Disk, files: &mut [Model], under: &mut Vec<Under>, random: &mut Random) {
    if under.is_empty() {
        return;
    }
    let at = random.below(under.len() as u64) as usize;
    let fails = random.below(20) == 0;
    let result = if fails { Err(Errno::EIO) } else { Ok(()) };
    let (tag, answer, data) = disk.finish(at, result);
    let request = under.swap_remove(at);
    assert_eq!(tag, request.tag);
    let file = &mut files[request.file];
    if fails {
        assert!(matches!(answer, Answer::Reply(Reply::Error(Errno::EIO))));
        if !request.read {
            let pages = request.start..request.start + request.words.len() as u64;
            file.unknown
                .extend(pages.filter(|page| file.pages.contains_key(page)));
        }
        return;
    }
    if request.read {
        let pages = request.start..request.start + (data.len() / LEN) as u64;
        for (at, bytes) in pages.zip(data.chunks(LEN)) {
            let expected = file.pages.get(&at).copied().unwrap_or(0);
            let same = bytes == page(expected);
            assert!(same || file.unknown.contains(&at), "page {at}");
        }
        return;
    }
    let Answer::Reply(Reply::Write { count }) = answer else {
        panic!("{answer:?}");
    };
    let done = u64::from(count) / PAGE;
    let words = request.words.iter().take(done as usize);
    for (at, word) in (request.start..).zip(words) {
        file.unknown.retain(|page| *page != at);
        match word {
            0 => file.pages.remove(&at),
            word => file.pages.insert(at, *word),
        };
    }
    file.size = file.size.max(request.start + done);
}

fn begin_one(
    disk: &mut Disk,
    files: &[Model],
    under: &mut Vec<Under>,
    random: &mut Random,
    tag: u16,
) {
    let file = random.below(files.len() as u64) as usize;
    let start = random.below(SPAN);
    let count = 1 + random.below(8);
    let (fid, offset) = (files[file].fid, start * PAGE);
    let read = random.below(2) == 0;
    let word = |random: &mut Random| match random.below(4) {
        0 => 0,
        _ => 1 + random.below(u64::MAX - 1),
    };
    let words: Vec<u64> = (0..count).map(|_| word(random)).collect();
    let data = words
        .iter()
        .flat_map(|word| page(*word))
        .collect::<Vec<u8>>();
    let (data, bytes) = (data.as_slice(), (count * PAGE) as u32);
    let request = match read {
        true => Request::Read {
            fid,
            offset,
            count: bytes,
        },
        false => Request::Write { fid, offset, data },
    };
    match disk.request(tag, &request) {
        Ok(Outcome::Begun) => under.push(Under {
            tag,
            file,
            start,
            words,
            read,
        }),
        Ok(Outcome::Blocked) => assert!(!under.is_empty(), "waits for nothing"),
        Err(Errno::ENOSPC) => assert!(!read && disk.free() == 0),
        other => panic!("{other:?}"),
    }
}

/// With nothing under way, the free blocks are all that no page has.
fn check(disk: &mut Disk, files: &[Model]) {
    let used: u64 = files.iter().map(blocks).sum();
    assert_eq!(disk.free() + used, u64::from(BLOCKS));
    for file in files {
        let data = disk.read(file.fid, 0, 32).unwrap();
        assert_eq!(data.len() as u64, file.size * PAGE);
        for (at, bytes) in (0..).zip(data.chunks(LEN)) {
            let expected = file.pages.get(&at).copied().unwrap_or(0);
            let same = bytes == page(expected);
            assert!(same || file.unknown.contains(&at), "page {at}");
        }
    }
}

fn cut(disk: &mut Disk, file: &mut Model, size: u64) {
    let attr = SetAttr {
        valid: setattr::SIZE,
        size: size * PAGE,
        ..SetAttr::default()
    };
    disk.now(
        0,
        &Request::Setattr {
            fid: file.fid,
            attr,
        },
    )
    .unwrap();
    file.pages.retain(|page, _| *page < size);
    file.unknown.retain(|page| *page < size);
    file.size = size;
}

#[test]
fn random_transfers_agree_with_plain_maps() {
    let mut random = Random(seed().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for round in 0..60 {
        let mut disk = Disk::new(BLOCKS);
        let mut files = Vec::new();
        let mut under = Vec::new();
        let mut next = ROOT + 1;
        for step in 0..600u16 {
            let (few, many) = (files.is_empty(), files.len() > 3);
            match random.below(40) {
                0 if !many => add(&mut disk, &mut files, &mut next),
                _ if few => add(&mut disk, &mut files, &mut next),
                1..16 => begin_one(&mut disk, &files, &mut under, &mut random, step),
                16..30 => finish_one(&mut disk, &mut files, &mut under, &mut random),
                30 => {
                    while !under.is_empty() {
                        finish_one(&mut disk, &mut files, &mut under, &mut random);
                    }
                    check(&mut disk, &files);
                    let at = random.below(files.len() as u64) as usize;
                    match random.below(2) {
                        0 => cut(&mut disk, &mut files[at], random.below(SPAN)),
                        _ => disk.clunk(files.swap_remove(at).fid),
                    }
                    check(&mut disk, &files);
                }
                _ => {}
            }
        }
        println!("round {round}: {} files", files.len());
    }
}

fn add(disk: &mut Disk, files: &mut Vec<Model>, next: &mut u32) {
    disk.create(*next, "temporary").unwrap();
    disk.unlink("temporary").unwrap();
    files.push(Model {
        fid: *next,
        size: 0,
        pages: Pages::new(),
        unknown: Vec::new(),
    });
    *next += 1;
}

#[test]
fn senseless_messages_are_refused_and_take_nothing() {
    let mut random = Random(seed() | 1);
    let mut disk = Disk::new(BLOCKS);
    let mut list = [0; 8192];
    for _ in 0..200_000 {
        let len = 7 + random.below(80) as usize;
        let mut message: Vec<u8> = (0..len).map(|_| random.below(256) as u8).collect();
        message[..4].copy_from_slice(&(len as u32).to_le_bytes());
        // Numbers of messages, and small numbers in their fields, are likely.
        message[4] = [8, 12, 14, 24, 26, 40, 76, 104, 108, 110, 116, 118, 120, 122]
            [random.below(14) as usize];
        for byte in message.iter_mut().skip(7) {
            if random.below(4) != 0 {
                *byte = random.below(3) as u8;
            }
        }
        let Ok((tag, request)) = ninep::decode_request(&message) else {
            continue;
        };
        if let Ok(dormouse_swaptree::Step::Transfer(id)) =
            disk.tree.request(tag, &request, &mut list)
        {
            disk.tree.finish(id, Ok(())).unwrap();
        }
    }
    let version = Request::Version {
        msize: 4096,
        version: ninep::consts::VERSION_L,
    };
    disk.now(0, &version).unwrap();
}
