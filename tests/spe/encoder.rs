//! Writes SPE packets by the architecture's encoding, and says in perf's words what one is.

#![allow(dead_code)]

use mempath::pmu::arm_spe::packet::Packet;

/// A stream in the making.
#[derive(Debug, Clone, Default)]
pub struct Stream(pub Vec<u8>);

impl Stream {
    fn put(mut self, header: &[u8], payload: u64, len: usize) -> Stream {
        self.0.extend_from_slice(header);
        self.0.extend_from_slice(&payload.to_le_bytes()[..len]);
        self
    }

    pub fn pad(mut self, count: usize) -> Stream {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    /// Padding up to a multiple of `to` bytes.
    pub fn pad_to(self, to: usize) -> Stream {
        let count = self.0.len().next_multiple_of(to) - self.0.len();
        self.pad(count)
    }

    pub fn end(self) -> Stream {
        self.put(&[0x01], 0, 0)
    }

    pub fn timestamp(self, count: u64) -> Stream {
        self.put(&[0x71], count, 8)
    }

    /// An instruction of EL `el` in the non-secure state.
    pub fn pc(self, address: u64, el: u64) -> Stream {
        self.put(&[0xb0], address & !(0xff << 56) | 1 << 63 | el << 61, 8)
    }

    /// Any address packet, the index in a header of two bytes where it needs one.
    pub fn address(self, index: u8, payload: u64) -> Stream {
        match index {
            0..=7 => self.put(&[0xb0 | index], payload, 8),
            _ => self.put(&[0x20 | index >> 3, 0xb0 | index & 7], payload, 8),
        }
    }

    pub fn va(self, address: u64) -> Stream {
        self.address(2, address)
    }

    pub fn pa(self, address: u64) -> Stream {
        self.address(3, address | 1 << 63)
    }

    pub fn counter(self, index: u8, count: u16) -> Stream {
        match index {
            0..=7 => self.put(&[0x98 | index], count.into(), 2),
            _ => self.put(&[0x20 | index >> 3, 0x98 | index & 7], count.into(), 2),
        }
    }

    pub fn context(self, el: u8, id: u32) -> Stream {
        self.put(&[0x64 | (el - 1)], id.into(), 4)
    }

    pub fn operation(self, class: u8, payload: u8) -> Stream {
        self.put(&[0x48 | class], payload.into(), 1)
    }

    pub fn load(self) -> Stream {
        self.operation(1, 0)
    }

    pub fn store(self) -> Stream {
        self.operation(1, 1)
    }

    /// In as few bytes as the bits need.
    pub fn events(self, bits: u64) -> Stream {
        let size = match bits {
            0..=0xff => 0,
            0x100..=0xffff => 1,
            0x1_0000..=0xffff_ffff => 2,
            _ => 3,
        };
        self.put(&[0x42 | size << 4], bits, 1 << size)
    }

    pub fn source(self, code: u8) -> Stream {
        self.put(&[0x43], code.into(), 1)
    }

    pub fn wide_source(self, code: u16) -> Stream {
        self.put(&[0x53], code.into(), 2)
    }
}

const EVENTS: [(u32, &str); 14] = [
    (0, "EXCEPTION-GEN"),
    (1, "RETIRED"),
    (2, "L1D-ACCESS"),
    (3, "L1D-REFILL"),
    (4, "TLB-ACCESS"),
    (5, "TLB-REFILL"),
    (6, "NOT-TAKEN"),
    (7, "MISPRED"),
    (8, "LLC-ACCESS"),
    (9, "LLC-REFILL"),
    (10, "REMOTE-ACCESS"),
    (11, "ALIGNMENT"),
    (17, "SVE-PARTIAL-PRED"),
    (18, "SVE-EMPTY-PRED"),
];

/// As perf 6.1 prints it with `-D`.
pub fn describe(packet: Packet) -> String {
    match packet {
        Packet::Padding => "PAD".to_owned(),
        Packet::End => "END".to_owned(),
        Packet::Timestamp(count) => format!("TS {count}"),
        Packet::DataSource(source) => format!("DATA-SOURCE {source}"),
        Packet::Context { el, id } => format!("CONTEXT {id:#x} el{el}"),
        Packet::Counter { index, count } => {
            let name = ["TOT", "ISSUE", "XLAT"].get(usize::from(index));
            format!("LAT {count} {}", name.unwrap_or(&""))
                .trim_end()
                .to_owned()
        }
        Packet::Address { index, payload } => address(index, payload),
        Packet::Operation { class, payload } => operation(class, payload),
        Packet::Events(bits) => {
            let names = EVENTS.iter().filter(|(bit, _)| bits >> bit & 1 != 0);
            let names: Vec<&str> = names.map(|&(_, name)| name).collect();
            format!("EV {}", names.join(" ")).trim_end().to_owned()
        }
    }
}

fn address(index: u8, payload: u64) -> String {
    let (ns, el) = (payload >> 63, payload >> 61 & 3);
    let low = payload & ((1 << 56) - 1);
    match index {
        0 => format!("PC {low:#x} el{el} ns={ns}"),
        1 => format!("TGT {low:#x} el{el} ns={ns}"),
        2 => format!("VA {payload:#x}"),
        3 => {
            let (ch, pat) = (payload >> 62 & 1, payload >> 56 & 0xf);
            format!("PA {low:#x} ns={ns} ch={ch} pat={pat:x}")
        }
        4 => format!("PBT {low:#x} el{el} ns={ns}"),
        index => format!("ADDR {payload:#x} ({index})"),
    }
}

fn operation(class: u8, payload: u64) -> String {
    let has = |bit: u32| payload >> bit & 1 != 0;
    let mut words: Vec<&str> = Vec::new();
    match class {
        0 => words.extend(["OTHER", if has(0) { "COND-SELECT" } else { "INSN-OTHER" }]),
        1 => {
            words.push(if has(0) { "ST" } else { "LD" });
            match payload & 0xfe {
                0x00 => words.push("GP-REG"),
                0x04 => words.push("SIMD-FP"),
                0x10 => words.push("UNSPEC-REG"),
                0x30 => words.push("NV-SYSREG"),
                atomic if atomic & 0xe2 == 2 => {
                    let named = [(2, "AT"), (3, "EXCL"), (4, "AR")];
                    words.extend(
                        named
                            .iter()
                            .filter(|(bit, _)| has(*bit))
                            .map(|(_, name)| name),
                    );
                }
                _ => {}
            }
        }
        2 => {
            words.push("B");
            words.extend(has(0).then_some("COND"));
            words.extend((payload & 0xfe == 2).then_some("IND"));
        }
        _ => return format!("OP-TYPE {payload:#x} ({class})"),
    }
    words.join(" ")
}
