//! TensorBoard event files: scalars by step, for `tensorboard --logdir RUN`.
//!
//! A file is TFRecords: `length: u64, masked CRC of it, payload, masked CRC of it` (little-endian; CRC-32C, masked as
//! `rotate right by 15, + 0xa282ead8`). A payload is one `Event` of TensorFlow's `event.proto`, of whose fields these are written:
//!
//! ```text
//! Event    1 wall_time: double   2 step: int64   3 file_version: string   5 summary   7 session_log
//! Summary  1 value (repeated): 1 tag: string, 2 simple_value: float
//! SessionLog  1 status: START = 1, which makes TensorBoard drop what a killed run had logged from this step on
//! ```

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// One event file, open.
pub(crate) struct EventFile {
    file: File,
}

impl EventFile {
    /// Begins a file in `dir` for a run that goes on at `step`.
    pub(crate) fn create(dir: &Path, step: u64) -> io::Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Times sort the files; the process tells apart two that begin at once.
        let name = format!("events.out.tfevents.{:010}.juror.{}", now.as_secs(), std::process::id());
        let mut events = Self { file: File::options().create(true).append(true).open(dir.join(name))? };
        events.write(0, |event| string(event, 3, b"brain.Event:2"))?;
        if step > 0 {
            events.write(step, |event| {
                let mut start = Vec::new();
                varint(&mut start, 1 << 3);
                varint(&mut start, 1);
                string(event, 7, &start);
            })?;
        }
        Ok(events)
    }

    /// Logs values by tag.
    pub(crate) fn scalars<'a>(
        &mut self,
        step: u64,
        values: impl Iterator<Item = (&'a str, f64)>,
    ) -> io::Result<()> {
        let mut summary = Vec::new();
        for (tag, number) in values {
            let mut value = Vec::new();
            string(&mut value, 1, tag.as_bytes());
            varint(&mut value, 2 << 3 | 5);
            value.extend((number as f32).to_le_bytes());
            string(&mut summary, 1, &value);
        }
        self.write(step, |event| string(event, 5, &summary))
    }

    fn write(&mut self, step: u64, what: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut event = Vec::new();
        varint(&mut event, 1 << 3 | 1);
        event.extend(now.as_secs_f64().to_le_bytes());
        varint(&mut event, 2 << 3);
        varint(&mut event, step);
        what(&mut event);
        self.file.write_all(&record(&event))
    }
}

/// A TFRecord.
fn record(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), payload, &masked_crc(payload)].concat()
}

/// A field of bytes.
fn string(message: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    varint(message, field << 3 | 2);
    varint(message, bytes.len() as u64);
    message.extend(bytes);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// CRC-32C (Castagnoli), bit by bit: a log is small.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_record_is_what_tensorflow_writes() {
        // tf.summary.FileWriter: the first record of every file behind its wall time, here 0.
        let mut event = vec![9, 0, 0, 0, 0, 0, 0, 0, 0];
        string(&mut event, 3, b"brain.Event:2");
        let record = record(&event);
        assert_eq!(record[..8], [24, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(record[8..12], [0xa3, 0x7f, 0x4b, 0x22], "TensorFlow's masked CRC of a length of 24");
        assert_eq!(record.len(), 8 + 4 + 24 + 4);
        let mut number = Vec::new();
        varint(&mut number, 300);
        assert_eq!(number, [0xac, 0x02]);
    }
}
