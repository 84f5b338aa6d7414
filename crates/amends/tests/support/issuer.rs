//! An issuer of tokens by OpenID Connect, on the loopback and with real keys.

#![cfg(test)]

use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;

/// The issuer. Its keys are called by their algorithms.
pub struct Issuer {
    pub address: String,
    published: Arc<Mutex<Published>>,
    random: SystemRandom,
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

#[derive(Default)]
struct Published {
    keys: Vec<Value>,
    /// How often they were asked for.
    times: usize,
}

impl Issuer {
    /// One that publishes all its keys, and some that cannot be used.
    pub async fn start() -> Issuer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let published = Arc::new(Mutex::new(Published::default()));
        let about = json!({ "issuer": address, "jwks_uri": format!("{address}/keys") });
        let keys = Arc::clone(&published);
        let router =
            Router::new().route("/.well-known/openid-configuration", get(move || async move { Json(about) })).route(
                "/keys",
                get(move || async move {
                    let mut published = keys.lock().unwrap();
                    published.times += 1;
                    Json(json!({ "keys": published.keys }))
                }),
            );
        tokio::spawn(async move { axum::serve(listener, router).await });
        let random = SystemRandom::new();
        let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random).unwrap();
        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let ed = Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap();
        let issuer = Issuer { address, published, random, rsa: rsa(), ec, ed };
        issuer.publish(issuer.keys());
        issuer
    }

    pub fn publish(&self, keys: Vec<Value>) {
        self.published.lock().unwrap().keys = keys;
    }

    /// How often its keys were fetched.
    pub fn times(&self) -> usize {
        self.published.lock().unwrap().times
    }

    pub fn keys(&self) -> Vec<Value> {
        let PublicKeyComponents { n, e } = self.rsa_components();
        let ec = self.ec.public_key().as_ref();
        vec![
            json!({ "kty": "oct", "kid": "HS256", "k": base64(b"a secret that is none"), "alg": "HS256" }),
            json!({ "kty": "what-comes-later", "kid": "new" }),
            json!({ "kty": "RSA", "kid": "for-encryption", "use": "enc", "n": base64(&n), "e": base64(&e) }),
            json!({ "kty": "RSA", "kid": "RS256", "use": "sig", "alg": "RS256", "n": base64(&n), "e": base64(&e) }),
            json!({ "kty": "EC", "kid": "ES256", "crv": "P-256", "x": base64(&ec[1..33]), "y": base64(&ec[33..]) }),
            json!({ "kty": "OKP", "kid": "EdDSA", "crv": "Ed25519", "x": base64(self.ed.public_key().as_ref()) }),
        ]
    }

    fn rsa_components(&self) -> PublicKeyComponents<Vec<u8>> {
        self.rsa.public().into()
    }

    /// What a token says that is as it should be, valid for ten minutes.
    pub fn claims(&self) -> Value {
        json!({ "iss": self.address, "aud": "amends", "sub": "kim", "exp": now_s() + 600, "roles": ["viewer"] })
    }

    /// A token signed with the key of this algorithm, which its head names.
    pub fn token(&self, algorithm: &str, claims: &Value) -> String {
        self.signed(algorithm, &json!({ "alg": algorithm, "kid": algorithm, "typ": "JWT" }), claims)
    }

    /// A token with this head, signed in this way whatever the head says. `HS256` takes the public RSA key for its secret.
    pub fn signed(&self, algorithm: &str, head: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", base64(head.to_string().as_bytes()), base64(claims.to_string().as_bytes()));
        let signature = match algorithm {
            "RS256" => {
                let mut signature = vec![0; self.rsa.public().modulus_len()];
                self.rsa.sign(&RSA_PKCS1_SHA256, &self.random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
            "ES256" => self.ec.sign(&self.random, message.as_bytes()).unwrap().as_ref().to_vec(),
            "EdDSA" => self.ed.sign(message.as_bytes()).as_ref().to_vec(),
            "HS256" => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &self.rsa_components().n);
                hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
            }
            _ => Vec::new(),
        };
        format!("{message}.{}", base64(&signature))
    }
}

/// A key for tests alone: ring makes none.
fn rsa() -> RsaKeyPair {
    let text: String = include_str!("issuer_rsa.txt").split_whitespace().collect();
    RsaKeyPair::from_der(&STANDARD.decode(text).unwrap()).unwrap()
}

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since the epoch.
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
