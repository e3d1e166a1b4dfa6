//! A stream in any pieces has the same messages, and loses no byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use natsmicro_wire::frames::{Message, Receiver, Splitter};

#[derive(Default, Debug, PartialEq)]
struct Seen {
    messages: Vec<[Vec<u8>; 4]>,
    others: Vec<u8>,
}

impl Receiver for Seen {
    type Error = ();

    fn message(&mut self, data: &[u8], message: &Message) -> Result<bool, ()> {
        if data[message.sid.clone()] == *b"2" {
            return Ok(false);
        }
        let headers = message.headers.clone().unwrap_or(0..0);
        let parts = [&message.subject, &message.reply, &message.payload, &headers];
        self.messages.push(parts.map(|part| data[part.clone()].to_vec()));
        Ok(true)
    }

    fn other(&mut self, frame: &[u8]) -> Result<(), ()> {
        self.others.extend_from_slice(frame);
        Ok(())
    }
}

fn split<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let (mut splitter, mut seen) = (Splitter::default(), Seen::default());
    for piece in pieces {
        splitter.feed(piece, &mut seen).unwrap();
    }
    seen
}

fuzz_target!(|input: (usize, &[u8])| {
    let (size, stream) = input;
    let whole = split([stream]);
    let pieces = split(stream.chunks(size % 64 + 1));
    assert_eq!(whole, pieces);
    assert!(whole.others.len() <= stream.len());
});
