//! Samples piece by piece: each thread takes the next piece as it is done with one.

use rayon::prelude::*;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[derive(Debug)]
pub struct Pieces {
    next: AtomicUsize,
    samples: usize,
    size: usize,
}

impl Pieces {
    /// So many samples in pieces of this size.
    pub fn of(samples: usize, size: usize) -> Pieces {
        Pieces {
            next: AtomicUsize::new(0),
            samples,
            size,
        }
    }

    /// The next one, if any are left.
    pub fn take(&self) -> Option<Range<usize>> {
        let first = self.next.fetch_add(self.size, Relaxed);
        (first < self.samples).then(|| first..self.samples.min(first + self.size))
    }

    /// What each thread makes of what `begin` gives, with each piece that it takes.
    pub fn fold<T: Send>(
        &self,
        begin: impl Fn() -> T + Sync + Send,
        each: impl Fn(&mut T, Range<usize>) + Sync + Send,
    ) -> Vec<T> {
        let all = self.each_thread(|pieces| {
            let mut made = begin();
            while let Some(piece) = pieces.take() {
                each(&mut made, piece);
            }
            made
        });
        all.collect()
    }

    /// What each thread makes of those that it takes: a thread that is busy elsewhere leaves them to others.
    pub fn each_thread<'p, T: Send + 'p>(
        &'p self,
        work: impl Fn(&Pieces) -> T + Sync + Send + 'p,
    ) -> impl ParallelIterator<Item = T> + 'p {
        let threads = rayon::current_num_threads().max(1);
        let threads = (0..threads).into_par_iter().with_max_len(1);
        threads.map(move |_| work(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sample_is_of_one_piece() {
        for (samples, size) in [(0, 4), (3, 4), (4, 4), (1001, 7)] {
            let pieces = Pieces::of(samples, size);
            let taken = pieces.fold(Vec::new, |taken, piece| taken.push(piece));
            let mut taken: Vec<Range<usize>> = taken.into_iter().flatten().collect();
            taken.sort_by_key(|piece| piece.start);
            assert!(taken.iter().all(|piece| piece.len() <= size));
            assert!(taken.into_iter().flatten().eq(0..samples));
        }
    }
}
