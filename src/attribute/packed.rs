//! Rows in little memory: there is one for each sample that may touch a map, and most of what a row says
//! the sample's own columns say too, or it is nothing.

use super::resolve::Row;
use super::{Evidence, NONE, Reason};
use crate::gomap::Part;
use crate::recording::Samples;
use std::iter::Peekable;
use std::slice::Iter;

/// Samples in a chunk of rows: as many as an `u16` numbers.
pub const CHUNK: usize = super::hits::PART;

/// The rows of [`CHUNK`] samples, in order.
#[derive(Debug, Default)]
pub struct Packed {
    /// Number of the chunk's first sample.
    first: usize,
    rows: Vec<Own>,
    apart: Apart,
}

/// What a row says that its sample does not, in 32 bytes: fields as in [`Row`].
#[derive(Debug, Clone, Copy)]
pub struct Own {
    /// The sample, counted from the first one of the chunk.
    sample: u16,
    pub part: Result<Part, Reason>,
    slot: i8,
    evidence: Evidence,
    starts: bool,
    pub base: u64,
    pub header: u64,
    /// [`NONE`] where it is not known, as `shape`.
    map_type: u32,
    shape: u32,
}

/// What only few rows have: it is known when the row is made, and stays.
#[derive(Debug, Default)]
struct Apart {
    /// Where they are not those of the samples.
    addresses: Few,
    tables: Few,
}

/// By sample, as [`Own::sample`], in order.
#[derive(Debug, Default)]
struct Few(Vec<(u16, u64)>);

impl Few {
    fn get(&self, sample: u16) -> Option<u64> {
        let found = self.0.binary_search_by_key(&sample, |(of, _)| *of);
        found.ok().map(|i| self.0[i].1)
    }
}

/// [`Few`], asked for one sample after the other.
struct Next<'a>(Peekable<Iter<'a, (u16, u64)>>);

impl Next<'_> {
    fn get(&mut self, sample: u16) -> Option<u64> {
        while self.0.next_if(|(of, _)| *of < sample).is_some() {}
        self.0.next_if(|(of, _)| *of == sample).map(|(_, of)| *of)
    }
}

impl Apart {
    /// Address and table of each sample that is asked for, which is done in order.
    fn in_order(&self) -> impl FnMut(u16) -> [Option<u64>; 2] + '_ {
        let few = [&self.addresses, &self.tables];
        let mut few = few.map(|few| Next(few.0.iter().peekable()));
        move |sample| few.each_mut().map(|few| few.get(sample))
    }

    fn get(&self, sample: u16) -> [Option<u64>; 2] {
        [&self.addresses, &self.tables].map(|few| few.get(sample))
    }
}

fn known(id: u32) -> Option<u32> {
    Some(id).filter(|&id| id != NONE)
}

impl Own {
    fn of(row: &Row) -> Own {
        Own {
            sample: (row.sample as usize % CHUNK) as u16,
            part: row.part,
            slot: row.slot,
            evidence: row.evidence,
            starts: row.starts,
            base: row.base,
            header: row.header,
            map_type: row.map_type.unwrap_or(NONE),
            shape: row.shape.unwrap_or(NONE),
        }
    }

    pub fn map_type(&self) -> Option<u32> {
        known(self.map_type)
    }

    /// `sampled`: time and address of the sample; `apart`: [`Apart`]'s.
    #[inline(always)]
    fn row(&self, first: usize, sampled: [Option<u64>; 2], apart: [Option<u64>; 2]) -> Row {
        let ([time, addr], [address, table]) = (sampled, apart);
        Row {
            sample: (first + usize::from(self.sample)) as u32,
            time: time.unwrap_or(0),
            part: self.part,
            address: address.or(addr).unwrap_or(0),
            base: self.base,
            slot: self.slot,
            header: self.header,
            table: table.unwrap_or(0),
            map_type: self.map_type(),
            shape: known(self.shape),
            evidence: self.evidence,
            starts: self.starts,
        }
    }
}

/// The rows of a chunk that begins with the sample `first`, asked for in order.
fn in_order<'a>(first: usize, apart: &'a Apart, of: &'a Samples) -> impl FnMut(&Own) -> Row + 'a {
    let (mut time, mut addr) = (of.time.in_order(), of.addr.in_order());
    let mut apart = apart.in_order();
    move |own| {
        let i = first + usize::from(own.sample);
        own.row(first, [time.get(i), addr.get(i)], apart(own.sample))
    }
}

impl Packed {
    /// Of the chunk of this number.
    pub fn new(chunk: usize) -> Packed {
        Packed {
            first: chunk * CHUNK,
            ..Packed::default()
        }
    }

    /// Adds the row of a later sample.
    pub fn push(&mut self, row: &Row, of: &Samples) {
        let own = Own::of(row);
        let address = of.addr.get(row.sample as usize).unwrap_or(0);
        if row.address != address {
            self.apart.addresses.0.push((own.sample, row.address));
        }
        if row.table != 0 {
            self.apart.tables.0.push((own.sample, row.table));
        }
        self.rows.push(own);
    }

