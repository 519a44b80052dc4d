//! The sample decoder and the container against an encoder that knows only the kernel's header:
//! every `sample_type` bit alone and in any combination, in both byte orders.

mod common;

use common::builder::*;
use mempath::data_src::{Level, Op};
use mempath::recording::{
    Attr, ByteOrder, GapKind, Memory, Recording, RecordingError, SampleBody, Words, read_bytes,
};
use proptest::prelude::*;
use std::path::Path;

fn open(bytes: &[u8]) -> Recording {
    read_bytes(Path::new("test"), bytes).unwrap()
}

fn attr_of(event: &EventSpec, big: bool) -> Attr {
    let mut recording = RecordingBuilder::of_order(big);
    recording.event(event.clone());
    let file = recording.file();
    let order = if big {
        ByteOrder::Big
    } else {
        ByteOrder::Little
    };
    // One id of 8 bytes stands between the header and the attrs.
    Attr::parse(&file[112..112 + 128], order).unwrap()
}

fn list(words: Words) -> Vec<u64> {
    words.iter().collect()
}

fn check(event: &EventSpec, sample: &Sample, big: bool) {
    let body = sample_body(event, 77, sample, big);
    let attr = attr_of(event, big);
    let order = if big {
        ByteOrder::Big
    } else {
        ByteOrder::Little
    };
    let got = SampleBody::decode(&body, &attr, order).expect("the body is whole");
    let has = |bit| event.sample_type & bit != 0;
    let if_has = |bit, value: u64| has(bit).then_some(value);
    assert_eq!(got.identifier, if_has(IDENTIFIER, 77));
    assert_eq!(got.ip, if_has(IP, sample.ip));
    assert_eq!(got.thread, has(TID).then_some((sample.pid, sample.tid)));
    assert_eq!(got.time, if_has(TIME, sample.time));
    assert_eq!(got.addr, if_has(ADDR, sample.addr));
    assert_eq!(got.id, if_has(ID, 77));
    assert_eq!(got.stream_id, if_has(STREAM_ID, sample.stream_id));
    assert_eq!(got.cpu, has(CPU).then_some(sample.cpu));
    assert_eq!(got.period, if_has(PERIOD, sample.period));
    assert_eq!(
        got.callchain.map(list),
        has(CALLCHAIN).then(|| sample.callchain.clone())
    );
    assert_eq!(
        got.raw.map(|raw| raw[..sample.raw.len()].to_vec()),
        has(RAW).then(|| sample.raw.clone())
    );
    assert_eq!(got.branches.is_some(), has(BRANCH_STACK));
    if let Some(branches) = got.branches {
        let asked = |bit: u32| event.branch_sample_type & 1 << bit != 0;
        assert_eq!(branches.hw_index, asked(17).then_some(sample.hw_index));
        assert_eq!(list(branches.entries), sample.branches.concat());
        assert_eq!(
            branches.counters.map(list),
            asked(19).then(|| sample.branch_counters.clone())
        );
    }
    let regs_user = got.regs_user.map(|regs| list(regs.values));
    assert_eq!(regs_user, has(REGS_USER).then(|| sample.regs_user.clone()));
    let stack = got.stack_user.map(|stack| stack.data.to_vec());
    assert_eq!(stack, has(STACK_USER).then(|| sample.stack_user.clone()));
    assert_eq!(got.weight, if_has(WEIGHT | WEIGHT_STRUCT, sample.weight));
    assert_eq!(got.data_src, if_has(DATA_SRC, sample.data_src));
    assert_eq!(got.transaction, if_has(TRANSACTION, sample.transaction));
    let regs_intr = got.regs_intr.map(|regs| list(regs.values));
    assert_eq!(regs_intr, has(REGS_INTR).then(|| sample.regs_intr.clone()));
    assert_eq!(got.phys_addr, if_has(PHYS_ADDR, sample.phys_addr));
    assert_eq!(got.cgroup, if_has(CGROUP, sample.cgroup));
    assert_eq!(
        got.data_page_size,
        if_has(DATA_PAGE_SIZE, sample.data_page_size)
    );
    assert_eq!(
        got.code_page_size,
        if_has(CODE_PAGE_SIZE, sample.code_page_size)
    );
    assert_eq!(
        got.aux.map(<[u8]>::to_vec),
        has(AUX).then(|| sample.aux.clone())
    );
    assert_eq!(got.read.is_some(), has(READ));
    if let Some(read) = got.read {
        let asked = |bit: u32| event.read_format & 1 << bit != 0;
        assert_eq!(read.time_enabled, asked(0).then_some(sample.time_enabled));
        assert_eq!(read.time_running, asked(1).then_some(sample.time_running));
        let counters = match asked(3) {
            true => read.group().collect(),
            false => vec![read.single.unwrap()],
        };
        let written = if asked(3) { sample.counters.len() } else { 1 };
        assert_eq!(counters.len(), written);
        for (counter, &(value, id, lost)) in counters.iter().zip(&sample.counters) {
            assert_eq!(counter.value, value);
            assert_eq!(counter.id, asked(2).then_some(id));
            assert_eq!(counter.lost, asked(4).then_some(lost));
        }
    }
    // A body one byte short is no sample, unless it samples nothing.
    if let Some(short) = body.len().checked_sub(1) {
        assert!(SampleBody::decode(&body[..short], &attr, order).is_none());
    }
    columns(event, sample, big);
}

