//! What one arm64 instruction does to the abstract state, and which memory it touches.
//!
//! Fields of encodings: Arm Architecture Reference Manual, C4 (A64 instruction set encoding).

use super::instruction::{Control, Form};
use super::machine::{Machine, Operand};
use super::state::{ARM64, State};
use super::value::{Area, Areas, Expr, Value, What};
use crate::gomap::Structure;
use disarm64::{InsnDisplay, InsnOpcode, Opcode, decoder};
use disarm64_defn::{InsnClass as Class, InsnOperandKind as Kind};

/// Number 31 is the zero register in most operands, the stack pointer in addresses.
const ZR: usize = 31;
const SP: usize = 31;
/// R27 is the assembler's own; a nil check loads into it (`LoweredNilCheck`, `cmd/compile/internal/arm64/ssa.go`).
const REGTMP: usize = 27;

#[derive(Debug, Clone, Copy)]
pub struct Arm64 {
    pub ip: u64,
    /// `None`: no instruction.
    opcode: Option<Opcode>,
}

/// The memory access of an instruction.
#[derive(Debug, Clone, Copy)]
struct Access {
    base: usize,
    index: Option<(usize, u32)>,
    displacement: i64,
    /// Bytes, of both registers of a pair.
    size: u32,
    read: bool,
    write: bool,
    /// First and second register moved; `None` for vectors.
    moved: Option<usize>,
    second: Option<usize>,
    signed: bool,
    /// What the base register gets added.
    writeback: i64,
    /// Atomic: what other registers it writes is not followed.
    atomic: bool,
}

impl Arm64 {
    pub fn decode(bytes: &[u8], start: u64) -> impl Iterator<Item = Arm64> {
        bytes.chunks_exact(4).enumerate().map(move |(i, word)| {
            let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            Arm64 {
                ip: start.wrapping_add(4 * i as u64),
                opcode: decoder::decode(word),
            }
        })
    }

    /// Empty for what is no load or store: disarm64 0.2 panics on some encodings of others
    /// (`format_insn/mod.rs`, the width of a bit field).
    pub fn text(&self) -> String {
        match &self.opcode {
            Some(opcode) if self.access().is_some() => opcode.display_at(self.ip).to_string(),
            _ => String::new(),
        }
    }

    pub fn control(&self) -> Control {
        let Some(opcode) = &self.opcode else {
            return Control::Stop;
        };
        let bits = opcode.bits();
        let to = |offset: i64| Some(self.ip.wrapping_add((4 * offset) as u64));
        match (opcode.definition().class, opcode.definition().mnemonic) {
            (Class::BRANCH_IMM, "bl") => Control::Call(to(signed(bits, 0, 26))),
            (Class::BRANCH_IMM, _) => Control::Jump(to(signed(bits, 0, 26))),
            (Class::BRANCH_REG, "blr") => Control::Call(None),
            (Class::BRANCH_REG, "ret") => Control::Return,
            (Class::BRANCH_REG, _) => Control::Jump(None),
            (Class::CONDBRANCH, _) => Control::Branch {
                target: to(signed(bits, 5, 19)),
                // A length is never negative: eq and le, ne and gt say the same.
                zero: match bits & 0xf {
                    0 | 0xd => Some(true),
                    1 | 0xc => Some(false),
                    _ => None,
                },
                tested: None,
            },
            (Class::COMPBRANCH, mnemonic) => Control::Branch {
                target: to(signed(bits, 5, 19)),
                zero: Some(mnemonic == "cbz"),
                tested: Some(field(bits, 0, 5)).filter(|r| *r != ZR),
            },
            (Class::TESTBRANCH, _) => Control::Branch {
                target: to(signed(bits, 5, 14)),
                zero: None,
                tested: None,
            },
            (Class::EXCEPTION, _) => Control::Stop,
            _ => Control::Next,
        }
    }

    pub fn form(&self) -> Option<Form> {
        let access = self.access()?;
        let writes = |r: Option<usize>| r.filter(|r| *r != ZR).map_or(0, |r| 1u64 << r);
        let loaded = access.read || access.atomic;
        let mut written = 0;
        if loaded {
            written |= writes(access.moved) | writes(access.second);
        }
        if access.writeback != 0 {
            written |= 1 << access.base;
        }
        Some(Form {
            base: Some(*ARM64.perf.get(access.base)?),
            index: access.index.map(|(r, _)| r as u32),
            scale: access.index.map_or(1, |(_, shift)| 1 << shift),
            displacement: access.displacement as u64,
            written,
        })
    }

