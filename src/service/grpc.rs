//! Calls over gRPC with one message each way, on HTTP/2 without a framework: the caller's thread does all of it, so that
//! there are no threads that a fork would lose.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Connection, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, TE, USER_AGENT};
use http::{HeaderValue, Request, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::service::address::{Address, TOKEN};
use crate::service::http::{OVERLOADED, TLS, shown};
use crate::service::retry::Failure;
use crate::service::token::Token;

/// How much a server may send before we have read it: of one answer, and of all on a connection.
const WINDOW: u32 = 1 << 20;
/// How many bytes headers and trailers may have.
const MAX_HEADERS: u32 = 32 << 10;
/// Connections that are kept for the next calls.
const SPARE: usize = 64;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection, which does one call at a time.
struct Open {
    requests: SendRequest<Bytes>,
    driver: Pin<Box<Connection<Box<dyn Stream>, Bytes>>>,
}

/// Connections to one server.
pub(super) struct Grpc {
    runtime: Runtime,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    host: String,
    port: u16,
    authority: String,
    token: Option<Token>,
    idle: Mutex<Vec<Open>>,
}

impl Grpc {
    pub(super) fn new(address: &Address, token: Option<Token>) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::lasting(format!("cannot be called from here: {error}")))?;
        let host = address.host().trim_matches(['[', ']']).to_string();
        let tls = match address.tls() {
            false => None,
            true => {
                let name = ServerName::try_from(host.clone());
                Some((connector()?, name.map_err(|error| Failure::lasting(format!("has no name for TLS: {error}")))?))
            }
        };
        let authority = format!("{}:{}", address.host(), address.port());
        Ok(Self { runtime, tls, host, port: address.port(), authority, token, idle: Mutex::default() })
    }

    /// Sends `message` to the method `path`; reads at most `limit` bytes of the answer, for at most the time `left`.
    pub(super) fn call(&self, path: &str, message: &[u8], limit: usize, left: Duration) -> Result<Vec<u8>, Failure> {
        let late = || Failure::lasting(format!("gave no (whole) answer in time{OVERLOADED}"));
        let call = async { timeout(left, self.exchange(path, message, limit, left)).await };
        self.runtime.block_on(call).unwrap_or_else(|_| Err(late()))
    }

    async fn exchange(&self, path: &str, message: &[u8], limit: usize, left: Duration) -> Result<Vec<u8>, Failure> {
        let spare = self.idle().pop();
        let reused = spare.is_some();
        let mut open = match spare {
            Some(open) => open,
            None => self.connect().await?,
        };
        let request = self.request(path, left)?;
        let length = u32::try_from(message.len()).map_err(|_| Failure::refused("takes no message of 4 GiB"))?;
        let body = Bytes::from([&[0], &length.to_be_bytes()[..], message].concat());
        let answer = match open.exchange(request, body, limit).await {
            Ok(answer) => answer,
            // A server may end a connection that nobody used for a while.
            Err(Trouble::Ended(reason)) if reused => return Err(Failure::stale(reason)),
            Err(Trouble::Ended(reason)) => return Err(Failure::passing(reason, None)),
            Err(Trouble::TooMuch) => {
                return Err(Failure::lasting(format!(
                    "answers with more than {limit} bytes, which no vectors of this model have"
                )));
            }
        };
        let mut idle = self.idle();
        if idle.len() < SPARE {
            idle.push(open);
        }
        drop(idle);
        self.judged(answer)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Open>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<Open, Failure> {
        let advice = "is it running, and the port right?";
        let unreachable = |error: &dyn std::fmt::Display| {
            Failure::passing(format!("cannot be reached: {}; {advice}", shown(&error.to_string(), None)), None)
        };
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| unreachable(&error))?;
        // Without this small messages wait for one another.
        let _ = stream.set_nodelay(true);
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some((connector, name)) => {
                let secure = connector.connect(name.clone(), stream).await;
                Box::new(secure.map_err(|error| Failure::lasting(format!("no TLS with it: {error}; {TLS}")))?)
            }
        };
        let mut builder = h2::client::Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(MAX_HEADERS);
        let (requests, driver) = builder.handshake(stream).await.map_err(|error| unreachable(&error))?;
        Ok(Open { requests, driver: Box::pin(driver) })
    }

    fn request(&self, path: &str, left: Duration) -> Result<Request<()>, Failure> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut request = Request::post(format!("{scheme}://{}{path}", self.authority))
            .version(Version::HTTP_2)
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            .header(USER_AGENT, concat!("plushie_search/", env!("CARGO_PKG_VERSION")))
            // Eight digits at most, so milliseconds.
            .header("grpc-timeout", format!("{}m", left.as_millis().clamp(1, 99_999_999)));
        if let Some(token) = &self.token {
            let mut value = HeaderValue::try_from(token.header()).map_err(|_| Failure::lasting("got a bad token"))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.body(()).map_err(|error| Failure::lasting(format!("cannot be asked for that: {error}")))
    }

    /// The message of an answer, or what its status means.
    fn judged(&self, answer: Answer) -> Result<Vec<u8>, Failure> {
        let header = |name: &str| answer.trailers.get(name).and_then(|value| value.to_str().ok());
        let status: u32 = match header("grpc-status").map(str::parse) {
            Some(Ok(status)) => status,
            _ if answer.status == 503 || answer.status == 502 || answer.status == 429 || answer.status == 504 => 14,
            _ => {
                let code = answer.status;
                return Err(Failure::lasting(format!("answered with the HTTP status {code}, and is no gRPC server")));
            }
        };
        if status == 0 {
            return match answer.body.split_first_chunk::<5>() {
                Some(([0, length @ ..], message)) if u32::from_be_bytes(*length) as usize == message.len() => {
                    Ok(message.to_vec())
                }
                _ => Err(Failure::lasting("answers in a way that cannot be read: no whole, plain message")),
            };
        }
        let said = header("grpc-message").map_or_else(String::new, unescaped);
        let said = shown(&said, self.token.as_ref());
        let mut reason = format!("answered with the status {status}{}", name(status));
        if !said.is_empty() {
            reason.push_str(&format!(", {said:?}"));
        }
        let too_large = status == 8 && said.contains("larger than max");
        reason.push_str(match status {
            // A server told how long it has may say that it is late before it is found to be.
            4 => OVERLOADED,
            8 if too_large => "; give a smaller batch",
            7 | 16 => "; give a token that it accepts in ",
            5 => "; is the model's name right, and is it loaded there?",
            _ => "",
        });
        if matches!(status, 7 | 16) {
            reason.push_str(TOKEN);
        }
        Err(match status {
            4 | 8 | 14 if !too_large => Failure::passing(reason, None),
            3 | 5 | 7 | 8 | 9 | 11 | 12 | 16 => Failure::refused(reason),
            _ => Failure::lasting(reason),
        })
    }
}

