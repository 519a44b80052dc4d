//! Packets -> sample records: each ends with a timestamp or an end packet.

use super::packet::{BadPacket, Packet, address, class, counter};

/// Bits of an events packet. 8 and up are there only in payloads of that size.
pub mod event {
    pub const EXCEPTION: u64 = 1 << 0;
    pub const RETIRED: u64 = 1 << 1;
    pub const L1D_ACCESS: u64 = 1 << 2;
    pub const L1D_REFILL: u64 = 1 << 3;
    pub const TLB_ACCESS: u64 = 1 << 4;
    pub const TLB_WALK: u64 = 1 << 5;
    pub const NOT_TAKEN: u64 = 1 << 6;
    pub const MISPREDICTED: u64 = 1 << 7;
    pub const LLC_ACCESS: u64 = 1 << 8;
    pub const LLC_MISS: u64 = 1 << 9;
    pub const REMOTE_ACCESS: u64 = 1 << 10;
    pub const MISALIGNED: u64 = 1 << 11;
    pub const TRANSACTIONAL: u64 = 1 << 16;
    pub const PARTIAL_PREDICATE: u64 = 1 << 17;
    pub const EMPTY_PREDICATE: u64 = 1 << 18;
    pub const L2D_ACCESS: u64 = 1 << 19;
    pub const L2D_MISS: u64 = 1 << 20;
    pub const MODIFIED: u64 = 1 << 21;
    pub const RECENTLY_FETCHED: u64 = 1 << 22;
    pub const SNOOPED: u64 = 1 << 23;
    pub const STREAMING_SVE: u64 = 1 << 24;
    pub const SMCU: u64 = 1 << 25;
}

/// What one record tells of one operation. A field is `None` where there was no packet for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Record {
    /// Instruction address, with the top byte of kernel addresses filled in.
    pub ip: Option<u64>,
    /// Exception level of the instruction.
    pub el: Option<u8>,
    /// Data address, likewise, without its tag.
    pub addr: Option<u64>,
    pub phys_addr: Option<u64>,
    pub branch_target: Option<u64>,
    pub previous_branch_target: Option<u64>,
    pub events: u64,
    /// Class and payload.
    pub operation: Option<(u8, u64)>,
    pub total_latency: Option<u64>,
    pub issue_latency: Option<u64>,
    pub translation_latency: Option<u64>,
    /// The thread, where the kernel writes it to `CONTEXTIDR`.
    pub context: Option<u64>,
    /// Counts of the generic timer.
    pub timestamp: Option<u64>,
    pub source: Option<u64>,
}

const ADDRESS: u64 = (1 << 56) - 1;
const KERNEL_TOP: u64 = 0xff << 56;

/// `arm_spe_calc_ip`: bits 56 to 62 of an instruction address hold its exception level and security
/// state instead; EL1 and EL2 run at the top of the address space.
fn instruction(payload: u64) -> (u64, u8) {
    let el = (payload >> 61 & 3) as u8;
    let non_secure = payload >> 63 != 0;
    match non_secure && matches!(el, 1 | 2) {
        true => (payload & ADDRESS | KERNEL_TOP, el),
        false => (payload & ADDRESS, el),
    }
}

/// The top byte of a data address is its tag; the kernel's addresses begin with 0xfff.
fn data(payload: u64) -> u64 {
    match payload >> 52 & 0xf {
        0xf => payload & ADDRESS | KERNEL_TOP,
        _ => payload & ADDRESS,
    }
}

impl Record {
    /// Whether the operation is a load, a store or an atomic.
    pub fn is_memory(&self) -> bool {
        matches!(self.operation, Some((class::LOAD_STORE, _)))
    }

    /// Whether the operation writes memory; an atomic that loads, too, is a load to SPE.
    pub fn is_store(&self) -> bool {
        matches!(self.operation, Some((class::LOAD_STORE, payload)) if payload & 1 != 0)
    }

    pub fn has(&self, events: u64) -> bool {
        self.events & events != 0
    }