/// The same through a whole file: the fast path and the general one, into columns.
fn columns(event: &EventSpec, sample: &Sample, big: bool) {
    let mut recording = RecordingBuilder::of_order(big);
    let number = recording.event(event.clone());
    recording.sample(number, sample.clone());
    let got = open(&recording.file());
    assert_eq!(got.damage, []);
    let samples = &got.samples;
    let has = |bit| event.sample_type & bit != 0;
    let column = |bit, value: u64| if has(bit) { vec![value] } else { vec![] };
    assert_eq!(samples.len(), 1);
    assert_eq!(samples.ip.get(0), has(IP).then_some(sample.ip));
    assert_eq!(
        samples.thread.get(0),
        has(TID).then_some((sample.pid, sample.tid))
    );
    assert_eq!(samples.addr, column(ADDR, sample.addr));
    assert_eq!(samples.time, column(TIME, sample.time));
    assert_eq!(samples.period, column(PERIOD, sample.period));
    assert_eq!(
        samples.weight,
        column(WEIGHT | WEIGHT_STRUCT, sample.weight)
    );
    assert_eq!(samples.phys_addr, column(PHYS_ADDR, sample.phys_addr));
    assert_eq!(
        samples.data_src.get(0),
        has(DATA_SRC).then_some(sample.data_src)
    );
    if has(CALLCHAIN) {
        assert_eq!(
            samples.chains.get(samples.chain.get(0).unwrap()),
            sample.callchain
        );
    }
    if has(REGS_INTR) && event.sample_regs_intr & 1 << 3 != 0 && !sample.regs_intr.is_empty() {
        let before = (event.sample_regs_intr & 0b111).count_ones() as usize;
        let reg = got.processor(0).register(3);
        assert_eq!(reg, Some(sample.regs_intr[before]));
    }
}

/// A sample whose every field is different.
fn full(event: &EventSpec) -> Sample {
    Sample {
        regs_abi: 2,
        cpumode: 2,
        ip: 0x0102_0304_0506_0708,
        pid: 0x1112_1314,
        tid: -2,
        time: 0x2122_2324_2526_2728,
        addr: 0x3132_3334_3536_3738,
        stream_id: 0x4142,
        cpu: 3,
        period: 0x5152_5354,
        counters: vec![(11, 12, 13), (21, 22, 23), (31, 32, 33)],
        time_enabled: 0x6162,
        time_running: 0x6364,
        callchain: vec![0xffff_ffff_ffff_fe00, 0x7172, 0x7374],
        raw: vec![1, 2, 3, 4, 5],
        hw_index: 0x8182,
        branches: vec![[1, 2, 3], [4, 5, 6]],
        branch_counters: vec![7, 8],
        regs_user: (1..=u64::from(event.sample_regs_user.count_ones())).collect(),
        stack_user: vec![9; 16],
        stack_dyn_size: 8,
        weight: 0x9192_9394_9596_9798,
        data_src: 0xa1a2_a3a4_a5a6_a7a8,
        transaction: 0xb1b2,
        regs_intr: (101..101 + u64::from(event.sample_regs_intr.count_ones())).collect(),
        phys_addr: 0xc1c2,
        cgroup: 0xd1d2,
        data_page_size: 4096,
        code_page_size: 2 << 20,
        aux: vec![7; 24],
    }
}

fn event(sample_type: u64) -> EventSpec {
    EventSpec {
        sample_type,
        sample_regs_user: 0x0f,
        sample_regs_intr: 0xff_0fff,
        kind: 4,
        name: "e".into(),
        ..EventSpec::default()
    }
}

#[test]
fn every_sample_type_bit_alone() {
    for bit in 0..25 {
        for big in [false, true] {
            let event = event(1 << bit);
            check(&event, &full(&event), big);
        }
    }
}

