//! One sample by itself: the code at its ip, its address and its registers.
//!
//! What is certain here about objects (this bucket belongs to that header) goes into [`Fact`]s, from
//! which the samples without registers, or in other code, are placed afterwards.

use super::code::Code;
use super::flow::{Live, Spilled, Target, What};
use super::operand::{evaluate, index as evaluate_index};
use super::row::{About, Fact, ON_STACK, Row, in_bucket};
use super::types::{TypeId, Types};
use super::{Evidence, Reason};
use crate::gomap::size_class::object_at;
use crate::gomap::{Family, Holds, MapType, Part, Structure};
use crate::recording::{Event, Memory, Processor, Samples};

/// A place that names the start of a structure.
pub(super) struct Named {
    pub structure: Structure,
    pub start: u64,
    pub origin: u32,
    pub by: By,
}

/// Where the start of a structure was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// A register, by perf's number.
    Register(u32),
    /// A slot of the function's frame, so many bytes from the stack pointer on.
    Slot(u64),
    /// A field of the iterator, which lies on the stack.
    Iterator(u64),
    /// A slot of the frame of its caller, which is map code as well.
    Above(u64),
}

/// What the frame around that of a helper names, which the helper does not get.
#[derive(Debug, Clone)]
pub struct Above {
    /// Bytes from the helper's stack pointer to that of its caller at the call.
    pub up: u64,
    /// Run-time address at which the caller goes on.
    pub ret: u64,
    pub spilled: Vec<Spilled>,
}

/// What resolving a sample needs besides its row.
pub struct Context<'a> {
    pub samples: &'a Samples,
    pub event: &'a Event,
    /// The sample is of a store.
    pub stored: bool,
    /// `processor` is the state right after the instruction.
    pub registers_sound: bool,
    pub processor: Processor<'a>,
    pub above: Option<&'a Above>,
    pub code: &'a Code,
    pub types: &'a Types,
    /// The static type at the call site that the call chain leads to.
    pub caller_type: Option<TypeId>,
    /// The variable that the call site takes the map from.
    pub global: Option<u64>,
    /// The map lies in the frame of the call site's function.
    pub on_stack: bool,
    /// In a copying leaf: what its caller's pointer is.
    pub leaf: Option<Target>,
}

/// Resolves sample `i`.
pub fn resolve(context: &Context, i: usize, facts: &mut Vec<Fact>) -> Row {
    let Context {
        samples,
        event,
        ref processor,
        code,
        types,
        ..
    } = *context;
    let recorded = samples.addr.get(i).unwrap_or(0);
    let Some((target, operand)) = choose(code, context.stored) else {
        return Row::unplaced(Reason::NoOperand, recorded);
    };
    let target = context.leaf.as_ref().unwrap_or(target);
    let registers = context.registers_sound && event.samples_registers();
    if let (Target::None(reason), Memory::Sampled, false) = (*target, event.memory, registers) {
        return Row::unplaced(reason, recorded);
    }
    let (address, exact) = match event.memory {
        Memory::Breakpoint => match touched(processor, event, code, operand.size, recorded) {
            (_, false) => {
                at_offset(target, event, recorded).map_or((recorded, false), |a| (a, true))
            }
            exact => exact,
        },
        _ => (recorded, true),
    };
    let named = if context.registers_sound {
        named(processor, code, context.above, operand.value.origin)
    } else {
        Vec::new()
    };
    let mut row = Row::unplaced(Reason::NotMap, address);
    row.map_type = named
        .iter()
        .find(|n| n.structure == Structure::MapType)
        .and_then(|n| types.at(code.binary, n.start));
    row.header = owner(&named, target, operand.value.origin);
    if row.header != 0 || row.map_type.is_some() {
        row.evidence = Evidence::Registers;
    }
    if row.map_type.is_none() && context.caller_type.is_some() {
        row.map_type = context.caller_type;
        row.evidence = row.evidence.max(Evidence::CallSite);
    }
    if code.map_code && row.map_type.is_none() {
        row.map_type = types.only_of_variant(code.binary, code.variant);
    }
    place(&mut row, target, operand.value.origin, &named, code, types);
    if !exact {
        row.slot = -1;
    } else if row.part == Ok(Part::DirectoryTable)
        && row.base == 0
        && context.registers_sound
        && let Some(off) = operand.unindexed
        && let Some(index) = evaluate_index(&code.instruction, processor)
    {
        row.base = address.wrapping_sub(index).wrapping_sub(off as u64);
    }
    let time = samples.time.get(i).unwrap_or(0);
    let value = if context.registers_sound {
        moved(processor, code)
    } else {
        None
    };
    record(&mut row, &named, value, time, context, facts);
    // `len(m)` loads the map from its variable itself.
    let global = match operand.value.what {
        What::Global(variable) if row.part.is_ok() => Some(variable),
        _ => context.global,
    };
    if let (Some(global), true) = (global, row.header != 0) {
        facts.push(Fact {
            about: About::Global,
            address: global,
            header: row.header,
            table: 0,
            value: 0,
            map_type: row.map_type,
            time,
        });
    }
    row
}

