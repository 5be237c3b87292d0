//! What an ensemble says about images: a card for each, as many side by side as the terminal is wide.

use super::image::{Ink, draw};
use crate::ask::Answers;
use crate::pictures::Pictures;
use proto::v1::Prediction;

/// Captions fit into this many columns even under a small image.
const CARD_WIDTH_MIN: usize = 28;
const GAP: &str = "   ";
/// What a file or a pipe is written for.
const COLUMNS_ELSEWHERE: usize = 80;

/// How the cards are laid out and coloured.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub ink: Ink,
    pub columns: usize,
}

impl Layout {
    /// The layout for the standard output stream as it is.
    pub fn of_stdout() -> Self {
        let terminal = console::Term::stdout();
        let columns = terminal.size_checked().map_or(COLUMNS_ELSEWHERE, |(_, columns)| columns.into());
        Self { ink: Ink::of_stdout(), columns }
    }
}

/// All cards, and below them how many answers are right, where the truth is known.
pub fn answers(pictures: &Pictures, answers: &Answers, layout: Layout) -> String {
    let cards: Vec<_> =
        (0..answers.predictions.len()).map(|index| card(pictures, answers, index, layout.ink)).collect();
    let width = cards.iter().map(|card| card.width).max().unwrap_or(CARD_WIDTH_MIN);
    let abreast = ((layout.columns + GAP.len()) / (width + GAP.len())).max(1);
    let rows: Vec<_> = cards.chunks(abreast).map(|row| beside(row, width)).collect();
    [rows, summary(pictures, answers)].concat().join("\n\n")
}

struct Card {
    width: usize,
    lines: Vec<String>,
}

fn card(pictures: &Pictures, answers: &Answers, index: usize, ink: Ink) -> Card {
    let drawing = draw(&pictures.images, index, ink);
    let width = drawing.width.max(CARD_WIDTH_MIN);
    let prediction = &answers.predictions[index];
    let mut lines = drawing.lines;
    lines.extend(captions(answers, prediction, pictures.labels.as_ref().map(|labels| labels[index]), ink));
    Card { width, lines }
}

fn captions(answers: &Answers, prediction: &Prediction, truth: Option<u32>, ink: Ink) -> Vec<String> {
    let answer = format!("answer {}  {}", answers.class_name(prediction.class), percent(confidence(prediction)));
    let (agreeing, members) = (prediction.members_agreeing, answers.members_answered);
    let agreement = format!("{agreeing} of {members} members agree");
    match truth {
        Some(truth) => {
            let mark = mark(truth == prediction.class, ink);
            vec![format!("truth  {}", answers.class_name(truth)), format!("{answer} {mark}"), agreement]
        }
        None => vec![answer, agreement],
    }
}

fn mark(right: bool, ink: Ink) -> String {
    match (right, ink) {
        (true, Ink::Ascii) => "right".into(),
        (false, Ink::Ascii) => "wrong".into(),
        (true, _) => "\x1b[32m✓\x1b[0m".into(),
        (false, _) => "\x1b[31m✗\x1b[0m".into(),
    }
}

/// The probability of the predicted class.
fn confidence(prediction: &Prediction) -> f64 {
    prediction.probabilities.get(prediction.class as usize).copied().unwrap_or(f64::NAN)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn beside(cards: &[Card], width: usize) -> String {
    let height = cards.iter().map(|card| card.lines.len()).max().unwrap_or(0);
    let line = |at: usize| {
        let cells = cards.iter().map(|card| padded(card.lines.get(at).map_or("", String::as_str), width));
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    };
    (0..height).map(line).collect::<Vec<_>>().join("\n")
}

fn padded(text: &str, width: usize) -> String {
    console::pad_str(text, width, console::Alignment::Left, None).into_owned()
}

fn summary(pictures: &Pictures, answers: &Answers) -> Vec<String> {
    let Some(labels) = &pictures.labels else { return Vec::new() };
    let right =
        answers.predictions.iter().zip(labels).filter(|(prediction, label)| prediction.class == **label).count();
    vec![format!("{right} of {} right", answers.predictions.len())]
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use ensemble::dataset::{Images, Pixels};

    pub fn sample() -> (Pictures, Answers) {
        let images =
            Images { count: 2, shape: [1, 2, 3], pixels: Pixels::U8([[0, 255, 255], [0; 3]].concat().repeat(2)) };
        let prediction = |class, agreeing| Prediction {
            probabilities: vec![0.25, 0.75],
            class,
            predictive_entropy: 0.5623,
            mutual_information: 0.05,
            members_agreeing: agreeing,
        };
        let answers = Answers {
            class_names: vec!["bag".into(), "coat".into()],
            predictions: vec![prediction(1, 4), prediction(1, 3)],
            members_answered: 4,
            members_total: 5,
        };
        (Pictures { images, labels: Some(vec![1, 0]) }, answers)
    }

    #[test]
    fn cards_stand_side_by_side() {
        let (pictures, answers) = sample();
        let layout = Layout { ink: Ink::Ascii, columns: 80 };
        let expected = "
 ==                             ==
truth  coat                    truth  bag
answer coat  75.0 % right      answer coat  75.0 % wrong
4 of 4 members agree           3 of 4 members agree

1 of 2 right";
        assert_eq!(format!("\n{}", super::answers(&pictures, &answers, layout)), expected);
    }

    #[test]
    fn a_narrow_terminal_gets_one_card_a_row() {
        let (mut pictures, answers) = sample();
        pictures.labels = None;
        let layout = Layout { ink: Ink::Ascii, columns: 40 };
        let text = super::answers(&pictures, &answers, layout);
        assert_eq!(text.split("\n\n").count(), 2);
        assert!(text.starts_with(" ==\nanswer coat  75.0 %\n4 of 4 members agree\n\n"));
    }
}
