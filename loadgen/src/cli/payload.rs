//! What messages are made of.

use std::{fs, path::PathBuf};

use clap::Args;

use crate::payload::{Composer, Kind, PLACEHOLDER, STAMP_LEN};

/// What messages are made of.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Messages")]
pub(crate) struct PayloadOptions {
    /// Bytes of payload. From 48 on, order and identity of messages are checked, too.
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    pub(crate) size: usize,
    /// Text or bytes.
    #[arg(long, value_enum, default_value_t = Kind::Binary)]
    pub(crate) kind: Kind,
    /// What to put around the payload, which goes where this says {payload}.
    #[arg(long, value_name = "TEXT", conflicts_with = "payload_file")]
    pub(crate) template: Option<String>,
    /// The same from a file. One that has no {payload} is sent as it is.
    #[arg(long, value_name = "FILE")]
    pub(crate) payload_file: Option<PathBuf>,
}

impl PayloadOptions {
    /// Makes messages of run number `run` as these options say.
    ///
    /// # Errors
    ///
    /// A sentence that names the option.
    pub(crate) fn composer(&self, run: u16) -> Result<Composer, String> {
        let file = match &self.payload_file {
            Some(path) => {
                let unreadable = |error| format!("--payload-file {}: {error}", path.display());
                Some(fs::read(path).map_err(unreadable)?)
            }
            None => None,
        };
        if let Some(template) = &self.template
            && !template.contains(PLACEHOLDER)
        {
            return Err(format!("--template {template:?}: it has no {PLACEHOLDER}"));
        }
        let template = file.as_deref().or(self.template.as_ref().map(String::as_bytes));
        Composer::new(self.kind, self.size, template, run).map_err(|error| error.to_string())
    }

    /// What is not checked with such messages, in a sentence, if anything is.
    pub(crate) fn caveat(&self, composer: &Composer) -> Option<String> {
        (!composer.is_stamped()).then(|| {
            format!(
                "messages of {} bytes have no room for a stamp of {STAMP_LEN}: contents and numbers \
                 are checked, order and duplicates are not",
                composer.message_len()
            )
        })
    }
}
