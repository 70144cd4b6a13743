//! A ranking as one HTML page that needs nothing else: pictures and plot are inside.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use juror::Ranking;
use juror_media::{SamplingPlan, TimeWindow, Video};

use super::chart::{self, escaped};
use super::table;

/// Width of a thumbnail, pixels.
const THUMBNAIL_WIDTH: usize = 160;
/// Around the picture that is wanted, seconds of video are decoded.
const DECODED_SECS: f64 = 1.0;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;color:#222;max-width:60rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;width:100%}th,td{padding:.35rem .6rem;border-bottom:1px solid #ddd;text-align:right}\
th:nth-child(2),td:nth-child(2),th:nth-child(3),td:nth-child(3){text-align:left;overflow-wrap:anywhere}\
img{width:160px;display:block}figure{margin:2rem 0;overflow-x:auto}footer{color:#666;font-size:13px}";

/// A picture from the middle of what is watched of a video, as PNG.
///
/// # Errors
/// When the video gives no picture.
pub fn thumbnail(path: &Path, window: TimeWindow) -> anyhow::Result<Vec<u8>> {
    let video = Video::open(path)?;
    let plan = SamplingPlan::evenly(1)?.within(window).decoding_at_most(DECODED_SECS)?;
    let moment = video.moments(&plan)?.next_moment()?.context("it has no frame there")?;
    let picture = moment.shown.picture;
    let height = (THUMBNAIL_WIDTH * picture.height()).div_ceil(picture.width()).clamp(1, 4 * THUMBNAIL_WIDTH);
    let rgb = picture.to_rgb_sized(THUMBNAIL_WIDTH, height)?;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, rgb.width() as u32, rgb.height() as u32);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb.data())?;
    writer.finish()?;
    Ok(bytes)
}

/// The page; `thumbnails` are PNG files, one for each item where there is one.
pub fn ranking(ranking: &Ranking, thumbnails: &[Option<Vec<u8>>]) -> String {
    let mut rows = String::new();
    for (place, item) in ranking.items.iter().enumerate() {
        let picture = thumbnails.get(place).and_then(Option::as_deref).map_or(String::new(), |png| {
            format!("<img alt=\"\" src=\"data:image/png;base64,{}\">", STANDARD.encode(png))
        });
        let interval = item.ci95.map_or("unknown".to_owned(), |[lo, hi]| format!("{lo:.2} to {hi:.2}"));
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            rows,
            "<tr><td>{}{}</td><td>{picture}</td><td>{}</td><td>{:.2}</td><td>{interval}</td>\
             <td>{}</td><td>{}</td><td>{}</td></tr>",
            if item.tied { "=" } else { "" },
            item.rank,
            escaped(&item.path),
            item.score,
            item.wins,
            item.losses,
            item.ties
        );
    }
    let provenance = &ranking.provenance;
    let warnings: String =
        provenance.warnings.iter().map(|warning| format!("<p>{}</p>\n", escaped(warning))).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Ranking of {count} videos</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>Ranking of {count} videos</h1>\n<p>{summary} A rank with = cannot be told from the one above it.</p>\n\
         {warnings}<table>\n<tr><th>rank</th><th></th><th>video</th><th>score</th><th>95 % interval</th><th>won</th>\
         <th>lost</th><th>tied</th></tr>\n{rows}</table>\n<figure>\n{plot}</figure>\n\
         <footer>juror {version}, {model}, seed {seed}</footer>\n</body>\n</html>\n",
        count = ranking.items.len(),
        summary = escaped(&table::ranking::summary(ranking)),
        plot = chart::ranking::draw(ranking),
        version = escaped(&provenance.version),
        model = escaped(&provenance.model.as_ref().map_or_else(
            || "comparisons as given".to_owned(),
            |model| format!("model {} ({})", model.name, model.sha256),
        )),
        seed = provenance.seed,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::table::ranking::tests::ranking as example;

    #[test]
    fn the_page_holds_everything_and_names_cannot_break_it() {
        let page = ranking(&example(), &[Some(b"png".to_vec()), None, None, None]);
        assert_eq!(page.matches("<tr>").count(), 5);
        assert!(page.contains("src=\"data:image/png;base64,cG5n\""));
        assert!(page.contains("c &lt;i&gt;.mp4") && !page.contains("<i>"));
        assert!(!page.contains("src=\"http") && !page.contains("href="), "nothing is fetched");
    }
}