    pub fn moved(&self) -> Option<(u32, u32)> {
        let access = self.access()?;
        let plain = !access.signed && !access.atomic && access.second.is_none();
        let register = access.moved.filter(|r| plain && *r != ZR)?;
        Some((register as u32, access.size))
    }

    /// The memory that the instruction touches; `None` for prefetches and where the index is
    /// extended from 32 bits with its sign.
    fn access(&self) -> Option<Access> {
        let opcode = self.opcode.as_ref()?;
        let bits = opcode.bits();
        let class = opcode.definition().class;
        let vector = bits >> 26 & 1 == 1;
        let base = field(bits, 5, 5);
        let rt = field(bits, 0, 5);
        let size = field(bits, 30, 2) as u32;
        let mut access = Access {
            base,
            index: None,
            displacement: 0,
            size: 1 << size,
            read: false,
            write: false,
            moved: (!vector).then_some(rt),
            second: None,
            signed: false,
            writeback: 0,
            atomic: false,
        };
        let one = matches!(
            class,
            Class::LDST_POS
                | Class::LDST_UNSCALED
                | Class::LDST_IMM9
                | Class::LDST_UNPRIV
                | Class::LDST_REGOFF
        );
        let mut scale = size;
        if one {
            let opc = field(bits, 22, 2);
            if vector {
                access.read = opc & 1 == 1;
                if opc & 2 != 0 {
                    scale = 4;
                    access.size = 16;
                }
            } else {
                if size == 3 && opc == 2 {
                    return None;
                }
                access.read = opc != 0;
                access.signed = opc >= 2;
            }
            access.write = !access.read;
        }
        match class {
            Class::LDST_POS => access.displacement = (field(bits, 10, 12) as i64) << scale,
            Class::LDST_UNSCALED | Class::LDST_UNPRIV => {
                access.displacement = signed(bits, 12, 9);
            }
            Class::LDST_IMM9 => {
                access.writeback = signed(bits, 12, 9);
                let before = field(bits, 10, 2) == 3;
                access.displacement = if before { access.writeback } else { 0 };
            }
            Class::LDST_REGOFF => {
                let shift = if bits >> 12 & 1 == 1 { scale } else { 0 };
                if field(bits, 13, 3) & 3 != 3 {
                    return None;
                }
                access.index = Some((field(bits, 16, 5), shift)).filter(|(r, _)| *r != ZR);
            }
            Class::LDSTPAIR_OFF | Class::LDSTPAIR_INDEXED | Class::LDSTNAPAIR_OFFS => {
                scale = if vector { 2 + size } else { 2 + (size >> 1) };
                access.size = 2 << scale;
                access.read = bits >> 22 & 1 == 1;
                access.write = !access.read;
                access.second = (!vector).then_some(field(bits, 10, 5));
                access.signed = size == 1 && !vector;
                let offset = signed(bits, 15, 7) << scale;
                let mode = field(bits, 23, 2);
                if mode & 1 == 1 {
                    access.writeback = offset;
                }
                access.displacement = if mode == 1 { 0 } else { offset };
            }
            Class::LDSTEXCL => {
                access.read = bits >> 22 & 1 == 1;
                access.write = !access.read;
                access.second = Some(field(bits, 16, 5));
                access.atomic = true;
            }
            Class::LSE_ATOMIC => {
                (access.read, access.write) = (true, true);
                access.second = Some(field(bits, 16, 5));
                access.atomic = true;
            }
            Class::ASISDLSE | Class::ASISDLSEP => {
                access.size = 16;
                access.read = bits >> 22 & 1 == 1;
                access.write = !access.read;
                if class == Class::ASISDLSEP {
                    access.writeback = 16;
                }
            }
            _ if one => {}
            _ => return None,
        }
        Some(access)
    }
}

/// The number that a register holds, where it is known.
fn constant(state: &State, register: usize) -> Option<u64> {
    if register == ZR {
        return Some(0);
    }
    let value = &state.regs[register];
    let known = value
        .expr
        .as_constant()
        .filter(|_| value.what == What::Number);
    known.map(|c| c as u64)
}

fn field(bits: u32, low: u32, width: u32) -> usize {
    (bits >> low & ((1 << width) - 1)) as usize
}

fn signed(bits: u32, low: u32, width: u32) -> i64 {
    let value = field(bits, low, width) as i64;
    value << (64 - width) >> (64 - width)
}

