//! The report of a job as a table.

use super::list::trimmed;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use ensemble::metrics::Scores;
use ensemble::report::{Report, ReportRow};

/// How the scores of one part of the data are read from a row.
type Part = (&'static str, fn(&ReportRow) -> Option<Scores>);

const PARTS: [Part; 2] = [("validation", |row| row.validation), ("test", |row| row.test)];
const FIGURES: [&str; 4] = ["acc. %", "NLL", "Brier", "ECE"];
/// Blanks between columns.
const GAP: usize = 2;

/// The report: each member, their mean and spread, the averages, the ensemble; then what else is worth knowing.
pub fn report(report: &Report) -> String {
    let all = || report.members.iter().chain(&report.averages).chain([&report.ensemble]);
    let parts: Vec<Part> = PARTS.into_iter().filter(|(_, scores)| all().any(|row| scores(row).is_some())).collect();
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(std::iter::once("model").chain(parts.iter().flat_map(|_| FIGURES)));
    let mut section = |rows: Vec<Vec<String>>| {
        rows.into_iter().for_each(|row| {
            table.add_row(row);
        });
        table.add_row([""]);
    };
    section(report.members.iter().map(|row| line(row, &parts)).collect());
    section(spread(&report.members, &parts));
    section(report.averages.iter().map(|row| line(row, &parts)).collect());
    table.add_row(line(
        &ReportRow { name: format!("ensemble of {}", report.members.len()), ..report.ensemble.clone() },
        &parts,
    ));
    align(&mut table);
    let titles = titles(&parts, &table.column_max_content_widths());
    [vec![titles, squeezed(&trimmed(&table))], remarks(report)].concat().join("\n")
}

/// A line above the table: which part of the data the columns below are about.
fn titles(parts: &[Part], widths: &[u16]) -> String {
    let (names, figures) = widths.split_at(1);
    let mut line = " ".repeat(usize::from(names[0]) + GAP);
    for ((part, _), columns) in parts.iter().zip(figures.chunks(FIGURES.len())) {
        let width = columns.iter().map(|&width| usize::from(width)).sum::<usize>() + GAP * (columns.len() - 1);
        line += &format!("{:─^width$}{:GAP$}", format!(" {part} "), "");
    }
    line.trim_end().to_owned()
}

fn align(table: &mut Table) {
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, GAP as u16));
        if index > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// One empty line between sections, none where a section is empty.
fn squeezed(table: &str) -> String {
    let mut lines: Vec<&str> = table.lines().collect();
    lines.dedup_by(|a, b| a.is_empty() && b.is_empty());
    lines.join("\n")
}

fn line(row: &ReportRow, parts: &[Part]) -> Vec<String> {
    let figures = parts.iter().flat_map(|(_, scores)| match scores(row) {
        Some(scores) => figures(&scores).map(|figure| figure.text()),
        None => std::array::from_fn(|_| "-".to_owned()),
    });
    std::iter::once(row.name.clone()).chain(figures).collect()
}

/// The mean of single members, and their sample standard deviation: two lines, where there are two members.
fn spread(members: &[ReportRow], parts: &[Part]) -> Vec<Vec<String>> {
    if members.len() < 2 {
        return Vec::new();
    }
    let (mut means, mut deviations) = (vec!["mean member".to_owned()], vec!["± std".to_owned()]);
    for (_, scores) in parts {
        let rows: Vec<_> = members.iter().filter_map(scores).map(|scores| figures(&scores)).collect();
        for figure in 0..FIGURES.len() {
            let values: Vec<f64> = rows.iter().map(|row| row[figure].value).collect();
            let (mean, deviation) = mean_and_deviation(&values);
            let percent = figure == 0;
            means.push(Figure { value: mean, percent }.text());
            deviations.push(Figure { value: deviation, percent }.text());
        }
    }
    vec![means, deviations]
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0)).sqrt())
}

#[derive(Clone, Copy)]
struct Figure {
    value: f64,
    percent: bool,
}

impl Figure {
    fn text(self) -> String {
        match self {
            Self { value, .. } if !value.is_finite() => "-".into(),
            Self { value, percent: true } => format!("{:.2}", 100.0 * value),
            Self { value, percent: false } => format!("{value:.4}"),
        }
    }
}

