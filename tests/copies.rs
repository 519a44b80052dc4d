//! Copies of the stack (`perf record --call-graph dwarf`): a map function's arguments lie where Go's ABI
//! spills them (`cmd/compile/abi-internal.md`), above the return address, in their order; an iterator
//! lies in the frame of who ranges. Samples made by hand, of code whose registers name nothing.

mod common;

use common::binary::Binary;
use common::builder::{EventSpec, REGS_USER, RecordingBuilder, STACK_USER, Sample};
use mempath::attribute::attribute;
use mempath::attribute::flow::{Areas, FunctionFlow, Target, classify};
use mempath::gomap::Part;
use mempath::program::kernel::Kernel;
use mempath::recording::read_bytes;
use mempath::unwind::unwind;
use std::path::Path;
use std::sync::Arc;

const LOAD: u64 = 0x4000_0000;
const STACK: u64 = 0xc0_0007_0000;
const HEADER: u64 = 0xc0_0001_2340;
const BUCKET: u64 = 0xc0_0002_0080;

/// All general registers, SP and IP among them, as perf asks for on x86-64.
const MASK: u64 = 0xff_0fff;
const SP: usize = 7;
const IP: usize = 8;

/// The words of a copied stack, by address.
struct Copy(Vec<u64>);

impl Copy {
    fn put(&mut self, address: u64, value: u64) {
        self.0[((address - STACK) / 8) as usize] = value;
    }
}

impl Binary {
    /// Instructions of the function that touch this part, by address.
    fn touching(&self, flow: &FunctionFlow, wanted: Part, write: bool) -> Vec<u64> {
        let areas = flow.signature.map_or(Areas::default(), |s| s.areas);
        let touches = |operand| {
            let target = classify(operand, self.layout, &areas, true);
            matches!(target, Target::Part { part, .. } if part == wanted) && operand.write == write
        };
        let sites = flow.sites.iter();
        let sites = sites.filter(|(_, site)| site.operands.iter().any(touches));
        let mut ips: Vec<u64> = sites.map(|(ip, _)| *ip).collect();
        ips.sort_unstable();
        ips
    }

    /// Run-time address minus link-time address.
    fn bias(&self) -> u64 {
        LOAD.wrapping_sub(self.program.vaddr_of_offset(0).unwrap())
    }

    /// Bytes from the stack pointer to the return address, behind the instruction at `ip`.
    fn frame(&self, flow: &FunctionFlow, ip: u64) -> u64 {
        let next = flow.before.iter().find(|(_, at)| **at == ip).unwrap().0;
        self.program.sp_delta_at(*next).unwrap()
    }

    /// Header and type's descriptor that the attribution names for a store (or load) at `ip`.
    fn named(&self, ip: u64, store: bool, copy: &Copy) -> (Option<u64>, Option<u64>) {
        let (event, sample) = match store {
            true => (EventSpec::stores(), Sample::store()),
            false => (EventSpec::loads(), Sample::load(100)),
        };
        let mut builder = RecordingBuilder::new().cpuid("GenuineIntel,6,106,6");
        let event = builder.event(EventSpec {
            sample_type: event.sample_type | REGS_USER | STACK_USER,
            sample_regs_user: MASK,
            ..event
        });
        builder.mmap(1, LOAD, 1 << 28, "/probe", 1);
        let mut regs_user = vec![0; MASK.count_ones() as usize];
        let ip = ip.wrapping_add(self.bias());
        regs_user[SP] = STACK;
        regs_user[IP] = ip;
        let stack_user: Vec<u8> = copy.0.iter().flat_map(|word| word.to_le_bytes()).collect();
        let stack_dyn_size = stack_user.len() as u64;
        builder.sample(
            event,
            Sample {
                ip,
                addr: BUCKET,
                time: 10,
                regs_user,
                stack_user,
                stack_dyn_size,
                ..sample
            },
        );
        let mut recording = read_bytes(Path::new("by hand"), &builder.file()).unwrap();
        let programs = vec![Some(Arc::clone(&self.program)); recording.space.images.len()];
        unwind(&mut recording, &programs);
        let attribution = attribute(&recording, &programs, &Kernel::default(), None);
        let map = attribution.maps.get(attribution.hit(0).map as usize);
        let descriptor = map.and_then(|map| Some(map.map_type.as_ref()?.addr));
        (map.and_then(|map| map.header), descriptor)
    }
}

