//! Bound tokens of service accounts: JSON web tokens (RFC 7519) signed with ES256 (RFC 7518, 3.4), with Kubernetes' claims (the page
//! "Managing service accounts", "Bound tokens"). Whether account and pod still are what they were is asked by the caller.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::{
    digest,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey},
};
use serde_json::{Value, json};

use crate::object::Look;

/// Who the server is, to itself and to its clients.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// A token lives at least this long, seconds.
pub const LIFE_MIN_S: i64 = 600;
/// A token lives this long unless something else is asked, seconds.
pub const LIFE_S: i64 = 3600;
/// A token lives at most this long, seconds.
pub const LIFE_MAX_S: i64 = 1 << 32;

/// Where others find the key (OpenID Connect Discovery 1.0, section 3).
pub fn configuration(key_set_url: &str) -> Value {
    json!({
        "issuer": ISSUER, "jwks_uri": key_set_url, "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
    })
}

/// What a token says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Namespace of the account.
    pub namespace: String,
    /// The account.
    pub account: Bound,
    /// The pod that it is bound to.
    pub pod: Option<Bound>,
    /// The secret that it is bound to.
    pub secret: Option<Bound>,
    /// The node of the pod.
    pub node: Option<Bound>,
    /// Whom it may be shown to.
    pub audiences: Vec<String>,
    /// From when, seconds since 1970.
    pub issued_s: i64,
    /// Until when, seconds since 1970.
    pub expires_s: i64,
    /// The token's own identity.
    pub id: String,
}

/// An object that a token is bound to: a new one of the same name is another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// Name.
    pub name: String,
    /// Identity.
    pub uid: String,
}

/// The key that signs tokens.
pub struct Signer {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Signer {
    /// A new key, PKCS #8.
    pub fn generate() -> Result<Vec<u8>, ring::error::Unspecified> {
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map(|key| key.as_ref().to_vec())
    }

    /// From a key, PKCS #8.
    pub fn new(pkcs8: &[u8]) -> Result<Self, ring::error::KeyRejected> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random)?;
        Ok(Self { key, random })
    }

    /// A token that says this.
    pub fn sign(&self, claims: &Claims) -> Result<String, ring::error::Unspecified> {
        let head = json!({ "alg": "ES256", "kid": self.key_id(), "typ": "JWT" });
        let head = URL_SAFE_NO_PAD.encode(head.to_string());
        let body = URL_SAFE_NO_PAD.encode(payload(claims).to_string());
        let said = format!("{head}.{body}");
        let signature = self.key.sign(&self.random, said.as_bytes())?;
        Ok(format!("{said}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn key_id(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, self.key.public_key().as_ref()))
    }

    /// The public key for others, who verify tokens themselves: a set of one (RFC 7517; RFC 7518, 6.2).
    pub fn key_set(&self) -> Value {
        // An uncompressed point: a byte that says so, x, y.
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        let [x, y] = [x, y].map(|number| URL_SAFE_NO_PAD.encode(number));
        json!({ "keys": [{ "use": "sig", "kty": "EC", "kid": self.key_id(), "crv": "P-256", "alg": "ES256", "x": x, "y": y }] })
    }

    /// What a token says, if it is ours and holds now.
    pub fn verify(&self, token: &str, now: Timestamp) -> Option<Claims> {
        let (said, signature) = token.rsplit_once('.')?;
        let (head, body) = said.split_once('.')?;
        let head: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).ok()?).ok()?;
        if head.text("alg") != "ES256" {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref());
        public.verify(said.as_bytes(), &signature).ok()?;
        let body: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()?;
        let claims = read(&body)?;
        let now_s = now.as_second();
        (claims.issued_s <= now_s + 60 && now_s < claims.expires_s).then_some(claims)
    }
}

fn payload(claims: &Claims) -> Value {
    let bound = |bound: &Bound| json!({ "name": bound.name, "uid": bound.uid });
    let mut kubernetes = json!({ "namespace": claims.namespace, "serviceaccount": bound(&claims.account) });
    for (what, to) in [("pod", &claims.pod), ("secret", &claims.secret), ("node", &claims.node)] {
        if let Some(to) = to {
            kubernetes[what] = bound(to);
        }
    }
    json!({
        "iss": ISSUER, "aud": claims.audiences, "sub": format!("system:serviceaccount:{}:{}", claims.namespace, claims.account.name),
        "iat": claims.issued_s, "nbf": claims.issued_s, "exp": claims.expires_s, "jti": claims.id, "kubernetes.io": kubernetes,
    })
}

fn read(body: &Value) -> Option<Claims> {
    if body.text("iss") != ISSUER {
        return None;
    }
    let kubernetes = &body["kubernetes.io"];
    let bound = |what: &str| {
        let bound = kubernetes.get(what)?;
        Some(Bound { name: bound.text("name").to_owned(), uid: bound.text("uid").to_owned() })
    };
    Some(Claims {
        namespace: kubernetes.text("namespace").to_owned(),
        account: bound("serviceaccount")?,
        pod: bound("pod"),
        secret: bound("secret"),
        node: bound("node"),
        audiences: body.list("aud").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        issued_s: body.int("iat")?,
        expires_s: body.int("exp")?,
        id: body.text("jti").to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_believed_for_its_time() {
        let signer = Signer::new(&Signer::generate().expect("a key")).expect("that key");
        let claims = Claims {
            namespace: "shop".to_owned(),
            account: Bound { name: "default".to_owned(), uid: "u1".to_owned() },
            pod: Some(Bound { name: "web".to_owned(), uid: "u2".to_owned() }),
            audiences: vec![ISSUER.to_owned()],
            issued_s: 1000,
            expires_s: 2000,
            id: "j".to_owned(),
            ..Claims::default()
        };
        let token = signer.sign(&claims).expect("a token");
        let at = |s| Timestamp::from_second(s).expect("a time");
        assert_eq!(signer.verify(&token, at(1500)), Some(claims));
        assert_eq!(signer.verify(&token, at(2000)), None);
        assert_eq!(signer.verify(&token, at(500)), None);
        let keys = signer.key_set();
        let part = |path: &str| URL_SAFE_NO_PAD.decode(keys["keys"][0].text(path)).expect("base64");
        let point = [vec![4], part("x"), part("y")].concat();
        assert_eq!(point, signer.key.public_key().as_ref());
        let other = Signer::new(&Signer::generate().expect("a key")).expect("that key");
        assert_eq!(other.verify(&token, at(1500)), None);
        for broken in ["", "a.b.c", "..", &token[1..], &token[..token.len() - 4]] {
            assert_eq!(signer.verify(broken, at(1500)), None);
        }
    }
}
