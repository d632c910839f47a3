//! Workload "table"; see ../table.hpp, of which this is a translation with the same phases.

use crate::children::{self, WRITES};
use crate::data_set::{shuffled, DataSet, KeyList, LOOKUPS_MAX};
use crate::record::{allocated_bytes, Memory, Record};
use crate::store::{self, Reader, ScanSum, Settings, Store};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Barrier;
use std::time::Instant;

pub const VALUE_BYTES: usize = 150;
const DURABLE: usize = 1000;
const BATCHES: usize = 100;
const BATCH: usize = 1000;
const UNSYNCED: usize = 50_000;
const SCAN: usize = 10;

pub struct Table<'a> {
    pub name: &'a str,
    pub folder: PathBuf,
    pub settings: Settings,
    pub records: usize,
    pub data: DataSet,
    pub hits: KeyList,
    pub hit_order: Vec<u32>,
    pub misses: KeyList,
    pub removals: KeyList,
    pub kept: KeyList,
    pub kept_order: Vec<u32>,
}

impl<'a> Table<'a> {
    pub fn new(name: &'a str, folder: PathBuf, records: usize) -> Self {
        let data = DataSet::new(records + DURABLE + BATCHES * BATCH + UNSYNCED * 2, VALUE_BYTES);
        let mut hit_order = shuffled(records, 10);
        hit_order.truncate(LOOKUPS_MAX);
        let other = shuffled(records, 11);
        let (removed, kept) = other.split_at(records / 2);
        let kept_order = kept[..(records / 2).min(LOOKUPS_MAX / 2)].to_vec();
        Table {
            name,
            folder,
            settings: Settings { data_bytes: records * (24 + VALUE_BYTES) },
            records,
            hits: data.keys_of(&hit_order),
            misses: KeyList::absent(hit_order.len()),
            removals: data.keys_of(removed),
            kept: data.keys_of(&kept_order),
            kept_order,
            hit_order,
            data,
        }
    }

    pub fn run(&self, record: &mut Record) {
        let memory = Memory::new();
        let mut anonymous_max: f64 = 0.0;
        children::settle();
        let mut store = store::open(self.name, &self.folder, self.settings);
        record.text("about", &store.about());
        self.load_and_write(&*store, record, &memory, &mut anonymous_max);
        self.read(&*store, record);
        anonymous_max = anonymous_max.max(memory.anonymous());
        self.remove_and_compact(&mut *store, record, &memory, &mut anonymous_max);
        record.value("anonymous_max", "bytes", anonymous_max.max(memory.anonymous()));
        record.value("peak_resident", "bytes", memory.peak_resident());
        store.close();
        std::fs::remove_dir_all(&self.folder).unwrap();
        self.reopen(record);
    }

    fn load_and_write(&self, store: &dyn Store, record: &mut Record, memory: &Memory, most: &mut f64) {
        let loaded = self.data.pairs(0..self.records);
        let memory_of_pairs = 0.0;
        record.timed("bulk_load", || store.load(&loaded));
        *most = most.max(memory.anonymous() - memory_of_pairs - (loaded.len() * 32) as f64);
        record.value("anonymous_loaded", "bytes", *most);
        record.timed("load_sync", || store.sync());
        children::settle();
        record.value("size_loaded", "bytes", allocated_bytes(&self.folder));
        let later = self.data.pairs(self.records..self.records + DURABLE + BATCHES * BATCH + UNSYNCED * 2);
        record.timed_singly("durable_writes", DURABLE, |i| store.put_durable(later[i].0, later[i].1));
        let batches = &later[DURABLE..];
        record.timed_singly("durable_batches", BATCHES, |i| store.put_batch_durable(&batches[i * BATCH..(i + 1) * BATCH]));
        let unsynced = &batches[BATCHES * BATCH..];
        record.timed("unsynced_writes", || {
            for (key, value) in &unsynced[..UNSYNCED] {
                store.put(key, value);
            }
        });
        record.timed_singly("unsynced_writes_singly", UNSYNCED, |i| {
            let (key, value) = unsynced[UNSYNCED + i];
            store.put(key, value);
        });
        store.sync();
        store.prepare_reads();
    }

    fn check(&self, reader: &mut dyn Reader, keys: &KeyList, order: &[u32]) {
        let mut value = Vec::new();
        for (i, key) in keys.iter().enumerate() {
            assert!(reader.get(key, &mut value) && value == self.data.value(order[i] as usize), "a value is not what was written");
        }
    }

    fn look_up(&self, reader: &mut dyn Reader, record: &mut Record, id: &str, keys: &KeyList, there: bool) {
        let mut value = Vec::new();
        record.timed(id, || {
            for key in keys.iter() {
                assert!(reader.get(key, &mut value) == there, "a look-up went wrong");
                black_box(&value);
            }
        });
    }

