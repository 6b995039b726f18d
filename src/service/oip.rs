//! The Open Inference Protocol v2 over HTTP: tensors in binary form where the server takes that, and else as JSON.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::service::http::{Answer, Body, Http};
use crate::service::retry::Failure;
use crate::service::tensor::{Flat, Numbers, Output, Port, Tensor, floats};
use crate::service::{Address, Signature};

/// As much as is read of what is no tensor.
const MAX_METADATA: u64 = 1 << 20;

/// For names and shapes, and for small outputs that nobody asked for, because not every server leaves them out.
pub(super) const SPARE: u64 = 8 << 20;

/// What requests call themselves.
const ID: &str = "plushie_search";

/// One model of a server.
pub(super) struct Oip {
    http: Http,
    path: String,
    url: String,
    binary: AtomicBool,
    /// Whether it was seen to take the form that requests have.
    proven: AtomicBool,
}

#[derive(Serialize)]
struct Request<'a> {
    /// Optional, but some servers cannot do without.
    id: &'static str,
    inputs: Vec<RequestInput<'a>>,
    outputs: [RequestOutput<'a>; 1],
}

#[derive(Serialize)]
struct RequestInput<'a> {
    name: &'a str,
    shape: &'a [usize],
    datatype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BinarySize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Numbers<'a>>,
}

#[derive(Serialize)]
struct RequestOutput<'a> {
    name: &'a str,
    parameters: BinaryData,
}

#[derive(Serialize)]
struct BinaryData {
    binary_data: bool,
}

#[derive(Serialize, Deserialize)]
struct BinarySize {
    binary_data_size: usize,
}

#[derive(Deserialize)]
struct Response {
    outputs: Vec<ResponseOutput>,
}

#[derive(Deserialize)]
struct ResponseOutput {
    name: String,
    datatype: String,
    shape: Vec<i64>,
    #[serde(default)]
    parameters: Option<Parameters>,
    #[serde(default)]
    data: Option<Flat>,
}

#[derive(Default, Deserialize)]
struct Parameters {
    #[serde(default)]
    binary_data_size: Option<usize>,
}

impl Oip {
    pub(super) fn new(address: &Address, http: Http) -> Self {
        let version = address.version().map_or_else(String::new, |version| format!("/versions/{version}"));
        let path = address.url(&format!("/v2/models/{}{version}", address.model()));
        Self { http, url: format!("{path}/infer"), path, binary: AtomicBool::new(true), proven: AtomicBool::new(false) }
    }

    /// What goes in and comes out of the model.
    pub(super) fn signature(&self, left: Duration) -> Result<Signature, Failure> {
        let answer = self.http.call(&self.path, None, MAX_METADATA, left)?;
        serde_json::from_slice(&answer.bytes)
            .map_err(|error| Failure::lasting(format!("describes the model in a way that cannot be read: {error}")))
    }

