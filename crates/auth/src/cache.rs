//! Verified tokens, remembered by their hash.
//!
//! In: the SHA-256 of a token and what it was found to say. Out: the same again without any cryptography.
//! Always: bounded (16,384 tokens: 4,096 buckets of four, under 1 MB before principals); when a bucket is
//! full a token whose time or keys are over makes room, else an arbitrary one, which then is verified again.
//! Each bucket has its own lock, held for a few comparisons, so that two tokens hardly ever meet; no token
//! text is kept, and only tokens that verified get in.

use parking_lot::RwLock;

use crate::Principal;

/// The SHA-256 of a token.
pub(crate) type Hash = [u8; 32];

const BUCKETS: usize = 4096;
const WAYS: usize = 4;

struct Entry {
    hash: Hash,
    /// The generation of the keys that vouched for it.
    generation: u64,
    principal: Principal,
}

type Bucket = RwLock<[Option<Entry>; WAYS]>;

/// A fixed number of verified tokens.
pub(crate) struct Cache(Box<[Bucket]>);

impl Cache {
    pub(crate) fn new() -> Self {
        Self((0..BUCKETS).map(|_| Bucket::default()).collect())
    }

    /// What the token was found to say under these keys.
    pub(crate) fn get(&self, hash: &Hash, generation: u64) -> Option<Principal> {
        let bucket = self.bucket(hash).read();
        let mut entries = bucket.iter().flatten();
        let found = entries.find(|entry| entry.hash == *hash && entry.generation == generation)?;
        Some(found.principal.clone())
    }

    /// Remembers a token. `is_over` says whether a token that ends then has ended.
    pub(crate) fn put(
        &self,
        hash: Hash,
        generation: u64,
        principal: Principal,
        is_over: impl Fn(u64) -> bool,
    ) {
        let mut bucket = self.bucket(&hash).write();
        let same = |slot: &Option<Entry>| slot.as_ref().is_some_and(|entry| entry.hash == hash);
        let free = |slot: &Option<Entry>| {
            slot.as_ref()
                .is_none_or(|entry| entry.generation != generation || is_over(entry.principal.expires()))
        };
        let at = bucket
            .iter()
            .position(same)
            .or_else(|| bucket.iter().position(free))
            .unwrap_or(usize::from(hash[2]) % WAYS);
        bucket[at] = Some(Entry {
            hash,
            generation,
            principal,
        });
    }

    fn bucket(&self, hash: &Hash) -> &Bucket {
        &self.0[usize::from(u16::from_le_bytes([hash[0], hash[1]])) % BUCKETS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(expires: u64) -> Principal {
        Principal::ending_at("a".parse().unwrap(), "u".parse().unwrap(), expires)
    }

    fn hash(bucket: u8, n: u8) -> Hash {
        let mut hash = [n; 32];
        hash[..2].copy_from_slice(&[bucket, 0]);
        hash
    }

    fn kept(cache: &Cache, generation: u64) -> usize {
        (0..=255)
            .filter(|n| cache.get(&hash(1, *n), generation).is_some())
            .count()
    }

    #[test]
    fn a_token_is_found_by_its_whole_hash_and_under_the_same_keys_only() {
        let cache = Cache::new();
        cache.put(hash(1, 1), 7, principal(100), |_| false);
        assert!(cache.get(&hash(1, 1), 7).is_some());
        assert!(cache.get(&hash(1, 2), 7).is_none());
        assert!(cache.get(&hash(1, 1), 8).is_none());
        let mut near = hash(1, 1);
        near[31] ^= 1;
        assert!(cache.get(&near, 7).is_none());
    }

    #[test]
    fn a_full_bucket_gives_up_one_token_for_another() {
        let cache = Cache::new();
        for n in 0..=255 {
            cache.put(hash(1, n), 0, principal(100), |_| false);
            assert!(cache.get(&hash(1, n), 0).is_some());
        }
        assert_eq!(kept(&cache, 0), WAYS);
    }

    #[test]
    fn what_is_over_makes_room_before_what_is_not() {
        let cache = Cache::new();
        for (n, expires) in [(1, 500), (2, 500), (3, 100), (4, 500)] {
            cache.put(hash(1, n), 0, principal(expires), |_| false);
        }
        cache.put(hash(1, 5), 0, principal(500), |expires| expires <= 100);
        assert!(cache.get(&hash(1, 3), 0).is_none());
        assert_eq!(kept(&cache, 0), WAYS);
        cache.put(hash(1, 6), 1, principal(500), |_| false);
        assert_eq!((kept(&cache, 0), kept(&cache, 1)), (WAYS - 1, 1));
    }

    #[test]
    fn a_token_that_is_put_again_takes_its_own_place() {
        let cache = Cache::new();
        for generation in 0..20 {
            cache.put(hash(1, 1), generation, principal(100), |_| false);
        }
        let places = cache.bucket(&hash(1, 1)).read().iter().flatten().count();
        assert_eq!(places, 1);
    }
}
