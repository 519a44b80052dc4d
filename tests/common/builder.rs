//! Writes perf.data files, in either byte order, as a file or as a pipe.
//!
//! Written from the kernel's header alone (`include/uapi/linux/perf_event.h`), not from the reader, so
//! that the two check each other.
//!
//! ```ignore
//! let mut recording = RecordingBuilder::new().cpuid("GenuineIntel,6,106,6");
//! let loads = recording.event(EventSpec::loads());
//! recording.mmap(1, 0x400000, 0x1000, "/bin/a", 0);
//! recording.sample(loads, Sample { ip: 0x400010, addr: 0xc000010000, ..Sample::load(230) });
//! std::fs::write(path, recording.file())?;
//! ```

pub const IP: u64 = 1 << 0;
pub const TID: u64 = 1 << 1;
pub const TIME: u64 = 1 << 2;
pub const ADDR: u64 = 1 << 3;
pub const READ: u64 = 1 << 4;
pub const CALLCHAIN: u64 = 1 << 5;
pub const ID: u64 = 1 << 6;
pub const CPU: u64 = 1 << 7;
pub const PERIOD: u64 = 1 << 8;
pub const STREAM_ID: u64 = 1 << 9;
pub const RAW: u64 = 1 << 10;
pub const BRANCH_STACK: u64 = 1 << 11;
pub const REGS_USER: u64 = 1 << 12;
pub const STACK_USER: u64 = 1 << 13;
pub const WEIGHT: u64 = 1 << 14;
pub const DATA_SRC: u64 = 1 << 15;
pub const IDENTIFIER: u64 = 1 << 16;
pub const TRANSACTION: u64 = 1 << 17;
pub const REGS_INTR: u64 = 1 << 18;
pub const PHYS_ADDR: u64 = 1 << 19;
pub const AUX: u64 = 1 << 20;
pub const CGROUP: u64 = 1 << 21;
pub const DATA_PAGE_SIZE: u64 = 1 << 22;
pub const CODE_PAGE_SIZE: u64 = 1 << 23;
pub const WEIGHT_STRUCT: u64 = 1 << 24;

/// `|OP LOAD|LVL Local RAM or RAM hit|SNP Miss|TLB L1 or L2 miss|...`, as in the truth sets.
pub const LOAD_FROM_RAM: u64 = 0x1a_7140_1042;
/// `|OP LOAD|LVL L1 hit|SNP None|TLB L1 or L2 hit|LCK No|...`, as in the corpus.
pub const LOAD_FROM_L1: u64 = 0x6810_0142;
/// `|OP STORE|LVL L1 hit|SNP N/A|TLB L1 or L2 hit|LCK N/A|...`.
pub const STORE_TO_L1: u64 = 0x6900_0144;

/// `PERF_RECORD_*`.
pub const MMAP: u32 = 1;
pub const LOST: u32 = 2;
pub const COMM: u32 = 3;
pub const FORK: u32 = 7;
pub const SAMPLE: u32 = 9;
pub const MMAP2: u32 = 10;

/// An event's attr.
#[derive(Debug, Clone, Default)]
pub struct EventSpec {
    pub name: String,
    pub kind: u32,
    pub config: u64,
    pub config1: u64,
    pub config2: u64,
    pub bp_type: u32,
    pub sample_period: u64,
    pub sample_type: u64,
    pub read_format: u64,
    pub branch_sample_type: u64,
    pub sample_regs_user: u64,
    pub sample_regs_intr: u64,
    pub freq: bool,
    pub precise_ip: u64,
    pub exclude_kernel: bool,
    /// Bits of the flags that have no field here.
    pub more_flags: Vec<u32>,
    pub sample_id_all: bool,
    /// 0 for the size of Linux 5.13 (128).
    pub attr_size: u32,
}

impl EventSpec {
    /// As `perf mem record` opens loads on an Intel Ice Lake.
    pub fn loads() -> EventSpec {
        EventSpec {
            name: "cpu/mem-loads,ldlat=30/P".into(),
            kind: 4,
            config: 0x1cd,
            config1: 30,
            sample_period: 4000,
            sample_type: IP | TID | TIME | ADDR | ID | CPU | PERIOD | DATA_SRC | WEIGHT_STRUCT,
            freq: true,
            precise_ip: 3,
            sample_id_all: true,
            ..EventSpec::default()
        }
    }

