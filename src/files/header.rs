//! The byte form of a member's headers: a ustar block, with an extended header before it for what does not fit.
//!
//! Format: POSIX.1-2017, `pax`, "ustar Interchange Format". Numbers are octal; what exceeds its field is in the
//! extended header and the field is 0. Only what [`encode`] writes is read back: other dialects of tar are refused, so
//! that there is one way to read a stream.

use std::ops::Range;

use super::entry::{Device, Kind, Mtime};
use super::head::Head;
use super::pax::{Extended, Records};
use super::raw_path::RawPath;

/// Unit of the stream.
pub(super) const BLOCK: usize = 512;
/// A block of the stream.
pub(super) type Block = [u8; BLOCK];

/// Typeflag of an extended header for the member after it.
pub(super) const EXTENDED: u8 = b'x';
/// Typeflag of an extended header for all members after it.
pub(super) const GLOBAL: u8 = b'g';

const NAME: Range<usize> = 0..100;
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const TYPE: Range<usize> = 156..157;
const LINK: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..265;
const USER: Range<usize> = 265..297;
const GROUP: Range<usize> = 297..329;
const MAJOR: Range<usize> = 329..337;
const MINOR: Range<usize> = 337..345;
const PREFIX: Range<usize> = 345..500;

const USTAR: &[u8] = b"ustar\x0000";

/// Appends the headers of a member to `out`.
pub(super) fn encode(head: &Head, out: &mut Vec<u8>) {
    let mut pax = Records::default();
    let mut block = [0; BLOCK];

    let mut path = head.path.as_bytes().to_vec();
    if head.kind == Kind::Folder {
        path.push(b'/');
    }
    if let Some(size) = head.sparse {
        // A reader that does not know sparse files must not take the map for content: its name says what it is.
        pax.number(b"GNU.sparse.major", 1);
        pax.number(b"GNU.sparse.minor", 0);
        pax.put(b"GNU.sparse.name", &path);
        pax.number(b"GNU.sparse.realsize", size);
        let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        put(&mut block, NAME, &[b"GNUSparseFile.0/", last].concat());
    } else {
        if path.len() > NAME.len() {
            pax.put(b"path", &path);
        }
        put(&mut block, NAME, &path);
    }
    let link = head.link.as_bytes();
    if link.len() > LINK.len() {
        pax.put(b"linkpath", link);
    }
    put(&mut block, LINK, link);

    octal(&mut block, MODE, u64::from(head.mode));
    for (field, key, value) in
        [(UID, &b"uid"[..], u64::from(head.uid)), (GID, b"gid", u64::from(head.gid)), (SIZE, b"size", head.stored)]
    {
        if !octal(&mut block, field, value) {
            pax.number(key, value);
        }
    }
    for (field, key, name) in [(USER, &b"uname"[..], &head.user), (GROUP, b"gname", &head.group)] {
        if name.len() < field.len() {
            put(&mut block, field, name.as_bytes());
        } else {
            pax.put(key, name.as_bytes());
        }
    }
    let fits = u64::try_from(head.mtime.seconds).is_ok_and(|seconds| octal(&mut block, MTIME, seconds));
    if !fits {
        octal(&mut block, MTIME, 0);
    }
    if !fits || head.mtime.nanos != 0 {
        pax.mtime(head.mtime);
    }
    if matches!(head.kind, Kind::CharDevice | Kind::BlockDevice) {
        octal(&mut block, MAJOR, u64::from(head.device.major));
        octal(&mut block, MINOR, u64::from(head.device.minor));
    }
    for xattr in &head.xattrs {
        pax.xattr(xattr);
    }

    if !pax.bytes.is_empty() {
        encode_extended(&pax.bytes, &path, out);
    }
    seal(&mut block, typeflag(head.kind));
    out.extend_from_slice(&block);
}

/// Appends an extended header with its records.
fn encode_extended(records: &[u8], path: &[u8], out: &mut Vec<u8>) {
    let mut block = [0; BLOCK];
    // A name only for readers that take it for a file; POSIX leaves it open.
    let last = path.split(|byte| *byte == b'/').rfind(|name| !name.is_empty()).unwrap_or_default();
    put(&mut block, NAME, &[b"PaxHeaders/", last].concat());
    octal(&mut block, MODE, 0o644);
    octal(&mut block, SIZE, records.len() as u64);
    for field in [UID, GID, MTIME] {
        octal(&mut block, field, 0);
    }
    seal(&mut block, EXTENDED);
    out.extend_from_slice(&block);
    out.extend_from_slice(records);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

fn seal(block: &mut Block, typeflag: u8) {
    put(block, TYPE, &[typeflag]);
    put(block, MAGIC, USTAR);
    let sum = format!("{:06o}\0 ", checksum(block));
    put(block, CHECKSUM, sum.as_bytes());
}

/// The sum of all bytes, those of the checksum itself counted as spaces.
fn checksum(block: &Block) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    sum(block) - sum(field(block, &CHECKSUM)) + 8 * u32::from(b' ')
}

/// Fills a field, cutting what is too long.
fn put(block: &mut Block, field: Range<usize>, value: &[u8]) {
    if let Some(field) = block.get_mut(field) {
        for (slot, byte) in field.iter_mut().zip(value) {
            *slot = *byte;
        }
    }
}

