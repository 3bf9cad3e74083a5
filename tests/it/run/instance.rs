//! One `actorline run` as a process, with what it was told and what it says.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::kafka::{self, Broker, Topic};

/// Longer than anything that ends takes to do so, on a machine that is busy with other tests.
const END_TIMEOUT: Duration = Duration::from_secs(120);

/// A source with little in it.
const MAPPING: &str = r#"
source: acme
title: Acme audit log
documentation: https://docs.example.com/audit
recognise: { has: [acme_id, op] }
columns:
  event_uid: acme_id
  action: op
  actor_id: actor
  tenant: org
  attributes: { map: { note: note } }
  targets: { targets: [ { each: targets, id: id } ] }
actor_type:
  - { case: named, is: service_account, basis: declared, when: { actor: { exists: true } } }
cannot_tell: [ who asked for it ]
"#;

/// Topics, a lake and a group: what the instances of one test share.
pub struct Scene<'a> {
    pub input: Topic<'a>,
    pub siem: Topic<'a>,
    pub dead_letters: Topic<'a>,
    pub group: String,
    pub folder: TempDir,
    pub broker: &'a Broker,
    /// Where instances find the broker, if not at its own address.
    pub brokers: Option<String>,
    /// Where the lake lies, if not in the scene's folder.
    pub lake_url: Option<String>,
    /// Lines of the configuration's `lake` beside its url.
    pub lake_settings: String,
    /// What instances find in their environment.
    pub environment: Vec<(String, String)>,
}

impl<'a> Scene<'a> {
    pub fn new(broker: &'a Broker, num_partitions: i32) -> Scene<'a> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir_all(folder.path().join("mappings/acme")).expect("a folder");
        fs::write(folder.path().join("mappings/acme/mapping.yaml"), MAPPING).expect("a mapping");
        Scene {
            input: Topic::create(broker, "audit.test", num_partitions, &[]),
            siem: Topic::create(broker, "siem.activities", 2, &[]),
            dead_letters: Topic::create(broker, "siem.dead_letters", 1, &[]),
            group: broker.unique("group"),
            folder,
            broker,
            brokers: None,
            lake_url: None,
            lake_settings: "commit_interval_ms: 700".to_string(),
            environment: Vec::new(),
        }
    }

    pub fn lake_path(&self) -> PathBuf {
        self.folder.path().join("lake")
    }

    pub fn configuration(&self, instance: Option<&str>, listen: SocketAddr) -> String {
        let instance = instance.map(|name| format!(", instance: {name}")).unwrap_or_default();
        format!(
            "kafka:
  brokers: {}
  group: {}{}
  properties: {{ session.timeout.ms: '3000', heartbeat.interval.ms: '500', transaction.timeout.ms: '5000' }}
topics: {{ {}: auto }}
mappings: {}
lake: {{ url: '{}', {} }}
siem: {{ topic: {}, commit_interval_ms: 50 }}
dead_letters: {{ topic: {} }}
telemetry: {{ listen: '{listen}' }}
",
            self.brokers.as_deref().unwrap_or(self.broker.address()),
            self.group,
            instance.replace(", ", "\n  "),
            self.input.name,
            self.folder.path().join("mappings").display(),
            self.lake_url.clone().unwrap_or_else(|| format!("file://{}", self.lake_path().display())),
            self.lake_settings,
            self.siem.name,
            self.dead_letters.name,
        )
    }

    /// Makes the outputs' topics anew, so that they take records of at most `bytes`.
    pub fn limit_output_records(&mut self, bytes: &str) {
        let limit = [("max.message.bytes", bytes)];
        self.siem = Topic::create(self.broker, "siem.small", 1, &limit);
        self.dead_letters = Topic::create(self.broker, "dead_letters.small", 1, &limit);
    }

    /// Makes the broker forget the group and its positions, as after a week without members.
    pub fn delete_group(&self) {
        kafka::delete_group(self.broker, &self.group);
    }

