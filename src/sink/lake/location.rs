//! Where a lake lies: a folder or a bucket, and the store that reaches it.
//!
//! Every store that comes from here can create an object only if it is absent; without that, two commits could
//! overwrite each other. Options are object_store's own and win over the environment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, RetryConfig};
use url::Url;

use super::error::LakeError;

/// How long one request to a store is retried before the error reaches the caller. The library's three minutes would
/// keep an operator waiting to hear that the store is down; what retries after this is the sink's own bounded loop.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
/// With the library's back-off, five tries fill about that time.
const NUM_RETRIES_MAX: usize = 5;

/// The address of a lake as an operator gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LakeLocation {
    /// A path, or a URL: `file:///…`, `s3://…`, `gs://…`, `az://…`.
    pub url: String,
    /// object_store's own option names, such as `aws_endpoint`.
    pub options: BTreeMap<String, String>,
}

/// A store and the place in it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The whole bucket or file system.
    pub store: Arc<dyn ObjectStore>,
    /// The lake's URL, ending in a slash.
    pub url: Url,
    /// The lake's place in `store`.
    pub prefix: Path,
}

impl LakeLocation {
    pub fn new(url: impl Into<String>) -> LakeLocation {
        LakeLocation { url: url.into(), options: BTreeMap::new() }
    }

    /// Refuses an address or options that no store could have, without connecting to one.
    pub fn check(&self) -> Result<(), LakeError> {
        self.resolve().map(|_| ())
    }

    /// Everything that lies there, by paths below the address. Connects to nothing yet.
    pub fn store(&self) -> Result<Arc<dyn ObjectStore>, LakeError> {
        let place = self.resolve()?;
        Ok(Arc::new(PrefixStore::new(place.store, place.prefix)))
    }

    pub(super) fn resolve(&self) -> Result<Place, LakeError> {
        let url = self.parse_url()?;
        let store = self.build_store(&url)?;
        // A local path keeps all of its segments; elsewhere the bucket or container is the URL's host.
        let prefix =
            Path::from_url_path(url.path()).map_err(|error| self.refuse("has a path that no store takes", error))?;
        Ok(Place { store, url, prefix })
    }

