//! Draws the demo as a terminal shows it, for the README: `cargo run --release -p hs2-sync --example picture > docs/demo.svg`
//! after `cargo build --release --bin hs2-sync`. Needs `script` of util-linux, which gives the demo its terminal.
//!
//! Arguments go on to `hs2-sync`; without one that is `demo`.

use std::error::Error;
use std::fmt::Write as _;
use std::num::NonZeroU16;
use std::process::{Command, Stdio};

use vt100::{Color, Parser};

/// Size of the terminal, in characters.
const COLUMNS: u16 = 80;
const ROWS: u16 = 40;
/// Size of a character and of the frame around all of them, in pixels.
const WIDTH: f64 = 8.4;
const HEIGHT: f64 = 19.0;
const FRAME: f64 = 16.0;

/// A piece of a line in one style.
struct Piece {
    column: u16,
    text: String,
    colour: Color,
    bold: bool,
    dim: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let own = std::env::current_exe()?;
    let command = own.parent().and_then(|folder| folder.parent()).ok_or("this runs from cargo's folder")?;
    let command = command.join("hs2-sync");
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if words.is_empty() {
        words.push("demo".to_owned());
    }
    let line = format!("stty cols {COLUMNS} rows {ROWS}; exec {} {}", command.display(), words.join(" "));
    let shown = Command::new("script")
        .args(["-q", "-e", "-c", &line, "/dev/null"])
        .env("TERM", "xterm-256color")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("script, which gives the demo a terminal, can't be run: {error}"))?;
    if !shown.status.success() {
        return Err(format!("`{line}` failed: {}", String::from_utf8_lossy(&shown.stdout)).into());
    }
    let size = |count| NonZeroU16::new(count).ok_or("the terminal has a size");
    let mut terminal = Parser::new(size(ROWS)?, size(COLUMNS)?, 0);
    terminal.process(&shown.stdout);
    print!("{}", drawn(&format!("$ hs2-sync {}", words.join(" ")), terminal.screen()));
    Ok(())
}

/// The pieces of a row, without the blanks at its end.
fn pieces(screen: &vt100::Screen, row: u16) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for column in 0..COLUMNS {
        let Some(cell) = screen.cell(row, column) else { continue };
        let text = if cell.has_contents() { cell.contents() } else { " " };
        let (colour, bold, dim) = (cell.fgcolor(), cell.bold(), cell.dim());
        match pieces.last_mut() {
            Some(last) if (last.colour, last.bold, last.dim) == (colour, bold, dim) => last.text.push_str(text),
            _ => pieces.push(Piece { column, text: text.to_owned(), colour, bold, dim }),
        }
    }
    while pieces.last().is_some_and(|last| last.text.trim().is_empty()) {
        pieces.pop();
    }
    pieces
}

fn drawn(prompt: &str, screen: &vt100::Screen) -> String {
    let mut rows: Vec<Vec<Piece>> = (0..ROWS).map(|row| pieces(screen, row)).collect();
    while rows.last().is_some_and(Vec::is_empty) {
        rows.pop();
    }
    let prompt = Piece { column: 0, text: prompt.to_owned(), colour: Color::Default, bold: true, dim: false };
    rows.insert(0, vec![prompt]);
    let (width, height) = (f64::from(COLUMNS) * WIDTH + 2.0 * FRAME, rows.len() as f64 * HEIGHT + 2.0 * FRAME);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         role=\"img\" aria-label=\"hs2-sync in a terminal\">\n<rect width=\"100%\" height=\"100%\" rx=\"10\" fill=\"#16191f\"/>\n\
         <g font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"14\" fill=\"#d7dae0\">\n"
    );
    for (row, pieces) in rows.iter().enumerate() {
        let y = FRAME + (row as f64 + 0.75) * HEIGHT;
        for Piece { column, text, colour, bold, dim } in pieces {
            if text.trim().is_empty() {
                continue;
            }
            let colour = match colour {
                Color::Idx(1) => " fill=\"#ff6b6b\"",
                Color::Idx(2) => " fill=\"#69db7c\"",
                Color::Idx(6) => " fill=\"#4dc4d6\"",
                _ => "",
            };
            let bold = if *bold { " font-weight=\"bold\"" } else { "" };
            let dim = if *dim { " opacity=\"0.6\"" } else { "" };
            let words = text.trim_start();
            let x = FRAME + (f64::from(*column) + (text.chars().count() - words.chars().count()) as f64) * WIDTH;
            let words = words.trim_end();
            let length = words.chars().count() as f64 * WIDTH;
            let words = words.replace('&', "&amp;").replace('<', "&lt;").replace("  ", "\u{a0}\u{a0}");
            // Set to the terminal's width, whatever font there is.
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\"{colour}{bold}{dim}>{words}</text>"
            );
        }
    }
    svg + "</g>\n</svg>\n"
}
