//! What `weight` and `data_src` mean on each PMU: one file each, and the list of them.
//!
//! Nothing outside this folder asks which vendor a recording is of.

pub mod amd_ibs;
pub mod arm_spe;
mod breakpoint;
pub mod decode;
mod generic;
mod intel_pebs;
mod rows;

use crate::data_src::{DataSrc, Level, Op};
use crate::recording::{Access, Event, Meta};
use serde::{Deserialize, Serialize};

/// Which PMU an event was counted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    IntelPebs,
    AmdIbs,
    ArmSpe,
    Breakpoint,
    #[default]
    Generic,
}

/// Whether a PMU fills in a field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Validity {
    /// What is there is meant.
    Valid,
    /// The PMU does not record it.
    Absent,
    /// It has no meaning for such an access.
    NotApplicable,
    /// What is there may or may not be meant.
    #[default]
    Unknown,
}

impl Validity {
    /// As serde spells it.
    pub fn name(self) -> &'static str {
        match self {
            Validity::Valid => "valid",
            Validity::Absent => "absent",
            Validity::NotApplicable => "not_applicable",
            Validity::Unknown => "unknown",
        }
    }

    /// Whether a value that is there can be shown.
    pub fn shown(self) -> bool {
        matches!(self, Validity::Valid | Validity::Unknown)
    }
}

/// Which fields a PMU fills in for one kind of access.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fields {
    pub level: Validity,
    pub latency: Validity,
    pub snoop: Validity,
    pub tlb: Validity,
    pub locked: Validity,
    pub blocked: Validity,
}

impl Fields {
    /// All fields alike.
    pub const fn all(validity: Validity) -> Fields {
        Fields {
            level: validity,
            latency: validity,
            snoop: validity,
            tlb: validity,
            locked: validity,
            blocked: validity,
        }
    }

    /// The fields by name, in the order of the columns.
    pub fn named(&self) -> [(&'static str, Validity); 6] {
        [
            ("level", self.level),
            ("latency", self.latency),
            ("snoop", self.snoop),
            ("tlb", self.tlb),
            ("locked", self.locked),
            ("blocked", self.blocked),
        ]
    }
}

/// Which fields an event fills in, on the machine that recorded it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldTable {
    pub loads: Fields,
    pub stores: Fields,
}

impl FieldTable {
    /// The fields for an access of this op; those of loads where the op is not told.
    pub fn of(&self, op: Option<Op>) -> &Fields {
        match op {
            Some(Op::Store) => &self.stores,
            _ => &self.loads,
        }
    }
}

/// Which instruction `ip` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ip {
    /// The accessing one.
    Exact,
    /// The one after it: step back.
    Next,
    /// The accessing one where `precise_ip` is 2 or more; else some later one.
    Precise,
    /// Some later one.
    Skid,
}

/// One PMU and its rules.
#[derive(Debug)]
pub struct Pmu {
    pub kind: Kind,
    pub name: &'static str,
    pub owns: fn(&Event, &Meta) -> bool,
    pub fields: fn(&Event, &Meta) -> FieldTable,
    pub ip: Ip,
    /// Whether `REGS_INTR` and the call chain belong to the sampled access: the state just after it.
    pub regs_sound: bool,
    /// Cycles that a nonzero `weight` stands for, of an access of this op and level.
    pub latency: fn(weight: Weight, op: Op, level: Option<Level>) -> Option<u64>,
    /// Cycles below which the event records no access, by its attr.
    pub threshold: fn(&Event) -> Option<u64>,
    /// Reads what this PMU writes in a way of its own.
    pub refine: fn(DataSrc, &Fields, &mut Access),
    /// Sentences that bend how the event's numbers are to be read.
    pub notes: fn(&Event, &Meta) -> Vec<String>,
}

/// `weight`, as one event writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// `PERF_SAMPLE_WEIGHT`.
    Whole(u64),
    /// `PERF_SAMPLE_WEIGHT_STRUCT`.
    Struct {
        var1_dw: u32,
        var2_w: u16,
        var3_w: u16,
    },
}

impl Weight {
    /// Splits the word of a `WEIGHT_STRUCT`.
    pub fn of_struct(word: u64) -> Weight {
        Weight::Struct {
            var1_dw: word as u32,
            var2_w: (word >> 32) as u16,
            var3_w: (word >> 48) as u16,
        }
    }

    /// `WEIGHT`, or `var1_dw`: where every PMU so far puts what `perf mem` calls the local weight.
    pub fn first(self) -> u64 {
        match self {
            Weight::Whole(weight) => weight,
            Weight::Struct { var1_dw, .. } => u64::from(var1_dw),
        }
    }
}

impl Pmu {
    /// Whether code attribution may take `ip` (stepped back where `Ip::Next`) for the access.
    pub fn ip_is_exact(&self, event: &Event) -> bool {
        match self.ip {
            Ip::Exact | Ip::Next => true,
            Ip::Precise => event.precise_ip >= 2,
            Ip::Skid => false,
        }
    }
}

