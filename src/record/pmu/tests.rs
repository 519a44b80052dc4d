use super::*;

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = list.iter().map(|(a, b)| (a.to_string(), b.to_string()));
    owned.collect()
}

/// A PMU with the terms that Intel's have.
fn intel(name: &str, kind: u32, events: &[(&str, &str)]) -> Pmu {
    Pmu {
        name: name.to_owned(),
        kind,
        events: pairs(events),
        formats: pairs(&[
            ("event", "config:0-7"),
            ("umask", "config:8-15"),
            ("ldlat", "config1:0-15"),
        ]),
        ..Pmu::default()
    }
}

fn machine(pmus: Vec<Pmu>) -> Machine {
    Machine {
        pmus,
        ..Machine::default()
    }
}

const WISH: Wish = Wish {
    rate: None,
    ldlat: 30,
    fields: Fields {
        call_chains: true,
        registers: true,
        physical: false,
    },
};

fn names(machine: &Machine, pmu: usize) -> Vec<(String, u32, u64, bool)> {
    let events = (PMUS[pmu].events)(machine, &WISH).unwrap();
    let plain = events.into_iter();
    plain
        .map(|e| (e.name.clone(), e.attr.type_, e.attr.config, e.in_group))
        .collect()
}

/// `EVENT_ATTR_STR` of `arch/x86/events/intel/core.c`: `mem_ld_hsw`, `mem_ld_spr`, `mem_st_spr`.
#[test]
fn intel_cores_record_loads_and_stores_in_a_group_where_they_need_one() {
    let plain = [
        ("mem-loads", "event=0xcd,umask=0x1,ldlat=3"),
        ("mem-stores", "event=0xd0,umask=0x82"),
    ];
    let ice_lake = machine(vec![intel("cpu", 4, &plain)]);
    assert_eq!(
        names(&ice_lake, 0),
        [
            ("cpu/mem-loads,ldlat=30/P".to_owned(), 4, 0x1cd, false),
            ("cpu/mem-stores/P".to_owned(), 4, 0x82d0, false),
        ]
    );
    let grouped = [
        ("mem-loads", "event=0xcd,umask=0x1,ldlat=3"),
        ("mem-loads-aux", "event=0x03,umask=0x82"),
        ("mem-stores", "event=0xcd,umask=0x2"),
    ];
    let atom = [
        ("mem-loads", "event=0xd0,umask=0x5,ldlat=3"),
        ("mem-stores", "event=0xd0,umask=0x6"),
    ];
    let hybrid = machine(vec![
        intel("cpu_atom", 10, &atom),
        intel("cpu_core", 4, &grouped),
    ]);
    let expected = [
        ("cpu_core/mem-loads-aux/", 4, 0x8203, false),
        ("cpu_core/mem-loads,ldlat=30/P", 4, 0x1cd, true),
        ("cpu_core/mem-stores/P", 4, 0x2cd, false),
        ("cpu_atom/mem-loads,ldlat=30/P", 10, 0x5d0, false),
        ("cpu_atom/mem-stores/P", 10, 0x6d0, false),
    ];
    let expected =
        expected.map(|(name, kind, config, group)| (name.to_owned(), kind, config, group));
    assert_eq!(names(&hybrid, 0), expected);
    assert_eq!(
        (PMUS[0].for_perf)(&hybrid, &WISH)[0],
        "{cpu_core/mem-loads-aux/,cpu_core/mem-loads,ldlat=30/}:P"
    );
}

#[test]
fn ibs_asks_for_no_registers_and_spe_for_aux_data() {
    let ibs = Pmu {
        name: "ibs_op".to_owned(),
        kind: 11,
        ..Pmu::default()
    };
    let events = (PMUS[1].events)(&machine(vec![ibs]), &WISH).unwrap();
    assert_eq!(events[0].name, "ibs_op//");
    assert!(!events[0].samples(perf_event_open_sys::bindings::PERF_SAMPLE_REGS_INTR));
    let spe = Pmu {
        name: "arm_spe_0".to_owned(),
        kind: 9,
        formats: pairs(&[
            ("ts_enable", "config:0"),
            ("load_filter", "config:33"),
            ("store_filter", "config:34"),
        ]),
        cpus: Some(vec![0, 1]),
        ..Pmu::default()
    };
    let events = (PMUS[2].events)(&machine(vec![spe]), &WISH).unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].attr.config, 1 | 1 << 33 | 1 << 34);
    assert!(events[0].aux && !events[1].aux);
    assert_eq!(events[0].cpus, Some(vec![0, 1]));
    assert_eq!(events[1].name, "dummy:u");
}

#[test]
fn a_machine_without_a_pmu_is_told_what_works_there() {
    let mut machine = machine(Vec::new());
    machine.hypervisor = Some("KVM".to_owned());
    let error = choose(&machine, &WISH).err().map(|e| e.to_string());
    let error = error.unwrap();
    assert!(error.contains("a virtual machine whose hypervisor gives it no PMU"));
    assert!(error.contains("mempath watch"));
}
