//! Small networks with every kind of layer that is compressed, and a workload to train them on.

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{
    BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Embedding, EmbeddingConfig, Initializer,
    LayerNorm, LayerNormConfig, Linear, LinearConfig, PaddingConfig2d,
};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::activation::relu;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use burn_compress::compress::{CompressedWeight, Compression, Layer, Observations};
use burn_compress::format::WeightView;
use burn_compress::graph::Graph;
use burn_compress::train::{BoxError, Epoch, Workload};

use super::device::is_exact;

/// Convolution, batch norm, grouped convolution, transposed convolution and linear layer, on images
/// `[n, 1, 6, 6]`, to three classes. 356 weights, a third of them in the linear layer.
#[derive(Module, Debug)]
pub struct Net {
    pub conv: Conv2d,
    pub norm: BatchNorm,
    pub grouped: Conv2d,
    pub up: ConvTranspose2d,
    pub dropout: Dropout,
    pub head: Linear,
}

/// Its layers that are compressed, in order.
pub const WEIGHTS: [(&str, usize); 4] = [
    ("conv.weight", 36),
    ("grouped.weight", 72),
    ("up.weight", 32),
    ("head.weight", 216),
];

impl Net {
    /// Weights come from their indices, not from the device's generator: that one is shared by all
    /// threads, and belongs to the tests of dropout.
    pub fn new(device: &Device) -> Self {
        Self::with_dropout(0.0, device)
    }

    pub fn with_dropout(probability: f64, device: &Device) -> Self {
        let padding = PaddingConfig2d::Explicit(1, 1, 1, 1);
        let net = Self {
            conv: Conv2dConfig::new([1, 4], [3, 3])
                .with_padding(padding.clone())
                .with_initializer(Initializer::Zeros)
                .init(device),
            norm: BatchNormConfig::new(4).init(device),
            grouped: Conv2dConfig::new([4, 4], [3, 3])
                .with_groups(2)
                .with_stride([2, 2])
                .with_padding(padding)
                .with_initializer(Initializer::Zeros)
                .init(device),
            up: ConvTranspose2dConfig::new([4, 2], [2, 2])
                .with_stride([2, 2])
                .with_initializer(Initializer::Zeros)
                .init(device),
            dropout: DropoutConfig::new(probability).init(),
            head: LinearConfig::new(72, 3)
                .with_initializer(Initializer::Zeros)
                .init(device),
        };
        Self {
            conv: Conv2d {
                weight: numbered(net.conv.weight, 1),
                ..net.conv
            },
            grouped: Conv2d {
                weight: numbered(net.grouped.weight, 2),
                ..net.grouped
            },
            up: ConvTranspose2d {
                weight: numbered(net.up.weight, 3),
                ..net.up
            },
            head: Linear {
                weight: numbered(net.head.weight, 4),
                ..net.head
            },
            ..net
        }
    }

    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = relu(self.norm.forward(self.conv.forward(images)));
        let x = relu(self.grouped.forward(x));
        let x = self.dropout.forward(self.up.forward(x).flatten(1, 3));
        self.head.forward(x)
    }
}

// Values spread over (-0.5, 0.5), no two equal in size.
fn numbered<const D: usize>(param: Param<Tensor<D>>, salt: usize) -> Param<Tensor<D>> {
    let dims = param.dims();
    let count: usize = dims.iter().product();
    let values = (0..count).map(|i| spread(i * 7 + salt * 1013) - 0.5);
    let data = TensorData::new(values.collect::<Vec<f32>>(), dims);
    Param::from_data(data, &param.device())
}

pub use super::runs::spread;

/// Embedding, layer norm and dropout between linear layers, on tokens `[n, 4]`, to three classes.
#[derive(Module, Debug)]
pub struct Mlp {
    pub embedding: Embedding,
    pub norm: LayerNorm,
    pub fc1: Linear,
    pub dropout: Dropout,
    pub fc2: Linear,
}

