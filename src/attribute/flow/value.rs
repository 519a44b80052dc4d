//! Abstract values: what a register or a stack slot holds, as far as code tells.
//!
//! A pointer into a bucket is a structure, an [`Expr`] from its start and, once loops have made the
//! expression unknowable, the [`Area`] it stays in.

use crate::gomap::{Size, Structure};

/// An offset: `c + sum(sizes[s] * s) + (unknown multiples of some sizes) + stride * unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expr {
    pub c: i64,
    /// Coefficient of each [`Size`], by its discriminant.
    pub sizes: [i8; 10],
    /// Bit `s`: plus an unknown multiple of that size.
    pub indexed: u16,
    /// Plus an unknown multiple of this; 0 for none.
    pub stride: u32,
}

impl Expr {
    pub const fn constant(c: i64) -> Expr {
        Expr {
            c,
            sizes: [0; 10],
            indexed: 0,
            stride: 0,
        }
    }

    pub fn size(size: Size) -> Expr {
        let mut expr = Expr::constant(0);
        expr.sizes[size as usize] = 1;
        expr
    }

    /// Any number at all.
    pub const UNKNOWN: Expr = Expr {
        c: 0,
        sizes: [0; 10],
        indexed: 0,
        stride: 1,
    };

    pub fn as_constant(&self) -> Option<i64> {
        self.is_exact().then_some(self.c)
    }

    /// Whether a pointer stays in its slot that this is added to: nothing, and what lies between a slot's
    /// key and its elem. The code for keys of any size has no constants but the offset of the first slot.
    fn stays_in_slot(&self) -> bool {
        let mut rest = *self;
        rest.c = 0;
        rest.sizes[Size::ElemOff as usize] = 0;
        rest == Expr::constant(0) && (0..=1).contains(&self.coefficient(Size::ElemOff))
    }

    /// No term that is not known from the instruction alone.
    pub fn is_exact(&self) -> bool {
        self.sizes == [0; 10] && self.indexed == 0 && self.stride == 0
    }

    pub fn coefficient(&self, size: Size) -> i8 {
        self.sizes[size as usize]
    }

    pub fn is_indexed_by(&self, size: Size) -> bool {
        self.indexed >> size as usize & 1 == 1
    }

    pub fn add(&self, other: &Expr) -> Expr {
        let mut sum = *self;
        sum.c = sum.c.wrapping_add(other.c);
        for (a, b) in sum.sizes.iter_mut().zip(other.sizes) {
            *a = a.saturating_add(b);
        }
        sum.indexed |= other.indexed;
        sum.stride = gcd(sum.stride, other.stride);
        sum
    }

    pub fn scale(&self, by: i64) -> Expr {
        let Ok(small) = i8::try_from(by) else {
            return match self.as_constant() {
                Some(c) => Expr::constant(c.wrapping_mul(by)),
                None => Expr {
                    stride: multiple(self.stride, by),
                    ..Expr::UNKNOWN
                },
            };
        };
        let mut scaled = *self;
        scaled.c = scaled.c.wrapping_mul(by);
        for a in &mut scaled.sizes {
            *a = a.saturating_mul(small);
        }
        scaled.stride = multiple(self.stride, by);
        scaled
    }

    /// A product is known when one factor is a constant, or one is a size and the other an index.
    pub fn mul(&self, other: &Expr) -> Expr {
        if let Some(c) = other.as_constant() {
            return self.scale(c);
        }
        if let Some(c) = self.as_constant() {
            return other.scale(c);
        }
        let one_size = |e: &Expr| {
            let mut found = e.sizes.iter().enumerate().filter(|(_, n)| **n != 0);
            match (found.next(), found.next()) {
                (Some((s, 1)), None) if e.c == 0 && e.indexed == 0 && e.stride == 0 => Some(s),
                _ => None,
            }
        };
        match (one_size(self), one_size(other)) {
            (Some(s), None) | (None, Some(s)) => Expr {
                indexed: 1 << s,
                ..Expr::constant(0)
            },
            _ => Expr::UNKNOWN,
        }
    }

