//! tokio-tungstenite as its examples `echo-server` and `server` use it: a stream forwarded to a sink,
//! and a channel to each connection.

use std::{
    io,
    sync::{Arc, Mutex},
};

use futures_util::{StreamExt as _, TryStreamExt as _, future};
use support::Options;
use tokio::{
    net::TcpStream,
    sync::mpsc::{UnboundedSender, unbounded_channel},
};
use tokio_tungstenite::{accept_async, tungstenite::Message};

type Everyone = Arc<Mutex<Vec<UnboundedSender<Message>>>>;

fn main() -> io::Result<()> {
    let options = Options::parse()?;
    let everyone = Everyone::default();
    support::run(options, "tokio-tungstenite", move |stream| {
        let everyone = options.broadcast.then(|| everyone.clone());
        async move {
            match everyone {
                Some(everyone) => broadcast(stream, everyone).await,
                None => echo(stream).await,
            }
        }
    })
}

async fn echo(stream: TcpStream) {
    let Ok(socket) = accept_async(stream).await else { return };
    let (write, read) = socket.split();
    let messages =
        read.try_filter(|message| future::ready(message.is_text() || message.is_binary()));
    let _ = messages.forward(write).await;
}

/// A message goes to everyone through their channels.
async fn broadcast(stream: TcpStream, everyone: Everyone) {
    let Ok(socket) = accept_async(stream).await else { return };
    let (write, mut read) = socket.split();
    let (sender, receiver) = unbounded_channel();
    everyone.lock().unwrap().push(sender);
    let messages = futures_util::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|message| (Ok(message), receiver))
    });
    let outgoing = Box::pin(messages.forward(write));
    let incoming = Box::pin(async {
        while let Some(Ok(message)) = read.next().await {
            if message.is_text() || message.is_binary() {
                // Those who have left have no receiver any more.
                everyone.lock().unwrap().retain(|sender| sender.send(message.clone()).is_ok());
            }
        }
    });
    future::select(outgoing, incoming).await;
}
