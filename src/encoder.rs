//! Pixels or ids become vectors by ONNX Runtime.
