//! The blocking client through TLS: whom it trusts, who it is, and both directions at once.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use throng::{
    CloseCause, CloseCode, Message,
    client::blocking::{ConnectError, Connector, Error, Phase, Proxy, Tls, TlsError, WebSocket},
};

type Stream = StreamOwned<ServerConnection, TcpStream>;

#[test]
fn messages_come_back() {
    let authority = Authority::new();
    for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
        let config = authority.server(&["localhost"], None, versions);
        let (address, theirs) = serve(config, echo);
        let mut socket = open(address, authority.trusted()).unwrap();
        for len in [0, 1, 125, 16_383, 16_384, 16_385, 70_000, 1 << 20] {
            socket.send(&prose(len)).unwrap();
            assert_eq!(socket.read(), Ok(Some(Message::Text(&prose(len)))), "{len}");
        }
        socket.close(CloseCode::NORMAL, "").unwrap();
        drop(socket);
        let mut stream = theirs.join().unwrap();
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(stream.conn.server_name(), Some("localhost"));
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "TLS was closed as well");
    }
}

#[test]
fn two_threads_two_directions() {
    let authority = Authority::new();
    let (address, theirs) = serve(authority.localhost(), echo);
    let (mut reader, writer) = open(address, authority.trusted()).unwrap().split();
    let writing = thread::spawn(move || {
        (0..5_000).for_each(|n| writer.send(&format!("message {n}")).unwrap());
        writer.close(CloseCode::NORMAL, "");
    });
    for n in 0..5_000 {
        assert_eq!(reader.read(), Ok(Some(Message::Text(&format!("message {n}")))));
    }
    assert_eq!(reader.read(), Ok(None));
    writing.join().unwrap();
    drop(theirs.join().unwrap());
}

/// The server says all that it has to say before it reads: who reads may not wait for who writes.
#[test]
fn reading_goes_on_while_writing_is_stuck() {
    let authority = Authority::new();
    let (address, theirs) = serve(authority.localhost(), |stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        thread::sleep(Duration::from_millis(50)); // for the writer to begin; it need not have
        for _ in 0..200 {
            socket.send(tungstenite::Message::binary(vec![7; 65_536])).unwrap();
        }
        assert_eq!(socket.read().unwrap().len(), 10 << 20);
        socket.close(None).unwrap();
        while socket.read().is_ok() {}
    });
    let (mut reader, writer) = open(address, authority.trusted()).unwrap().split();
    let writing = thread::spawn(move || writer.send(&vec![9; 10 << 20]));
    let mut len = 0;
    while let Some(message) = reader.read().unwrap() {
        len += message.len();
    }
    assert_eq!(len, 200 * 65_536);
    writing.join().unwrap().unwrap();
    theirs.join().unwrap();
}

#[test]
fn a_timeout_costs_nothing() {
    let authority = Authority::new();
    let (address, theirs) = serve(authority.localhost(), echo);
    let mut socket = open(address, authority.trusted()).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(5)));
    assert_eq!(socket.read(), Err(Error::TimedOut));
    socket.set_read_timeout(Some(PATIENCE));
    socket.send("still here").unwrap();
    assert_eq!(socket.read(), Ok(Some(Message::Text("still here"))));
    drop(socket);
    theirs.join().unwrap();
}

#[test]
fn who_is_not_trusted() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let failed = |address, tls| match open(address, tls).unwrap_err() {
        ConnectError::Tls(error) => error,
        error => panic!("{error:?}"),
    };

    let (address, theirs) = serve(authority.localhost(), drop);
    assert_eq!(failed(address, stranger.trusted()), TlsError::UnknownAuthority);
    drop(theirs.join());

    let (address, theirs) = serve(authority.localhost(), drop);
    assert_eq!(failed(address, Tls::native()), TlsError::UnknownAuthority);
    drop(theirs.join());

    let (address, theirs) = serve(authority.server(&["other.example"], None, BOTH), drop);
    let error = failed(address, authority.trusted());
    assert!(matches!(&error, TlsError::WrongName(why) if why.contains("localhost")), "{error}");
    drop(theirs.join());

    let (address, theirs) = serve(authority.server(&["other.example"], None, BOTH), echo);
    drop(open(address, authority.trusted().server_name("other.example")).unwrap());
    drop(theirs.join().unwrap());
}