/// What came back, whatever it means.
struct Answer {
    status: u16,
    body: Vec<u8>,
    trailers: HeaderMap,
}

/// Why nothing came back.
enum Trouble {
    Ended(String),
    TooMuch,
}

impl From<h2::Error> for Trouble {
    fn from(error: h2::Error) -> Self {
        Self::Ended(format!("broke the connection off: {}", shown(&error.to_string(), None)))
    }
}

impl Open {
    /// One call; the connection's own work is done meanwhile.
    async fn exchange(&mut self, request: Request<()>, body: Bytes, limit: usize) -> Result<Answer, Trouble> {
        let requests = self.requests.clone();
        let mut talk = pin!(async move {
            let (response, stream) = requests.ready().await?.send_request(request, false)?;
            let sent = send(stream, body).await;
            receive(response, limit).await.map_err(|trouble| match (trouble, sent) {
                (Trouble::Ended(_), Err(sent)) => Trouble::from(sent),
                (trouble, _) => trouble,
            })
        });
        let driver = &mut self.driver;
        poll_fn(|context| {
            if let Poll::Ready(done) = talk.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            let Poll::Ready(ended) = driver.as_mut().poll(context) else { return Poll::Pending };
            // What came just before the end still counts.
            if let Poll::Ready(done) = talk.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            Poll::Ready(Err(match ended {
                Ok(()) => Trouble::Ended("closed the connection".into()),
                Err(error) => error.into(),
            }))
        })
        .await
    }
}

