#![no_main]

use burn_compress::format::Archive;
use libfuzzer_sys::fuzz_target;

#[path = "forge.rs"]
mod forge;

fuzz_target!(|bytes: &[u8]| {
    for file in [bytes.to_vec(), forge::file("model", bytes)] {
        if let Ok(archive) = Archive::from_bytes(&file) {
            let written = archive.to_bytes().expect("what loads can be written");
            let again = Archive::from_bytes(&written).expect("what was written loads");
            // A float that is no number is not equal to itself: compared as bytes.
            assert_eq!(again.to_bytes().ok(), Some(written));
        }
    }
});