/// Why the accesses of an instruction are of no map, where it tells without registers and call chain.
pub fn without_registers(code: &Code, stored: bool) -> Option<Reason> {
    match choose(code, stored) {
        None => Some(Reason::NoOperand),
        Some((Target::None(reason), _)) => Some(*reason),
        Some(_) => None,
    }
}

/// Return address of the map call that handed out the pointer which a sample in its caller accessed.
pub fn call_of(code: &Code, leaf: Option<Target>, stored: bool) -> Option<u64> {
    let (target, _) = choose(code, stored)?;
    match leaf.as_ref().unwrap_or(target) {
        Target::Elem { call, .. } | Target::Key { call, .. } => Some(*call),
        _ => None,
    }
}

/// The value that a plain load or store moved.
pub(super) fn moved(processor: &Processor, code: &Code) -> Option<u64> {
    let (reg, size) = code.moved?;
    let value = processor.register(reg)?;
    Some(if size >= 8 {
        value
    } else {
        value & ((1 << (8 * size)) - 1)
    })
}

/// The operand that the event sampled: the one that is written for a store, read for a load.
pub(super) fn choose(code: &Code, stored: bool) -> Option<&(Target, super::flow::Operand)> {
    let matching = code
        .operands
        .iter()
        .find(|(_, o)| if stored { o.write } else { o.read });
    matching.or_else(|| code.operands.first())
}

/// The address that a breakpoint's instruction touched, and whether it is more than the watched
/// word: its operand, if that overlaps the watched bytes.
pub(super) fn touched(
    processor: &Processor,
    event: &Event,
    code: &Code,
    size: u32,
    watched: u64,
) -> (u64, bool) {
    let len = event.config2.max(1);
    let overlaps = |a: &u64| {
        *a < watched.saturating_add(len) && watched < a.saturating_add(u64::from(size.max(1)))
    };
    match evaluate(&code.instruction, processor).filter(overlaps) {
        Some(address) => (address, true),
        None => (watched, u64::from(size) >= len),
    }
}

/// The byte that an access at a fixed offset of its structure touched: structures begin at multiples
/// of 8, and no more than 8 bytes are watched.
fn at_offset(target: &Target, event: &Event, watched: u64) -> Option<u64> {
    let Target::Part { off: Some(off), .. } = *target else {
        return None;
    };
    let off = off as u64;
    let start = watched.wrapping_sub(off).checked_next_multiple_of(8)?;
    let address = start.wrapping_add(off);
    (watched..watched.saturating_add(event.config2.clamp(1, 8)))
        .contains(&address)
        .then_some(address)
}

