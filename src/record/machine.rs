//! The machine a recording is made on, as `/proc`, `/sys` and `uname` tell it.

use super::sysfs::{self, Pmu, cpu_list};
use std::path::Path;

/// What goes into the header of a recording, and what [`doctor`](super::doctor) looks at.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    pub hostname: String,
    /// `uname -r`.
    pub release: String,
    /// `uname -m`.
    pub arch: String,
    pub cpus_online: u32,
    pub cpus_available: u32,
    /// The processor's name: `AMD EPYC`.
    pub cpu_desc: String,
    /// As perf prints it: `AuthenticAMD,25,17,1`; a MIDR on arm64.
    pub cpuid: String,
    pub memory_kb: u64,
    pub nodes: Vec<Node>,
    /// Bytes of a block of physical memory; 0 without memory hotplug.
    pub block_size: u64,
    pub pmus: Vec<Pmu>,
    /// The hypervisor above it, by the name it gives itself; `None` on bare metal, as far as is known.
    pub hypervisor: Option<String>,
}

/// A NUMA node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    pub number: u32,
    pub total_kb: u64,
    pub free_kb: u64,
    /// `0-3,8`.
    pub cpus: String,
    /// Which blocks of physical memory are its own: bit `i` is block `i`.
    pub blocks: Vec<u64>,
}

impl Machine {
    /// Looks around. What cannot be read stays empty.
    pub fn here() -> Machine {
        let text = |path: &str| sysfs::read(Path::new(path)).unwrap_or_default();
        let cpuinfo = text("/proc/cpuinfo");
        let online = text("/sys/devices/system/cpu/online");
        let present = text("/sys/devices/system/cpu/present");
        let meminfo = text("/proc/meminfo");
        let mut machine = Machine {
            hostname: text("/proc/sys/kernel/hostname"),
            release: text("/proc/sys/kernel/osrelease"),
            arch: std::env::consts::ARCH.to_owned(),
            cpus_online: cpu_list(&online).len() as u32,
            cpus_available: cpu_list(&present).len() as u32,
            cpu_desc: info(&cpuinfo, "model name").unwrap_or_default(),
            cpuid: cpuid(&cpuinfo),
            memory_kb: kilobytes(&meminfo, "MemTotal"),
            nodes: nodes(),
            block_size: u64::from_str_radix(
                &text("/sys/devices/system/memory/block_size_bytes"),
                16,
            )
            .unwrap_or(0),
            pmus: sysfs::pmus(Path::new(sysfs::DEVICES)),
            hypervisor: info(&cpuinfo, "flags")
                .filter(|flags| flags.split(' ').any(|flag| flag == "hypervisor"))
                .map(|_| vendor())
                .or_else(|| sysfs::read(Path::new("/sys/hypervisor/type"))),
        };
        if machine.nodes.is_empty() {
            // A kernel without NUMA: perf c2c wants one node all the same.
            machine.nodes.push(Node {
                number: 0,
                total_kb: machine.memory_kb,
                free_kb: kilobytes(&meminfo, "MemFree"),
                cpus: online,
                blocks: Vec::new(),
            });
        }
        machine
    }

    /// The CPUs that are online.
    pub fn cpus(&self) -> Vec<u32> {
        sysfs::read(Path::new("/sys/devices/system/cpu/online"))
            .map(|text| cpu_list(&text))
            .filter(|cpus| !cpus.is_empty())
            .unwrap_or_else(|| (0..self.cpus_online.max(1)).collect())
    }

    pub fn pmu(&self, name: &str) -> Option<&Pmu> {
        self.pmus.iter().find(|pmu| pmu.name == name)
    }
}

/// The first `key : value` of `/proc/cpuinfo`.
fn info(cpuinfo: &str, key: &str) -> Option<String> {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim().to_owned())
}

/// Who wrote the hypervisor: leaf 0x40000000 of cpuid (`arch/x86/kernel/cpu/hypervisor.c`).
#[cfg(target_arch = "x86_64")]
fn vendor() -> String {
    /// Signatures that say less than the name does.
    const NAMES: [(&str, &str); 5] = [
        ("KVMKVMKVM", "KVM"),
        ("Microsoft Hv", "Hyper-V"),
        ("VMwareVMware", "VMware"),
        ("XenVMMXenVMM", "Xen"),
        ("TCGTCGTCGTCG", "QEMU without KVM"),
    ];
    let leaf = std::arch::x86_64::__cpuid(0x4000_0000);
    let bytes: Vec<u8> = [leaf.ebx, leaf.ecx, leaf.edx]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .filter(|byte| *byte != 0)
        .collect();
    let signature = String::from_utf8_lossy(&bytes).into_owned();
    let known = NAMES.iter().find(|(known, _)| *known == signature);
    known.map_or(signature, |(_, name)| (*name).to_owned())
}

#[cfg(not(target_arch = "x86_64"))]
fn vendor() -> String {
    "unknown".to_owned()
}

/// `tools/perf/arch/x86/util/header.c` and `arch/arm64/util/header.c`.
fn cpuid(cpuinfo: &str) -> String {
    let x86 = ["vendor_id", "cpu family", "model", "stepping"].map(|key| info(cpuinfo, key));
    if let [Some(vendor), Some(family), Some(model), Some(stepping)] = x86 {
        return format!("{vendor},{family},{model},{stepping}");
    }
    let midr = "/sys/devices/system/cpu/cpu0/regs/identification/midr_el1";
    sysfs::read(Path::new(midr)).unwrap_or_default()
}

fn kilobytes(meminfo: &str, key: &str) -> u64 {
    info(meminfo, key)
        .and_then(|value| value.split(' ').next()?.parse().ok())
        .unwrap_or(0)
}

fn nodes() -> Vec<Node> {
    let folder = Path::new("/sys/devices/system/node");
    let online = sysfs::read(&folder.join("online")).unwrap_or_default();
    cpu_list(&online)
        .into_iter()
        .filter_map(|number| {
            let own = folder.join(format!("node{number}"));
            // `Node 0 MemTotal:  24684084 kB`
            let meminfo = sysfs::read(&own.join("meminfo"))?;
            let meminfo = meminfo.replace(&format!("Node {number} "), "");
            Some(Node {
                number,
                total_kb: kilobytes(&meminfo, "MemTotal"),
                free_kb: kilobytes(&meminfo, "MemFree"),
                cpus: sysfs::read(&own.join("cpulist"))?,
                blocks: blocks(&own),
            })
        })
        .collect()
}

/// The links `memory0`, `memory1`, ... in a node's folder, as bits.
fn blocks(node: &Path) -> Vec<u64> {
    /// 16 TB in blocks of 128 MB; what lies beyond is left out.
    const MOST: usize = 1 << 17;
    let mut bits = Vec::new();
    for entry in std::fs::read_dir(node).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("memory"));
        let number = number.and_then(|number| number.parse::<usize>().ok());
        if let Some(block) = number.filter(|block| *block < MOST) {
            bits.resize(bits.len().max(block / 64 + 1), 0);
            if let Some(word) = bits.get_mut(block / 64) {
                *word |= 1 << (block % 64);
            }
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpuid_is_as_perf_prints_it() {
        let cpuinfo = "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\n\
                       model name\t: AMD EPYC\nstepping\t: 1\n";
        assert_eq!(cpuid(cpuinfo), "AuthenticAMD,25,17,1");
        assert_eq!(info(cpuinfo, "model name").as_deref(), Some("AMD EPYC"));
    }
}
