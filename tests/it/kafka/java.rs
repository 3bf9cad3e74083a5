//! Java, Maven and Kafka's jars. What is missing is named with the line that installs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const INSTALL: &str = "install Java 17 and Maven: `apt-get install -y openjdk-17-jdk-headless maven` (Debian, Ubuntu), \
                       `dnf install java-17-openjdk-headless maven` (Fedora), `brew install openjdk@17 maven` (macOS)";

/// The class path of the broker. Resolves it the first time, which takes a download of some fifty megabytes.
pub fn class_path() -> String {
    require("java", "-version");
    let pom = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/pom.xml");
    let jars = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kafka-jars");
    // Another pom means other jars; the copy says which pom these came from.
    let stamp = jars.join("pom.xml");
    let wanted = fs::read(&pom).expect("tests/kafka/pom.xml can be read");
    if fs::read(&stamp).ok().as_ref() != Some(&wanted) {
        resolve(&pom, &jars);
        fs::write(&stamp, &wanted).expect("the target folder can be written");
    }
    jars.join("*").display().to_string()
}

fn resolve(pom: &Path, jars: &PathBuf) {
    require("mvn", "--version");
    let _ = fs::remove_dir_all(jars);
    fs::create_dir_all(jars).expect("the target folder can be written");
    let output = Command::new("mvn")
        .args(["--batch-mode", "--quiet", "dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg("--file")
        .arg(pom)
        .arg(format!("-DoutputDirectory={}", jars.display()))
        .output()
        .expect("mvn was found just before");
    assert!(
        output.status.success(),
        "Maven could not fetch Kafka: check that its repositories can be reached\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

fn require(program: &str, version_argument: &str) {
    let found =
        Command::new(program).arg(version_argument).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    assert!(found, "`{program}` is missing: {INSTALL}");
}