impl Mlp {
    pub fn new(device: &Device) -> Self {
        let linear = |from, to, salt| {
            let config = LinearConfig::new(from, to).with_initializer(Initializer::Zeros);
            let linear = config.init(device);
            Linear {
                weight: numbered(linear.weight, salt),
                ..linear
            }
        };
        let embedding = EmbeddingConfig::new(10, 4).with_initializer(Initializer::Zeros);
        let embedding = embedding.init(device);
        Self {
            embedding: Embedding {
                weight: numbered(embedding.weight, 5),
            },
            norm: LayerNormConfig::new(4).init(device),
            fc1: linear(16, 12, 6),
            dropout: DropoutConfig::new(0.25).init(),
            fc2: linear(12, 3, 7),
        }
    }

    #[expect(dead_code, reason = "its structure is what tests need")]
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        let x = self
            .norm
            .forward(self.embedding.forward(tokens))
            .flatten(1, 2);
        let x = self.dropout.forward(relu(self.fc1.forward(x)));
        self.fc2.forward(x)
    }
}

/// A layer as the network holds it: read without the library's own mapping.
pub struct Seen {
    pub path: &'static str,
    /// In rows `[out, in * kernel]`: stored values, values that the forward pass uses, and which
    /// weights are removed.
    pub stored: Vec<f32>,
    pub used: Vec<f32>,
    pub removed: Option<Vec<bool>>,
}

pub fn seen(net: &Net) -> Vec<Seen> {
    vec![
        look(WEIGHTS[0].0, &net.conv.weight, 0),
        look(WEIGHTS[1].0, &net.grouped.weight, 0),
        look(WEIGHTS[2].0, &net.up.weight, 1),
        look(WEIGHTS[3].0, &net.head.weight, 1),
    ]
}

pub fn look<const D: usize>(
    path: &'static str,
    param: &Param<Tensor<D>>,
    output_axis: usize,
) -> Seen {
    let view = WeightView::new(param.dims().to_vec(), output_axis).unwrap();
    let removed = param
        .reparameterization::<CompressedWeight>()
        .and_then(CompressedWeight::removed);
    Seen {
        path,
        stored: view.to_rows(&values(param.base())),
        used: view.to_rows(&values(param.val())),
        removed: removed.map(|mask| mask.into_data().iter::<bool>().collect()),
    }
}

pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_to_vec().unwrap()
}

/// Every tensor of a module by path: weights, masks, scales, running statistics.
pub fn tensors<M: Module>(module: &M) -> Vec<(String, Vec<f32>)> {
    #[derive(Default)]
    struct All {
        path: Vec<String>,
        found: Vec<(String, Vec<f32>)>,
    }
    impl ModuleVisitor for All {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let values = values(param.base());
            self.found.push((self.path.join("."), values));
        }
        fn visit_int<const D: usize>(&mut self, _: &Param<Tensor<D, Int>>) {}
        fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
            let mask = param.val().into_data();
            let values = mask.iter::<bool>().map(|b| f32::from(u8::from(b)));
            self.found.push((self.path.join("."), values.collect()));
        }
    }
    let mut all = All::default();
    module.valid().visit(&mut all);
    all.found
}

/// Equal to the last bit where the device repeats itself so, elsewhere within `1e-4` of the size.
#[track_caller]
pub fn assert_same(one: &[f32], other: &[f32]) {
    assert_eq!(one.len(), other.len());
    for (i, (a, b)) in one.iter().zip(other).enumerate() {
        let close = match is_exact() {
            true => a.to_bits() == b.to_bits(),
            false => (a - b).abs() <= 1e-4 * a.abs().max(b.abs()).max(1.0),
        };
        assert!(close, "{a} and {b} at {i} of {}", one.len());
    }
}

/// The masks of each layer.
pub fn masks(net: &Net) -> Vec<Vec<bool>> {
    let layers = seen(net).into_iter();
    layers.map(|layer| layer.removed.unwrap()).collect()
}

/// Which weights of each layer are zero.
pub fn zeros(net: &Net) -> Vec<Vec<bool>> {
    let layers = seen(net).into_iter();
    layers
        .map(|layer| layer.used.iter().map(|value| *value == 0.0).collect())
        .collect()
}

