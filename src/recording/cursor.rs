//! Reading numbers out of bytes from outside: every read is checked, none panics.

/// The byte order of the recording machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ByteOrder {
    #[default]
    Little,
    Big,
}

impl ByteOrder {
    /// The `u64` at byte `at`; `None` past the end.
    #[inline(always)]
    pub fn u64_at(self, data: &[u8], at: usize) -> Option<u64> {
        let bytes: [u8; 8] = data.get(at..at.checked_add(8)?)?.try_into().ok()?;
        Some(match self {
            ByteOrder::Little => u64::from_le_bytes(bytes),
            ByteOrder::Big => u64::from_be_bytes(bytes),
        })
    }

    /// Of two `u32`s that were read as one `u64`, the first in the high half.
    #[inline(always)]
    pub fn first_half_high(self, halves: u64) -> u64 {
        match self {
            ByteOrder::Little => halves.rotate_left(32),
            ByteOrder::Big => halves,
        }
    }

    /// The `u32` at byte `at`; `None` past the end.
    #[inline(always)]
    pub fn u32_at(self, data: &[u8], at: usize) -> Option<u32> {
        let bytes: [u8; 4] = data.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(match self {
            ByteOrder::Little => u32::from_le_bytes(bytes),
            ByteOrder::Big => u32::from_be_bytes(bytes),
        })
    }

    /// The `u16` at byte `at`; `None` past the end.
    #[inline(always)]
    pub fn u16_at(self, data: &[u8], at: usize) -> Option<u16> {
        let bytes: [u8; 2] = data.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(match self {
            ByteOrder::Little => u16::from_le_bytes(bytes),
            ByteOrder::Big => u16::from_be_bytes(bytes),
        })
    }
}

/// A place in a byte slice that moves on as it reads.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    data: &'a [u8],
    at: usize,
    order: ByteOrder,
}

impl<'a> Cursor<'a> {
    pub fn new(data: &'a [u8], order: ByteOrder) -> Self {
        Cursor { data, at: 0, order }
    }

    pub fn u64(&mut self) -> Option<u64> {
        let value = self.order.u64_at(self.data, self.at)?;
        self.at += 8;
        Some(value)
    }

    pub fn u32(&mut self) -> Option<u32> {
        let value = self.order.u32_at(self.data, self.at)?;
        self.at += 4;
        Some(value)
    }

    pub fn i32(&mut self) -> Option<i32> {
        self.u32().map(|value| value as i32)
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: u64) -> Option<&'a [u8]> {
        let end = self.at.checked_add(usize::try_from(len).ok()?)?;
        let bytes = self.data.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    /// The next `count` `u64`s, not read yet.
    pub fn words(&mut self, count: u64) -> Option<Words<'a>> {
        let bytes = self.bytes(count.checked_mul(8)?)?;
        Some(Words {
            bytes,
            order: self.order,
        })
    }

    pub fn rest(&self) -> &'a [u8] {
        self.data.get(self.at..).unwrap_or(&[])
    }
}

/// A run of `u64`s in the file's byte order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Words<'a> {
    bytes: &'a [u8],
    order: ByteOrder,
}

impl<'a> Words<'a> {
    pub fn len(&self) -> usize {
        self.bytes.len() / 8
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn get(&self, i: usize) -> Option<u64> {
        self.order.u64_at(self.bytes, i.checked_mul(8)?)
    }

    pub fn iter(self) -> impl Iterator<Item = u64> + 'a {
        (0..self.len()).filter_map(move |i| self.get(i))
    }
}

/// The bytes before the first NUL as text; what is not UTF-8 is replaced.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or(bytes)).into_owned()
}
