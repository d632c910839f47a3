//! Figures, their JSON, memory and disk space; see ../record.hpp and ../phases.hpp.

use std::fmt::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

#[derive(Default)]
pub struct Record {
    texts: Vec<(String, String)>,
    figures: Vec<String>,
    impossible: Vec<(String, String)>,
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    let position = q * (sorted.len() - 1) as f64;
    let below = position as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

impl Record {
    pub fn text(&mut self, name: &str, value: &str) {
        self.texts.push((name.into(), value.into()));
    }
    pub fn value(&mut self, id: &str, unit: &str, value: f64) {
        eprintln!("  {id:<26} {value:12.2} {unit}");
        self.figures.push(format!("{}: {{\"value\": {value}, \"unit\": {}}}", quoted(id), quoted(unit)));
    }
    pub fn impossible(&mut self, id: &str, why: &str) {
        self.impossible.push((id.into(), why.into()));
    }
    pub fn timed(&mut self, id: &str, f: impl FnOnce()) {
        let start = Instant::now();
        f();
        self.value(id, "ms", start.elapsed().as_secs_f64() * 1e3);
    }
    /// `count` calls, each timed by itself too.
    pub fn timed_singly(&mut self, id: &str, count: usize, mut f: impl FnMut(usize)) {
        let mut each = vec![0.0; count];
        let start = Instant::now();
        let mut last = start;
        for (i, nanoseconds) in each.iter_mut().enumerate() {
            f(i);
            let now = Instant::now();
            *nanoseconds = (now - last).as_nanos() as f64;
            last = now;
        }
        let value = (last - start).as_secs_f64() * 1e3;
        each.sort_by(f64::total_cmp);
        eprintln!("  {id:<26} {value:12.2} ms");
        self.figures.push(format!(
            "{}: {{\"value\": {value}, \"unit\": \"ms\", \"p50_ns\": {}, \"p99_ns\": {}, \"p999_ns\": {}, \"max_ns\": {}}}",
            quoted(id),
            quantile(&each, 0.5),
            quantile(&each, 0.99),
            quantile(&each, 0.999),
            quantile(&each, 1.0)
        ));
    }
    pub fn print(&self) {
        let mut text = String::from("{");
        for (name, value) in &self.texts {
            write!(text, "{}: {}, ", quoted(name), quoted(value)).unwrap();
        }
        let impossible: Vec<_> = self.impossible.iter().map(|(id, why)| format!("{}: {}", quoted(id), quoted(why))).collect();
        println!("{text}\"figures\": {{{}}}, \"impossible\": {{{}}}}}", self.figures.join(",\n"), impossible.join(", "));
    }
}

fn field(file: &str, name: &str) -> f64 {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
}

/// Beyond what the workload had before.
pub struct Memory {
    anonymous: f64,
    resident: f64,
}

impl Memory {
    pub fn new() -> Self {
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Memory { anonymous: field("/proc/self/smaps_rollup", "Anonymous:"), resident: field("/proc/self/smaps_rollup", "Rss:") }
    }
    pub fn anonymous(&self) -> f64 {
        (field("/proc/self/smaps_rollup", "Anonymous:") - self.anonymous).max(0.0)
    }
    pub fn peak_resident(&self) -> f64 {
        (field("/proc/self/status", "VmHWM:") - self.resident).max(0.0)
    }
}

/// Blocks on the disk.
pub fn allocated_bytes(folder: &Path) -> f64 {
    let mut bytes = 0.0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        bytes += if metadata.is_dir() { allocated_bytes(&path) } else { metadata.blocks() as f64 * 512.0 };
    }
    bytes
}
