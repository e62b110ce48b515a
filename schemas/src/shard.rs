//! Shards: which partition of the deliveries topic a tenant's notifications go to.
//!
//! In: a tenant, a stream, the number of shards and of buckets. Out: a partition number.
//! Always: the hash is Kafka's murmur2, so that any Kafka client computes the same shard.

use crate::{Stream, TenantId};

/// `murmur2(tenant, bucket) mod shards`, with `bucket = murmur2(stream) mod buckets`.
///
/// One bucket (the normal case) keeps a whole tenant on one shard; a hot tenant has more. `shards` and
/// `buckets` must be at least 1; 0 counts as 1.
pub fn shard(tenant: &TenantId, stream: &Stream, shards: u16, buckets: u16) -> u16 {
    let bucket = match buckets {
        0 | 1 => 0,
        n => positive(murmur2(stream.to_string().as_bytes())) % u32::from(n),
    };
    let name = tenant.as_str().as_bytes();
    let mut key = [0u8; crate::limits::TENANT_ID_BYTES + 5];
    key[..name.len()].copy_from_slice(name);
    let len = if bucket == 0 {
        name.len()
    } else {
        key[name.len() + 1..name.len() + 5].copy_from_slice(&bucket.to_be_bytes());
        name.len() + 5
    };
    (positive(murmur2(&key[..len])) % u32::from(shards.max(1))) as u16
}

/// Kafka's default partition of a key: what `partitioner=murmur2_random` does with it.
pub fn partition_of_key(key: &[u8], partitions: u32) -> u32 {
    positive(murmur2(key)) % partitions.max(1)
}

fn positive(hash: u32) -> u32 {
    hash & 0x7fff_ffff
}

/// MurmurHash2 with the seed of Kafka's Java client.
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c_u32 ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let tail = words.remainder();
    for (i, &byte) in tail.iter().enumerate() {
        h ^= u32::from(byte) << (8 * i);
    }
    if !tail.is_empty() {
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_agrees_with_the_java_client() {
        // Values of org.apache.kafka.common.utils.UtilsTest.testMurmur2.
        for (text, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }

    #[test]
    fn one_bucket_keeps_a_tenant_on_one_shard_and_more_spread_it() {
        let tenant: TenantId = "acme".parse().unwrap();
        let shards = |buckets: u16| -> std::collections::HashSet<u16> {
            (0..100)
                .map(|n| {
                    shard(
                        &tenant,
                        &Stream::Channel(format!("c{n}").parse().unwrap()),
                        64,
                        buckets,
                    )
                })
                .collect()
        };
        assert_eq!(shards(1).len(), 1);
        assert!(shards(8).len() > 4);
    }
}
