//! `PERF_RECORD_COMPRESSED` and `COMPRESSED2`: their payloads are one zstd stream without an end mark.

use std::fmt;
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

/// Bytes inflated at a time: the memory that a payload can claim, whatever it inflates to.
const STEP: usize = 128 << 10;
/// perf's own records shrink to a tenth or so. More than this is a bomb, not a recording.
const MAX_RATIO: u64 = 1000;
/// Below this nobody is hurt by any ratio.
const FREE: u64 = 64 << 20;

#[derive(Default)]
pub struct Inflate {
    decoder: Option<Decoder<'static>>,
    /// Inflated bytes that are not a whole record yet.
    pending: Vec<u8>,
    read: u64,
    written: u64,
}

impl fmt::Debug for Inflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflate")
            .field("read", &self.read)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

impl Inflate {
    /// Bytes at the end of the stream that make no record.
    pub fn unread(&self) -> usize {
        self.pending.len()
    }

    /// Inflates one payload and hands the records to `walk`, which says how many bytes it took, or `None`
    /// when it wants no more.
    ///
    /// # Errors
    ///
    /// A sentence, when the payload is not zstd or inflates without measure.
    pub fn feed(
        &mut self,
        payload: &[u8],
        mut walk: impl FnMut(&[u8]) -> Option<usize>,
    ) -> Result<(), String> {
        let broken = |error| {
            format!("a compressed record cannot be inflated: {error}; nothing after it can be read")
        };
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            None => self.decoder.insert(Decoder::new().map_err(broken)?),
        };
        self.read += payload.len() as u64;
        let mut input = InBuffer::around(payload);
        loop {
            let consumed = input.pos();
            let mut step = vec![0; STEP];
            let mut output = OutBuffer::around(step.as_mut_slice());
            decoder.run(&mut input, &mut output).map_err(broken)?;
            let inflated = output.as_slice();
            let full = inflated.len() == STEP;
            let inflated_none = inflated.is_empty();
            self.written += inflated.len() as u64;
            if self.written > FREE + self.read.saturating_mul(MAX_RATIO) {
                return Err(format!(
                    "compressed records inflate more than {MAX_RATIO} times; nothing after this one is read"
                ));
            }
            self.pending.extend_from_slice(inflated);
            let Some(took) = walk(&self.pending) else {
                self.pending = Vec::new();
                return Ok(());
            };
            self.pending.drain(..took.min(self.pending.len()));
            let stuck = inflated_none && input.pos() == consumed;
            if stuck || (input.pos() >= payload.len() && !full) {
                return Ok(());
            }
        }
    }
}
