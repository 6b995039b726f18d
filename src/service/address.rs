//! Where a service is and what it speaks, read from one address.

use std::fmt;

use crate::error::{Error, Result};

/// What a service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// The Open Inference Protocol v2 over HTTP: tensors go in and come out.
    Oip,
    /// The same over gRPC.
    OipGrpc,
    /// OpenAI's `/v1/embeddings`: texts go in, and where the server takes them pictures, and vectors come out.
    OpenAi(Pictures),
    /// clip-as-service's `/post`: texts and pictures go in, vectors come out.
    Post,
}

/// How pictures are put to a server of embeddings; OpenAI's protocol itself has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pictures {
    /// Not at all.
    None,
    /// As data URLs in `input`, with `"modality": "image"`: Infinity.
    Infinity,
    /// As `{"image": data URL}` in `input`: Jina.
    Jina,
    /// As the content of a message, one in a request: vLLM.
    Vllm,
}

/// The address of a service, checked: it has no secrets in it and may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    shown: String,
    protocol: Protocol,
    tls: bool,
    host: String,
    port: u16,
    prefix: String,
    model: String,
    version: Option<String>,
}

impl Address {
    /// Reads an address: `oip://host:port/model`, `oips://` (TLS), `oip+grpc://` or `oips+grpc://`, each with or without
    /// `/versions/VERSION`; `http(s)://host/v1/embeddings?model=NAME`; `http(s)://host/post`.
    ///
    /// # Errors
    /// [`Error::Argument`] when it is none of these; the message repeats nothing that may be a password.
    pub fn parse(text: &str) -> Result<Self> {
        Self::read(text).map_err(|reason| Error::argument(format!("address of a service: {reason}")))
    }

    fn read(text: &str) -> std::result::Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or(EXPECTED)?;
        let (tls, kind) = match scheme {
            "oip" => (false, Some(Protocol::Oip)),
            "oips" => (true, Some(Protocol::Oip)),
            "oip+grpc" => (false, Some(Protocol::OipGrpc)),
            "oips+grpc" => (true, Some(Protocol::OipGrpc)),
            "http" => (false, None),
            "https" => (true, None),
            _ => return Err(format!("unknown scheme; {EXPECTED}")),
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = place.split_once('/').unwrap_or((place, ""));
        if authority.contains('@') {
            return Err(format!("it has a user or password in it; give a token in {TOKEN} instead"));
        }
        let (host, port) = host_and_port(authority, if tls { 443 } else { 80 })?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:+@".contains(c);
        let path = path.trim_end_matches('/');
        let parts: Vec<&str> = if path.is_empty() { vec![] } else { path.split('/').collect() };
        if parts.iter().any(|part| part.is_empty() || *part == "." || *part == ".." || !part.chars().all(plain)) {
            return Err("its path must be names of letters, digits and - . _ ~ : + @ between single slashes".into());
        }
        let (protocol, prefix, model, version) = match kind {
            Some(protocol) => {
                if !query.is_empty() {
                    return Err(format!("it has a query, which {scheme}:// does not know"));
                }
                let (prefix, model, version) = tensors(&parts, protocol)?;
                (protocol, prefix, model, version)
            }
            None => {
                let (protocol, model) = whole(&parts, query)?;
                (protocol, format!("/{path}"), model, None)
            }
        };
        let shown = match (kind, query) {
            (None, "") | (Some(_), _) => format!("{scheme}://{authority}/{path}"),
            (None, query) => format!("{scheme}://{authority}/{path}?{query}"),
        };
        Ok(Self { shown, protocol, tls, host, port, prefix, model, version })
    }

    /// What it speaks.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether texts and pictures go in themselves, and not the tensors that are made of them here.
    pub fn is_whole(&self) -> bool {
        matches!(self.protocol, Protocol::OpenAi(_) | Protocol::Post)
    }

    /// The model that the server is asked for; empty where it has only one.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Which version of it, if that was said.
    pub(super) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Whether the connection is encrypted.
    pub(super) fn tls(&self) -> bool {
        self.tls
    }

    /// The host, an IPv6 address in brackets.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Whether the server is this machine.
    pub(super) fn is_local(&self) -> bool {
        self.host == "localhost" || self.host == "[::1]" || self.host.starts_with("127.")
    }

    /// Where a path below the prefix is asked for over HTTP.
    pub(super) fn url(&self, path: &str) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}:{}{}{path}", self.host, self.port, self.prefix)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The environment variable with the bearer token.
pub const TOKEN: &str = "PLUSHIE_ENCODER_TOKEN";

const EXPECTED: &str = "it must be oip://host:port/model, oips://, oip+grpc:// or oips+grpc://, or \
                        http(s)://host/v1/embeddings?model=NAME, or http(s)://host/post";

fn host_and_port(authority: &str, otherwise: u16) -> std::result::Result<(String, u16), String> {
    let (host, port) = match authority.rfind(':') {
        Some(place) if !authority[place..].contains(']') => (&authority[..place], Some(&authority[place + 1..])),
        _ => (authority, None),
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let right = match inner {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.len() <= 253
                && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
        }
    };
    if !right {
        return Err("its host must be a name, an IPv4 address, or an IPv6 address in brackets".into());
    }
    let port = match port {
        None => otherwise,
        Some(port) => port.parse().ok().filter(|&port| port > 0).ok_or("its port must be a number from 1 to 65535")?,
    };
    Ok((host.to_string(), port))
}