    /// `run --check`, and what it said.
    pub fn check(&self) -> (ExitStatus, String) {
        let path = self.folder.path().join("check.yaml");
        fs::write(&path, self.configuration(None, free_address())).expect("a configuration");
        let output = Command::new(env!("CARGO_BIN_EXE_actorline"))
            .args(["run", "--check", "--config"])
            .arg(&path)
            .output()
            .expect("actorline starts");
        (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// What `actorline positions` prints.
    pub fn positions(&self) -> String {
        let path = self.folder.path().join("positions.yaml");
        fs::write(&path, self.configuration(None, free_address())).expect("a configuration");
        let command = Command::new(env!("CARGO_BIN_EXE_actorline")).args(["positions", "--config"]).arg(&path).output();
        let output = command.expect("actorline starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    pub fn start(&self, name: &str, instance: Option<&str>) -> Instance {
        let listen = free_address();
        let configuration = self.configuration(instance, listen);
        Instance::start_in(self.folder.path(), name, &configuration, listen, &self.environment)
    }
}

impl Scene<'_> {
    /// An instance without a name, whatever the others find in their environment.
    pub fn start_undisturbed(&self, name: &str) -> Instance {
        let listen = free_address();
        Instance::start(self.folder.path(), name, &self.configuration(None, listen), listen)
    }
}

/// A running instance. It is killed when dropped.
pub struct Instance {
    child: Child,
    listen: SocketAddr,
    log: PathBuf,
}

impl Instance {
    pub fn start(folder: &Path, name: &str, configuration: &str, listen: SocketAddr) -> Instance {
        Instance::start_in(folder, name, configuration, listen, &[])
    }

    fn start_in(
        folder: &Path,
        name: &str,
        configuration: &str,
        listen: SocketAddr,
        environment: &[(String, String)],
    ) -> Instance {
        let path = folder.join(format!("{name}.yaml"));
        fs::write(&path, configuration).expect("a configuration");
        let log = folder.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log).expect("a log file");
        // Measuring takes an optimized build; failpoints are only in this one.
        let program = std::env::var("ACTORLINE_PROGRAM").unwrap_or(env!("CARGO_BIN_EXE_actorline").to_string());
        let child = Command::new(program)
            .args(["run", "--config"])
            .arg(&path)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .expect("actorline starts");
        Instance { child, listen, log }
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }

    /// SIGSTOP: the process does nothing and knows nothing of it.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let signal = format!("-{name}");
        let status = Command::new("kill").arg(signal).arg(self.child.id().to_string()).status().expect("kill runs");
        assert!(status.success());
    }

    /// SIGTERM.
    pub fn ask_to_stop(&self) {
        self.signal("TERM");
    }

    /// SIGTERM, and how the process ended.
    pub fn terminate(self) -> ExitStatus {
        self.ask_to_stop();
        self.wait().0
    }

    /// Waits until the process ends, by itself or because it was asked to. Gives what it said, too.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("asked") {
                return (status, self.log());
            }
            assert!(begun.elapsed() < END_TIMEOUT, "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("asked").is_some()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The body of an answer from the telemetry's address, with its status code; empty while nobody listens.
    pub fn get(&self, path: &str) -> (u16, String) {
        let answer = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(self.listen)?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = answer().unwrap_or_default();
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_string()).unwrap_or_default())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.log.display(), self.log());
        }
    }
}

/// Sets what it holds when it goes, so that a thread ends although the test failed.
pub struct SetWhenDropped<'a>(pub &'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An event that the mapping of [`Scene`] recognises.
pub fn event(number: usize) -> String {
    format!(r#"{{"acme_id":"{number}","op":"read","actor":"a-{}"}}"#, number % 7)
}

/// Waits for `what` to hold.
pub fn eventually(what: &str, timeout: Duration, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < timeout, "waited {} s in vain until {what}", timeout.as_secs());
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}
