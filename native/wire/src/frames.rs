//! Splitting the byte stream of a NATS server into frames; see `micro/_wire/frames.py`.

use std::ops::Range;

use crate::is_blank;

/// Takes the frames of a stream, in order.
pub trait Receiver {
    /// What stops the splitting.
    type Error;

    /// Takes a message, or returns false: then `other` gets its bytes.
    fn message(&mut self, data: &[u8], message: &Message) -> Result<bool, Self::Error>;

    /// Takes any other frame, or bytes behind an invalid control line.
    fn other(&mut self, frame: &[u8]) -> Result<(), Self::Error>;
}

/// The places of the parts of a message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    pub subject: Range<usize>,
    pub sid: Range<usize>,
    /// Empty without a reply subject.
    pub reply: Range<usize>,
    /// None in a message of the form without headers.
    pub headers: Option<Range<usize>>,
    pub payload: Range<usize>,
}

enum Next {
    Other(usize),
    Message(Message),
    /// The number of missing bytes, 0 if it is not known yet.
    Partial(usize),
    Invalid,
}

/// Splits a stream that arrives in pieces. It keeps an incomplete frame until the rest has come.
#[derive(Default)]
pub struct Splitter {
    partial: Vec<u8>,
    missing: usize,
    senseless: bool,
}

impl Splitter {
    /// Takes the next bytes of the stream.
    pub fn feed<R: Receiver>(&mut self, data: &[u8], receiver: &mut R) -> Result<(), R::Error> {
        if self.senseless {
            return receiver.other(data);
        }
        let mut data = data;
        // Only the rest of an incomplete frame is copied; the frames behind it are split in place.
        while !self.partial.is_empty() && !data.is_empty() {
            let (rest, following) = data.split_at(self.awaited(data));
            self.partial.extend_from_slice(rest);
            data = following;
            if rest.len() < self.missing {
                self.missing -= rest.len();
                return Ok(());
            }
            let frame = std::mem::take(&mut self.partial);
            let end = self.split(&frame, receiver)?;
            if self.senseless {
                return receiver.other(&[&frame[end..], data].concat());
            }
            self.keep(&frame[end..]);
        }
        let end = self.split(data, receiver)?;
        if self.senseless {
            return receiver.other(&data[end..]);
        }
        self.keep(&data[end..]);
        Ok(())
    }

    /// Returns how many of the next bytes belong to the incomplete frame, as far as is known.
    fn awaited(&self, data: &[u8]) -> usize {
        if self.missing > 0 {
            return self.missing.min(data.len());
        }
        if self.partial.last() == Some(&b'\r') && data[0] == b'\n' {
            return 1;
        }
        memchr::memmem::find(data, b"\r\n").map_or(data.len(), |end| end + 2)
    }

    fn keep(&mut self, rest: &[u8]) {
        if !rest.is_empty() {
            // Most partial messages are large ones: one allocation for each.
            self.partial.reserve(rest.len() + self.missing.min(MAX_RESERVED));
            self.partial.extend_from_slice(rest);
        }
    }

    /// Processes all complete frames; returns the position of an incomplete or senseless one.
    fn split<R: Receiver>(&mut self, data: &[u8], receiver: &mut R) -> Result<usize, R::Error> {
        self.missing = 0;
        let mut position = 0;
        while position < data.len() {
            match next(data, position) {
                Next::Other(end) => {
                    receiver.other(&data[position..end])?;
                    position = end;
                }
                Next::Message(message) => {
                    let end = message.payload.end + 2;
                    if !receiver.message(data, &message)? {
                        receiver.other(&data[position..end])?;
                    }
                    position = end;
                }
                Next::Partial(missing) => {
                    self.missing = missing;
                    break;
                }
                Next::Invalid => {
                    self.senseless = true;
                    break;
                }
            }
        }
        Ok(position)
    }
}

/// Bytes that are reserved for a message before they arrive: the size in a line may be wrong.
const MAX_RESERVED: usize = 8 << 20;

const MOST_WORDS: usize = 6;

fn next(data: &[u8], position: usize) -> Next {
    let Some(line_end) = end_of_line(data, position) else {
        return Next::Partial(0);
    };
    let start = line_end + 2;
    let headers = match data[position] {
        b'M' => false,
        b'H' => true,
        _ => return Next::Other(start),
    };
    // MSG subject sid [reply] size, HMSG subject sid [reply] header_size size
    let Some((words, count)) = words(data, position..line_end) else {
        return Next::Invalid;
    };
    let least = if headers { 5 } else { 4 };
    if count < least || count > least + 1 {
        return Next::Invalid;
    }
    let size = integer(&data[words[count - 1].clone()]);
    let header_size = if headers { integer(&data[words[count - 2].clone()]) } else { Some(0) };
    let (Some(size), Some(header_size)) = (size, header_size) else {
        return Next::Invalid;
    };
    if header_size < 0 || size < header_size {
        return Next::Invalid;
    }
    let available = (data.len() - start) as i128;
    if size + 2 > available {
        return Next::Partial(usize::try_from(size + 2 - available).unwrap_or(usize::MAX));
    }
    let (body, end) = (start + header_size as usize, start + size as usize);
    Next::Message(Message {
        subject: words[1].clone(),
        sid: words[2].clone(),
        reply: if count > least { words[3].clone() } else { 0..0 },
        headers: headers.then_some(start..body),
        payload: body..end,
    })
}

