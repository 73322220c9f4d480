//! The study on CIFAR-10 with the pretrained ResNets of Yerlan Idelbayev, depth 20 to 56.
//!
//! ```text
//! cargo run --release -p cifar10 -- --data CIFAR_FOLDER --weights resnet20.th --epochs 0
//! ```

use std::error::Error;
use std::path::PathBuf;

use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{ModuleOptimizer, SgdConfig};
use burn_compress::channels::Channels;
use burn_compress::prune::{Pattern, Scope};
use burn_compress::recipe::{ActivationLevels, PruneLevels, QuantizeLevels, Recipe};
use burn_compress::search::Candidate;
use burn_compress::{Reconstruction, Study};
use clap::{Parser, ValueEnum};

use cifar10::arguments::ResNetArguments;
use cifar10::channels::{Stages, recover, remove};
use cifar10::reconstruct::{Levels, compare};
use cifar10::search::search;
use cifar10::support::forget;
use cifar10::support::show;
use cifar10::support::workload::{Classification, INPUTS};

/// Which compression does a ResNet for CIFAR-10 bear?
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    of: ResNetArguments,
    /// Pruning levels, rising
    #[arg(long, value_delimiter = ',', default_value = "0.5,0.7,0.8,0.9")]
    sparsity: Vec<f64>,
    /// Which weights are pruned together: each level is studied in each
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "unstructured"
    )]
    pattern: Vec<Together>,
    /// Bits of a weight, falling
    #[arg(long, value_delimiter = ',', default_value = "8,4,3,2")]
    bits: Vec<u32>,
    /// Bits of activations, 2 to 16, quantized together with the weights (the images keep 8)
    #[arg(long)]
    activation_bits: Option<u32>,
    /// Epochs of aware training; 0 for the post-training half alone
    #[arg(long, default_value_t = 5)]
    epochs: usize,
    /// Epochs of refine-tune at a tenth of the learning rate
    #[arg(long, default_value_t = 2)]
    refine_epochs: usize,
    /// Learning rate at the start of a run; it falls as a cosine
    #[arg(long, default_value_t = 0.05)]
    learning_rate: f64,
    /// Accuracy that may be lost, in points
    #[arg(long, default_value_t = 1.2)]
    max_drop: f64,
    /// Compresses without training, on the first training images without their labels, in place of a
    /// study: each level in each pattern, and each number of bits
    #[arg(long)]
    reconstruct: bool,
    /// Searches for the compression of each layer within this share of the time of dense integers, in
    /// place of a study: of all levels in all patterns, with all numbers of bits
    #[arg(long)]
    search: Option<f64>,
    /// Images that a reconstruction or a search sees
    #[arg(long, default_value_t = INPUTS)]
    inputs: usize,
    /// Each level together with each number of bits, too
    #[arg(long, requires = "reconstruct")]
    both: bool,
    /// A reconstruction leaves the weights as nearest rounding and magnitudes give them
    #[arg(long, requires = "reconstruct")]
    statistics_only: bool,
    /// A reconstruction leaves the statistics of channels as they come
    #[arg(long, requires = "reconstruct")]
    weights_only: bool,
    /// Removes channels until this share of the multiply-adds is gone, and trains what is left, in place
    /// of a study
    #[arg(long)]
    channels: Option<f64>,
    /// The same share of each group of channels, not one ranking for all
    #[arg(long, requires = "channels")]
    each_group: bool,
    /// Number of seeds
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Trains on the first images only
    #[arg(long)]
    train_images: Option<usize>,
    /// Learns from the original model's answers too, not from the labels alone
    #[arg(long)]
    distill: bool,
    /// Also scores the model with each layer alone compressed
    #[arg(long)]
    sensitivity: bool,
    /// Recipe in TOML or JSON, in place of the levels, epochs and budget above
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Starts over: forgets the finished trials of an earlier study in the same place
    #[arg(long)]
    fresh: bool,
    /// Where the report goes, and where an interrupted study goes on
    #[arg(long, default_value = "target/cifar10")]
    out: PathBuf,
}

/// Patterns by name.
#[derive(Clone, Copy, ValueEnum)]
enum Together {
    /// Each weight by itself
    Unstructured,
    /// Four neighbouring input channels at one tap of one filter
    Block4,
    /// Two of them
    Block2,
}