    /// Takes one packet; `true` when it ended the record.
    fn take(&mut self, packet: Packet) -> bool {
        match packet {
            Packet::Padding => {}
            Packet::End => return true,
            Packet::Timestamp(count) => {
                self.timestamp = Some(count);
                return true;
            }
            Packet::Address { index, payload } => match index {
                address::INSTRUCTION => {
                    let (ip, el) = instruction(payload);
                    (self.ip, self.el) = (Some(ip), Some(el));
                }
                address::BRANCH_TARGET => self.branch_target = Some(instruction(payload).0),
                address::DATA => self.addr = Some(data(payload)),
                address::DATA_PHYSICAL => self.phys_addr = Some(payload & ADDRESS),
                address::PREVIOUS_BRANCH_TARGET => {
                    self.previous_branch_target = Some(instruction(payload).0);
                }
                _ => {}
            },
            Packet::Counter { index, count } => match index {
                counter::TOTAL => self.total_latency = Some(count),
                counter::ISSUE => self.issue_latency = Some(count),
                counter::TRANSLATION => self.translation_latency = Some(count),
                _ => {}
            },
            Packet::Context { id, .. } => self.context = Some(id),
            Packet::Operation { class, payload } => self.operation = Some((class, payload)),
            Packet::Events(events) => self.events |= events,
            Packet::DataSource(source) => self.source = Some(source),
        }
        false
    }
}

/// A stretch of the stream that is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadStretch {
    /// Where the bad packet begins, from the start of the data.
    pub at: usize,
    /// Where reading goes on.
    pub end: usize,
    pub why: BadPacket,
}

/// The records of one stretch of AUX data, in order; what is none is told and stepped over.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    data: &'a [u8],
    at: usize,
    position: u64,
}

/// Bytes of the longest record that a core may write, `PMSIDR_EL1.MaxSize`.
const MOST: usize = 2048;

impl<'a> Records<'a> {
    /// `position` is the offset of `data` in the AUX buffer.
    pub fn new(data: &'a [u8], position: u64) -> Records<'a> {
        Records {
            data,
            at: 0,
            position,
        }
    }

    /// The record at byte `at` and where it ends; `None` when only padding is left. One that has not
    /// ended after `most` bytes is none.
    fn record(
        &self,
        mut at: usize,
        most: usize,
    ) -> Result<Option<(Record, usize)>, (usize, BadPacket)> {
        let mut record = Record::default();
        let mut begun = None;
        while at < self.data.len() {
            let (packet, len) =
                Packet::at(self.data, at, self.position).map_err(|why| (at, why))?;
            if packet != Packet::Padding && at - *begun.get_or_insert(at) > most {
                return Err((at, BadPacket::TooLong));
            }
            at += len;
            if record.take(packet) {
                return Ok(Some((record, at)));
            }
        }
        match begun {
            Some(_) => Err((at, BadPacket::Cut)),
            None => Ok(None),
        }
    }

    /// The next byte from which a whole record can be read that begins with its instruction's address
    /// and says what the operation was. A payload that happens to look like a packet seldom does.
    fn resynchronise(&self, from: usize) -> usize {
        const INSTRUCTION: u8 = 0xb0;
        // One packet of each kind takes less than a hundred.
        const LIKELY: usize = 256;
        let begins = |at: &usize| {
            self.data.get(*at) == Some(&INSTRUCTION)
                && matches!(
                    self.record(*at, LIKELY),
                    Ok(Some((record, _))) if record.operation.is_some()
                )
        };
        (from..self.data.len())
            .find(begins)
            .unwrap_or(self.data.len())
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, BadStretch>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.record(self.at, MOST) {
            Ok(Some((record, end))) => {
                self.at = end;
                Some(Ok(record))
            }
            Ok(None) => {
                self.at = self.data.len();
                None
            }
            Err((at, why)) => {
                self.at = self.resynchronise(at.saturating_add(1));
                Some(Err(BadStretch {
                    at,
                    end: self.at,
                    why,
                }))
            }
        }
    }
}
