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
        pub fn tutti_be_deterministic(message: *mut c_char) -> bool;
        pub fn tutti_norm(
            x: *const c_void,
            residual: *const c_void,
            weight: *const c_void,
            bias: *const c_void,
            running_mean: *const c_void,
            running_variance: *const c_void,
            uses_batch: bool,
            momentum: f64,
            epsilon: f64,
            after: i64,
            message: *mut c_char,
        ) -> *mut c_void;
        pub fn tutti_step(
            step: *const Step,
            stretches: *const Stretch,
            count: usize,
            parameters: *const c_void,
            gradients: *const c_void,
            first: *const c_void,
            second: *const c_void,
            message: *mut c_char,
        ) -> bool;
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

/// Makes cuDNN choose algorithms that give the same bits every time.
pub fn be_deterministic() -> Result<(), ShimError> {
    // SAFETY: the message buffer outlives the call.
    call(|message| unsafe { raw::tutti_be_deterministic(message) })
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

/// What a fused normalization works with.
pub struct Norm<'a> {
    /// Scale of each channel, f32.
    pub weight: &'a Tensor,
    /// Shift of each channel, f32.
    pub bias: &'a Tensor,
    /// Running mean of each channel, moved on where the batch's statistics are used.
    pub running_mean: &'a Tensor,
    /// Running variance of each channel, likewise.
    pub running_variance: &'a Tensor,
    /// Whether to normalize by the batch's own statistics.
    pub uses_batch: bool,
    /// Weight of this batch in the running statistics.
    pub momentum: f64,
    /// Added to variances.
    pub epsilon: f64,
    /// What follows, by the number that `norm.cpp` gives it.
    pub after: i64,
}

/// Normalizes channels-last images on the CPU, adds `residual`, and does what follows, with gradients.
pub fn norm(x: &Tensor, residual: Option<&Tensor>, norm: &Norm) -> Result<Tensor, ShimError> {
    let mut result = std::ptr::null_mut();
    call(|message| {
        // SAFETY: every handle is valid for the call; a null residual means none.
        result = unsafe {
            raw::tutti_norm(
                handle(x),
                residual.map_or(std::ptr::null(), handle),
                handle(norm.weight),
                handle(norm.bias),
                handle(norm.running_mean),
                handle(norm.running_variance),
                norm.uses_batch,
                norm.momentum,
                norm.epsilon,
                norm.after,
                message,
            )
        };
        !result.is_null()
    })?;
    // SAFETY: the shim hands over a tensor of its own making, to be freed by tch.
    Ok(unsafe { Tensor::from_ptr(result.cast()) })
}

/// A stretch of the arena that an optimizer step treats alike.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Stretch {
    /// Its first element.
    pub offset: i64,
    /// Its elements.
    pub length: i64,
    /// Its learning rate.
    pub rate: f64,
    /// Its weight decay.
    pub decay: f64,
}

/// The rule of an optimizer step, with the bias corrections of this step.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[repr(C)]
pub struct Step {
    /// Adam, else SGD.
    pub is_adam: bool,
    /// Nesterov's momentum.
    pub nesterov: bool,
    /// Weight decay taken off the weights, not added to the gradient.
    pub is_decoupled: bool,
    /// Decay of the first moment; SGD's momentum.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the denominator.
    pub epsilon: f64,
    /// What the first moment is divided by.
    pub correction1: f64,
    /// What the second moment is divided by.
    pub correction2: f64,
}

/// Steps flat f32 parameters on the CPU, and their moments with them. Stretches lie within the arena.
pub fn step(
    step: &Step,
    stretches: &[Stretch],
    parameters: &mut Tensor,
    gradients: &Tensor,
    moments: &[&Tensor],
) -> Result<(), ShimError> {
    let moment = |index: usize| moments.get(index).map_or(std::ptr::null(), |tensor| handle(tensor));
    // SAFETY: the structs have the shim's layout, and every handle is valid for the call.
    call(|message| unsafe {
        raw::tutti_step(
            step,
            stretches.as_ptr(),
            stretches.len(),
            handle(parameters),
            handle(gradients),
            moment(0),
            moment(1),
            message,
        )
    })
}