/// Checks that a run which stopped and went on ended as one that did not: in the same masks and, on a
/// device that repeats itself, in the same stored weights. Elsewhere a rounded sum may swap two weights
/// beside the threshold.
#[track_caller]
pub fn assert_resumed(resumed: &Net, whole: &Net, stop: usize) {
    let (resumed_masks, whole_masks) = (masks(resumed).concat(), masks(whole).concat());
    let pairs = resumed_masks.iter().zip(&whole_masks);
    let apart = pairs.filter(|(one, other)| one != other).count();
    let most = if is_exact() {
        0
    } else {
        whole_masks.len() / 25
    };
    assert_eq!(resumed_masks.len(), whole_masks.len());
    assert!(apart <= most, "{stop}: {apart}");
    if is_exact() {
        for (one, other) in seen(resumed).iter().zip(seen(whole)) {
            assert_same(&one.stored, &other.stored);
        }
    }
}

/// Networks that came out of the same training: equal to the last bit where the device repeats itself
/// so. Elsewhere a rounding error may have moved a threshold or a code: they say about the same.
#[track_caller]
pub fn assert_same_run(one: &Net, other: &Net) {
    let outputs = [outputs(one), outputs(other)];
    if is_exact() {
        assert_same(&outputs[0], &outputs[1]);
        for (one, other) in seen(one).iter().zip(seen(other)) {
            assert_eq!(one.removed, other.removed, "{}", one.path);
            assert_same(&one.stored, &other.stored);
        }
    } else {
        let pairs = outputs[0].iter().zip(&outputs[1]);
        let apart: f32 = pairs.map(|(a, b)| (a - b).abs()).sum();
        let apart = apart / outputs[0].len() as f32;
        assert!(apart < 0.25, "{apart} apart");
    }
}

pub const BATCH: usize = 8;

/// The images and labels of a step: bright upper, lower or left halves, with noise.
pub fn batch(step: usize, device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
    let mut pixels = Vec::with_capacity(BATCH * 36);
    let mut labels = Vec::with_capacity(BATCH);
    for image in 0..BATCH {
        let number = step * BATCH + image;
        let label = number % 3;
        labels.push(label as i64);
        for pixel in 0..36 {
            let (y, x) = (pixel / 6, pixel % 6);
            let bright = match label {
                0 => y < 3,
                1 => y >= 3,
                _ => x < 3,
            };
            pixels.push(spread(number * 36 + pixel) + f32::from(u8::from(bright)) - 0.75);
        }
    }
    (
        Tensor::from_data(TensorData::new(pixels, [BATCH, 1, 6, 6]), device),
        Tensor::from_data(TensorData::new(labels, [BATCH]), device),
    )
}

pub fn gradients(net: &Net, step: usize) -> GradientsParams {
    let device = net.head.weight.device();
    let (images, labels) = batch(step, &device);
    let loss = CrossEntropyLossConfig::new().init(&device);
    let loss = loss.forward(net.forward(images), labels);
    GradientsParams::from_grads(loss.backward(), net)
}

pub fn train_step(
    net: Net,
    optimizer: &mut ModuleOptimizer,
    rate: impl Into<ModuleLearningRate>,
    step: usize,
) -> Net {
    let gradients = gradients(&net, step);
    optimizer.step(rate, net, gradients)
}

/// What the network says to some images, in validation mode.
pub fn outputs(net: &Net) -> Vec<f32> {
    let net = Compression::snapshot(net).valid();
    let device = net.head.weight.device();
    values(net.forward(batch(1000, &device).0))
}

/// The network after some steps of plain training.
pub fn trained(steps: usize, device: &Device) -> Net {
    let mut net = Net::new(&device.clone().autodiff());
    let mut optimizer: ModuleOptimizer = AdamConfig::new().init();
    for step in 0..steps {
        net = train_step(net, &mut optimizer, 0.01, step);
    }
    net
}

pub fn find<'a>(layers: &'a [Layer], path: &str) -> &'a Layer {
    layers.iter().find(|layer| layer.path == path).unwrap()
}

/// Trains [`Net`] by Adam; the score is the accuracy in
/// percent, with the mean certainty as its fraction so that no two models score the same.
pub struct Toy {
    pub device: Device,
    pub steps: usize,
    pub optimizer: ModuleOptimizer,
    /// Epochs until one fails.
    pub fails_after: Option<usize>,
    /// Scores until one fails.
    pub score_fails_after: Option<usize>,
    /// Whether it shows the model batches, where the criterion asks for them.
    pub shows: bool,
    /// In place of the accuracy.
    pub score: Option<Score>,
    /// Batches of inputs without labels that it gives.
    pub batches: usize,
    pub epochs_done: usize,
    /// The epochs as training was given them.
    pub seen: Vec<EpochSeen>,
}