    /// The output `wanted` for these inputs; reads at most `numbers` numbers.
    pub(super) fn infer(
        &self,
        inputs: &[Tensor<'_>],
        wanted: &str,
        numbers: usize,
        left: Duration,
    ) -> Result<Output, Failure> {
        // A number has up to 25 characters in JSON.
        let limit = SPARE + 32 * numbers as u64;
        let binary = self.binary.load(Ordering::Relaxed);
        let (bytes, json_length) = request(inputs, wanted, binary);
        let sent = self.http.call(&self.url, Some(Body { bytes: &bytes, json_length }), limit, left);
        match sent.and_then(|answer| read(&answer, wanted)) {
            // Some do not refuse what they do not know, but break down over it.
            Err(failure)
                if binary && (failure.is_refusal() || failure.is_answer() && !self.proven.load(Ordering::Relaxed)) =>
            {
                // Perhaps it takes JSON only. If it refuses that too, the fault lies elsewhere.
                let (bytes, json_length) = request(inputs, wanted, false);
                let answer = self.http.call(&self.url, Some(Body { bytes: &bytes, json_length }), limit, left)?;
                let output = read(&answer, wanted)?;
                self.binary.store(false, Ordering::Relaxed);
                Ok(output)
            }
            result => {
                self.proven.fetch_or(result.is_ok(), Ordering::Relaxed);
                result
            }
        }
    }
}

/// The body of a request, and how many bytes of it are JSON, if not all.
fn request(inputs: &[Tensor<'_>], wanted: &str, binary: bool) -> (Vec<u8>, Option<usize>) {
    let input = |tensor: &Tensor<'_>| -> (Option<BinarySize>, bool) {
        (binary.then(|| BinarySize { binary_data_size: tensor.numbers.bytes().len() }), !binary)
    };
    let inputs_in_json = inputs.iter().map(|tensor| {
        let (parameters, written) = input(tensor);
        RequestInput {
            name: tensor.name,
            shape: &tensor.shape,
            datatype: tensor.numbers.datatype(),
            parameters,
            data: written.then_some(&tensor.numbers),
        }
    });
    let outputs = [RequestOutput { name: wanted, parameters: BinaryData { binary_data: binary } }];
    let request = Request { id: ID, inputs: inputs_in_json.collect(), outputs };
    let mut bytes = serde_json::to_vec(&request).expect("strings and numbers always serialize");
    if !binary {
        return (bytes, None);
    }
    let json_length = bytes.len();
    inputs.iter().for_each(|tensor| bytes.extend_from_slice(tensor.numbers.bytes()));
    (bytes, Some(json_length))
}

/// The output of that name in an answer of either form.
fn read(answer: &Answer, wanted: &str) -> Result<Output, Failure> {
    let bad = |reason: String| Failure::lasting(format!("answers in a way that cannot be read: {reason}"));
    let json_length = answer.json_length.unwrap_or(answer.bytes.len());
    let (json, mut binary) = answer
        .bytes
        .split_at_checked(json_length)
        .ok_or_else(|| bad(format!("{json_length} bytes of JSON in {}", answer.bytes.len())))?;
    let response: Response = serde_json::from_slice(json).map_err(|error| bad(error.to_string()))?;
    for output in response.outputs {
        let size = output.parameters.unwrap_or_default().binary_data_size;
        let taken = match size {
            None => None,
            Some(size) => {
                let (taken, rest) = binary
                    .split_at_checked(size)
                    .ok_or_else(|| bad(format!("{size} bytes of output {:?} are not there", output.name)))?;
                binary = rest;
                Some(taken)
            }
        };
        if output.name == wanted {
            let values = match (taken, output.data) {
                (Some(bytes), _) => floats(&output.datatype, bytes)?,
                (None, Some(Flat(values))) => values,
                (None, None) => return Err(bad(format!("output {wanted:?} has no data"))),
            };
            return Output::new(wanted, output.shape, values);
        }
    }
    Err(bad(format!("there is no output {wanted:?}")))
}

/// As the model is described at its address.
impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Metadata {
            #[serde(default)]
            inputs: Vec<Port>,
            #[serde(default)]
            outputs: Vec<Port>,
        }
        Metadata::deserialize(deserializer).map(|Metadata { inputs, outputs }| Self { inputs, outputs })
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;

    fn answer(json: &str, binary: &[u8]) -> Answer {
        let bytes = [json.as_bytes(), binary].concat();
        Answer { bytes, json_length: (!binary.is_empty()).then_some(json.len()) }
    }