/// `b.tophash[i] = emptyOne` of `mapdelete_fast64` (`runtime/map_fast64.go`), after the call that clears the
/// elem: of `t` and `h` nothing is left in registers.
#[test]
fn spilled_arguments_name_map_and_type() {
    let binary = Binary::sample("classic-go1.22/probe-go1.22.10.gz");
    let flow = binary.flow("runtime.mapdelete_fast64");
    let stores = binary.touching(&flow, Part::BmapTophash, true);
    let stored = |ip: &&u64| flow.sites[*ip].operands[0].stored == Some(1);
    let ip = *stores.iter().find(stored).unwrap();
    let map_type = &binary.program.map_types[0];
    let mut copy = Copy(vec![0; 64]);
    assert_eq!(binary.named(ip, true, &copy), (None, None));
    let arguments = STACK + binary.frame(&flow, ip) + 8;
    copy.put(arguments, map_type.addr.wrapping_add(binary.bias()));
    copy.put(arguments + 8, HEADER);
    let named = binary.named(ip, true, &copy);
    assert_eq!(named, (Some(HEADER), Some(map_type.addr)));
}

/// `(*table).uncheckedPutSlot` gets no map; `(*table).grow(typ, m, newCapacity)`, which calls it, does
/// (`internal/runtime/maps/table.go`).
#[test]
fn a_helper_has_its_map_from_the_frame_above() {
    let binary = Binary::sample("swiss-go1.27/probe-go1.27.3.gz");
    let outer = binary.flow("internal/runtime/maps.(*table).grow");
    let helper = "internal/runtime/maps.(*table).uncheckedPutSlot";
    let mut calls = outer.calls.iter();
    let of_helper = calls.find(|(_, call)| call.callee.as_deref() == Some(helper));
    let ret = *of_helper.unwrap().0;
    let flow = binary.flow(helper);
    let stores = binary.touching(&flow, Part::GroupCtrl, true);
    assert!(!stores.is_empty());
    let map_type = &binary.program.map_types[0];
    for ip in stores {
        let mut copy = Copy(vec![0; 256]);
        let at = STACK + binary.frame(&flow, ip);
        copy.put(at, ret.wrapping_add(binary.bias()));
        let arguments = at + 8 + binary.program.sp_delta_at(ret).unwrap() + 8;
        copy.put(arguments + 8, map_type.addr.wrapping_add(binary.bias()));
        copy.put(arguments + 16, HEADER);
        let named = binary.named(ip, true, &copy);
        assert_eq!(named, (Some(HEADER), Some(map_type.addr)), "{ip:#x}");
    }
}

/// `(*Iter).Next` gets the iterator alone; `typ` and `m` are in it, 16 and 24 bytes on
/// (`internal/runtime/maps/table.go`).
#[test]
fn an_iterator_on_the_stack_names_its_map() {
    let binary = Binary::sample("swiss-go1.27/probe-go1.27.3.gz");
    let flow = binary.flow("internal/runtime/maps.(*Iter).Next");
    let loads = binary.touching(&flow, Part::GroupCtrl, false);
    assert!(!loads.is_empty());
    let map_type = &binary.program.map_types[0];
    for ip in loads {
        let mut copy = Copy(vec![0; 256]);
        let arguments = STACK + binary.frame(&flow, ip) + 8;
        let iterator = arguments + 256;
        copy.put(arguments, iterator);
        copy.put(iterator + 16, map_type.addr.wrapping_add(binary.bias()));
        copy.put(iterator + 24, HEADER);
        let named = binary.named(ip, false, &copy);
        assert_eq!(named, (Some(HEADER), Some(map_type.addr)), "{ip:#x}");
    }
}