/// What an epoch says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct EpochSeen {
    pub index: usize,
    pub count: usize,
    pub rate: f64,
    /// What a scheduler's rate of one becomes.
    pub scaled: f64,
    pub refine: bool,
    pub seed: u64,
}

impl EpochSeen {
    pub fn of(epoch: &Epoch<'_>) -> Self {
        Self {
            index: epoch.index(),
            count: epoch.count(),
            rate: epoch.learning_rate(),
            scaled: epoch.scale(1.0),
            refine: epoch.is_refine(),
            seed: epoch.seed(),
        }
    }
}

/// A score of the test's own.
pub type Score = Box<dyn FnMut(&Net) -> f64>;

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("the power went out")]
pub struct PowerCut;

impl Toy {
    pub fn new(device: &Device) -> Self {
        Self {
            device: device.clone(),
            steps: 3,
            optimizer: AdamConfig::new().init(),
            fails_after: None,
            score_fails_after: None,
            shows: true,
            score: None,
            batches: 4,
            epochs_done: 0,
            seen: Vec::new(),
        }
    }
}

impl Workload<Net> for Toy {
    type Input = Tensor<4>;
    type Output = Tensor<2>;

    fn steps_per_epoch(&self) -> usize {
        self.steps
    }

    fn train_epoch(&mut self, mut net: Net, epoch: &mut Epoch<'_>) -> Result<Net, BoxError> {
        if self.fails_after == Some(self.epochs_done) {
            return Err(PowerCut.into());
        }
        self.epochs_done += 1;
        self.seen.push(EpochSeen::of(epoch));
        if epoch.is_first() {
            self.optimizer = AdamConfig::new().init();
        }
        for step in 0..self.steps {
            let number = epoch.index() * self.steps + step;
            let gradients = gradients(&net, number);
            epoch.observe(&gradients, &net)?;
            net = self.optimizer.step(epoch.learning_rate(), net, gradients);
            net = epoch.step(net)?;
        }
        Ok(net)
    }

    fn score(&mut self, net: &Net) -> Result<f64, BoxError> {
        if let Some(left) = &mut self.score_fails_after {
            *left = left.checked_sub(1).ok_or(PowerCut)?;
        }
        if let Some(score) = &mut self.score {
            return Ok(score(net));
        }
        let mut score = 0.0;
        for step in 100..104 {
            let (images, labels) = batch(step, &self.device);
            let scores = values(net.forward(images));
            for (scores, label) in scores.chunks(3).zip(labels.into_data().iter::<i64>()) {
                let of_label = scores[label as usize];
                let right = scores.iter().all(|score| *score <= of_label);
                let sum: f32 = scores.iter().map(|score| (score - of_label).exp()).sum();
                score += f64::from(u8::from(right)) * 100.0 + f64::from(1.0 / sum);
            }
        }
        Ok(score / (4 * BATCH) as f64)
    }

    fn observe(&mut self, net: &Net, seen: &mut Observations) -> Result<(), BoxError> {
        let forward = |net: &Net, images: Tensor<4>| net.forward(images);
        let graph = Graph::capture(net, [1, 1, 6, 6], forward)?;
        for step in (0..3).filter(|_| self.shows) {
            graph.observe(net, batch(step, &self.device).0, seen)?;
            seen.gradients(&gradients(net, step), net)?;
        }
        Ok(())
    }

    fn inputs(&mut self, device: &Device) -> Result<Vec<Tensor<4>>, BoxError> {
        let numbers = 20..20 + self.batches;
        Ok(numbers.map(|number| batch(number, device).0).collect())
    }

    fn example(&self, device: &Device) -> Tensor<4> {
        batch(0, device).0.narrow(0, 0, 1)
    }

    fn forward(&self, net: &Net, images: Tensor<4>) -> Tensor<2> {
        net.forward(images)
    }
}
