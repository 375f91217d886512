//! A page about runs: what happened, pictures, and what ran.
//!
//! [`RunFolder`] and the interval log's [`Digest`] are all that it goes by. `single` and `several` say what
//! stands on a page, `curves`, `timeline`, `shares` and `ratios` draw, and `page` makes one file of it all, which needs
//! nothing else.

mod axis;
mod curves;
mod facts;
mod format;
mod html;
mod page;
mod picture;
mod plot;
mod raster;
mod ratios;
mod several;
mod shares;
mod single;
mod timeline;
mod troubles;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cli::Failure;

use crate::hlog_reader::Digest;
use crate::output_folder::{INTERVAL_LOG, REPORT};
use crate::run_folder::RunFolder;
use page::Page;

/// What page is to be made.
#[derive(Clone, Debug)]
pub struct ReportOptions {
    /// Folders of runs: one at least.
    pub folders: Vec<PathBuf>,
    /// The page; `None`: `report.html`, in the folder if it is one, else here.
    pub to: Option<PathBuf>,
    /// Whether each picture is a file, too, and which.
    pub plots: Option<PlotFormat>,
}

/// What pictures are as files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlotFormat {
    /// Lines.
    Svg,
    /// Pixels.
    Png,
}

/// A run, read.
struct Run {
    /// What the page calls it.
    name: String,
    folder: RunFolder,
    /// Or why there is none.
    log: Result<Digest, String>,
}

/// Makes the page, and returns where it is.
///
/// # Errors
/// A folder is no run: bad input that names it. A file can't be written: environment.
pub fn write(options: &ReportOptions) -> Result<PathBuf, Failure> {
    let names = names(&options.folders);
    let runs = options.folders.iter().zip(names).map(|(path, name)| Run::read(path, name));
    let runs = runs.collect::<Result<Vec<_>, _>>()?;
    let page = match runs.as_slice() {
        [run] => single::page(run),
        runs => several::page(runs),
    };
    let to = options.to.clone().unwrap_or_else(|| match options.folders.as_slice() {
        [folder] => folder.join(REPORT),
        _ => PathBuf::from(REPORT),
    });
    replace(&to, page.html().as_bytes())?;
    if let Some(format) = options.plots {
        write_plots(&page, to.parent().unwrap_or(Path::new("")), format)?;
    }
    Ok(to)
}

fn write_plots(page: &Page, folder: &Path, format: PlotFormat) -> Result<(), Failure> {
    for picture in page.pictures() {
        let (ending, bytes) = match format {
            PlotFormat::Svg => ("svg", picture.as_file().into_bytes()),
            PlotFormat::Png => {
                let png = raster::png(picture);
                ("png", png.map_err(|error| Failure::failed(format_args!("{}: {error}", picture.name)))?)
            }
        };
        replace(&folder.join(format!("{}.{ending}", picture.name)), &bytes)?;
    }
    Ok(())
}

/// Writes a file in one go: who reads an earlier one sees that, or this.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        let name = path.file_name().ok_or_else(|| io::Error::other("it is no file's name"))?;
        // A device, or a pipe: nothing to be put in its place.
        if fs::metadata(path).is_ok_and(|data| !data.is_file()) {
            return fs::write(path, bytes);
        }
        let partial = path.with_file_name(format!(".{}.partial", name.to_string_lossy()));
        fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, path)).inspect_err(|_| {
            let _ = fs::remove_file(&partial);
        })
    };
    write().map_err(|error| {
        Failure::environment(format_args!("{}: {error}; choose another file with --to", path.display()))
    })
}

impl Run {
    fn read(path: &Path, name: String) -> Result<Self, Failure> {
        let folder = RunFolder::read(path, "report")?;
        let log = Digest::read(&path.join(INTERVAL_LOG)).map_err(|error| error.to_string());
        Ok(Self { name, folder, log })
    }
}

/// What the runs are called: by their folders' names, as far as these tell them apart.
fn names(folders: &[PathBuf]) -> Vec<String> {
    let name = |path: &PathBuf| {
        let whole = path.canonicalize().unwrap_or_else(|_| path.clone());
        whole.file_name().map_or_else(|| path.to_string_lossy(), |name| name.to_string_lossy()).into_owned()
    };
    let names: Vec<_> = folders.iter().map(name).collect();
    let is_unique = |name: &String| names.iter().filter(|other| *other == name).count() == 1;
    let all_unique = names.iter().all(is_unique);
    if all_unique { names } else { folders.iter().map(|path| path.to_string_lossy().into_owned()).collect() }
}