/// What registers, and the slots of the frame as far as the stack was copied, name. Of slots those of the
/// map and its type count, and those of the very object that the operand was made from.
pub(super) fn named(
    processor: &Processor,
    code: &Code,
    above: Option<&Above>,
    origin: u32,
) -> Vec<Named> {
    let at_start = |structure, value: u64, off: i64, origin, by| {
        let start = value.wrapping_sub(off as u64);
        let start = match structure {
            Structure::MapType => start.wrapping_sub(code.bias),
            _ => start,
        };
        (value != 0).then_some(Named {
            structure,
            start,
            origin,
            by,
        })
    };
    let of_register = |live: &Live| {
        let value = processor.register(live.reg)?;
        let by = By::Register(live.reg);
        at_start(live.structure, value, live.off, live.origin, by)
    };
    let mut all: Vec<Named> = code.live.iter().filter_map(of_register).collect();
    if processor.stack.is_none() {
        return all;
    }
    let of_map = |structure| matches!(structure, Structure::Header | Structure::MapType);
    all.extend(code.spilled.iter().filter_map(|slot| {
        let same = slot.origin == origin && origin != 0;
        let useful = same || of_map(slot.structure) || slot.structure == Structure::Iter;
        let value = processor.slot(slot.at).filter(|_| useful)?;
        let by = By::Slot(slot.at);
        at_start(slot.structure, value, slot.off, slot.origin, by)
    }));
    let iterators = all.iter().filter(|n| n.structure == Structure::Iter);
    let iterators: Vec<u64> = iterators.map(|n| n.start).collect();
    for iterator in iterators {
        let fields = code.layout.fields(Structure::Iter).iter();
        all.extend(fields.filter_map(|field| {
            let Holds::Pointer(to) = field.holds else {
                return None;
            };
            let value = processor.read(iterator.checked_add(field.off)?);
            let value = value.filter(|_| of_map(to))?;
            at_start(to, value, 0, 0, By::Iterator(field.off))
        }));
    }
    if let Some(above) = above
        && returns_to(processor, above)
    {
        all.extend(above.spilled.iter().filter_map(|slot| {
            let at = above.up.checked_add(slot.at)?;
            let value = processor.slot(at).filter(|_| of_map(slot.structure))?;
            at_start(slot.structure, value, slot.off, 0, By::Above(at))
        }));
    }
    all
}

/// Whether the helper's frame leads to the caller that `above` is of: its return address lies right below
/// the caller's frame, but for a processor that keeps it in a register.
fn returns_to(processor: &Processor, above: &Above) -> bool {
    let below = above.up.checked_sub(8).and_then(|at| processor.slot(at));
    below == Some(above.ret)
}

/// The map that an operand belongs to, where the registers name but one: a key or an elem, that which
/// the call had that handed it out.
fn owner(named: &[Named], target: &Target, origin: u32) -> u64 {
    let handed_out = matches!(target, Target::Elem { .. } | Target::Key { .. });
    let headers = named.iter().filter(|n| n.structure == Structure::Header);
    let mut headers = headers
        .filter(|n| !handed_out || n.origin == origin && origin != 0)
        .map(|n| n.start);
    let first = headers.next().unwrap_or(0);
    match headers.all(|other| other == first) {
        true => first,
        false => 0,
    }
}

fn place(row: &mut Row, target: &Target, origin: u32, named: &[Named], code: &Code, types: &Types) {
    match *target {
        Target::None(reason) => row.part = Err(reason),
        Target::Part { part, off } if in_bucket(part) => {
            row.part = Ok(part);
            row.evidence = row.evidence.max(Evidence::Code);
            let exact = off.map(|off| row.address.wrapping_sub(off as u64));
            in_bucket_or_group(row, exact, origin, named, types);
        }
        Target::Part {
            part: Part::DirectoryTable,
            ..
        } => {
            row.part = Ok(Part::DirectoryTable);
            row.evidence = row.evidence.max(Evidence::Code);
            let directory = |n: &&Named| {
                matches!(n.structure, Structure::Directory | Structure::DirPtr)
                    && n.start <= row.address
                    && (n.origin == origin || origin == 0)
            };
            row.base = named.iter().find(directory).map_or(0, |n| n.start);
        }
        Target::Part { part, off } => {
            let base = off.map_or(0, |off| row.address.wrapping_sub(off as u64));
            if base % 8 != 0 {
                row.part = Err(Reason::OutsideParts);
                return;
            }
            row.part = Ok(part);
            row.base = base;
            row.evidence = row.evidence.max(Evidence::Address);
            match part.structure() {
                Structure::Header => row.header = base,
                Structure::Table => row.table = base,
                _ => {}
            }
        }
        Target::BucketOrGroup | Target::DirPtr => {
            row.part = Err(Reason::PartUnknown);
            in_bucket_or_group(row, None, origin, named, types);
        }
        Target::Elem { call, off } => {
            handed_out(row, call, off, types, code, Handed::Elem);
            if row.part.is_ok_and(in_bucket) {
                in_bucket_or_group(row, None, origin, named, types);
            }
        }
        Target::Key { call, off } => handed_out(row, call, off, types, code, Handed::Key),
    }
    if row.table == 0
        && row.part.is_ok()
        && let Some(table) = named.iter().find(|n| n.structure == Structure::Table)
    {
        row.table = table.start;
    }
}