#[test]
fn a_client_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let config = authority.server(&["localhost"], Some(&clients), BOTH);

    let (address, theirs) = serve(config.clone(), echo);
    let (chain, key) = clients.issue(&["somebody"]);
    let tls = authority.trusted().identity(chain.as_bytes(), key.as_bytes()).unwrap();
    let mut socket = open(address, tls.clone()).unwrap();
    socket.send("it is me").unwrap();
    assert_eq!(socket.read(), Ok(Some(Message::Text("it is me"))));
    drop(socket);
    let stream = theirs.join().unwrap();
    assert_eq!(stream.conn.peer_certificates().map(<[_]>::len), Some(1));

    // TLS 1.3 hears of it only behind the handshake (RFC 8446 §4.4.2.4).
    let (address, theirs) = serve(config, |mut stream| {
        assert!(stream.read(&mut [0; 16]).is_err());
    });
    let error = open(address, authority.trusted()).unwrap_err();
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
    theirs.join().unwrap();

    let (_, other_key) = clients.issue(&["somebody"]);
    let error = tls.identity(chain.as_bytes(), other_key.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("identity"), "{error}");
}

#[test]
fn settings_that_are_none() {
    let authority = Authority::new();
    for pem in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "plain text"]
    {
        assert!(Tls::with_roots(pem.as_bytes()).is_err(), "{pem:?}");
    }
    assert!(authority.trusted().identity(b"", b"").is_err());
    let connector = Connector::to("wss://127.0.0.1:1/").tls(authority.trusted().server_name("a b"));
    assert!(matches!(connector.connect(), Err(ConnectError::Setting(_))));
}

#[test]
fn what_is_no_tls() {
    let authority = Authority::new();
    for (answer, is_expected) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], true),
        (b"\x15\x03\x01\x00\x02\x02\x28", true), // an alert: handshake failure
        (b"", false),
        (b"\x16\x03", false),
    ] {
        let (address, theirs) = plain(move |mut stream| {
            stream.read_exact(&mut [0; 1]).unwrap();
            stream.write_all(answer).unwrap();
        });
        let error = open(address, authority.trusted()).unwrap_err();
        let is_tls = matches!(error, ConnectError::Tls(_));
        let is_lost = matches!(error, ConnectError::Lost { phase: Phase::Tls, .. });
        assert!(if is_expected { is_tls } else { is_lost }, "{answer:?}: {error:?}");
        theirs.join().unwrap();
    }
}

#[test]
fn the_handshake_has_an_end() {
    let authority = Authority::new();
    let (address, theirs) = plain(|mut stream| {
        // A record that is long in coming.
        stream.write_all(b"\x16\x03\x03\x40\x00").unwrap();
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(1));
        }
    });
    let error = connector(address, authority.trusted())
        .handshake_timeout(Some(Duration::from_millis(100)))
        .connect()
        .unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut(Phase::Tls)), "{error:?}");
    theirs.join().unwrap();
}

#[test]
fn records_that_drip_do_not_stretch_a_read() {
    let authority = Authority::new();
    let (address, theirs) = serve(authority.localhost(), |stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        while socket.send(tungstenite::Message::Ping(Vec::new().into())).is_ok() {
            thread::sleep(Duration::from_millis(1));
        }
    });
    let mut socket = open(address, authority.trusted()).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50)));
    assert_eq!(socket.read(), Err(Error::TimedOut));
    drop(socket);
    theirs.join().unwrap();
}

#[test]
fn a_connection_that_is_cut_is_lost() {
    let authority = Authority::new();
    let (address, theirs) = serve(authority.localhost(), |stream| {
        drop(tungstenite::accept(stream).unwrap());
    });
    let mut socket = open(address, authority.trusted()).unwrap();
    assert!(matches!(socket.read(), Err(Error::Ended(CloseCause::Lost(_)))));
    theirs.join().unwrap();
}

