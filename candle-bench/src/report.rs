//! What is kept of the measurements, as JSON and as tables.

use serde::Serialize;
use std::fmt::Write;

/// A lane's part of a row. Times per call in microseconds.
#[derive(Debug, Serialize)]
pub struct Entry {
    pub lane: String,
    /// Median of the device's time, operands not in a cache.
    pub device_us: f64,
    pub least_us: f64,
    pub most_us: f64,
    /// The same operands again and again.
    pub warm_us: f64,
    /// The host's time to queue a call.
    pub host_us: f64,
    /// Least bytes over `device_us`, as a share of the bandwidth of the fastest large copy in the same run.
    pub share_of_copy: f64,
    pub tera_per_second: f64,
    /// Distance of the result from the first lane's.
    pub difference: f64,
    /// Calls in a sample.
    pub calls: usize,
}

/// One case.
#[derive(Debug, Serialize)]
pub struct Row {
    pub group: String,
    pub labels: Vec<String>,
    pub bytes: f64,
    pub flops: f64,
    pub entries: Vec<Entry>,
}

/// Whose time is divided by whose.
const RATIOS: [(&str, &str); 4] = [
    ("rocm", "cuda"),
    ("rocm", "ggml"),
    ("rocm", "ggml-serial"),
    ("rocm-old", "cuda-old"),
];

impl Row {
    fn entry(&self, lane: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.lane == lane)
    }

    /// Time of one lane over another's, where both are there.
    fn ratio(&self, (one, other): (&str, &str)) -> Option<f64> {
        Some(self.entry(one)?.device_us / self.entry(other)?.device_us)
    }

    /// For who watches.
    pub fn line(&self) -> String {
        let mut line = format!("{:10} {:34}", self.group, self.labels.join(" "));
        for e in &self.entries {
            let _ = write!(
                line,
                " {} {:.1} ({:.1}, host {:.1})",
                e.lane, e.device_us, e.warm_us, e.host_us
            );
        }
        line
    }
}

/// A whole model on one lane.
#[derive(Debug, Serialize)]
pub struct ModelEntry {
    pub lane: String,
    /// Seconds from opening the file until the device holds the weights.
    pub load_s: f64,
    pub prefill_tokens_per_second: f64,
    pub decode_tokens_per_second: f64,
    /// Calls of the HIP runtime per decoded token; only on rocm.
    pub per_token: Option<PerToken>,
    /// The tokens that greedy decoding gave, to compare lanes.
    pub tokens: Vec<u32>,
}

/// What candle-hip counted per decoded token.
#[derive(Debug, Serialize)]
pub struct PerToken {
    pub launches: f64,
    pub allocations: f64,
    pub frees: f64,
    pub memsets: f64,
    pub host_to_device: f64,
    pub device_to_host: f64,
    pub device_to_device: f64,
    pub synchronizations: f64,
}

/// A whole model on all lanes.
#[derive(Debug, Serialize)]
pub struct ModelRow {
    pub model: String,
    pub weights: String,
    pub file_bytes: u64,
    /// Seconds to read the file into memory, nothing else.
    pub read_s: f64,
    pub prefill: usize,
    pub decode: usize,
    pub entries: Vec<ModelEntry>,
}

/// A lane and its ceiling.
#[derive(Debug, Serialize)]
pub struct LaneInfo {
    pub lane: String,
    pub card: String,
    pub copy_gigabytes_per_second: f64,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub command: String,
    pub gemm: String,
    pub rotate_mib: usize,
    pub rounds: usize,
    pub lanes: Vec<LaneInfo>,
    pub rows: Vec<Row>,
    pub models: Vec<ModelRow>,
    /// Cases that could not be measured, or gave different results, and why.
    pub failures: Vec<String>,
}

impl Report {
    /// The tables, in Markdown.
    pub fn tables(&self) -> String {
        let mut out = String::new();
        for lane in &self.lanes {
            let _ = writeln!(
                out,
                "- {}: {}; copy {:.0} GB/s (read and written)",
                lane.lane, lane.card, lane.copy_gigabytes_per_second
            );
        }
        let mut groups: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !groups.contains(&row.group.as_str()) {
                groups.push(&row.group);
            }
        }
        for group in groups {
            let rows: Vec<&Row> = self.rows.iter().filter(|r| r.group == group).collect();
            table(&mut out, group, &rows);
        }
        for model in &self.models {
            model_table(&mut out, model);
        }
        out
    }
}

/// One line a case: µs cold (warm) of each lane, the ratios, the shares of the copy's bandwidth.
fn table(out: &mut String, group: &str, rows: &[&Row]) {
    let mut lanes: Vec<&str> = Vec::new();
    for entry in rows.iter().flat_map(|r| &r.entries) {
        if !lanes.contains(&entry.lane.as_str()) {
            lanes.push(&entry.lane);
        }
    }
    let ratios: Vec<_> = RATIOS
        .into_iter()
        .filter(|r| rows.iter().any(|row| row.ratio(*r).is_some()))
        .collect();
    let mut head = vec![group.to_string()];
    head.extend(lanes.iter().map(|lane| format!("{lane} µs (warm)")));
    head.extend(ratios.iter().map(|(a, b)| format!("{a} / {b}")));
    head.extend(lanes.iter().map(|lane| format!("{lane}: of copy, T/s")));
    let _ = writeln!(
        out,
        "\n| {} |\n|{}",
        head.join(" | "),
        "---|".repeat(head.len())
    );
    for row in rows {
        let mut cells = vec![row.labels.join(" ")];
        let cell =
            |lane: &&str, f: &dyn Fn(&Entry) -> String| row.entry(lane).map_or("–".into(), f);
        for lane in &lanes {
            cells.push(cell(lane, &|e| {
                format!("{:.1} ({:.1})", e.device_us, e.warm_us)
            }));
        }
        for ratio in &ratios {
            cells.push(row.ratio(*ratio).map_or("–".into(), |r| format!("{r:.2}")));
        }
        for lane in &lanes {
            cells.push(cell(lane, &|e| {
                format!("{:.0} %, {:.1}", 100.0 * e.share_of_copy, e.tera_per_second)
            }));
        }
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
}

fn model_table(out: &mut String, m: &ModelRow) {
    let _ = writeln!(
        out,
        "\n| {} {}, {:.2} GB, read in {:.2} s | load s | prefill {} t/s | decode {} t/s |\n|---|---|---|---|",
        m.model,
        m.weights,
        m.file_bytes as f64 / 1e9,
        m.read_s,
        m.prefill,
        m.decode
    );
    for e in &m.entries {
        let _ = writeln!(
            out,
            "| {} | {:.2} | {:.0} | {:.1} |",
            e.lane, e.load_s, e.prefill_tokens_per_second, e.decode_tokens_per_second
        );
    }
    for e in &m.entries {
        if let Some(p) = &e.per_token {
            let _ = writeln!(
                out,
                "\n{}, per decoded token: {:.1} launches, {:.2} allocations, {:.2} frees, {:.2} fills, copies {:.2} to, \
                 {:.2} from, {:.2} within the device, {:.2} waits",
                e.lane,
                p.launches,
                p.allocations,
                p.frees,
                p.memsets,
                p.host_to_device,
                p.device_to_host,
                p.device_to_device,
                p.synchronizations
            );
        }
    }
}