/// The bucket or group: from the offset that the code fixes, from the register that holds the very
/// object the operand was made from, or from another whose bucket covers the address.
fn in_bucket_or_group(
    row: &mut Row,
    exact: Option<u64>,
    origin: u32,
    named: &[Named],
    types: &Types,
) {
    use Structure::*;
    let map_type = row.map_type.and_then(|t| types.get(t));
    let stride = map_type.map_or(MAX_STRIDE, |t| t.shape.stride());
    let address = row.address;
    let covers =
        |start: u64| start.is_multiple_of(8) && start <= address && address - start < stride;
    let buckets = |n: &&Named| {
        matches!(n.structure, Bucket | Buckets | OldBuckets | Group | Groups) && covers(n.start)
    };
    let same = named
        .iter()
        .filter(buckets)
        .find(|n| n.origin == origin && origin != 0);
    let candidates = exact
        .filter(|&start| covers(start))
        .into_iter()
        .chain(same.map(|n| n.start))
        .chain(named.iter().filter(buckets).map(|n| n.start));
    // Buckets and groups begin at multiples of 8 and with their control bytes.
    if let Ok(Part::BmapTophash | Part::GroupCtrl) = row.part {
        row.base = address & !7;
        row.slot = (address & 7) as i8;
        row.evidence = row.evidence.max(Evidence::Address);
        return;
    }
    for base in candidates {
        let Some(map_type) = map_type else {
            if exact == Some(base) || same.is_some_and(|n| n.start == base) {
                row.base = base;
                return;
            }
            continue;
        };
        let Some(spot) = map_type.spot_at(address - base) else {
            continue;
        };
        if row.part.is_ok_and(|part| part != spot.part) {
            continue;
        }
        row.part = Ok(spot.part);
        row.base = base;
        row.slot = spot.slot.map_or(-1, |s| s as i8);
        return;
    }
}

/// More than the largest bucket: 8 tophash, 8 keys and 8 elems of 128 bytes, one pointer.
const MAX_STRIDE: u64 = 8 + 16 * 128 + 8;

enum Handed {
    Key,
    Elem,
}

/// An access through a pointer that a map call handed to its caller.
fn handed_out(
    row: &mut Row,
    call: u64,
    off: Option<i64>,
    types: &Types,
    code: &Code,
    what: Handed,
) {
    row.part = Err(Reason::PartUnknown);
    let Some(site) = types.call_site(code.binary, call) else {
        return;
    };
    row.map_type = site.map_type;
    let Some(map_type) = site.map_type.and_then(|t| types.get(t)) else {
        return;
    };
    let (size, indirect, inline, outside) = match (what, types.family(code.binary)) {
        (Handed::Elem, Some(Family::Classic)) => (
            map_type.elem_size,
            map_type.indirect_elem,
            Part::BmapElem,
            Part::IndirectElem,
        ),
        (Handed::Elem, _) => (
            map_type.elem_size,
            map_type.indirect_elem,
            Part::GroupElem,
            Part::IndirectElem,
        ),
        (Handed::Key, Some(Family::Classic)) => (
            map_type.key_size,
            map_type.indirect_key,
            Part::BmapKey,
            Part::IndirectKey,
        ),
        (Handed::Key, _) => (
            map_type.key_size,
            map_type.indirect_key,
            Part::GroupKey,
            Part::IndirectKey,
        ),
    };
    // A miss hands out the address of the runtime's zero value.
    if types.in_image(code.binary, row.address.wrapping_sub(code.bias)) {
        row.part = Err(Reason::Stack);
        return;
    }
    let off = off.and_then(|off| u64::try_from(off).ok());
    // A pointer to an elem of no bytes is to what lies behind.
    if size > 0 && off.is_some_and(|off| off >= size) {
        row.part = Err(Reason::OutsideParts);
        return;
    }
    if size == 0 {
        return;
    }
    row.evidence = row.evidence.max(Evidence::CallSite);
    if indirect {
        let minor = types.minor_of(code.binary);
        let start = match off {
            Some(off) => Some(row.address.wrapping_sub(off)),
            None => object_at(row.address, size, minor),
        };
        row.part = Ok(outside);
        row.base = start.unwrap_or(0);
    } else {
        row.part = Ok(inline);
    }
}

