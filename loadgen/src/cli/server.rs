//! Which server, and what it is asked for.

use std::net::IpAddr;

use clap::Args;

/// Which server, and what it is asked for.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerOptions {
    /// Where to connect: ws://HOST:PORT/PATH. Of several, connections take turns.
    #[arg(value_name = "URL", required = true)]
    pub(crate) targets: Vec<String>,
    /// A host that is not this machine, and whose owner agrees to the load.
    #[arg(long, value_name = "HOST")]
    pub(crate) allow_target: Vec<String>,
    /// Addresses to connect from, in turns [default: as many of 127/8 as it takes, for targets there]
    #[arg(long, value_name = "ADDR")]
    pub(crate) source: Vec<IpAddr>,
    /// A header of the opening handshake.
    #[arg(long, short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) header: Vec<(String, String)>,
    /// A subprotocol to offer, in order of preference.
    #[arg(long, value_name = "NAME")]
    pub(crate) subprotocol: Vec<String>,
    /// The server's process, if it runs here: its memory and CPU time are reported.
    #[arg(long)]
    pub(crate) pid: Option<u32>,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