#[test]
fn through_a_proxy() {
    let authority = Authority::new();
    let (address, theirs) = serve(authority.localhost(), echo);
    let (proxy, passing) = plain(move |mut stream| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let other = TcpStream::connect(address).unwrap();
        let (mut from, mut to) = (stream.try_clone().unwrap(), other.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut from, &mut to));
        let (mut from, mut to) = (other, stream);
        let _ = std::io::copy(&mut from, &mut to);
        String::from_utf8(head).unwrap()
    });
    let mut socket = connector(address, authority.trusted())
        .proxy(Proxy::to(&format!("http://{proxy}")).unwrap())
        .connect()
        .unwrap();
    socket.send("through").unwrap();
    assert_eq!(socket.read(), Ok(Some(Message::Text("through"))));
    socket.close(CloseCode::NORMAL, "").unwrap();
    drop(socket);
    drop(theirs.join().unwrap());
    let head = passing.join().unwrap();
    assert!(head.starts_with(&format!("CONNECT localhost:{} ", address.port())), "{head}");
}

#[test]
fn no_redirect_leads_away_from_tls() {
    let authority = Authority::new();
    let (address, theirs) = serve(authority.localhost(), |mut stream| {
        let _ = stream.read(&mut [0; 4096]).unwrap();
        let answer = "HTTP/1.1 302 x\r\nLocation: ws://localhost/\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let error = connector(address, authority.trusted()).redirects(3).connect().unwrap_err();
    let ConnectError::Redirect { location, reason } = error else { panic!("{error:?}") };
    assert_eq!((&*location, reason), ("ws://localhost/", "it leads away from TLS"));
    theirs.join().unwrap();

    let (there, theirs) = serve(authority.localhost(), echo);
    let (here, _redirects) = plain(move |mut stream| {
        let _ = stream.read(&mut [0; 4096]).unwrap();
        let to = format!("https://localhost:{}/x", there.port());
        let answer = format!("HTTP/1.1 302 x\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let connector = Connector::to(&format!("ws://{here}/")).tls(authority.trusted()).redirects(1);
    drop(connector.connect().unwrap());
    drop(theirs.join().unwrap());
}

// ---- Props ----

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(10);

const BOTH: &[&rustls::SupportedProtocolVersion] =
    &[&rustls::version::TLS13, &rustls::version::TLS12];

/// Somebody who vouches for others.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn trusted(&self) -> Tls {
        Tls::with_roots(self.0.pem().as_bytes()).unwrap()
    }

    /// A certificate for these names, and its key.
    fn issue(&self, names: &[&str]) -> (String, String) {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn localhost(&self) -> Arc<ServerConfig> {
        self.server(&["localhost"], None, BOTH)
    }

    fn server(
        &self,
        names: &[&str],
        clients: Option<&Authority>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        let (chain, key) = self.issue(names);
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.0.der().clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

fn prose(len: usize) -> String {
    ('a'..='z').cycle().take(len).collect()
}

/// A listener that does with its one connection what it likes.
fn plain<T: Send + 'static>(
    behave: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        behave(stream)
    });
    (address, thread)
}

/// The same through TLS.
fn serve<T: Send + 'static>(
    config: Arc<ServerConfig>,
    behave: impl FnOnce(Stream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    plain(move |mut stream| {
        let mut connection = ServerConnection::new(config).unwrap();
        while connection.is_handshaking() && connection.complete_io(&mut stream).is_ok() {}
        behave(StreamOwned::new(connection, stream))
    })
}

/// Sends back what comes, until the WebSocket is over.
fn echo(stream: Stream) -> Stream {
    let mut socket = tungstenite::accept(stream).unwrap();
    while let Ok(message) = socket.read() {
        if message.is_text() || message.is_binary() {
            socket.send(message).unwrap();
        }
    }
    let _ = socket.flush();
    socket.into_inner()
}

fn connector(address: SocketAddr, tls: Tls) -> Connector {
    Connector::to(&format!("wss://localhost:{}/", address.port())).tls(tls)
}

fn open(address: SocketAddr, tls: Tls) -> Result<WebSocket, ConnectError> {
    let mut socket = connector(address, tls).connect()?;
    socket.set_read_timeout(Some(PATIENCE));
    Ok(socket)
}
