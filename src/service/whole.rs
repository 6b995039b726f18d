//! Servers that take pictures and texts themselves, and answer with vectors: OpenAI's `/v1/embeddings` and what others
//! have made of it for pictures, and clip-as-service's `/post`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::service::http::{Body, Http};
use crate::service::retry::Failure;
use crate::service::tensor::{Flat, floats};
use crate::service::token::Token;
use crate::service::{Address, Options, Pictures, Protocol, service};

/// The longest vectors of any model.
const LONGEST: usize = 1 << 16;

/// A picture as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its media type.
    pub media: &'static str,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// A whole model on a server, to be called from any number of threads.
pub struct Embeddings {
    address: Address,
    options: Options,
    http: Http,
    url: String,
}

#[derive(Deserialize)]
struct Answer {
    data: Rows,
}

/// Some servers put what others call `data` below it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Rows {
    Plain(Vec<Row>),
    Docs { docs: Vec<Row> },
}

#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    index: Option<usize>,
    embedding: Embedding,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Embedding {
    Numbers(Flat),
    /// FP32, little-endian.
    Base64(String),
}

impl Embeddings {
    /// A server, which is not asked anything yet.
    ///
    /// # Errors
    /// [`Error::Argument`] when an option makes no sense or the address is one of tensors.
    pub fn open(address: &Address, options: &Options) -> Result<Self> {
        let options = options.checked()?.clone();
        if !address.is_whole() {
            return Err(Error::argument(format!("{address} takes tensors, not whole pictures and texts")));
        }
        let http = Http::new(address, Token::from_environment()?, options.requests);
        Ok(Self { address: address.clone(), options, http, url: address.url("") })
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// How it is called.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// How many pictures a request may have; 0 where the protocol has none.
    pub fn most_pictures(&self) -> usize {
        match self.address.protocol() {
            Protocol::OpenAi(Pictures::None) => 0,
            Protocol::OpenAi(Pictures::Vllm) => 1,
            _ => self.options.batch,
        }
    }

    /// The vector of each text, all of one length: of `dim` numbers, if that is known.
    ///
    /// # Errors
    /// When the server gives no answer that can be used.
    pub fn texts(&self, texts: &[&str], dim: Option<usize>) -> std::result::Result<Vec<Vec<f32>>, Failure> {
        let body = match self.address.protocol() {
            Protocol::Post => post(texts.iter().map(|text| json!({"text": text})).collect()),
            _ => json!({"model": self.address.model(), "input": texts, "encoding_format": "float"}),
        };
        self.ask(&body, texts.len(), dim)
    }

    /// The vector of each picture, all of one length: of `dim` numbers, if that is known.
    ///
    /// # Errors
    /// When the server gives no answer that can be used.
    pub fn pictures(&self, files: &[File], dim: Option<usize>) -> std::result::Result<Vec<Vec<f32>>, Failure> {
        let model = self.address.model();
        let plain = |file: &File| STANDARD.encode(&file.bytes);
        let url = |file: &File| format!("data:{};base64,{}", file.media, plain(file));
        let body = match self.address.protocol() {
            Protocol::Post => post(files.iter().map(|file| json!({"blob": plain(file)})).collect()),
            Protocol::OpenAi(Pictures::Jina) => {
                let input: Vec<Value> = files.iter().map(|file| json!({"image": plain(file)})).collect();
                json!({"model": model, "input": input, "encoding_format": "float"})
            }
            Protocol::OpenAi(Pictures::Vllm) => {
                let part = |file| json!({"type": "image_url", "image_url": {"url": url(file)}});
                let content: Vec<Value> = files.iter().map(part).collect();
                let messages = json!([{"role": "user", "content": content}]);
                json!({"model": model, "messages": messages, "encoding_format": "float"})
            }
            _ => {
                let input: Vec<String> = files.iter().map(url).collect();
                json!({"model": model, "input": input, "modality": "image", "encoding_format": "float"})
            }
        };
        self.ask(&body, files.len(), dim)
    }

    fn ask(&self, body: &Value, rows: usize, dim: Option<usize>) -> std::result::Result<Vec<Vec<f32>>, Failure> {
        let body = body.to_string();
        let limit = (1 << 20) + 32 * (rows * dim.unwrap_or(LONGEST)) as u64;
        let answer = self.options.patience().persist(|left| {
            let body = Body { bytes: body.as_bytes(), json_length: None };
            let answer = self.http.call(&self.url, Some(body), limit, left)?;
            read(&answer.bytes, rows, dim)
        });
        answer.map_err(|failure| failure.about(service(&self.address)))
    }
}

/// A request of clip-as-service.
fn post(data: Vec<Value>) -> Value {
    json!({"data": data, "execEndpoint": "/"})
}

/// The vectors of an answer, in the order of what was asked.
fn read(answer: &[u8], rows: usize, dim: Option<usize>) -> std::result::Result<Vec<Vec<f32>>, Failure> {
    let bad = |reason: String| Failure::lasting(format!("answers in a way that cannot be read: {reason}"));
    let answer: Answer = serde_json::from_slice(answer).map_err(|error| bad(error.to_string()))?;
    let (Rows::Plain(data) | Rows::Docs { docs: data }) = answer.data;
    if data.len() != rows {
        return Err(bad(format!("{} vectors for {rows}", data.len())));
    }
    let mut found: Vec<Vec<f32>> = vec![vec![]; rows];
    for (place, row) in data.into_iter().enumerate() {
        let place = row.index.unwrap_or(place);
        let vector = match row.embedding {
            Embedding::Numbers(Flat(numbers)) => numbers,
            Embedding::Base64(text) => floats("FP32", &STANDARD.decode(text).map_err(|error| bad(error.to_string()))?)?,
        };
        match found.get_mut(place) {
            Some(room) if room.is_empty() => *room = vector,
            _ => return Err(bad(format!("a vector has the index {place}, which is taken or too high"))),
        }
    }
    let wanted = dim.unwrap_or_else(|| found.first().map_or(0, Vec::len));
    match found.iter().find(|vector| vector.len() != wanted || vector.is_empty() || vector.len() > LONGEST) {
        None => Ok(found),
        Some(other) => Err(bad(format!("a vector of {} numbers, where others have {wanted}", other.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_put_in_order_and_read_in_any_form() {
        let plain = br#"{"data": [{"index": 1, "embedding": [3, 4.5]}, {"index": 0, "embedding": [1, 2]}]}"#;
        assert_eq!(read(plain, 2, None).unwrap(), [[1.0, 2.0], [3.0, 4.5]]);
        let docs = br#"{"data": {"docs": [{"embedding": [[1, 2]]}, {"embedding": [3, 4.5], "text": "a"}]}}"#;
        assert_eq!(read(docs, 2, Some(2)).unwrap(), [[1.0, 2.0], [3.0, 4.5]]);
        let coded = format!(r#"{{"data": [{{"embedding": "{}"}}]}}"#, STANDARD.encode(1.5_f32.to_le_bytes()));
        assert_eq!(read(coded.as_bytes(), 1, None).unwrap(), [[1.5]]);
    }

    #[test]
    fn answers_that_lie_are_refused() {
        for (answer, because) in [
            (r#"{"data": []}"#, "0 vectors for 2"),
            (r#"{"data": [{"embedding": [1]}, {"embedding": [1, 2]}]}"#, "2 numbers, where others have 1"),
            (r#"{"data": [{"index": 1, "embedding": [1]}, {"index": 1, "embedding": [2]}]}"#, "index 1"),
            (r#"{"data": [{"index": 9, "embedding": [1]}, {"index": 1, "embedding": [2]}]}"#, "index 9"),
            (r#"{"data": [{"embedding": []}, {"embedding": []}]}"#, "0 numbers"),
            (r#"{"data": [{"embedding": "?"}, {"embedding": [1]}]}"#, "cannot be read"),
            (r#"{"data": [{"embedding": [null]}, {"embedding": [1]}]}"#, "cannot be read"),
            (r#"{"error": "no"}"#, "cannot be read"),
        ] {
            let error = read(answer.as_bytes(), 2, None).unwrap_err().to_string();
            assert!(error.contains(because), "{answer}: {error}");
        }
        assert!(read(br#"{"data": [{"embedding": [1]}]}"#, 1, Some(2)).is_err());
    }
}
