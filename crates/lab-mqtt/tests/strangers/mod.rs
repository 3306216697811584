//! What only looks like a broker: it speaks something else, says nothing, or goes on without end.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lab_core::clock::Clock as _;
use lab_mqtt::{Address, Broker, MqttError, Publisher, TlsFiles};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use super::{PATIENCE, Wall, broker, certificates};

/// How long a stranger may take. The pace of those that send byte by byte is a twentieth of it.
const SHORT: Duration = Duration::from_secs(1);
const PACE_NS: u64 = 5_000_000;

/// Listens where no broker of a test does: these have another address of the loopback network.
fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let address = format!("mqtt://{}", listener.local_addr().unwrap());
    (listener, address)
}

/// Returns an address that nobody listens at.
pub(crate) fn nobody() -> String {
    listen().1
}

/// Connects as a device and returns what keeps it from that.
fn refusal(broker: &Broker, patience: Duration) -> MqttError {
    Publisher::connect(broker, "device", patience, &Wall::new()).err().unwrap()
}

/// Sends zeros, one at a time, until the other end has hung up.
fn trickle(stream: &mut TcpStream) {
    let clock = Wall::new();
    while stream.write_all(&[0]).is_ok() {
        clock.wait_until_ns(clock.now_ns() + PACE_NS);
    }
}

/// Answers one connection.
fn serve(listener: TcpListener, answer: impl FnOnce(TcpStream) + Send + 'static) -> JoinHandle<()> {
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        answer(stream);
    })
}

#[test]
fn what_is_no_broker_is_told_from_one_that_is_away() {
    let (listener, address) = listen();
    let server = serve(listener, |mut stream| {
        let mut request = [0; 20];
        stream.read_exact(&mut request).unwrap();
        stream.write_all(&b"HTTP/1.1 400 Bad Request\r\n\r\n".repeat(10)).unwrap();
    });
    let error = refusal(&broker(&address), PATIENCE);
    assert!(matches!(error, MqttError::Violation(_)), "{error}");
    server.join().unwrap();
    let error = refusal(&broker(&nobody()), PATIENCE);
    assert!(matches!(error, MqttError::Unreachable { .. }) && !error.is_lasting(), "{error}");
}

#[test]
fn a_broker_that_says_nothing_is_given_up() {
    // The kernel accepts the connection, and nobody answers it.
    let (_listener, address) = listen();
    let error = refusal(&broker(&address), SHORT);
    assert_eq!(error.to_string(), "the broker did not answer within 1 s");
}

#[test]
fn a_packet_of_any_length_before_the_welcome_is_refused_at_its_head() {
    let (listener, address) = listen();
    let server = serve(listener, |mut stream| {
        // A message of 256 MiB, of which not more than this comes before the client hangs up.
        stream.write_all(b"\x30\xff\xff\xff\x7f").unwrap();
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest));
    });
    let error = refusal(&broker(&address), PATIENCE).to_string();
    assert!(error.ends_with("its first packet is longer than the answer to a connection"), "{error}");
    server.join().unwrap();
}

#[test]
fn an_agreement_on_keys_that_comes_byte_by_byte_is_given_up() {
    let (listener, address) = listen();
    // The head of a record of 16 KiB that is to hold the answer to the client's greeting.
    let server = serve(listener, |mut stream| {
        stream.write_all(&[0x16, 3, 3, 0x40, 0]).unwrap();
        trickle(&mut stream);
    });
    let address = Address::parse(&address.replace("mqtt://", "mqtts://")).unwrap();
    let broker = Broker::new(address, &TlsFiles::default(), None).unwrap();
    let error = refusal(&broker, SHORT).to_string();
    assert_eq!(error, "the broker did not agree on keys within 1 s");
    server.join().unwrap();
}

/// Returns how a server proves that it is the one of the certificates in a folder.
fn server_of(folder: &Path) -> Arc<ServerConfig> {
    let pem = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(&pem("broker.pem")).collect();
    let key = PrivateKeyDer::from_pem_slice(&pem("broker.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.unwrap(), key)
        .unwrap();
    Arc::new(config)
}

#[test]
fn a_welcome_that_comes_byte_by_byte_inside_one_record_is_given_up() {
    // Agreeing on keys takes its share on a busy machine; the record would take 80 s.
    const WHOLE: Duration = Duration::from_secs(2);
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let config = server_of(folder.path());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = serve(listener, move |mut stream| {
        let mut session = ServerConnection::new(config).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut stream).unwrap();
        }
        // The head of a record of 16 KiB that is to hold the welcome.
        stream.write_all(&[0x17, 3, 3, 0x40, 0]).unwrap();
        trickle(&mut stream);
    });
    let ca = folder.path().join("ca.pem");
    let files = TlsFiles { ca: Some(&ca), ..TlsFiles::default() };
    let address = Address::parse(&format!("mqtts://localhost:{port}")).unwrap();
    let broker = Broker::new(address, &files, None).unwrap();
    let error = refusal(&broker, WHOLE).to_string();
    assert_eq!(error, "the broker did not answer within 2 s");
    server.join().unwrap();
}
