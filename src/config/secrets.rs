//! References in string values, `${env:NAME}` and `${file:PATH}`: what keeps secrets out of the configuration file.
//!
//! Every value is expanded once: what a reference yields is never looked at again. Messages name the reference and
//! never what it yielded.

use std::io::Read;
use std::path::Path;

/// Most bytes read for one `${file:…}`. Certificate bundles are the largest thing to stand there.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Replaces the references in `text`. `environment` looks up a variable.
pub(super) fn expand(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        expanded.push_str(&rest[..start]);
        let reference = &rest[start + 2..];
        let end = reference
            .find('}')
            .ok_or("a `${` has no `}`: references are `${env:NAME}` and `${file:PATH}`".to_string())?;
        expanded.push_str(&resolve(&reference[..end], environment)?);
        rest = &reference[end + 1..];
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Whether `text` holds a reference, so that what it becomes does not stand in the file.
pub(super) fn is_reference(text: &str) -> bool {
    text.contains("${env:") || text.contains("${file:")
}

fn resolve(reference: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    match reference.split_once(':') {
        Some(("env", name)) => {
            environment(name).ok_or_else(|| format!("environment variable `{name}` is not set: set it and start again"))
        }
        Some(("file", path)) => read(Path::new(path)),
        _ => Err(format!("unknown reference `${{{reference}}}`: use `${{env:NAME}}` or `${{file:PATH}}`")),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).map_err(|error| format!("failed to open `{shown}`: {error}"))?;
    // A FIFO or a device would block or never end.
    if !metadata.is_file() {
        return Err(format!("`{shown}` is not a regular file: name a file"));
    }
    let file = std::fs::File::open(path).map_err(|error| format!("failed to open `{shown}`: {error}"))?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("failed to read `{shown}`: {error}"))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!(
            "`{shown}` is larger than {FILE_BYTES_MAX} bytes: name the file that holds the secret alone"
        ));
    }
    // Editors end files with a line end that is no part of the secret.
    let without_line_end = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text));
    Ok(without_line_end.unwrap_or(&text).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        (name == "PLACE").then(|| "${env:PLACE}".to_string())
    }

    #[test]
    fn a_reference_is_replaced_once_and_its_value_is_not_expanded_again() {
        assert_eq!(expand("a-${env:PLACE}-b", &environment), Ok("a-${env:PLACE}-b".to_string()));
    }

    #[test]
    fn a_files_last_line_end_is_dropped() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("secret");
        std::fs::write(&path, "s3cret\n").expect("written");
        assert_eq!(expand(&format!("${{file:{}}}", path.display()), &environment), Ok("s3cret".to_string()));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(
            expand("${env:ABSENT}", &environment),
            Err("environment variable `ABSENT` is not set: set it and start again".to_string())
        );
        assert!(
            expand("${file:/nowhere/at/all}", &environment).is_err_and(|message| message.contains("/nowhere/at/all"))
        );
        assert!(expand("${vault:x}", &environment).is_err_and(|message| message.starts_with("unknown reference")));
        assert!(expand("${env:PLACE", &environment).is_err());
    }

    #[test]
    fn a_device_is_no_secret_file() {
        assert!(expand("${file:/dev/zero}", &environment).is_err_and(|message| message.contains("regular file")));
    }
}
