//! What a run says, in each of the forms it can be asked for.

pub(crate) mod assert;
pub(crate) mod compare;
pub(crate) mod csv;
mod grid;
pub(crate) mod hdr;
pub(crate) mod html;
pub(crate) mod json;
pub(crate) mod live;
#[cfg(test)]
mod sample;
mod sections;
pub(crate) mod table;
mod units;
