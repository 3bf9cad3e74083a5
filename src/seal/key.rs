//! Ed25519 keys, as OpenSSL and everybody else writes them: PKCS#8 and SubjectPublicKeyInfo in PEM.
//!
//! A private key never shows in a message, a log or `Debug`. What verifies needs public keys alone.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::digest::Digest;

/// What stands before the 32 bytes of a private key in PKCS#8 version 1, which every OpenSSL reads.
const PRIVATE_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// What stands before the 32 bytes of a public key.
const PUBLIC_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

const PRIVATE_LABEL: &str = "PRIVATE KEY";
const PUBLIC_LABEL: &str = "PUBLIC KEY";

/// Hexadecimal digits of a key's id: enough to tell an operator's few keys apart. The id is a hint which key to try,
/// and nothing is trusted for having one.
const ID_DIGITS: usize = 16;

/// Why there is no key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    #[error("it is no PEM block `{0}`")]
    NotPem(&'static str),
    #[error("it is no Ed25519 key: make one with `openssl genpkey -algorithm ed25519`")]
    NotEd25519,
    #[error("the system gives no random bytes")]
    NoRandomness,
}

/// A private key that signs seals.
pub struct SealKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl SealKey {
    /// Reads a private key in PKCS#8 and PEM.
    pub fn from_pem(text: &str) -> Result<SealKey, KeyError> {
        let bytes = unwrap_pem(text, PRIVATE_LABEL).ok_or(KeyError::NotPem(PRIVATE_LABEL))?;
        // OpenSSL leaves the public half out, which the strict reading would refuse.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&bytes).map_err(|_| KeyError::NotEd25519)?;
        SealKey::of(pair)
    }

    /// Makes a new key; with it, its PEM.
    pub fn generate() -> Result<(SealKey, String), KeyError> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| KeyError::NoRandomness)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::NoRandomness)?;
        let pem = wrap_pem(PRIVATE_LABEL, &[PRIVATE_PREFIX.as_slice(), &seed].concat());
        Ok((SealKey::of(pair)?, pem))
    }

    fn of(pair: Ed25519KeyPair) -> Result<SealKey, KeyError> {
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError::NotEd25519)?;
        Ok(SealKey { public: PublicKey(public), pair })
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn sign(&self, message: &[u8]) -> String {
        BASE64.encode(self.pair.sign(message))
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealKey").field("id", &self.public.id()).finish_non_exhaustive()
    }
}

/// A public key that signatures are checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    pub fn from_pem(text: &str) -> Result<PublicKey, KeyError> {
        let bytes = unwrap_pem(text, PUBLIC_LABEL).ok_or(KeyError::NotPem(PUBLIC_LABEL))?;
        let key = bytes.strip_prefix(PUBLIC_PREFIX.as_slice()).and_then(|key| key.try_into().ok());
        key.map(PublicKey).ok_or(KeyError::NotEd25519)
    }

    pub fn to_pem(&self) -> String {
        wrap_pem(PUBLIC_LABEL, &self.to_der())
    }

    /// The beginning of the digest of the key's DER form.
    pub fn id(&self) -> String {
        let mut id = Digest::of(&self.to_der()).to_string();
        id.truncate(ID_DIGITS);
        id
    }

    /// Whether `signature`, in base64, is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        let Ok(signature) = BASE64.decode(signature) else { return false };
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, &signature).is_ok()
    }

    fn to_der(&self) -> Vec<u8> {
        [PUBLIC_PREFIX.as_slice(), &self.0].concat()
    }
}

fn wrap_pem(label: &str, bytes: &[u8]) -> String {
    // Both kinds of keys fit the 64 characters of a line.
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64.encode(bytes))
}

/// The bytes of the first block with this label. What stands around it, such as a comment, does not count.
fn unwrap_pem(text: &str, label: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    BASE64.decode(body.split_whitespace().collect::<String>()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first test key of RFC 8032, as OpenSSL writes it.
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
                           MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
                           -----END PRIVATE KEY-----\n";

    #[test]
    fn a_key_of_openssl_signs_as_the_standard_says() {
        let key = SealKey::from_pem(PRIVATE).expect("a key");
        let signature = key.sign(b"");
        assert_eq!(
            signature,
            "5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc+bRr0lv18FlbviRlUUFDjnoQCw=="
        );
        assert!(key.public().verifies(b"", &signature));
        assert!(!key.public().verifies(b"x", &signature));
        assert!(!key.public().verifies(b"", "no base64"));
    }

    #[test]
    fn keys_survive_their_pem() {
        let (key, pem) = SealKey::generate().expect("a key");
        let again = SealKey::from_pem(&pem).expect("a key");
        assert_eq!(again.public(), key.public());
        assert_eq!(PublicKey::from_pem(&key.public().to_pem()).as_ref(), Ok(key.public()));
        assert_eq!(key.public().id().len(), ID_DIGITS);
    }

    #[test]
    fn what_is_no_key_is_refused_and_never_shown() {
        assert_eq!(SealKey::from_pem("hunter2").expect_err("no key"), KeyError::NotPem(PRIVATE_LABEL));
        assert_eq!(PublicKey::from_pem(PRIVATE).expect_err("no public key"), KeyError::NotPem(PUBLIC_LABEL));
        let short = wrap_pem(PUBLIC_LABEL, b"short");
        assert_eq!(PublicKey::from_pem(&short).expect_err("no key"), KeyError::NotEd25519);
        let (key, pem) = SealKey::generate().expect("a key");
        assert!(!format!("{key:?}").contains(pem.lines().nth(1).expect("a body")));
    }
}
