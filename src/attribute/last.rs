//! What was found last on each page: samples ask in the order of their times, more or less, so that most find
//! what the one before them found.

use super::NONE;

/// By page.
pub struct Last<T> {
    /// By number of the page: which of `found` is of it, or [`NONE`].
    of_page: Vec<u32>,
    found: Vec<Found<T>>,
}

struct Found<T> {
    /// From which time to which it holds.
    from: u64,
    to: u64,
    what: T,
}

impl<T: Default> Last<T> {
    /// Of so many pages; nothing was found yet.
    pub fn new(pages: usize) -> Last<T> {
        Last {
            of_page: vec![NONE; pages],
            found: Vec::new(),
        }
    }

    /// What there is at a time on the page of this number; `None`: there is no such page. Where it is not
    /// what was found last, `look` puts it into its place, and tells from which time to which it holds.
    pub fn at(
        &mut self,
        page: u32,
        time: u64,
        look: impl FnOnce(&mut T) -> (u64, u64),
    ) -> Option<&T> {
        let known = self.of_page.get_mut(page as usize)?;
        if *known == NONE {
            *known = self.found.len() as u32;
            // Of no time.
            self.found.push(Found {
                from: 1,
                to: 0,
                what: T::default(),
            });
        }
        let found = self.found.get_mut(*known as usize)?;
        if !(found.from..=found.to).contains(&time) {
            (found.from, found.to) = look(&mut found.what);
        }
        Some(&found.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_is_not_looked_for_again() {
        let mut last = Last::<u64>::new(2);
        let mut asked = Vec::new();
        // Found of a time is its ten, which holds for all of these.
        for (page, time) in [(0, 0), (0, 9), (0, 10), (1, 9), (0, 19), (0, 3), (2, 3)] {
            let found = last.at(page, time, |what| {
                asked.push((page, time));
                *what = time / 10;
                (*what * 10, *what * 10 + 9)
            });
            assert_eq!(found.copied(), (page < 2).then_some(time / 10));
        }
        assert_eq!(asked, [(0, 0), (0, 10), (1, 9), (0, 3)]);
    }
}
