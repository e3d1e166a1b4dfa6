//! Reading and writing header blocks (ADR-4); see `micro/_protocol/headers.py`.

use crate::{is_blank, push_number, strip};

const VERSION: usize = b"NATS/1.0".len();

/// Calls a function with the name and value of each header, names in ASCII, values in any encoding.
///
/// A status of the server appears as `Status` and `Description`. Invalid lines are left out.
pub fn read<E>(block: &[u8], mut found: impl FnMut(&str, &[u8]) -> Result<(), E>) -> Result<(), E> {
    let mut lines = Lines { rest: Some(block) };
    let first = lines.next().unwrap_or_default();
    let status = strip(first.get(VERSION..).unwrap_or_default());
    if !status.is_empty() {
        let code = &status[..status.len().min(3)];
        if code.iter().all(u8::is_ascii_digit) {
            found("Status", code)?;
        }
        let text = strip(status.get(4..).unwrap_or_default());
        if !text.is_empty() {
            found("Description", text)?;
        }
    }
    for line in lines {
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let name = strip(&line[..colon]);
        if name.is_empty() || name.iter().any(|&byte| is_blank(byte)) {
            continue;
        }
        let Ok(name) = std::str::from_utf8(name) else {
            continue;
        };
        if name.is_ascii() {
            found(name, strip(&line[colon + 1..]))?;
        }
    }
    Ok(())
}

/// The lines of a block, each ended by `\r\n`, and the bytes behind the last end.
struct Lines<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        match memchr::memmem::find(rest, b"\r\n") {
            Some(end) => {
                self.rest = Some(&rest[end + 2..]);
                Some(&rest[..end])
            }
            None => self.rest.take(),
        }
    }
}

/// A header block that is being written.
#[derive(Default)]
pub struct Block {
    bytes: Vec<u8>,
}

impl Block {
    /// Adds a header; returns false if it cannot be sent.
    pub fn add(&mut self, name: &str, value: &str) -> bool {
        let valid = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
            && !value.bytes().any(|byte| matches!(byte, b'\r' | b'\n'));
        if valid {
            self.line(name, |line| {
                line.extend_from_slice(value.trim_matches(BLANKS).as_bytes());
            });
        }
        valid
    }

    /// Adds a header that has a valid name and a number.
    pub fn add_number(&mut self, name: &str, value: u64) {
        self.line(name, |line| push_number(line, value));
    }

    fn line(&mut self, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
        if self.bytes.is_empty() {
            self.bytes.reserve(128);
            self.bytes.extend_from_slice(b"NATS/1.0\r\n");
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
        value(&mut self.bytes);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Returns the block; empty without a header.
    pub fn finish(mut self) -> Vec<u8> {
        if !self.bytes.is_empty() {
            self.bytes.extend_from_slice(b"\r\n");
        }
        self.bytes
    }
}

/// What surrounds a value without being a part of it; other white space of Unicode is text.
const BLANKS: [char; 4] = [' ', '\t', '\x0b', '\x0c'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_a_line_for_each_header_that_can_be_sent() {
        let mut block = Block::default();
        assert!(block.add("A", "\t b c\u{a0} "));
        assert!(!block.add("A:", "") && !block.add("", "") && !block.add("\u{e4}", ""));
        assert!(!block.add("B", "c\rd") && !block.add("B", "\n"));
        block.add_number("N", 120);
        assert_eq!(block.finish(), "NATS/1.0\r\nA: b c\u{a0}\r\nN: 120\r\n\r\n".as_bytes());
        assert!(Block::default().finish().is_empty());
    }

    fn all(block: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        let _ = read::<()>(block, |name, value| {
            found.push((name.to_owned(), value.to_vec()));
            Ok(())
        });
        found
    }

    fn pair(name: &str, value: &str) -> (String, Vec<u8>) {
        (name.to_owned(), value.as_bytes().to_vec())
    }

    #[test]
    fn lines_without_a_name_are_left_out() {
        let block = b"NATS/1.0\r\nA: b \r\n: c\r\nno colon\r\nD E: f\r\n\xff: g\r\nH:\r\n\r\n";
        assert_eq!(all(block), [pair("A", "b"), pair("H", "")]);
    }

    #[test]
    fn a_status_has_two_names() {
        let block = b"NATS/1.0 503 No Responders\r\n\r\n";
        assert_eq!(all(block), [pair("Status", "503"), pair("Description", "No Responders")]);
        assert_eq!(all(b"NATS/1.0 odd"), []);
        assert_eq!(all(b""), []);
    }
}
