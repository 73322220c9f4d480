use burn::tensor::Device;

/// A seed for the `index`-th use of another: well apart for neighbouring indices, and the same
/// whenever asked for, so that a resumed run sees the random numbers of an uninterrupted one.
///
/// ```
/// use burn_compress::train::seed_at;
/// assert_eq!(seed_at(1, 5), seed_at(1, 5));
/// assert_ne!(seed_at(1, 5), seed_at(1, 6));
/// ```
pub fn seed_at(seed: u64, index: u64) -> u64 {
    // SplitMix64 (Steele, Lea & Flood 2014), jumped to its index-th state.
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Seeds the device's random numbers (dropout and the like) for a step.
///
/// A device does not tell the state of its generator, so it cannot be saved; seeding it before each
/// step from the run's seed and the step makes the step itself the state. The generator is the
/// whole process's: another thread that draws in between changes what this one gets.
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use burn_compress::train::seed;
/// let device = Device::default();
/// let draw = || Tensor::<1>::random([4], Distribution::Default, &device).into_data();
/// seed(&device, 1, 5);
/// let first = draw();
/// seed(&device, 1, 5);
/// draw().assert_eq(&first, true);
/// ```
pub fn seed(device: &Device, seed: u64, step: u64) {
    device.seed(seed_at(seed, step));
}
