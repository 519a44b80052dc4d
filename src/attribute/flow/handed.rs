//! What a map function leaves in registers, beside the key or the elem that it hands out: pointers into
//! the slot that it found.
//!
//! A key or an elem outside of its slot says nothing of the slot; what still points into that does. A call
//! has several ways to come to its end, each with other registers, and nothing in the caller says which it
//! was but the registers themselves.

use super::state::{Abi, State};
use super::value::{HERE, Value, What};
use crate::gomap::Structure;

/// One way through a function. By number of the register, bit for bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Way {
    /// Those that point to the key or the elem in its slot.
    pub slot: u32,
    /// Those that point to the elem that is handed out, wherever it lies.
    pub elem: u32,
}

/// So many ways are told apart.
const MOST: usize = 6;

/// What a call handed out, and what registers say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handed {
    /// As in [`What::Elem`].
    pub call: u64,
    ways: [Way; MOST],
    len: usize,
    /// There are more ways than are told apart.
    lost: bool,
    /// Registers that hold the start of a bucket or group which the call came by.
    pub buckets: u32,
}

impl Handed {
    /// Of a call that took a way which only the calls for small maps take, of one group.
    pub fn none(call: u64) -> Handed {
        Handed {
            call,
            ways: [Way::default(); MOST],
            len: 0,
            lost: false,
            buckets: 0,
        }
    }

    pub fn one(call: u64, way: Way) -> Handed {
        let mut handed = Handed::none(call);
        handed.add(way);
        handed
    }

    /// As the caller has it.
    pub fn by(self, call: u64) -> Handed {
        Handed { call, ..self }
    }

    /// The ways that the call may have taken; of a small map's, which has but one group, not all.
    pub fn ways(&self) -> &[Way] {
        &self.ways[..self.len]
    }

    fn add(&mut self, way: Way) {
        if self.lost || self.ways().contains(&way) {
            return;
        }
        match self.ways.get_mut(self.len) {
            Some(free) => {
                *free = way;
                self.len += 1;
                self.ways[..self.len].sort_unstable();
            }
            None => self.lose(),
        }
    }

    fn lose(&mut self) {
        self.ways = [Way::default(); MOST];
        self.len = 1;
        self.lost = true;
    }

    /// With other ways in place of each.
    fn changed(&self, change: impl Fn(&Way) -> Way) -> Handed {
        let mut all = Handed {
            buckets: self.buckets,
            ..Handed::none(self.call)
        };
        for way in self.ways() {
            all.add(change(way));
        }
        if self.lost {
            all.lose();
        }
        all
    }

    /// What holds where control arrives with either. In map code nothing may have been handed out yet; in
    /// its callers it is of another call, or none.
    pub fn join(a: Option<Handed>, b: Option<Handed>) -> Option<Handed> {
        match (a, b) {
            (Some(mut a), Some(b)) if a.call == b.call => {
                for way in b.ways() {
                    a.add(*way);
                }
                if b.lost {
                    a.lose();
                }
                a.buckets &= b.buckets;
                Some(a)
            }
            (Some(one), None) | (None, Some(one)) if one.call == HERE => {
                Handed::join(Some(one), Some(Handed::one(HERE, Way::default())))
            }
            _ => None,
        }
    }

    /// Registers are written: `written`, bit for bit; with the value of another where it is `copied`.
    pub fn wrote(&mut self, written: u32, copied: Option<(usize, usize)>) {
        let change = |bits: u32| {
            let kept = bits & !written;
            match copied {
                Some((to, from)) if bits >> from & 1 == 1 => kept | 1 << to,
                _ => kept,
            }
        };
        *self = self.changed(|way| Way {
            slot: change(way.slot),
            elem: change(way.elem),
        });
        self.buckets = change(self.buckets);
    }

