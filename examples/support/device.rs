//! `--device`: the backends that Burn runs on, as far as they are compiled in.

use burn::tensor::Device;
use clap::ValueEnum;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// The CPU, in pure Rust
    #[default]
    Flex,
    /// The CPU, by the older ndarray backend
    Ndarray,
    /// The GPU, by Vulkan, Metal or DirectX
    Wgpu,
    /// An NVIDIA GPU
    Cuda,
    /// The CPU, by libtorch
    Tch,
}

#[derive(Debug, thiserror::Error)]
#[error("built without `{0}`; run with --features {0}")]
pub struct NotCompiledIn(&'static str);

impl Backend {
    pub fn device(self) -> Result<Device, NotCompiledIn> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "ndarray")]
            #[expect(deprecated, reason = "works, and stays supported")]
            Self::Ndarray => Ok(Device::ndarray()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok(Device::cuda(burn::tensor::DeviceIndex::Default)),
            #[cfg(feature = "tch")]
            #[expect(deprecated, reason = "works, and stays supported")]
            Self::Tch => Ok(Device::libtorch()),
            #[allow(unreachable_patterns, reason = "reached by what is not compiled in")]
            _ => Err(NotCompiledIn(match self {
                Self::Flex => "flex",
                Self::Ndarray => "ndarray",
                Self::Wgpu => "wgpu",
                Self::Cuda => "cuda",
                Self::Tch => "tch",
            })),
        }
    }
}
