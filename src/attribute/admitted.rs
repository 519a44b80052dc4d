//! Which shapes an access may be of.

use super::types::{ShapeId, Types};

/// By what its code and its type say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admitted {
    Known(ShapeId),
    /// Those of the binary's types whose maps a kind of functions handles.
    Variant(u32, usize),
}

impl Admitted {
    pub fn shapes<'a>(&'a self, types: &'a Types) -> &'a [ShapeId] {
        match self {
            Admitted::Known(shape) => std::slice::from_ref(shape),
            Admitted::Variant(binary, variant) => types.of_variant(*binary, *variant),
        }
    }

    pub fn admits(&self, shape: ShapeId, types: &Types) -> bool {
        match *self {
            Admitted::Known(known) => known == shape,
            Admitted::Variant(_, variant) => types.admitted(shape).get(variant) == Some(&true),
        }
    }
}