/// The value of a bitmask immediate (`DecodeBitMasks`), for 64-bit operations.
fn bitmask(bits: u32) -> Option<u64> {
    let (n, immr, imms) = (bits >> 22 & 1, bits >> 16 & 0x3f, bits >> 10 & 0x3f);
    let len = 31u32.checked_sub((n << 6 | (!imms & 0x3f)).leading_zeros())?;
    let size = 1u32.checked_shl(len).filter(|size| *size >= 2)?;
    let (s, r) = (imms & (size - 1), immr & (size - 1));
    if s == size - 1 {
        return None;
    }
    let ones = (1u64 << (s + 1)) - 1;
    let mask = if size == 64 {
        u64::MAX
    } else {
        (1 << size) - 1
    };
    let rotated = if r == 0 {
        ones
    } else {
        (ones >> r | ones << (size - r)) & mask
    };
    Some((0..64 / size).fold(0, |all, i| all | rotated << (i * size)))
}

impl Machine<'_> {
    fn arm64_address(&self, state: &State, access: &Access) -> Value {
        let mut value = state.regs[access.base].add(&Value::constant(access.displacement));
        if let Some((index, shift)) = access.index {
            let index = state.regs[index];
            value = match index.what {
                What::Number | What::DirLen | What::Unknown | What::Loaded => {
                    let scaled = Value {
                        expr: index.number_expr().scale(1 << shift),
                        ..Value::ANY_NUMBER
                    };
                    value.add(&scaled).indexed_by(1 << shift)
                }
                _ if shift == 0 => value.add(&index),
                _ => Value::UNKNOWN,
            };
        }
        value
    }

    pub(super) fn arm64_operands(&mut self, state: &State, instruction: &Arm64) -> Vec<Operand> {
        let Some(access) = instruction.access() else {
            return Vec::new();
        };
        let start = &state.regs[access.base];
        let indexed = access.index.is_some()
            && matches!(start.what, What::At(_))
            && start.area == Area::Start;
        vec![Operand {
            value: self.arm64_address(state, &access),
            size: access.size,
            read: access.read,
            write: access.write,
            nil_check: access.read && access.size == 1 && access.moved == Some(REGTMP),
            stored: access
                .moved
                .filter(|_| access.write && !access.read && access.second.is_none())
                .and_then(|r| constant(state, r)),
            base: access
                .index
                .is_none()
                .then_some((*start, access.displacement)),
            unindexed: start.expr.as_constant().filter(|_| indexed),
        }]
    }

    pub(super) fn arm64_step(&mut self, state: &mut State, instruction: &Arm64, origin: u32) {
        let Some(opcode) = &instruction.opcode else {
            return;
        };
        if let Some(access) = instruction.access() {
            self.arm64_access(state, &access, origin);
            return;
        }
        let bits = opcode.bits();
        let wide = bits >> 31 == 1;
        let (d, n, m) = (field(bits, 0, 5), field(bits, 5, 5), field(bits, 16, 5));
        let x = |r: usize| {
            if r == ZR {
                Value::constant(0)
            } else {
                state.regs[r]
            }
        };
        let class = opcode.definition().class;
        let mnemonic = opcode.definition().mnemonic;
        let sets_flags = matches!(mnemonic, "adds" | "subs" | "ands" | "bics");
        let compared = match (mnemonic, class) {
            ("subs", Class::ADDSUB_IMM) => {
                field(bits, 10, 12) == 0 && state.regs[n].what == What::DirLen
            }
            ("ands", Class::LOG_SHIFT) => n == m && x(n).what == What::DirLen,
            _ => false,
        };
        let sum = |a: Value, b: Value| match mnemonic {
            "add" | "adds" => a.add(&b),
            _ if b.what == What::Number => a.add(&Value::number(Expr {
                stride: b.expr.stride,
                ..b.expr.scale(-1)
            })),
            _ => Value::ANY_NUMBER,
        };
        let mut to_sp = false;
        let value = match class {
            Class::ADDSUB_IMM => {
                let shift = 12 * (bits >> 22 & 1);
                let immediate = Value::constant((field(bits, 10, 12) as i64) << shift);
                to_sp = !sets_flags;
                sum(state.regs[n], immediate)
            }
            Class::ADDSUB_SHIFT => {
                let amount = field(bits, 10, 6);
                match (field(bits, 22, 2), amount) {
                    (0, 0) => sum(x(n), x(m)),
                    (0, _) => sum(x(n), shifted(x(m), amount)),
                    _ => sum(x(n), Value::ANY_NUMBER),
                }
            }
            Class::ADDSUB_EXT => {
                let amount = field(bits, 10, 3);
                to_sp = !sets_flags;
                match field(bits, 13, 3) {
                    3 | 7 if amount == 0 => sum(state.regs[n], x(m)),
                    3 | 7 => sum(state.regs[n], shifted(x(m), amount)),
                    _ => sum(state.regs[n], shifted(narrowed(x(m)), amount)),
                }
            }
            Class::LOG_SHIFT => {
                let plain = field(bits, 22, 2) == 0 && field(bits, 10, 6) == 0;
                match mnemonic {
                    "orr" if plain && n == ZR => x(m),
                    "eor" if plain && n == m => Value::constant(0),
                    _ => Value::ANY_NUMBER,
                }
            }
            Class::LOG_IMM => match (mnemonic, bitmask(bits)) {
                ("orr", Some(mask)) if n == ZR => Value::constant(mask as i64),
                ("and" | "ands", Some(mask)) if mask != 0 => Value::number(Expr {
                    stride: 1 << mask.trailing_zeros().min(16),
                    ..Expr::constant(0)
                }),
                _ => Value::ANY_NUMBER,
            },
            Class::MOVEWIDE => {
                let shift = 16 * field(bits, 21, 2);
                let part = (field(bits, 5, 16) as u64) << shift;
                match (mnemonic, x(d).expr.as_constant()) {
                    ("movz", _) => Value::constant(part as i64),
                    ("movn", _) => Value::constant(!part as i64),
                    (_, Some(old)) if x(d).what == What::Number => {
                        Value::constant((old as u64 & !(0xffff << shift) | part) as i64)
                    }
                    _ => Value::ANY_NUMBER,
                }
            }
            Class::PCRELADDR => {
                let offset = signed(bits, 5, 19) << 2 | field(bits, 29, 2) as i64;
                let address = match mnemonic {
                    "adrp" => (instruction.ip & !0xfff).wrapping_add((offset << 12) as u64),
                    _ => instruction.ip.wrapping_add(offset as u64),
                };
                Value::constant(address as i64)
            }
            Class::BITFIELD => bitfield(mnemonic, bits, x(n)),
            Class::DP_3SRC if mnemonic == "madd" => {
                let product = x(n).number_expr().mul(&x(m).number_expr());
                x(field(bits, 10, 5)).add(&Value::number(product))
            }
            Class::CONDSEL if mnemonic == "csel" => x(n).join(&x(m), || origin, &Areas::default()),
            _ => Value::ANY_NUMBER,
        };
        let value = match value.what {
            _ if wide => value,
            What::Number | What::DirLen => value,
            _ => Value::ANY_NUMBER,
        };
        if sets_flags
            || matches!(
                class,
                Class::CONDCMP_IMM | Class::CONDCMP_REG | Class::FLOATCMP
            )
        {
            state.compared_dir_len = compared;
        }
        let new_object = matches!(value.what, What::At(Structure::Bucket | Structure::Group))
            && value.what != x(n).what
            && value.what != x(m).what;
        let value = if new_object {
            Value { origin, ..value }
        } else {
            value
        };
        if !writes_general(opcode) {
            return;
        }
        if d != ZR {
            self.set_reg(state, d, value, origin);
        } else if to_sp {
            state.regs[SP] = value;
        }
    }

    fn arm64_access(&mut self, state: &mut State, access: &Access, origin: u32) {
        let address = self.arm64_address(state, access);
        let each = if access.second.is_some() && !access.atomic {
            access.size / 2
        } else {
            access.size
        };
        let behind = address.add(&Value::constant(i64::from(each)));
        let base = state.regs[access.base].add(&Value::constant(access.writeback));
        let register = |state: &State, r: usize| {
            if r == ZR {
                Value::constant(0)
            } else {
                state.regs[r]
            }
        };
        if access.write && !access.read && !access.atomic {
            let first = access.moved.map(|r| register(state, r));
            let second = access.second.map(|r| register(state, r));
            if access.second.is_some() {
                self.store(state, &address, each, first);
                self.store(state, &behind, each, second);
            } else {
                self.store(state, &address, each, first);
            }
        } else if access.write {
            self.store(state, &address, access.size.max(8), None);
        }
        let loads = access.read || access.atomic;
        let loaded = |machine: &Self, state: &State, at: &Value, origin| {
            if access.atomic || access.signed {
                Value::ANY_NUMBER
            } else {
                machine.load(state, at, each, origin)
            }
        };
        let first = loaded(self, state, &address, origin);
        // One origin cannot stand for two objects.
        let second = match loaded(self, state, &behind, 0) {
            Value {
                what: What::Loaded, ..
            } => Value::UNKNOWN,
            value => value,
        };
        if access.writeback != 0 {
            state.regs[access.base] = base;
        }
        if !loads {
            return;
        }
        if let Some(r) = access.moved.filter(|r| *r != ZR) {
            self.set_reg(state, r, first, origin);
        }
        if let Some(r) = access.second.filter(|r| *r != ZR) {
            state.regs[r] = second;
        }
    }
}