    /// A function stores the key that register `from` points to in its iterator.
    pub fn key(state: &State, from: usize) -> Handed {
        let slot = state.regs[from].slot;
        let way = Way {
            slot: of_slot(state, slot) | 1 << from,
            elem: 0,
        };
        Handed {
            buckets: buckets(state),
            ..Handed::one(HERE, way)
        }
    }

    /// It stores the elem, right after the key.
    pub fn elem(&mut self, state: &State, from: usize) {
        let value = state.regs[from];
        let in_slot = match value.what {
            What::Elem(_) => of_slot(state, value.slot),
            _ => 0,
        };
        let elem = same(state, &value) | 1 << from;
        *self = self.changed(|way| Way {
            slot: way.slot | in_slot,
            elem: way.elem | elem,
        });
    }

    /// A function returns an elem.
    pub fn returned(state: &State, abi: &Abi) -> Handed {
        if state.small == Some(true) {
            return Handed::none(HERE);
        }
        let result = abi.args[0];
        let value = state.regs[result];
        let way = Way {
            slot: match value.what {
                What::Elem(_) => of_slot(state, value.slot),
                _ => 0,
            },
            elem: same(state, &value) | 1 << result,
        };
        Handed {
            buckets: buckets(state),
            ..Handed::one(HERE, way)
        }
    }
}

fn registers(state: &State, is_meant: impl Fn(&Value) -> bool) -> u32 {
    let regs = state.regs.iter().enumerate();
    regs.fold(0, |bits, (r, value)| bits | u32::from(is_meant(value)) << r)
}

/// Those that point into a slot; where keys lie in their slots, a pointer to one does.
fn of_slot(state: &State, slot: u32) -> u32 {
    let points = |value: &Value| value.is_in_slot() || value.what == What::Key(HERE);
    registers(state, |value| {
        slot != 0 && value.slot == slot && points(value)
    })
}

/// Those that are the same elem.
fn same(state: &State, elem: &Value) -> u32 {
    let known = matches!(elem.what, What::Elem(_)) && elem.slot != 0;
    registers(state, |value| known && value == elem)
}

fn buckets(state: &State) -> u32 {
    registers(state, |value| {
        let bucket = matches!(value.what, What::At(Structure::Bucket | Structure::Group));
        bucket && !value.is_in_slot() && value.expr.as_constant() == Some(0)
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Areas, Target, analyse, classify};
    use crate::gomap::layout_for;
    use crate::program::Program;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// Of the calls that hand out elems to `main.opBlobs`, whose elems lie outside of their slots: what is
    /// called, and whether a register leads to the slot on some way, at every access.
    fn leading(file: &str) -> BTreeSet<(String, bool)> {
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
        let program = Program::open(&samples.join(file)).unwrap();
        let layout = layout_for(program.go.as_ref().unwrap()).unwrap();
        let mut functions = program.functions().iter();
        let start = functions.find(|f| f.name == "main.opBlobs").unwrap().start;
        let flow = analyse(&program, layout, start);
        let handed = flow.sites.values().filter_map(|site| {
            let operand = site.operands.first()?;
            let Target::Elem { call, .. } = classify(operand, layout, &Areas::default(), false)
            else {
                return None;
            };
            let handed = site.handed.filter(|handed| handed.call == call);
            let leads = handed.is_some_and(|h| h.ways().iter().any(|way| way.slot != 0));
            Some((flow.calls[&call].callee.clone()?, leads))
        });
        handed.collect()
    }

    #[test]
    fn registers_lead_to_the_slot_of_an_elem() {
        let of = |callee: &str, leads| (callee.to_owned(), leads);
        let classic = leading("modelled-go1.22-twins/mapload.gz");
        assert!(classic.contains(&of("runtime.mapiterinit", true)));
        // It computes the elem's address from another index than the key's.
        assert!(classic.contains(&of("runtime.mapaccess1", false)));
        let swiss = leading("modelled-go1.27-twins/mapload.gz");
        assert!(swiss.contains(&of("runtime.mapIterStart", true)));
        assert!(swiss.contains(&of("runtime.mapaccess1", true)));
    }
}
