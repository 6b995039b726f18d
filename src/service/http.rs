//! Requests over HTTP: what a status means, and how much of an answer is read.

use std::fmt::Write;
use std::io;
use std::time::Duration;

use serde_json::Value;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Proxy};

use crate::service::address::{Address, TOKEN};
use crate::service::retry::Failure;
use crate::service::token::Token;

/// As much of an error as is read.
const MAX_ERROR_BYTES: u64 = 64 << 10;
/// As much of a server's own words as is shown.
const SHOWN: usize = 300;
/// In a header: how many bytes of the body are JSON, before the tensors in binary form.
pub(super) const JSON_LENGTH: &str = "Inference-Header-Content-Length";

/// Connections to one server.
pub(super) struct Http {
    agent: Agent,
    token: Option<Token>,
}

/// What is sent.
pub(super) struct Body<'a> {
    pub(super) bytes: &'a [u8],
    /// How many of them are JSON, if not all.
    pub(super) json_length: Option<usize>,
}

/// What came back with a status of success.
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    /// How many of them are JSON, if not all.
    pub(super) json_length: Option<usize>,
}

impl Http {
    pub(super) fn new(address: &Address, token: Option<Token>, connections: usize) -> Self {
        // A proxy could not reach this machine's own servers.
        let proxy = if address.is_local() { None } else { Proxy::try_from_env() };
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // Whatever is sent is for this server only.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(proxy)
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections)
            .user_agent(concat!("plushie_search/", env!("CARGO_PKG_VERSION")));
        if address.tls() {
            config = config.tls_config(TlsConfig::builder().root_certs(authorities()).build());
        }
        Self { agent: config.build().new_agent(), token }
    }

    /// Asks for `url`, or sends `body` there; reads at most `limit` bytes of the answer, for at most the time `left`.
    pub(super) fn call(
        &self,
        url: &str,
        body: Option<Body<'_>>,
        limit: u64,
        left: Duration,
    ) -> Result<Answer, Failure> {
        let sent = match body {
            None => {
                let mut request = self.agent.get(url);
                if let Some(token) = &self.token {
                    request = request.header(AUTHORIZATION, token.header());
                }
                request.config().timeout_global(Some(left)).build().call()
            }
            Some(Body { bytes, json_length }) => {
                let mut request = self.agent.post(url);
                if let Some(token) = &self.token {
                    request = request.header(AUTHORIZATION, token.header());
                }
                request = match json_length {
                    None => request.header(CONTENT_TYPE, "application/json"),
                    Some(length) => {
                        request.header(CONTENT_TYPE, "application/octet-stream").header(JSON_LENGTH, length.to_string())
                    }
                };
                request.config().timeout_global(Some(left)).build().send(bytes)
            }
        };
        let mut answer = sent.map_err(|error| failure(&error))?;
        let status = answer.status();
        if !status.is_success() {
            let text = answer.headers().get(LOCATION).and_then(|place| place.to_str().ok()).map(str::to_string);
            let after = answer.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.trim().parse().ok());
            let said = answer.body_mut().with_config().limit(MAX_ERROR_BYTES).read_to_vec().unwrap_or_default();
            let said = self.words(&text.map_or_else(|| message(&said), |place| format!("it points to {place}")));
            return Err(judged(status.as_u16(), &said, after.map(Duration::from_secs)));
        }
        let json_length = answer.headers().get(JSON_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let bytes = answer.body_mut().with_config().limit(limit).read_to_vec().map_err(|error| failure(&error))?;
        Ok(Answer { bytes, json_length })
    }

    /// What a server said, fit to be shown: short, on one line, and without the token if it was repeated there.
    fn words(&self, said: &str) -> String {
        shown(said, self.token.as_ref())
    }
}

