//! A block that has been written reads as what was written; what cannot be sent is left out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use natsmicro_wire::headers::{self, Block};
use natsmicro_wire::strip;

fuzz_target!(|pairs: Vec<(&str, &str)>| {
    let mut block = Block::default();
    let sent = pairs.iter().filter(|(name, value)| block.add(name, value)).collect::<Vec<_>>();
    let bytes = block.finish();
    let mut read = Vec::new();
    let _ = headers::read::<()>(&bytes, |name, value| {
        read.push((name.to_owned(), value.to_vec()));
        Ok(())
    });
    assert_eq!(sent.len(), read.len());
    for ((name, value), (read_name, read_value)) in sent.into_iter().zip(read) {
        assert_eq!(*name, read_name);
        assert_eq!(strip(value.as_bytes()), read_value);
    }
});
