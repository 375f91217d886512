//! Walks a batch: checks every number that the host wrote before it is used, then runs the records.
//!
//! It works on a base pointer and a length, so that the code of the guest is tested natively over a heap buffer.

use core::marker::PhantomData;

use crate::scheme::{Records, Scheme, run_record, sign_record, sign_records};
use crate::{BLOCK_VERSION, ExtensionKind, Header, Record, Status};

const HEADER_LEN: u64 = size_of::<Header>() as u64;
const RECORD_LEN: u64 = size_of::<Record>() as u64;

/// A half-open range of guest addresses, wider than an address since memory may end at 2³².
#[derive(Clone, Copy)]
struct Span {
    start: u64,
    end: u64,
}

impl Span {
    const EMPTY: Self = Self { start: 0, end: 0 };

    fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    fn overlaps(self, other: Self) -> bool {
        self.start.max(other.start) < self.end.min(other.end)
    }

    /// The smallest span around both.
    fn hull(self, other: Self) -> Self {
        match (self.len(), other.len()) {
            (0, _) => other,
            (_, 0) => self,
            _ => Self { start: self.start.min(other.start), end: self.end.max(other.end) },
        }
    }
}

/// Where a record's parts are.
struct Ranges {
    message: Span,
    out: Span,
    public_key: Span,
}

/// The memory that the host was given for its batches, and which part of it they have used since the last wipe.
pub struct Buffers {
    base: *mut u8,
    all: Span,
    used: Span,
}

impl Buffers {
    /// No memory at all: every batch is refused.
    pub const NONE: Self = Self { base: core::ptr::null_mut(), all: Span::EMPTY, used: Span::EMPTY };

    /// `len` bytes at `base`, which the host knows as the addresses from `start` on.
    ///
    /// # Safety
    /// As long as this value is used, the bytes must be there to read and write through `base`, and nobody else may
    /// touch them while one of its methods runs. `base` and `start` must be multiples of 4.
    pub const unsafe fn new(base: *mut u8, start: u32, len: u64) -> Self {
        let start = start as u64;
        Self { base, all: Span { start, end: start + len }, used: Span::EMPTY }
    }

    /// Takes in the `len` bytes that follow.
    ///
    /// # Safety
    /// What [`new`](Self::new) asks for must hold for them too.
    pub const unsafe fn extend(&mut self, len: u64) {
        self.all.end += len;
    }

    /// The address after the last byte; 0 for [`NONE`](Self::NONE).
    pub const fn end(&self) -> u64 {
        self.all.end
    }

    /// Zeroes what batches have used: everything from its first to its last byte.
    pub fn wipe(&mut self) {
        let used = core::mem::replace(&mut self.used, Span::EMPTY);
        if used.len() > 0 {
            // SAFETY: `used` is a hull of spans within `all`, which are ours to write.
            unsafe { self.at(used.start).write_bytes(0, used.len()) }
        }
    }

    /// Runs extension `S` over the batch whose block is at `arg_ptr`; `key` is the extension's key slot.
    ///
    /// # Errors
    /// The status of a batch that was refused as a whole, before any of its records was run.
    pub fn run<S: Scheme>(
        &mut self,
        key: &mut Option<S>,
        name_ptr: u32,
        raw_kind: u32,
        arg_ptr: u32,
    ) -> Result<(), Status> {
        if !self.has_name(name_ptr, S::NAME) {
            return Err(Status::UnknownExtension);
        }
        let kind = ExtensionKind::from_raw(raw_kind).ok_or(Status::UnsupportedKind)?;
        let (block, stride) = self.block(arg_ptr, kind)?;
        if kind == ExtensionKind::Sign {
            sign_records(
                key.as_ref(),
                &mut ToSign::<S> { buffers: self, block, stride, scheme: PhantomData },
            );
            return Ok(());
        }
        let mut at = block.start + HEADER_LEN;
        while at < block.end {
            self.run_at(key, kind, block, at);
            at += stride;
        }
        Ok(())
    }

    /// Whether the NUL-terminated string at `ptr` is `name`. It is not part of the batch: a wipe spares it.
    fn has_name(&self, ptr: u32, name: &str) -> bool {
        let (start, len) = (u64::from(ptr), name.len() as u64 + 1);
        let span = Span { start, end: start + len };
        if !self.all.contains(span) {
            return false;
        }
        // SAFETY: the span is within `all`, and nothing writes to it while `found` lives.
        let found = unsafe { core::slice::from_raw_parts(self.at(start), span.len()) };
        found.split_last() == Some((&0, name.as_bytes()))
    }

    /// The checked block at `arg_ptr` and the stride of its records.
    fn block(&mut self, arg_ptr: u32, kind: ExtensionKind) -> Result<(Span, u64), Status> {
        let head = self.claim(arg_ptr, HEADER_LEN)?;
        if !arg_ptr.is_multiple_of(4) {
            return Err(Status::BadArgument);
        }
        // SAFETY: the span is within `all` and, like `base`, aligned; a header is valid whatever its bits.
        let header = unsafe { self.at(head.start).cast::<Header>().read() };
        let (count, stride) = (u64::from(header.count), u64::from(header.record_stride));
        let well_formed = header.version == BLOCK_VERSION
            && header.flags == 0
            && header.key_handle == 0
            && stride >= RECORD_LEN
            && stride.is_multiple_of(4)
            && (kind != ExtensionKind::SetKey || count == 1);
        if !well_formed {
            return Err(Status::BadArgument);
        }
        // Both factors are below 2³², so that the product and the sum fit.
        let block = self.claim(arg_ptr, HEADER_LEN + count * stride)?;
        Ok((block, stride))
    }