fn end_of_line(data: &[u8], position: usize) -> Option<usize> {
    let mut from = position;
    loop {
        let end = from + memchr::memchr(b'\r', &data[from..])?;
        match data.get(end + 1) {
            Some(b'\n') => return Some(end),
            Some(_) => from = end + 1,
            None => return None,
        }
    }
}

/// Returns the words of a line and their number; None if there are too many.
fn words(data: &[u8], line: Range<usize>) -> Option<([Range<usize>; MOST_WORDS], usize)> {
    let mut words: [Range<usize>; MOST_WORDS] = Default::default();
    let mut count = 0;
    let mut position = line.start;
    while position < line.end {
        if is_blank(data[position]) {
            position += 1;
            continue;
        }
        let start = position;
        while position < line.end && !is_blank(data[position]) {
            position += 1;
        }
        *words.get_mut(count)? = start..position;
        count += 1;
    }
    Some((words, count))
}

/// The most digits that Python reads.
const MAX_DIGITS: usize = 4300;

/// Reads a number as Python's `int()` does: a sign and single underscores between digits are fine.
fn integer(word: &[u8]) -> Option<i128> {
    let (negative, digits) = match word {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, word),
    };
    let mut value: i128 = 0;
    let mut count = 0;
    let mut after_digit = false;
    for &byte in digits {
        match byte {
            b'0'..=b'9' => {
                value = value.saturating_mul(10).saturating_add(i128::from(byte - b'0'));
                after_digit = true;
                count += 1;
            }
            b'_' if after_digit => after_digit = false,
            _ => return None,
        }
    }
    // Far above any size, and without an overflow when a few bytes are added.
    let value = value.min(i128::MAX / 4);
    (after_digit && count <= MAX_DIGITS).then_some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Debug, PartialEq)]
    struct Seen {
        messages: Vec<Vec<u8>>,
        others: Vec<u8>,
    }

    impl Receiver for Seen {
        type Error = ();

        fn message(&mut self, data: &[u8], message: &Message) -> Result<bool, ()> {
            if &data[message.sid.clone()] != b"1" {
                return Ok(false);
            }
            self.messages.push(data[message.payload.clone()].to_vec());
            Ok(true)
        }

        fn other(&mut self, frame: &[u8]) -> Result<(), ()> {
            self.others.extend_from_slice(frame);
            Ok(())
        }
    }

    fn split(pieces: &[&[u8]]) -> Seen {
        let (mut splitter, mut seen) = (Splitter::default(), Seen::default());
        for piece in pieces {
            splitter.feed(piece, &mut seen).unwrap();
        }
        seen
    }

    #[test]
    fn a_stream_cut_at_every_byte_gives_the_same_messages() {
        let stream = b"PING\r\nMSG a 1 2\r\n\r\n\r\nHMSG a 1 r 12 14\r\nNATS/1.0\r\n\r\nhi\r\nMSG b 2 0\r\n\r\n+OK\r\n";
        let whole = split(&[stream]);
        assert_eq!(whole.messages, [b"\r\n".to_vec(), b"hi".to_vec()]);
        assert_eq!(whole.others, b"PING\r\nMSG b 2 0\r\n\r\n+OK\r\n");
        for cut in 1..stream.len() {
            assert_eq!(split(&[&stream[..cut], &stream[cut..]]), whole);
        }
        assert_eq!(split(&stream.chunks(1).collect::<Vec<_>>()), whole);
    }

    #[test]
    fn every_byte_behind_an_invalid_line_is_kept() {
        let seen = split(&[b"MSG a 1 x\r\nMSG a 1", b" 0\r\n\r\n"]);
        assert_eq!(seen.others, b"MSG a 1 x\r\nMSG a 1 0\r\n\r\n");
        assert!(seen.messages.is_empty());
    }

    #[test]
    fn numbers_are_read_as_python_reads_them() {
        for (word, value) in [("7", 7), ("+7", 7), ("-7", -7), ("1_0", 10), ("007", 7)] {
            assert_eq!(integer(word.as_bytes()), Some(value));
        }
        for word in ["", "+", "_1", "1_", "1__0", "0x1", "1.0"] {
            assert_eq!(integer(word.as_bytes()), None);
        }
    }
}