impl From<Together> for Pattern {
    fn from(together: Together) -> Self {
        match together {
            Together::Unstructured => Self::Unstructured,
            Together::Block4 => Self::Block { channels: 4 },
            Together::Block2 => Self::Block { channels: 2 },
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let (device, model) = arguments.of.network()?;
    if arguments.reconstruct {
        let (inputs, test) = arguments.of.images(Some(arguments.inputs))?;
        let levels = Levels {
            sparsity: arguments.sparsity,
            patterns: arguments.pattern.into_iter().map(Pattern::from).collect(),
            bits: arguments.bits,
            both: arguments.both,
        };
        let what = Reconstruction {
            weights: !arguments.statistics_only,
            statistics: !arguments.weights_only,
        };
        return compare(&model, &levels, what, &inputs, &test, &device);
    }
    if let Some(share) = arguments.search {
        let (inputs, test) = arguments.of.images(Some(arguments.inputs))?;
        let patterns: Vec<Pattern> = arguments.pattern.into_iter().map(Pattern::from).collect();
        let candidates = Candidate::grid(&patterns, &arguments.sparsity, &arguments.bits);
        let folder = arguments.out.join("search");
        return search(model, candidates, share, &inputs, &test, &folder, &device);
    }
    if let Some(share) = arguments.channels {
        let scope = match arguments.each_group {
            true => Scope::Layer,
            false => Scope::Global,
        };
        let channels = Channels::macs(share).scope(scope);
        let narrowed = remove(&model, &channels)?;
        let (train, test) = arguments.of.images(arguments.train_images)?;
        let stages = Stages {
            epochs: arguments.epochs,
            refine_epochs: arguments.refine_epochs,
            learning_rate: arguments.learning_rate,
        };
        let workload = Classification {
            train,
            test,
            device,
            batch: 128,
            optimizer,
            run: None,
            teacher: arguments.distill.then(|| model.valid()),
        };
        let saved = arguments.out.join("channels.bcm");
        return recover(&model, narrowed, workload, stages, &saved);
    }
    if arguments.fresh {
        forget(&arguments.out)?;
    }
    let (train, test) = arguments.of.images(match arguments.epochs {
        // Ranges of activations are found on some, and a recipe may reconstruct.
        0 => Some(INPUTS),
        _ => arguments.train_images,
    })?;
    let recipe = match &arguments.recipe {
        Some(path) => Recipe::load(path)?,
        None => Recipe {
            max_drop: arguments.max_drop,
            learning_rate: arguments.learning_rate,
            epochs: arguments.epochs,
            refine_epochs: arguments.refine_epochs,
            seeds: (0..arguments.seeds).collect(),
            sensitivity: arguments.sensitivity,
            prune: (!arguments.sparsity.is_empty()).then(|| PruneLevels {
                levels: arguments.sparsity,
                patterns: arguments.pattern.into_iter().map(Pattern::from).collect(),
                ..Default::default()
            }),
            quantize: (!arguments.bits.is_empty()).then(|| QuantizeLevels {
                bits: arguments.bits,
                activations: arguments.activation_bits.map(|bits| ActivationLevels {
                    bits,
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        },
    };
    let parameters = model.num_params();
    eprintln!(
        "ResNet-{} with {parameters} parameters on {device:?}",
        arguments.of.depth
    );
    let mut workload = Classification {
        train,
        test,
        device,
        batch: 128,
        optimizer,
        run: None,
        teacher: arguments.distill.then(|| model.valid()),
    };
    let outcome = Study::of(recipe)
        .folder(&arguments.out)
        .score_name("accuracy, %")
        .on_progress(show::progress())
        .run_quantized(model, &mut workload)?;
    show::outcome(&outcome, &arguments.out)
}

fn optimizer() -> ModuleOptimizer {
    SgdConfig::new()
        .with_momentum(Some(MomentumConfig::new().with_momentum(0.9)))
        .with_weight_decay(Some(WeightDecayConfig::new(1e-4)))
        .with_gradient_clipping(None::<GradientClippingConfig>)
        .init()
}