    /// As `perf mem record` opens stores on an Intel Ice Lake.
    pub fn stores() -> EventSpec {
        EventSpec {
            name: "cpu/mem-stores/P".into(),
            config: 0x82d0,
            config1: 0,
            ..EventSpec::loads()
        }
    }

    /// As `perf record -e mem:ADDR/8:rw -c 1 -d -W -I` opens it.
    pub fn breakpoint(addr: u64) -> EventSpec {
        EventSpec {
            name: format!("mem:{addr:#x}/8:rw"),
            kind: 5,
            config: 0,
            config1: addr,
            config2: 8,
            bp_type: 3,
            sample_period: 1,
            freq: false,
            precise_ip: 0,
            ..EventSpec::loads()
        }
    }
}

/// Everything that a sample can hold; what its event does not sample is not written.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    pub cpumode: u16,
    pub ip: u64,
    pub pid: i32,
    pub tid: i32,
    pub time: u64,
    pub addr: u64,
    pub stream_id: u64,
    pub cpu: u32,
    pub period: u64,
    /// Value, id, lost of each counter; a format without GROUP writes the first.
    pub counters: Vec<(u64, u64, u64)>,
    pub time_enabled: u64,
    pub time_running: u64,
    pub callchain: Vec<u64>,
    pub raw: Vec<u8>,
    pub hw_index: u64,
    /// From, to, flags.
    pub branches: Vec<[u64; 3]>,
    pub branch_counters: Vec<u64>,
    /// Empty: written as ABI none.
    pub regs_user: Vec<u64>,
    pub stack_user: Vec<u8>,
    pub stack_dyn_size: u64,
    pub weight: u64,
    pub data_src: u64,
    pub transaction: u64,
    /// Empty: written as ABI none.
    pub regs_intr: Vec<u64>,
    /// Of both, where there are any; 0 for that of 64 bits (2).
    pub regs_abi: u64,
    pub phys_addr: u64,
    pub cgroup: u64,
    pub data_page_size: u64,
    pub code_page_size: u64,
    pub aux: Vec<u8>,
}

impl Sample {
    /// A load from RAM of this latency, in cycles.
    pub fn load(latency: u32) -> Sample {
        Sample {
            cpumode: 2,
            pid: 1,
            tid: 1,
            weight: u64::from(latency),
            data_src: LOAD_FROM_RAM,
            ..Sample::default()
        }
    }

    /// A store that hit L1.
    pub fn store() -> Sample {
        Sample {
            data_src: STORE_TO_L1,
            ..Sample::load(0)
        }
    }
}

/// Bytes in one byte order.
#[derive(Debug, Clone)]
pub struct Writer {
    pub bytes: Vec<u8>,
    pub big: bool,
}

impl Writer {
    pub fn new(big: bool) -> Writer {
        Writer {
            bytes: Vec::new(),
            big,
        }
    }

    pub fn u64(&mut self, value: u64) -> &mut Self {
        let bytes = if self.big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        };
        self.raw(&bytes)
    }

    pub fn u32(&mut self, value: u32) -> &mut Self {
        let bytes = if self.big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        };
        self.raw(&bytes)
    }

    pub fn u16(&mut self, value: u16) -> &mut Self {
        let bytes = if self.big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        };
        self.raw(&bytes)
    }

    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub fn words(&mut self, words: &[u64]) -> &mut Self {
        for &word in words {
            self.u64(word);
        }
        self
    }

    /// NUL-terminated, padded to 8 bytes.
    pub fn path(&mut self, text: &str) -> &mut Self {
        self.raw(text.as_bytes());
        self.raw(&vec![0; 8 - text.len() % 8])
    }

    /// `struct perf_header_string`.
    pub fn string(&mut self, text: &str) -> &mut Self {
        let len = (text.len() + 1).next_multiple_of(64);
        self.u32(len as u32).raw(text.as_bytes());
        self.raw(&vec![0; len - text.len()])
    }
}

/// A perf.data in the making.
#[derive(Debug, Clone)]
pub struct RecordingBuilder {
    pub big: bool,
    pub events: Vec<EventSpec>,
    /// The data section.
    pub records: Writer,
    /// Feature sections: number and bytes.
    pub features: Vec<(u32, Vec<u8>)>,
}

