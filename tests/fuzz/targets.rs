//! What reads bytes from outside, each as one function of bytes: asks everything of the result.

use mempath::heap::Heap;
use mempath::pmu::amd_ibs::Cpu;
use mempath::pmu::amd_ibs::registers::OpRegisters;
use mempath::pmu::arm_spe::record::Records;
use mempath::program::Program;
use mempath::recording::{Attr, ByteOrder, SampleBody, read_bytes};
use std::path::Path;
use std::sync::Arc;

/// Panics where bytes make the reader do what it must not.
pub type Target = fn(&[u8]);

/// Name of each target, which is that of its folder of seeds.
pub const TARGETS: [(&str, Target); 6] = [
    ("container", container),
    ("sample", sample),
    ("spe", spe),
    ("ibs", ibs),
    ("program", program),
    ("core", core),
];

const ORDERS: [ByteOrder; 2] = [ByteOrder::Little, ByteOrder::Big];

/// A perf.data.
pub fn container(bytes: &[u8]) {
    let Ok(recording) = read_bytes(Path::new("fuzz"), bytes) else {
        return;
    };
    let samples = &recording.samples;
    for i in 0..samples.len() {
        recording.access(i);
        recording.processor(i).register(5);
        recording.raw(i);
        if let Some(chain) = samples.chain.get(i) {
            samples.chains.get(chain);
        }
        let (pid, tid) = samples.thread.get(i).unwrap_or_default();
        let ip = samples.ip.get(i).unwrap_or_default();
        recording.space.find(pid, ip, i as u64);
        recording.space.comm(tid, i as u64);
    }
    recording.refusal();
}

/// An attr of 136 bytes, then the body of a sample of it.
pub fn sample(bytes: &[u8]) {
    let Some((attr, body)) = bytes.split_at_checked(136) else {
        return;
    };
    for order in ORDERS {
        let Some(attr) = Attr::parse(attr, order) else {
            continue;
        };
        let Some(sample) = SampleBody::decode(body, &attr, order) else {
            continue;
        };
        let words = sample.callchain.into_iter().chain(
            sample
                .branches
                .into_iter()
                .flat_map(|branches| [Some(branches.entries), branches.counters])
                .flatten(),
        );
        let words = words.chain(sample.regs_user.map(|registers| registers.values));
        let words = words.chain(sample.regs_intr.map(|registers| registers.values));
        for words in words {
            assert!(words.iter().count() * 8 <= body.len());
        }
        if let Some(read) = sample.read {
            assert!(read.group().count() * 8 <= body.len());
        }
    }
}

/// A stretch of Arm SPE packets.
pub fn spe(bytes: &[u8]) {
    assert!(Records::new(bytes, 0).count() <= bytes.len());
}

/// The raw registers of an AMD IBS op sample.
pub fn ibs(bytes: &[u8]) {
    for order in ORDERS {
        let Some(registers) = OpRegisters::parse(bytes, order) else {
            continue;
        };
        for (family, model) in [(0x17, 0x31), (0x19, 0x01), (0x19, 0x11)] {
            registers.sample(Cpu { family, model });
        }
    }
}

fn written(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

/// A binary: ELF, DWARF, pclntab.
pub fn program(bytes: &[u8]) {
    let file = written(bytes);
    let Ok(program) = Program::open(file.path()) else {
        return;
    };
    for function in program.functions().iter().step_by(29) {
        program.frames_at(function.start);
        program.dwarf_frames_at(function.start.wrapping_add(5));
        program.bytes(function.start, 16);
    }
    for map in &program.map_types {
        program.type_name_at(map.addr);
    }
    program.read_u64(u64::MAX - 3);
    program.vaddr_of_offset(u64::MAX);
}

/// A core file, which is also the binary that it is of: an ELF of both kinds is read as either.
pub fn core(bytes: &[u8]) {
    let file = written(bytes);
    let program = Program::open(file.path()).ok().map(Arc::new);
    let programs: Vec<_> = program.into_iter().collect();
    if let Ok(heap) = Heap::read(file.path(), &programs, true) {
        for map in &heap.maps {
            heap.find(map.header);
        }
    }
}