    fn parse_url(&self) -> Result<Url, LakeError> {
        let mut url = match Url::parse(&self.url) {
            Ok(url) => url,
            Err(url::ParseError::RelativeUrlWithoutBase) if !self.url.is_empty() => {
                let path = std::path::absolute(&self.url).map_err(|error| self.refuse("is no usable path", error))?;
                let url = Url::from_directory_path(path).map_err(|()| {
                    LakeError::Refused(format!("the lake's path `{}` cannot be made absolute", self.url))
                })?;
                // Parsing takes `..` out, which a store's path cannot hold.
                Url::parse(url.as_str()).map_err(|error| self.refuse("is no usable path", error))?
            }
            Err(error) => return Err(self.refuse("is neither a path nor a url", error)),
        };
        if url.query().is_some() || url.fragment().is_some() || url.password().is_some() {
            // Not quoted: what stands there may be a secret.
            return Err(LakeError::Refused(
                "the lake's url has a query, a fragment or a password: give such things as options".to_string(),
            ));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(url)
    }

    fn build_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>, LakeError> {
        let retry =
            RetryConfig { max_retries: NUM_RETRIES_MAX, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
        let built: Result<Arc<dyn ObjectStore>, object_store::Error> = match url.scheme() {
            "file" => {
                if let Some(name) = self.options.keys().next() {
                    return Err(LakeError::Refused(format!("a lake on local disk takes no option `{name}`")));
                }
                Ok(Arc::new(LocalFileSystem::new()))
            }
            "s3" | "s3a" => {
                let mut builder = AmazonS3Builder::from_env().with_url(url.as_str()).with_retry(retry);
                for (name, value) in &self.options {
                    let key: AmazonS3ConfigKey = self.parse_option(name)?;
                    if key == AmazonS3ConfigKey::ConditionalPut && value != "etag" {
                        return Err(LakeError::Refused(format!(
                            "lake option `{name}` must be `etag`: without conditional writes commits could overwrite each other"
                        )));
                    }
                    builder = builder.with_config(key, value);
                }
                builder.with_conditional_put(S3ConditionalPut::ETagMatch).build().map(|store| Arc::new(store) as _)
            }
            "gs" => {
                let mut builder = GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).with_retry(retry);
                for (name, value) in &self.options {
                    builder = builder.with_config(self.parse_option(name)?, value);
                }
                builder.build().map(|store| Arc::new(store) as _)
            }
            "az" | "azure" => {
                let mut builder = MicrosoftAzureBuilder::from_env().with_url(url.as_str()).with_retry(retry);
                for (name, value) in &self.options {
                    builder = builder.with_config(self.parse_option(name)?, value);
                }
                builder.build().map(|store| Arc::new(store) as _)
            }
            other => {
                return Err(LakeError::Refused(format!(
                    "a lake cannot lie at `{other}://`: use a path, file://, s3://, gs:// or az://"
                )));
            }
        };
        built.map_err(|error| self.refuse("cannot be reached with these options", error))
    }

    fn parse_option<K: std::str::FromStr>(&self, name: &str) -> Result<K, LakeError> {
        name.parse().map_err(|_| {
            LakeError::Refused(format!("unknown lake option `{name}` for `{}`: object_store's names apply", self.url))
        })
    }

    fn refuse(&self, what: &str, cause: impl std::fmt::Display) -> LakeError {
        LakeError::Refused(format!("the lake's url `{}` {what}: {cause}", self.url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(location: &LakeLocation) -> String {
        location.resolve().expect_err("refused").to_string()
    }

    #[test]
    fn a_relative_path_may_lead_up() {
        let here = LakeLocation::new("lake").resolve().expect("a path").prefix;
        let there = LakeLocation::new("../other/../lake").resolve().expect("a path").prefix;
        assert_eq!(here.parts().count(), there.parts().count() + 1);
        assert!(!there.as_ref().contains(".."), "{there}");
    }

    fn with_option(url: &str, name: &str, value: &str) -> LakeLocation {
        LakeLocation { url: url.into(), options: BTreeMap::from([(name.into(), value.into())]) }
    }

    #[test]
    fn a_plain_path_and_a_file_url_name_the_same_place() {
        let path = LakeLocation::new("/srv/lake").resolve().expect("a path");
        let url = LakeLocation::new("file:///srv/lake/").resolve().expect("a url");
        assert_eq!((path.url.as_str(), path.prefix.as_ref()), ("file:///srv/lake/", "srv/lake"));
        assert_eq!((path.url, path.prefix), (url.url, url.prefix));
    }

    #[test]
    fn a_bucket_is_not_part_of_the_prefix() {
        let place = with_option("s3://audit/prod", "aws_region", "eu-west-1").resolve().expect("a bucket");
        assert_eq!(place.prefix.as_ref(), "prod");
    }

    #[test]
    fn mistakes_are_named() {
        assert!(refusal(&LakeLocation::new("ftp://example.com/lake")).contains("`ftp://`"));
        assert!(refusal(&LakeLocation::new("")).contains("neither a path nor a url"));
        assert!(refusal(&with_option("s3://audit", "aws_reigon", "x")).contains("`aws_reigon`"));
        assert!(refusal(&with_option("/srv/lake", "aws_region", "x")).contains("takes no option"));
    }

    #[test]
    fn conditional_writes_cannot_be_turned_off() {
        assert!(refusal(&with_option("s3://audit", "aws_conditional_put", "disabled")).contains("must be `etag`"));
    }

    #[test]
    fn a_password_in_the_url_is_refused_and_not_repeated() {
        let message = refusal(&LakeLocation::new("s3://key:hunter2@audit/lake"));
        assert!(!message.contains("hunter2"), "{message}");
    }
}
