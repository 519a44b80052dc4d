//! Maps whose header lies in the frame of the function that made them: between two activations that
//! memory is other functions'. Samples made by hand.

mod common;

use common::binary::Binary;
use common::builder::{CALLCHAIN, EventSpec, REGS_INTR, RecordingBuilder, Sample};
use common::target::build;
use mempath::attribute::attribute;
use mempath::attribute::flow::{Call, Target, What, analyse, classify};
use mempath::gomap::Part;
use mempath::program::kernel::Kernel;
use mempath::recording::{CONTEXT_USER, read_bytes};
use std::path::Path;
use std::sync::Arc;

const LOAD: u64 = 0x4000_0000;
const HEADER: u64 = 0xc0_0007_1230;
const MASK: u64 = 0xff_0fff;
/// perf's numbers: AX has the type, BX the map, IP comes after SP.
const AX: usize = 0;
const BX: usize = 1;
const IP: usize = 8;

impl Binary {
    /// The first instruction of the function that loads (or stores to) anything that `is` wanted.
    fn first(&self, function: &str, is: impl Fn(&Target, bool) -> bool) -> u64 {
        let flow = self.flow(function);
        let areas = flow.signature.map(|s| s.areas).unwrap_or_default();
        let map_code = flow.signature.is_some();
        let sites = flow.sites.iter().filter(|(_, site)| {
            let mut operands = site.operands.iter();
            operands.any(|o| is(&classify(o, self.layout, &areas, map_code), o.write))
        });
        sites.map(|(ip, _)| *ip).min().unwrap()
    }

    /// Return address of a call of `callee` with a constant type, on whose map `of` holds, in the
    /// program's own code.
    fn call(&self, callee: &str, of: impl Fn(&Call) -> bool) -> (u64, u64) {
        let own = |name: &str| name.starts_with("main.");
        for function in self.program.functions().iter().filter(|f| own(&f.name)) {
            let flow = analyse(&self.program, self.layout, function.start);
            for (ret, call) in &flow.calls {
                let descriptor = call.arg(0).expr.as_constant();
                if let Some(descriptor) = descriptor
                    && call.callee.as_deref() == Some(callee)
                    && of(call)
                {
                    return (*ret, descriptor as u64);
                }
            }
        }
        panic!("no such call of {callee}");
    }

    /// What is said of a store of `memclrNoHeapPointers` to the third word of a header, between two
    /// assigns to the map that is there, from the call that returns to `ret`.
    fn between(&self, (ret, descriptor): (u64, u64)) -> Option<&'static str> {
        let bias = LOAD.wrapping_sub(self.program.vaddr_of_offset(0).unwrap());
        let flags = |target: &Target, write: bool| {
            let is = matches!(target, Target::Part { part, .. } if *part == Part::HmapFlags);
            is && !write
        };
        let load = self.first("runtime.mapassign_fast64", flags);
        let clear = self.first("runtime.memclrNoHeapPointers", |_, write| write);
        let mut builder = RecordingBuilder::new().cpuid("GenuineIntel,6,106,6");
        let [loads, stores] = [EventSpec::loads(), EventSpec::stores()].map(|event| {
            builder.event(EventSpec {
                sample_type: event.sample_type | CALLCHAIN | REGS_INTR,
                sample_regs_intr: MASK,
                ..event
            })
        });
        builder.mmap(1, LOAD, 1 << 28, "/zoo", 1);
        let mut regs_intr = vec![0; MASK.count_ones() as usize];
        regs_intr[IP] = load.wrapping_add(bias);
        let chain = |ip: u64, ret: u64| vec![CONTEXT_USER, ip.wrapping_add(bias), ret];
        let cleared = Sample {
            ip: clear.wrapping_add(bias),
            addr: HEADER + 16,
            time: 20,
            regs_intr: regs_intr.clone(),
            callchain: chain(clear, 0),
            ..Sample::store()
        };
        regs_intr[AX] = descriptor.wrapping_add(bias);
        regs_intr[BX] = HEADER;
        let assigned = |time| Sample {
            ip: load.wrapping_add(bias),
            addr: HEADER + 8,
            time,
            regs_intr: regs_intr.clone(),
            callchain: chain(load, ret.wrapping_add(bias)),
            ..Sample::load(100)
        };
        builder.sample(loads, assigned(10));
        builder.sample(stores, cleared);
        builder.sample(loads, assigned(30));
        let recording = read_bytes(Path::new("by hand"), &builder.file()).unwrap();
        let programs = vec![Some(Arc::clone(&self.program)); recording.space.images.len()];
        let attribution = attribute(&recording, &programs, &Kernel::default(), None);
        for i in [0, 2] {
            let map = &attribution.maps[attribution.hit(i).map as usize];
            assert_eq!(attribution.part[i], Ok(Part::HmapFlags));
            assert_eq!(map.header, Some(HEADER));
        }
        attribution.part[1].ok().map(Part::name)
    }
}

#[test]
fn memory_of_a_frame_is_a_map_only_while_its_function_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = build("tests/programs/zoo.go", "1.22.10", dir.path());
    let binary = Binary::open(&path);
    let callee = "runtime.mapassign_fast64";
    let on_heap = binary.call(callee, |call| call.arg(1).what != What::Stack);
    assert_eq!(binary.between(on_heap), Some("hmap.buckets"));
    let in_frame = binary.call(callee, |call| call.arg(1).what == What::Stack);
    assert_eq!(binary.between(in_frame), None);
}
