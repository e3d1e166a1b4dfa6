//! The counters that each request changes; see `micro/_endpoint/counters.py`.

use std::collections::VecDeque;

use pyo3::prelude::*;

/// The number of latest times that are kept.
const RECENT: usize = 512;

/// The upper bounds of the buckets of the histogram, in nanoseconds.
const BOUNDS: [u64; 16] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

#[pyclass(subclass, module = "micro._endpoint.counters")]
#[derive(Default)]
pub struct Tally {
    #[pyo3(get, set)]
    num_requests: u64,
    #[pyo3(get, set)]
    processing_time: u64,
    latest: VecDeque<u64>,
    buckets: [u64; BOUNDS.len() + 1],
}

#[pymethods]
impl Tally {
    #[new]
    fn new() -> Self {
        Tally::default()
    }

    fn clear(&mut self) {
        *self = Tally::default();
    }

    pub fn handled(&mut self, times: Vec<u64>) {
        self.num_requests += times.len() as u64;
        self.processing_time += times.iter().sum::<u64>();
        for elapsed in &times {
            self.buckets[BOUNDS.partition_point(|bound| bound < elapsed)] += 1;
        }
        let kept = &times[times.len().saturating_sub(RECENT)..];
        let dropped = (self.latest.len() + kept.len()).saturating_sub(RECENT);
        self.latest.drain(..dropped);
        self.latest.extend(kept);
    }

    fn buckets(&self) -> Vec<u64> {
        self.buckets.to_vec()
    }

    fn latest(&self) -> Vec<u64> {
        self.latest.iter().copied().collect()
    }
}
