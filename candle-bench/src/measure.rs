//! One case: the same call on several lanes, interleaved, medians.

use crate::clock::{Clock, Sample, HOLD_US};
use crate::lanes::Lane;
use crate::report::{Entry, Report, Row};
use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use std::path::PathBuf;

/// The same computation, ready on one lane.
pub struct Contestant {
    /// Number of the lane.
    pub lane: usize,
    /// The call. Its argument says which copy of the operands to take, any number; the result is used to compare.
    pub call: Box<dyn Fn(usize) -> Result<Tensor>>,
}

/// A computation on all lanes that have it.
pub struct Case {
    pub group: &'static str,
    /// What distinguishes it within the group, such as type, shape and columns.
    pub labels: Vec<String>,
    /// The least bytes that it moves, each operand and the result once.
    pub bytes: f64,
    pub flops: f64,
    /// How far the lanes' results may be apart, as a share of their norm, and why: see the cases.
    pub tolerance: f64,
    pub contestants: Vec<Contestant>,
}

pub struct Bench {
    pub lanes: Vec<Lane>,
    /// The clock of each lane; lanes of one device share one.
    pub clocks: Vec<std::rc::Rc<Clock>>,
    pub rounds: usize,
    /// Bytes of copies of the operands that are taken in turns, so that none is in a cache when its turn comes.
    pub rotate_bytes: usize,
    /// What is known so far.
    pub report: Report,
    /// Where it is written after each case, so that a run that is cut short leaves what it has.
    pub json: Option<PathBuf>,
}

/// Fewer calls than this have too little between the events.
const LEAST_CALLS: usize = 2;
const MOST_CALLS: usize = 48;
/// Device time of a sample that is long enough.
const ENOUGH_US: f64 = 3000.0;

impl Bench {
    /// How many copies of operands of `bytes` to make.
    pub fn copies(&self, bytes: usize) -> usize {
        (self.rotate_bytes / bytes.max(1) + 1).min(64)
    }

    /// Writes what is known so far.
    pub fn save(&self) -> Result<()> {
        let Some(path) = &self.json else {
            return Ok(());
        };
        let text = serde_json::to_string_pretty(&self.report)?;
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// Bytes a second of the fastest copy. Lanes of one card copy by different means; the card has one bandwidth.
    fn best_copy(&self) -> f64 {
        let copies = self.clocks.iter().map(|c| c.copy_bytes_per_second);
        copies.fold(f64::NAN, f64::max)
    }

    /// Measures a case and keeps the row; or why there is none, so that the other cases still have their turn.
    pub fn run(&mut self, case: Case) -> Result<()> {
        match self.run_case(&case) {
            Ok(()) => Ok(()),
            Err(e) => self.failed(case.group, &case.labels, &e),
        }
    }

    /// Keeps why there is no row.
    pub fn failed(&mut self, group: &str, labels: &[String], e: &anyhow::Error) -> Result<()> {
        let failure = format!("{group} {}: {e:#}", labels.join(" "));
        eprintln!("{failure}");
        self.report.failures.push(failure);
        self.save()
    }

    fn run_case(&mut self, case: &Case) -> Result<()> {
        if case.contestants.is_empty() {
            return Ok(());
        }
        let differences = self.differences(case)?;
        let mut turn = 0;
        let mut calls = Vec::new();
        for c in &case.contestants {
            // Kernels are loaded and memory is there from here on.
            let first = self.sample(c, 3, &mut turn, true)?;
            let by_host = 0.7 * HOLD_US / first.host_us;
            let by_device = ENOUGH_US / first.device_us;
            calls.push((by_host.min(by_device) as usize).clamp(LEAST_CALLS, MOST_CALLS));
        }
        let count = case.contestants.len();
        let (mut cold, mut warm, mut host) = (
            vec![Vec::new(); count],
            vec![Vec::new(); count],
            vec![Vec::new(); count],
        );
        for _ in 0..self.rounds {
            for (i, c) in case.contestants.iter().enumerate() {
                let rotated = self.sample(c, calls[i], &mut turn, true)?;
                cold[i].push(rotated.device_us);
                host[i].push(rotated.host_us);
                warm[i].push(self.sample(c, calls[i], &mut turn, false)?.device_us);
            }
        }
        let entries = case.contestants.iter().enumerate().map(|(i, c)| {
            let (least, most) = spread(&cold[i]);
            let us = median(&mut cold[i]);
            Entry {
                lane: self.lanes[c.lane].name.into(),
                device_us: us,
                least_us: least,
                most_us: most,
                warm_us: median(&mut warm[i]),
                host_us: median(&mut host[i]),
                share_of_copy: case.bytes / us * 1e6 / self.best_copy(),
                tera_per_second: case.flops / us / 1e6,
                difference: differences[i],
                calls: calls[i],
            }
        });
        let row = Row {
            group: case.group.into(),
            labels: case.labels.clone(),
            bytes: case.bytes,
            flops: case.flops,
            entries: entries.collect(),
        };
        eprintln!("{}", row.line());
        self.report.rows.push(row);
        self.save()
    }

    /// `turn` goes on from sample to sample, so that the copies' turns do as well.
    fn sample(
        &self,
        c: &Contestant,
        calls: usize,
        turn: &mut usize,
        rotate: bool,
    ) -> Result<Sample> {
        self.lanes[c.lane].select();
        self.clocks[c.lane].sample(calls, |_| {
            *turn += usize::from(rotate);
            (c.call)(if rotate { *turn } else { 0 }).map(drop)
        })
    }

    /// Distance of each lane's result from the first one's, as a share of its norm.
    fn differences(&self, case: &Case) -> Result<Vec<f64>> {
        let mut reference: Option<Vec<f32>> = None;
        let mut differences = Vec::new();
        for c in &case.contestants {
            self.lanes[c.lane].select();
            let result = (c.call)(0)?.to_device(&Device::Cpu)?;
            let result = result.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
            let name = self.lanes[c.lane].name;
            let Some(reference) = &reference else {
                anyhow::ensure!(
                    norm(result.iter().copied()).is_finite(),
                    "{name}'s result is not finite"
                );
                reference = Some(result);
                differences.push(0.0);
                continue;
            };
            let first = self.lanes[case.contestants[0].lane].name;
            anyhow::ensure!(
                result.len() == reference.len(),
                "{name} gives {} elements, {first} {}",
                result.len(),
                reference.len()
            );
            let apart = result.iter().zip(reference).map(|(a, b)| a - b);
            let difference = norm(apart) / norm(reference.iter().copied()).max(f64::MIN_POSITIVE);
            if difference.is_nan() || difference > case.tolerance {
                anyhow::bail!(
                    "{name} computes something else than {first}: the results differ by {difference:.3e} of their norm, \
                     more than {:.0e}",
                    case.tolerance
                )
            }
            differences.push(difference);
        }
        Ok(differences)
    }
}

/// Euclidean, summed in f64.
fn norm(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt()
}

/// The middle value; NaN for none.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

fn spread(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    (least, values.iter().copied().fold(0.0, f64::max))
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&mut [3., 1., 2.]), 2.);
        assert_eq!(median(&mut [4., 1., 2., 3.]), 2.5);
        assert!(median(&mut []).is_nan());
    }
}
