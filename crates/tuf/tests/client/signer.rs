//! Keys that sign, of every kind that the client knows.

use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use serde_json::{Value, json};

/// A key pair with the id under which metadata lists it.
pub struct Key {
    pub id: String,
    pair: Pair,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    Ecdsa(Box<EcdsaKeyPair>, &'static str),
    Rsa(Box<RsaKeyPair>),
}

impl Key {
    /// The same key for the same seed, always.
    pub fn ed25519(seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        Self {
            id: format!("ed{seed}"),
            pair: Pair::Ed25519(pair),
        }
    }

    /// A fresh P-256 key, listed with this `keytype`.
    pub fn ecdsa(id: &str, keytype: &'static str) -> Self {
        let algorithm = &signature::ECDSA_P256_SHA256_ASN1_SIGNING;
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        Self {
            id: id.into(),
            pair: Pair::Ecdsa(Box::new(pair), keytype),
        }
    }

    /// The RSA key of the fixture.
    pub fn rsa() -> Self {
        let pem = pem::parse(include_str!("../keys/rsa.pkcs8.pem")).unwrap();
        let pair = RsaKeyPair::from_pkcs8(pem.contents()).unwrap();
        Self {
            id: "rsa".into(),
            pair: Pair::Rsa(Box::new(pair)),
        }
    }

    /// The same key under another id.
    pub fn listed_as(mut self, id: &str) -> Self {
        self.id = id.into();
        self
    }

    /// As metadata lists it.
    pub fn json(&self) -> Value {
        let (keytype, scheme, public) = match &self.pair {
            Pair::Ed25519(pair) => ("ed25519", "ed25519", hex::encode(pair.public_key())),
            Pair::Ecdsa(pair, keytype) => (
                *keytype,
                "ecdsa-sha2-nistp256",
                p256_pem(pair.public_key().as_ref()),
            ),
            Pair::Rsa(_) => (
                "rsa",
                "rsassa-pss-sha256",
                include_str!("../keys/rsa.pub.pem").into(),
            ),
        };
        json!({"keytype": keytype, "scheme": scheme, "keyval": {"public": public}})
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Ecdsa(pair, _) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut bytes = vec![0; pair.public().modulus_len()];
                pair.sign(&signature::RSA_PSS_SHA256, &random, message, &mut bytes)
                    .unwrap();
                bytes
            }
        }
    }
}

fn p256_pem(point: &[u8]) -> String {
    let mut der = hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap();
    der.extend_from_slice(point);
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("PUBLIC KEY", der), config)
}