/// A server's words: short, on one line, and without the token if it was repeated there.
pub(super) fn shown(said: &str, token: Option<&Token>) -> String {
    let said = token.map_or_else(|| said.to_string(), |token| token.hidden_in(said));
    let mut line = String::new();
    for word in said.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// The message in the body of an error.
fn message(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let Ok(value) = serde_json::from_str::<Value>(&text) else { return text.into_owned() };
    let place = ["/error/message", "/error", "/detail", "/message"].iter().find_map(|place| value.pointer(place));
    match place {
        Some(Value::String(message)) => message.clone(),
        Some(other) => other.to_string(),
        None => text.into_owned(),
    }
}

/// What a status of failure means.
fn judged(status: u16, said: &str, after: Option<Duration>) -> Failure {
    let mut reason = format!("answered with the status {status}");
    if !said.is_empty() {
        let _ = write!(reason, ", {said:?}");
    }
    let advice = match status {
        300..=399 => "; give the address to which it points, if you trust that: no redirect is followed",
        401 | 403 => &format!("; give a token that it accepts in {TOKEN}"),
        404 => "; is the model's name right, and is it loaded there?",
        413 => "; give a smaller batch",
        _ => "",
    };
    reason.push_str(advice);
    match status {
        408 | 429 | 502 | 503 | 504 => Failure::passing(reason, after),
        400..=499 => Failure::refused(reason),
        500..=599 => Failure::failed(reason),
        _ => Failure::lasting(reason),
    }
}

fn failure(error: &ureq::Error) -> Failure {
    use ureq::Error;
    match error {
        Error::Timeout(_) => Failure::lasting(format!("gave no (whole) answer in time{OVERLOADED}")),
        Error::BodyExceedsLimit(limit) => {
            Failure::lasting(format!("answers with more than {limit} bytes, which no vectors of this model have"))
        }
        Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => Failure::lasting(format!("{error}; {TLS}")),
        Error::Io(error) => {
            Failure::passing(format!("cannot be reached: {error}; is it running, and the port right?"), None)
        }
        Error::HostNotFound => Failure::passing("cannot be reached: no machine has that name; is it right?", None),
        Error::ConnectionFailed => Failure::passing("cannot be reached; is it running, and the port right?", None),
        Error::Protocol(_) | Error::ConnectProxyFailed(_) => {
            Failure::passing(format!("does not speak HTTP as it should: {}", shown(&error.to_string(), None)), None)
        }
        Error::Tls(_) | Error::Rustls(_) | Error::Pem(_) => Failure::lasting(format!("{error}; {TLS}")),
        error => Failure::lasting(shown(&error.to_string(), None)),
    }
}

pub(super) const OVERLOADED: &str = "; is it overloaded? A larger timeout or a smaller batch helps";

pub(super) const TLS: &str = "if its certificate is signed by an authority of your own, name that in SSL_CERT_FILE";

/// Whose signatures under certificates are trusted: this system's authorities, or where it has none Mozilla's.
fn authorities() -> RootCerts {
    let found = rustls_native_certs::load_native_certs().certs;
    match found.is_empty() {
        true => RootCerts::WebPki,
        false => RootCerts::from(found.iter().map(|one| Certificate::from_der(one).to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_shown_short_and_on_one_line() {
        assert_eq!(shown("a\r\n\x1b[31mb\tc", None), "a [31mb c");
        assert_eq!(shown(&"é".repeat(400), None), format!("{}...", "é".repeat(300)));
        for body in [r#"{"error": "no"}"#, r#"{"error": {"message": "no"}}"#, r#"{"detail": "no"}"#, "no"] {
            assert_eq!(message(body.as_bytes()), "no");
        }
        assert_eq!(message(br#"{"detail": [1]}"#), "[1]");
        assert_eq!(message(b"\xff"), "\u{fffd}");
    }

    #[test]
    fn statuses_that_pass_are_known() {
        let after = Some(Duration::from_secs(3));
        for status in [408, 429, 502, 503, 504] {
            assert!(!judged(status, "", after).is_refusal());
        }
        assert!(judged(422, "", None).is_refusal());
        let error = judged(401, "who are you", None).to_string();
        assert_eq!(
            error,
            "answered with the status 401, \"who are you\"; give a token that it accepts in PLUSHIE_ENCODER_TOKEN"
        );
    }
}