impl RecordingBuilder {
    pub fn new() -> RecordingBuilder {
        RecordingBuilder::of_order(false)
    }

    /// As a big-endian machine writes it.
    pub fn big_endian() -> RecordingBuilder {
        RecordingBuilder::of_order(true)
    }

    pub fn of_order(big: bool) -> RecordingBuilder {
        RecordingBuilder {
            big,
            events: Vec::new(),
            records: Writer::new(big),
            features: Vec::new(),
        }
    }

    fn string_feature(mut self, feature: u32, text: &str) -> Self {
        let mut section = Writer::new(self.big);
        section.string(text);
        self.features.push((feature, section.bytes));
        self
    }

    pub fn hostname(self, text: &str) -> Self {
        self.string_feature(3, text)
    }

    pub fn cpu_desc(self, text: &str) -> Self {
        self.string_feature(8, text)
    }

    pub fn cpuid(self, text: &str) -> Self {
        self.string_feature(9, text)
    }

    pub fn cmdline(mut self, words: &[&str]) -> Self {
        let mut section = Writer::new(self.big);
        section.u32(words.len() as u32);
        for word in words {
            section.string(word);
        }
        self.features.push((11, section.bytes));
        self
    }

    /// The id of an event's only counter.
    pub fn id(event: usize) -> u64 {
        100 + event as u64
    }

    /// Adds an event; its number is what [`Self::sample`] wants.
    pub fn event(&mut self, event: EventSpec) -> usize {
        self.events.push(event);
        self.events.len() - 1
    }

    /// Any record.
    pub fn record(&mut self, kind: u32, misc: u16, body: &[u8]) -> &mut Self {
        let size = u16::try_from(body.len() + 8).expect("a record is shorter than 64 KiB");
        self.records.u32(kind).u16(misc).u16(size).raw(body);
        self
    }

    /// A record that ends with the `sample_id` of the first event.
    pub fn stamped(&mut self, kind: u32, misc: u16, tid: i32, time: u64, mut body: Writer) {
        if let Some(event) = self.events.first()
            && event.sample_id_all
        {
            let has = |bit| event.sample_type & bit != 0;
            if has(TID) {
                body.u32(tid as u32).u32(tid as u32);
            }
            if has(TIME) {
                body.u64(time);
            }
            if has(ID) {
                body.u64(Self::id(0));
            }
            if has(STREAM_ID) {
                body.u64(Self::id(0));
            }
            if has(CPU) {
                body.u32(0).u32(0);
            }
            if has(IDENTIFIER) {
                body.u64(Self::id(0));
            }
        }
        self.record(kind, misc, &body.bytes);
    }

    /// An executable mapping, by `PERF_RECORD_MMAP`.
    pub fn mmap(&mut self, pid: i32, start: u64, len: u64, path: &str, time: u64) -> &mut Self {
        let mut body = Writer::new(self.big);
        body.u32(pid as u32)
            .u32(pid as u32)
            .words(&[start, len, 0])
            .path(path);
        let misc = if pid == -1 { 1 } else { 2 };
        self.stamped(MMAP, misc, pid, time, body);
        self
    }

    pub fn comm(&mut self, pid: i32, tid: i32, name: &str, exec: bool, time: u64) -> &mut Self {
        let mut body = Writer::new(self.big);
        body.u32(pid as u32).u32(tid as u32).path(name);
        self.stamped(COMM, if exec { 1 << 13 } else { 0 }, tid, time, body);
        self
    }

    pub fn fork(&mut self, pid: i32, parent: i32, time: u64) -> &mut Self {
        let mut body = Writer::new(self.big);
        for id in [pid, parent, pid, parent] {
            body.u32(id as u32);
        }
        body.u64(time);
        self.stamped(FORK, 0, pid, time, body);
        self
    }

    pub fn lost(&mut self, lost: u64, time: u64) -> &mut Self {
        let mut body = Writer::new(self.big);
        body.u64(Self::id(0)).u64(lost);
        self.stamped(LOST, 0, 0, time, body);
        self
    }

    pub fn sample(&mut self, event: usize, sample: Sample) -> &mut Self {
        let body = sample_body(&self.events[event], Self::id(event), &sample, self.big);
        self.record(SAMPLE, sample.cpumode, &body)
    }

