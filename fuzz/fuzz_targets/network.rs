#![no_main]

use burn_compress::network::Dim;
use burn_compress::network::Network;
use libfuzzer_sys::fuzz_target;

#[path = "forge.rs"]
mod forge;

fuzz_target!(|bytes: &[u8]| {
    for file in [bytes.to_vec(), forge::file("network", bytes)] {
        let Ok(model) = Network::from_bytes(&file) else {
            continue;
        };
        let written = model.to_bytes().expect("what loads can be written");
        assert!(Network::from_bytes(&written).expect("what was written loads") == model);
        let size = |dims: &[Dim]| dims.iter().map(|dim| dim.at(1)).product::<usize>();
        let steps = model.steps().iter().map(|step| size(&step.dims));
        if size(model.input()) < 10_000 && steps.sum::<usize>() < 100_000 {
            let _ = model.run(&vec![0.5; size(model.input())], 1);
        }
    }
});
