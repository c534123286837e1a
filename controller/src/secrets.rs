//! The controller's secrets: files named by secret, in systemd's credentials directory or in one the
//! operator gave.
//!
//! Invariants: read anew each time, so that a rotated secret counts from the next run on; a value is
//! only ever a [`SecretString`], and what it was read into is zeroed; a message names the secret and
//! the places, never the value.

mod exposed;

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    str::FromStr,
};

use cattle_core::{
    fleet::SecretName,
    user_data::{Secret, SecretSearch},
};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

pub use exposed::{NotApart, keep_apart};

/// The longest secret: a key file, not an archive. systemd allows a megabyte in all.
const MAX_SECRET_BYTES: usize = 64 * 1024;

/// The most files of a secrets directory that are looked at: a directory with more is something else.
const MAX_SECRETS: usize = 1_000;

/// Where secrets are.
#[derive(Clone, Debug)]
pub struct Secrets {
    dirs: Vec<PathBuf>,
    /// Of each directory: the permissions that only others than its owner need.
    others_bits: Vec<u32>,
    /// Known from elsewhere (the environment): searched for, not handed out.
    known: Vec<(String, SecretString)>,
}

/// Why a secret is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// Not a name of a secret.
    #[error("`{}` is not the name of a secret: {why}", .name.escape_debug())]
    Name {
        /// What was given.
        name: String,
        /// The rule.
        why: String,
    },
    /// In none of the places.
    #[error("there is no secret `{name}` ({})", looked_in(.dirs))]
    Missing {
        /// Its name.
        name: String,
        /// Where it was looked for.
        dirs: Vec<PathBuf>,
    },
    /// The file is there and is nothing.
    #[error("the secret `{name}` in `{}` is empty", .path.display())]
    Empty {
        /// Its name.
        name: String,
        /// Its file.
        path: PathBuf,
    },
    /// Too long, a directory, a pipe, or not text.
    #[error("the secret `{name}` in `{}` is {problem}", .path.display())]
    Unusable {
        /// Its name.
        name: String,
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The file system refused.
    #[error("the secrets in `{}` could not be read", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn looked_in(dirs: &[PathBuf]) -> String {
    if dirs.is_empty() {
        return "no secrets directory is set: give `--secrets-dir`".to_owned();
    }
    let dirs: Vec<String> = dirs
        .iter()
        .map(|dir| format!("`{}`", dir.display()))
        .collect();
    format!("looked in {}", dirs.join(", "))
}

