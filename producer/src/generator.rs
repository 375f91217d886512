//! Generated messages. Message `i` is a function of the seed and `i`, so that a producer that was killed goes on with
//! the very bytes that it would have sent.

use std::ops::RangeInclusive;

/// Makes messages of random bytes, of sizes drawn evenly from a range.
pub(crate) struct Generator {
    seed: u64,
    sizes: RangeInclusive<usize>,
    message: Vec<u8>,
}

impl Generator {
    pub fn new(seed: u64, sizes: RangeInclusive<usize>) -> Self {
        Self { seed, sizes, message: Vec::new() }
    }

    /// Message `index`, whatever was asked for before.
    pub fn message(&mut self, index: u64) -> &[u8] {
        let start = SplitMix64(SplitMix64(self.seed).next() ^ index).next();
        let mut random = SplitMix64(start);
        // Lemire's multiplication: the high half of a 128-bit product is even enough over so small a range.
        let spread = (self.sizes.end() - self.sizes.start()) as u128 + 1;
        let extra = ((u128::from(random.next()) * spread) >> 64) as usize;
        self.message.resize(self.sizes.start() + extra, 0);
        let (words, rest) = self.message.as_chunks_mut::<8>();
        for word in words {
            *word = random.next().to_le_bytes();
        }
        let last = random.next().to_le_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
        &self.message
    }
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): one multiplication chain for eight bytes, and any start will do.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn splitmix64_is_the_published_one() {
        let mut random = SplitMix64(1_234_567);
        let first = [random.next(), random.next(), random.next()];
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn a_message_does_not_depend_on_the_ones_before_it() {
        let mut all = Generator::new(7, 1..=100);
        let messages: Vec<_> = (0..50).map(|index| all.message(index).to_vec()).collect();
        for index in (0..50).rev() {
            assert_eq!(Generator::new(7, 1..=100).message(index), messages[index as usize]);
            assert_ne!(
                Generator::new(8, 100..=100).message(index),
                Generator::new(7, 100..=100).message(index)
            );
        }
    }

    #[test]
    fn a_seed_means_the_same_bytes_in_every_version() {
        // Computed by another program from the published SplitMix64.
        assert_eq!(hex::encode(Generator::new(1, 12..=12).message(0)), "e807f7832cb6c5f8dd0e1340");
        assert_eq!(hex::encode(Generator::new(1, 4..=40).message(1)), "5e174a1de002009c5a0ef123faa329f0");
    }

    #[test]
    fn messages_differ_and_every_size_of_the_range_is_drawn_and_no_other() {
        let mut generator = Generator::new(3, 8..=24);
        let messages: HashSet<_> = (0..20_000).map(|index| generator.message(index).to_vec()).collect();
        assert_eq!(messages.len(), 20_000);
        let sizes: HashSet<_> = messages.iter().map(Vec::len).collect();
        assert_eq!(sizes, (8..=24).collect());
    }

    #[test]
    fn an_empty_message_can_be_asked_for() {
        assert_eq!(Generator::new(3, 0..=0).message(9), b"");
    }
}
