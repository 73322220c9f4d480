//! Makes [Burn](https://docs.rs/burn) models small and fast: prunes and quantizes a network, finds the
//! strongest compression that keeps the accuracy its owner asked for, fine-tunes it, and runs it.
//!
//! - [`Plan`] says what is done to which weights. [`Plan::apply`] compresses a trained module in one
//!   call. [`Plan::attach`] keeps the same compression in force while the module trains;
//!   [`Compression::step`] is the one line to add to a training loop. The module keeps its type.
//! - [`Channels`] removes whole channels: smaller tensors, faster on every backend.
//! - [`Network`] is operations and weights as data: [`Compressed::network`] and
//!   [`Compressed::quantized_network`] make it of a compressed module.
//! - [`Program`] runs a network on this machine's processor.
//! - [`Study`] tries every level of a [`Recipe`](recipe::Recipe), post-training and aware, refine-tunes
//!   each, combines the best, and gives a [`Report`](report::Report).
//! - [`Search`] gives each layer the compression that loses least within a [`Budget`] of measured time.
//! - [`train`] holds the refine-tune stage, the steered threshold and checkpoints.
//! - An application can implement [`Pruner`] (which weights matter), [`Quantizer`] (which range the codes
//!   cover) and [`Schedule`] (what holds at which step).
//!
//! The method is a published one: percentile-based pruning, with thresholds adjusted while training
//! by what fine-tuning does to the accuracy, and uniform quantization to a fixed number of bits.
//!
//! ```
//! use burn::{nn::LinearConfig, tensor::{Device, Tensor}};
//! use burn_compress::{Plan, Pruning, Quantization, Scheme, load};
//!
//! let device = Device::default();
//! let model = LinearConfig::new(784, 100).init(&device); // any trained Burn module
//! let compressed = Plan::new()
//!     .prune(Pruning::to(0.9))
//!     .quantize(Quantization::to(Scheme::symmetric(8)?))
//!     .apply(model)?;
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("model.bcm");
//! let bytes = compressed.save(&path)?; // 78,400 weights
//! assert!(bytes < 20_000);
//! let model = load(&path, LinearConfig::new(784, 100).init(&device))?;
//! let output = model.forward(Tensor::<2>::ones([1, 784], &device));
//! # assert_eq!(output.dims(), [1, 100]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! `compress` (default) brings everything but running a saved network. Without it, [`Program`] and
//! [`Network`] build without Burn. `flex` (default), `ndarray`, `wgpu`, `cuda` and `tch` forward to Burn's
//! backends of these names; the library itself names none. `plots` (default) draws the report's HTML
//! page; `learner` adds [`train::Aware`] for burn-train.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

#[cfg(feature = "compress")]
pub mod channels;
#[cfg(feature = "compress")]
pub mod compress;
#[cfg(feature = "compress")]
mod deploy;
pub mod engine;
mod error;
pub mod format;
#[cfg(feature = "compress")]
pub mod graph;
#[cfg(feature = "compress")]
pub mod macs;
pub mod network;
#[cfg(feature = "compress")]
pub mod prune;
#[cfg(feature = "compress")]
pub mod quantize;
#[cfg(feature = "compress")]
pub mod recipe;
#[cfg(feature = "compress")]
pub mod reconstruct;
#[cfg(feature = "compress")]
mod recording;
#[cfg(feature = "compress")]
pub mod report;
#[cfg(feature = "compress")]
pub mod schedule;
#[cfg(feature = "compress")]
pub mod search;
#[cfg(feature = "compress")]
pub mod study;
#[cfg(feature = "compress")]
pub mod train;
mod warning;

#[doc(hidden)]
pub use burn_compress_kernel as kernel;
pub use engine::{Isa, Options, Program};
pub use error::Error;
pub use format::Scheme;
pub use network::Network;
pub use warning::Warning;
#[cfg(feature = "compress")]
pub use {
    channels::Channels,
    compress::{Compressed, Compression, Plan, Pruning, Quantization, Selection, load},
    graph::Activations,
    prune::Pruner,
    quantize::Quantizer,
    reconstruct::Reconstruction,
    schedule::Schedule,
    search::{Budget, Search},
    study::Study,
};

// The pages' code is compiled with the tests.
#[cfg(all(doctest, feature = "compress"))]
mod pages {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/guide/activations.md")]
    mod guide_activations {}
    #[doc = include_str!("../docs/guide/channels.md")]
    mod guide_channels {}
    #[doc = include_str!("../docs/guide/deploy.md")]
    mod guide_deploy {}
    #[doc = include_str!("../docs/guide/extend.md")]
    mod guide_extend {}
    #[doc = include_str!("../docs/guide/files.md")]
    mod guide_files {}
    #[doc = include_str!("../docs/guide/limits.md")]
    mod guide_limits {}
    #[doc = include_str!("../docs/guide/onnx.md")]
    mod guide_onnx {}
    #[doc = include_str!("../docs/guide/other-devices.md")]
    mod guide_other_devices {}
    #[doc = include_str!("../docs/guide/prune.md")]
    mod guide_prune {}
    #[doc = include_str!("../docs/guide/quantize.md")]
    mod guide_quantize {}
    #[doc = include_str!("../docs/guide/reconstruct.md")]
    mod guide_reconstruct {}
    #[doc = include_str!("../docs/guide/recipes.md")]
    mod guide_recipes {}
    #[doc = include_str!("../docs/guide/run.md")]
    mod guide_run {}
    #[doc = include_str!("../docs/guide/search.md")]
    mod guide_search {}
    #[doc = include_str!("../docs/guide/select.md")]
    mod guide_select {}
    #[doc = include_str!("../docs/guide/study.md")]
    mod guide_study {}
    #[doc = include_str!("../docs/guide/train.md")]
    mod guide_train {}
}

#[cfg(all(doctest, feature = "learner"))]
#[doc = include_str!("../docs/learner.md")]
mod learner {}
