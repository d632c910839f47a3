//! What the workload asks of every store; see ../engine.hpp for the meaning.

use std::path::Path;

pub type Pair<'a> = (&'a [u8], &'a [u8]);

#[derive(Clone, Copy)]
pub struct Settings {
    pub data_bytes: usize,
}

impl Settings {
    pub fn cache_bytes(&self) -> usize {
        (self.data_bytes * 2).max(64 << 20)
    }
}

/// Every byte of what a scan returns is looked at.
#[derive(Default)]
pub struct ScanSum(pub u64);

impl ScanSum {
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        for bytes in [key, value] {
            for word in bytes.chunks_exact(8) {
                self.0 = self.0.wrapping_add(u64::from_le_bytes(word.try_into().unwrap()));
            }
        }
    }
}

/// One thread's reads while nobody writes.
pub trait Reader {
    /// A copy of the value in `out`, which is reused.
    fn get(&mut self, key: &[u8], out: &mut Vec<u8>) -> bool;
    /// Up to `count` records from `start` on; None: this store keeps no order.
    fn scan(&mut self, start: &[u8], count: usize, sum: &mut ScanSum) -> Option<usize>;
}

pub trait Store: Sync {
    fn about(&self) -> String;
    fn can_scan(&self) -> bool {
        true
    }
    fn load(&self, pairs: &[Pair]);
    fn put(&self, key: &[u8], value: &[u8]);
    fn put_durable(&self, key: &[u8], value: &[u8]);
    fn put_batch_durable(&self, pairs: &[Pair]);
    fn remove(&self, key: &[u8]);
    fn sync(&self);
    /// Whatever puts the store into its best state for reading; not timed.
    fn prepare_reads(&self) {}
    fn reader(&self) -> Box<dyn Reader + '_>;
    /// False: this store can't.
    fn compact(&mut self) -> bool;
    fn close(self: Box<Self>);
}

pub fn open(name: &str, folder: &Path, settings: Settings) -> Box<dyn Store> {
    std::fs::create_dir_all(folder).unwrap();
    match name {
        "redb" => crate::redb_store::open(folder, settings),
        "sled" => crate::sled_store::open(folder, settings),
        "fjall" => crate::fjall_store::open(folder, settings),
        "emdb" => crate::emdb_store::open(folder),
        _ => panic!("no store is called {name}"),
    }
}
