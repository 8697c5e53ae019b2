//! How many records a batch may have: fewer after a batch that took longer than the server allows, until batches are in
//! time.

use std::cell::Cell;

/// Consecutive batches in time before batches may be larger again.
const IN_TIME: u32 = 64;

pub(crate) struct Throttle {
    most: usize,
    now: Cell<usize>,
    in_time: Cell<u32>,
}

impl Throttle {
    pub(super) fn new(most: usize) -> Throttle {
        Throttle { most, now: Cell::new(most), in_time: Cell::new(0) }
    }

    /// The most records that a batch may have.
    pub(super) fn records(&self) -> usize {
        self.now.get()
    }

    /// A batch took too long: halves the next ones. Returns false if they have only one record already.
    pub(super) fn halve(&self) -> bool {
        let now = self.now.get();
        self.in_time.set(0);
        self.now.set((now / 2).max(1));
        now > 1
    }

    /// A batch was in time: doubles the next ones after many of these in a row.
    pub(super) fn note_in_time(&self) {
        if self.now.get() == self.most {
            return;
        }
        self.in_time.set(self.in_time.get() + 1);
        if self.in_time.get() == IN_TIME {
            self.in_time.set(0);
            self.now.set((self.now.get() * 2).min(self.most));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_shrink_to_one_record_and_grow_back() {
        let throttle = Throttle::new(5_000);
        let mut halved = Vec::new();
        while throttle.halve() {
            halved.push(throttle.records());
        }
        assert_eq!(halved, [2_500, 1_250, 625, 312, 156, 78, 39, 19, 9, 4, 2, 1]);
        assert_eq!(throttle.records(), 1);
        (0..IN_TIME - 1).for_each(|_| throttle.note_in_time());
        assert_eq!(throttle.records(), 1);
        (0..13 * IN_TIME).for_each(|_| throttle.note_in_time());
        assert_eq!(throttle.records(), 5_000);
    }
}