/// What the pointer that a slot holds as this part is to.
fn pointed_to(part: Part, of: &MapType) -> Option<About> {
    match part {
        Part::BmapKey | Part::GroupKey if of.indirect_key => Some(About::IndirectKey),
        Part::BmapElem | Part::GroupElem if of.indirect_elem => Some(About::IndirectElem),
        _ => None,
    }
}

/// Notes what this sample establishes of the objects that it names. Of what belongs to nobody known only
/// the buckets and groups are of use.
fn record(
    row: &mut Row,
    named: &[Named],
    value: Option<u64>,
    time: u64,
    context: &Context,
    facts: &mut Vec<Fact>,
) {
    let types = context.types;
    let of_header = u64::from(context.on_stack) * ON_STACK;
    let Row {
        header,
        table,
        map_type,
        ..
    } = *row;
    let owned = header != 0 || table != 0;
    let mut note = |about, address, value| {
        if address != 0 && (owned || about == About::Bucket) {
            facts.push(Fact {
                about,
                address,
                header,
                table,
                value,
                map_type,
                time,
            });
        }
    };
    for n in named {
        match n.structure {
            Structure::Header => note(About::Header, n.start, of_header),
            Structure::Extra => note(About::Extra, n.start, 0),
            Structure::Table if n.start == table => note(About::Table, n.start, 0),
            Structure::Directory => note(About::Directory, header, n.start),
            Structure::Buckets => note(About::Array, n.start, 0),
            Structure::OldBuckets => note(About::OldArray, n.start, 0),
            Structure::Groups if table != 0 => note(About::Array, n.start, 0),
            Structure::Bucket | Structure::Group => note(About::Bucket, n.start, 0),
            _ => {}
        }
    }
    let Ok(part) = row.part else { return };
    match (part, value) {
        (Part::DirectoryTable, Some(value)) => note(About::Table, value, 0),
        (Part::MapDirPtr, Some(value)) => note(About::Directory, header, value),
        (Part::HmapExtra, Some(value)) => note(About::Extra, value, 0),
        (Part::BmapOverflow, Some(value)) => note(About::Bucket, value, 0),
        (_, Some(value)) => {
            if let Some(about) = map_type.and_then(|t| pointed_to(part, types.get(t)?)) {
                note(about, value, (row.slot + 1) as u64);
            }
        }
        _ => {}
    }
    if row.base == 0 {
        return;
    }
    match part.structure() {
        Structure::Header => note(About::Header, row.base, of_header),
        Structure::Extra => note(About::Extra, row.base, 0),
        Structure::Table => note(About::Table, row.base, 0),
        Structure::Bucket | Structure::Group if owned => note(About::Bucket, row.base, 0),
        Structure::Bucket | Structure::Group => row.starts = true,
        Structure::Other => note(super::row::about(part), row.base, 0),
        _ => {}
    }
    let Some(value) = value else { return };
    match part {
        Part::HmapBuckets | Part::TableGroupsData => note(About::Array, value, 0),
        Part::HmapOldbuckets => note(About::OldArray, value, 0),
        Part::HmapB if value < 48 => note(About::Len, row.base, 1 << value),
        Part::TableGroupsLengthMask if value < 1 << 32 => note(About::Len, row.base, value + 1),
        _ => {}
    }
}
