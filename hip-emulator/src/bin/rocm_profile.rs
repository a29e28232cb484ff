//! Prints what `HIP_EMULATOR_PROFILE=FILE` wrote as a table, one row per kernel, most instructions first.
//!
//! `rocm-profile FILE [COLUMN]` sorts by another column. The counts are an emulator's: instructions,
//! bytes and conflicts are the kernel's own, `host ms` is the emulator's time and no card's.

use std::collections::BTreeMap;
use std::process::ExitCode;

/// Heading, and the number of a profile's line that is summed up (the last three: the largest).
const COLUMNS: [(&str, &str); 18] = [
    ("instructions", "instructions"),
    ("valu", "valu"),
    ("packed", "packed"),
    ("matrix", "matrix"),
    ("salu", "salu"),
    ("smem", "smem"),
    ("vmem", "vmem"),
    ("lds", "lds"),
    ("branch", "branch"),
    ("wait", "wait"),
    ("loaded B", "global_bytes_loaded"),
    ("stored B", "global_bytes_stored"),
    ("lines", "global_lines"),
    ("moved in B", "distinct_bytes_loaded"),
    ("moved out B", "distinct_bytes_stored"),
    ("conflicts", "lds_bank_conflicts"),
    ("vgprs", "vgprs"),
    ("waves/simd", "waves_per_simd"),
];
/// Columns from here on describe the kernel and do not add up.
const RESOURCES: usize = 16;

#[derive(Default)]
struct Row {
    launches: u64,
    milliseconds: f64,
    counts: [u64; COLUMNS.len()],
}

/// The text after `"key":` up to the next comma or brace outside a string.
fn field<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let pattern = format!("\"{key}\":");
    let rest = &line[line.find(&pattern)? + pattern.len()..];
    let end = match rest.strip_prefix('"') {
        Some(text) => text.find('"')? + 2,
        None => rest.find([',', '}'])?,
    };
    Some(rest[..end].trim_matches('"'))
}

fn rows(text: &str) -> Result<BTreeMap<(String, String), Row>, String> {
    let mut rows: BTreeMap<(String, String), Row> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let missing = |key: &str| format!("line {}: no {key}; is this a profile?", number + 1);
        let name = |key: &str| {
            field(line, key)
                .map(str::to_string)
                .ok_or_else(|| missing(key))
        };
        let row = rows.entry((name("target")?, name("kernel")?)).or_default();
        row.launches += 1;
        let seconds: f64 = name("host_seconds")?
            .parse()
            .map_err(|_| missing("host_seconds"))?;
        row.milliseconds += seconds * 1e3;
        for (column, (_, key)) in COLUMNS.iter().enumerate() {
            // A launch that faulted has no counts.
            let value = field(line, key)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0);
            let count = &mut row.counts[column];
            *count = if column < RESOURCES {
                *count + value
            } else {
                value.max(*count)
            };
        }
    }
    Ok(rows)
}

fn table(text: &str, column: &str) -> Result<String, String> {
    let sorted_by = COLUMNS
        .iter()
        .position(|(heading, key)| *heading == column || *key == column)
        .ok_or_else(|| {
            let known: Vec<&str> = COLUMNS.iter().map(|(_, key)| *key).collect();
            format!("no column {column:?}; there are {}", known.join(", "))
        })?;
    let mut rows: Vec<_> = rows(text)?.into_iter().collect();
    rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.counts[sorted_by]));
    let mut out = format!(
        "{:8} {:40} {:>8} {:>10}",
        "target", "kernel (emulated)", "launches", "host ms"
    );
    for (heading, _) in COLUMNS {
        out += &format!(" {heading:>12}");
    }
    out.push('\n');
    for ((target, kernel), row) in rows {
        out += &format!(
            "{target:8} {kernel:40} {:8} {:10.3}",
            row.launches, row.milliseconds
        );
        for count in row.counts {
            out += &format!(" {count:>12}");
        }
        out.push('\n');
    }
    Ok(out)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (file, column) = match arguments.as_slice() {
        [file] => (file, "instructions"),
        [file, column] => (file, column.as_str()),
        _ => {
            eprintln!(
                "usage: rocm-profile FILE [COLUMN]; FILE is what HIP_EMULATOR_PROFILE=FILE wrote"
            );
            return ExitCode::FAILURE;
        }
    };
    let result = std::fs::read_to_string(file)
        .map_err(|error| error.to_string())
        .and_then(|text| table(&text, column));
    match result {
        Ok(table) => {
            print!("{table}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("rocm-profile: {file}: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launches_of_a_kernel_add_up_and_the_busiest_comes_first() {
        let line = |kernel: &str, count: u32| {
            format!(
                "{{\"kernel\":\"{kernel}\",\"target\":\"gfx1100\",\"host_seconds\":0.5,\"vgprs\":16,\"instructions\":{count}}}\n"
            )
        };
        let text = line("small", 3) + &line("big", 9) + &line("small", 4);
        let table = table(&text, "instructions").unwrap();
        let rows: Vec<Vec<&str>> = table
            .lines()
            .map(|l| l.split_whitespace().collect())
            .collect();
        assert_eq!(rows[1][1..5], ["big", "1", "500.000", "9"]);
        assert_eq!(rows[2][1..5], ["small", "2", "1000.000", "7"]);
        assert_eq!(rows[2][rows[2].len() - 2], "16");
        assert!(super::table(&text, "speed").unwrap_err().contains("valu"));
    }
}
