//! The memory model against published litmus tests: each is run in every order that the model lets
//! other CPUs see, and the outcome that the literature calls allowed or forbidden must be so.
//!
//! Sources: Owens, Sarkar, Sewell, "A Better x86 Memory Model: x86-TSO" (2009); Intel SDM volume 3,
//! 9.2.3; Alglave, Maranget, Tautschnig, "Herding Cats" (2014), table of the Arm results; Pulte and
//! others, "Simplifying ARM Concurrency" (2018): Armv8 is multi-copy atomic, so IRIW with fences is
//! forbidden.

use mempath::analyses::memory_model::{Arch, Fence, Order, Step, order};
use std::collections::BTreeSet;

const X: u64 = 0x1000;
const Y: u64 = 0x2000;

#[derive(Clone, Copy)]
enum Do {
    /// Reads into the next register.
    R(Step),
    /// Writes the number.
    W(Step, u32),
    F(Fence),
}
use Do::{F, R, W};

fn load(at: u64) -> Do {
    R(Step::load(at))
}

fn store(at: u64, value: u32) -> Do {
    W(Step::store(at), value)
}

fn acquire(at: u64) -> Do {
    R(Step {
        acquire: true,
        ..Step::load(at)
    })
}

fn acquire_pc(at: u64) -> Do {
    R(Step {
        acquire_pc: true,
        ..Step::load(at)
    })
}

fn release(at: u64, value: u32) -> Do {
    W(
        Step {
            release: true,
            ..Step::store(at)
        },
        value,
    )
}

fn step(action: Do) -> Option<Step> {
    match action {
        R(step) | W(step, _) => Some(step),
        F(_) => None,
    }
}

/// Accesses of a thread, and for each the earlier ones that all CPUs see before it.
fn thread(arch: Arch, actions: &[Do]) -> Vec<(Do, Vec<usize>)> {
    let mut accesses: Vec<(usize, Do, Vec<usize>)> = Vec::new();
    for (at, &action) in actions.iter().enumerate() {
        let Some(second) = step(action) else { continue };
        let mut before = Vec::new();
        for (i, (from, first, _)) in accesses.iter().enumerate() {
            let fence = actions[*from..at].iter().find_map(|a| match a {
                F(fence) => Some(*fence),
                _ => None,
            });
            if order(arch, &step(*first).unwrap(), fence, &second).is_kept() {
                before.push(i);
            }
        }
        accesses.push((at, action, before));
    }
    accesses.into_iter().map(|(_, a, b)| (a, b)).collect()
}

/// Registers in program order, thread by thread; then the last values of X and Y.
type Outcome = (Vec<u32>, u32, u32);

/// All outcomes that the model allows.
fn outcomes(arch: Arch, threads: &[&[Do]]) -> BTreeSet<Outcome> {
    let threads: Vec<_> = threads.iter().map(|t| thread(arch, t)).collect();
    let mut done: Vec<Vec<bool>> = threads.iter().map(|t| vec![false; t.len()]).collect();
    let mut regs: Vec<Vec<u32>> = threads.iter().map(|t| vec![0; t.len()]).collect();
    let mut all = BTreeSet::new();
    run(&threads, &mut done, &mut regs, [0, 0], &mut all);
    all
}

fn run(
    threads: &[Vec<(Do, Vec<usize>)>],
    done: &mut Vec<Vec<bool>>,
    regs: &mut Vec<Vec<u32>>,
    memory: [u32; 2],
    all: &mut BTreeSet<Outcome>,
) {
    let mut ended = true;
    for t in 0..threads.len() {
        for i in 0..threads[t].len() {
            let (action, before) = &threads[t][i];
            if done[t][i] || before.iter().any(|&b| !done[t][b]) {
                continue;
            }
            ended = false;
            done[t][i] = true;
            let mut next = memory;
            let at = |step: &Step| usize::from(step.at == Y);
            match action {
                R(step) => regs[t][i] = memory[at(step)],
                W(step, value) => next[at(step)] = *value,
                F(_) => {}
            }
            run(threads, done, regs, next, all);
            done[t][i] = false;
        }
    }
    if ended {
        let read = threads.iter().zip(regs.iter()).flat_map(|(thread, regs)| {
            let reads = thread
                .iter()
                .zip(regs)
                .filter(|((a, _), _)| matches!(a, R(_)));
            reads.map(|(_, value)| *value)
        });
        all.insert((read.collect(), memory[0], memory[1]));
    }
}

fn allows(arch: Arch, threads: &[&[Do]], registers: &[u32]) -> bool {
    let all = outcomes(arch, threads);
    all.iter().any(|(regs, _, _)| regs == registers)
}

const FULL: Do = F(Fence::Full);

#[test]
fn store_buffering() {
    // SB: x=1; r0=y || y=1; r1=x. r0=r1=0 is allowed on both, and forbidden with fences.
    let plain: [&[Do]; 2] = [&[store(X, 1), load(Y)], &[store(Y, 1), load(X)]];
    let fenced: [&[Do]; 2] = [&[store(X, 1), FULL, load(Y)], &[store(Y, 1), FULL, load(X)]];
    for arch in [Arch::X86, Arch::Armv8] {
        assert!(allows(arch, &plain, &[0, 0]));
        assert!(!allows(arch, &fenced, &[0, 0]));
        assert!(allows(arch, &fenced, &[1, 1]));
    }
    // stlr; ldar forbids it, ldapr does not.
    let rcsc: [&[Do]; 2] = [&[release(X, 1), acquire(Y)], &[release(Y, 1), acquire(X)]];
    let rcpc: [&[Do]; 2] = [
        &[release(X, 1), acquire_pc(Y)],
        &[release(Y, 1), acquire_pc(X)],
    ];
    assert!(!allows(Arch::Armv8, &rcsc, &[0, 0]));
    assert!(allows(Arch::Armv8, &rcpc, &[0, 0]));
    // A fence of stores or of loads is not enough.
    for fence in [F(Fence::Stores), F(Fence::Loads)] {
        let weak: [&[Do]; 2] = [
            &[store(X, 1), fence, load(Y)],
            &[store(Y, 1), fence, load(X)],
        ];
        assert!(allows(Arch::Armv8, &weak, &[0, 0]));
    }
    // xchg in place of mov (SDM 9.2.3.9).
    let locked = |at| {
        W(
            Step {
                locked: true,
                ..Step::store(at)
            },
            1,
        )
    };
    let locked: [&[Do]; 2] = [&[locked(X), load(Y)], &[locked(Y), load(X)]];
    assert!(!allows(Arch::X86, &locked, &[0, 0]));
}

