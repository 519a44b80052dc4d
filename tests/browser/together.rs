//! What the analyses of all accesses together might have found in the made-up tables: SYNTHETIC.

use mempath::tables::together::{
    Bracketed, Cause, Intruder, Move, OperationKind, Overlapping, Rule, Slowdown, Stale, StalePair,
    Together, Touched, Window,
};

fn touched(op: &str, part: &str, function: &str, line: u64) -> Touched {
    Touched {
        op: Some(op.to_owned()),
        part: Some(part.to_owned()),
        operation: Some("assign".to_owned()),
        function: Some(function.to_owned()),
        file: Some("/usr/local/go/src/runtime/map.go".to_owned()),
        line: Some(line),
    }
}

/// Two operations on map 1, the first with an access of another thread inside; `start` is the first
/// sample's time.
pub fn together(start: u64) -> Together {
    let bracket = |begin: u64, end: Option<u64>, between: u64| Bracketed {
        operation: "assign".to_owned(),
        map: 1,
        tid: 41,
        begin_ns: start + begin,
        end_ns: end.map(|end| start + end),
        phases: vec!["check_flags".to_owned(), "write_key".to_owned()],
        between,
        intruders: (0..between)
            .map(|i| Intruder {
                time_ns: start + begin + 500 * (i + 1),
                tid: 42,
                what: touched("load", "hmap.flags", "runtime.mapaccess1_fast64", 40),
            })
            .collect(),
        deviations: Vec::new(),
        growth_ns: end.map(|_| (start + begin + 1_000, start + begin + 1_800)),
    };
    let mut odd = bracket(9_000, Some(11_000), 0);
    odd.deviations = vec![("clear_key".to_owned(), "mark_empty".to_owned())];
    Together {
        looked_at: 5_000,
        accesses: 20_000,
        every_access: false,
        window_ns: 100,
        operations: vec![OperationKind {
            operation: "assign".to_owned(),
            map: 1,
            count: 3,
            median_ns: Some(2_000),
            p95_ns: Some(3_000),
            interleaved: 1,
            deviating: 1,
        }],
        brackets: vec![bracket(1_000, Some(4_000), 2), odd, bracket(12_000, None, 0)],
        overlaps: vec![Overlapping {
            map: 1,
            fatal: "fatal error: concurrent map writes".to_owned(),
            flag: "set".to_owned(),
            tids: (41, 42),
            operations: ("assign".to_owned(), "delete".to_owned()),
            accesses: 17,
            first: (
                touched("store", "hmap.flags", "runtime.mapassign_fast64", 130),
                touched("load", "bmap.key", "runtime.mapdelete_fast64", 310),
            ),
        }],
        overlap_kinds: 1,
        causes: vec![
            Cause {
                name: "the program's".to_owned(),
                samples: 900,
                cycles: Some(90_000),
                interval: (0.880, 0.918),
            },
            Cause {
                name: "GC marking".to_owned(),
                samples: 100,
                cycles: Some(10_000),
                interval: (0.082, 0.120),
            },
        ],
        slowdowns: vec![
            Slowdown {
                during: "GC marking".to_owned(),
                samples: 120,
                otherwise: 780,
                more: Some((12.5, 4.25, 20.75)),
            },
            Slowdown {
                during: "growth".to_owned(),
                samples: 3,
                otherwise: 897,
                more: None,
            },
        ],
        windows: vec![
            Window {
                what: "GC marking".to_owned(),
                map: None,
                begin_ns: start + 200_000_000,
                end_ns: start + 300_000_000,
            },
            Window {
                what: "growth".to_owned(),
                map: Some(0),
                begin_ns: start + 500_000_000,
                end_ns: start + 520_000_000,
            },
        ],
        moves: vec![Move {
            map: 0,
            part: "bmap.key".to_owned(),
            from: "RAM".to_owned(),
            to: "L3".to_owned(),
            loads: 300,
            saves: 54_321,
        }],
        stale: Stale {
            cannot_tell: None,
            window_ns: 500,
            clock: None,
            granularity_ns: 1,
            out_of_order: 0,
            skew: Vec::new(),
            loads: 64,
            found: 1,
            pairs: vec![StalePair {
                map: Some(1),
                part: Some("bmap.elem[2]".to_owned()),
                word: 0xc0_0080_0010,
                after_ns: 130,
                level: "L1".to_owned(),
                store_cpu: 3,
                load_cpu: 5,
                store: touched("store", "bmap.elem", "main.record", 88),
                load: touched("load", "bmap.elem", "main.lookup", 19),
            }],
        },
        rules: vec![Rule {
            name: "store_buffer".to_owned(),
            kept: false,
            why: "the store may still be in the store buffer when the load has its value: others may see the load first"
                .to_owned(),
            pairs: 7,
        }],
    }
}
