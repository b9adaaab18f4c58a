//! Writes the seeds of the fuzz targets into a folder: `cargo run --example fuzz_seeds -- fuzz/corpus`.

use std::path::PathBuf;

use hotstuff2_sync_testkit::fuzz::{TARGETS, seeds};

fn main() -> std::io::Result<()> {
    let corpus = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| "fuzz/corpus".into()));
    for (name, _) in TARGETS {
        let folder = corpus.join(name);
        std::fs::create_dir_all(&folder)?;
        for (number, seed) in seeds(name).iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
    }
    Ok(())
}
