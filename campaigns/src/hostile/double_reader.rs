//! `campaign double-reader`: a signer that reads each message twice, as none may: the control that shows that the campaign
//! would notice.

use std::path::PathBuf;

use clap::Args;
use cli::{Exit, Failure, Method};
use shmem_layout::{Answer, Claims, RingPath, WaitStrategy, Waiting, attach, now_ns};

use super::nonce_reuse;

/// What a double reader is told.
#[derive(Args)]
pub struct DoubleReaderOptions {
    /// The ring
    #[arg(long)]
    ring: PathBuf,

    /// A file with the secret key as 64 hexadecimal digits
    #[arg(long)]
    key: PathBuf,
}

/// Signs until the stream has ended.
///
/// # Errors
/// The ring or the key is unusable.
pub fn run(options: &DoubleReaderOptions) -> Result<Exit, Failure> {
    let key = std::fs::read_to_string(&options.key).map_err(Failure::environment)?;
    let mut secret = [0; 32];
    hex::decode_to_slice(key.trim(), &mut secret).map_err(Failure::bad_input)?;
    let ring = attach(&RingPath::from(options.ring.as_path())).map_err(Failure::environment)?;
    let mut signer = ring.join_signer().map_err(Failure::environment)?;
    let waiting = Waiting::new(WaitStrategy::Adaptive);
    let mut claims = Vec::new();
    while signer.claim(8, &mut claims, &waiting).map_err(Failure::environment)? == Claims::Some {
        for claim in claims.drain(..) {
            let claimed_ns = now_ns();
            let request = signer.request(&claim);
            let method = Method::from_raw(request.method).unwrap_or(Method::Null);
            let copy = || {
                let mut message = vec![0; request.message_len];
                signer.copy_message(&claim, &mut message);
                message
            };
            // The fault: once for the nonce, and once more for the challenge.
            let signature = nonce_reuse::sign(method, &secret, &copy(), copy).unwrap_or([0; 64]);
            let signed_ns = now_ns();
            signer.answer(
                claim,
                &Answer {
                    status: 0,
                    signature: &signature,
                    claimed_ns,
                    signed_ns,
                    module_id: 0,
                    generation: 0,
                    runtime: 0,
                },
            );
        }
        signer.flush();
    }
    Ok(Exit::Done)
}
