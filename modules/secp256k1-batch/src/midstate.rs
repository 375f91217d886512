//! SHA-256 and HMAC that go on from a state between two blocks, so that what many messages begin with is hashed once.

use k256::elliptic_curve::zeroize::Zeroize;
use k256::sha2::block_api::compress256;

/// SHA-256 between two blocks.
pub type State = [u32; 8];

/// Before the first block.
pub const START: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The state after another block.
pub fn after(mut state: State, block: &[u8; 64]) -> State {
    compress256(&mut state, core::slice::from_ref(block));
    state
}

fn bytes(state: &State) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.as_chunks_mut().0.iter_mut().zip(state).for_each(|(to, word)| *to = word.to_be_bytes());
    bytes
}

/// Two halves of a block.
pub fn pair(first: [u8; 32], second: [u8; 32]) -> [u8; 64] {
    let mut both = [0; 64];
    both[..32].copy_from_slice(&first);
    both[32..].copy_from_slice(&second);
    both
}

/// The hash of what `state` has taken in, `blocks` of them, and `rest` after it.
pub fn digest(mut state: State, blocks: u64, rest: &[u8]) -> [u8; 32] {
    let (whole, tail) = rest.as_chunks();
    compress256(&mut state, whole);
    let mut last = [0; 64];
    last[..tail.len()].copy_from_slice(tail);
    last[tail.len()] = 0x80;
    if tail.len() >= 56 {
        state = after(state, &last);
        last = [0; 64];
    }
    *last.last_chunk_mut().unwrap_or(&mut [0; 8]) = (blocks * 512 + rest.len() as u64 * 8).to_be_bytes();
    bytes(&after(state, &last))
}

/// HMAC-SHA-256 with a key taken in.
pub struct Hmac {
    /// After the key, and whatever else the message begins with.
    pub inner: State,
    outer: State,
}

impl Hmac {
    /// Takes in `key`.
    pub fn new(key: &[u8; 32]) -> Self {
        let padded = |pad| core::array::from_fn(|i| key.get(i).map_or(pad, |byte| byte ^ pad));
        Self { inner: after(START, &padded(0x36)), outer: after(START, &padded(0x5c)) }
    }

    /// The code of the message whose inner hash is `inner`.
    pub fn end(&self, inner: [u8; 32]) -> [u8; 32] {
        digest(self.outer, 1, &inner)
    }

    /// The code of `message`.
    pub fn of(&self, message: &[u8; 32]) -> [u8; 32] {
        self.end(digest(self.inner, 1, message))
    }
}

impl Drop for Hmac {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}
