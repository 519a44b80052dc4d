//! What was found last: samples ask again what those before them asked, or for what lies beside it.

/// Answers that are kept: more would not stay in a core's own cache.
const SLOTS: usize = 1 << 11;

/// The last answers, each in the slot of its ip and thread.
pub struct Recent<K, V>(Vec<Option<(K, V)>>);

impl<K: Copy + Eq, V: Copy> Default for Recent<K, V> {
    fn default() -> Self {
        Recent(vec![None; SLOTS])
    }
}

impl<K: Copy + Eq, V: Copy> Recent<K, V> {
    /// The answer for a sample of this ip and this thread, by their ids, to what is `asked`; `find` has
    /// it where it was not asked just before.
    #[inline(always)]
    pub fn get(&mut self, (ip, thread): (u32, u32), asked: K, find: impl FnOnce() -> V) -> V {
        // Ids are numbers in order: those of ips fill the slots one by one.
        let slot = (ip ^ thread.wrapping_mul(0x9e37_79b1)) as usize % SLOTS;
        match &mut self.0[slot] {
            Some((known, answer)) if *known == asked => *answer,
            slot => {
                let answer = find();
                *slot = Some((asked, answer));
                answer
            }
        }
    }
}

/// As [`slice::partition_point`], looking from `near` outward: how far it is decides how long it takes.
pub fn partition_near<T>(sorted: &[T], near: usize, is_before: impl Fn(&T) -> bool) -> usize {
    let is_at = |i: usize| sorted.get(i).is_some_and(&is_before);
    let mut reach = 1;
    let (mut from, mut to) = (near.min(sorted.len()), near.min(sorted.len()));
    if is_at(to) {
        while is_at(to) {
            from = to;
            to = sorted.len().min(to + reach);
            reach *= 2;
        }
    } else {
        while from > 0 && !is_at(from - 1) {
            to = from;
            from = from.saturating_sub(reach);
            reach *= 2;
        }
    }
    from + sorted[from..to].partition_point(is_before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_given_to_its_own_question_alone() {
        let mut recent = Recent::default();
        let far = 1 + SLOTS as u32;
        let asked = [(1, 0), (1, 0), (far, 0), (1, 0), (1, 7)];
        let found = asked.map(|ids| {
            let mut asked = 0;
            let answer = recent.get(ids, ids, || {
                asked += 1;
                ids
            });
            assert_eq!(answer, ids);
            asked
        });
        // The other ip took the slot.
        assert_eq!(found, [1, 0, 1, 1, 1]);
    }

    #[test]
    fn the_search_from_anywhere_ends_where_the_search_of_all_does() {
        let sorted = [1, 3, 3, 3, 7, 9, 12, 12, 40];
        for wanted in 0..42 {
            let all = sorted.partition_point(|n| *n <= wanted);
            for near in 0..sorted.len() + 3 {
                assert_eq!(partition_near(&sorted, near, |n| *n <= wanted), all);
            }
        }
        assert_eq!(partition_near(&[], 5, |_: &u8| true), 0);
    }
}
