//! The seconds for which a caller waits; see `micro/_protocol/deadline.py`.

use crate::strip;

/// The header of the time-out.
pub const HEADER: &str = "Micro-Timeout-Ms";

const LINE: &[u8] = b"\r\nMicro-Timeout-Ms:";
const MAX_DIGITS: usize = 12;

/// Returns the seconds of the value of the header, None when it cannot be read.
pub fn from_value(value: &[u8]) -> Option<f64> {
    let digits = strip(value);
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let milliseconds = digits.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(milliseconds as f64 / 1000.0)
}

/// Returns the seconds in a header block, None when there are none.
pub fn from_block(block: &[u8]) -> Option<f64> {
    let start = memchr::memmem::find(block, LINE)? + LINE.len();
    let value = &block[start..];
    // A block always ends with a line break; without one, Python leaves out the last byte.
    let end = memchr::memchr(b'\r', value).unwrap_or(value.len().saturating_sub(1));
    from_value(&value[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_read_in_seconds() {
        assert_eq!(from_block(b"NATS/1.0\r\nMicro-Timeout-Ms: 1500\r\n\r\n"), Some(1.5));
        assert_eq!(from_block(b"NATS/1.0\r\nMicro-Timeout-Ms:\r\n\r\n"), None);
        assert_eq!(from_block(b"NATS/1.0\r\nMicro-Timeout-Ms: -1\r\n\r\n"), None);
        assert_eq!(from_block(b"NATS/1.0\r\nMicro-Timeout-Ms: 1234567890123\r\n\r\n"), None);
        assert_eq!(from_block(b"NATS/1.0\r\nA: b\r\n\r\n"), None);
        assert_eq!(from_block(b"\r\nMicro-Timeout-Ms:"), None);
        assert_eq!(from_block(b"\r\nMicro-Timeout-Ms:12"), Some(0.001));
    }
}
