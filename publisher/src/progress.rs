//! Progress on a terminal; nothing anywhere else.

use std::fs;
use std::io::IsTerminal as _;
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use switchback_delta::Task;

use crate::deltas::Progress;

/// The bars of `publish`: one for the image, then one for each task of each delta.
#[derive(Debug)]
pub(crate) struct Bars {
    pack: ProgressBar,
    delta: ProgressBar,
}

impl Bars {
    pub(crate) fn new(image: &Path, silent: bool) -> Self {
        let hidden = silent || !std::io::stderr().is_terminal();
        let target = || {
            if hidden {
                ProgressDrawTarget::hidden()
            } else {
                ProgressDrawTarget::stderr()
            }
        };
        let length = fs::metadata(image).map_or(0, |metadata| metadata.len());
        let pack = "{spinner} compressing {wide_bar} {bytes}/{total_bytes} {eta}";
        let delta = "{spinner} {msg} {wide_bar} {pos}/{len}";
        Self {
            pack: styled(ProgressBar::with_draw_target(Some(length), target()), pack),
            delta: styled(ProgressBar::with_draw_target(Some(0), target()), delta),
        }
    }

    pub(crate) fn show(&self, progress: &Progress<'_>) {
        match progress {
            Progress::Packed(bytes) => self.pack.set_position(*bytes),
            Progress::Chunked(bytes) => {
                self.pack.finish_and_clear();
                self.delta.set_message("chunks");
                self.delta
                    .set_length(self.pack.length().unwrap_or_default());
                self.delta.set_position(*bytes);
            }
            Progress::Delta {
                from,
                task,
                done,
                whole,
            } => {
                self.pack.finish_and_clear();
                let doing = match task {
                    Task::Index => "reading",
                    Task::Unpack => "unpacking",
                    Task::Match => "searching",
                    Task::Code => "coding",
                    Task::Prove => "proving",
                };
                self.delta
                    .set_message(format!("delta from {from}: {doing}"));
                self.delta.set_length(*whole as u64);
                self.delta.set_position(*done as u64);
            }
        }
    }

    pub(crate) fn clear(&self) {
        self.pack.finish_and_clear();
        self.delta.finish_and_clear();
    }
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
