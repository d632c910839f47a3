//! Opening takes place in a new process, and so does being killed; see ../children.hpp.

use crate::data_set::{Random, KEY_BYTES};
use crate::record::Memory;
use crate::store::{self, Settings};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

pub const WRITES: usize = 10_000;

#[derive(Default)]
pub struct Reopened {
    pub milliseconds: f64,
    pub anonymous: f64,
    pub found: f64,
}

/// Waits for what file systems hold back, so that nobody pays for the phase before.
pub fn settle() {
    let _ = Command::new("sync").status();
}

fn start(what: &str, name: &str, folder: &Path, settings: Settings, key: &str) -> (Child, String) {
    let bytes = settings.data_bytes.to_string();
    let mut child = Command::new("/proc/self/exe")
        .args(["--child", what, name, folder.to_str().unwrap(), &bytes, key])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (child, line)
}

pub fn open_and_get(name: &str, folder: &Path, settings: Settings, key: &[u8]) -> Reopened {
    let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let (mut child, line) = start("open", name, folder, settings, &text);
    assert!(child.wait().unwrap().success(), "reopening failed");
    let numbers: Vec<f64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
    Reopened { milliseconds: numbers[0], anonymous: numbers[1], found: numbers[2] }
}

pub fn write_and_be_killed(name: &str, folder: &Path, settings: Settings) {
    let (mut child, line) = start("write", name, folder, settings, "-");
    assert!(line.starts_with("written"), "the process to be killed did not write");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The child's side; the words after --child.
pub fn run(words: &[String]) {
    let settings = Settings { data_bytes: words[3].parse().unwrap() };
    let folder = Path::new(&words[2]);
    let keys = Random::bytes(4, WRITES * KEY_BYTES);
    if words[0] == "write" {
        let store = store::open(&words[1], folder, settings);
        for key in keys.chunks_exact(KEY_BYTES) {
            store.put(key, &[b'v'; crate::table::VALUE_BYTES]);
        }
        println!("written");
        loop {
            std::thread::park();
        }
    }
    let key: Vec<u8> = (0..KEY_BYTES).map(|i| u8::from_str_radix(&words[4][i * 2..i * 2 + 2], 16).unwrap()).collect();
    let memory = Memory::new();
    let start = Instant::now();
    let store = store::open(&words[1], folder, settings);
    let mut value = Vec::new();
    assert!(store.reader().get(&key, &mut value), "a record is missing");
    let milliseconds = start.elapsed().as_secs_f64() * 1e3;
    let anonymous = memory.anonymous();
    let mut reader = store.reader();
    let found = keys.chunks_exact(KEY_BYTES).filter(|key| reader.get(key, &mut value)).count();
    drop(reader);
    store.close();
    println!("{milliseconds} {anonymous} {found}");
}
