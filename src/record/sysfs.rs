//! The PMUs that the kernel offers: `/sys/bus/event_source/devices`.

use std::path::{Path, PathBuf};

/// Where PMUs are listed.
pub const DEVICES: &str = "/sys/bus/event_source/devices";

/// One PMU as sysfs describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pmu {
    pub name: String,
    /// `perf_event_attr.type`.
    pub kind: u32,
    /// Name of an event and its terms: `mem-loads`, `event=0xcd,umask=0x1,ldlat=3`.
    pub events: Vec<(String, String)>,
    /// Name of a term and the bits it sets: `ldlat`, `config1:0-15`.
    pub formats: Vec<(String, String)>,
    /// `caps/`: `max_precise`, `min_interval`, `ldlat`, ...
    pub caps: Vec<(String, String)>,
    /// Where its events can be opened: `cpus` or `cpumask`. `None`: on every CPU.
    pub cpus: Option<Vec<u32>>,
}

/// Every PMU below `devices`, by name. Empty where sysfs is not there.
pub fn pmus(devices: &Path) -> Vec<Pmu> {
    let Ok(entries) = std::fs::read_dir(devices) else {
        return Vec::new();
    };
    let mut pmus: Vec<Pmu> = entries
        .flatten()
        .filter_map(|entry| pmu(&entry.path()))
        .collect();
    pmus.sort_by(|a, b| a.name.cmp(&b.name));
    pmus
}

fn pmu(folder: &Path) -> Option<Pmu> {
    let cpus = ["cpus", "cpumask"]
        .iter()
        .find_map(|name| read(&folder.join(name)))
        .map(|text| cpu_list(&text));
    Some(Pmu {
        name: folder.file_name()?.to_string_lossy().into_owned(),
        kind: read(&folder.join("type"))?.parse().ok()?,
        // `.scale`, `.unit` and `.snapshot` are of counting.
        events: files(&folder.join("events"), |name| !name.contains('.')),
        formats: files(&folder.join("format"), |_| true),
        caps: files(&folder.join("caps"), |_| true),
        cpus,
    })
}

/// A small text file of sysfs or procfs without the white space around it.
pub fn read(path: &Path) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

fn files(folder: &Path, wanted: fn(&str) -> bool) -> Vec<(String, String)> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<(String, String)> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter_map(|path: PathBuf| {
            let name = path.file_name()?.to_string_lossy().into_owned();
            wanted(&name).then(|| Some((name, read(&path)?)))?
        })
        .collect();
    files.sort();
    files
}

/// The CPUs of `0-3,8`. Ends at the first thing that is no number or range.
pub fn cpu_list(text: &str) -> Vec<u32> {
    /// More CPUs than any kernel is built for (NR_CPUS).
    const MOST: u32 = 1 << 16;
    let mut cpus = Vec::new();
    for range in text.split(',').map(str::trim).filter(|r| !r.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) else {
            break;
        };
        cpus.extend(first..=last.min(MOST));
    }
    cpus
}

impl Pmu {
    fn lookup<'a>(list: &'a [(String, String)], name: &str) -> Option<&'a str> {
        let entry = list.iter().find(|(known, _)| known == name);
        entry.map(|(_, value)| value.as_str())
    }

    /// The terms of an event.
    pub fn event(&self, name: &str) -> Option<&str> {
        Self::lookup(&self.events, name)
    }

    pub fn format(&self, name: &str) -> Option<&str> {
        Self::lookup(&self.formats, name)
    }

    pub fn cap(&self, name: &str) -> Option<&str> {
        Self::lookup(&self.caps, name)
    }

    /// `[config, config1, config2]` for `event=0xcd,umask=0x1,ldlat=30`; an event's name stands for
    /// its terms, and later terms replace earlier ones.
    ///
    /// # Errors
    ///
    /// One clause naming the term that the PMU does not know, or whose value does not fit.
    pub fn config(&self, terms: &str) -> Result<[u64; 3], String> {
        let mut config = [0u64; 3];
        for term in terms.split(',').map(str::trim).filter(|t| !t.is_empty()) {
            let (name, value) = term.split_once('=').unwrap_or((term, ""));
            if let (true, Some(event)) = (value.is_empty(), self.event(name)) {
                let own = self.config(event)?;
                config
                    .iter_mut()
                    .zip(own)
                    .for_each(|(word, own)| *word |= own);
                continue;
            }
            if ["config", "config1", "config2"].contains(&name) && self.format(name).is_none() {
                let word = ["config", "config1", "config2"]
                    .iter()
                    .position(|n| *n == name);
                let slot = word.and_then(|i| config.get_mut(i));
                slot.zip(number(value))
                    .map(|(slot, value)| *slot = value)
                    .ok_or_else(|| format!("'{term}' has no number"))?;
                continue;
            }
            let format = (self.format(name)).ok_or_else(|| {
                let known: Vec<&str> = self.formats.iter().map(|(n, _)| n.as_str()).collect();
                format!(
                    "PMU {} has no term '{name}', only {}",
                    self.name,
                    known.join(", ")
                )
            })?;
            let value = match value {
                "" => 1,
                text => number(text).ok_or_else(|| format!("'{term}' has no number"))?,
            };
            place(format, value, &mut config)
                .ok_or_else(|| format!("the value of '{term}' does not fit the bits {format}"))?;
        }
        Ok(config)
    }
}

