//! From the members' logits to the answer of the ensemble.

use super::Served;
use ensemble::combine::{CombineError, Tally};
use ensemble::metrics::entropy;
use ensemble::predictions::{Invalid, Logits};
use proto::v1::{MemberLogits, PredictReply, Prediction};

/// Combines members in the ensemble's order, whatever order they answered in, so that equal requests get equal bits.
/// Members that are missing leave their weight to the others.
pub fn answer(served: &Served, rows: usize, answered: &[MemberLogits]) -> Result<PredictReply, CombineError> {
    let classes = served.model.classes as usize;
    let mut tally = Tally::new(served.combine, rows, classes);
    for member in &served.members {
        if let Some(wire) = answered.iter().find(|wire| wire.member == member.index) {
            tally.add(&logits(wire)?, member.weight)?;
        }
    }
    let answer = tally.answer()?;
    let probabilities = served.temperature.apply(&answer.probabilities);
    let rows = probabilities.rows().enumerate().map(|(row, probabilities)| Prediction {
        probabilities: probabilities.to_vec(),
        class: answer.predicted[row],
        predictive_entropy: entropy(probabilities),
        mutual_information: answer.mutual_information[row],
        members_agreeing: answer.agreeing[row],
    });
    Ok(PredictReply {
        predictions: rows.collect(),
        members_answered: answer.members,
        members_total: served.members.len() as u32,
    })
}

fn logits(wire: &MemberLogits) -> Result<Logits, Invalid> {
    let (numbers, _) = wire.logits.as_chunks::<4>();
    Logits::new(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(), wire.classes as usize)
}