    /// Runs the record at `at`, in `block`, and writes its results into it.
    fn run_at<S: Scheme>(&mut self, key: &mut Option<S>, kind: ExtensionKind, block: Span, at: u64) {
        let record = self.record(at);
        let public_key_len = if kind == ExtensionKind::Verify { S::PUBLIC_KEY_LEN } else { 0 };
        let result = self.ranges(kind, block, &record, public_key_len).and_then(|ranges| {
            let (message, out, public_key) = self.slices(ranges);
            run_record(key, kind, message, out, public_key)
        });
        self.finish(kind, at, result);
    }

    /// A copy of the record at `at`, which must be in a checked block.
    fn record(&self, at: u64) -> Record {
        // SAFETY: the record is within the block, aligned as its block and stride are, and valid whatever its bits.
        unsafe { self.at(at).cast::<Record>().read() }
    }

    /// Writes what became of the record at `at`, which must be in a checked block.
    fn finish(&mut self, kind: ExtensionKind, at: u64, result: Result<usize, Status>) {
        let place = self.at(at).cast::<Record>();
        let status = result.err().unwrap_or(Status::Ok);
        // SAFETY: as in `record`.
        unsafe { (&raw mut (*place).status).write(status as i32) };
        if kind != ExtensionKind::Verify {
            // SAFETY: as above.
            unsafe { (&raw mut (*place).out_len).write(result.unwrap_or(0) as u32) };
        }
    }

    /// The checked ranges of `record`: its message, its output, and its public key of `public_key_len` bytes.
    fn ranges(
        &self,
        kind: ExtensionKind,
        block: Span,
        record: &Record,
        public_key_len: usize,
    ) -> Result<Ranges, Status> {
        let verify = kind == ExtensionKind::Verify;
        if verify && record.out_len > record.out_cap {
            return Err(Status::BadArgument);
        }
        let ranges = Ranges {
            message: self.span(record.msg_ptr, record.msg_len.into())?,
            out: self.span(record.out_ptr, if verify { record.out_len } else { record.out_cap }.into())?,
            public_key: self.span(record.pubkey_ptr, public_key_len as u64)?,
        };
        if [block, ranges.message, ranges.public_key].iter().any(|span| ranges.out.overlaps(*span)) {
            return Err(Status::BadArgument);
        }
        Ok(ranges)
    }

    /// What is at `ranges`, which the next wipe zeroes: message, output, public key.
    fn slices(&mut self, ranges: Ranges) -> (&[u8], &mut [u8], &[u8]) {
        let Ranges { message, out, public_key } = ranges;
        self.used = self.used.hull(message).hull(out).hull(public_key);
        // SAFETY: the three spans are within `all`; nothing else is read or written while the slices live, and the
        // one that is written overlaps neither of the others.
        unsafe {
            (
                core::slice::from_raw_parts(self.at(message.start), message.len()),
                core::slice::from_raw_parts_mut(self.at(out.start), out.len()),
                core::slice::from_raw_parts(self.at(public_key.start), public_key.len()),
            )
        }
    }

    /// The range of `len` bytes at `ptr`, from now on one that the next wipe zeroes.
    fn claim(&mut self, ptr: u32, len: u64) -> Result<Span, Status> {
        let span = self.span(ptr, len)?;
        self.used = self.used.hull(span);
        Ok(span)
    }

    /// The range of `len` bytes at `ptr`. An empty one may point anywhere.
    fn span(&self, ptr: u32, len: u64) -> Result<Span, Status> {
        if len == 0 {
            return Ok(Span { end: self.all.start, ..self.all });
        }
        let start = u64::from(ptr);
        let span = Span { start, end: start + len };
        if !self.all.contains(span) {
            return Err(Status::BadArgument);
        }
        Ok(span)
    }

    /// Where `address`, which must lie in or at the end of `all`, is.
    fn at(&self, address: u64) -> *mut u8 {
        self.base.wrapping_add((address - self.all.start) as usize)
    }
}

/// The records of a checked block, to be signed.
struct ToSign<'b, S> {
    buffers: &'b mut Buffers,
    block: Span,
    stride: u64,
    scheme: PhantomData<S>,
}

impl<S> ToSign<'_, S> {
    fn at(&self, i: usize) -> u64 {
        self.block.start + HEADER_LEN + i as u64 * self.stride
    }

    fn ranges(&self, i: usize) -> Result<Ranges, Status> {
        // It is read again each time: no answer overlaps the block.
        self.buffers.ranges(ExtensionKind::Sign, self.block, &self.buffers.record(self.at(i)), 0)
    }
}

impl<S: Scheme> Records for ToSign<'_, S> {
    fn count(&self) -> usize {
        (self.block.len() as u64 - HEADER_LEN).checked_div(self.stride).unwrap_or(0) as usize
    }

    fn message(&self, i: usize) -> Option<&[u8]> {
        let message = self.ranges(i).ok()?.message;
        // SAFETY: the span is within `all`, and nobody writes there while `self` is borrowed.
        Some(unsafe { core::slice::from_raw_parts(self.buffers.at(message.start), message.len()) })
    }

    fn answer(&mut self, i: usize, sign: impl FnOnce(&[u8], &mut [u8]) -> Result<(), Status>) {
        let result = self.ranges(i).and_then(|ranges| {
            let (message, out, _) = self.buffers.slices(ranges);
            sign_record::<S>(message, out, sign)
        });
        self.buffers.finish(ExtensionKind::Sign, self.at(i), result);
    }
}