/// A number in C's notation.
pub fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Puts `value` into the bits that a format names: `config:0-7,32-35`, lowest bits first.
fn place(format: &str, mut value: u64, config: &mut [u64; 3]) -> Option<()> {
    let (word, ranges) = format.split_once(':')?;
    let index = ["config", "config1", "config2"]
        .iter()
        .position(|n| *n == word)?;
    let slot = config.get_mut(index)?;
    for range in ranges.split(',') {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let (low, high) = (low.parse::<u32>().ok()?, high.parse::<u32>().ok()?);
        let bits = high
            .checked_sub(low)?
            .checked_add(1)
            .filter(|_| high < 64)?;
        let mask = u64::MAX >> (64 - bits);
        *slot = *slot & !(mask << low) | (value & mask) << low;
        value = value.checked_shr(bits).unwrap_or(0);
    }
    (value == 0).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = list.iter().map(|(a, b)| (a.to_string(), b.to_string()));
        owned.collect()
    }

    /// `/sys/bus/event_source/devices/cpu` of an Ice Lake: `arch/x86/events/intel/core.c`.
    fn ice_lake() -> Pmu {
        Pmu {
            name: "cpu".to_owned(),
            kind: 4,
            events: pairs(&[
                ("mem-loads", "event=0xcd,umask=0x1,ldlat=3"),
                ("mem-stores", "event=0xd0,umask=0x82"),
            ]),
            formats: pairs(&[
                ("event", "config:0-7"),
                ("umask", "config:8-15"),
                ("ldlat", "config1:0-15"),
                ("offcore_rsp", "config1:0-63"),
            ]),
            ..Pmu::default()
        }
    }

    #[test]
    fn terms_go_to_the_bits_of_their_format() {
        let pmu = ice_lake();
        assert_eq!(pmu.config("mem-loads,ldlat=30"), Ok([0x1cd, 30, 0]));
        assert_eq!(pmu.config("mem-stores"), Ok([0x82d0, 0, 0]));
        assert_eq!(pmu.config("config=0x1b7,offcore_rsp=0x8000000000000000"), {
            Ok([0x1b7, 1 << 63, 0])
        });
        // config:0-7,32-35 is how AMD splits an event number of 12 bits.
        let mut config = [0; 3];
        assert_eq!(place("config:0-7,32-35", 0xfcd, &mut config), Some(()));
        assert_eq!(config, [0xf_0000_00cd, 0, 0]);
    }

    #[test]
    fn a_term_that_is_not_there_is_named_with_those_that_are() {
        let pmu = ice_lake();
        let reason = pmu.config("mem-loads,latency=3").unwrap_err();
        assert_eq!(
            reason,
            "PMU cpu has no term 'latency', only event, umask, ldlat, offcore_rsp"
        );
        let reason = pmu.config("umask=0x100").unwrap_err();
        assert_eq!(
            reason,
            "the value of 'umask=0x100' does not fit the bits config:8-15"
        );
    }

    #[test]
    fn cpu_lists_are_read_as_the_kernel_prints_them() {
        assert_eq!(cpu_list("0-3,8,10-11"), [0, 1, 2, 3, 8, 10, 11]);
        assert!(cpu_list("").is_empty());
        assert!(cpu_list("5-4").is_empty());
    }
}
