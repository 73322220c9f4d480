//! What errors say: the layer, the value, and the way out.

use burn::nn::LinearConfig;
use burn::tensor::Tensor;
use burn_compress::compress::{CompressError, Plan, Quantization, load};
use burn_compress::engine::{EngineError, Options, Program};
use burn_compress::format::{FormatError, Scheme};
use burn_compress::graph::{Graph, GraphError};
use burn_compress::network::Network;
use burn_compress::network::NetworkError;

use super::backends::device::device;
use super::backends::quantized::{How, input, quantized};

fn floats() -> Network {
    let model = LinearConfig::new(4, 2).init(&device());
    let forward = |model: &burn::nn::Linear, x: Tensor<2>| model.forward(x);
    let graph = Graph::capture(&model, [1, 4], forward).unwrap();
    graph.to_float_model(&model).unwrap()
}

#[track_caller]
fn says(error: impl std::fmt::Display, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
}

#[test]
fn a_batch_of_no_sample() {
    let model = floats();
    let program = Program::compile(&model, Options::default()).unwrap();
    let words = ["a batch of 0 samples", "at least 1"];
    let error = program.run(&[], 0).unwrap_err();
    assert!(matches!(error, EngineError::EmptyBatch));
    says(error, &words);
    let error = program.run_into(&[1.0; 4], 0, &mut []).unwrap_err();
    says(error, &words);
    let error = model.run(&[], 0).unwrap_err();
    assert!(matches!(error, NetworkError::EmptyBatch));
    says(error, &words);
    // Of another size: what there is, and what there should be.
    let words = ["5", "2 samples", "8"];
    says(program.run(&[1.0; 5], 2).unwrap_err(), &words);
    says(model.run(&[1.0; 5], 2).unwrap_err(), &words);
}

#[test]
fn the_sample_that_is_no_number() {
    let model = floats();
    let program = Program::compile(&model, Options::default()).unwrap();
    let mut batch = vec![0.5; 4 * 20];
    batch[4 * 17 + 3] = f32::NAN;
    let words = ["sample 17", "element 3", "NaN", "leave the sample out"];
    says(program.run(&batch, 20).unwrap_err(), &words);
    says(model.run(&batch, 20).unwrap_err(), &words);
    says(model.trace(&batch, 20).unwrap_err(), &words);
}

#[test]
fn a_file_of_the_other_kind() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, network) = (folder.path().join("weights"), folder.path().join("network"));
    let module = LinearConfig::new(4, 2).init(&device());
    let plan = Plan::new().quantize(Quantization::to(Scheme::symmetric(8).unwrap()));
    plan.apply(module.clone()).unwrap().save(&weights).unwrap();
    floats().save(&network).unwrap();

    let error = Program::load(&weights, Options::default()).unwrap_err();
    says(
        &error,
        &["`Compressed::save`", "`load`", "`Compressed::network`"],
    );
    let error = Network::load(&weights).unwrap_err();
    assert!(matches!(
        error,
        NetworkError::Format(FormatError::Kind { .. })
    ));
    says(&error, &["`Compressed::save`", "`load`"]);
    let error = load(&network, module).unwrap_err();
    assert!(matches!(
        error,
        CompressError::File(FormatError::Kind { .. })
    ));
    says(
        &error,
        &["`Program::save`", "`Program::load`", "`Plan::apply`"],
    );
}

#[test]
fn a_module_of_another_structure() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bcm");
    let plan = Plan::new().quantize(Quantization::to(Scheme::symmetric(8).unwrap()));
    let module = || LinearConfig::new(4, 2);
    plan.apply(module().init(&device()))
        .unwrap()
        .save(&path)
        .unwrap();
    let way_out = "as it was saved";
    let error = load(&path, LinearConfig::new(3, 2).init(&device())).unwrap_err();
    says(&error, &["`weight`", "[4, 2]", "[3, 2]", way_out]);
    let error = load(&path, module().with_bias(false).init(&device())).unwrap_err();
    says(&error, &["`bias`", "no such parameter", way_out]);
}

#[test]
fn an_activation_without_a_scale() {
    let forward = |model: &burn::nn::Linear, x: Tensor<2>| model.forward(x);
    let model = LinearConfig::new(4, 2).init(&device());
    let batches = [input([2, 4], 3, &device())];
    let (quantized, _) = quantized(model, How::bits(8, 8), forward, &batches);
    // As training leaves it that diverged.
    let diverged = burn::module::Module::map(quantized, &mut Diverge(Vec::new()));
    for error in [
        diverged.to_integer().unwrap_err(),
        diverged.trace(batches[0].clone()).unwrap_err(),
    ] {
        assert!(
            matches!(&error, GraphError::Network(NetworkError::Activation { layer, .. }) if layer == "input")
        );
        says(error, &["activation at input", "inf", "learning rate"]);
    }
}

struct Diverge(Vec<String>);

impl burn::module::ModuleMapper for Diverge {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.0.push(name.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.0.pop();
    }

    fn map_float<const D: usize>(
        &mut self,
        param: burn::module::Param<Tensor<D>>,
    ) -> burn::module::Param<Tensor<D>> {
        match self.0.last().is_some_and(|name| name == "log_scale") {
            true => param.map(|scale| scale * 0.0 + 1000.0),
            false => param,
        }
    }
}
