//! The backend under test: `BURN_COMPRESS_DEVICE` is `flex` (the default), `ndarray`, `wgpu` or
//! `cuda`.

use burn::tensor::Device;

pub fn name() -> String {
    std::env::var("BURN_COMPRESS_DEVICE").unwrap_or_else(|_| "flex".into())
}

/// The plain device; `.autodiff()` gives the one to train on.
pub fn device() -> Device {
    match name().as_str() {
        #[cfg(feature = "flex")]
        "flex" => Device::flex(),
        #[cfg(feature = "ndarray")]
        #[expect(deprecated, reason = "works, and stays supported")]
        "ndarray" => Device::ndarray(),
        #[cfg(feature = "wgpu")]
        "wgpu" => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(feature = "cuda")]
        "cuda" => Device::cuda(burn::tensor::DeviceIndex::Default),
        other => panic!("device `{other}` is unknown or not compiled in"),
    }
}

/// Whether a computation repeats bit for bit on the device, whatever surrounds it.
pub fn is_exact() -> bool {
    name() == "flex"
}

/// Whether a large network is left out on this device, and says so: in software, Vulkan takes minutes
/// for one.
pub fn leaves_out(network: &str) -> bool {
    let slow = name() == "wgpu";
    if slow {
        eprintln!("skipped on wgpu: {network} takes minutes there in software");
    }
    slow
}

/// Cases of a property whose shapes vary: in software Vulkan each new one is new shaders.
pub fn cases(all: u32) -> u32 {
    if name() == "wgpu" {
        all.div_ceil(8)
    } else {
        all
    }
}
