//! `towline bench report`: reports to the tables and charts of docs/BENCHMARKS.md.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{
    bench::document,
    cli::{
        args::ReportArgs,
        exit::{Exit, Failure},
    },
};

/// The document with the markers.
const DOCUMENT: &str = "BENCHMARKS.md";
/// Where its charts are, beside it.
const CHARTS: &str = "bench";

pub(super) fn run(args: &ReportArgs) -> anyhow::Result<Exit> {
    let page = args.docs.join(DOCUMENT);
    let before = fs::read_to_string(&page)
        .with_context(|| format!("cannot read {}; --docs names its folder", page.display()))?;
    let mut text = before.clone();
    let mut texts = Vec::new();
    for file in &args.files {
        let json = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let section = document::section(&json).with_context(|| file.display().to_string())?;
        text = document::put(&text, &section)
            .with_context(|| format!("{} of {}", page.display(), file.display()))?;
        let charts = section.charts.into_iter();
        texts.extend(charts.map(|(name, svg)| (args.docs.join(CHARTS).join(name), svg)));
    }
    texts.push((page, text));
    if args.check {
        return check(&texts);
    }
    fs::create_dir_all(args.docs.join(CHARTS))?;
    for (path, text) in &texts {
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(Exit::Ok)
}

fn check(texts: &[(PathBuf, String)]) -> anyhow::Result<Exit> {
    let mut stale = Vec::new();
    for (path, text) in texts {
        if !says(path, text)? {
            stale.push(path.display().to_string());
        }
    }
    if stale.is_empty() {
        return Ok(Exit::Ok);
    }
    Err(Failure::Failed(format!(
        "{} does not say what the reports do: run the same without --check",
        stale.join(", ")
    ))
    .into())
}

fn says(path: &Path, text: &str) -> anyhow::Result<bool> {
    match fs::read_to_string(path) {
        Ok(found) => Ok(found == text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
