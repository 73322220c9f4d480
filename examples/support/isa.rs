//! An instruction set as an argument.

use burn_compress::kernel::Isa;

/// The instruction set of this name.
pub fn isa(name: &str) -> Result<Isa, String> {
    let found = Isa::ALL.into_iter().find(|isa| isa.name() == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = Isa::ALL.iter().map(|isa| isa.name()).collect();
        format!("one of {}", names.join(", "))
    })
}