fn figures(scores: &Scores) -> [Figure; 4] {
    let plain = |value| Figure { value, percent: false };
    let accuracy = Figure { value: scores.accuracy, percent: true };
    [accuracy, plain(scores.nll), plain(scores.brier), plain(scores.ece)]
}

fn percent_of(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

fn remarks(report: &Report) -> Vec<String> {
    let mut remarks = vec![String::new()];
    if let Some(disagreement) = report.disagreement {
        let share = percent_of(disagreement);
        remarks.push(format!("Two members differ in the predicted class on {share} of the test images, on average."));
    }
    if report.temperature != 1.0 {
        remarks.push(format!("The ensemble's logits are divided by a temperature of {:.3}.", report.temperature));
    }
    if report.weights.windows(2).any(|pair| pair[0] != pair[1]) {
        let named = report.members.iter().zip(&report.weights);
        let listed: Vec<_> = named.map(|(member, weight)| format!("{} {weight:.3}", member.name)).collect();
        remarks.push(format!("The members' weights: {}.", listed.join(", ")));
    }
    let lost =
        report.lost.iter().map(|lost| format!("Without `{}`, which is lost: {}", lost.name, lost.why.trim_end()));
    remarks.extend(lost);
    if remarks.len() == 1 { Vec::new() } else { remarks }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use ensemble::report::LostRow;

    fn scores(accuracy: f64) -> Option<Scores> {
        Some(Scores { accuracy, nll: 1.0 - accuracy, brier: 2.0 * (1.0 - accuracy), ece: 0.0125, samples: 10_000 })
    }

    pub fn sample() -> Report {
        let row = |name: &str, accuracy| ReportRow {
            name: name.into(),
            validation: scores(accuracy - 0.01),
            test: scores(accuracy),
        };
        Report {
            members: vec![row("seed-0", 0.88), row("seed-1", 0.90), row("snapshot-2", 0.92)],
            averages: vec![row("ema", 0.905)],
            ensemble: row("ensemble", 0.93),
            weights: vec![0.25, 0.25, 0.5],
            temperature: 1.25,
            disagreement: Some(0.0731),
            lost: Vec::new(),
        }
    }

    #[test]
    fn the_whole_report() {
        let expected = "
               ───────── validation ─────────  ──────────── test ────────────
model          acc. %     NLL   Brier     ECE  acc. %     NLL   Brier     ECE
seed-0          87.00  0.1300  0.2600  0.0125   88.00  0.1200  0.2400  0.0125
seed-1          89.00  0.1100  0.2200  0.0125   90.00  0.1000  0.2000  0.0125
snapshot-2      91.00  0.0900  0.1800  0.0125   92.00  0.0800  0.1600  0.0125

mean member     89.00  0.1100  0.2200  0.0125   90.00  0.1000  0.2000  0.0125
± std            2.00  0.0200  0.0400  0.0000    2.00  0.0200  0.0400  0.0000

ema             89.50  0.1050  0.2100  0.0125   90.50  0.0950  0.1900  0.0125

ensemble of 3   92.00  0.0800  0.1600  0.0125   93.00  0.0700  0.1400  0.0125

Two members differ in the predicted class on 7.31 % of the test images, on average.
The ensemble's logits are divided by a temperature of 1.250.
The members' weights: seed-0 0.250, seed-1 0.250, snapshot-2 0.500.";
        assert_eq!(format!("\n{}", report(&sample())), expected);
    }

    #[test]
    fn what_a_job_has_not_is_left_out() {
        let mut lean = sample();
        lean.members.truncate(1);
        lean.averages.clear();
        (lean.weights, lean.temperature, lean.disagreement) = (vec![1.0], 1.0, None);
        for row in lean.members.iter_mut().chain([&mut lean.ensemble]) {
            row.validation = None;
        }
        let expected = "
               ──────────── test ────────────
model          acc. %     NLL   Brier     ECE
seed-0          88.00  0.1200  0.2400  0.0125

ensemble of 1   93.00  0.0700  0.1400  0.0125";
        assert_eq!(format!("\n{}", report(&lean)), expected);
        let why = "`demo-1/train/3` failed (device, 50 of 50 times): CUDA error".to_owned();
        lean.lost = vec![LostRow { name: "seed-1".to_owned(), why }];
        let expected = format!(
            "{expected}\n\nWithout `seed-1`, which is lost: `demo-1/train/3` failed (device, 50 of 50 times): CUDA error"
        );
        assert_eq!(format!("\n{}", report(&lean)), expected);
    }
}