proptest! {
    #[test]
    fn any_combination_of_bits(
        bits in 0u64..1 << 25,
        read_format in 0u64..32,
        branch_bits in 0u64..4,
        regs in any::<(u16, u16)>(),
        with_regs in any::<bool>(),
        big in any::<bool>(),
    ) {
        // The kernel refuses both kinds of weight at once.
        let bits = if bits & WEIGHT != 0 { bits & !WEIGHT_STRUCT } else { bits };
        let event = EventSpec {
            read_format,
            branch_sample_type: (branch_bits & 1) << 17 | (branch_bits & 2) << 18,
            sample_regs_user: u64::from(regs.0),
            sample_regs_intr: u64::from(regs.1),
            ..event(bits)
        };
        let mut sample = full(&event);
        if !with_regs {
            sample.regs_user.clear();
            sample.regs_intr.clear();
        }
        check(&event, &sample, big);
    }

    /// Any bytes at all after a good header.
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000), pipe in any::<bool>()) {
        let mut recording = RecordingBuilder::new();
        recording.event(EventSpec::loads());
        let mut file = if pipe { recording.pipe() } else { recording.file() };
        file.truncate(if pipe { 16 } else { 104 });
        file.extend(&bytes);
        let _ = read_bytes(Path::new("test"), &file);
    }

    /// One byte changed anywhere.
    #[test]
    fn no_changed_byte_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), pipe in any::<bool>()) {
        let mut file = if pipe { two_events(false).pipe() } else { two_events(false).file() };
        let at = at.index(file.len());
        file[at] = byte;
        let _ = read_bytes(Path::new("test"), &file);
    }
}

fn two_events(big: bool) -> RecordingBuilder {
    let mut recording = RecordingBuilder::of_order(big)
        .cpuid("GenuineIntel,6,106,6")
        .hostname("host")
        .cmdline(&["perf", "mem", "record"]);
    let loads = recording.event(EventSpec::loads());
    let stores = recording.event(EventSpec::stores());
    recording.mmap(1, 0x40_0000, 0x1000, "/bin/a", 0);
    recording.comm(1, 1, "a", true, 1);
    let at = |time, sample| Sample {
        time,
        ip: 0x40_0010,
        addr: 0xc0_0000,
        ..sample
    };
    recording.sample(loads, at(10, Sample::load(230)));
    recording.sample(stores, at(11, Sample::store()));
    recording.lost(5, 12);
    recording.sample(
        loads,
        at(
            13,
            Sample {
                data_src: LOAD_FROM_L1,
                ..Sample::load(7)
            },
        ),
    );
    recording
}

#[test]
fn a_recording_of_two_events_reads_alike_in_every_form() {
    for big in [false, true] {
        for bytes in [two_events(big).file(), two_events(big).pipe()] {
            let recording = open(&bytes);
            assert_eq!(recording.damage, []);
            assert_eq!(recording.meta.hostname.as_deref(), Some("host"));
            assert_eq!(
                recording.meta.cpuid.as_deref(),
                Some("GenuineIntel,6,106,6")
            );
            assert_eq!(recording.meta.cmdline, ["perf", "mem", "record"]);
            assert_eq!(recording.meta.big_endian, big);
            assert_eq!(recording.samples.event, [0, 1, 0]);
            assert_eq!(recording.samples.time, [10, 11, 13]);
            let events: Vec<_> = recording
                .events
                .iter()
                .map(|event| {
                    (
                        event.name.as_str(),
                        event.samples,
                        event.memory,
                        event.ldlat,
                    )
                })
                .collect();
            assert_eq!(
                events,
                [
                    ("cpu/mem-loads,ldlat=30/P", 2, Memory::Sampled, Some(30)),
                    ("cpu/mem-stores/P", 1, Memory::Sampled, None),
                ]
            );
            assert_eq!(recording.events[0].precise_ip, 3);
            let access = recording.access(0);
            assert_eq!(
                (access.op, access.level, access.latency_cycles),
                (Some(Op::Load), Some(Level::Ram), Some(230))
            );
            let access = recording.access(1);
            assert_eq!(
                (access.op, access.level, access.latency_cycles),
                (Some(Op::Store), Some(Level::L1), None)
            );
            assert_eq!(recording.gaps.len(), 1);
            let gap = &recording.gaps[0];
            assert_eq!(
                (gap.kind, gap.lost, gap.time_ns),
                (GapKind::Lost, 5, Some(12))
            );
            // The exec at time 1 ended what was mapped before it.
            assert_eq!(recording.space.find(1, 0x40_0010, 10), None);
            assert_eq!(recording.space.comm(1, 10).as_deref(), Some("a"));
            assert_eq!(recording.refusal(), None);
        }
    }
}

