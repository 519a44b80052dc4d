//! The distance from one bucket or group of an array to the next.

/// Bytes of a bucket or group, as what distances are divided by: most of the time of placing a sample
/// would go into that.
#[derive(Debug, Clone, Copy)]
pub struct Stride {
    bytes: u32,
    /// 2^32 divided by them, rounded up.
    inverse: u64,
    congruence: f64,
}

/// Buckets and groups begin at multiples of this.
const ALIGNMENT: f64 = 8.0;

impl Stride {
    /// `None`: too large for one.
    pub fn new(bytes: u64) -> Option<Stride> {
        let bytes = u32::from(u16::try_from(bytes).ok().filter(|bytes| *bytes != 0)?);
        Some(Stride {
            bytes,
            inverse: (1u64 << 32) / u64::from(bytes) + 1,
            congruence: (f64::from(bytes) / ALIGNMENT).ln(),
        })
    }

    pub fn bytes(self) -> u64 {
        self.bytes.into()
    }

    /// The logarithm of how much likelier a start is congruent with another if both are of one array.
    pub fn congruence(self) -> f64 {
        self.congruence
    }

    /// The remainder of a distance of less than 2^16: to there the product's error, which is less than
    /// the distance, does not reach its upper half.
    #[inline]
    pub fn remainder(self, distance: u32) -> u32 {
        let times = ((u64::from(distance) * self.inverse) >> 32) as u32;
        distance - times * self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gomap::size_class::PAGE;

    #[test]
    fn remainders_are_those_of_division() {
        for bytes in (1..2100).chain([3 * PAGE, u16::MAX.into()]) {
            let stride = Stride::new(bytes).unwrap();
            for distance in (0..3 * PAGE as u32).step_by(8).chain([0xffff]) {
                let expected = u64::from(distance) % bytes;
                assert_eq!(
                    u64::from(stride.remainder(distance)),
                    expected,
                    "{distance} % {bytes}"
                );
            }
        }
        assert!([0, 1 << 16].map(Stride::new).iter().all(Option::is_none));
    }
}