/// Whether the destination, bits 0 to 4, is a general register and not a vector.
fn writes_general(opcode: &Opcode) -> bool {
    let destination = opcode.definition().operands.first().map(|o| o.kind);
    matches!(destination, Some(Kind::Rd | Kind::Rd_SP | Kind::Rt))
}

fn shifted(value: Value, amount: usize) -> Value {
    match value.what {
        What::Number | What::Unknown if amount <= 32 => {
            Value::number(value.number_expr().scale(1 << amount))
        }
        _ => Value::ANY_NUMBER,
    }
}

/// A number of 8, 16 or 32 bits, extended: sizes of the type descriptor and lengths fit.
fn narrowed(value: Value) -> Value {
    match value.what {
        What::Number => value,
        _ => Value::ANY_NUMBER,
    }
}

/// Shifts and extensions by their bits (`UBFM`, `SBFM`).
fn bitfield(mnemonic: &str, bits: u32, value: Value) -> Value {
    let top = if bits >> 31 == 1 { 63 } else { 31 };
    let (immr, imms) = (field(bits, 16, 6), field(bits, 10, 6));
    if !matches!(mnemonic, "ubfm" | "sbfm") {
        return Value::ANY_NUMBER;
    }
    match (immr, imms) {
        (0, 7 | 15 | 31) => narrowed(value),
        // Bits 0 to imms, moved up; all that are left for `lsl`.
        (immr, imms) if imms < immr => {
            let amount = (top + 1_usize).saturating_sub(immr);
            let whole = imms + 1 == immr || matches!(imms, 7 | 15 | 31);
            if whole {
                shifted(value, amount)
            } else {
                Value::number(Expr::UNKNOWN.scale(1 << amount.min(16)))
            }
        }
        _ => Value::ANY_NUMBER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gomap::LAYOUTS;

    fn decoded(word: u32) -> Arm64 {
        Arm64::decode(&word.to_le_bytes(), 0x1000)
            .next()
            .expect("one")
    }

    /// `ldrb w1, [x0, #9]`: 0x39402401, `str x2, [x3, x4, lsl #3]`: 0xf8247862, `ldp x6, x7,
    /// [x1, #88]`: 0xa9459c26 (as `go tool objdump` prints them of binaries of go1.27.3).
    #[test]
    fn operands_of_loads_and_stores() {
        let form = |word| {
            let form = decoded(word).form().expect("a memory operand");
            (form.base, form.index, form.scale, form.displacement)
        };
        assert_eq!(form(0x39402401), (Some(0), None, 1, 9));
        assert_eq!(form(0xf8247862), (Some(3), Some(4), 8, 0));
        assert_eq!(form(0xa9459c26), (Some(1), None, 1, 88));
        assert_eq!(decoded(0x39402401).moved(), Some((1, 1)));
        assert_eq!(decoded(0xa9459c26).moved(), None);
    }

    /// `and x4, x4, #0x8080808080808080`: 0x9201c084.
    #[test]
    fn a_bitmask_immediate_repeats_its_element() {
        assert_eq!(bitmask(0x9201c084), Some(0x8080_8080_8080_8080));
        // orr x12, xzr, #1
        assert_eq!(bitmask(0xb24003ec), Some(1));
    }

    #[test]
    fn any_word_can_be_followed() {
        let mut state = State::at_entry(&ARM64);
        let mut word = 1u32;
        for layout in LAYOUTS {
            let mut machine = Machine::new(layout, Areas::default(), true, &ARM64);
            for i in 0..100_000 {
                word ^= word << 13;
                word ^= word >> 17;
                word ^= word << 5;
                let instruction = decoded(word);
                let text = instruction.text();
                assert_eq!(text.is_empty(), instruction.access().is_none());
                instruction.control();
                assert!(instruction.form().is_none() || instruction.access().is_some());
                machine.arm64_operands(&state, &instruction);
                machine.arm64_step(&mut state, &instruction, 16 + i);
            }
        }
    }
}