#[test]
fn attrs_of_every_size_are_read_as_far_as_they_are_known() {
    for attr_size in [64, 72, 80, 96, 104, 112, 120, 128, 136, 144, 200] {
        let mut recording = RecordingBuilder::new();
        let loads = recording.event(EventSpec {
            attr_size,
            ..EventSpec::loads()
        });
        recording.sample(
            loads,
            Sample {
                addr: 7,
                ..Sample::load(1)
            },
        );
        for bytes in [recording.file(), recording.pipe()] {
            let got = open(&bytes);
            assert_eq!(got.samples.addr, [7], "{attr_size}");
            assert_eq!(got.events[0].config1, 30);
        }
    }
}

#[test]
fn a_file_that_says_so_is_modelled() {
    let mut recording = RecordingBuilder::new().cpu_desc("Modelled: a small cache");
    recording.event(EventSpec::loads());
    let meta = open(&recording.file()).meta;
    assert_eq!(meta.modelled.as_deref(), Some("Modelled: a small cache"));
}

#[test]
fn what_is_no_perf_data_is_refused() {
    let error = |bytes: &[u8]| read_bytes(Path::new("test"), bytes).unwrap_err();
    assert!(matches!(error(b""), RecordingError::Empty));
    assert!(matches!(
        error(b"\x7fELF\x02\x01\x01\0\0"),
        RecordingError::NotPerfData(_)
    ));
    assert!(matches!(
        error(b"PERFFILE"),
        RecordingError::CutHeader { len: 8, .. }
    ));
    assert!(matches!(
        error(b"PERFILE2"),
        RecordingError::CutHeader { len: 8, .. }
    ));
}

#[test]
fn a_breakpoint_has_no_level_and_its_ip_is_the_next_instruction() {
    let mut recording = RecordingBuilder::new().cpuid("GenuineIntel,6,106,6");
    let watch = recording.event(EventSpec::breakpoint(0xc0_0000));
    recording.sample(
        watch,
        Sample {
            data_src: 0x0508_0021,
            ..Sample::load(0)
        },
    );
    let got = open(&recording.file());
    assert_eq!(got.events[0].memory, Memory::Breakpoint);
    assert_eq!(got.access(0), Default::default());
    let pmu = got.pmu(0).unwrap();
    assert_eq!(pmu.ip, mempath::pmu::Ip::Next);
    assert!(pmu.regs_sound);
}

#[test]
fn a_refusal_names_the_flags_that_are_missing() {
    let mut recording = RecordingBuilder::new();
    let event = recording.event(EventSpec {
        name: "mem_inst_retired.all_loads:upp".into(),
        sample_type: IP | TID | TIME,
        ..EventSpec::loads()
    });
    recording.sample(event, Sample::load(0));
    let refusal = open(&recording.file()).refusal().unwrap();
    assert_eq!(
        refusal.reason,
        "`mem_inst_retired.all_loads:upp` was recorded without ADDR (-d), WEIGHT (-W), DATA_SRC (-d): its samples have no data address"
    );
    assert_eq!(
        refusal.command,
        "perf record -d -W -e mem_inst_retired.all_loads:upp"
    );
}

#[test]
fn a_file_cut_anywhere_keeps_what_came_before() {
    for whole in [two_events(false).file(), two_events(true).pipe()] {
        let all = open(&whole).samples.time;
        let mut seen = 0;
        for cut in 0..=whole.len() {
            if let Ok(recording) = read_bytes(Path::new("test"), &whole[..cut]) {
                let times = &recording.samples.time;
                assert!(
                    times.iter().eq(all.iter().take(times.len())),
                    "cut at {cut}"
                );
                assert!(times.len() >= seen, "cut at {cut} loses samples");
                seen = times.len();
            }
        }
        assert_eq!(seen, all.len());
    }
}

