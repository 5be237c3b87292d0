//! Whether inputs are what the model takes. What passes here cannot make a worker fail.

use super::ServedModel;
use proto::v1::{DataType, Tensor};
use tonic::Status;

/// Checks a batch: its shape against the model's, its size against its shape, and that every number is finite.
pub fn check(inputs: Option<Tensor>, model: ServedModel) -> Result<Tensor, Status> {
    let inputs = inputs.ok_or_else(|| Status::invalid_argument("`inputs` is missing"))?;
    let [channels, height, width] = model.shape;
    let rows = match inputs.shape[..] {
        [rows, c, h, w] if [c, h, w] == model.shape && rows > 0 => rows,
        ref shape => {
            let wanted = format!("[rows, {channels}, {height}, {width}] with at least one row");
            return Err(Status::invalid_argument(format!("`inputs.shape` is {shape:?}, but the model takes {wanted}")));
        }
    };
    let numbers = [rows, channels, height, width].iter().map(|size| u64::from(*size)).product::<u64>();
    let bytes = numbers * number_bytes(inputs.data_type())?;
    if inputs.data.len() as u64 != bytes {
        let problem = format!("`inputs.data` has {} bytes, but its shape and type take {bytes}", inputs.data.len());
        return Err(Status::invalid_argument(problem));
    }
    check_finite(&inputs)?;
    Ok(inputs)
}

fn number_bytes(data_type: DataType) -> Result<u64, Status> {
    match data_type {
        DataType::Uint8 => Ok(1),
        DataType::Fp32 => Ok(4),
        DataType::Unspecified => Err(Status::invalid_argument("`inputs.data_type` must be UINT8 or FP32")),
    }
}

fn check_finite(inputs: &Tensor) -> Result<(), Status> {
    if inputs.data_type() != DataType::Fp32 {
        return Ok(());
    }
    let (numbers, _) = inputs.data.as_chunks::<4>();
    match numbers.iter().position(|bytes| !f32::from_le_bytes(*bytes).is_finite()) {
        None => Ok(()),
        Some(at) => Err(Status::invalid_argument(format!("`inputs.data`: number {at} is not finite"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: ServedModel = ServedModel { shape: [1, 2, 2], classes: 3 };

    fn tensor(data_type: DataType, shape: &[u32], data: Vec<u8>) -> Tensor {
        Tensor { data_type: data_type.into(), shape: shape.to_vec(), data: data.into() }
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn inputs_that_fit_pass() {
        assert!(check(Some(tensor(DataType::Uint8, &[2, 1, 2, 2], vec![0; 8])), MODEL).is_ok());
        assert!(check(Some(tensor(DataType::Fp32, &[1, 1, 2, 2], floats(&[0.5; 4]))), MODEL).is_ok());
    }

    #[test]
    fn inputs_that_do_not_fit_are_named() {
        let refused = |inputs: Option<Tensor>, word: &str| {
            let message = check(inputs, MODEL).err().map(|status| status.message().to_owned());
            assert!(message.as_ref().is_some_and(|message| message.contains(word)), "{message:?}");
        };
        refused(None, "missing");
        refused(Some(tensor(DataType::Uint8, &[1, 2, 2], vec![0; 4])), "[rows, 1, 2, 2]");
        refused(Some(tensor(DataType::Uint8, &[0, 1, 2, 2], vec![])), "at least one row");
        refused(Some(tensor(DataType::Uint8, &[u32::MAX, 1, 2, 2], vec![0; 4])), "17179869180");
        refused(Some(tensor(DataType::Fp32, &[1, 1, 2, 2], vec![0; 4])), "16");
        refused(Some(tensor(DataType::Unspecified, &[1, 1, 2, 2], vec![0; 4])), "data_type");
        refused(Some(tensor(DataType::Fp32, &[1, 1, 2, 2], floats(&[0.0, 1.0, f32::NAN, 1.0]))), "number 2");
    }
}
