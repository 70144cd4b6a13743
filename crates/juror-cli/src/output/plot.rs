//! Files of plots: the SVG that [`super::chart`] draws, or its picture as PNG; the extension of the name says which.
//!
//! The picture has two pixels for each of the drawing's, so that text is sharp, and fewer where it would be larger than
//! [`MOST_PIXELS`]. Its letters are of one font inside the program (Go Regular, BSD-3-Clause, `fonts/`): the same on every machine.
//! It has Latin, Greek and Cyrillic; other letters in names of files become boxes.

use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{self, Tree};

use super::{Destination, write_whole};

const FONT: &[u8] = include_bytes!("../../fonts/Go-Regular.ttf");
const FONT_FAMILY: &str = "Go";
/// Pixels for each unit of the drawing.
const SCALE: f32 = 2.0;
/// A ranking of very many videos makes a long drawing.
const MOST_PIXELS: f32 = 4e7;

/// A place for a plot, with the form that its name asks for.
#[derive(Debug)]
pub struct PlotPath {
    path: PathBuf,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Svg,
    Png,
}

impl PlotPath {
    /// # Errors
    /// When the name ends in neither `.svg` nor `.png`.
    pub fn new(path: PathBuf) -> anyhow::Result<Self> {
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        let form = match extension.to_str() {
            Some("svg") => Form::Svg,
            Some("png") => Form::Png,
            _ => bail!("plots are SVG or PNG: the name must end in .svg or .png: {}", path.display()),
        };
        Ok(Self { path, form })
    }

    /// Opens the place.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(&self) -> anyhow::Result<Plot> {
        Ok(Plot { destination: Destination::open(Some(&self.path))?, form: self.form })
    }
}

/// A plot's file in the making.
#[derive(Debug)]
pub struct Plot {
    destination: Destination,
    form: Form,
}

impl Plot {
    /// Writes the drawing `svg`; the file takes its place.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(self, svg: &str) -> anyhow::Result<()> {
        let written = match self.form {
            Form::Svg => write_whole(self.destination, svg.as_bytes()),
            Form::Png => picture(svg).and_then(|png| write_whole(self.destination, &png)),
        };
        written.context("cannot write the plot")
    }
}

/// The picture of the drawing `svg`, as a PNG file.
fn picture(svg: &str) -> anyhow::Result<Vec<u8>> {
    let mut options = usvg::Options { font_family: FONT_FAMILY.to_owned(), ..usvg::Options::default() };
    let fonts = options.fontdb_mut();
    fonts.load_font_data(FONT.to_vec());
    fonts.set_sans_serif_family(FONT_FAMILY);
    let drawing = Tree::from_str(svg, &options)?;
    let (width, height) = (drawing.size().width(), drawing.size().height());
    let scale = SCALE.min((MOST_PIXELS / (width * height)).sqrt());
    let pixels = |length: f32| (length * scale).ceil() as u32;
    let mut pixmap = Pixmap::new(pixels(width), pixels(height))
        .ok_or_else(|| anyhow!("the drawing is too large: {width} x {height}"))?;
    resvg::render(&drawing, Transform::from_scale(scale, scale), &mut pixmap.as_mut());
    Ok(pixmap.encode_png()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::chart::{Anchor, PALETTE, Svg};

    /// Width, height and red of every pixel.
    fn decoded(png: &[u8]) -> (usize, usize, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        let samples = info.color_type.samples();
        let red = bytes.chunks(samples).map(|pixel| pixel[0]).collect();
        (info.width as usize, info.height as usize, red)
    }

    fn ink(text: &str) -> usize {
        let mut svg = Svg::new(100.0, 20.0);
        svg.text((2.0, 15.0), 12.0, Anchor::Start, text);
        let (_, _, red) = decoded(&picture(&svg.finish()).unwrap());
        red.iter().filter(|&&red| red < 128).count()
    }

    #[test]
    fn the_picture_shows_lines_dots_and_letters() {
        let mut svg = Svg::new(40.0, 30.0);
        svg.dot((20.0, 15.0), 4.0, PALETTE[0], 1.0);
        let (width, height, red) = decoded(&picture(&svg.finish()).unwrap());
        assert_eq!((width, height), (80, 60));
        assert_eq!((red[30 * width + 40], red[0]), (0, 255), "a blue dot on white ground");
        // Strokes: none without text, more with more of it, in every script of the font.
        assert_eq!(ink(""), 0);
        assert!(ink("I") > 0 && ink("IIII") > 3 * ink("I"), "{} {}", ink("I"), ink("IIII"));
        assert!(ink("score é λ ж …") > ink("score é λ ж"));
    }

    #[test]
    fn long_drawings_are_drawn_smaller() {
        let svg = Svg::new(6000.0, 7000.0).finish();
        let (width, height, _) = decoded(&picture(&svg).unwrap());
        assert!((width * height) as f32 <= 1.01 * MOST_PIXELS && width > 5000, "{width} x {height}");
    }

    #[test]
    fn names_say_the_form() {
        let form = |name: &str| PlotPath::new(PathBuf::from(name)).map(|place| place.form).ok();
        assert_eq!((form("a.svg"), form("b.PNG")), (Some(Form::Svg), Some(Form::Png)));
        assert_eq!((form("a.bmp"), form("png")), (None, None));
    }
}