#[test]
fn damage_is_told_with_its_offset() {
    let whole = two_events(false).pipe();
    let mut file = whole.clone();
    file.push(0);
    let recording = open(&file);
    assert_eq!(recording.samples.len(), 3);
    assert_eq!(recording.damage.len(), 1);
    assert_eq!(recording.damage[0].offset, whole.len() as u64);

    // A record of size 0: everything before it is kept, nothing after it.
    let mut file = whole.clone();
    file.extend([9, 0, 0, 0, 0, 0, 0, 0]);
    file.extend(&whole[16..]);
    let recording = open(&file);
    assert_eq!(recording.samples.len(), 3);
    assert_eq!(recording.damage[0].offset, whole.len() as u64);

    // Data size 0 in the header: the records are read to the end, the features after them are not.
    let mut file = two_events(false).file();
    file[48..56].fill(0);
    let recording = open(&file);
    assert_eq!(recording.samples.time, [10, 11, 13]);
    assert_eq!(recording.damage[0].offset, 40);

    // A size that the last write has not reached: without features nothing else can follow.
    let mut file = two_events(false).file();
    file[72..104].fill(0);
    let word = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap());
    let (data, all) = (word(40) as usize, word(48));
    let first = u64::from(u16::from_le_bytes([file[data + 6], file[data + 7]]));
    file.truncate(data + all as usize);
    file[48..56].copy_from_slice(&first.to_le_bytes());
    let recording = open(&file);
    assert_eq!(recording.samples.time, [10, 11, 13]);
    assert_eq!(recording.damage[0].offset, data as u64 + first);
    // What is no record there is not the recording's.
    file.truncate(data + first as usize);
    file.extend([0; 64]);
    assert_eq!(open(&file).damage, []);
}

#[test]
fn ids_that_overlap_do_not_multiply() {
    let mut recording = RecordingBuilder::new();
    for _ in 0..40 {
        recording.event(EventSpec::loads());
    }
    let mut file = recording.file();
    let len = file.len();
    // 104 bytes of header, 40 ids, then attrs of 128 bytes, each with the offset and size of its ids.
    for event in 0..40 {
        let at = 104 + 40 * 8 + event * 144 + 128;
        file[at..at + 8].copy_from_slice(&0u64.to_le_bytes());
        file[at + 8..at + 16].copy_from_slice(&(len as u64).to_le_bytes());
    }
    let recording = open(&file);
    let ids: usize = recording.events.iter().map(|event| event.ids.len()).sum();
    assert_eq!(ids, len / 8);
    assert_eq!(recording.events.len(), 1);
}

#[test]
fn the_magic_of_2009_is_read_in_both_orders() {
    for big in [false, true] {
        let mut file = two_events(big).file();
        file[..8].copy_from_slice(b"PERFFILE");
        let recording = open(&file);
        assert_eq!(recording.samples.time, [10, 11, 13]);
        assert_eq!(recording.meta.big_endian, big);
        assert_eq!(recording.damage, []);
    }
}

#[test]
fn a_folder_of_files_is_one_recording() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let mut whole = two_events(false);
    whole.records.bytes.clear();
    whole.mmap(1, 0x40_0000, 0x1000, "/bin/a", 1);
    write("data", &whole.file());
    let samples = |times: &[u64]| {
        let mut part = two_events(false);
        part.records.bytes.clear();
        for &time in times {
            let load = Sample {
                time,
                ..Sample::load(7)
            };
            part.sample(0, load);
        }
        part.records.bytes
    };
    write("data.0", b"");
    write("data.10", &samples(&[30]));
    write("data.2", &samples(&[20, 21]));
    let read = || mempath::recording::read(folder.path()).unwrap();
    let recording = read();
    assert!(recording.meta.directory);
    assert_eq!(recording.samples.time, [20, 21, 30]);
    assert_eq!(recording.damage, []);

    // What is damaged in a file is told of that file; the next one is read.
    let mut cut = samples(&[20, 21]);
    let second = cut.len() as u64 / 2;
    cut.pop();
    write("data.2", &cut);
    let recording = read();
    assert_eq!(recording.samples.time, [20, 30]);
    let damage = &recording.damage[0];
    assert_eq!(damage.offset, second);
    assert!(damage.rule.starts_with("in data.2: a record"), "{damage:?}");

    std::fs::remove_file(folder.path().join("data")).unwrap();
    let error = mempath::recording::read(folder.path()).unwrap_err();
    assert!(matches!(error, RecordingError::NoHeaderFile));
}

/// perf's own folder, one file for each of its threads, against what perf prints of it.
#[test]
fn a_folder_of_perfs_threads_is_read_as_perf_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("threads");
    let path = folder.to_str().unwrap();
    let record = "record --threads -e page-faults -c 1 -d -o";
    let recorded = std::process::Command::new("perf")
        .args(record.split(' '))
        .args([path, "--", "sh", "-c", "ls / >/dev/null; true"])
        .output();
    if !recorded.is_ok_and(|output| output.status.success()) {
        eprintln!("perf does not record with --threads here");
        return;
    }
    let printed = common::perf(&["script", "-F", "tid,time,addr", "--ns", "-i", path]);
    let mut theirs: Vec<(i32, u64, u64)> = printed
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let time = words[1].trim_end_matches(':').replace('.', "");
            let addr = u64::from_str_radix(words[2], 16).unwrap();
            (words[0].parse().unwrap(), time.parse().unwrap(), addr)
        })
        .collect();
    theirs.sort_unstable();
    let recording = mempath::recording::read(&folder).unwrap();
    let samples = &recording.samples;
    let mut ours: Vec<(i32, u64, u64)> = (0..samples.len())
        .map(|i| {
            let (_, tid) = samples.thread.get(i).unwrap();
            (
                tid,
                samples.time.get(i).unwrap(),
                samples.addr.get(i).unwrap(),
            )
        })
        .collect();
    ours.sort_unstable();
    assert!(recording.meta.directory);
    assert_eq!(recording.damage, []);
    assert!(ours.len() >= 50);
    assert_eq!(ours, theirs);
}

