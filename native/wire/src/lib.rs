//! The bytes of NATS without Python: what this crate finds in them depends on nothing else.
//!
//! The Python modules of the same names in `micro` are the specification of each function here.
#![forbid(unsafe_code)]

pub mod deadline;
pub mod frames;
pub mod headers;

/// The white space of Python's `bytes`.
pub fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Returns a part of some bytes without the white space around it.
pub fn strip(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|&byte| !is_blank(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|&byte| !is_blank(byte)).map_or(start, |last| last + 1);
    &bytes[start..end]
}

/// Adds a number in decimal digits.
pub fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    bytes.extend_from_slice(&digits[start..]);
}
