//! The Open Inference Protocol v2 over gRPC: tensors as raw bytes.

use std::time::Duration;

use prost::Message;

use crate::service::grpc::Grpc;
use crate::service::messages::{
    InferRequest, InferResponse, MetadataRequest, MetadataResponse, OutputTensor, RequestedOutput, TensorMetadata,
};
use crate::service::oip::SPARE;
use crate::service::retry::Failure;
use crate::service::tensor::{Output, Port, Tensor, floats};
use crate::service::{Address, Signature};

/// The service of the protocol's definition.
const SERVICE: &str = "/inference.GRPCInferenceService";
/// As much as is read of what is no tensor.
const MAX_METADATA: usize = 1 << 20;

/// One model of a server.
pub(super) struct OipGrpc {
    grpc: Grpc,
    model: String,
    version: String,
}

impl OipGrpc {
    pub(super) fn new(address: &Address, grpc: Grpc) -> Self {
        Self { grpc, model: address.model().into(), version: address.version().unwrap_or_default().into() }
    }

    /// What goes in and comes out of the model.
    pub(super) fn signature(&self, left: Duration) -> Result<Signature, Failure> {
        let request = MetadataRequest { name: self.model.clone(), version: self.version.clone() };
        let answer =
            self.grpc.call(&format!("{SERVICE}/ModelMetadata"), &request.encode_to_vec(), MAX_METADATA, left)?;
        let found = MetadataResponse::decode(&answer[..])
            .map_err(|error| Failure::lasting(format!("describes the model in a way that cannot be read: {error}")))?;
        let ports = |ports: Vec<TensorMetadata>| ports.into_iter().map(port).collect();
        Ok(Signature { inputs: ports(found.inputs), outputs: ports(found.outputs) })
    }

    /// The output `wanted` for these inputs; reads at most `numbers` numbers.
    pub(super) fn infer(
        &self,
        inputs: &[Tensor<'_>],
        wanted: &str,
        numbers: usize,
        left: Duration,
    ) -> Result<Output, Failure> {
        let request = InferRequest {
            model_name: self.model.clone(),
            model_version: self.version.clone(),
            id: "plushie_search".into(),
            inputs: inputs.iter().map(metadata).collect(),
            outputs: vec![RequestedOutput { name: wanted.into() }],
            raw_input_contents: inputs.iter().map(|tensor| tensor.numbers.bytes().to_vec()).collect(),
        };
        let limit = SPARE as usize + 8 * numbers;
        let answer = self.grpc.call(&format!("{SERVICE}/ModelInfer"), &request.encode_to_vec(), limit, left)?;
        read(&answer, wanted)
    }
}

fn port(found: TensorMetadata) -> Port {
    Port { name: found.name, datatype: found.datatype, shape: found.shape }
}

fn metadata(tensor: &Tensor<'_>) -> TensorMetadata {
    TensorMetadata {
        name: tensor.name.into(),
        datatype: tensor.numbers.datatype().into(),
        shape: tensor.shape.iter().map(|&side| side as i64).collect(),
    }
}

/// The output of that name in an answer.
fn read(answer: &[u8], wanted: &str) -> Result<Output, Failure> {
    let bad = |reason: String| Failure::lasting(format!("answers in a way that cannot be read: {reason}"));
    let response = InferResponse::decode(answer).map_err(|error| bad(error.to_string()))?;
    let raw = &response.raw_output_contents;
    if !raw.is_empty() && raw.len() != response.outputs.len() {
        return Err(bad(format!("{} raw contents for {} outputs", raw.len(), response.outputs.len())));
    }
    let place = response.outputs.iter().position(|output| output.name == wanted);
    let place = place.ok_or_else(|| bad(format!("there is no output {wanted:?}")))?;
    let OutputTensor { datatype, shape, contents, .. } = &response.outputs[place];
    let values = match (raw.get(place), contents) {
        (Some(bytes), _) => floats(datatype, bytes)?,
        (None, Some(contents)) if datatype == "FP64" => contents.doubles.iter().map(|&value| value as f32).collect(),
        (None, Some(contents)) => contents.floats.clone(),
        (None, None) => return Err(bad(format!("output {wanted:?} has no contents"))),
    };
    Output::new(wanted, shape.clone(), values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::messages::Contents;

    fn tensor(name: &str, contents: Option<Contents>) -> OutputTensor {
        OutputTensor { name: name.into(), datatype: "FP32".into(), shape: vec![1, 2], contents }
    }

    #[test]
    fn answers_of_both_forms_are_read() {
        let wanted = Output { shape: vec![1, 2], values: vec![1.0, -2.0] };
        let bytes = [1.0_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat();
        let raw = InferResponse {
            outputs: vec![tensor("other", None), tensor("out", None)],
            raw_output_contents: vec![vec![], bytes],
        };
        assert_eq!(read(&raw.encode_to_vec(), "out").unwrap(), wanted);
        let contents = Contents { floats: vec![1.0, -2.0], doubles: vec![] };
        let plain = InferResponse { outputs: vec![tensor("out", Some(contents))], raw_output_contents: vec![] };
        assert_eq!(read(&plain.encode_to_vec(), "out").unwrap(), wanted);
        for (wanted, raw, because) in [("none", vec![], "no output"), ("out", vec![], "no contents")] {
            let answer = InferResponse { outputs: vec![tensor("out", None)], raw_output_contents: raw };
            let error = read(&answer.encode_to_vec(), wanted).unwrap_err().to_string();
            assert!(error.contains(because), "{error}");
        }
        let twice = InferResponse { outputs: vec![tensor("out", None)], raw_output_contents: vec![vec![], vec![]] };
        assert!(read(&twice.encode_to_vec(), "out").unwrap_err().to_string().contains("2 raw contents"));
        assert!(read(b"<html>", "out").unwrap_err().to_string().contains("cannot be read"));
    }

    #[test]
    fn messages_have_the_field_numbers_of_the_definition() {
        let request = MetadataRequest { name: "a".into(), version: "b".into() };
        assert_eq!(request.encode_to_vec(), [0x0a, 1, b'a', 0x12, 1, b'b']);
        let request = InferRequest {
            inputs: vec![TensorMetadata { name: "x".into(), datatype: "FP32".into(), shape: vec![1, 3] }],
            outputs: vec![RequestedOutput { name: "y".into() }],
            raw_input_contents: vec![vec![9]],
            ..InferRequest::default()
        };
        let port = [0x0a, 1, b'x', 0x12, 4, b'F', b'P', b'3', b'2', 0x1a, 2, 1, 3];
        let wanted = [&[0x2a, 13][..], &port, &[0x32, 3, 0x0a, 1, b'y', 0x3a, 1, 9]].concat();
        assert_eq!(request.encode_to_vec(), wanted);
    }
}