/// Prefix, model and version of an address of tensors: `model`, or `any/prefix/v2/models/model`.
fn tensors(parts: &[&str], protocol: Protocol) -> std::result::Result<(String, String, Option<String>), String> {
    let start = parts.windows(2).position(|pair| pair == ["v2", "models"]);
    let (prefix, rest) = start.map_or((&parts[..0], parts), |start| (&parts[..start], &parts[start + 2..]));
    if protocol == Protocol::OipGrpc && !prefix.is_empty() {
        return Err("gRPC has no path before the model: give oip+grpc://host:port/model".into());
    }
    let prefix: String = prefix.iter().map(|part| format!("/{part}")).collect();
    match rest {
        [model] => Ok((prefix, (*model).to_string(), None)),
        [model, "versions", version] => Ok((prefix, (*model).to_string(), Some((*version).to_string()))),
        [] => Err("it names no model: give oip://host:port/model".into()),
        _ => Err("its path must be /model or /model/versions/VERSION, perhaps after /v2/models".into()),
    }
}

/// Protocol and model of an address to which texts and pictures go themselves.
fn whole(parts: &[&str], query: &str) -> std::result::Result<(Protocol, String), String> {
    let (mut model, mut pictures) = (String::new(), Pictures::None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (key, value) {
            ("model", value) => model = decoded(value).ok_or("its model must be a name of printable characters")?,
            ("images", "infinity") => pictures = Pictures::Infinity,
            ("images", "jina") => pictures = Pictures::Jina,
            ("images", "vllm") => pictures = Pictures::Vllm,
            ("images", _) => return Err("images= must be infinity, jina or vllm".into()),
            _ => return Err(format!("its query may have model= and images= only; give a token in {TOKEN}")),
        }
    }
    match parts {
        [.., "embeddings"] if model.is_empty() => Err("it needs a model: .../v1/embeddings?model=NAME".into()),
        [.., "embeddings"] => Ok((Protocol::OpenAi(pictures), model)),
        [.., "post"] if query.is_empty() => Ok((Protocol::Post, model)),
        [.., "post"] => Err("/post has no query".into()),
        _ => Err(format!("its path must end in /v1/embeddings or /post; {EXPECTED}")),
    }
}

/// A value of a query, with its `%` escapes undone.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        });
    }
    let name = String::from_utf8(bytes).ok()?;
    (!name.is_empty() && name.len() <= 200 && !name.chars().any(char::is_control)).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_of_tensors_are_read() {
        let plain = Address::parse("oip://localhost:8080/plushie-image").unwrap();
        assert_eq!((plain.protocol(), plain.model(), plain.version()), (Protocol::Oip, "plushie-image", None));
        assert_eq!(plain.url("/v2/models/x"), "http://localhost:8080/v2/models/x");
        assert!(plain.is_local() && !plain.tls());
        let version = Address::parse("oips://models.example/serving/a/v2/models/clip/versions/3").unwrap();
        assert_eq!((version.model(), version.version(), version.port()), ("clip", Some("3"), 443));
        assert_eq!(version.url("/v2"), "https://models.example:443/serving/a/v2");
        let grpc = Address::parse("oip+grpc://[::1]:8001/clip").unwrap();
        assert_eq!((grpc.protocol(), grpc.host(), grpc.port()), (Protocol::OipGrpc, "[::1]", 8001));
        assert_eq!(grpc.to_string(), "oip+grpc://[::1]:8001/clip");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(oips?|oip\\+grpc|https?)://[a-z\\[\\]:@%0-9.]{0,12}/?[ -~é/?=&%]{0,30}|.{0,40}") {
            if let Ok(address) = Address::parse(&text) {
                prop_assert_eq!(Address::parse(&address.to_string()).unwrap(), address);
            }
        }
    }

    #[test]
    fn addresses_of_whole_models_are_read() {
        let openai = Address::parse("https://api.example/v1/embeddings?model=jina%2Fclip-v2&images=jina").unwrap();
        assert_eq!((openai.protocol(), openai.model()), (Protocol::OpenAi(Pictures::Jina), "jina/clip-v2"));
        assert_eq!(openai.url(""), "https://api.example:443/v1/embeddings");
        let post = Address::parse("http://10.0.0.7:51000/post").unwrap();
        assert_eq!((post.protocol(), post.is_whole(), post.is_local()), (Protocol::Post, true, false));
    }

    #[test]
    fn addresses_that_cannot_be_meant_are_refused_without_repeating_secrets() {
        let secret = "http://me:hunter2@host/v1/embeddings?model=a";
        for (bad, because) in [
            ("localhost:8080/clip", "it must be oip://"),
            ("ftp://host/clip", "unknown scheme"),
            ("oip://host:8080", "names no model"),
            ("oip://host:0/clip", "port"),
            ("oip://host:99999/clip", "port"),
            ("oip:///clip", "host"),
            ("oip://ho st/clip", "host"),
            ("oip://host/a/b", "/model"),
            ("oip://host/../clip", "path"),
            ("oip://host/clip?x=1", "query"),
            ("oip+grpc://host/a/v2/models/b", "gRPC"),
            ("http://host/v1/embeddings", "needs a model"),
            ("http://host/v1/embeddings?model=a&api_key=hunter2", "PLUSHIE_ENCODER_TOKEN"),
            ("http://host/v1/embeddings?model=a&images=yes", "infinity, jina or vllm"),
            ("http://host/else", "/post"),
            (secret, "PLUSHIE_ENCODER_TOKEN"),
        ] {
            let error = Address::parse(bad).unwrap_err().to_string();
            assert!(error.starts_with("address of a service: ") && error.contains(because), "{bad}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