    /// The smallest expression that covers both; `None` when they have no common form.
    pub fn join(&self, other: &Expr) -> Option<Expr> {
        if self == other {
            return Some(*self);
        }
        let mut joined = *self;
        joined.indexed |= other.indexed;
        joined.stride = gcd(self.stride, other.stride);
        let mut differing = (0..10).filter(|&s| self.sizes[s] != other.sizes[s]);
        let same_sizes = match (differing.next(), differing.next()) {
            (None, _) => true,
            // One step of a loop over a size: `k = add(k, t.KeySize)`.
            (Some(s), None) if self.sizes[s].abs_diff(other.sizes[s]) == 1 => {
                joined.indexed |= 1 << s;
                true
            }
            // Already a loop over that size.
            (Some(s), None) => joined.indexed >> s & 1 == 1,
            _ => false,
        };
        let step = self.c.abs_diff(other.c);
        if step != 0 {
            joined.stride = gcd(joined.stride, u32::try_from(step).ok()?);
        }
        same_sizes.then_some(joined)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn multiple(stride: u32, by: i64) -> u32 {
    match u64::from(stride).checked_mul(by.unsigned_abs()) {
        Some(0) => 0,
        Some(n) => u32::try_from(n).unwrap_or(1),
        None => 1,
    }
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Nothing is known.
    Unknown,
    /// An argument, or what some load yielded: unknown, but told from others by its origin.
    Loaded,
    /// A number; its `expr` is the number (also a static address: `lea reg, [rip + x]`).
    Number,
    /// `Map.dirLen`.
    DirLen,
    /// A pointer into one of the runtime's structures.
    At(Structure),
    /// A pointer into the function's own frame; its `expr` is the offset from the entry's stack pointer.
    Stack,
    /// The value of the variable at this address (a map kept in a global).
    Global(u64),
    /// A pointer to the elem that the map call with this return address handed out.
    Elem(u64),
    /// A pointer to the key that an iterator handed out.
    Key(u64),
}

/// In place of the call that handed out a key or an elem: this very function found it, in its slot or
/// behind the pointer there.
pub const HERE: u64 = 0;

/// Which part of a bucket or group a pointer stays in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// `expr` counts from the start of the structure.
    Start,
    /// Tophash bytes, or ctrl bytes.
    Control,
    Key,
    Elem,
    Overflow,
    /// Somewhere in the structure.
    Anywhere,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value {
    pub what: What,
    pub area: Area,
    pub expr: Expr,
    /// Equal origins: the same object. 0 where not tracked.
    pub origin: u32,
    /// Equal ones: pointers into the same slot, or what lies behind one of them. 0 where not tracked.
    pub slot: u32,
}

impl Value {
    pub const UNKNOWN: Value = Value {
        what: What::Unknown,
        area: Area::Start,
        expr: Expr::UNKNOWN,
        origin: 0,
        slot: 0,
    };

    pub const fn number(expr: Expr) -> Value {
        Value {
            what: What::Number,
            area: Area::Start,
            expr,
            origin: 0,
            slot: 0,
        }
    }

    pub const ANY_NUMBER: Value = Value::number(Expr::UNKNOWN);

    pub const fn constant(c: i64) -> Value {
        Value::number(Expr::constant(c))
    }

    pub const fn at(structure: Structure, origin: u32) -> Value {
        Value {
            what: What::At(structure),
            area: Area::Start,
            expr: Expr::constant(0),
            origin,
            slot: 0,
        }
    }

    pub const fn loaded(origin: u32) -> Value {
        Value {
            what: What::Loaded,
            origin,
            ..Value::UNKNOWN
        }
    }

    pub const fn stack(off: i64) -> Value {
        Value {
            what: What::Stack,
            area: Area::Start,
            expr: Expr::constant(off),
            origin: 0,
            slot: 0,
        }
    }

    /// Known to be no pointer into a structure.
    fn is_number(&self) -> bool {
        matches!(
            self.what,
            What::Number | What::DirLen | What::Unknown | What::Loaded
        )
    }

    fn is_nil(&self) -> bool {
        self.what == What::Number && self.expr == Expr::constant(0)
    }

    /// `self + other`; a sum of two pointers is unknown.
    pub fn add(&self, other: &Value) -> Value {
        if *other == Value::constant(0) {
            return *self;
        }
        let (pointer, offset) = match (self.is_number(), other.is_number()) {
            (true, true) => {
                return if self.what != What::Number || other.what != What::Number {
                    Value {
                        expr: self.number_expr().add(&other.number_expr()),
                        ..Value::UNKNOWN
                    }
                } else {
                    Value::number(self.expr.add(&other.expr))
                };
            }
            (false, true) => (self, other),
            (true, false) => (other, self),
            (false, false) => return Value::UNKNOWN,
        };
        let offset = offset.number_expr();
        let expr = pointer.expr.add(&offset);
        match pointer.what {
            What::Global(_) => Value::UNKNOWN,
            What::At(array @ (Structure::Buckets | Structure::OldBuckets | Structure::Groups))
                if !offset.is_exact() =>
            {
                element_of(array, expr)
            }
            _ => Value {
                expr,
                slot: if offset.stays_in_slot() {
                    pointer.slot
                } else {
                    0
                },
                ..*pointer
            },
        }
    }

    /// An address that an index register adds to, in steps of `scale`. Behind `dirPtr` only a directory is
    /// indexed in words, also where a loop over it begins: there the index is still a constant.
    pub fn indexed_by(mut self, scale: u32) -> Value {
        if self.what == What::At(Structure::DirPtr) && scale == 8 {
            self.expr.stride = gcd(self.expr.stride, scale);
        }
        self
    }

    /// The value as an offset.
    pub fn number_expr(&self) -> Expr {
        match self.what {
            What::Number => self.expr,
            What::Unknown => self.expr,
            _ => Expr::UNKNOWN,
        }
    }

    /// What a place holds when control arrives with either value. `origin` names the merged object
    /// when the two are different ones.
    pub fn join(&self, other: &Value, origin: impl FnOnce() -> u32, areas: &Areas) -> Value {
        if self == other {
            return *self;
        }
        if self.is_nil() && !other.is_number() {
            return *other;
        }
        if other.is_nil() && !self.is_number() {
            return *self;
        }
        if self.is_number() && other.is_number() {
            return match (self.what, other.what) {
                (What::Number, What::Number) => {
                    Value::number(self.expr.join(&other.expr).unwrap_or(Expr::UNKNOWN))
                }
                (What::Number | What::DirLen, What::Number | What::DirLen) => Value::ANY_NUMBER,
                _ => Value::UNKNOWN,
            };
        }
        if let Some(found) = self
            .found(other, areas)
            .or_else(|| other.found(self, areas))
        {
            return found;
        }
        let Some(what) = join_what(self.what, other.what) else {
            return Value::UNKNOWN;
        };
        let origin = if self.origin == other.origin {
            self.origin
        } else {
            origin()
        };
        let slot = self.same_slot(other);
        if self.area == other.area
            && let Some(expr) = self.expr.join(&other.expr)
        {
            return Value {
                what,
                area: self.area,
                expr,
                origin,
                slot,
            };
        }
        let (a, b) = (areas.of(self), areas.of(other));
        let area = if a == b { a } else { Area::Anywhere };
        Value {
            what,
            area,
            expr: Expr::constant(0),
            origin,
            slot,
        }
    }

    fn same_slot(&self, other: &Value) -> u32 {
        if self.slot == other.slot {
            self.slot
        } else {
            0
        }
    }

    /// Whether it points into a bucket or group, at an offset that an index decides: into a slot.
    pub fn is_in_slot(&self) -> bool {
        let bucket = matches!(self.what, What::At(Structure::Bucket | Structure::Group));
        bucket && (self.area != Area::Start || !self.expr.is_exact())
    }

    /// `if t.IndirectKey() { k = *((*unsafe.Pointer)(k)) }`: the key (elem), wherever it lies.
    fn found(&self, slot: &Value, areas: &Areas) -> Option<Value> {
        let area = match self.what {
            What::Key(HERE) => Area::Key,
            What::Elem(HERE) => Area::Elem,
            _ => return None,
        };
        let bucket = matches!(slot.what, What::At(Structure::Bucket | Structure::Group));
        let found = Value {
            slot: self.same_slot(slot),
            ..*self
        };
        (bucket && areas.of(slot) == area).then_some(found)
    }
}

fn join_what(a: What, b: What) -> Option<What> {
    use Structure::*;
    let (What::At(x), What::At(y)) = (a, b) else {
        return (a == b).then_some(a);
    };
    let bucket = |s| matches!(s, Buckets | OldBuckets | Bucket);
    let group = |s| matches!(s, Groups | Group | DirPtr);
    if x == y {
        Some(a)
    } else if bucket(x) && bucket(y) {
        Some(What::At(Bucket))
    } else if group(x) && group(y) {
        Some(What::At(Group))
    } else {
        None
    }
}

/// A pointer to an element of an array: the multiple of its size goes, what is left counts from the
/// element's start.
fn element_of(array: Structure, expr: Expr) -> Value {
    let (element, size) = match array {
        Structure::Groups => (Structure::Group, Size::Group),
        _ => (Structure::Bucket, Size::Bucket),
    };
    let mut inner = expr;
    // The size of a bucket comes from its type: a stride that the code has as a constant is that of
    // a key or an elem.
    if inner.stride == 1 {
        inner.stride = 0;
    }
    inner.indexed &= !(1 << size as usize);
    inner.sizes[size as usize] = 0;
    if inner.c < 0 {
        // The compiler folds `add(b, bs - 8)` into `buckets + i*bs - 8`.
        inner.sizes[size as usize] = 1;
    }
    Value {
        expr: inner,
        ..Value::at(element, 0)
    }
}

/// What a function's variant says of its keys, for telling areas apart.
#[derive(Debug, Clone, Copy, Default)]
pub struct Areas {
    /// Size of the key in the `_fast32`, `_fast64` and `_faststr` variants, whose code has the
    /// offsets as constants.
    pub key_size: Option<i64>,
}

impl Areas {
    /// The area that a pointer stays in.
    pub fn of(&self, value: &Value) -> Area {
        self.of_access(value, None)
    }

    /// The area that an access of `size` bytes through `value` touches.
    pub fn of_access(&self, value: &Value, size: Option<u32>) -> Area {
        let e = &value.expr;
        match value.area {
            Area::Start => {}
            Area::Key if e.coefficient(Size::Key) == 8 => return Area::Elem,
            Area::Key if e.coefficient(Size::ElemOff) == 1 => return Area::Elem,
            area => return area,
        }
        match value.what {
            What::At(Structure::Bucket | Structure::Buckets | Structure::OldBuckets) => {
                self.of_bucket(e, size)
            }
            What::At(Structure::Group | Structure::Groups | Structure::DirPtr) => {
                self.of_group(e, size)
            }
            _ => Area::Anywhere,
        }
    }

    fn of_bucket(&self, e: &Expr, size: Option<u32>) -> Area {
        if e.coefficient(Size::Bucket) == 1 && e.c == -8 {
            return Area::Overflow;
        }
        if e.coefficient(Size::Key) == 8 || e.is_indexed_by(Size::Elem) {
            return Area::Elem;
        }
        if e.is_indexed_by(Size::Key) || e.coefficient(Size::Key) != 0 {
            return Area::Key;
        }
        let elems = self.key_size.map(|k| 8 + 8 * k);
        if e.is_exact() {
            return match (e.c, elems) {
                (0..8, _) => Area::Control,
                (8.., Some(elems)) if e.c >= elems => Area::Elem,
                (8, None) | (8.., Some(_)) => Area::Key,
                _ => Area::Anywhere,
            };
        }
        let keys_end = elems.unwrap_or(i64::MAX);
        // The end itself: an index that begins as `bucketCnt`, for "none yet". Elems are indexed by a
        // size that only the type knows.
        if e.stride != 0 && e.stride.is_multiple_of(4) && (8..=keys_end).contains(&e.c) {
            return Area::Key;
        }
        // Only tophash is read byte by byte: keys are compared by word or by call.
        if size == Some(1) && (-8..=8).contains(&e.c) {
            return Area::Control;
        }
        Area::Anywhere
    }

    fn of_group(&self, e: &Expr, size: Option<u32>) -> Area {
        if e.coefficient(Size::ElemOff) != 0
            || e.coefficient(Size::ElemsOff) != 0
            || e.is_indexed_by(Size::ElemStride)
        {
            return Area::Elem;
        }
        if e.is_indexed_by(Size::Slot)
            || e.is_indexed_by(Size::KeyStride)
            || e.coefficient(Size::KeysOff) != 0
            || e.coefficient(Size::Slot) != 0
            || e.coefficient(Size::KeyStride) != 0
        {
            return Area::Key;
        }
        if e.is_exact() {
            return match e.c {
                0..8 => Area::Control,
                8 => Area::Key,
                _ => Area::Anywhere,
            };
        }
        if size == Some(1) && (0..8).contains(&e.c) {
            Area::Control
        } else {
            Area::Anywhere
        }
    }
}
