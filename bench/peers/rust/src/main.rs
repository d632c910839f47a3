//! Stores in Rust, with the workload of the C++ programs beside: `rust --variant redb|sled|fjall|emdb`, emdb being the original.

mod children;
mod data_set;
mod emdb_store;
mod fjall_store;
mod record;
mod redb_store;
mod sled_store;
mod store;
mod table;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "--child") {
        return children::run(&words[1..]);
    }
    let option = |name: &str, default: &str| -> String {
        words.iter().position(|word| word == name).map_or(default.into(), |at| words[at + 1].clone())
    };
    let (workload, variant) = (option("--workload", "table"), option("--variant", "redb"));
    if workload != "table" {
        eprintln!("the stores in Rust have the workload table only");
        std::process::exit(2);
    }
    let records: usize = option("--records", "1000000").parse().unwrap();
    let folder = Path::new(&option("--dir", ".")).join(format!("peer-{variant}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let _removed_at_the_end = Folder(folder.clone());
    let mut record = Record::default();
    record.text("version", &format!("{variant} {}", version_of(&variant)));
    record.text("workload", &workload);
    record.text("records", &records.to_string());
    record.text("machine", "see the other programs");
    record.text("load_of_others", "0");
    Table::new(&variant, folder.join("data"), records).run(&mut record);
    record.print();
}

use record::Record;
use std::path::{Path, PathBuf};
use table::Table;

struct Folder(PathBuf);
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// From the lock file, which says what was built.
fn version_of(name: &str) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let start = lock.find(&format!("name = \"{name}\"\nversion = \"")).map(|at| at + name.len() + 20);
    start.map_or("", |at| lock[at..].split('"').next().unwrap_or(""))
}
