//! Stretches of time of which accesses may be missing from a recording of every access.

use super::touch::Touch;
use crate::recording::{GapKind, Recording};
use rustc_hash::FxHashMap;

/// Nanoseconds on the recording's clock, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    pub from: u64,
    pub to: u64,
}

impl Loss {
    /// Whether any of the time from `begin` to `end` belongs to it.
    pub fn meets(&self, begin: u64, end: u64) -> bool {
        self.from <= end && begin <= self.to
    }
}

/// A ring that was full loses what comes after its last record, until the LOST record that is written
/// when there is room again. Losses told without a time are those at the end, and a file that was not
/// ended holds the last records of some CPUs only. `in_order` are all accesses by time.
///
/// Words that moved (`mempath watch` writes THROTTLE and UNTHROTTLE) are no loss: the others were
/// watched all the time.
pub fn losses(recording: &Recording, in_order: &[Touch]) -> Vec<Loss> {
    let lost = |kind| matches!(kind, GapKind::Lost | GapKind::LostSamples);
    let gaps: Vec<_> = (recording.gaps.iter())
        .filter(|gap| lost(gap.kind))
        .collect();
    if gaps.is_empty() && recording.damage.is_empty() {
        return Vec::new();
    }
    let mut by_cpu = FxHashMap::<u32, Vec<u64>>::default();
    for touch in in_order {
        let cpu = touch.cpu.map_or(0, u32::from);
        by_cpu.entry(cpu).or_default().extend(touch.time);
    }
    let before = |cpu: u32, time: u64| {
        let times = by_cpu.get(&cpu).map(Vec::as_slice).unwrap_or_default();
        let after = times.partition_point(|t| *t < time);
        after.checked_sub(1).and_then(|at| times.get(at)).copied()
    };
    let mut losses = Vec::new();
    let mut at_the_end = !recording.damage.is_empty();
    for gap in gaps {
        match (gap.time_ns.filter(|time| *time != 0), gap.cpu) {
            (Some(to), Some(cpu)) => losses.push(Loss {
                from: before(cpu, to).unwrap_or(0),
                to,
            }),
            _ => at_the_end = true,
        }
    }
    if at_the_end {
        let ends = by_cpu.values().filter_map(|times| times.last());
        losses.push(Loss {
            from: ends.min().copied().unwrap_or(0),
            to: u64::MAX,
        });
    }
    losses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Damage, Gap};

    #[test]
    fn a_loss_begins_after_the_last_access_of_its_cpu() {
        let touch = |time, cpu| Touch {
            time: Some(time),
            cpu: Some(cpu),
            ..Touch::default()
        };
        let touches = [touch(10, 0), touch(20, 1), touch(30, 0), touch(40, 1)];
        let gap = |time_ns, kind| Gap {
            time_ns,
            cpu: Some(0),
            kind,
            lost: 3,
        };
        let mut recording = Recording {
            gaps: vec![gap(Some(35), GapKind::Throttle)],
            ..Recording::default()
        };
        assert_eq!(losses(&recording, &touches), []);
        recording.gaps.push(gap(Some(35), GapKind::Lost));
        assert_eq!(losses(&recording, &touches), [Loss { from: 30, to: 35 }]);
        // Told at the end, without a time: CPU 0 was last heard of at 30.
        recording.gaps = vec![gap(None, GapKind::LostSamples)];
        let end = [Loss {
            from: 30,
            to: u64::MAX,
        }];
        assert_eq!(losses(&recording, &touches), end);
        recording.gaps.clear();
        recording.damage.push(Damage {
            offset: 0,
            rule: "the recording was not ended".to_owned(),
        });
        assert_eq!(losses(&recording, &touches), end);
    }
}
