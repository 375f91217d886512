//! Native signing in a process of its own: `native-signing SCHEME RECORDS [SIGNATURE...]`, signatures in hexadecimal digits.
//!
//! Says `[is_soft, sha256_ns, signatures]` first (all as JSON), then answers a number of batches with the nanoseconds that
//! they took.

use std::io::{BufRead, Write};

use bench_signing::{Error, IS_SOFT, Signing, sha256_ns};
use extension_engine::Runtime;

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let scheme = arguments.next().ok_or("SCHEME is missing")?;
    let records = arguments.next().ok_or("RECORDS is missing")?.parse()?;
    let signatures = arguments.map(|hex| from_hex(&hex)).collect::<Result<Vec<_>, _>>()?;
    let mut signing = Signing::new(Runtime::Native, None, &scheme, records, signatures.clone())?;
    if !signing.refuses_wrong_ones()? {
        return Err("takes a wrong signature".into());
    }
    let made = if signatures.is_empty() { signing.sign_all()? } else { Vec::new() };
    let made: Vec<String> = made.iter().map(|signature| format!("\"{}\"", to_hex(signature))).collect();
    say(&format!("[{IS_SOFT}, {}, [{}]]", sha256_ns(), made.join(", ")))?;
    for line in std::io::stdin().lock().lines() {
        say(&signing.time(line?.parse()?)?.as_nanos().to_string())?;
    }
    Ok(())
}

fn say(text: &str) -> Result<(), Error> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{text}")?;
    Ok(output.flush()?)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Result<Vec<u8>, Error> {
    (0..text.len() / 2).map(|i| Ok(u8::from_str_radix(&text[2 * i..2 * i + 2], 16)?)).collect()
}