#[test]
fn message_passing() {
    // MP: x=1; y=1 || r0=y; r1=x. r0=1, r1=0: forbidden on x86, allowed on Arm.
    let plain: [&[Do]; 2] = [&[store(X, 1), store(Y, 1)], &[load(Y), load(X)]];
    assert!(!allows(Arch::X86, &plain, &[1, 0]));
    assert!(allows(Arch::Armv8, &plain, &[1, 0]));
    // dmb ishst and dmb ishld, or stlr and ldar or ldapr, forbid it; one side alone does not.
    let fenced: [&[Do]; 2] = [
        &[store(X, 1), F(Fence::Stores), store(Y, 1)],
        &[load(Y), F(Fence::Loads), load(X)],
    ];
    assert!(!allows(Arch::Armv8, &fenced, &[1, 0]));
    for acquired in [acquire(Y), acquire_pc(Y)] {
        let both: [&[Do]; 2] = [&[store(X, 1), release(Y, 1)], &[acquired, load(X)]];
        assert!(!allows(Arch::Armv8, &both, &[1, 0]));
        let one: [&[Do]; 2] = [&[store(X, 1), store(Y, 1)], &[acquired, load(X)]];
        assert!(allows(Arch::Armv8, &one, &[1, 0]));
    }
    let writer: [&[Do]; 2] = [&[store(X, 1), release(Y, 1)], &[load(Y), load(X)]];
    assert!(allows(Arch::Armv8, &writer, &[1, 0]));
}

#[test]
fn load_buffering() {
    // LB: r0=x; y=1 || r1=y; x=1. r0=r1=1: forbidden on x86, allowed on Arm, forbidden with fences.
    let plain: [&[Do]; 2] = [&[load(X), store(Y, 1)], &[load(Y), store(X, 1)]];
    assert!(!allows(Arch::X86, &plain, &[1, 1]));
    assert!(allows(Arch::Armv8, &plain, &[1, 1]));
    for fence in [FULL, F(Fence::Loads)] {
        let fenced: [&[Do]; 2] = [
            &[load(X), fence, store(Y, 1)],
            &[load(Y), fence, store(X, 1)],
        ];
        assert!(!allows(Arch::Armv8, &fenced, &[1, 1]));
    }
}

#[test]
fn independent_reads_of_independent_writes() {
    // IRIW: r = 1,0 and 1,0: forbidden on x86; on Arm allowed plain, forbidden with dmb or ldar.
    let of = |first: &[Do], second: &[Do]| -> [Vec<Do>; 4] {
        [
            vec![store(X, 1)],
            vec![store(Y, 1)],
            first.to_vec(),
            second.to_vec(),
        ]
    };
    let allowed = |arch, threads: &[Vec<Do>; 4]| {
        let threads: Vec<&[Do]> = threads.iter().map(Vec::as_slice).collect();
        allows(arch, &threads, &[1, 0, 1, 0])
    };
    let plain = of(&[load(X), load(Y)], &[load(Y), load(X)]);
    assert!(!allowed(Arch::X86, &plain));
    assert!(allowed(Arch::Armv8, &plain));
    let fenced = of(&[load(X), FULL, load(Y)], &[load(Y), FULL, load(X)]);
    assert!(!allowed(Arch::Armv8, &fenced));
    let acquired = of(&[acquire(X), acquire(Y)], &[acquire(Y), acquire(X)]);
    assert!(!allowed(Arch::Armv8, &acquired));
}

#[test]
fn two_plus_two_writes() {
    // 2+2W: x=1; y=2 || y=1; x=2. x=1 and y=1 at last: forbidden on x86, allowed on Arm, forbidden
    // with dmb ishst.
    let last = |arch, threads: &[&[Do]]| {
        let all = outcomes(arch, threads);
        all.iter().any(|(_, x, y)| (*x, *y) == (1, 1))
    };
    let plain: [&[Do]; 2] = [&[store(X, 1), store(Y, 2)], &[store(Y, 1), store(X, 2)]];
    assert!(!last(Arch::X86, &plain));
    assert!(last(Arch::Armv8, &plain));
    let fence = F(Fence::Stores);
    let fenced: [&[Do]; 2] = [
        &[store(X, 1), fence, store(Y, 2)],
        &[store(Y, 1), fence, store(X, 2)],
    ];
    assert!(!last(Arch::Armv8, &fenced));
}

#[test]
fn a_cpu_sees_its_own_store_before_others_do() {
    // SDM 9.2.3.5: intra-processor forwarding is allowed.
    let forwarded = order(Arch::X86, &Step::store(X), None, &Step::load(X));
    assert_eq!(forwarded, Order::Forwarded);
    assert_eq!(
        order(Arch::X86, &Step::load(X), None, &Step::store(X)),
        Order::SameBytes
    );
}