/// All PMUs; the first that owns an event counts, and the last owns any.
pub const PMUS: [&Pmu; 5] = [
    &breakpoint::PMU,
    &arm_spe::PMU,
    &amd_ibs::PMU,
    &intel_pebs::PMU,
    &generic::PMU,
];

/// The PMU whose rules hold for `event`.
pub fn pmu_for(event: &Event, meta: &Meta) -> &'static Pmu {
    PMUS.into_iter()
        .find(|pmu| (pmu.owns)(event, meta))
        .unwrap_or(&generic::PMU)
}

impl Kind {
    /// The rules of this PMU.
    pub fn pmu(self) -> &'static Pmu {
        match self {
            Kind::IntelPebs => &intel_pebs::PMU,
            Kind::AmdIbs => &amd_ibs::PMU,
            Kind::ArmSpe => &arm_spe::PMU,
            Kind::Breakpoint => &breakpoint::PMU,
            Kind::Generic => &generic::PMU,
        }
    }
}

impl Event {
    /// Says whose the event is, and with that which fields it fills in and above which latency.
    pub fn set_pmu(&mut self, meta: &Meta) {
        let pmu = pmu_for(self, meta);
        self.pmu = pmu.kind;
        self.fields = (pmu.fields)(self, meta);
        self.ldlat = (pmu.threshold)(self);
    }
}

/// Whether the file's cpuid names this vendor.
fn vendor(meta: &Meta, vendor: &str) -> bool {
    meta.cpuid
        .as_deref()
        .is_some_and(|cpuid| cpuid.starts_with(vendor))
}

/// Family and model of an x86 cpuid as perf writes it: `GenuineIntel,6,106,6`.
fn family_and_model(meta: &Meta) -> Option<(u32, u32)> {
    let mut numbers = meta.cpuid.as_deref()?.split([',', '-']).skip(1);
    Some((
        numbers.next()?.trim().parse().ok()?,
        numbers.next()?.trim().parse().ok()?,
    ))
}

/// The number of `term=` in an event's name: `cpu/mem-loads,ldlat=30/P`.
fn term(event: &Event, term: &str) -> Option<u64> {
    let digits = event.name.split(term).nth(1)?.strip_prefix('=')?;
    digits
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

fn no_threshold(_: &Event) -> Option<u64> {
    None
}

fn as_written(_: DataSrc, _: &Fields, _: &mut Access) {}

fn no_notes(_: &Event, _: &Meta) -> Vec<String> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, kind: u32) -> Event {
        Event {
            name: name.to_owned(),
            kind,
            ..Event::default()
        }
    }

    fn cpu(cpuid: &str) -> Meta {
        Meta {
            cpuid: Some(cpuid.to_owned()),
            ..Meta::default()
        }
    }

    #[test]
    fn every_pmu_is_listed_once_and_found_by_its_kind() {
        for pmu in PMUS {
            assert_eq!(
                PMUS.iter().filter(|other| other.kind == pmu.kind).count(),
                1
            );
            assert_eq!(pmu.kind.pmu().name, pmu.name);
        }
    }

    #[test]
    fn an_event_belongs_to_the_pmu_that_counted_it() {
        let intel = cpu("GenuineIntel,6,106,6");
        let amd = cpu("AuthenticAMD,25,17,1");
        let kind = |event: &Event, meta: &Meta| pmu_for(event, meta).kind;
        assert_eq!(
            kind(&event("cpu/mem-loads,ldlat=30/P", 4), &intel),
            Kind::IntelPebs
        );
        assert_eq!(kind(&event("ibs_op//", 11), &amd), Kind::AmdIbs);
        assert_eq!(kind(&event("mem:0xc000090090", 5), &amd), Kind::Breakpoint);
        assert_eq!(
            kind(&event("arm_spe_0//", 9), &cpu("0x413fd0c1")),
            Kind::ArmSpe
        );
        assert_eq!(kind(&event("page-faults", 1), &intel), Kind::Generic);
        assert_eq!(kind(&event("r1cd", 4), &Meta::default()), Kind::Generic);
    }

    #[test]
    fn the_three_fields_of_a_weight_struct() {
        assert_eq!(
            Weight::of_struct(0x0003_0002_0000_0147),
            Weight::Struct {
                var1_dw: 327,
                var2_w: 2,
                var3_w: 3
            }
        );
    }

    #[test]
    fn validities_are_spelt_as_serde_does() {
        use Validity::*;
        for validity in [Valid, Absent, NotApplicable, Unknown] {
            let spelt = serde_json::to_value(validity).unwrap();
            assert_eq!(spelt, serde_json::Value::from(validity.name()));
        }
    }

    #[test]
    fn family_and_model_are_the_first_two_numbers() {
        assert_eq!(
            family_and_model(&cpu("AuthenticAMD,25,17,1")),
            Some((25, 17))
        );
        assert_eq!(
            family_and_model(&cpu("GenuineIntel-6-106-6")),
            Some((6, 106))
        );
        assert_eq!(family_and_model(&cpu("0x00000000413fd0c1")), None);
        assert_eq!(family_and_model(&Meta::default()), None);
    }
}