/// Sends everything as fast as the server takes it. A server that answers before that has been told enough.
async fn send(mut stream: SendStream<Bytes>, mut body: Bytes) -> Result<(), h2::Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let Some(room) = poll_fn(|context| stream.poll_capacity(context)).await else { return Ok(()) };
        let part = body.split_to(room?.min(body.len()));
        if !part.is_empty() {
            stream.send_data(part, false)?;
        }
    }
    stream.send_data(Bytes::new(), true)
}

async fn receive(response: ResponseFuture, limit: usize) -> Result<Answer, Trouble> {
    let response = response.await?;
    let (head, mut stream) = response.into_parts();
    let mut trailers = head.headers;
    let mut body = Vec::new();
    while let Some(part) = stream.data().await {
        let part = part?;
        if body.len() + part.len() > limit.saturating_add(5) {
            return Err(Trouble::TooMuch);
        }
        body.extend_from_slice(&part);
        stream.flow_control().release_capacity(part.len())?;
    }
    if let Some(last) = ended(&mut stream).await? {
        trailers.extend(last);
    }
    Ok(Answer { status: head.status.as_u16(), body, trailers })
}

async fn ended(stream: &mut RecvStream) -> Result<Option<HeaderMap>, h2::Error> {
    match stream.trailers().await {
        // A server that wants no more of a request says so when it has answered.
        Err(error) if error.reason() == Some(Reason::NO_ERROR) => Ok(None),
        trailers => trailers,
    }
}

fn connector() -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::lasting(format!("no TLS here: {error}")))?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// What the statuses that matter are called.
fn name(status: u32) -> &'static str {
    match status {
        2 => " (unknown)",
        3 => " (invalid argument)",
        4 => " (deadline exceeded)",
        5 => " (not found)",
        7 => " (permission denied)",
        8 => " (resource exhausted)",
        12 => " (unimplemented)",
        13 => " (internal)",
        14 => " (unavailable)",
        16 => " (unauthenticated)",
        _ => "",
    }
}

/// A message with its `%` escapes undone.
fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut place = 0;
    while let Some(&byte) = bytes.get(place) {
        let escaped = (byte == b'%')
            .then(|| text.get(place + 1..place + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok()))
            .flatten();
        plain.push(escaped.unwrap_or(byte));
        place += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, trailers: &[(&'static str, &'static str)], body: &[u8]) -> Result<Vec<u8>, Failure> {
        let grpc = Grpc::new(&Address::parse("oip+grpc://localhost:1/m").unwrap(), None).unwrap();
        let trailers = trailers.iter().map(|&(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        grpc.judged(Answer { status, body: body.to_vec(), trailers })
    }

    #[test]
    fn answers_are_judged_by_their_status() {
        let done = [("grpc-status", "0")];
        assert_eq!(judged(200, &done, &[0, 0, 0, 0, 2, 8, 9]).unwrap(), [8, 9]);
        for body in [&[][..], &[0, 0, 0, 0, 3, 8, 9], &[1, 0, 0, 0, 2, 8, 9]] {
            assert!(judged(200, &done, body).is_err());
        }
        let failed = |status, said| judged(200, &[("grpc-status", status), ("grpc-message", said)], &[]).unwrap_err();
        let gone = failed("5", "no model%0A%e5%85%94 100%");
        assert_eq!(
            gone.to_string(),
            "answered with the status 5 (not found), \"no model 兔 100%\"; is the model's name right, and is it loaded \
             there?"
        );
        assert!(gone.is_refusal() && failed("8", "message larger than max").is_refusal());
        assert!(!failed("14", "").is_refusal() && !failed("8", "").is_refusal() && !failed("13", "").is_refusal());
        assert!(judged(404, &[], b"<html>").unwrap_err().to_string().contains("no gRPC server"));
    }
}
