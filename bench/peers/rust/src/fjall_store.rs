use crate::store::{Pair, Reader, ScanSum, Settings, Store};
use fjall::{config::CompressionPolicy, CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::path::Path;

struct Fjall(Database, Keyspace);
struct FjallReader<'a>(&'a Keyspace);

pub fn open(folder: &Path, settings: Settings) -> Box<dyn Store> {
    let database = Database::builder(folder.join("data.fjall")).cache_size(settings.cache_bytes() as u64).open().unwrap();
    let uncompressed = || {
        KeyspaceCreateOptions::default()
            .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
            .expect_point_read_hits(true)
    };
    let records = database.keyspace("records", uncompressed).unwrap();
    Box::new(Fjall(database, records))
}

impl Fjall {
    fn write(&self, durability: Option<PersistMode>, pairs: &[Pair]) {
        let mut batch = self.0.batch().durability(durability);
        for (key, value) in pairs {
            batch.insert(&self.1, *key, *value);
        }
        batch.commit().unwrap();
    }
}

impl Store for Fjall {
    fn about(&self) -> String {
        "cache for all data, no compression (values are random), else defaults; loads in batches of 1,000; durable writes by insert and \
         persist(SyncData); compaction is major_compact after the memtable was written, and is done, untimed, before reads"
            .into()
    }
    fn load(&self, pairs: &[Pair]) {
        for some in pairs.chunks(1000) {
            self.write(None, some);
        }
    }
    fn put(&self, key: &[u8], value: &[u8]) {
        self.1.insert(key, value).unwrap();
    }
    fn put_durable(&self, key: &[u8], value: &[u8]) {
        self.1.insert(key, value).unwrap();
        self.0.persist(PersistMode::SyncData).unwrap();
    }
    fn put_batch_durable(&self, pairs: &[Pair]) {
        self.write(Some(PersistMode::SyncData), pairs);
    }
    fn remove(&self, key: &[u8]) {
        self.1.remove(key).unwrap();
    }
    fn sync(&self) {
        self.0.persist(PersistMode::SyncAll).unwrap();
    }
    fn reader(&self) -> Box<dyn Reader + '_> {
        Box::new(FjallReader(&self.1))
    }
    fn prepare_reads(&self) {
        self.1.rotate_memtable_and_wait().unwrap();
        self.1.major_compact().unwrap();
    }
    fn compact(&mut self) -> bool {
        self.prepare_reads();
        true
    }
    fn close(self: Box<Self>) {
        self.sync();
    }
}

impl Reader for FjallReader<'_> {
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
            let (key, value) = record.into_inner().unwrap();
            sum.add(&key, &value);
            seen += 1;
        }
        Some(seen)
    }
}