impl Secrets {
    /// The credentials directory comes first. One that is given must be there.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub fn open(
        credentials_dir: Option<&Path>,
        secrets_dir: Option<&Path>,
    ) -> Result<Self, SecretsError> {
        let dirs: Vec<PathBuf> = credentials_dir
            .into_iter()
            .chain(secrets_dir)
            .map(Path::to_owned)
            .collect();
        for dir in &dirs {
            dir.read_dir().map_err(|source| SecretsError::Io {
                path: dir.clone(),
                source,
            })?;
        }
        // systemd lets a service at its credentials by an access list, whose mask takes the place of
        // the group's permissions.
        let bits = [(credentials_dir, 0o007), (secrets_dir, 0o077)];
        let others_bits = bits.iter().filter_map(|(dir, bits)| dir.map(|_| *bits));
        Ok(Self {
            dirs,
            others_bits: others_bits.collect(),
            known: Vec::new(),
        })
    }

    /// A secret that came another way (`HCLOUD_TOKEN` in the environment). It is among
    /// [`Secrets::all_values`], and [`Secrets::read`] does not hand it out.
    #[must_use]
    pub fn knowing(mut self, name: &str, value: SecretString) -> Self {
        self.known.push((name.to_owned(), value));
        self
    }

    /// One secret as it is now, without the newline at its end.
    ///
    /// # Errors
    /// It is missing, empty, too long or not text, or cannot be read.
    pub fn read(&self, name: &str) -> Result<SecretString, SecretsError> {
        SecretName::from_str(name).map_err(|error| SecretsError::Name {
            name: name.chars().take(64).collect(),
            why: error.to_string(),
        })?;
        for dir in &self.dirs {
            if let Some(value) = read_file(name, &dir.join(name))? {
                return Ok(value);
            }
        }
        Err(SecretsError::Missing {
            name: name.to_owned(),
            dirs: self.dirs.clone(),
        })
    }

    /// The name of a secret whose value is in the bytes.
    ///
    /// # Errors
    /// As [`Secrets::all_values`].
    pub fn find_in(&self, bytes: &[u8]) -> Result<Option<String>, SecretsError> {
        let known = self.all_values()?;
        let found = SecretSearch::new(&named(&known)).find(bytes);
        Ok(found.map(str::to_owned))
    }

    /// The same for what is about to be sent, as a sentence.
    ///
    /// # Errors
    /// Which secret is in it, or why it could not be searched.
    pub fn refuse_in(&self, bytes: &[u8]) -> Result<(), String> {
        match self.find_in(bytes) {
            Ok(None) => Ok(()),
            Ok(Some(name)) => Err(format!("it holds the value of the secret `{name}`")),
            Err(error) => Err(format!(
                "it could not be searched for secrets: {}",
                crate::report(&error)
            )),
        }
    }

    /// Every secret there is, by name: what must not be found in anything that leaves. A value that
    /// another directory hides is among them. Files that cannot be secrets are left out.
    ///
    /// # Errors
    /// A directory or file cannot be read: then nothing may leave unsearched.
    pub fn all_values(&self) -> Result<Vec<(String, SecretString)>, SecretsError> {
        let mut values = self.known.clone();
        for dir in &self.dirs {
            for (name, path) in files(dir)? {
                match read_file(&name, &path) {
                    Ok(value) => values.extend(value.map(|value| (name, value))),
                    Err(SecretsError::Empty { .. } | SecretsError::Unusable { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(values)
    }
}

/// As a search takes them.
#[must_use]
pub fn named(known: &[(String, SecretString)]) -> Vec<Secret<'_>> {
    known
        .iter()
        .map(|(name, value)| Secret {
            name,
            value: value.expose_secret(),
        })
        .collect()
}

/// Files by name; Kubernetes-style `..data` links and editor leftovers have no name of a secret.
fn files(dir: &Path) -> Result<BTreeMap<String, PathBuf>, SecretsError> {
    let failed = |source| SecretsError::Io {
        path: dir.to_owned(),
        source,
    };
    let mut files = BTreeMap::new();
    for entry in dir.read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if let Some(name) = entry.file_name().to_str()
            && SecretName::from_str(name).is_ok()
        {
            files.insert(name.to_owned(), entry.path());
        }
        if files.len() > MAX_SECRETS {
            return Err(failed(io::Error::other(
                "more files than a secrets directory has",
            )));
        }
    }
    Ok(files)
}

fn read_file(name: &str, path: &Path) -> Result<Option<SecretString>, SecretsError> {
    let failed = |source| SecretsError::Io {
        path: path.to_owned(),
        source,
    };
    let unusable = |problem| SecretsError::Unusable {
        name: name.to_owned(),
        path: path.to_owned(),
        problem,
    };
    // Not blocking: a pipe in its place must not hold us. Links are the operator's and followed.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = match OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)
    {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(unusable("not a file"));
    }
    let text = read_text(file).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => unusable("not text"),
        io::ErrorKind::FileTooLarge => unusable("larger than 64 KiB"),
        _ => failed(error),
    })?;
    let value = text.strip_suffix('\n').unwrap_or(&text);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.is_empty() {
        return Err(SecretsError::Empty {
            name: name.to_owned(),
            path: path.to_owned(),
        });
    }
    Ok(Some(SecretString::from(value.to_owned())))
}

