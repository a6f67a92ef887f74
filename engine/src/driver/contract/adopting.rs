//! Scenes: sockets that were connected elsewhere.

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
};

use bytes::Bytes;

use super::{
    super::{Driver, Op, Payload, Settings, socket::prepare},
    Event, Make,
    peer::{connect, is_over, read_exactly},
    stage::{on_stage, on_stage_with},
};

/// A socket as the driver gets it, and its peer.
fn pair() -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = connect(listener.local_addr().unwrap());
    let socket = OwnedFd::from(listener.accept().unwrap().0);
    assert_eq!(prepare(&socket).unwrap(), Some(peer.local_addr().unwrap()));
    (socket, peer)
}

pub(crate) fn adopts_and_is_heard<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (socket, mut peer) = pair();
        let token = stage.adopt(socket);
        stage.connected(token);
        stage.send(token, Payload::Shared(Bytes::from_static(b"hello")), false);
        stage.turn();
        assert_eq!(read_exactly(&mut peer, 5), b"hello");
        peer.write_all(b"hello, too").unwrap();
        assert_eq!(stage.receive(token, 10), b"hello, too");
        drop(peer);
        stage.finished(token);
        stage.close(token);
    });
}

pub(crate) fn adopts_and_hears_what_came_first<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (socket, mut peer) = pair();
        peer.write_all(b"I was here before").unwrap();
        drop(peer);
        let token = stage.adopt(socket);
        // `Connected` comes first, says the witness.
        stage.connected(token);
        assert_eq!(stage.receive(token, 17), b"I was here before");
        stage.finished(token);
        stage.close(token);
    });
}

pub(crate) fn adopts_of_another_family<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (socket, mut peer) = UnixStream::pair().unwrap();
        let socket = OwnedFd::from(socket);
        assert_eq!(prepare(&socket).unwrap(), None);
        let token = stage.adopt(socket);
        stage.connected(token);
        peer.write_all(b"hello").unwrap();
        assert_eq!(stage.receive(token, 5), b"hello");
        stage.close(token);
    });
}

pub(crate) fn adopts_many_at_once<D: Driver>(make: impl Make<D>) {
    const COUNT: usize = 100;
    on_stage(make, |stage| {
        let (sockets, mut peers): (Vec<_>, Vec<_>) = (0..COUNT).map(|_| pair()).unzip();
        let tokens: Vec<_> = sockets.into_iter().map(|socket| stage.adopt(socket)).collect();
        for _ in 0..COUNT {
            stage.until("`Connected`", |_, event| match event {
                Event::Connected(_) => Some(()),
                other => panic!("{other:?}"),
            });
        }
        for (n, (peer, &token)) in peers.iter_mut().zip(&tokens).enumerate() {
            peer.write_all(&[n as u8]).unwrap();
            assert_eq!(stage.receive(token, 1), [n as u8]);
        }
        tokens.into_iter().for_each(|token| stage.close(token));
        peers.iter_mut().for_each(|peer| assert!(is_over(peer)));
    });
}

pub(crate) fn adopts_no_more_than_it_may_hold<D: Driver>(make: impl Make<D>) {
    let settings = Settings { sockets_max: 1, ..Settings::default() };
    on_stage_with(make, settings, 1, |mut stage| {
        let (first, _peer) = pair();
        let first = stage.adopt(first);
        stage.connected(first);
        let (second, mut refused) = pair();
        let second = stage.adopt(second);
        stage.failed(second);
        stage.close(second);
        assert!(is_over(&mut refused));
        stage.close(first);
        let (third, _peer) = pair();
        let third = stage.adopt(third);
        stage.connected(third);
        stage.close(third);
    });
}

pub(crate) fn closes_while_it_adopts<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        for end in [|| Op::Close, || Op::Abort] {
            let (socket, mut peer) = pair();
            peer.write_all(b"hello").unwrap();
            let token = stage.adopt(socket);
            stage.end(end(), token);
            assert!(is_over(&mut peer));
        }
    });
}