#[test]
fn samples_that_a_bpf_program_filtered_out_are_not_lost() {
    const LOST_SAMPLES: u32 = 13;
    let mut recording = two_events(false);
    for (misc, lost) in [(0, 7), (1 << 15, 1000)] {
        let mut body = Writer::new(false);
        body.u64(lost);
        recording.stamped(LOST_SAMPLES, misc, 1, 5, body);
    }
    let gaps = open(&recording.file()).gaps;
    let lost: Vec<_> = gaps.iter().map(|gap| (gap.kind, gap.lost)).collect();
    assert!(lost.contains(&(GapKind::LostSamples, 7)));
    assert!(!lost.iter().any(|(_, lost)| *lost == 1000), "{lost:?}");
}

/// perf adds up at the end what it lost; the kernel has told of most of it by then.
#[test]
fn what_was_lost_is_counted_once() {
    const LOST_SAMPLES: u32 = 13;
    const FORMAT_LOST: u64 = 1 << 4;
    let lost = |sums: &[(u64, u64)]| {
        let mut recording = RecordingBuilder::new();
        recording.event(EventSpec {
            read_format: FORMAT_LOST,
            ..EventSpec::loads()
        });
        recording.lost(20, 3).lost(10, 4);
        for &(lost, time) in sums {
            let mut body = Writer::new(false);
            body.u64(lost);
            recording.stamped(LOST_SAMPLES, 0, 0, time, body);
        }
        let gaps = open(&recording.file()).gaps;
        let gaps = gaps.iter().skip(2).map(|gap| (gap.time_ns, gap.lost));
        gaps.collect::<Vec<_>>()
    };
    assert_eq!(lost(&[(30, 0)]), [(None, 0)]);
    assert_eq!(lost(&[(25, 0), (12, 0)]), [(None, 0), (None, 7)]);
    // The kernel's own have a time: samples that PEBS could not tell apart.
    assert_eq!(lost(&[(30, 5)]), [(Some(5), 30)]);
}

/// As `perf record --call-graph fp,defer` writes it: the sample's chain ends with a marker and a cookie.
#[test]
fn a_deferred_chain_completes_that_of_its_samples() {
    const DEFERRED: u32 = 22;
    const USER: u64 = -512i64 as u64;
    const USER_DEFERRED: u64 = -640i64 as u64;
    let mut recording = RecordingBuilder::new();
    let event = recording.event(EventSpec {
        sample_type: EventSpec::loads().sample_type | CALLCHAIN,
        ..EventSpec::loads()
    });
    for callchain in [
        vec![0xffff_ffff_8100_0000, USER_DEFERRED, 7],
        vec![USER_DEFERRED, 8],
        vec![USER_DEFERRED, 9],
        vec![USER, 0x40_0010],
    ] {
        let sample = Sample {
            callchain,
            ..Sample::load(100)
        };
        recording.sample(event, sample);
    }
    for (cookie, ip) in [(8, 0x40_0080), (7, 0x40_0070)] {
        let mut body = Writer::new(false);
        body.words(&[cookie, 3, USER, ip, ip + 1]);
        recording.stamped(DEFERRED, 2, 1, 5, body);
    }
    for bytes in [recording.file(), recording.pipe()] {
        let samples = open(&bytes).samples;
        let chain = |i| samples.chains.get(samples.chain.get(i).unwrap()).to_vec();
        assert_eq!(
            chain(0),
            [0xffff_ffff_8100_0000, USER, 0x40_0070, 0x40_0071]
        );
        assert_eq!(chain(1), [USER, 0x40_0080, 0x40_0081]);
        assert!(chain(2).is_empty());
        assert_eq!(chain(3), [USER, 0x40_0010]);
    }
    // A chain that many samples share must not become one for each of them.
    let mut body = Writer::new(false);
    body.words(&[5, 8000]).words(&[0x40_0000; 8000]);
    recording.stamped(DEFERRED, 2, 1, 5, body);
    for kernel in 0..2000 {
        let sample = Sample {
            callchain: vec![kernel, USER_DEFERRED, 5],
            ..Sample::load(100)
        };
        recording.sample(event, sample);
    }
    let file = recording.file();
    let frames = open(&file).samples.chains.frames.len();
    assert!(frames <= (1 << 20) + file.len() / 8, "{frames}");
}