fn read_text(mut file: File) -> io::Result<Zeroizing<String>> {
    // All the room at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(vec![0_u8; MAX_SECRET_BYTES + 1]);
    let mut length = 0;
    while length < bytes.len() {
        match file.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if length > MAX_SECRET_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    match std::str::from_utf8(&bytes[..length]) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use secrecy::ExposeSecret;

    use super::*;

    fn secrets(files: &[(&str, &str)]) -> (tempfile::TempDir, Secrets) {
        let dir = tempfile::tempdir().unwrap();
        for (name, value) in files {
            fs::write(dir.path().join(name), value).unwrap();
        }
        let secrets = Secrets::open(None, Some(dir.path())).unwrap();
        (dir, secrets)
    }

    #[test]
    fn a_secret_is_read_without_its_newline_and_anew_each_time() {
        let (dir, secrets) = secrets(&[("zai_api_key", "sk-one\n")]);
        assert_eq!(
            secrets.read("zai_api_key").unwrap().expose_secret(),
            "sk-one"
        );
        fs::write(dir.path().join("zai_api_key"), "sk-two\r\n").unwrap();
        assert_eq!(
            secrets.read("zai_api_key").unwrap().expose_secret(),
            "sk-two"
        );
    }

    #[test]
    fn the_credentials_directory_comes_first() {
        let (credentials, _) = secrets(&[("a", "from credentials")]);
        let (dir, _) = secrets(&[("a", "from the directory"), ("b", "only here")]);
        let secrets = Secrets::open(Some(credentials.path()), Some(dir.path())).unwrap();
        assert_eq!(
            secrets.read("a").unwrap().expose_secret(),
            "from credentials"
        );
        assert_eq!(secrets.read("b").unwrap().expose_secret(), "only here");
        let names: Vec<String> = secrets
            .all_values()
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(
            names,
            ["a", "a", "b"],
            "a hidden value must not leak either"
        );
    }

    #[test]
    fn a_value_from_the_environment_is_searched_for_and_not_handed_out() {
        let (_dir, secrets) = secrets(&[]);
        let secrets = secrets.knowing("hcloud_token", SecretString::from("from-env".to_owned()));
        assert_eq!(
            secrets.all_values().unwrap()[0].1.expose_secret(),
            "from-env"
        );
        assert!(matches!(
            secrets.read("hcloud_token"),
            Err(SecretsError::Missing { .. })
        ));
        assert!(!format!("{secrets:?}").contains("from-env"));
    }

    #[test]
    fn a_missing_secret_is_named_with_the_places() {
        let (dir, secrets) = secrets(&[]);
        let error = secrets.read("zai_api_key").unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "there is no secret `zai_api_key` (looked in `{}`)",
                dir.path().display()
            )
        );
        let nowhere = Secrets::open(None, None)
            .unwrap()
            .read("x")
            .unwrap_err()
            .to_string();
        insta::assert_snapshot!(nowhere, @"there is no secret `x` (no secrets directory is set: give `--secrets-dir`)");
    }

    #[test]
    fn a_name_never_leads_out_of_the_directory() {
        let (dir, secrets) = secrets(&[("ok", "value")]);
        fs::write(dir.path().parent().unwrap().join("outside-of-secrets"), "x").unwrap();
        for name in [
            "../outside-of-secrets",
            "/etc/passwd",
            "",
            ".",
            "..",
            ".hidden",
            "a/b",
            "a\0b",
        ] {
            let error = secrets.read(name).unwrap_err();
            assert!(
                matches!(error, SecretsError::Name { .. }),
                "{name:?}: {error}"
            );
        }
        fs::remove_file(dir.path().parent().unwrap().join("outside-of-secrets")).unwrap();
    }

    #[test]
    fn what_is_no_secret_is_refused_without_quoting_it() {
        let long = "s".repeat(65 * 1024);
        let (dir, secrets) = secrets(&[("empty", "\n"), ("long", &long)]);
        fs::write(dir.path().join("binary"), [0xff, 0xfe, 0x00]).unwrap();
        fs::create_dir(dir.path().join("directory")).unwrap();
        for (name, said) in [
            ("empty", "is empty"),
            ("long", "is larger than 64 KiB"),
            ("binary", "is not text"),
            ("directory", "is not a file"),
        ] {
            let error = secrets.read(name).unwrap_err().to_string();
            assert!(error.ends_with(said), "{error}");
        }
        assert!(secrets.all_values().unwrap().is_empty());
    }

    #[test]
    fn a_directory_that_is_given_must_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let error = Secrets::open(None, Some(&dir.path().join("nowhere"))).unwrap_err();
        assert!(error.to_string().contains("nowhere"));
    }
}
