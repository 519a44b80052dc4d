//! One packet of the SPE stream: a header, then a payload whose size the header tells.
//!
//! ```text
//! 0000 0000            padding                      01ss 0010  events
//! 0000 0001            end of a record              01ss 0011  data source
//! 0111 0001            timestamp, which ends one    0110 01ee  context of EL ee + 1
//! 0010 00ii 0000 0000  alignment                    0100 10cc  operation of class cc
//! [0010 00ii] 1011 0iii  address of index ii iii    ss: payload of 1, 2, 4 or 8 bytes
//! [0010 00ii] 1001 1iii  counter of index ii iii
//! ```
//!
//! Arm Architecture Reference Manual (DDI 0487), "Statistical Profiling Extension Sample Record
//! Specification"; `tools/perf/util/arm-spe-decoder/arm-spe-pkt-decoder.c`.

/// One packet, its payload as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet {
    Padding,
    End,
    Timestamp(u64),
    Address {
        index: u8,
        payload: u64,
    },
    Counter {
        index: u8,
        count: u64,
    },
    /// `CONTEXTIDR_ELx` of exception level `el`.
    Context {
        el: u8,
        id: u64,
    },
    Operation {
        class: u8,
        payload: u64,
    },
    Events(u64),
    DataSource(u64),
}

/// Indexes of address packets.
pub mod address {
    pub const INSTRUCTION: u8 = 0;
    pub const BRANCH_TARGET: u8 = 1;
    pub const DATA: u8 = 2;
    pub const DATA_PHYSICAL: u8 = 3;
    pub const PREVIOUS_BRANCH_TARGET: u8 = 4;
}

/// Indexes of counter packets, in cycles.
pub mod counter {
    /// From the start of sampling to completion.
    pub const TOTAL: u8 = 0;
    /// From the start of sampling to issue.
    pub const ISSUE: u8 = 1;
    /// The address translation alone.
    pub const TRANSLATION: u8 = 2;
}

/// Classes of operation packets.
pub mod class {
    pub const OTHER: u8 = 0;
    pub const LOAD_STORE: u8 = 1;
    pub const BRANCH: u8 = 2;
}

/// Why there is no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPacket {
    /// No packet has this header.
    Header(u8),
    /// Its payload, or the record that it is of, goes past the end of the data.
    Cut,
    /// It is of a record longer than any can be.
    TooLong,
}

impl Packet {
    /// The packet at byte `at` of `data`, and the bytes it takes: one at least. `position` is the
    /// offset of `data` in the buffer that the hardware wrote, which alignment packets go by.
    pub fn at(data: &[u8], at: usize, position: u64) -> Result<(Packet, usize), BadPacket> {
        let data = data.get(at..).unwrap_or(&[]);
        let header = *data.first().ok_or(BadPacket::Cut)?;
        let payload = |headers: usize| payload(data, headers);
        let whole = |packet, headers: usize| Ok((packet, headers + payload_len(data, headers)));
        match header {
            0x00 => Ok((Packet::Padding, 1)),
            0x01 => Ok((Packet::End, 1)),
            0x71 => whole(Packet::Timestamp(payload(1)?), 1),
            0x42 | 0x52 | 0x62 | 0x72 => whole(Packet::Events(payload(1)?), 1),
            0x43 | 0x53 | 0x63 | 0x73 => whole(Packet::DataSource(payload(1)?), 1),
            0x64..=0x67 => {
                let el = (header & 3) + 1;
                whole(
                    Packet::Context {
                        el,
                        id: payload(1)?,
                    },
                    1,
                )
            }
            0x48..=0x4b => {
                let class = header & 3;
                let payload = payload(1)?;
                whole(Packet::Operation { class, payload }, 1)
            }
            0x20..=0x23 => match *data.get(1).ok_or(BadPacket::Cut)? {
                0x00 => alignment(header, data.len(), position.wrapping_add(at as u64)),
                second => match indexed(second, (header & 3) << 3, payload(2)) {
                    Some(packet) => whole(packet?, 2),
                    None => Err(BadPacket::Header(second)),
                },
            },
            _ => match indexed(header, 0, payload(1)) {
                Some(packet) => whole(packet?, 1),
                None => Err(BadPacket::Header(header)),
            },
        }
    }
}

/// Bytes of payload that the last of `headers` header bytes announces.
fn payload_len(data: &[u8], headers: usize) -> usize {
    let header = headers.checked_sub(1).and_then(|last| data.get(last));
    1 << (header.copied().unwrap_or(0) >> 4 & 3)
}

/// The little-endian payload after `headers` header bytes.
fn payload(data: &[u8], headers: usize) -> Result<u64, BadPacket> {
    let bytes = data.get(headers..headers + payload_len(data, headers));
    let bytes = bytes.ok_or(BadPacket::Cut)?;
    let word = |word, &byte| word << 8 | u64::from(byte);
    Ok(bytes.iter().rev().fold(0, word))
}

/// An address or a counter; `None` when the header is of neither.
fn indexed(
    header: u8,
    high: u8,
    payload: Result<u64, BadPacket>,
) -> Option<Result<Packet, BadPacket>> {
    let index = high | (header & 7);
    match header & 0xf8 {
        0xb0 => Some(payload.map(|payload| Packet::Address { index, payload })),
        0x98 => Some(payload.map(|count| Packet::Counter { index, count })),
        _ => None,
    }
}

/// Padding up to the next multiple of 2 to 2^16 bytes.
fn alignment(header: u8, left: usize, position: u64) -> Result<(Packet, usize), BadPacket> {
    let to = 1u64 << ((header & 0xf) + 1);
    let skip = (to - (position & (to - 1))).max(2);
    match usize::try_from(skip) {
        Ok(skip) if skip <= left => Ok((Packet::Padding, skip)),
        _ => Err(BadPacket::Cut),
    }
}
