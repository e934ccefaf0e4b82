//! Prints the ratios that the project has set itself, from what the last run of the other benchmarks has measured, and draws
//! them: `cargo bench --bench report`. It runs last in `cargo bench`.
//!
//! A time is the median of criterion's samples. The spread of a ratio goes from the lower quartile of the one over the upper
//! quartile of the other to the reverse.

mod held;
mod measured;
mod plot;
mod relay;
mod rows;
#[path = "../support/target.rs"]
mod target;

use std::fs;

use self::{measured::Measured, rows::rows, target::target_folder};

fn main() {
    let folder = target_folder();
    let measured = Measured::read(&folder);
    let rows = rows(&measured);
    let mut text = String::from(
        "| what | must be | is | spread | by instructions | |\n|---|---|---|---|---|---|\n",
    );
    for row in &rows {
        text += &row.line();
    }
    text += &format!("\n{}", measured.table());
    println!("{text}");
    let drawing = plot::draw(&rows);
    for (name, content) in [("bench-report.md", &text), ("bench-report.svg", &drawing)] {
        let path = folder.join(name);
        match fs::write(&path, content) {
            Ok(()) => println!("written: {}", path.display()),
            Err(error) => println!("{} can't be written: {error}", path.display()),
        }
    }
}
