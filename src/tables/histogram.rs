//! A log-linear histogram of latencies: 64 buckets an octave, so exact below 128 and within
//! 1/128 (0.8 %) above when a bucket answers with its middle.
//!
//! ```text
//! value   0 .. 63 | 64 .. 127 | 128 .. 255 (width 2) | 256 .. 511 (width 4) | ...
//! page          0 |         1 |                    2 |                    3 | ...
//! ```

/// Buckets in one page, and the number of sub-buckets of one octave.
const PAGE: usize = 64;
/// Page 0 holds 0..64; page `p` holds the octave that starts at `64 << (p - 1)`; `u32::MAX` is in page 26.
const PAGES: usize = 27;

/// Counts of `u32` values. A page is made when the first value falls into it: latencies of one place span
/// few octaves, and there are many places.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    /// Of each page, one more than where it is among those that were made.
    made: [u8; PAGES],
    pages: Vec<[u32; PAGE]>,
}

/// `(page, bucket)` of a value.
fn bucket_of(value: u32) -> (usize, usize) {
    let octave = (value / PAGE as u32).checked_ilog2().map_or(0, |e| e + 1);
    let shift = octave.saturating_sub(1);
    (octave as usize, (value >> shift) as usize % PAGE)
}

/// The middle of a bucket.
fn middle(page: usize, bucket: usize) -> u32 {
    match page.checked_sub(1) {
        None => bucket as u32,
        Some(shift) => {
            let start = ((PAGE + bucket) as u64) << shift;
            (start + ((1u64 << shift) - 1) / 2) as u32
        }
    }
}

impl Histogram {
    pub fn add(&mut self, value: u32) {
        let (page, bucket) = bucket_of(value);
        let count = &mut self.page(page)[bucket];
        *count = count.saturating_add(1);
    }

    #[inline]
    fn page(&mut self, page: usize) -> &mut [u32; PAGE] {
        if self.made[page] == 0 {
            self.pages.reserve_exact(1);
            self.pages.push([0; PAGE]);
            self.made[page] = self.pages.len() as u8;
        }
        &mut self.pages[usize::from(self.made[page]) - 1]
    }

    pub fn merge(&mut self, other: &Histogram) {
        for (page, theirs) in other.all() {
            let mine = self.page(page);
            for (a, b) in mine.iter_mut().zip(theirs) {
                *a = a.saturating_add(*b);
            }
        }
    }

    /// The pages that were made, the lowest first.
    fn all(&self) -> impl Iterator<Item = (usize, &[u32; PAGE])> {
        let made = self.made.iter().enumerate();
        made.filter_map(|(page, at)| {
            Some((page, self.pages.get(usize::from(*at).checked_sub(1)?)?))
        })
    }

    /// Values added.
    pub fn total(&self) -> u64 {
        self.buckets().map(|(_, count)| count).sum()
    }

    /// The value of rank `ceil(q * n)` (nearest rank), as its bucket's middle; `None` when empty.
    pub fn quantile(&self, q: f64) -> Option<u32> {
        let rank = ((q * self.total() as f64).ceil() as u64).max(1);
        let mut seen = 0;
        self.buckets().find_map(|(value, count)| {
            seen += count;
            (seen >= rank).then_some(value)
        })
    }

    fn buckets(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.all().flat_map(|(p, page)| {
            let counts = page.iter().enumerate().filter(|(_, count)| **count != 0);
            counts.map(move |(b, count)| (middle(p, b), u64::from(*count)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_below_128_are_exact() {
        for value in 0..128 {
            let (page, bucket) = bucket_of(value);
            assert_eq!(middle(page, bucket), value);
        }
    }

    #[test]
    fn every_value_is_within_one_part_in_128_of_its_bucket() {
        let edges = (7..32).flat_map(|e| [(1u32 << e) - 1, 1 << e, (1 << e) + 1]);
        for value in edges.chain([1000, 54_321, 4_000_000_000, u32::MAX]) {
            let (page, bucket) = bucket_of(value);
            let error = middle(page, bucket).abs_diff(value);
            assert!(
                f64::from(error) <= f64::from(value) / 128.0,
                "{value}: {error}"
            );
        }
    }

    #[test]
    fn quantiles_are_nearest_rank() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for value in 1..=20 {
            histogram.add(value);
        }
        // Ranks ceil(0.5 * 20) = 10 and ceil(0.95 * 20) = 19 of 1..=20.
        assert_eq!(histogram.quantile(0.5), Some(10));
        assert_eq!(histogram.quantile(0.95), Some(19));
        assert_eq!(histogram.quantile(0.0), Some(1));
        assert_eq!(histogram.quantile(1.0), Some(20));
    }

    #[test]
    fn merging_is_adding_all_values_to_one() {
        let (mut a, mut b) = (Histogram::default(), Histogram::default());
        a.add(5);
        b.add(300);
        b.add(301);
        a.merge(&b);
        assert_eq!(a.total(), 3);
        // 300 and 301 share the bucket 300..304 (octave 256, width 4), whose middle is 301.
        assert_eq!(a.quantile(1.0), Some(301));
    }
}
