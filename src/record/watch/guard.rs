//! Stops a watch before it harms the program that is watched.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Over so much time the rate is taken: long enough for a burst, short enough to do no harm.
const WINDOW: Duration = Duration::from_millis(500);

/// Counts traps, and says when there are too many.
#[derive(Debug)]
pub struct Guard {
    /// Traps a second.
    most: u64,
    /// When, and how many until then.
    seen: VecDeque<(Instant, u64)>,
}

impl Guard {
    pub fn new(most: u64) -> Guard {
        Guard {
            most,
            seen: VecDeque::new(),
        }
    }

    /// Takes the number of traps so far. `Some(rate)` when there were more a second than allowed,
    /// over the whole window.
    pub fn exceeded(&mut self, now: Instant, traps: u64) -> Option<u64> {
        self.seen.push_back((now, traps));
        let old = |at: &Instant| now.saturating_duration_since(*at) >= WINDOW;
        // One entry from before the window stays: the rate is taken from there.
        while self.seen.get(1).is_some_and(|(at, _)| old(at)) {
            self.seen.pop_front();
        }
        let &(begin, before) = self.seen.front()?;
        if !old(&begin) {
            return None;
        }
        let seconds = now.saturating_duration_since(begin).as_secs_f64();
        let rate = (traps.saturating_sub(before) as f64 / seconds) as u64;
        (rate > self.most).then_some(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_a_lasting_rate_does_not() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut guard = Guard::new(1000);
        assert_eq!(guard.exceeded(at(0), 0), None);
        // 400 traps in 100 ms, then silence: 800 a second over the window.
        assert_eq!(guard.exceeded(at(100), 400), None);
        assert_eq!(guard.exceeded(at(500), 400), None);
        assert_eq!(guard.exceeded(at(600), 400), None);
        // 1000 more until 1100: 2000 a second.
        assert_eq!(guard.exceeded(at(1100), 1400), Some(2000));
    }
}
