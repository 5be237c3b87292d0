//! An image as text: two pixels a character in colour where the terminal can, shades of ASCII elsewhere.

use ensemble::dataset::{Images, Pixels};

/// Wider images are drawn smaller: two of this width stand side by side on 80 columns.
const WIDTH_MAX: usize = 36;
/// From dark to bright.
const SHADES: &[u8; 10] = b" .:-=+*#%@";

/// How colours reach the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// 24-bit colours.
    TrueColor,
    /// The 256-colour palette.
    Palette,
    /// No colours, plain characters.
    Ascii,
}

impl Ink {
    /// The best that the standard output stream can show.
    pub fn of_stdout() -> Self {
        let terminal = console::Term::stdout();
        if !terminal.is_term() || !terminal.features().colors_supported() || std::env::var_os("NO_COLOR").is_some() {
            return Self::Ascii;
        }
        let depth = std::env::var("COLORTERM").unwrap_or_default();
        if depth.contains("truecolor") || depth.contains("24bit") { Self::TrueColor } else { Self::Palette }
    }
}

type Rgb = [u8; 3];

/// The lines of one image, each `width` characters wide beside the escape codes.
pub struct Drawing {
    pub width: usize,
    pub lines: Vec<String>,
}

/// Draws image `index`. A character is about twice as high as wide, so that it holds two pixels, one above the other.
pub fn draw(images: &Images, index: usize, ink: Ink) -> Drawing {
    let canvas = Canvas::of(images, index);
    let lines = (0..canvas.height.div_ceil(2)).map(|line| canvas.line(line, ink)).collect();
    Drawing { width: canvas.width, lines }
}

struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Rgb>,
}

impl Canvas {
    fn of(images: &Images, index: usize) -> Self {
        let [_, height, width] = images.shape;
        let shrink = width.div_ceil(WIDTH_MAX).max(1);
        let (small_width, small_height) = (width.div_ceil(shrink), height.div_ceil(shrink));
        let places = (0..small_height).flat_map(|row| (0..small_width).map(move |column| (row, column)));
        let pixels = places.map(|(row, column)| block(images, index, row * shrink, column * shrink, shrink)).collect();
        Self { width: small_width, height: small_height, pixels }
    }

    fn pixel(&self, row: usize, column: usize) -> Rgb {
        if row < self.height { self.pixels[row * self.width + column] } else { [0; 3] }
    }

    fn line(&self, line: usize, ink: Ink) -> String {
        let pairs = (0..self.width).map(|column| (self.pixel(2 * line, column), self.pixel(2 * line + 1, column)));
        match ink {
            Ink::Ascii => pairs.map(|(above, below)| shade(above, below)).collect(),
            _ => pairs.map(|(above, below)| half_block(above, below, ink)).collect::<String>() + "\x1b[0m",
        }
    }
}

/// The mean colour of a square of pixels.
fn block(images: &Images, index: usize, top: usize, left: usize, side: usize) -> Rgb {
    let [channels, height, width] = images.shape;
    let mean = |channel: usize| {
        let plane = (index * channels + channel) * height * width;
        let rows = top..(top + side).min(height);
        let places = rows.flat_map(|row| (left..(left + side).min(width)).map(move |column| row * width + column));
        let (sum, count) = places.fold((0.0, 0), |(sum, count), at| (sum + brightness(images, plane + at), count + 1));
        (sum / f64::from(count)).round() as u8
    };
    if channels >= 3 { [mean(0), mean(1), mean(2)] } else { [mean(0); 3] }
}

/// From 0 to 255. Floats are by custom from 0 to 1; others are cut off.
fn brightness(images: &Images, at: usize) -> f64 {
    match &images.pixels {
        Pixels::U8(values) => values[at].into(),
        Pixels::F32(values) => (f64::from(values[at]) * 255.0).clamp(0.0, 255.0),
    }
}

fn shade(above: Rgb, below: Rgb) -> char {
    let sum: usize = above.iter().chain(&below).map(|&value| usize::from(value)).sum();
    SHADES[sum * (SHADES.len() - 1) / (6 * 255)].into()
}

fn half_block(above: Rgb, below: Rgb, ink: Ink) -> String {
    format!("\x1b[38;{};48;{}m▀", color(above, ink), color(below, ink))
}

fn color([red, green, blue]: Rgb, ink: Ink) -> String {
    match ink {
        Ink::TrueColor => format!("2;{red};{green};{blue}"),
        _ if red == green && green == blue => format!("5;{}", gray(red)),
        _ => {
            let step = |value: u8| (usize::from(value) * 5 + 127) / 255;
            format!("5;{}", 16 + 36 * step(red) + 6 * step(green) + step(blue))
        }
    }
}

/// The palette has 24 grays between black and white, numbered from 232.
fn gray(value: u8) -> usize {
    match usize::from(value) * 25 / 255 {
        0 => 16,
        25 => 231,
        step => 231 + step,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp() -> Images {
        Images { count: 1, shape: [1, 3, 2], pixels: Pixels::U8(vec![0, 255, 0, 255, 255, 255]) }
    }

    #[test]
    fn ascii_shades_rise_with_brightness() {
        let drawing = draw(&ramp(), 0, Ink::Ascii);
        assert_eq!((drawing.width, drawing.lines), (2, vec![" @".to_owned(), "==".to_owned()]));
    }

    #[test]
    fn a_half_block_shows_the_upper_pixel_in_front_of_the_lower() {
        let lines = draw(&ramp(), 0, Ink::TrueColor).lines;
        assert_eq!(lines[1], "\x1b[38;2;255;255;255;48;2;0;0;0m▀\x1b[38;2;255;255;255;48;2;0;0;0m▀\x1b[0m");
        assert!(draw(&ramp(), 0, Ink::Palette).lines[0].starts_with("\x1b[38;5;16;48;5;16m▀\x1b[38;5;231;48;5;231m▀"));
    }

    #[test]
    fn large_images_are_drawn_smaller_by_their_mean() {
        let side = 4 * WIDTH_MAX;
        let values: Vec<f32> = (0..3 * side * side).map(|at| (at % 2) as f32).collect();
        let drawing = draw(&Images { count: 1, shape: [3, side, side], pixels: Pixels::F32(values) }, 0, Ink::Ascii);
        assert_eq!((drawing.width, drawing.lines.len()), (WIDTH_MAX, WIDTH_MAX / 2));
        assert!(drawing.lines.iter().all(|line| line.chars().all(|shade| shade == '=')));
    }
}