    fn attr(&self, event: &EventSpec) -> Vec<u8> {
        let size = match event.attr_size {
            0 => 128,
            size => size as usize,
        };
        let flag = |bit: u32, len: u32, value: u64| match self.big {
            true => value << (64 - bit - len),
            false => value << bit,
        };
        let flags = flag(5, 1, u64::from(event.exclude_kernel))
            | flag(10, 1, u64::from(event.freq))
            | flag(15, 2, event.precise_ip)
            | flag(18, 1, u64::from(event.sample_id_all));
        let more = event.more_flags.iter().map(|&bit| flag(bit, 1, 1));
        let flags = more.fold(flags, |flags, bit| flags | bit);
        let mut attr = Writer::new(self.big);
        attr.u32(event.kind).u32(size as u32);
        attr.words(&[
            event.config,
            event.sample_period,
            event.sample_type,
            event.read_format,
            flags,
        ]);
        attr.u32(0).u32(event.bp_type);
        attr.words(&[
            event.config1,
            event.config2,
            event.branch_sample_type,
            event.sample_regs_user,
        ]);
        attr.u32(0).u32(0).u64(event.sample_regs_intr);
        attr.bytes.resize(size, 0);
        attr.bytes
    }

    fn event_desc(&self) -> Vec<u8> {
        let mut section = Writer::new(self.big);
        let size = self
            .events
            .first()
            .map_or(128, |event| self.attr(event).len());
        section.u32(self.events.len() as u32).u32(size as u32);
        for (i, event) in self.events.iter().enumerate() {
            section
                .raw(&self.attr(event))
                .u32(1)
                .string(&event.name)
                .u64(Self::id(i));
        }
        section.bytes
    }

    fn all_features(&self) -> Vec<(u32, Vec<u8>)> {
        let mut features = self.features.clone();
        features.push((12, self.event_desc()));
        features.sort_by_key(|&(feature, _)| feature);
        features
    }

    /// The recording as a file.
    pub fn file(&self) -> Vec<u8> {
        let mut file = Writer::new(self.big);
        file.raw(if self.big { b"2ELIFREP" } else { b"PERFILE2" });
        let attr_size = self
            .events
            .first()
            .map_or(128, |event| self.attr(event).len()) as u64;
        let count = self.events.len() as u64;
        let ids_at = 104;
        let attrs_at = ids_at + 8 * count;
        let data_at = attrs_at + count * (attr_size + 16);
        let data_size = self.records.bytes.len() as u64;
        let features = self.all_features();
        let bits = features
            .iter()
            .fold(0, |bits, (feature, _)| bits | 1 << feature);
        file.words(&[104, attr_size + 16, attrs_at, count * (attr_size + 16)]);
        file.words(&[data_at, data_size, 0, 0, bits, 0, 0, 0]);
        for i in 0..self.events.len() {
            file.u64(Self::id(i));
        }
        for (i, event) in self.events.iter().enumerate() {
            file.raw(&self.attr(event))
                .words(&[ids_at + 8 * i as u64, 8]);
        }
        file.raw(&self.records.bytes);
        let mut at = data_at + data_size + 16 * features.len() as u64;
        for (_, section) in &features {
            file.words(&[at, section.len() as u64]);
            at += section.len() as u64;
        }
        for (_, section) in &features {
            file.raw(section);
        }
        file.bytes
    }

    /// The recording as it goes through a pipe.
    pub fn pipe(&self) -> Vec<u8> {
        let mut pipe = RecordingBuilder::of_order(self.big);
        pipe.records
            .raw(if self.big { b"2ELIFREP" } else { b"PERFILE2" })
            .u64(16);
        for (i, event) in self.events.iter().enumerate() {
            let mut body = Writer::new(self.big);
            body.raw(&self.attr(event)).u64(Self::id(i));
            pipe.record(64, 0, &body.bytes);
        }
        for (feature, section) in self.all_features() {
            let mut body = Writer::new(self.big);
            body.u64(u64::from(feature)).raw(&section);
            pipe.record(80, 0, &body.bytes);
        }
        pipe.records.raw(&self.records.bytes);
        pipe.records.bytes
    }
}

