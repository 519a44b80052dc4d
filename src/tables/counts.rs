//! The counts that every frame has, added up in one pass.

/// What one access adds to the counts of each row it belongs to. `u32` holds any recording whose
/// samples a `u32` numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub samples: u32,
    pub loads: u32,
    pub stores: u32,
    pub l1_hit: u32,
    pub lfb: u32,
    pub l1_miss: u32,
    pub llc_miss: u32,
    /// Loads that say whether they missed the last-level cache.
    pub llc_known: u32,
    pub hitm: u32,
    pub level_unknown: u32,
    /// Loads whose snoop result is known.
    pub snoop_known: u32,
    pub store_l1_miss: u32,
    /// Stores that say whether they hit L1.
    pub store_level_known: u32,
    pub latency_n: u32,
    pub latency_sum: u64,
}

impl Counts {
    /// One access of which nothing is known.
    pub const ONE: Counts = Counts {
        samples: 1,
        loads: 0,
        stores: 0,
        l1_hit: 0,
        lfb: 0,
        l1_miss: 0,
        llc_miss: 0,
        llc_known: 0,
        hitm: 0,
        level_unknown: 0,
        snoop_known: 0,
        store_l1_miss: 0,
        store_level_known: 0,
        latency_n: 0,
        latency_sum: 0,
    };

    /// Adds an access that counts as `one`, and its latency in cycles.
    pub fn add(&mut self, one: &Counts, latency: Option<u32>) {
        self.merge(one);
        self.latency_n += u32::from(latency.is_some());
        self.latency_sum += u64::from(latency.unwrap_or(0));
    }

    /// The counts of `n` accesses like this one.
    pub fn times(mut self, n: u32) -> Counts {
        for count in [
            &mut self.samples,
            &mut self.loads,
            &mut self.stores,
            &mut self.l1_hit,
            &mut self.lfb,
            &mut self.l1_miss,
            &mut self.llc_miss,
            &mut self.llc_known,
            &mut self.hitm,
            &mut self.level_unknown,
            &mut self.snoop_known,
            &mut self.store_l1_miss,
            &mut self.store_level_known,
            &mut self.latency_n,
        ] {
            *count = count.saturating_mul(n);
        }
        self.latency_sum = self.latency_sum.saturating_mul(n.into());
        self
    }

    pub fn merge(&mut self, other: &Counts) {
        self.samples += other.samples;
        self.loads += other.loads;
        self.stores += other.stores;
        self.l1_hit += other.l1_hit;
        self.lfb += other.lfb;
        self.l1_miss += other.l1_miss;
        self.llc_miss += other.llc_miss;
        self.llc_known += other.llc_known;
        self.hitm += other.hitm;
        self.level_unknown += other.level_unknown;
        self.snoop_known += other.snoop_known;
        self.store_l1_miss += other.store_l1_miss;
        self.store_level_known += other.store_level_known;
        self.latency_n += other.latency_n;
        self.latency_sum = self.latency_sum.saturating_add(other.latency_sum);
    }

    /// A count of loads by level; `None` where no load has a level.
    pub fn of_levels(&self, count: u32) -> Option<u64> {
        (self.loads > self.level_unknown).then_some(u64::from(count))
    }

    pub fn llc_miss(&self) -> Option<u64> {
        (self.llc_known > 0).then_some(u64::from(self.llc_miss))
    }

    pub fn hitm(&self) -> Option<u64> {
        (self.snoop_known > 0).then_some(u64::from(self.hitm))
    }

    pub fn store_l1_miss(&self) -> Option<u64> {
        (self.store_level_known > 0).then_some(u64::from(self.store_l1_miss))
    }

    pub fn latency_sum(&self) -> Option<u64> {
        (self.latency_n > 0).then_some(self.latency_sum)
    }

    /// What ranks a row: its latency in a recording that has latencies, else its samples.
    pub fn at_stake(&self, latencies: bool) -> u64 {
        if latencies {
            self.latency_sum
        } else {
            u64::from(self.samples)
        }
    }
}
