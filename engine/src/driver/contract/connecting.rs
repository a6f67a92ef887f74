//! Scenes: connecting.

use std::{
    io::{ErrorKind, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    os::unix::net as unix,
    thread,
};

use bytes::Bytes;

use super::{
    super::{Driver, Op, Payload, Route, Target},
    Event, Make,
    peer::{connect, is_over, join, read_exactly},
    stage::on_stage,
};

/// A listener that the driver does not have, and the way to it.
fn elsewhere() -> (TcpListener, Route) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let route = Route::to(Target::Tcp(listener.local_addr().unwrap()));
    (listener, route)
}

fn hello() -> Payload {
    Payload::Shared(Bytes::from_static(b"hello"))
}

pub(crate) fn connects_and_is_heard<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (listener, route) = elsewhere();
        let token = stage.dial(route);
        stage.connected(token);
        let (mut peer, _) = listener.accept().unwrap();
        stage.send(token, hello(), false);
        stage.turn();
        assert_eq!(read_exactly(&mut peer, 5), b"hello");
        peer.write_all(b"hello, too").unwrap();
        assert_eq!(stage.receive(token, 10), b"hello, too");
        drop(peer);
        stage.finished(token);
        stage.close(token);
    });
}

pub(crate) fn connects_and_hears_what_came_first<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (listener, route) = elsewhere();
        let peer = thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            peer.write_all(b"welcome").unwrap();
            peer
        });
        let token = stage.dial(route);
        // `Connected` comes first, says the witness.
        stage.connected(token);
        assert_eq!(stage.receive(token, 7), b"welcome");
        drop(join(peer));
        stage.finished(token);
        stage.close(token);
    });
}

pub(crate) fn connects_from_an_address<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (listener, route) = elsewhere();
        for last in 2..5 {
            let source = IpAddr::from(Ipv4Addr::new(127, 0, 0, last));
            let token = stage.dial(Route { source: Some(source), ..route.clone() });
            stage.connected(token);
            let (_peer, address) = listener.accept().unwrap();
            assert_eq!(address.ip(), source);
            stage.close(token);
        }
        let nobodys = Some(IpAddr::from([203, 0, 113, 1]));
        let token = stage.dial(Route { source: nobodys, ..route });
        assert_eq!(stage.failed(token).kind(), ErrorKind::AddrNotAvailable);
        stage.close(token);
    });
}

pub(crate) fn connects_to_a_path<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let path = std::env::temp_dir().join(format!(
            "throng-contract-{}-{:?}",
            std::process::id(),
            thread::current().id()
        ));
        let _ = std::fs::remove_file(&path);
        let listener = unix::UnixListener::bind(&path).unwrap();
        let token = stage.dial(Route::to(Target::Unix(path.clone())));
        stage.connected(token);
        std::fs::remove_file(&path).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"welcome").unwrap();
        assert_eq!(stage.receive(token, 7), b"welcome");
        stage.close(token);
        let token = stage.dial(Route::to(Target::Unix(path)));
        assert_eq!(stage.failed(token).kind(), ErrorKind::NotFound);
        stage.close(token);
    });
}

pub(crate) fn connects_many_at_once<D: Driver>(make: impl Make<D>) {
    const COUNT: usize = 100; // fewer than the listener's queue holds
    on_stage(make, |stage| {
        let (listener, route) = elsewhere();
        let peers = thread::spawn(move || {
            let peers = (0..COUNT).map(|_| listener.accept().unwrap().0);
            peers.collect::<Vec<_>>()
        });
        let tokens: Vec<_> = (0..COUNT).map(|_| stage.dial(route.clone())).collect();
        let mut connected = 0;
        while connected < COUNT {
            stage.until("`Connected`", |_, event| match event {
                Event::Connected(_) => Some(()),
                other => panic!("{other:?}"),
            });
            connected += 1;
        }
        let peers = join(peers);
        for token in tokens {
            stage.close(token);
        }
        drop(peers);
    });
}

pub(crate) fn fails_where_nobody_listens<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (listener, route) = elsewhere();
        drop(listener);
        let token = stage.dial(route);
        assert_eq!(stage.failed(token).kind(), ErrorKind::ConnectionRefused);
        stage.quiet("it fails once");
        stage.close(token);
    });
}

/// A socket of one family cannot come from an address of the other.
pub(crate) fn fails_where_no_socket_can_be<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        let (_listener, route) = elsewhere();
        let source = Some(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]));
        let token = stage.dial(Route { source, ..route });
        stage.failed(token);
        stage.close(token);
    });
}

pub(crate) fn closes_while_it_connects<D: Driver>(make: impl Make<D>) {
    on_stage(make, |stage| {
        // A listener whose queue is full answers nobody.
        let full =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        full.listen(0).unwrap();
        let address = full.local_addr().unwrap().as_socket().unwrap();
        let mut first = connect(address);
        let route = Route::to(Target::Tcp(address));
        for end in [|| Op::Close, || Op::Abort] {
            for turns in 0..4 {
                let token = stage.dial(route.clone());
                (0..turns).for_each(|_| stage.turn());
                assert!(stage.backlog.is_empty(), "{:?}", stage.backlog);
                stage.end(end(), token);
            }
        }
        drop(full);
        assert!(is_over(&mut first));
    });
}
