//! Bindings to the C++ shim in `shim/`: what libtorch does not offer, or does in several passes over memory.

use std::ffi::{CStr, c_char, c_void};

use tch::Tensor;

/// As `kMessageBytes` in `shim.h`.
const MESSAGE_BYTES: usize = 1024;

/// What a C++ exception said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ShimError(String);

impl From<ShimError> for tch::TchError {
    fn from(error: ShimError) -> Self {
        tch::TchError::Torch(error.0)
    }
}

mod raw {
    use super::*;

    unsafe extern "C" {
        pub fn tutti_show_config(text: *mut c_char, capacity: usize, message: *mut c_char) -> bool;
        pub fn tutti_address_in_libtorch() -> *const c_void;
        pub fn tutti_uniform(start: u64, twist: u64, out: *const c_void, message: *mut c_char) -> bool;
    }
}

/// Runs one shim call and turns its message into an error.
fn call(body: impl FnOnce(*mut c_char) -> bool) -> Result<(), ShimError> {
    let mut message = [0 as c_char; MESSAGE_BYTES];
    if body(message.as_mut_ptr()) {
        return Ok(());
    }
    // SAFETY: the shim ends every message with a zero byte within the buffer.
    let text = unsafe { CStr::from_ptr(message.as_ptr()) };
    Err(ShimError(text.to_string_lossy().into_owned()))
}

/// libtorch's own description of how it was built.
pub fn show_config() -> Result<String, ShimError> {
    let mut text = vec![0 as c_char; 16 * 1024];
    // SAFETY: both buffers outlive the call and their capacities are passed or fixed.
    call(|message| unsafe { raw::tutti_show_config(text.as_mut_ptr(), text.len(), message) })?;
    // SAFETY: the shim ends the text with a zero byte within the buffer.
    Ok(unsafe { CStr::from_ptr(text.as_ptr()) }.to_string_lossy().into_owned())
}

/// The address of some function of the loaded `libtorch_cpu.so`.
pub fn address_in_libtorch() -> *const c_void {
    // SAFETY: takes nothing and only returns an address.
    unsafe { raw::tutti_address_in_libtorch() }
}

/// A tensor as the shim takes it.
fn handle(tensor: &Tensor) -> *const c_void {
    tensor.as_ptr().cast()
}

/// Fills a contiguous f32 CPU tensor with the uniform numbers of one stream of `random.rs`.
pub fn uniform(start: u64, twist: u64, out: &Tensor) -> Result<(), ShimError> {
    // SAFETY: the handle is valid for the call.
    call(|message| unsafe { raw::tutti_uniform(start, twist, handle(out), message) })
}
