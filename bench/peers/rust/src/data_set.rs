//! The same keys, values and orders as ../data_set.hpp, byte for byte.

pub const KEY_BYTES: usize = 24;
pub const LOOKUPS_MAX: usize = 1_000_000;

/// splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, limit: u64) -> u64 {
        ((self.next() >> 32) * limit) >> 32
    }
    pub fn bytes(seed: u64, count: usize) -> Vec<u8> {
        let mut random = Random(seed);
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&random.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

/// Numbers below `count` in random order (Fisher and Yates).
pub fn shuffled(count: usize, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    let mut random = Random(seed);
    for i in (2..=count).rev() {
        order.swap(i - 1, random.below(i as u64) as usize);
    }
    order
}

/// Keys side by side, in the order in which they are asked for.
pub struct KeyList(Vec<u8>);

impl KeyList {
    pub fn absent(count: usize) -> Self {
        KeyList(Random::bytes(3, count * KEY_BYTES))
    }
    pub fn len(&self) -> usize {
        self.0.len() / KEY_BYTES
    }
    pub fn get(&self, i: usize) -> &[u8] {
        &self.0[i * KEY_BYTES..(i + 1) * KEY_BYTES]
    }
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.chunks_exact(KEY_BYTES)
    }
}

pub struct DataSet {
    keys: Vec<u8>,
    values: Vec<u8>,
    value_bytes: usize,
}

impl DataSet {
    pub fn new(count: usize, value_bytes: usize) -> Self {
        DataSet { keys: Random::bytes(1, count * KEY_BYTES), values: Random::bytes(2, count * value_bytes), value_bytes }
    }
    pub fn key(&self, i: usize) -> &[u8] {
        &self.keys[i * KEY_BYTES..(i + 1) * KEY_BYTES]
    }
    pub fn value(&self, i: usize) -> &[u8] {
        &self.values[i * self.value_bytes..(i + 1) * self.value_bytes]
    }
    pub fn pairs(&self, range: std::ops::Range<usize>) -> Vec<(&[u8], &[u8])> {
        range.map(|i| (self.key(i), self.value(i))).collect()
    }
    pub fn keys_of(&self, order: &[u32]) -> KeyList {
        let mut bytes = Vec::with_capacity(order.len() * KEY_BYTES);
        for &i in order {
            bytes.extend_from_slice(self.key(i as usize));
        }
        KeyList(bytes)
    }
}
