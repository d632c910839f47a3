use crate::store::{Pair, Reader, ScanSum, Settings, Store};
use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, TableDefinition, WriteTransaction};
use std::path::Path;

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("records");

struct Redb(Database);
struct RedbReader(ReadOnlyTable<&'static [u8], &'static [u8]>);

pub fn open(folder: &Path, settings: Settings) -> Box<dyn Store> {
    let database = Database::builder().set_cache_size(settings.cache_bytes()).create(folder.join("data.redb")).unwrap();
    let store = Redb(database);
    let transaction = store.begin(Durability::Immediate);
    transaction.open_table(TABLE).unwrap();
    transaction.commit().unwrap();
    Box::new(store)
}

impl Redb {
    fn begin(&self, durability: Durability) -> WriteTransaction {
        let mut transaction = self.0.begin_write().unwrap();
        transaction.set_durability(durability).unwrap();
        transaction
    }
    fn write(&self, durability: Durability, pairs: &[Pair]) {
        let transaction = self.begin(durability);
        {
            let mut table = transaction.open_table(TABLE).unwrap();
            for (key, value) in pairs {
                table.insert(*key, *value).unwrap();
            }
        }
        transaction.commit().unwrap();
    }
}

impl Store for Redb {
    fn about(&self) -> String {
        "cache for all data; a transaction a write, Durability::None where no sync is asked for, else Immediate; loads in one \
         transaction; one snapshot a reader; compaction is Database::compact"
            .into()
    }
    fn load(&self, pairs: &[Pair]) {
        self.write(Durability::None, pairs);
    }
    fn put(&self, key: &[u8], value: &[u8]) {
        self.write(Durability::None, &[(key, value)]);
    }
    fn put_durable(&self, key: &[u8], value: &[u8]) {
        self.write(Durability::Immediate, &[(key, value)]);
    }
    fn put_batch_durable(&self, pairs: &[Pair]) {
        self.write(Durability::Immediate, pairs);
    }
    fn remove(&self, key: &[u8]) {
        let transaction = self.begin(Durability::None);
        transaction.open_table(TABLE).unwrap().remove(key).unwrap();
        transaction.commit().unwrap();
    }
    fn sync(&self) {
        self.begin(Durability::Immediate).commit().unwrap();
    }
    fn reader(&self) -> Box<dyn Reader + '_> {
        Box::new(RedbReader(self.0.begin_read().unwrap().open_table(TABLE).unwrap()))
    }
    fn compact(&mut self) -> bool {
        self.0.compact().unwrap();
        true
    }
    fn close(self: Box<Self>) {}
}

impl Reader for RedbReader {
    fn get(&mut self, key: &[u8], out: &mut Vec<u8>) -> bool {
        let found = self.0.get(key).unwrap();
        if let Some(value) = &found {
            out.clear();
            out.extend_from_slice(value.value());
        }
        found.is_some()
    }
    fn scan(&mut self, start: &[u8], count: usize, sum: &mut ScanSum) -> Option<usize> {
        let mut seen = 0;
        for record in self.0.range(start..).unwrap().take(count) {
            let (key, value) = record.unwrap();
            sum.add(key.value(), value.value());
            seen += 1;
        }
        Some(seen)
    }
}
