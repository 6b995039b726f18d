//! A network or a whole model that runs on a server: requests in the server's own protocol, tried again while that may
//! help, and never for longer than was said.
//!
//! What a server says is believed only as far as it is checked: sizes before memory is taken, counts, finite numbers.

mod address;
mod grpc;
mod http;
mod messages;
mod oip;
mod oip_grpc;
mod retry;
mod tensor;
mod token;
mod whole;

use std::time::Duration;

pub use self::address::{Address, Pictures, Protocol, TOKEN};
pub use self::retry::Failure;
pub use self::tensor::{Numbers, Output, Port, Tensor};
pub use self::whole::{Embeddings, File};

use self::grpc::Grpc;
use self::http::Http;
use self::oip::Oip;
use self::oip_grpc::OipGrpc;
use self::retry::Patience;
use self::token::Token;
use crate::error::{Error, Result};

/// How a service is called.
#[derive(Debug, Clone)]
pub struct Options {
    /// After how long a request is given up, with all its retries.
    pub timeout: Duration,
    /// How often a request that failed in a way that may pass is tried again.
    pub retries: u32,
    /// The most pictures or texts in a request.
    pub batch: usize,
    /// The most requests at a time.
    pub requests: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), retries: 4, batch: 16, requests: 4 }
    }
}

impl Options {
    /// # Errors
    /// [`Error::Argument`] when a number makes no sense.
    fn checked(&self) -> Result<&Self> {
        let check = |right: bool, reason: &str| if right { Ok(()) } else { Err(Error::argument(reason)) };
        let day = Duration::from_secs(24 * 3600);
        check(
            self.timeout > Duration::ZERO && self.timeout <= day,
            "timeout must be more than 0 s, and at most a day",
        )?;
        check(self.retries <= 100, "retries must be 0 to 100")?;
        check((1..=1024).contains(&self.batch), "batch must be 1 to 1024")?;
        check((1..=64).contains(&self.requests), "requests must be 1 to 64")?;
        Ok(self)
    }

    fn patience(&self) -> Patience {
        Patience { timeout: self.timeout, retries: self.retries }
    }
}

/// What goes in and comes out of a network on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The inputs.
    pub inputs: Vec<Port>,
    /// The outputs.
    pub outputs: Vec<Port>,
}

/// How a server is spoken to.
enum Link {
    Http(Oip),
    Grpc(OipGrpc),
}

/// A network on a server that speaks the Open Inference Protocol, to be called from any number of threads.
pub struct Tensors {
    address: Address,
    options: Options,
    link: Link,
    signature: Signature,
}

impl Tensors {
    /// Asks the server at `address` what its model takes and gives.
    ///
    /// # Errors
    /// [`Error::Argument`] when an option makes no sense or the address is not one of tensors; [`Error::Model`], which
    /// calls the model `model`, when the server cannot be asked.
    pub fn open(address: &Address, options: &Options, model: &str) -> Result<Self> {
        let options = options.checked()?.clone();
        if address.is_whole() {
            return Err(Error::argument(format!("{address} takes whole pictures and texts, not tensors")));
        }
        let blame = |failure: Failure| Error::model(model, failure.about(service(address)));
        let token = Token::from_environment()?;
        let link = match address.protocol() {
            Protocol::OipGrpc => Link::Grpc(OipGrpc::new(address, Grpc::new(address, token).map_err(blame)?)),
            _ => Link::Http(Oip::new(address, Http::new(address, token, options.requests))),
        };
        let signature = options.patience().persist(|left| match &link {
            Link::Http(oip) => oip.signature(left),
            Link::Grpc(oip) => oip.signature(left),
        });
        let signature = signature.map_err(blame)?;
        Ok(Self { address: address.clone(), options, link, signature })
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// How it is called.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What it takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Runs the network and gives its output `wanted`, of which no more than `numbers` numbers are read.
    ///
    /// # Errors
    /// When the server gives no answer that can be used.
    pub fn infer(&self, inputs: &[Tensor<'_>], wanted: &str, numbers: usize) -> std::result::Result<Output, Failure> {
        let output = self.options.patience().persist(|left| match &self.link {
            Link::Http(oip) => oip.infer(inputs, wanted, numbers, left),
            Link::Grpc(oip) => oip.infer(inputs, wanted, numbers, left),
        });
        output.map_err(|failure| failure.about(service(&self.address)))
    }
}

fn service(address: &Address) -> String {
    format!("service {address}")
}
