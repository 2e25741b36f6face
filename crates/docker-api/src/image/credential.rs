//! Who a client is to a registry: the header `X-Registry-Auth`, and the body of `POST /auth`.

use base64::{Engine as _, engine::GeneralPurpose, engine::general_purpose};
use runtime::image::Credentials;
use serde::Deserialize;

use crate::wire::null_default;

/// What a client has to show to a registry.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Credential {
    /// Name.
    #[serde(deserialize_with = "null_default")]
    pub(crate) username: String,
    /// Password.
    #[serde(deserialize_with = "null_default")]
    pub(crate) password: String,
    /// A refresh token instead of both.
    #[serde(rename = "identitytoken", deserialize_with = "null_default")]
    pub(crate) identity_token: String,
    /// A bearer token instead of all.
    #[serde(rename = "registrytoken", deserialize_with = "null_default")]
    pub(crate) registry_token: String,
    /// `name:password` in base64, as configuration files have it.
    #[serde(deserialize_with = "null_default")]
    auth: String,
    /// Which registry it is for.
    #[serde(rename = "serveraddress", deserialize_with = "null_default")]
    pub(crate) server_address: String,
}

/// Clients differ in the alphabet and in the padding.
const ALPHABETS: [GeneralPurpose; 4] = [
    general_purpose::URL_SAFE,
    general_purpose::STANDARD,
    general_purpose::URL_SAFE_NO_PAD,
    general_purpose::STANDARD_NO_PAD,
];

impl Credential {
    /// Reads the header. One that cannot be read is none at all: what is public is still pulled, as Docker has it.
    pub(crate) fn from_header(header: Option<&str>) -> Option<Self> {
        let credential: Self = serde_json::from_slice(&decode(header?)?).ok()?;
        let credential = credential.with_auth();
        let says_something = ![&credential.username, &credential.identity_token, &credential.registry_token]
            .iter()
            .all(|text| text.is_empty());
        says_something.then_some(credential)
    }

    /// The same with name and password from where configuration files have them.
    pub(crate) fn with_auth(mut self) -> Self {
        let pair = decode(&self.auth).and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some((name, password)) = pair.as_deref().and_then(|pair| pair.split_once(':'))
            && self.username.is_empty()
        {
            self.username = name.to_owned();
            self.password = password.trim_end_matches('\0').to_owned();
        }
        self
    }

    /// The same without the registry.
    pub(crate) fn into_credentials(self) -> Credentials {
        let Self { username, password, identity_token, registry_token, .. } = self;
        Credentials { username, password, identity_token, registry_token }
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    (!text.is_empty()).then(|| ALPHABETS.iter().find_map(|alphabet| alphabet.decode(text).ok()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        let check = |document: &str, expected: Option<(&str, &str, &str)>| {
            for alphabet in &ALPHABETS {
                let header = alphabet.encode(document);
                let found = Credential::from_header(Some(&header));
                let found = found.as_ref().map(|c| (&*c.username, &*c.password, &*c.identity_token));
                assert_eq!(found, expected, "{document}");
            }
        };
        check(
            r#"{"username":"me","password":"p?>ss","email":"x","serveraddress":"r:5000"}"#,
            Some(("me", "p?>ss", "")),
        );
        check(r#"{"identitytoken":"tok"}"#, Some(("", "", "tok")));
        check(r#"{"auth":"bWU6c2VjcmV0"}"#, Some(("me", "secret", "")));
        check("{}", None);
        check(r#"{"username":null}"#, None);
        check("nonsense", None);
        assert!(Credential::from_header(None).is_none() && Credential::from_header(Some("!")).is_none());
    }
}
