//! Any block can be read, and each name and value stands in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use natsmicro_wire::{deadline, headers};

fuzz_target!(|block: &[u8]| {
    let _ = headers::read::<()>(block, |name, value| {
        assert!(name.is_ascii());
        assert!(value.is_empty() || memory(block, value));
        Ok(())
    });
    if let Some(seconds) = deadline::from_block(block) {
        assert!((0.0..1e9).contains(&seconds));
    }
});

fn memory(block: &[u8], value: &[u8]) -> bool {
    block.windows(value.len()).any(|part| part == value)
}
