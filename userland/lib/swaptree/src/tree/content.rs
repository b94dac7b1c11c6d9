//! The content of files: whole pages.

use super::{Answer, Step, Tree};
use crate::PAGE;
use crate::fids::Object;
use crate::transfer::{Direction, Transfer};
use abi::Errno;
use ninep::consts::{open, setattr};
use ninep::{Reply, SetAttr};

/// The largest size of a file, in bytes.
const SIZE_MAX: u64 = i64::MAX as u64 / PAGE * PAGE;

impl Tree {
    /// The file of a fid that is open for reading, or for writing.
    fn opened(&self, fid: u32, direction: Direction) -> Result<usize, Errno> {
        let at = self.fids.get(fid)?;
        let access = at.opened.ok_or(Errno::EBADF)? & open::ACCESS;
        let refused = match direction {
            Direction::Read => open::WRONLY,
            Direction::Write => open::RDONLY,
        };
        match at.object {
            Object::Root => Err(Errno::EISDIR),
            Object::File(_) if access == refused => Err(Errno::EBADF),
            Object::File(index) => Ok(index),
        }
    }

    pub(super) fn read(
        &mut self,
        tag: u16,
        fid: u32,
        offset: u64,
        count: u32,
    ) -> Result<Step, Errno> {
        let index = self.opened(fid, Direction::Read)?;
        let file = self.file(index)?;
        let count = u64::from(count.min(self.iounit()));
        let left = file.size.saturating_sub(offset);
        let pages = count.min(left) / PAGE;
        if !offset.is_multiple_of(PAGE) || (pages == 0 && left > 0) {
            return Err(Errno::EINVAL);
        }
        let start = offset / PAGE;
        let end = start + pages;
        if !self.flying.admits(index, &(start..end), Direction::Read) {
            return Ok(Step::Wait);
        }
        let mut transfer = Transfer::new(tag, Direction::Read, index, start);
        transfer.read(file, pages);
        self.begin(transfer)
    }

    pub(super) fn write(
        &mut self,
        tag: u16,
        fid: u32,
        offset: u64,
        data: &[u8],
    ) -> Result<Step, Errno> {
        let index = self.opened(fid, Direction::Write)?;
        let len = data.len() as u64;
        let aligned = offset.is_multiple_of(PAGE) && len.is_multiple_of(PAGE);
        if !aligned || len > u64::from(self.iounit()) {
            return Err(Errno::EINVAL);
        }
        let end = offset.checked_add(len).filter(|end| *end <= SIZE_MAX);
        let pages = offset / PAGE..end.ok_or(Errno::EFBIG)? / PAGE;
        if pages.is_empty() {
            return Ok(Step::Answer(Answer::Reply(Reply::Write { count: 0 })));
        }
        if !self.flying.admits(index, &pages, Direction::Write) {
            return Ok(Step::Wait);
        }
        let mut transfer = Transfer::new(tag, Direction::Write, index, pages.start);
        let file = self.files.get(index).and_then(Option::as_ref);
        let file = file.ok_or(Errno::EBADF)?;
        for page in data.chunks_exact(PAGE as usize) {
            if !transfer.write(file, page, &mut self.blocks) {
                break;
            }
        }
        match (transfer.pages(), self.discarding) {
            (0, 0) => return Err(Errno::ENOSPC),
            // Some blocks will be free in a moment.
            (0, _) => return Ok(Step::Wait),
            _ => {}
        }
        self.begin(transfer)
    }

    fn begin(&mut self, transfer: Transfer) -> Result<Step, Errno> {
        let id = self.flying.begin(transfer).ok_or(Errno::EAGAIN)?;
        self.hold(Object::File(transfer.file()));
        Ok(Step::Transfer(id))
    }

    /// Only the size of a file can be changed. Times and rights are not kept.
    pub(super) fn set_attributes(&mut self, fid: u32, attr: &SetAttr) -> Result<Step, Errno> {
        let object = self.fids.get(fid)?.object;
        if attr.valid & (setattr::UID | setattr::GID) != 0 {
            return Err(Errno::EPERM);
        }
        if attr.valid & setattr::SIZE != 0 {
            let Object::File(index) = object else {
                return Err(Errno::EISDIR);
            };
            let beyond = attr.size / PAGE..u64::MAX;
            if !self.flying.admits(index, &beyond, Direction::Write) {
                return Ok(Step::Wait);
            }
            self.cut(index, attr.size)?;
        }
        Ok(Step::Answer(Answer::Reply(Reply::Setattr)))
    }

    /// Sets the size of a file: whole pages. Pages beyond it are zeros.
    pub(super) fn cut(&mut self, index: usize, size: u64) -> Result<(), Errno> {
        if !size.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        if size > SIZE_MAX {
            return Err(Errno::EFBIG);
        }
        let beyond = size / PAGE..u64::MAX;
        if !self.flying.admits(index, &beyond, Direction::Write) {
            return Err(Errno::EBUSY);
        }
        let file = self.files.get_mut(index).and_then(Option::as_mut);
        let file = file.ok_or(Errno::EBADF)?;
        file.punch(beyond, &mut self.blocks)?;
        file.size = size;
        Ok(())
    }
}
