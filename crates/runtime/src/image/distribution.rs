//! What a registry has under a name, without bringing it here.

use super::digest::Digest;
use super::error::ImageError;
use super::manifest::Document;
use super::platform::Platform;
use super::reference::Reference;
use super::registry::{Access, Credentials, Registry, RegistryError, RegistrySettings, endpoints};
use super::store::parse_config;

/// What a name stands for in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distributed {
    /// Of the manifest or index.
    pub media_type: String,
    /// Of the manifest or index.
    pub digest: Digest,
    /// Of the manifest or index, in bytes.
    pub size: u64,
    /// The machines it is for.
    pub platforms: Vec<Platform>,
}

/// Asks the registry of this reference, mirrors first.
pub async fn inspect_distribution(
    reference: &Reference,
    credentials: Option<&Credentials>,
    settings: &RegistrySettings,
) -> Result<Distributed, ImageError> {
    let reference = reference.clone().or_latest();
    let mut result = Err(RegistryError::NotFound(reference.familiar()).into());
    for endpoint in endpoints(reference.domain(), settings) {
        let access = Access::Pull(reference.clone());
        result = match Registry::connect(&endpoint, credentials, access, settings).await {
            Ok(registry) => inspect(&registry, &reference).await,
            Err(error) => Err(error.into()),
        };
        if result.is_ok() {
            break;
        }
    }
    result
}

async fn inspect(registry: &Registry, reference: &Reference) -> Result<Distributed, ImageError> {
    let asked = reference.digest().map(Digest::as_str).or(reference.tag()).unwrap_or_default();
    let fetched = registry.manifest(asked).await?;
    let platforms = match Document::parse(&fetched.bytes, &fetched.media_type)? {
        // Attestations are for no machine.
        Document::Index(index) => {
            let platforms = index.manifests.into_iter().filter_map(|image| image.platform);
            platforms.filter(|platform| platform.os != "unknown").collect()
        }
        Document::Manifest(manifest) => {
            let config = registry.config(&manifest.config.digest, manifest.config.size).await?;
            vec![Platform::from(&parse_config(&config)?)]
        }
    };
    Ok(Distributed {
        media_type: fetched.media_type,
        digest: fetched.digest,
        size: fetched.bytes.len() as u64,
        platforms,
    })
}
