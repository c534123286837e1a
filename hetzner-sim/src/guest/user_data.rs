//! From `user_data` to files, as cloud-init's Hetzner datasource and `write_files` read it.

use std::io::Read;

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;

/// What 32 KiB of gzip may grow to. cloud-init has no limit; a simulator must not be made to
/// swallow gigabytes.
const UNPACKED_MAX: u64 = 16 * 1024 * 1024;

/// Why nothing can be written for a server. On the real thing this is a line in cloud-init's log
/// and a server that runs regardless.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserDataError {
    #[error("no user_data")]
    Missing,
    #[error("user_data does not unpack")]
    Unpack(#[source] std::io::Error),
    #[error("user_data is larger than {UNPACKED_MAX} bytes unpacked")]
    TooLarge,
    #[error("user_data is not UTF-8")]
    NotText,
    #[error("user_data does not begin with the line #cloud-config")]
    NotCloudConfig,
    #[error("user_data is not valid YAML")]
    Yaml(#[source] Box<serde_yaml::Error>),
    #[error("the content of {path} does not decode from {encoding}")]
    Content { path: String, encoding: String },
}

/// One entry of `write_files`, decoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WriteFile {
    pub(crate) path: String,
    pub(crate) content: Vec<u8>,
    /// Mode bits; cloud-init's default is 0644.
    pub(crate) mode: u32,
}

#[derive(Deserialize)]
struct CloudConfig {
    #[serde(default)]
    write_files: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    path: String,
    #[serde(default)]
    content: String,
    encoding: Option<String>,
    permissions: Option<String>,
}

/// The files that a server's `user_data` asks for.
pub(crate) fn files(user_data: Option<&str>) -> Result<Vec<WriteFile>, UserDataError> {
    let document = unpack(user_data.ok_or(UserDataError::Missing)?)?;
    let text = String::from_utf8(document).map_err(|_| UserDataError::NotText)?;
    if text.lines().next().map(str::trim_end) != Some("#cloud-config") {
        return Err(UserDataError::NotCloudConfig);
    }
    let config: CloudConfig =
        serde_yaml::from_str(&text).map_err(|error| UserDataError::Yaml(Box::new(error)))?;
    config.write_files.into_iter().map(decode).collect()
}

/// Base64 if it strictly is, then gzip if it is; else as it stands.
fn unpack(user_data: &str) -> Result<Vec<u8>, UserDataError> {
    let bytes = BASE64_STANDARD
        .decode(user_data)
        .unwrap_or_else(|_| user_data.as_bytes().to_vec());
    if bytes.starts_with(&[0x1f, 0x8b]) {
        gunzip(&bytes)
    } else {
        Ok(bytes)
    }
}

fn gunzip(bytes: &[u8]) -> Result<Vec<u8>, UserDataError> {
    let mut unpacked = Vec::new();
    MultiGzDecoder::new(bytes)
        .take(UNPACKED_MAX + 1)
        .read_to_end(&mut unpacked)
        .map_err(UserDataError::Unpack)?;
    if unpacked.len() as u64 > UNPACKED_MAX {
        return Err(UserDataError::TooLarge);
    }
    Ok(unpacked)
}

fn decode(entry: Entry) -> Result<WriteFile, UserDataError> {
    let encoding = entry.encoding.unwrap_or_default().to_lowercase();
    let failed = || UserDataError::Content {
        path: entry.path.clone(),
        encoding: encoding.clone(),
    };
    let content = match encoding.as_str() {
        "" | "text/plain" => entry.content.into_bytes(),
        "b64" | "base64" => BASE64_STANDARD
            .decode(entry.content.trim())
            .map_err(|_| failed())?,
        "gz+b64" | "gzip+b64" | "gz+base64" | "gzip+base64" => {
            let packed = BASE64_STANDARD
                .decode(entry.content.trim())
                .map_err(|_| failed())?;
            gunzip(&packed)?
        }
        _ => return Err(failed()),
    };
    let mode = entry
        .permissions
        .and_then(|text| u32::from_str_radix(text.trim_start_matches("0o"), 8).ok())
        .unwrap_or(0o644);
    Ok(WriteFile {
        path: entry.path,
        content,
        mode: mode & 0o777,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    const DOCUMENT: &str = "#cloud-config\n{\"write_files\":[{\"path\":\"/run/a\",\
        \"content\":\"hello\",\"permissions\":\"0600\"}]}";

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn expected() -> Vec<WriteFile> {
        vec![WriteFile {
            path: "/run/a".to_owned(),
            content: b"hello".to_vec(),
            mode: 0o600,
        }]
    }

    #[test]
    fn plain_base64_and_packed_documents_mean_the_same() {
        let packed = BASE64_STANDARD.encode(gzip(DOCUMENT));
        let encoded = BASE64_STANDARD.encode(DOCUMENT);
        for user_data in [DOCUMENT, &packed, &encoded] {
            assert_eq!(files(Some(user_data)).unwrap(), expected());
        }
    }

    #[test]
    fn base64_with_a_newline_in_it_is_not_strict_and_stays_text() {
        let mut wrapped = BASE64_STANDARD.encode(gzip(DOCUMENT));
        wrapped.insert(40, '\n');
        assert!(matches!(
            files(Some(&wrapped)),
            Err(UserDataError::NotCloudConfig)
        ));
    }

    #[test]
    fn contents_may_be_encoded_one_by_one() {
        let content = BASE64_STANDARD.encode(gzip("deep"));
        let document = format!(
            "#cloud-config\nwrite_files:\n- path: /run/a\n  encoding: gz+b64\n  content: {content}\n- path: /run/b\n  encoding: b64\n  content: aGk=\n"
        );
        let files = files(Some(&document)).unwrap();
        assert_eq!(files[0].content, b"deep");
        assert_eq!(files[1].content, b"hi");
        assert_eq!(files[1].mode, 0o644);
    }

    #[test]
    fn what_is_no_cloud_config_is_refused() {
        assert!(matches!(files(None), Err(UserDataError::Missing)));
        assert!(matches!(
            files(Some("#!/bin/sh\nreboot")),
            Err(UserDataError::NotCloudConfig)
        ));
        assert!(matches!(
            files(Some("#cloud-config\n{")),
            Err(UserDataError::Yaml(_))
        ));
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let zeros = String::from_utf8(vec![b'0'; 17 * 1024 * 1024]).unwrap();
        let bomb = BASE64_STANDARD.encode(gzip(&zeros));
        assert!(bomb.len() < 32_768);
        assert!(matches!(files(Some(&bomb)), Err(UserDataError::TooLarge)));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = files(Some(&text));
            let _ = files(Some(&format!("#cloud-config\n{text}")));
        }
    }
}
