//! Counts of the generic timer -> nanoseconds of perf's clock.

use crate::recording::ByteOrder;

/// `PERF_RECORD_TIME_CONV`: `time = zero + cycles * mult / 2^shift`.
///
/// `tools/lib/perf/include/perf/event.h`, `struct perf_record_time_conv`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeConv {
    pub shift: u64,
    pub mult: u64,
    pub zero: u64,
    /// The counter is shorter than 64 bits: these cycles were current, and its bits are these.
    pub short: Option<(u64, u64)>,
}

impl TimeConv {
    /// Reads the body of the record; the first version ends after `zero`. `None` when it is cut, or
    /// cannot be meant.
    pub fn parse(body: &[u8], order: ByteOrder) -> Option<TimeConv> {
        let word = |i: usize| order.u64_at(body, 8 * i);
        let short = body.get(41).is_some_and(|&short| short != 0);
        let conversion = TimeConv {
            shift: word(0)?,
            mult: word(1)?,
            zero: word(2)?,
            short: word(3).zip(word(4)).filter(|_| short),
        };
        (conversion.shift < 64 && conversion.mult != 0).then_some(conversion)
    }

    /// Nanoseconds at `count` of the timer, as `tsc_to_perf_time` of `tools/perf/util/tsc.c`.
    pub fn ns(&self, count: u64) -> u64 {
        let count = match self.short {
            Some((cycles, mask)) => cycles.wrapping_add(count.wrapping_sub(cycles) & mask),
            None => count,
        };
        let scaled = (u128::from(count) * u128::from(self.mult)) >> self.shift;
        self.zero.wrapping_add(scaled as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// perf's own arithmetic: quotient and remainder of `2^shift` apart.
    fn tsc_to_perf_time(conversion: &TimeConv, count: u64) -> u64 {
        let quot = count >> conversion.shift;
        let rem = count & ((1 << conversion.shift) - 1);
        conversion
            .zero
            .wrapping_add(quot.wrapping_mul(conversion.mult))
            .wrapping_add(rem.wrapping_mul(conversion.mult) >> conversion.shift)
    }

    /// A timer of 25 MHz: 40 ns a count.
    const TIMER: TimeConv = TimeConv {
        shift: 22,
        mult: 40 << 22,
        zero: 1000,
        short: None,
    };

    #[test]
    fn counts_become_nanoseconds() {
        assert_eq!(TIMER.ns(0), 1000);
        assert_eq!(TIMER.ns(25_000_000), 1_000_001_000);
        let odd = TimeConv {
            mult: 0x7d00_0001 >> 3,
            ..TIMER
        };
        for count in [1, 44_731_163_950, 13_196_304_120_239] {
            assert_eq!(odd.ns(count), tsc_to_perf_time(&odd, count));
        }
    }

    #[test]
    fn a_short_counter_is_extended_from_the_one_at_the_start() {
        let (start, mask) = (0x00ff_ffff_ffff_fff0, (1 << 56) - 1);
        let short = TimeConv {
            short: Some((start, mask)),
            ..TIMER
        };
        assert_eq!(short.ns(start), TIMER.ns(start));
        // 0x20 counts later the counter has wrapped to 0x10.
        assert_eq!(short.ns(0x10), TIMER.ns(start + 0x20));
        assert_eq!(TIMER.ns(0x10), 1000 + 0x10 * 40);
    }

    #[test]
    fn the_record_is_read_in_both_lengths() {
        let mut body: Vec<u8> = [22u64, 40 << 22, 1000, 7, 0xff]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        assert_eq!(TimeConv::parse(&body[..24], ByteOrder::Little), Some(TIMER));
        body.extend([1, 1, 0, 0, 0, 0, 0, 0]);
        let short = TimeConv::parse(&body, ByteOrder::Little).unwrap();
        assert_eq!(short.short, Some((7, 0xff)));
        assert_eq!(TimeConv::parse(&body[..23], ByteOrder::Little), None);
        body[0] = 64;
        assert_eq!(TimeConv::parse(&body, ByteOrder::Little), None);
    }
}