/// What follows the record of a tracepoint's formats is no record; perf 6 pads the record to 16 bytes.
#[test]
fn the_formats_of_tracepoints_in_a_pipe_are_stepped_over() {
    const HEADER_TRACING_DATA: u32 = 66;
    for padding in [0, 4] {
        let samples = two_events(false);
        let mut recording = two_events(false);
        recording.records.bytes.clear();
        let mut body = Writer::new(false);
        body.u32(13).raw(&vec![0; padding]);
        recording.record(HEADER_TRACING_DATA, 0, &body.bytes);
        recording.records.raw(&[0xff; 16]);
        recording.records.raw(&samples.records.bytes);
        let whole = open(&samples.pipe());
        let recording = open(&recording.pipe());
        assert_eq!(recording.damage, []);
        assert_eq!(recording.samples.time, whole.samples.time);
    }
}

#[test]
fn a_header_with_impossible_attrs_still_has_its_samples_counted() {
    let recording = two_events(false);
    let mut file = recording.file();
    let samples = open(&file).samples.len() as u64;
    file[16..24].copy_from_slice(&6u64.to_le_bytes());
    let recording = open(&file);
    assert_eq!((recording.events.len(), recording.left_out), (0, samples));
    assert_eq!(recording.damage[0].offset, 16);
}

#[test]
fn the_memory_of_a_virtual_machine_is_not_its_processes() {
    const MMAP: u32 = 1;
    const USER: u16 = 2;
    const GUEST_KERNEL: u16 = 4;
    const GUEST_USER: u16 = 5;
    let found = |mode| {
        let mut recording = two_events(false);
        let mut body = Writer::new(false);
        body.u32(7)
            .u32(7)
            .words(&[0x1000, 0x1000, 0])
            .path("/guest");
        recording.stamped(MMAP, mode, 7, 1, body);
        let space = open(&recording.file()).space;
        space.find(7, 0x1800, 2).is_some()
    };
    assert!(found(USER));
    assert!(!found(GUEST_KERNEL));
    assert!(!found(GUEST_USER));
}

/// A section that perf began and found nothing to write into (`CPUDESC` of an Arm machine) is no damage.
#[test]
fn an_empty_feature_says_nothing() {
    const CPUDESC: u32 = 8;
    let mut recording = two_events(false);
    recording.features.push((CPUDESC, Vec::new()));
    let recording = open(&recording.file());
    assert_eq!(recording.damage, []);
    assert_eq!(recording.meta.cpu_desc, None);
    assert_eq!(recording.meta.hostname.as_deref(), Some("host"));
}

/// What `perf evlist` makes of attrs alone.
#[test]
fn events_that_the_file_does_not_name_have_perfs_names() {
    const USER: u32 = 4;
    const KERNEL: u32 = 5;
    const HV: u32 = 6;
    const HOST: u32 = 19;
    const GUEST: u32 = 20;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    let attrs: [(u32, u64, u64, &[u32]); 14] = [
        (0, 0, 0, &[]),
        (0, 1, 0, &[GUEST]),
        (0, 0, 2, &[GUEST]),
        (0, 5, 3, &[]),
        (0, 0, 0, &[KERNEL, HV, GUEST]),
        (0, 0, 1, &[USER]),
        (0, 0, 0, &[HOST]),
        (1, 0, 0, &[GUEST]),
        (1, 2, 0, &[KERNEL]),
        (3, 0x1_0000, 0, &[GUEST]),
        (3, 0x0102, 0, &[GUEST]),
        (3, 0x1_0203, 0, &[KERNEL, HV]),
        (4, 0x1cd, 2, &[]),
        (4, 0x82d0, 0, &[GUEST]),
    ];
    for (kind, config, precise_ip, flags) in attrs {
        let mut recording = RecordingBuilder::new();
        recording.event(EventSpec {
            kind,
            config,
            precise_ip,
            more_flags: flags.to_vec(),
            ..EventSpec::loads()
        });
        recording.sample(0, Sample::load(30));
        let mut file = recording.file();
        // No features, so no names.
        file[72..104].fill(0);
        std::fs::write(&path, &file).unwrap();
        let name = common::perf(&["evlist", "-i", path.to_str().unwrap()]);
        assert_eq!(
            open(&file).events[0].name,
            name.trim_end(),
            "{config:#x} {flags:?}"
        );
    }
}

