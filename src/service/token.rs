//! The bearer token: sent, and never shown.

use std::env;
use std::fmt;

use crate::error::{Error, Result};
use crate::service::address::TOKEN;

/// What proves to a server who is asking.
#[derive(Clone)]
pub(super) struct Token(String);

impl Token {
    /// The token in the environment, if there is one.
    pub(super) fn from_environment() -> Result<Option<Self>> {
        let Some(token) = env::var_os(TOKEN) else { return Ok(None) };
        let token = token.into_string().unwrap_or_default();
        let token = token.trim();
        match !token.is_empty() && token.len() <= 8192 && token.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Some(Self(token.to_string()))),
            false => Err(Error::argument(format!(
                "{TOKEN} is set, but is no token: it must be printable ASCII without spaces; correct or unset it"
            ))),
        }
    }

    /// The value of the header `authorization`.
    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// `text` without the token.
    pub(super) fn hidden_in(&self, text: &str) -> String {
        text.replace(&self.0, "***")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown() {
        let token = Token("sk-123".into());
        assert_eq!(format!("{token:?}"), "Token(***)");
        assert_eq!(token.hidden_in("bad key sk-123!"), "bad key ***!");
        assert_eq!(token.header(), "Bearer sk-123");
    }
}