/// Fills a field with digits and a NUL; zeros and `false` where the number is too large for it.
fn octal(block: &mut Block, field: Range<usize>, value: u64) -> bool {
    let digits = field.len() - 1;
    let fits = value < 1 << (3 * digits);
    let mut left = if fits { value } else { 0 };
    if let Some(field) = block.get_mut(field) {
        for slot in field.iter_mut().rev().skip(1) {
            *slot = b'0' + (left & 7) as u8;
            left >>= 3;
        }
    }
    fits
}

/// The fields of a block.
pub(super) struct Fields<'a> {
    block: &'a Block,
}

impl<'a> Fields<'a> {
    /// Checks that this is a header block.
    pub(super) fn check(block: &'a Block) -> Result<Self, String> {
        if field(block, &MAGIC) != USTAR {
            return Err("this is not a POSIX tar header".to_owned());
        }
        let fields = Self { block };
        if fields.number(&CHECKSUM)? != u64::from(checksum(block)) {
            return Err("a header's checksum is wrong".to_owned());
        }
        Ok(fields)
    }

    pub(super) fn typeflag(&self) -> u8 {
        field(self.block, &TYPE).first().copied().unwrap_or_default()
    }

    /// Length of what follows the block.
    pub(super) fn size(&self) -> Result<u64, String> {
        self.number(&SIZE)
    }

    /// The member that this block and the extended header before it describe.
    pub(super) fn head(&self, pax: Extended) -> Result<Head, String> {
        let kind = match self.typeflag() {
            b'0' | 0 => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Folder,
            b'6' => Kind::Fifo,
            other => return Err(format!("members of type {:?} are not known", char::from(other))),
        };
        let sparse = match (pax.sparse_major, pax.sparse_minor, pax.sparse_size) {
            (None, None, None) => None,
            (Some(1), Some(0), Some(size)) if kind == Kind::File && i64::try_from(size).is_ok() => Some(size),
            _ => return Err("this kind of sparse file is not known".to_owned()),
        };
        let mut path = match (sparse.and(pax.sparse_path), pax.path) {
            (Some(path), _) | (None, Some(path)) => path,
            (None, None) => self.path(),
        };
        if kind == Kind::Folder {
            while path.len() > 1 && path.last() == Some(&b'/') {
                path.pop();
            }
        }
        let stored = pax.size.map_or_else(|| self.size(), Ok)?;
        if stored > i64::MAX.unsigned_abs() || (stored > 0 && kind != Kind::File) {
            return Err("a member's size is impossible".to_owned());
        }
        let id = |extended: Option<u64>, range: &Range<usize>| {
            let value = extended.map_or_else(|| self.number(range), Ok)?;
            // The highest number means "leave as it is" to the system.
            u32::try_from(value).ok().filter(|id| *id != u32::MAX).ok_or_else(|| "an owner is impossible".to_owned())
        };
        let name = |extended: Option<Vec<u8>>, range: &Range<usize>| {
            let bytes = extended.unwrap_or_else(|| self.text(range).to_vec());
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let mtime = match pax.mtime {
            Some(mtime) => mtime,
            None => Mtime { seconds: i64::try_from(self.number(&MTIME)?).unwrap_or(0), nanos: 0 },
        };
        let is_link = matches!(kind, Kind::HardLink | Kind::Symlink);
        let link = if is_link { pax.link.unwrap_or_else(|| self.text(&LINK).to_vec()) } else { Vec::new() };
        let device = match kind {
            Kind::CharDevice | Kind::BlockDevice => Device { major: self.small(&MAJOR)?, minor: self.small(&MINOR)? },
            _ => Device::default(),
        };
        Ok(Head {
            path: RawPath::new(path),
            kind,
            link: RawPath::new(link),
            stored,
            sparse,
            mode: self.small(&MODE)? & 0o7777,
            uid: id(pax.uid, &UID)?,
            gid: id(pax.gid, &GID)?,
            user: name(pax.user, &USER),
            group: name(pax.group, &GROUP),
            mtime,
            device,
            xattrs: pax.xattrs,
        })
    }

    fn path(&self) -> Vec<u8> {
        match self.text(&PREFIX) {
            [] => self.text(&NAME).to_vec(),
            prefix => [prefix, b"/", self.text(&NAME)].concat(),
        }
    }

    fn text(&self, range: &Range<usize>) -> &'a [u8] {
        field(self.block, range).split(|byte| *byte == 0).next().unwrap_or_default()
    }

    fn number(&self, range: &Range<usize>) -> Result<u64, String> {
        let digits = field(self.block, range).trim_ascii_start();
        let end = digits.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(digits.len());
        let mut value = 0_u64;
        for digit in digits.iter().take(end) {
            if !matches!(digit, b'0'..=b'7') {
                return Err("a header's number is not octal".to_owned());
            }
            // Twelve octal digits at most: no overflow.
            value = value << 3 | u64::from(digit - b'0');
        }
        Ok(value)
    }

    fn small(&self, range: &Range<usize>) -> Result<u32, String> {
        u32::try_from(self.number(range)?).map_err(|_| "a header's number is too large".to_owned())
    }
}

fn field<'a>(block: &'a Block, range: &Range<usize>) -> &'a [u8] {
    block.get(range.clone()).unwrap_or_default()
}

fn typeflag(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::CharDevice => b'3',
        Kind::BlockDevice => b'4',
        Kind::Folder => b'5',
        Kind::Fifo => b'6',
    }
}
