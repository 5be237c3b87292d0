//! Elements of tensors as bytes, to and from `f64`.
//!
//! Each conversion is a few branch-free operations on one element, so that loops over slices of them vectorize.

/// A floating-point type of `N` little-endian bytes.
pub(super) trait Element<const N: usize> {
    /// The exact value.
    fn decode(bytes: [u8; N]) -> f64;

    /// The nearest representable value, the even one of two.
    fn encode(value: f64) -> [u8; N];
}

pub(super) struct F64;
pub(super) struct F32;
pub(super) struct F16;
pub(super) struct Bf16;

impl Element<8> for F64 {
    fn decode(bytes: [u8; 8]) -> f64 {
        f64::from_le_bytes(bytes)
    }

    fn encode(value: f64) -> [u8; 8] {
        value.to_le_bytes()
    }
}

impl Element<4> for F32 {
    fn decode(bytes: [u8; 4]) -> f64 {
        f32::from_le_bytes(bytes).into()
    }

    fn encode(value: f64) -> [u8; 4] {
        (value as f32).to_le_bytes()
    }
}

/// bfloat16 is the upper half of an `f32`.
impl Element<2> for Bf16 {
    fn decode(bytes: [u8; 2]) -> f64 {
        f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16).into()
    }

    fn encode(value: f64) -> [u8; 2] {
        let rounded = round_to(value, 8, -133) as f32;
        ((rounded.to_bits() >> 16) as u16).to_le_bytes()
    }
}

/// Difference of the exponents' biases of `f32` and `f16`, as a power of two.
const F16_SCALE: f32 = f32::from_bits((127 + 112) << 23);

impl Element<2> for F16 {
    fn decode(bytes: [u8; 2]) -> f64 {
        let half = u16::from_le_bytes(bytes);
        let sign = u32::from(half & 0x8000) << 16;
        // The fields fall into place; scaling corrects the exponent and normalizes what was subnormal.
        let magnitude = f32::from_bits(u32::from(half & 0x7fff) << 13) * F16_SCALE;
        let special = u32::from(half & 0x7fff) << 13 | 0x7f80_0000;
        let bits = if half & 0x7c00 == 0x7c00 { special } else { magnitude.to_bits() };
        f32::from_bits(sign | bits).into()
    }

    fn encode(value: f64) -> [u8; 2] {
        let rounded = round_to(value, 11, -24) as f32;
        let sign = (rounded.to_bits() >> 16) as u16 & 0x8000;
        let magnitude = ((rounded.abs() / F16_SCALE).to_bits() >> 13) as u16;
        let overflows = rounded.abs() >= 65536.0;
        let magnitude = if rounded.is_nan() { 0x7e00 } else { magnitude };
        (sign | if overflows { 0x7c00 } else { magnitude }).to_le_bytes()
    }
}

/// Rounds to `digits` binary digits, or to a multiple of `2^lowest` where that is coarser, to nearest even.
///
/// Adding a number whose last digit has the wanted place lets the addition round, and subtracting it leaves the rounded
/// value; going through `f32` first would round twice and be wrong in ties.
fn round_to(value: f64, digits: i64, lowest: i64) -> f64 {
    let exponent = ((value.to_bits() >> 52) & 0x7ff) as i64 - 1023;
    let place = (exponent + 1 - digits).max(lowest);
    // 1.5 * 2^(place + 52): its last digit is worth 2^place, and adding any |value| < 2^(place + 51) keeps it so.
    let shift = f64::from_bits((((place + 52 + 1023) as u64) << 52) | (1 << 51));
    let rounded = (value + shift) - shift;
    // Infinities and NaN have no place to round at; -0.0 would come out as 0.0.
    if value.is_finite() { rounded.copysign(value) } else { value }
}
