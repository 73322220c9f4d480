//! Burn's recording of a forward pass: operations are noted down and not carried out.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::Device;
use burn::tensor::{CaptureScope, CapturedGraph, CompletedCaptureScope};

/// Records what `pass` does on a capture device. Where it panics (as Burn does where a pass asks for the
/// value of a tensor), the error is its text.
pub(crate) fn record(
    pass: impl FnOnce(&Device, CaptureScope) -> CompletedCaptureScope,
) -> Result<CapturedGraph, String> {
    let device = Device::capture();
    let recorded = catch_unwind(AssertUnwindSafe(|| {
        device.capture_scope(|scope| pass(&device, scope))
    }));
    match recorded {
        Ok(Ok(recorded)) => Ok(recorded),
        Ok(Err(error)) => Err(error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(text.unwrap_or("it panicked").to_string())
        }
    }
}
