//! The original emdb.

use crate::store::{Pair, Reader, ScanSum, Store};
use emdb::Emdb;
use std::path::Path;

struct Original(Emdb);
struct OriginalReader<'a>(&'a Emdb);

pub fn open(folder: &Path) -> Box<dyn Store> {
    Box::new(Original(Emdb::builder().path(folder.join("data.emdb")).build().unwrap()))
}

impl Store for Original {
    fn about(&self) -> String {
        "defaults; loads by insert_many, durable writes by insert and flush, reads by get_zerocopy, copied once".into()
    }
    fn can_scan(&self) -> bool {
        false
    }
    fn load(&self, pairs: &[Pair]) {
        self.0.insert_many(pairs.iter().map(|(key, value)| (*key, *value))).unwrap();
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
        Box::new(OriginalReader(&self.0))
    }
    fn compact(&mut self) -> bool {
        self.0.compact().unwrap();
        true
    }
    fn close(self: Box<Self>) {
        self.0.flush().unwrap();
        self.0.checkpoint().unwrap();
    }
}

impl Reader for OriginalReader<'_> {
    fn get(&mut self, key: &[u8], out: &mut Vec<u8>) -> bool {
        let found = self.0.get_zerocopy(key).unwrap();
        if let Some(value) = &found {
            out.clear();
            out.extend_from_slice(value.as_slice());
        }
        found.is_some()
    }
    fn scan(&mut self, _: &[u8], _: usize, _: &mut ScanSum) -> Option<usize> {
        None
    }
}