    fn read(&self, store: &dyn Store, record: &mut Record) {
        {
            let mut reader = store.reader();
            self.check(&mut *reader, &self.hits, &self.hit_order);
            self.look_up(&mut *reader, record, "hits", &self.hits, true);
            self.look_up(&mut *reader, record, "misses", &self.misses, false);
            record.timed("hits_new_string", || {
                for key in self.hits.iter() {
                    let mut value = Vec::new();
                    assert!(reader.get(key, &mut value));
                    black_box(value);
                }
            });
            record.impossible("hits_batched", "no batched reads");
            let mut value = Vec::new();
            record.timed_singly("hits_singly", self.hits.len().min(100_000), |i| {
                black_box(reader.get(self.hits.get(i), &mut value));
            });
        }
        for threads in [1, 2, 4, 8] {
            self.read_by_threads(store, record, threads);
        }
        self.scan(store, record, "scans_loaded", &self.hits);
    }

    /// Threads take a thousand look-ups at a time; from their release to the end of the last one.
    fn read_by_threads(&self, store: &dyn Store, record: &mut Record, threads: usize) {
        let count = self.records + 150_000;
        let next = AtomicUsize::new(0);
        let barrier = Barrier::new(threads + 1);
        let (start, end) = std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        let mut reader = store.reader();
                        let mut value = Vec::new();
                        barrier.wait();
                        loop {
                            let first = next.fetch_add(1000, Relaxed);
                            if first >= count {
                                return Instant::now();
                            }
                            for i in first..(first + 1000).min(count) {
                                assert!(reader.get(self.hits.get(i % self.hits.len()), &mut value));
                                black_box(&value);
                            }
                        }
                    })
                })
                .collect();
            barrier.wait();
            let start = Instant::now();
            (start, running.into_iter().map(|thread| thread.join().unwrap()).max().unwrap())
        });
        record.value(&format!("readers_{threads}"), "ms", end.duration_since(start).as_secs_f64() * 1e3);
    }

    fn scan(&self, store: &dyn Store, record: &mut Record, id: &str, starts: &KeyList) {
        if !store.can_scan() {
            record.impossible(id, "ordered reads are not measured");
            return;
        }
        let count = self.hits.len().min(500_000);
        let mut reader = store.reader();
        record.timed(id, || {
            let mut sum = ScanSum::default();
            let seen: usize = (0..count).map(|i| reader.scan(starts.get(i % starts.len()), SCAN, &mut sum).unwrap()).sum();
            assert!(seen + 1000 >= count * SCAN, "scans returned too little");
            black_box(sum.0);
        });
    }

    fn remove_and_compact(&self, store: &mut dyn Store, record: &mut Record, memory: &Memory, most: &mut f64) {
        record.timed("removals", || {
            for key in self.removals.iter() {
                store.remove(key);
            }
        });
        {
            let mut reader = store.reader();
            let mut value = Vec::new();
            assert!(self.removals.iter().step_by(7).all(|key| !reader.get(key, &mut value)), "a removed record is there");
        }
        store.sync();
        children::settle();
        record.value("size_before_compaction", "bytes", allocated_bytes(&self.folder));
        let start = Instant::now();
        if store.compact() {
            record.value("compaction", "ms", start.elapsed().as_secs_f64() * 1e3);
            record.value("anonymous_compacted", "bytes", memory.anonymous());
            *most = most.max(memory.anonymous());
            children::settle();
            record.value("size_after_compaction", "bytes", allocated_bytes(&self.folder));
            self.scan(store, record, "scans_compacted", &self.kept);
        } else {
            for id in ["compaction", "size_after_compaction", "scans_compacted"] {
                record.impossible(id, "no compaction");
            }
        }
        let mut reader = store.reader();
        self.check(&mut *reader, &self.kept, &self.kept_order);
        self.look_up(&mut *reader, record, "hits_compacted", &self.kept, true);
    }

    /// In new processes; the records are loaded anew.
    fn reopen(&self, record: &mut Record) {
        let folder: &Path = &self.folder;
        let store = store::open(self.name, folder, self.settings);
        store.load(&self.data.pairs(0..self.records));
        store.sync();
        store.close();
        let mut times = Vec::new();
        let mut opened = Default::default();
        for _ in 0..5 {
            opened = children::open_and_get(self.name, folder, self.settings, self.hits.get(0));
            times.push(opened.milliseconds);
        }
        times.sort_by(f64::total_cmp);
        record.value("reopen_clean", "ms", times[2]);
        record.value("anonymous_reopened", "bytes", opened.anonymous);
        children::write_and_be_killed(self.name, folder, self.settings);
        let opened = children::open_and_get(self.name, folder, self.settings, self.hits.get(0));
        record.value("reopen_killed", "ms", opened.milliseconds);
        record.value("written_before_kill", "records", WRITES as f64);
        record.value("found_after_kill", "records", opened.found);
    }
}