/// Events that sample different fields, told apart by the identifier that stands first in each of theirs.
#[test]
fn events_that_sample_different_fields_each_have_their_own() {
    for big in [false, true] {
        let mut recording = RecordingBuilder::of_order(big);
        let events = [
            IP | TIME | IDENTIFIER | CALLCHAIN,
            IP | TIME | IDENTIFIER | ADDR | WEIGHT | DATA_SRC,
            IP | TIME | IDENTIFIER | READ | PERIOD | RAW,
        ];
        for sample_type in events {
            recording.event(EventSpec {
                sample_type,
                ..EventSpec::loads()
            });
        }
        for (event, n) in [(1, 1), (0, 2), (2, 3), (1, 4)] {
            let sample = Sample {
                ip: 0x40_0000 + n,
                time: n,
                addr: 0xc000_0000 + n,
                period: 7,
                counters: vec![(n, 0, 0)],
                callchain: vec![n; 3],
                raw: vec![1; 12],
                ..Sample::load(30 + n as u32)
            };
            recording.sample(event, sample);
        }
        for bytes in [recording.file(), recording.pipe()] {
            let got = open(&bytes);
            assert_eq!(got.damage, []);
            let samples = &got.samples;
            assert_eq!(samples.event, [1, 0, 2, 1]);
            assert_eq!(samples.time, [1, 2, 3, 4]);
            assert_eq!(samples.addr, [0xc000_0001, 0, 0, 0xc000_0004]);
            assert_eq!(samples.weight, [31, 0, 0, 34]);
            assert_eq!(samples.period, [0, 0, 7, 0]);
            let chain = samples.chain.get(1).unwrap();
            assert_eq!(samples.chains.get(chain), [2, 2, 2]);
            let memory: Vec<_> = got.events.iter().map(|event| event.memory).collect();
            assert_eq!(memory, [Memory::No, Memory::Sampled, Memory::No]);
        }
    }
}

/// `struct { header; u64 time, id, stream_id; sample_id }`
#[test]
fn throttling_is_a_gap_from_one_record_to_the_other() {
    const THROTTLE: u32 = 5;
    const UNTHROTTLE: u32 = 6;
    for big in [false, true] {
        let mut recording = two_events(big);
        for (kind, time) in [(THROTTLE, 20), (UNTHROTTLE, 30)] {
            let mut body = Writer::new(big);
            body.words(&[time, RecordingBuilder::id(0), 0]);
            recording.stamped(kind, 0, 1, time, body);
        }
        let gaps = open(&recording.file()).gaps;
        let gaps: Vec<_> = gaps
            .iter()
            .map(|gap| (gap.kind, gap.time_ns, gap.cpu, gap.lost))
            .collect();
        assert_eq!(
            gaps,
            [
                (GapKind::Lost, Some(12), Some(0), 5),
                (GapKind::Throttle, Some(20), Some(0), 0),
                (GapKind::Unthrottle, Some(30), Some(0), 0),
            ]
        );
    }
}

/// `PERF_RECORD_COMPRESSED`, and `COMPRESSED2`, which says how long it is and is padded to a word: one zstd
/// stream in pieces that end anywhere.
#[test]
fn compressed_records_of_both_kinds_give_what_was_compressed() {
    const COMPRESSED: u32 = 81;
    const COMPRESSED2: u32 = 83;
    for big in [false, true] {
        let plain = two_events(big);
        let stream = zstd::encode_all(plain.records.bytes.as_slice(), 3).unwrap();
        for kind in [COMPRESSED, COMPRESSED2] {
            let mut packed = two_events(big);
            packed.records.bytes.clear();
            for piece in stream.chunks(37) {
                let mut body = Writer::new(big);
                if kind == COMPRESSED2 {
                    body.u64(piece.len() as u64);
                }
                body.raw(piece);
                if kind == COMPRESSED2 {
                    body.bytes.resize(body.bytes.len().next_multiple_of(8), 0);
                }
                packed.record(kind, 0, &body.bytes);
            }
            for bytes in [packed.file(), packed.pipe()] {
                let got = open(&bytes);
                assert_eq!(got.damage, []);
                assert!(got.meta.compressed);
                assert_eq!(got.samples.time, [10, 11, 13]);
                assert_eq!(got.samples.event, [0, 1, 0]);
                assert_eq!(got.gaps, open(&plain.file()).gaps);
            }
        }
    }
}
