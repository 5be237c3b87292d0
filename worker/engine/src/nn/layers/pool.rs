use tch::{TchError, Tensor};

/// The maximum of each square window of `[B, C, H, W]`.
pub fn max_pool(x: &Tensor, kernel: i64, stride: i64, padding: i64) -> Result<Tensor, TchError> {
    x.f_max_pool2d([kernel; 2], [stride; 2], [padding; 2], [1, 1], false)
}

/// The mean of each channel: `[B, C, H, W]` to `[B, C]`.
pub fn global_average(x: &Tensor) -> Result<Tensor, TchError> {
    x.f_mean_dim(&[2i64, 3][..], false, None::<tch::Kind>)
}