    #[test]
    fn requests_are_as_the_protocol_says() {
        let pixels =
            Tensor { name: "pixels", shape: vec![1, 2], numbers: Numbers::Floats(Cow::Borrowed(&[0.5, -1.0])) };
        let ids = Tensor { name: "ids", shape: vec![1, 1], numbers: Numbers::Longs(Cow::Borrowed(&[7])) };
        let (json, length) = request(&[pixels.clone(), ids.clone()], "out", false);
        assert_eq!(length, None);
        assert_eq!(
            String::from_utf8(json).unwrap(),
            r#"{"id":"plushie_search","inputs":[{"name":"pixels","shape":[1,2],"datatype":"FP32","data":[0.5,-1.0]},{"name":"ids","shape":[1,1],"datatype":"INT64","data":[7]}],"outputs":[{"name":"out","parameters":{"binary_data":false}}]}"#
        );
        let (bytes, length) = request(&[pixels, ids], "out", true);
        let (json, binary) = bytes.split_at(length.unwrap());
        assert_eq!(
            std::str::from_utf8(json).unwrap(),
            r#"{"id":"plushie_search","inputs":[{"name":"pixels","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}},{"name":"ids","shape":[1,1],"datatype":"INT64","parameters":{"binary_data_size":8}}],"outputs":[{"name":"out","parameters":{"binary_data":true}}]}"#
        );
        assert_eq!(binary, [0, 0, 0, 0x3f, 0, 0, 0x80, 0xbf, 7, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn answers_of_both_forms_are_read() {
        let json = r#"{"model_name": "m", "outputs": [{"name": "out", "datatype": "FP32", "shape": [2, 1], "data": [[1], [2.5]]}]}"#;
        let wanted = Output { shape: vec![2, 1], values: vec![1.0, 2.5] };
        assert_eq!(read(&answer(json, b""), "out").unwrap(), wanted);
        let json = r#"{"outputs": [
            {"name": "other", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": 8}},
            {"name": "out", "datatype": "FP32", "shape": [2, 1], "parameters": {"binary_data_size": 8}}]}"#;
        let binary = [[9; 8].as_slice(), &1.0_f32.to_le_bytes(), &2.5_f32.to_le_bytes()].concat();
        assert_eq!(read(&answer(json, &binary), "out").unwrap(), wanted);
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(
            shape in proptest::collection::vec(-2_i64..5, 0..4),
            data in proptest::collection::vec(-3_f32..3.0, 0..20),
            size in 0_usize..100,
            binary in proptest::collection::vec(any::<u8>(), 0..80),
            json_length in proptest::option::of(0_usize..300),
        ) {
            let parameters = format!(r#""parameters": {{"binary_data_size": {size}}}"#);
            for more in [format!(r#""data": {data:?}"#), parameters] {
                let output = format!(r#"{{"name": "out", "datatype": "FP32", "shape": {shape:?}, {more}}}"#);
                let json = format!(r#"{{"outputs": [{output}]}}"#);
                for json_length in [json_length, Some(json.len()), None] {
                    let bytes = [json.as_bytes(), &binary].concat();
                    if let Ok(output) = read(&Answer { bytes, json_length }, "out") {
                        prop_assert_eq!(output.shape.iter().product::<i64>(), output.values.len() as i64);
                    }
                }
            }
        }
    }

    #[test]
    fn answers_that_lie_are_refused() {
        for (json, binary, because) in [
            ("<html>", &b""[..], "cannot be read"),
            (r#"{"outputs": []}"#, b"", "no output \"out\""),
            (r#"{"outputs": [{"name": "out", "datatype": "FP32", "shape": [1]}]}"#, b"", "no data"),
            (r#"{"outputs": [{"name": "out", "datatype": "FP32", "shape": [3], "data": [1]}]}"#, b"", "1 numbers"),
            (
                r#"{"outputs": [{"name": "out", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 99}}]}"#,
                b"1234",
                "99 bytes",
            ),
            (r#"{"outputs": [{"name": "out", "datatype": "FP32", "shape": [1], "data": [null]}]}"#, b"", "NaN"),
        ] {
            let error = read(&answer(json, binary), "out").unwrap_err().to_string();
            assert!(error.contains(because), "{error}");
        }
        let short = Answer { bytes: b"{}".to_vec(), json_length: Some(50) };
        assert!(read(&short, "out").unwrap_err().to_string().contains("50 bytes"));
    }
}
