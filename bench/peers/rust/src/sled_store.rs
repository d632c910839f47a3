use crate::store::{Pair, Reader, ScanSum, Settings, Store};
use std::path::Path;

struct Sled(sled::Db);
struct SledReader<'a>(&'a sled::Db);

pub fn open(folder: &Path, settings: Settings) -> Box<dyn Store> {
    let config = sled::Config::new().path(folder.join("data.sled")).cache_capacity(settings.cache_bytes() as u64);
    Box::new(Sled(config.flush_every_ms(None).mode(sled::Mode::HighThroughput).open().unwrap()))
}

impl Store for Sled {
    fn about(&self) -> String {
        "Mode::HighThroughput, cache for all data, no timed flush; loads in batches of 1,000; durable writes by insert and flush, which in this \
         version does not always wait for the disk; it has no compaction"
            .into()
    }
    fn load(&self, pairs: &[Pair]) {
        for some in pairs.chunks(1000) {
            let mut batch = sled::Batch::default();
            for (key, value) in some {
                batch.insert(*key, *value);
            }
            self.0.apply_batch(batch).unwrap();
        }
    }
    fn put(&self, key: &[u8], value: &[u8]) {
        self.0.insert(key, value).unwrap();
    }
    fn put_durable(&self, key: &[u8], value: &[u8]) {
        self.0.insert(key, value).unwrap();
        self.0.flush().unwrap();
    }
    fn put_batch_durable(&self, pairs: &[Pair]) {
        self.load(pairs);
        self.0.flush().unwrap();
    }
    fn remove(&self, key: &[u8]) {
        self.0.remove(key).unwrap();
    }
    fn sync(&self) {
        self.0.flush().unwrap();
    }
    fn reader(&self) -> Box<dyn Reader + '_> {
        Box::new(SledReader(&self.0))
    }
    fn compact(&mut self) -> bool {
        false
    }
    fn close(self: Box<Self>) {
        self.0.flush().unwrap();
    }
}

impl Reader for SledReader<'_> {
    fn get(&mut self, key: &[u8], out: &mut Vec<u8>) -> bool {
        let found = self.0.get(key).unwrap();
        if let Some(value) = &found {
            out.clear();
            out.extend_from_slice(value);
        }
        found.is_some()
    }
    fn scan(&mut self, start: &[u8], count: usize, sum: &mut ScanSum) -> Option<usize> {
        let mut seen = 0;
        for record in self.0.range(start..).take(count) {
            let (key, value) = record.unwrap();
            sum.add(&key, &value);
            seen += 1;
        }
        Some(seen)
    }
}
