//! A histogram as text: HdrHistogram's V2 format, deflated, in base64, as the lines of an interval log have it.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

/// Writes histograms as text, with buffers that are used again.
pub struct HistogramWriter {
    serializer: V2DeflateSerializer,
    serialized: Vec<u8>,
}

impl Default for HistogramWriter {
    fn default() -> Self {
        Self { serializer: V2DeflateSerializer::new(), serialized: Vec::new() }
    }
}

impl HistogramWriter {
    /// Appends `histogram` to `text`.
    ///
    /// # Errors
    /// The histogram can't be serialized.
    pub fn push(&mut self, histogram: &Histogram<u64>, text: &mut String) -> io::Result<()> {
        self.serialized.clear();
        self.serializer.serialize(histogram, &mut self.serialized).map_err(io::Error::other)?;
        STANDARD.encode_string(&self.serialized, text);
        Ok(())
    }
}

/// The histogram that `text` holds.
///
/// # Errors
/// It holds none.
pub fn parse(text: &str) -> io::Result<Histogram<u64>> {
    let bytes = STANDARD.decode(text).map_err(io::Error::other)?;
    Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(io::Error::other)
}