/// The comment over `PERF_RECORD_SAMPLE`, line by line.
pub fn sample_body(event: &EventSpec, id: u64, sample: &Sample, big: bool) -> Vec<u8> {
    let regs_abi = |regs: &[u64]| match (regs.is_empty(), sample.regs_abi) {
        (true, _) => 0,
        (_, 0) => 2,
        (_, abi) => abi,
    };
    let has = |bit| event.sample_type & bit != 0;
    let mut body = Writer::new(big);
    if has(IDENTIFIER) {
        body.u64(id);
    }
    if has(IP) {
        body.u64(sample.ip);
    }
    if has(TID) {
        body.u32(sample.pid as u32).u32(sample.tid as u32);
    }
    if has(TIME) {
        body.u64(sample.time);
    }
    if has(ADDR) {
        body.u64(sample.addr);
    }
    if has(ID) {
        body.u64(id);
    }
    if has(STREAM_ID) {
        body.u64(sample.stream_id);
    }
    if has(CPU) {
        body.u32(sample.cpu).u32(0);
    }
    if has(PERIOD) {
        body.u64(sample.period);
    }
    if has(READ) {
        read(&mut body, event.read_format, sample);
    }
    if has(CALLCHAIN) {
        body.u64(sample.callchain.len() as u64)
            .words(&sample.callchain);
    }
    if has(RAW) {
        // The size counts the padding that brings size and data to 8 bytes.
        let len = (4 + sample.raw.len()).next_multiple_of(8) - 4;
        body.u32(len as u32).raw(&sample.raw);
        body.raw(&vec![0; len - sample.raw.len()]);
    }
    if has(BRANCH_STACK) {
        body.u64(sample.branches.len() as u64);
        if event.branch_sample_type & 1 << 17 != 0 {
            body.u64(sample.hw_index);
        }
        for branch in &sample.branches {
            body.words(branch);
        }
        if event.branch_sample_type & 1 << 19 != 0 {
            body.words(&sample.branch_counters);
        }
    }
    if has(REGS_USER) {
        body.u64(regs_abi(&sample.regs_user))
            .words(&sample.regs_user);
    }
    if has(STACK_USER) {
        body.u64(sample.stack_user.len() as u64);
        if !sample.stack_user.is_empty() {
            body.raw(&sample.stack_user).u64(sample.stack_dyn_size);
        }
    }
    if has(WEIGHT) {
        body.u64(sample.weight);
    }
    if has(WEIGHT_STRUCT) {
        let (var1, var2, var3) = (
            sample.weight as u32,
            (sample.weight >> 32) as u16,
            (sample.weight >> 48) as u16,
        );
        match big {
            true => body.u16(var3).u16(var2).u32(var1),
            false => body.u32(var1).u16(var2).u16(var3),
        };
    }
    if has(DATA_SRC) {
        body.u64(sample.data_src);
    }
    if has(TRANSACTION) {
        body.u64(sample.transaction);
    }
    if has(REGS_INTR) {
        body.u64(regs_abi(&sample.regs_intr))
            .words(&sample.regs_intr);
    }
    if has(PHYS_ADDR) {
        body.u64(sample.phys_addr);
    }
    if has(CGROUP) {
        body.u64(sample.cgroup);
    }
    if has(DATA_PAGE_SIZE) {
        body.u64(sample.data_page_size);
    }
    if has(CODE_PAGE_SIZE) {
        body.u64(sample.code_page_size);
    }
    if has(AUX) {
        body.u64(sample.aux.len() as u64).raw(&sample.aux);
    }
    body.bytes
}

/// `struct read_format`.
fn read(body: &mut Writer, format: u64, sample: &Sample) {
    let has = |bit: u32| format & 1 << bit != 0;
    let group = has(3);
    let times = |body: &mut Writer| {
        if has(0) {
            body.u64(sample.time_enabled);
        }
        if has(1) {
            body.u64(sample.time_running);
        }
    };
    let id_lost = |body: &mut Writer, id, lost| {
        if has(2) {
            body.u64(id);
        }
        if has(4) {
            body.u64(lost);
        }
    };
    if group {
        body.u64(sample.counters.len() as u64);
        times(body);
        for &(value, id, lost) in &sample.counters {
            body.u64(value);
            id_lost(body, id, lost);
        }
    } else {
        let (value, id, lost) = sample.counters[0];
        body.u64(value);
        times(body);
        id_lost(body, id, lost);
    }
}
