//! Histograms of response times, as the roll-ups store them: eight buckets for each doubling.

/// Response times of checks. Histograms of several hours or locations can be added.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    /// The number of checks in each bucket, by the number of the bucket.
    counts: Vec<u64>,
}

impl Histogram {
    /// Adds what a row of `site_hours` or `site_days` has. Numbers of buckets that cannot be are left out.
    pub(super) fn add(&mut self, buckets: &[i16], counts: &[i32]) {
        /// `histogram_bucket(2147483647)` is 247.
        const MAX_BUCKET: usize = 255;
        for (bucket, count) in buckets.iter().zip(counts) {
            let (Ok(bucket), Ok(count)) = (usize::try_from(*bucket), u64::try_from(*count)) else { continue };
            if bucket > MAX_BUCKET {
                continue;
            }
            if self.counts.len() <= bucket {
                self.counts.resize(bucket + 1, 0);
            }
            self.counts[bucket] += count;
        }
    }

    /// Adds another histogram.
    pub(super) fn merge(&mut self, other: &Histogram) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
    }

    /// The number of checks.
    pub(super) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The time in microseconds that this fraction of the checks did not exceed, within 4.4 %. None without checks. It is
    /// `webmon.histogram_percentile`.
    pub(super) fn percentile(&self, fraction: f64) -> Option<u32> {
        let wanted = fraction * self.total() as f64;
        let mut sum = 0;
        let bucket = self.counts.iter().position(|count| {
            sum += count;
            *count > 0 && sum as f64 >= wanted
        })?;
        Some((2f64).powf((bucket as f64 + 0.5) / 8.0).round() as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_database() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(0.5), None);
        histogram.add(&[80, 88], &[95, 5]);
        // The middles of the buckets, as webmon.histogram_middle gives them.
        assert_eq!(histogram.percentile(0.95), Some(1_069));
        assert_eq!(histogram.percentile(0.96), Some(2_139));
        histogram.add(&[88, -1, 9_999], &[900, 7, 7]);
        assert_eq!((histogram.percentile(0.5), histogram.total()), (Some(2_139), 1_000));
    }
}
