use tch::{TchError, Tensor};

use super::Pass;

/// Drops elements with some chance while training, and scales up the others to keep the mean.
///
/// Each member draws its mask from a stream keyed by its seed, the step and the layer, over its own elements, so that it
/// drops in a pack what it would drop alone.
#[derive(Debug)]
pub struct Dropout {
    chance: f64,
    layer: u64,
}

impl Dropout {
    pub(super) fn new(chance: f64, layer: u64) -> Self {
        Self { chance, layer }
    }

    /// `[M, B, features]` to the same.
    pub fn forward(&self, pass: &Pass, x: Tensor) -> Result<Tensor, TchError> {
        if !self.drops(pass) {
            return Ok(x);
        }
        let (width, batch, features) = x.size3()?;
        let kept = self.kept(pass, batch * features, &x)?.f_view([width, batch, features])?;
        x.f_mul(&kept)
    }

    /// `[B, M·C, H, W]`, channels-last, to the same.
    pub fn forward_images(&self, pass: &Pass, x: Tensor) -> Result<Tensor, TchError> {
        if !self.drops(pass) {
            return Ok(x);
        }
        let (batch, channels, height, width) = x.size4()?;
        let members = pass.width();
        let kept = self.kept(pass, batch * height * width * channels / members, &x)?;
        let kept = kept.f_view([members, batch, height, width, channels / members])?.f_permute([1, 0, 4, 2, 3])?;
        x.f_mul(&kept.f_reshape([batch, channels, height, width])?)
    }

    fn drops(&self, pass: &Pass) -> bool {
        pass.is_training() && self.chance > 0.0
    }

    /// `[M, length]`: 0 where dropped, else 1/(1 - chance), in the kind of `x`.
    fn kept(&self, pass: &Pass, length: i64, x: &Tensor) -> Result<Tensor, TchError> {
        let kept = pass.masks.substream(self.layer).bernoulli(length, 1.0 - self.chance, x.device())?;
        kept.f_to_kind(x.kind())?.f_mul_scalar(1.0 / (1.0 - self.chance))
    }
}
