//! Small networks of all operations, with the outputs that the reference gave once: every instruction set of
//! every machine gives them again.
//!
//! They lie in `tests/golden/networks.safetensors`: of each its steps as JSON, an input and the output; of two
//! also their files. After a change of a format or of a network here, they are made again:
//!
//! ```text
//! BURN_COMPRESS_GOLDEN=write cargo test --no-default-features --test run golden::
//! ```

pub mod build;
mod codes;
mod floats;

use std::collections::BTreeSet;
use std::sync::OnceLock;

use burn_compress::engine::Program;
use burn_compress::network::{Network, StepOp};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::runs::{assert_close, best, images, isas, options};

/// Samples of each input.
const BATCH: usize = 2;
/// Times that an input is repeated to fill a pass of sixteen samples, and a rest.
const TIMES: usize = 9;

/// Those whose files are there, too: to make one takes a while.
const FILES: [&str; 2] = ["residual network", "float attention"];

static FILE: &[u8] = include_bytes!("../../golden/networks.safetensors");

struct Golden {
    name: String,
    network: Network,
    input: Vec<f32>,
    output: Vec<f32>,
}

impl Golden {
    // Results of whole numbers are the same to the bit; of floats, whose sums have no order, within
    // 1e-4 of the largest.
    fn is_exact(&self) -> bool {
        let float = |op: &StepOp| matches!(op, StepOp::Float(_));
        !self.network.steps().iter().any(|step| float(&step.op))
    }
}

fn all() -> &'static [Golden] {
    static ALL: OnceLock<Vec<Golden>> = OnceLock::new();
    ALL.get_or_init(read)
}

fn read() -> Vec<Golden> {
    let file = SafeTensors::deserialize(FILE).unwrap();
    let names: BTreeSet<&str> = file.names().into_iter().collect();
    let networks = names
        .iter()
        .filter_map(|name| name.strip_suffix("/network"));
    let golden = networks.map(|name| {
        let tensor = |part: &str| file.tensor(&format!("{name}/{part}")).unwrap();
        let floats = |part: &str| {
            let (numbers, []) = tensor(part).data().as_chunks() else {
                panic!("{name}: {part} is no floats");
            };
            numbers
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect()
        };
        Golden {
            name: name.to_string(),
            network: serde_json::from_slice(tensor("network").data()).unwrap(),
            input: floats("input"),
            output: floats("output"),
        }
    });
    golden.collect()
}

#[test]
fn their_files_are_read() {
    let file = SafeTensors::deserialize(FILE).unwrap();
    let mut read = 0;
    for golden in all() {
        if let Ok(bytes) = file.tensor(&format!("{}/file", golden.name)) {
            assert_eq!(Network::from_bytes(bytes.data()).unwrap(), golden.network);
            read += 1;
        }
    }
    assert_eq!(read, FILES.len());
}

#[test]
fn the_reference_gives_them() {
    for golden in all() {
        let (found, _) = golden.network.run(&golden.input, BATCH).unwrap();
        assert_close(&found, &golden.output, golden.is_exact(), &golden.name);
    }
}

#[test]
fn every_instruction_set_gives_them() {
    for golden in all() {
        let repeated = |of: &[f32]| of.repeat(TIMES);
        for isa in isas() {
            let program = Program::compile(&golden.network, options(isa, 2)).unwrap();
            let what = format!("{} on {}", golden.name, isa.name());
            let found = program.run(&golden.input, BATCH).unwrap();
            assert_close(&found, &golden.output, golden.is_exact(), &what);
            let found = program
                .run(&repeated(&golden.input), BATCH * TIMES)
                .unwrap();
            let expected = repeated(&golden.output);
            assert_close(
                &found,
                &expected,
                golden.is_exact(),
                &format!("{what}, filled"),
            );
        }
    }
}

#[test]
fn their_programs_are_verified() {
    for golden in all() {
        let program = Program::compile(&golden.network, options(best(), 2)).unwrap();
        let verified = program.verify();
        let verified = verified.unwrap_or_else(|error| panic!("{}: {error}", golden.name));
        assert_eq!(
            verified.tolerance == 0.0,
            golden.is_exact(),
            "{}",
            golden.name
        );
        assert!(verified.difference <= verified.tolerance);
        let of_one = golden.output.len() / BATCH;
        assert!(verified.numbers >= 2 * of_one, "{}", golden.name);
    }
}

// Each form of a step and each operation, by the names that prints show.
#[test]
fn they_are_of_all_operations() {
    let steps = all()
        .iter()
        .flat_map(|golden| golden.network.steps().to_vec());
    let form = |op: &StepOp| match op {
        StepOp::Float(_) => "float ",
        _ => "",
    };
    let found: BTreeSet<String> = steps
        .map(|step| format!("{}{}", form(&step.op), step.op.name()))
        .collect();
    let expected = codes::NAMES.iter().map(|name| name.to_string());
    let floats = floats::NAMES.iter().map(|name| format!("float {name}"));
    for name in expected.chain(floats) {
        assert!(found.contains(&name), "no golden network has {name}");
    }
}

// No other test compares with what it writes in the same run: the file is compiled in.
#[test]
fn they_are_written_where_that_is_asked_for() {
    if std::env::var("BURN_COMPRESS_GOLDEN").as_deref() != Ok("write") {
        return;
    }
    let mut parts: Vec<(String, Dtype, Vec<u8>)> = Vec::new();
    for (name, network) in codes::networks().into_iter().chain(floats::networks()) {
        let input = images(&network, BATCH, parts.len());
        let (output, _) = network.run(&input, BATCH).unwrap();
        let bytes = |of: &[f32]| of.iter().flat_map(|x| x.to_le_bytes()).collect();
        let part = |part: &str| format!("{name}/{part}");
        if FILES.contains(&name.as_str()) {
            parts.push((part("file"), Dtype::U8, network.to_bytes().unwrap()));
        }
        let steps = serde_json::to_vec(&network).unwrap();
        parts.push((part("network"), Dtype::U8, steps));
        parts.push((part("input"), Dtype::F32, bytes(&input)));
        parts.push((part("output"), Dtype::F32, bytes(&output)));
    }
    let views = parts.iter().map(|(name, dtype, data)| {
        let size = if *dtype == Dtype::U8 { 1 } else { 4 };
        let view = TensorView::new(*dtype, vec![data.len() / size], data);
        (name.as_str(), view.unwrap())
    });
    let file = safetensors::serialize(views, None).unwrap();
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/networks.safetensors"
    );
    std::fs::write(path, file).unwrap();
}