    /// Adds rows of any samples that have none.
    pub fn add(&mut self, rows: impl Iterator<Item = Row>, of: &Samples) {
        let before = self.rows.len();
        rows.for_each(|row| self.push(&row, of));
        if self.rows.len() > before {
            self.rows.sort_by_key(|row| row.sample);
            self.apart.addresses.0.sort_unstable();
            self.apart.tables.0.sort_unstable();
            self.shrink();
        }
    }

    /// Lets go of memory for more rows.
    pub fn shrink(&mut self) {
        self.rows.shrink_to_fit();
        self.apart.addresses.0.shrink_to_fit();
        self.apart.tables.0.shrink_to_fit();
    }

    pub fn iter<'a>(&'a self, of: &'a Samples) -> impl Iterator<Item = Row> + 'a {
        self.iter_where(|_| true, of)
    }

    /// Those that are `wanted`: for the others, nothing is read of the samples.
    pub fn iter_where<'a>(
        &'a self,
        wanted: impl Fn(&Own) -> bool + 'a,
        of: &'a Samples,
    ) -> impl Iterator<Item = Row> + 'a {
        self.numbered_where(wanted, of).map(|(_, row)| row)
    }

    /// The same with the numbers of the rows in the chunk.
    pub fn numbered_where<'a>(
        &'a self,
        wanted: impl Fn(&Own) -> bool + 'a,
        of: &'a Samples,
    ) -> impl Iterator<Item = (usize, Row)> + 'a {
        let mut row_of = in_order(self.first, &self.apart, of);
        let rows = self.rows.iter().enumerate();
        let wanted = rows.filter(move |(_, own)| wanted(own));
        wanted.map(move |(n, own)| (n, row_of(own)))
    }

    /// Lets `change` change each that is `wanted`; sample, time, address and table stay.
    pub fn change<'a, T>(
        &'a mut self,
        wanted: impl Fn(&Own) -> bool + 'a,
        of: &'a Samples,
        mut change: impl FnMut(&mut Row) -> T + 'a,
    ) -> impl Iterator<Item = T> + 'a {
        let Packed { first, rows, apart } = self;
        let mut row_of = in_order(*first, apart, of);
        let wanted = rows.iter_mut().filter(move |own| wanted(own));
        wanted.map(move |own| {
            let mut row = row_of(own);
            let said = change(&mut row);
            *own = Own::of(&row);
            said
        })
    }

    /// What the row number `n` of the chunk says by itself.
    pub fn own(&self, n: usize) -> Option<&Own> {
        self.rows.get(n)
    }

    /// The row number `n` of the chunk.
    pub fn get(&self, n: usize, of: &Samples) -> Option<Row> {
        let own = self.rows.get(n)?;
        let i = self.first + usize::from(own.sample);
        let sampled = [of.time.get(i), of.addr.get(i)];
        Some(own.row(self.first, sampled, self.apart.get(own.sample)))
    }

    /// The row of one sample, if it has one.
    pub fn of_sample(&self, i: usize, of: &Samples) -> Option<Row> {
        let sample = (i % CHUNK) as u16;
        let n = self.rows.binary_search_by_key(&sample, |row| row.sample);
        self.get(n.ok()?, of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_were_given() {
        let samples = Samples {
            time: (0..3 * CHUNK as u64).collect(),
            addr: (0..3 * CHUNK as u64).map(|i| 8 * i).collect(),
            ..Samples::default()
        };
        let row = |sample: u32| Row {
            sample,
            time: sample.into(),
            map_type: Some(3),
            ..Row::unplaced(Reason::NotMap, 8 * u64::from(sample))
        };
        let first = 2 * CHUNK as u32;
        let given = [
            row(first),
            Row {
                address: 5,
                table: 6,
                part: Ok(Part::BmapKey),
                slot: 7,
                ..row(first + 1)
            },
            Row {
                base: 10,
                header: 1 << 63 | 11,
                map_type: None,
                shape: Some(12),
                evidence: Evidence::Heap,
                ..row(first + CHUNK as u32 - 1)
            },
        ];
        let mut packed = Packed::new(2);
        given.iter().for_each(|row| packed.push(row, &samples));
        assert_eq!(size_of::<Own>(), 32);
        assert!(packed.iter(&samples).eq(given));
        packed.add([row(first + 4)].into_iter(), &samples);
        let change = |row: &mut Row| std::mem::replace(&mut row.base, 8);
        assert!(packed.change(|_| true, &samples, change).eq([0, 0, 0, 10]));
        let changed = [given[0], given[1], row(first + 4), given[2]];
        let changed = changed.map(|row| Row { base: 8, ..row });
        assert!(packed.iter(&samples).eq(changed));
        let each = (0..5).map(|n| packed.get(n, &samples));
        assert!(each.eq(changed.map(Some).into_iter().chain([None])));
        assert_eq!(
            packed.of_sample(first as usize + 1, &samples),
            Some(changed[1])
        );
        assert_eq!(packed.of_sample(first as usize + 2, &samples), None);
        let untyped = |own: &Own| own.map_type().is_none();
        assert!(packed.iter_where(untyped, &samples).eq([changed[3]]));
        // What lies apart is found although rows before it are left out.
        let keys = |own: &Own| own.part == Ok(Part::BmapKey);
        assert!(packed.iter_where(keys, &samples).eq([changed[1]]));
    }
}
